"""The command line: options, help, exit codes, and every command on one tiny training."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image

from singan_core import __main__ as command_line
from singan_core import notebooks, official, planning
from singan_core import reproduce as batch
from singan_core.__main__ import COMMANDS, find_mask, find_picture, find_run, main, open_run, parse
from singan_core.applications import (
    animation_config,
    edit,
    harmonize,
    paint_to_image,
    soft_mask,
    super_resolution_config,
    super_resolve,
)
from singan_core.config import PROFILES, TrainConfig
from singan_core.errors import SinGANError
from singan_core.images import load_image, sample_image, sample_mask, sample_names, save_image
from singan_core.model import SinGAN
from singan_core.progress import Progress
from singan_core.store import CHECKPOINT, MODEL, load_or_train, load_run
from tests.settings import other_value

ROOT = Path(__file__).resolve().parents[1]


class Trained:
    """One run, trained by the command line in a process of its own on a photograph from outside the data."""

    def __init__(self, folder: Path):
        self.folder, self.store = folder, folder / "store"
        save_image(sample_image("creek")[..., ::8, ::8], folder / "my photo.jpg")
        arguments = ["train", "my photo.jpg", "--profile", "smoke", "--alpha", "2", "--samples", "2"]
        environment = os.environ | {"SINGAN_RUNS": str(self.store), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.done = subprocess.run(
            [sys.executable, "-m", "singan_core", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def run(self) -> Path:
        (run,) = self.store.iterdir()
        return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained: Trained, monkeypatch, tmp_path) -> Path:
    """The trained run; its store is the run store, and the working folder is empty."""
    monkeypatch.setenv("SINGAN_RUNS", str(trained.store))
    monkeypatch.chdir(tmp_path)
    return trained.run


def pictures(folder: Path) -> dict[str, tuple[int, ...]]:
    """The names of the pictures in a folder, with their heights and widths."""
    return {path.name: tuple(load_image(path).shape[-2:]) for path in sorted(folder.glob("*.png"))}


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command has written to stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


# -- training


def test_train_writes_photograph_reconstruction_and_samples(trained):
    assert trained.done.returncode == 0, trained.done.stderr
    size = load_run(trained.run).size
    assert pictures(trained.folder / "samples" / "my photo") == {
        name: size for name in ("original.png", "reconstruction.png", "sample_seed0_0.png", "sample_seed0_1.png")
    }


def test_train_prints_the_run_and_the_files(trained):
    assert f"run      {trained.run}" in trained.done.stdout
    assert str(Path("samples", "my photo", "sample_seed0_1.png")) in trained.done.stdout


def test_train_shows_a_progress_bar(trained):
    assert "100%" in trained.done.stderr


def test_train_keeps_the_profile_but_for_what_was_given(trained):
    assert load_run(trained.run).config == TrainConfig.for_profile("smoke", alpha=2)


def test_train_loads_what_is_trained_already(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.folder)
    arguments = ["train", "my photo.jpg", "--profile", "smoke", "--alpha", "2", "--samples", "0", "--output", "again"]
    assert main([*arguments, "--store", str(trained.store)]) == 0
    assert set(pictures(trained.folder / "again")) == {"original.png", "reconstruction.png"}
    assert capsys.readouterr().err == ""


def test_bundled_picture_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    image, name = find_picture("creek")
    assert torch.equal(image, sample_image("creek")) and name == "creek"


def test_a_file_comes_before_a_bundled_picture(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save_image(torch.zeros(1, 3, 9, 8), "creek.png")
    Path("creek.png").rename("creek")
    assert find_picture("creek")[0].shape == (1, 3, 9, 8)


def test_a_folder_does_not_hide_the_bundled_picture_of_its_name(monkeypatch, tmp_path):
    """The command's own folder: `train creek --output creek`, twice."""
    monkeypatch.chdir(tmp_path)
    Path("creek").mkdir()
    assert torch.equal(find_picture("creek")[0], sample_image("creek"))


@pytest.mark.parametrize("command", ["train", "info", "sample"])
def test_a_tilde_that_is_no_home_is_a_part_of_the_name(run, capsys, command):
    assert main([command, "~nobody-of-this-name"]) == 1
    assert "~nobody-of-this-name" in error_of(capsys)


