"""The command line, `python -m singan_core`: train on a photograph, draw from a trained pyramid, run the notebooks.

A command is a dataclass: its fields are the options, their docstrings the help; those of the training are the fields
of `TrainConfig`. What a command does is a few calls into the package, and only this module imports tyro.
"""

import argparse
import io
import itertools
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union

import tyro
from torch import Tensor, nn
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from singan_core.applications import (
    animate,
    animation_config,
    edit,
    harmonize,
    paint_to_image,
    save_animation,
    super_resolution_config,
    super_resolve,
)
from singan_core.applications.animation import check_film, check_walk
from singan_core.arguments import check_count
from singan_core.config import PROFILES, TrainConfig, resolve_profile
from singan_core.errors import SinGANError
from singan_core.files import check_writable, read_tensors
from singan_core.forecast import forecast
from singan_core.images import (
    data_folder,
    load_image,
    load_mask,
    sample_image,
    sample_mask,
    sample_names,
    save_image,
)
from singan_core.model import HISTORY_COLUMNS, SinGAN, pick_device, unpack
from singan_core.plots import LOSS_LABELS, table
from singan_core.pyramid import build_pyramid, pyramid_shape
from singan_core.store import (
    CHECKPOINT,
    MODEL,
    PICTURE,
    load_or_train,
    load_run,
    run_folder,
    shipped_pyramid,
    store_folder,
)

PROGRAM = "python -m singan_core"
SAMPLES = Path("samples")
"""Where pictures go by default, in a folder for each name of a photograph and each run."""

Photo = Annotated[Positional[str], arg(metavar="PHOTO")]
Run = Annotated[Positional[str], arg(metavar="RUN")]
Output = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: a folder in samples/)")]
Pixels = Annotated[tuple[int, int] | None, arg(metavar="H W", help_behavior_hint="(default: the trained size)")]
TrainedPixels = Annotated[
    float | None, arg(metavar="PX", help_behavior_hint="(default: the authors', in proportion to the size)")
]
Profile = Annotated[
    str | None,
    arg(metavar=f"{{{','.join(PROFILES)}}}", help_behavior_hint="(default: SINGAN_PROFILE, else by the machine)"),
]


@dataclass(frozen=True)
class Training:
    """What the commands that train have in common."""

    interrupted: ClassVar[str] = "Interrupted. The same command resumes the training where it stopped."

    photo: Photo
    """A picture file, or the name of a bundled picture (see the command `images`)."""
    profile: Profile = None
    """Settings to start from: smoke takes seconds and is no more than a test, paper wants a GPU."""
    store: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: SINGAN_RUNS, else runs)")] = None
    """Folder of the run store."""
    retrain: FlagCreatePairsOff[bool] = False
    """Train again what has been trained already."""
    output: Output = None
    """Folder for the pictures."""
    config: Annotated[TrainConfig, arg(name="")] = field(default_factory=TrainConfig)

    @classmethod
    def settings(cls, config: TrainConfig, argv: Sequence[str]) -> TrainConfig:
        """What the command makes of a profile's settings; the arguments that name single settings come after it."""
        return config

    def trained(self, start_scale: int = 0) -> tuple[SinGAN, Tensor, Path]:
        """The pyramid, the photograph at its size, and the folder for the pictures, which is there.

        What cannot be used afterwards is refused before it is trained: raises SinGANError for a pyramid without the
        level at which drawing is to start, and for a folder that cannot be made.
        """
        photo, name = find_picture(self.photo)
        config = self.config
        sizes = {"min_size": config.min_size, "max_size": config.max_size, "scale_factor": config.scale_factor}
        levels = len(pyramid_shape(tuple(photo.shape[-2:]), **sizes))
        if not 0 <= start_scale < levels:
            raise SinGANError(f"start_scale must be a level from 0 to {levels - 1}, got {start_scale}.")
        folder = named_path(self.output or SAMPLES / name)
        check_writable(folder)
        run = run_folder(photo, config, self.store)
        known = shipped_pyramid(run.name) or any(os.path.exists(run / name) for name in (MODEL, CHECKPOINT))
        if (self.retrain or not known) and not config.quantised_level:
            print(f"training {forecast(tuple(photo.shape[-2:]), config)}, as far as can be told")
        model = load_or_train(photo, config, retrain=self.retrain, store=self.store)
        print(f"run      {run if os.path.exists(run) else f'{run.name}, shipped with the data'}")
        return model, build_pyramid(photo, **sizes).images[-1], folder


@dataclass(frozen=True)
class Train(Training):
    """Train a pyramid on a photograph, and draw the reconstruction and samples from it.

    What has been trained already is loaded; an interrupted training goes on where it was. Settings of the training
    that are not given are the profile's.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "train mountains --profile smoke",
        "train my_photo.jpg --alpha 1 --max-size 200",
        "train my_photo.jpg --samples 8 --output drawn",
        "train my_photo.jpg --quantised-level 2",
    )

    samples: int = 4
    """Number of samples to draw."""

    def __call__(self) -> None:
        if self.samples:
            check_count("samples", self.samples)
        model, photo, folder = self.trained()
        write(folder, "original", photo)
        write(folder, "reconstruction", model.reconstruct())
        if self.samples:
            write_all(folder, "sample_seed0", model.sample(self.samples, seed=0))


@dataclass(frozen=True)
class Sample:
    """Draw new pictures from a trained pyramid."""

    examples: ClassVar[tuple[str, ...]] = (
        "sample runs/4f0c2d --n 8 --seed 1",
        "sample 4f0c --size 160 400 --start-scale 1",
        "sample 4f0c --factors 1 2.5",
    )

    run: Run
    """A run folder, the beginning of a run's key, a model file, or a folder of the authors' checkpoints."""
    n: int = 4
    """Number of pictures."""
    seed: int = 0
    """Seed of the noise."""
    size: Pixels = None
    """Height and width in pixels."""
    factors: Annotated[tuple[float, float] | None, arg(metavar="V H", help_behavior_hint="(default: 1 1)")] = None
    """Height and width in units of the trained size."""
    start_scale: int = 0
    """First scale with new noise; the coarser ones reconstruct the photograph. 0 changes everything."""
    output: Output = None
    """Folder for the pictures."""

    def __call__(self) -> None:
        model, name = open_run(self.run)
        images = model.sample(
            self.n, seed=self.seed, size=self.size, factors=self.factors, start_scale=self.start_scale
        )
        scale = f"_scale{self.start_scale}" if self.start_scale else ""
        size = size_suffix(images, self.size or self.factors)
        write_all(self.output or SAMPLES / name, f"sample{scale}{size}_seed{self.seed}", images)


@dataclass(frozen=True)
class Reconstruct:
    """Draw the training photograph from its fixed noise."""

    examples: ClassVar[tuple[str, ...]] = ("reconstruct 4f0c", "reconstruct runs/4f0c2d --output drawn")

    run: Run
    """A run folder, the beginning of a run's key, a model file, or a folder of the authors' checkpoints."""
    output: Output = None
    """Folder for the picture."""

    def __call__(self) -> None:
        model, name = open_run(self.run)
        write(self.output or SAMPLES / name, "reconstruction", model.reconstruct())


@dataclass(frozen=True)
class Inject:
    """Put a picture into a trained pyramid at one scale and let the finer scales redraw it.

    This is the mechanism behind editing, harmonization and painting.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "inject 4f0c paint_mountains --scale 2",
        "inject runs/4f0c2d edited.png --scale 4 --n 3 --seed 1",
    )

    run: Run
    """A run folder, the beginning of a run's key, a model file, or a folder of the authors' checkpoints."""
    picture: Annotated[Positional[str], arg(metavar="PICTURE")]
    """A picture file, or the name of a bundled picture (see the command `images`)."""
    scale: int
    """Where the picture enters: 1 redraws much, the last scale only texture."""
    n: int = 1
    """Number of pictures."""
    seed: int = 0
    """Seed of the noise."""
    size: Pixels = None
    """Height and width in pixels."""
    output: Output = None
    """Folder for the pictures."""

    def __call__(self) -> None:
        model, name = open_run(self.run)
        picture, title = find_picture(self.picture)
        images = model.inject(picture, self.scale, n=self.n, seed=self.seed, size=self.size)
        size = size_suffix(images, self.size)
        write_all(self.output or SAMPLES / name, f"inject_{title}_scale{self.scale}{size}_seed{self.seed}", images)