@pytest.mark.parametrize(("photo", "hint"), [("moutains", "mountains"), ("missing.jpg", "no file missing.jpg")])
def test_photograph_that_is_not_there_is_named(capsys, photo, hint):
    assert main(["train", photo, "--profile", "smoke"]) == 1
    assert hint in error_of(capsys)


@pytest.mark.parametrize("option", [["--samples", "-1"], ["--min-size", "3"], ["--max-size", "6"]])
def test_values_out_of_range_end_before_the_training(capsys, monkeypatch, option):
    monkeypatch.setattr(command_line, "load_or_train", lambda *_, **__: pytest.fail("it trains"))
    assert main(["train", "creek", "--profile", "smoke", *option]) == 1
    assert option[0].removeprefix("--").replace("-", "_") in error_of(capsys)


@pytest.mark.parametrize("command", ["train", "super-resolve", "animate"])
def test_interrupted_training_says_how_to_go_on(capsys, monkeypatch, command):
    def interrupted(*_: object, **__: object) -> SinGAN:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "load_or_train", interrupted)
    assert main([command, "creek", "--profile", "smoke"]) == 130
    assert "The same command resumes the training" in capsys.readouterr().err


# -- options of the training


def option(name: str, value: object) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", str(value)]


@pytest.mark.parametrize("name", [field.name for field in fields(TrainConfig)])
def test_every_setting_is_an_option_that_changes_itself_alone(name):
    config = TrainConfig.for_profile("smoke")
    value = other_value(config, name)
    command = parse(["train", "creek", "--profile", "smoke", *option(name, value)])
    assert command.config.to_dict() == config.to_dict() | {name: value}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("form", ["--profile {}", "--profile={}"])
def test_settings_not_given_are_the_profiles(profile, form):
    assert parse(["train", *form.format(profile).split(), "creek"]).config == TrainConfig.for_profile(profile)


def test_profile_comes_from_the_environment_where_none_is_given(monkeypatch):
    monkeypatch.setenv("SINGAN_PROFILE", "smoke")
    assert parse(["train", "creek"]).config == TrainConfig.for_profile("smoke")