@dataclass(frozen=True)
class Redraw:
    """What editing and harmonization have in common."""

    redraw: ClassVar[Callable[..., Tensor]]

    run: Run
    """A run folder, the beginning of a run's key, a model file, or a folder of the authors' checkpoints."""
    picture: Annotated[Positional[str], arg(metavar="PICTURE")]
    """A picture file, or the name of a bundled picture (see the command `images`)."""
    scale: int
    """Where the picture enters: 1 redraws much, the last scale only texture."""
    mask: Annotated[str | None, arg(metavar="MASK", help_behavior_hint="(default: the bundled picture's)")] = None
    """A picture file that is white where the picture was changed, or the name of a bundled picture with a mask."""
    dilation: TrainedPixels = None
    """How far the mask is widened, in pixels of the trained size."""
    blur: TrainedPixels = None
    """How soft its edges are, in pixels of the trained size."""
    full_size: FlagCreatePairsOff[bool] = False
    """Give the result the size of the picture instead of the trained one."""
    n: int = 1
    """Number of pictures."""
    seed: int = 0
    """Seed of the noise."""
    output: Output = None
    """Folder for the pictures."""

    def __call__(self) -> None:
        model, name = open_run(self.run)
        picture, title = find_picture(self.picture)
        mask = find_mask(self.mask, self.picture)
        options = {"dilation": self.dilation, "blur": self.blur, "full_size": self.full_size}
        images = type(self).redraw(model, picture, mask, self.scale, n=self.n, seed=self.seed, **options)
        task = type(self).__name__.lower()
        size = size_suffix(images, self.full_size)
        write_all(self.output or SAMPLES / name, f"{task}_{title}_scale{self.scale}{size}_seed{self.seed}", images)


@dataclass(frozen=True)
class Edit(Redraw):
    """Blend parts that were copied, moved or removed into an edited picture.

    The pyramid is that of the picture before it was edited. Outside the widened mask nothing changes.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "edit 4f0c edit_mountains --scale 3",
        "edit runs/4f0c2d edited.png --mask mask.png --scale 2 --full-size",
    )
    redraw = edit


@dataclass(frozen=True)
class Harmonize(Redraw):
    """Give an object that was pasted into a picture the picture's appearance.

    The pyramid is that of the picture without the object. Outside the widened mask nothing changes.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "harmonize 4f0c harmonize_sunset --scale 3",
        "harmonize runs/4f0c2d pasted.png --mask mask.png --scale 4 --dilation 3 --blur 2",
    )
    redraw = harmonize


@dataclass(frozen=True)
class Paint:
    """Turn a painting in flat colours into a picture like the photograph.

    A pyramid trained with --quantised-level has a level that expects paintings in few colours.
    """

    examples: ClassVar[tuple[str, ...]] = ("paint 4f0c paint_mountains --scale 2", "paint runs/4f0c2d drawn.png --n 3")

    run: Run
    """A run folder, the beginning of a run's key, a model file, or a folder of the authors' checkpoints."""
    picture: Annotated[Positional[str], arg(metavar="PICTURE")]
    """A picture file, or the name of a bundled picture (see the command `images`)."""
    scale: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: the quantised level)")] = None
    """Where the painting enters: 1 redraws much, the last scale only texture."""
    full_size: FlagCreatePairsOff[bool] = False
    """Give the result the size of the painting instead of the trained one."""
    n: int = 1
    """Number of pictures."""
    seed: int = 0
    """Seed of the noise."""
    output: Output = None
    """Folder for the pictures."""

    def __call__(self) -> None:
        model, name = open_run(self.run)
        picture, title = find_picture(self.picture)
        images = paint_to_image(model, picture, self.scale, n=self.n, seed=self.seed, full_size=self.full_size)
        scale, size = self.scale or model.config.quantised_level, size_suffix(images, self.full_size)
        write_all(self.output or SAMPLES / name, f"paint_{title}_scale{scale}{size}_seed{self.seed}", images)


@dataclass(frozen=True)
class SuperResolve(Training):
    """Enlarge a photograph, with detail as the photograph has it.

    A pyramid is trained on it with the settings of super-resolution, as far as they are not given; its finest level
    then draws the detail. A photograph larger than --max-size is reduced to it first.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "super-resolve my_photo.jpg --factor 4",
        "super-resolve creek --factor 2.5 --profile smoke --layers 3",
    )

    factor: float = 4.0
    """How many times higher and wider the result is."""
    n: int = 1
    """Number of pictures."""
    noise_seed: int = 0
    """Seed of the noise with which the pictures are drawn."""

    @classmethod
    def settings(cls, config: TrainConfig, argv: Sequence[str]) -> TrainConfig:
        """Those of super-resolution by the factor among the arguments."""
        factor = first_value(argv, "--factor") or cls.factor
        try:
            return super_resolution_config(config, float(factor))
        except ValueError:  # no number, which the parser proper refuses
            return config

    def __call__(self) -> None:
        check_count("n", self.n)
        model, photo, folder = self.trained()
        images = super_resolve(model, photo, self.factor, n=self.n, seed=self.noise_seed)
        write(folder, "original", photo)
        write_all(folder, f"super_resolution{size_suffix(images, True)}_seed{self.noise_seed}", images)


@dataclass(frozen=True)
class Animate(Training):
    """Set a photograph in motion: a random walk through the noise.

    A pyramid is trained on it with the settings of animation, as far as they are not given.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "animate my_photo.jpg",
        "animate creek --profile smoke --frames 50 --start-scale 1 --size 120 180 --format mp4",
    )

    frames: int = 100
    """Number of frames."""
    start_scale: int = 2
    """Scales below it stay still."""
    walk_alpha: float = 0.1
    """How strongly the walk is drawn back to the photograph, from 0 to 1."""
    walk_beta: float = 0.9
    """How smooth the walk is, from 0 to 1."""
    noise_seed: int = 0
    """Seed of the walk."""
    size: Pixels = None
    """Height and width in pixels."""
    fps: float = 10.0
    """Frames per second."""
    format: Literal["gif", "mp4"] = "gif"
    """Of the file; an mp4 needs the program ffmpeg."""

    @classmethod
    def settings(cls, config: TrainConfig, argv: Sequence[str]) -> TrainConfig:
        """Those of animation."""
        return animation_config(config)

    def __call__(self) -> None:
        check_walk(self.frames, self.walk_alpha, self.walk_beta)
        check_film(Path(f"animation.{self.format}"), self.fps)
        model, _, folder = self.trained(self.start_scale)
        frames = animate(
            model,
            self.frames,
            alpha=self.walk_alpha,
            beta=self.walk_beta,
            start_scale=self.start_scale,
            seed=self.noise_seed,
            size=self.size,
        )
        size = size_suffix(frames, self.size)
        path = named_path(folder) / f"animation_scale{self.start_scale}{size}_seed{self.noise_seed}.{self.format}"
        save_animation(frames, path, fps=self.fps)
        print(f"picture  {path}")


@dataclass(frozen=True)
class Info:
    """Show levels, losses and settings of a trained pyramid, or how far a training is."""

    examples: ClassVar[tuple[str, ...]] = ("info 4f0c", "info runs/4f0c2d")

    run: Run
    """A run folder, the beginning of a run's key, a model file, or a folder of the authors' checkpoints."""

    def __call__(self) -> None:
        path = find_run(self.run)
        begun = os.path.exists(path / "run.json") and not any(os.path.exists(path / name) for name in (MODEL, PICTURE))
        model, state = unfinished(path) if begun else (open_run(self.run)[0], "trained")
        print(f"run    {path}\nstate  {state}")
        if model is None:
            return
        if model.levels:
            print(f"\n{table([level_row(model, index) for index in range(len(model.levels))])}")
        authors = TrainConfig().to_dict()
        settings = [
            {"setting": name, "value": str(value), "authors": str(authors[name])}
            for name, value in model.config.to_dict().items()
        ]
        print(f"\n{table(settings)}")