def test_help_of_train_explains_every_setting_with_the_profiles_value(capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(["train", "--help", "--profile", "smoke"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert exit_.value.code == 0
    _, _, options = text.partition("show this help message and exit")
    explained = dict(re.findall(r"--([a-z-]+)(?:, --no-[a-z-]+| \S+) (.*?)\(default: ", options))
    flags = [field.name.replace("_", "-") for field in fields(TrainConfig)]
    assert [flag for flag in flags if not explained.get(flag)] == [], "fields of TrainConfig without a docstring"
    assert "Longer side of the finest level, pixels" in text and "(default: 48)" in text


# -- help, examples, exit codes


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_examples(capsys, name):
    with pytest.raises(SystemExit) as exit_:
        parse([name, "--help"])
    shown = capsys.readouterr().out
    assert exit_.value.code == 0
    assert COMMANDS[name].examples
    assert all(f"python -m singan_core {example}" in shown for example in COMMANDS[name].examples)


@pytest.mark.parametrize("example", [example for command in COMMANDS.values() for example in command.examples])
def test_every_example_parses(example):
    assert type(parse(shlex.split(example))) is COMMANDS[example.split()[0]]


def test_without_a_command_the_help_lists_them(capsys):
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        "traain creek",
        "train",
        "train creek --profile",
        "train creek --alpha much",
        "train creek --speed 3",
        "sample key --size 40",
        "inject key picture",
        "edit key picture",
        "harmonize key picture --scale 2 --blur soft",
        "super-resolve creek --factor four",
        "animate creek --format avi",
        "images all",
    ],
)
def test_options_that_do_not_fit_exit_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    assert exit_.value.code == 2
    assert capsys.readouterr().err


# -- drawing from a trained pyramid


def test_sample_writes_what_the_model_draws(run, tmp_path):
    assert main(["sample", str(run), "--n", "2", "--seed", "5"]) == 0
    folder = tmp_path / "samples" / run.name
    expected = load_run(run).sample(2, seed=5)
    assert list(pictures(folder)) == ["sample_seed5_0.png", "sample_seed5_1.png"]
    for number, image in enumerate(expected):
        # a PNG has 256 steps over a range of 2: half a step is 1/255
        assert torch.allclose(load_image(folder / f"sample_seed5_{number}.png")[0], image, atol=1.01 / 255)


def test_sample_of_another_size_and_start_says_so_in_its_name(run, tmp_path):
    options = ["--size", "40", "60", "--start-scale", "1", "--n", "1", "--output", "drawn"]
    assert main(["sample", str(run), *options]) == 0
    assert pictures(tmp_path / "drawn") == {"sample_scale1_40x60_seed0_0.png": (40, 60)}


def test_sample_takes_factors_of_height_and_width(run, tmp_path):
    height, width = load_run(run).size
    assert main(["sample", str(run), "--factors", "1", "2", "--n", "1", "--output", "drawn"]) == 0
    assert pictures(tmp_path / "drawn") == {f"sample_{height}x{2 * width}_seed0_0.png": (height, 2 * width)}


def test_reconstruct_writes_the_reconstruction(run, tmp_path):
    assert main(["reconstruct", str(run)]) == 0
    written = load_image(tmp_path / "samples" / run.name / "reconstruction.png")
    assert torch.allclose(written, load_run(run).reconstruct(), atol=1.01 / 255)


def test_inject_writes_the_redrawn_picture(run, tmp_path):
    save_image(sample_image("creek")[..., ::16, ::16], tmp_path / "edited.png")
    assert main(["inject", str(run), "edited.png", "--scale", "1", "--n", "2", "--seed", "3"]) == 0
    expected = load_run(run).inject(load_image(tmp_path / "edited.png"), 1, n=2, seed=3)
    folder = tmp_path / "samples" / run.name
    assert list(pictures(folder)) == [f"inject_edited_scale1_seed3_{number}.png" for number in range(2)]
    written = load_image(folder / "inject_edited_scale1_seed3_1.png")
    assert torch.allclose(written, expected[1:], atol=1.01 / 255)


@pytest.fixture
def pasted(run, tmp_path) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture, pasted.png in the working folder, and a mask of a part of it, mask.png."""
    save_image(sample_image("creek")[..., ::16, ::16], tmp_path / "pasted.png")
    picture = load_image(tmp_path / "pasted.png")
    mask = torch.zeros(1, 1, *picture.shape[-2:])
    mask[..., 12:20, 20:30] = 1
    save_image(mask, tmp_path / "mask.png")
    return picture, mask


@pytest.mark.parametrize(("name", "function"), [("edit", edit), ("harmonize", harmonize)])
def test_edit_and_harmonize_write_what_the_functions_give(run, pasted, tmp_path, name, function):
    arguments = ["pasted.png", "--mask", "mask.png", "--scale", "1", "--n", "2", "--seed", "3", "--blur", "0.5"]
    assert main([name, str(run), *arguments]) == 0
    expected = function(load_run(run), *pasted, 1, n=2, seed=3, blur=0.5)
    folder = tmp_path / "samples" / run.name
    assert list(pictures(folder)) == [f"{name}_pasted_scale1_seed3_{number}.png" for number in range(2)]
    written = load_image(folder / f"{name}_pasted_scale1_seed3_1.png")
    assert torch.allclose(written, expected[1:], atol=1.01 / 255)


def test_edit_keeps_the_size_of_the_picture_and_all_outside_the_mask_when_asked(run, pasted, tmp_path):
    options = ["--scale", "1", "--full-size", "--dilation", "1", "--blur", "0", "--output", "drawn"]
    assert main(["edit", str(run), "pasted.png", "--mask", "mask.png", *options]) == 0
    picture, mask = pasted
    height, width = picture.shape[-2:]
    written = load_image(tmp_path / "drawn" / f"edit_pasted_scale1_{height}x{width}_seed0_0.png")
    ratio = max(height, width) / max(load_run(run).size)
    outside = (soft_mask(mask, (height, width), dilation=ratio, blur=0) == 0).expand_as(picture)
    assert torch.equal(written[outside], picture[outside])


def test_a_bundled_picture_brings_its_mask(run):
    assert main(["harmonize", str(run), "harmonize_sunset", "--scale", "1"]) == 0
    assert torch.equal(find_mask(None, "harmonize_sunset"), sample_mask("harmonize_sunset"))
    assert torch.equal(find_mask("edit_mountains", "edited.png"), sample_mask("edit_mountains"))


def test_a_picture_without_a_mask_is_explained(run, pasted, capsys):
    assert main(["edit", str(run), "pasted.png", "--scale", "1"]) == 1
    assert "name one with --mask" in error_of(capsys)


def test_an_empty_mask_is_explained(run, pasted, capsys, tmp_path):
    save_image(torch.zeros_like(pasted[1]), tmp_path / "mask.png")
    assert main(["edit", str(run), "pasted.png", "--mask", "mask.png", "--scale", "1"]) == 1
    assert "mask is empty" in error_of(capsys)


def test_paint_writes_what_the_function_gives(run, pasted, tmp_path):
    assert main(["paint", str(run), "pasted.png", "--scale", "1"]) == 0
    written = load_image(tmp_path / "samples" / run.name / "paint_pasted_scale1_seed0_0.png")
    assert torch.allclose(written, paint_to_image(load_run(run), pasted[0], 1), atol=1.01 / 255)


def test_paint_without_a_scale_needs_a_level_for_paintings(run, pasted, capsys):
    assert main(["paint", str(run), "pasted.png"]) == 1
    assert "say at which scale" in error_of(capsys)


SHORT = ["--profile", "smoke", "--iterations", "1", "--kernels", "4", "--max-kernels", "4"]


def test_super_resolve_trains_with_its_settings_and_enlarges(pasted, tmp_path):
    options = ["--factor", "2.5", "--layers", "3", "--n", "2", "--noise-seed", "5", "--store", "sr"]
    assert main(["super-resolve", "pasted.png", *SHORT, *options]) == 0
    (trained,) = (tmp_path / "sr").iterdir()
    model = load_run(trained)
    short = TrainConfig.for_profile("smoke", iterations=1, kernels=4, max_kernels=4, layers=3)
    assert model.config == super_resolution_config(short, 2.5)
    height, width = (round(2.5 * side) for side in model.size)
    folder = tmp_path / "samples" / "pasted"
    names = [f"super_resolution_{height}x{width}_seed5_{number}.png" for number in range(2)]
    assert pictures(folder) == {"original.png": model.size} | dict.fromkeys(names, (height, width))
    expected = super_resolve(model, load_image(folder / "original.png"), 2.5, n=2, seed=5)
    # the original was rounded to 8 bits when it was written, which the generator passes on
    assert torch.allclose(load_image(folder / names[1]), expected[1:], atol=4 / 255)


def test_animate_trains_with_its_settings_and_writes_a_gif(pasted, tmp_path):
    options = ["--frames", "3", "--start-scale", "1", "--size", "20", "30", "--store", "moving", "--fps", "5"]
    longer = ["--iterations", "20"]  # until something moves: of frames that are equal the file keeps one
    assert main(["animate", "pasted.png", *SHORT, *longer, *options]) == 0
    (trained,) = (tmp_path / "moving").iterdir()
    config = TrainConfig.for_profile("smoke", iterations=20, kernels=4, max_kernels=4)
    assert load_run(trained).config == animation_config(config)
    with Image.open(tmp_path / "samples" / "pasted" / "animation_scale1_20x30_seed0.gif") as gif:
        assert (gif.size, gif.n_frames, gif.info["duration"]) == ((30, 20), 3, 200)


def test_animate_passes_the_walk_on(pasted, monkeypatch):
    asked = {}

    def walked(model: SinGAN, frames: int, **options: object) -> torch.Tensor:
        asked.update(options, frames=frames)
        return torch.zeros(2, 3, 8, 8)

    monkeypatch.setattr(command_line, "load_or_train", lambda *_, **__: None)
    monkeypatch.setattr(command_line, "animate", walked)
    options = ["--frames", "7", "--walk-alpha", "0.2", "--walk-beta", "0.8", "--noise-seed", "4"]
    assert main(["animate", "pasted.png", "--profile", "smoke", *options]) == 0
    expected = {"frames": 7, "alpha": 0.2, "beta": 0.8, "seed": 4, "start_scale": 2, "size": None}
    assert asked == expected


@pytest.mark.parametrize("command", ["super-resolve", "animate"])
def test_settings_that_are_given_come_before_those_of_the_task(command):
    parsed = parse([command, "creek", "--profile", "smoke", "--min-size", "30", "--alpha", "7"])
    assert (parsed.config.min_size, parsed.config.alpha, parsed.config.max_size) == (30, 7, 48)


@pytest.mark.parametrize("form", ["--factor 8", "--factor=8"])
def test_the_settings_of_super_resolution_follow_the_factor(form):
    command = parse(["super-resolve", "creek", "--profile", "smoke", *form.split()])
    assert command.config == super_resolution_config(TrainConfig.for_profile("smoke"), 8)
    default = parse(["super-resolve", "creek", "--profile", "smoke"])
    assert default.config == super_resolution_config(TrainConfig.for_profile("smoke"), 4)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train creek --samples -1", "samples must be"),
        ("super-resolve creek --n 0", "n must be"),
        ("animate creek --frames 0", "frames must be"),
        ("animate creek --walk-alpha 2", "alpha must be"),
        ("animate creek --fps 99", "fps must be"),
        ("animate creek --start-scale 9", "start_scale must be a level from 0 to"),
        ("animate creek --start-scale -1", "start_scale must be a level from 0 to"),
        ("animate creek --format mp4", "ffmpeg"),
        ("animate creek --output file/folder", "Cannot write to the folder"),
    ],
)
def test_what_cannot_be_drawn_ends_before_the_training(command, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(command_line, "load_or_train", lambda *_, **__: pytest.fail("it trains"))
    assert main([*command.split(), "--profile", "smoke"]) == 1
    assert message in error_of(capsys)


def test_a_name_that_the_terminal_cannot_show_ends_no_command(pasted, tmp_path):
    save_image(sample_image("creek")[..., ::8, ::8], tmp_path / "фото.png")
    environment = os.environ | {"SINGAN_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "singan_core", "train", "фото.png", "--samples", "0", *SHORT],
        cwd=tmp_path,
        env=environment | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert b"\\u0444\\u043e\\u0442\\u043e" in done.stdout
    assert {"original.png", "reconstruction.png"} == set(pictures(tmp_path / "samples" / "фото"))


def test_a_factor_out_of_range_ends_before_the_training(capsys):
    assert main(["super-resolve", "creek", "--factor", "0.5"]) == 1
    assert "factor must be" in error_of(capsys)


def test_scale_out_of_range_is_explained(run, capsys):
    assert main(["inject", str(run), "creek", "--scale", "99"]) == 1
    assert "scale must be a level from 1" in error_of(capsys)


def test_place_that_cannot_be_written_is_explained(run, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert main(["reconstruct", str(run), "--output", "taken"]) == 1
    assert "taken" in error_of(capsys)


def test_a_reader_that_has_seen_enough_is_no_error(picture, tmp_path):
    """The other end of the pipe is closed before anything is written."""
    end, other = os.pipe()
    os.close(end)
    command = [sys.executable, "-m", "singan_core", "images"]
    done = subprocess.run(command, stdout=other, stderr=subprocess.PIPE, text=True, check=False)
    os.close(other)
    assert (done.returncode, done.stderr) == (1, "")


def test_images_lists_the_bundled_pictures(capsys):
    assert main(["images"]) == 0
    assert capsys.readouterr().out.splitlines() == sample_names()


# -- which run is meant


def test_run_is_found_by_folder_key_and_model_file(run):
    assert find_run(str(run)) == run
    assert find_run(run.name[:4]) == run
    assert find_run(str(run / MODEL)) == run / MODEL


def test_a_name_too_long_for_a_file_is_refused(run):
    with pytest.raises(SinGANError, match="no file or folder"):
        find_run(300 * "a")


def test_a_picture_that_is_kept_like_a_run_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path))
    (tmp_path / "abc1").mkdir()
    (tmp_path / "abc1" / "run.json").write_text("{}")
    (tmp_path / "abc1" / "picture.png").write_bytes(b"")
    with pytest.raises(SinGANError, match="no run of that key"):
        find_run("abc1")


def test_a_model_file_opened_in_its_folder_has_the_runs_name(run, monkeypatch):
    monkeypatch.chdir(run)
    assert open_run(MODEL)[1] == run.name


def test_run_among_the_shipped_pyramids_is_found_by_its_key(run, monkeypatch, tmp_path):
    (tmp_path / "pretrained").mkdir()
    shipped = shutil.copy(run / MODEL, tmp_path / "pretrained" / "abcd0123.safetensors")
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path))
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path / "none"))
    assert find_run("abcd") == shipped


def test_run_that_is_not_there_is_refused_with_the_known_ones(run):
    with pytest.raises(SinGANError, match=run.name):
        find_run("xyz")


def test_key_of_several_runs_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path))
    for key in ("abc1", "abc2"):
        (tmp_path / key).mkdir()
        (tmp_path / key / "run.json").write_text("{}")
    with pytest.raises(SinGANError, match="abc1, abc2"):
        find_run("abc")


def test_a_file_that_is_no_model_is_refused(run, capsys, tmp_path):
    Path("notes.txt").write_text("a text")
    assert main(["sample", "notes.txt"]) == 1
    assert "notes.txt is no model file" in error_of(capsys)


def test_folder_without_a_run_is_refused(run, capsys, tmp_path):
    assert main(["sample", str(tmp_path)]) == 1
    assert "holds no trained pyramid" in error_of(capsys)


def test_folder_of_the_authors_checkpoints_is_imported(run, monkeypatch, tmp_path, capsys):
    folder = tmp_path / "TrainedModels" / "balloons" / "scale_factor=0.750000,alpha=10"
    folder.mkdir(parents=True)
    (folder / "reals.pth").touch()

    def imported(path: Path) -> SinGAN:
        assert path == folder
        official.warnings.warn("One level is missing.", stacklevel=2)
        return load_run(run)

    monkeypatch.setattr(official, "import_official", imported)
    assert main(["reconstruct", str(folder)]) == 0
    assert (tmp_path / "samples" / "balloons" / "reconstruction.png").exists()
    assert capsys.readouterr().err == "warning: One level is missing.\n"


# -- info


def test_info_shows_levels_losses_and_settings(run, capsys):
    model = load_run(run)
    assert main(["info", str(run)]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[:2] == [f"run    {run}", "state  trained"]
    levels = [line.split() for line in lines if line.strip()[:1].isdigit()]
    sizes = [[str(index), str(height), "x", str(width)] for index, (height, width) in enumerate(model.shape.sizes)]
    assert [row[:4] for row in levels] == sizes
    assert f"{model.levels[0].history[-1, -1]:#.3g}" in lines[5]
    assert ["alpha", "2.0", "10.0"] in [line.split() for line in lines]


def test_info_shows_a_pyramid_of_unknown_history(run, tmp_path, capsys):
    model = load_run(run)
    for level in model.levels:
        level.history = level.discriminator = None
    model.save(tmp_path / "imported.safetensors")
    assert main(["info", "imported.safetensors"]) == 0
    assert "state  trained" in capsys.readouterr().out


@pytest.fixture
def unfinished(tmp_path) -> Path:
    """A run that was stopped after its first level."""

    def stop(progress: Progress) -> None:
        if progress.level == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        image, config = sample_image("creek")[..., ::8, ::8], TrainConfig.for_profile("smoke")
        load_or_train(image, config, store=tmp_path / "store", callback=stop, progress=False)
    (run,) = (tmp_path / "store").iterdir()
    return run


def test_info_tells_how_far_an_unfinished_run_is(unfinished, capsys):
    assert main(["info", str(unfinished)]) == 0
    shown = capsys.readouterr().out
    assert "state  not finished: at level 1 of 0 to" in shown
    assert len([line for line in shown.splitlines() if line.strip().startswith("0 ")]) == 1


def test_info_tells_that_nothing_is_saved_yet(unfinished, capsys):
    (unfinished / CHECKPOINT).unlink()
    assert main(["info", str(unfinished)]) == 0
    assert "nothing is saved yet" in capsys.readouterr().out


def test_unfinished_run_cannot_be_drawn_from(unfinished, capsys):
    assert main(["sample", str(unfinished)]) == 1
    assert "not finished" in error_of(capsys)


# -- reproduce


@pytest.fixture
def reproduced(monkeypatch, tmp_path) -> dict[str, object]:
    """What `reproduce` was asked for, instead of running notebooks; one of two fails if `fails` is set."""
    asked: dict[str, object] = {"fails": False, "published": []}

    def outcome(name: str, error: str | None) -> batch.Outcome:
        return batch.Outcome(
            name, name, "", error, 61.0, "", "smoke", 0, "bricks", "cpu", "2", None, {}, False, {}, "", "", ""
        )

    def reproduce(notebooks: object, profile: str, **options: object) -> list[batch.Outcome]:
        asked.update(notebooks=notebooks, profile=profile, **options)
        return [outcome("00_first", None), outcome("01_second", "cell [2]: it broke" if asked["fails"] else None)]

    def publish(source: Path, executed: Path) -> None:
        if asked["fails"] and source.stem == "01_second":
            raise SinGANError("01_second.ipynb is not published.")
        asked["published"].append((source.name, executed))

    monkeypatch.setattr(batch, "reproduce", reproduce)
    monkeypatch.setattr(notebooks, "publish", publish)
    monkeypatch.setattr(planning, "find_notebooks", lambda names: [Path("00_first.ipynb"), Path("01_second.ipynb")])
    monkeypatch.chdir(tmp_path)
    return asked


def test_reproduce_passes_its_options_on(reproduced, capsys):
    arguments = ["reproduce", "--notebooks", "00", "02", "--profile", "smoke", "--retrain", "--output", "out"]
    arguments += ["--seeds", "0", "3", "--images", "peaks", "bricks", "--scheduler", "tcp://here:1"]
    assert main(arguments) == 0
    expected = {"notebooks": ("00", "02"), "profile": "smoke", "retrain": True, "output": Path("out")}
    expected |= {"seeds": (0, 3), "images": ("peaks", "bricks"), "scheduler": "tcp://here:1"}
    assert reproduced.items() >= expected.items()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["00_first", "0", "bricks", "passed", "1:01"] in rows
    assert reproduced["published"] == []


def test_reproduce_runs_the_whole_series_by_default(reproduced):
    assert main(["reproduce"]) == 0
    assert reproduced["notebooks"] is None


@pytest.mark.parametrize("words", [["--seeds"], ["--notebooks", "--profile", "smoke"], ["--seeds", "1", "--images"]])
def test_a_list_without_values_does_not_stand_for_everything(reproduced, capsys, words):
    assert main(["reproduce", *words]) == 1
    assert "needs at least one value" in error_of(capsys)
    assert "notebooks" not in reproduced


@pytest.mark.parametrize("command", [["reproduce"], ["train", "creek"]])
def test_a_misspelt_profile_is_refused_with_the_one_that_was_meant(reproduced, capsys, command):
    assert main([*command, "--profile", "smok"]) == 1
    assert "no profile 'smok': did you mean 'smoke'?" in error_of(capsys)


def test_reproduce_ends_with_a_table_and_the_page(reproduced, capsys, tmp_path):
    reproduced["fails"] = True
    assert main(["reproduce", "--profile", "smoke", "--output", "out"]) == 1
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines()]
    assert ["00_first", "passed", "1:01"] in rows
    assert ["01_second", "failed", "1:01", "cell", "[2]:", "it", "broke"] in rows
    assert str(tmp_path / "out" / "smoke" / "report.html") in shown


def test_publish_is_at_the_laptop_profile(reproduced, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SINGAN_PROFILE", "smoke")
    assert main(["reproduce", "--publish", "--output", "out"]) == 0
    folder = tmp_path / "out" / "laptop" / "notebooks"
    assert reproduced["profile"] == "laptop"
    assert reproduced["published"] == [(name, folder / name) for name in ("00_first.ipynb", "01_second.ipynb")]
    assert main(["reproduce", "--publish", "--profile", "smoke"]) == 1
    assert "published at profile laptop" in error_of(capsys)


def test_notebook_that_cannot_be_published_does_not_stop_the_others(reproduced, capsys):
    reproduced["fails"] = True
    assert main(["reproduce", "--publish", "--output", "out"]) == 1
    assert [name for name, _ in reproduced["published"]] == ["00_first.ipynb"]
    assert "01_second.ipynb is not published" in error_of(capsys)