@dataclass(frozen=True)
class Images:
    """List the bundled pictures, which can be named in place of a file."""

    examples: ClassVar[tuple[str, ...]] = ("images",)

    def __call__(self) -> None:
        print(*sample_names(), sep="\n")


@dataclass(frozen=True)
class Reproduce:
    """Run the notebooks and gather figures, measured results and the executed copies on one page.

    A failing notebook does not stop the others; the exit code is 1 then.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "reproduce",
        "reproduce --notebooks 00 02 --profile smoke --output build",
        "reproduce --seeds 0 1 2 --images mountains peaks",
        "reproduce --scheduler tcp://10.0.0.1:8786 --profile paper",
        "reproduce --publish",
    )
    interrupted: ClassVar[str] = "Interrupted. What was finished is kept, and a training resumes when it is run again."
    lists: ClassVar[tuple[str, ...]] = ("--notebooks", "--seeds", "--images")

    notebooks: Annotated[tuple[str, ...], arg(metavar="NN", help_behavior_hint="(default: all)")] = ()
    """Numbers or beginnings of names, or paths."""
    profile: Profile = None
    """Settings of all trainings."""
    seeds: Annotated[tuple[int, ...], arg(metavar="SEED", help_behavior_hint="(default: the notebook's own)")] = ()
    """Run every notebook that draws at random once per seed."""
    images: Annotated[tuple[str, ...], arg(metavar="NAME", help_behavior_hint="(default: the notebook's own)")] = ()
    """Run every notebook that leaves the choice once per bundled picture (see the command `images`)."""
    scheduler: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(default: this machine)")] = None
    """A Dask scheduler; its workers must share this checkout, the run store and the output folder."""
    retrain: FlagCreatePairsOff[bool] = False
    """Train again what has been trained already."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: SINGAN_FIGURES, else figures)")] = (
        None
    )
    """Folder for the results; those of a profile go to a folder of its name."""
    publish: FlagCreatePairsOff[bool] = False
    """Put the outputs back into the notebooks, ready to be committed; at profile laptop only."""

    def __call__(self) -> int:
        # here, because only this command needs the packages of the course
        from singan_core.notebooks import PUBLISHED_PROFILE, publish
        from singan_core.planning import find_notebooks, results_folder
        from singan_core.report import minutes
        from singan_core.reproduce import reproduce

        profile = resolve_profile(self.profile or (PUBLISHED_PROFILE if self.publish else None))
        if self.publish and profile != PUBLISHED_PROFILE:
            raise SinGANError(f"Notebooks are published at profile {PUBLISHED_PROFILE}: leave --profile out.")
        names = self.notebooks or None
        outcomes = reproduce(
            names,
            profile,
            seeds=self.seeds,
            images=self.images,
            scheduler=self.scheduler,
            retrain=self.retrain,
            output=self.output,
        )
        several = {"seed": bool(self.seeds), "image": bool(self.images)}
        rows = [
            {
                "notebook": outcome.name,
                **{name: getattr(outcome, name) for name, shown in several.items() if shown},
                "result": "failed" if outcome.error else "passed",
                "time": minutes(outcome.seconds),
                "error": outcome.error or "",
            }
            for outcome in outcomes
        ]
        folder = results_folder(profile, self.output)
        print(f"{table(rows)}\n\n{folder / 'report.html'}")
        problems = [outcome.error for outcome in outcomes if outcome.error]
        for path in find_notebooks(names) if self.publish else []:
            try:
                publish(path, folder / "notebooks" / path.name)
            except SinGANError as error:
                print_error(error)
                problems.append(str(error))
        return 1 if problems else 0


COMMANDS: dict[str, type] = {
    "train": Train,
    "sample": Sample,
    "reconstruct": Reconstruct,
    "inject": Inject,
    "edit": Edit,
    "harmonize": Harmonize,
    "paint": Paint,
    "super-resolve": SuperResolve,
    "animate": Animate,
    "info": Info,
    "images": Images,
    "reproduce": Reproduce,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give the exit code: 0, 1 for a SinGANError, 130 for Ctrl-C. Exits with 2 on bad options."""
    command = None
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show should not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        command = parse(sys.argv[1:] if argv is None else argv)
        failed = command() or 0
        sys.stdout.flush()
        return failed
    except SinGANError as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        print(f"\n{getattr(command, 'interrupted', 'Interrupted.')}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parse(argv: Sequence[str]) -> Any:
    """The command that the arguments stand for. Exits with 0 after --help and with 2 for arguments that do not fit.

    Raises SinGANError for a list without values, which would else stand for everything.
    """
    argv = list(argv) or ["--help"]
    for word, following in itertools.pairwise([*argv, "--"]):
        if argv[0] == "reproduce" and word in Reproduce.lists and following.startswith("--"):
            raise SinGANError(f"{word} needs at least one value; leave it out for the default.")
    subcommands = []
    for name, command in COMMANDS.items():
        asked = argv[0] == name
        options: dict[str, Any] = {"description": description(command) if asked else paragraphs(command)[0]}
        if asked and issubclass(command, Training):
            options["default"] = command(photo=tyro.MISSING, config=base_config(command, argv))
        subcommands.append(Annotated[command, subcommand(name, **options)])
    any_of_them = Union[tuple(subcommands)]  # noqa: UP007, there is no `|` for a list
    return tyro.cli(any_of_them, prog=PROGRAM, args=argv, description=paragraphs(sys.modules[__name__])[0])


def base_config(command: type[Training], argv: Sequence[str]) -> TrainConfig:
    """The command's settings of the profile among the arguments: what other arguments change, and the help shows.

    A profile without a name is left to the parser proper to refuse. Raises SinGANError for an unknown one.
    """
    return command.settings(TrainConfig.for_profile(first_value(argv, "--profile")), argv)


def first_value(argv: Sequence[str], option: str) -> str | None:
    """The value of one option among the arguments, before the parser proper; None where there is none."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(option, nargs="?", dest="value")
    return first.parse_known_args(argv)[0].value


def description(command: type) -> str:
    """What the help of a command says above its options."""
    parts = [textwrap.fill(text, 80) for text in paragraphs(command)]
    parts.append("\n".join(["examples:", *(f"  {PROGRAM} {example}" for example in command.examples)]))
    return "\n\n".join(parts)


def paragraphs(documented: Any) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    return [" ".join(text.split()) for text in documented.__doc__.split("\n\n")]


def print_error(error: SinGANError) -> None:
    """One line on stderr."""
    print("error:", *str(error).split(), file=sys.stderr)


# -- what the arguments name


def find_picture(name: str) -> tuple[Tensor, str]:
    """A picture by its file or, where there is no such file, by its name among the bundled ones; with its name."""
    if names_a_file(name):
        return load_image(name), named_path(name).stem
    return sample_image(name), name


def find_mask(name: str | None, picture: str) -> Tensor:
    """A mask by its file or the bundled picture that it belongs to; without a name, that of a bundled picture."""
    if not names_a_file(name or picture):
        return sample_mask(name or picture)
    if name is None:
        raise SinGANError(f"{picture} comes without a mask: name one with --mask, white where the picture was changed.")
    return load_mask(name)


def names_a_file(name: str) -> bool:
    """Whether a name is that of a file; a folder that is called like a bundled picture does not count."""
    path = named_path(name)
    if path.suffix or path.name != name:
        return True
    return os.path.exists(path) and not (os.path.isdir(path) and name in sample_names())


def named_path(name: str | Path) -> Path:
    """A path with ~ as the home folder, where there is such a home."""
    return Path(os.path.expanduser(name))


def find_run(name: str) -> Path:
    """A run by its folder or file, or by the beginning of its key in the run store and among the shipped pyramids."""
    path = named_path(name)
    if os.path.exists(path):
        return path
    found = {file.stem: file for file in shipped_pyramids()}
    runs = [file.parent for file in sorted(store_folder().glob("*/run.json"))]
    found |= {run.name: run for run in runs if not os.path.exists(run / PICTURE)}  # that of a picture is no pyramid
    matches = [key for key in found if key.startswith(name)]
    if len(matches) == 1:
        return found[matches[0]]
    if matches:
        raise SinGANError(f"Several runs begin with {name!r}: {', '.join(matches)}. Give more digits.")
    known = ", ".join(found) or "none yet, train one"
    raise SinGANError(f"There is no file or folder {name!r}, and no run of that key in {store_folder()}: {known}.")


def shipped_pyramids() -> list[Path]:
    """The model files that come with the data, if the data are there."""
    try:
        return sorted((data_folder() / "pretrained").glob("*.safetensors"))
    except SinGANError:
        return []


def open_run(name: str) -> tuple[SinGAN, str]:
    """A trained pyramid, and the name that its pictures' folder gets."""
    path = find_run(name)
    if os.path.isfile(path):
        if path.suffix != ".safetensors":
            raise SinGANError(f"{path} is no model file: those end in .safetensors.")
        return SinGAN.load(path), path.resolve().parent.name if path.name == MODEL else path.stem
    if not any(path.glob("*.pth")):
        return load_run(path), path.resolve().name
    from singan_core.official import import_official

    with warnings.catch_warnings(record=True) as caught:
        model = import_official(path)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    return model, path.resolve().parent.name


def unfinished(run: Path) -> tuple[SinGAN | None, str]:
    """The finished levels of a run in training, None before anything is saved, and how far it is in words."""
    if not os.path.exists(run / CHECKPOINT):
        return None, "begun, nothing is saved yet"
    tensors, settings = read_tensors(run / CHECKPOINT)
    model = unpack(tensors, settings, pick_device("cpu"))
    level, last = len(model.levels), len(model.shape) - 1
    where = f"level {level} of 0 to {last}, iteration {settings['iteration']} of {model.config.iterations_at(level)}"
    return model, f"not finished: at {where}; the command that began it resumes it"


def level_row(model: SinGAN, index: int) -> dict[str, Any]:
    """A level in the table of the command `info`; the losses are those of its last iteration."""
    level = model.levels[index]
    height, width = model.shape.sizes[index]
    row = {
        "level": index,
        "size": f"{height} x {width}",
        "kernels": level.generator.tail[0].in_channels,
        "amplitude": level.amplitude,
        "weights of G": count_weights(level.generator),
        "weights of D": level.discriminator and count_weights(level.discriminator),
        "iterations": None if level.history is None else len(level.history),
    }
    for name in ("critic_real", "critic_fake", "reconstruction"):
        column = HISTORY_COLUMNS.index(name)
        row[LOSS_LABELS[name]] = None if level.history is None else float(level.history[-1, column])
    return row


def count_weights(network: nn.Module) -> int:
    """Number of the network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


# -- what a command leaves


def write_all(folder: Path, name: str, images: Tensor) -> None:
    """Write pictures (n, 3, H, W) as <folder>/<name>_0.png, ... and print the paths."""
    for number in range(len(images)):
        write(folder, f"{name}_{number}", images[number : number + 1])


def write(folder: Path, name: str, image: Tensor) -> None:
    """Write a picture (1, 3, H, W) as <folder>/<name>.png and print the path."""
    path = named_path(folder) / f"{name}.png"
    save_image(image, path)
    print(f"picture  {path}")


def size_suffix(images: Tensor, asked: object) -> str:
    """The size as part of a file name, where another than the trained one was asked for."""
    return f"_{images.shape[-2]}x{images.shape[-1]}" if asked else ""


if __name__ == "__main__":
    sys.exit(main())
