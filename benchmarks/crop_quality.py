"""Does training on random windows cost quality? The same pictures and seeds, trained on whole images and on windows.

    python -m benchmarks.crop_quality --images mountains peaks pagoda drawn_pebbles --seeds 0 --crop 160

Both trainings share the levels that are no larger than the crop, where they are the same training. Measures as in
`quality`, their ratio windows / whole for each picture, and the geometric mean over pictures with a 95 % interval.
Trained pyramids are kept in the run store and in build/bench/crop_quality beside the finished measurements, so it can
be stopped at any time. One sheet per picture: the photograph, three samples of one training, three of the other.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from benchmarks import common, quality
from singan_core import SinGAN, TrainConfig, load_or_train, plots, sample_image
from singan_core.metrics import Interval, confidence_interval
from singan_core.training import LevelTrainer, training_images

MEASURES = {
    "sliced_wasserstein": "sliced Wasserstein",
    "frechet": "Frechet (random filters)",
    "diversity": "diversity",
}
"""Measures whose ratio says something; of the reconstruction's decibels the difference does."""

PSNR = "reconstruction (dB)"
GAIN = "reconstruction, difference (dB)"
MEAN = "mean over pictures [95 % interval]"

QUICK = {
    "profile": "smoke",
    "images": ["bricks", "gravel"],
    "seeds": [0, 1],
    "max_size": 60,
    "crop": 44,
    "points": common.SCRATCH / "quick" / "crop_quality",
}

Point = dict[str, Any]
Pairs = dict[tuple[str, int], dict[str, Point]]
"""(picture, seed) to the points of the trainings on "whole" images and with a "crop"."""


def trainings(arguments: argparse.Namespace, seed: int) -> dict[str, TrainConfig]:
    """Both settings of a comparison, which differ in nothing but the crop."""
    common_settings = {"max_size": arguments.max_size, "precision": arguments.precision, "seed": seed}
    return {
        name: TrainConfig.for_profile(arguments.profile, **common_settings, crop=crop)
        for name, crop in (("whole", 0), ("crop", arguments.crop))
    }


def on_whole_images(image: str, config: TrainConfig, device: torch.device) -> SinGAN:
    return load_or_train(sample_image(image), config, device=device)


def on_windows(whole: SinGAN, image: str, config: TrainConfig) -> SinGAN:
    """The levels of `whole` that no crop touches, and those above trained on windows."""
    shape, reals = training_images(sample_image(image), config, whole.device)
    shared = sum(height * width <= config.crop**2 for height, width in shape.sizes)
    model = SinGAN(config, shape, whole.z_star, whole.levels[:shared])
    rng = torch.Generator(whole.device).manual_seed(config.seed + 1)
    for real in reals[shared:]:
        trainer = LevelTrainer(model, real, rng)
        while trainer.iteration < trainer.iterations:
            trainer.step()
        model.levels.append(trainer.finished())
    return model


def trained(image: str, seed: int, arguments: argparse.Namespace) -> dict[str, SinGAN]:
    """Both pyramids of a comparison, from their files where they are there already."""
    configs = trainings(arguments, seed)
    whole = on_whole_images(image, configs["whole"], arguments.device)
    name = common.point_name(image, "windows", seed, arguments.device.type, config=configs["crop"])
    file = (arguments.points / name).with_suffix(".safetensors")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        on_windows(whole, image, configs["crop"]).save(file)
    return {"whole": whole, "crop": SinGAN.load(file, arguments.device)}


def pair(image: str, seed: int, arguments: argparse.Namespace) -> dict[str, Point]:
    """The measures of both trainings of a picture."""
    found = {}
    for name, config in trainings(arguments, seed).items():
        path = arguments.points / common.point_name(image, name, seed, arguments.device.type, config=config)

        def measured(name: str = name) -> Point:
            model = trained(image, seed, arguments)[name]
            where = common.machine(arguments.device)
            return quality.measure(model, quality.finest_image(model, sample_image(image))) | {"machine": where}

        found[name] = common.point(path, measured)
    return found


def rows(pairs: Pairs) -> list[dict[str, Any]]:
    """A row per training."""
    return [
        {"picture": image, "seed": str(seed), "trained on": {"whole": "whole images", "crop": "windows"}[name]}
        | {label: point[measure] for measure, label in MEASURES.items()}
        | {PSNR: point["reconstruction_psnr"]}
        for (image, seed), both in pairs.items()
        for name, point in both.items()
    ]


def ratios(pairs: Pairs) -> list[dict[str, float]]:
    """Windows / whole of each measure, and the gain of the reconstruction in dB, for each picture and seed."""
    return [
        {label: both["crop"][name] / both["whole"][name] for name, label in MEASURES.items()}
        | {GAIN: both["crop"]["reconstruction_psnr"] - both["whole"]["reconstruction_psnr"]}
        for both in pairs.values()
    ]


def per_picture(pairs: Pairs) -> dict[str, dict[str, float]]:
    """The ratios of each picture: geometric means over its seeds, of the gain the mean."""
    found = {}
    for picture in dict.fromkeys(image for image, _ in pairs):
        mine = ratios({key: both for key, both in pairs.items() if key[0] == picture})
        means = {label: geometric_mean([each[label] for each in mine]).mean for label in MEASURES.values()}
        found[picture] = means | {GAIN: confidence_interval([each[GAIN] for each in mine]).mean}
    return found


def ratio_rows(pairs: Pairs) -> list[dict[str, Any]]:
    """A row per picture, and the mean over pictures: seeds of one picture are no independent values."""
    found = per_picture(pairs)
    table: list[dict[str, Any]] = [{"windows / whole": picture} | means for picture, means in found.items()]
    if len(found) > 1:
        means = {label: geometric_mean([row[label] for row in table]) for label in MEASURES.values()}
        table.append({"windows / whole": MEAN} | means | {GAIN: confidence_interval([row[GAIN] for row in table])})
    return table


def geometric_mean(ratios: Sequence[float]) -> Interval:
    """The geometric mean of positive ratios with its 95 % interval."""
    logs = confidence_interval([math.log(value) for value in ratios])
    return Interval(*(math.exp(value) for value in logs[:3]), logs.n)


def sheet(real: Tensor, whole: SinGAN, crop: SinGAN) -> Tensor:
    """One image: the photograph, then a row of three samples trained on whole images, then three on windows."""
    white = torch.ones_like(real)
    tiles = torch.cat([real, white, white, whole.sample(3, seed=1), crop.sample(3, seed=1)])
    tiles = F.pad(tiles, (0, 4, 0, 4), value=1.0)
    rows = [torch.cat(list(tiles[first : first + 3]), dim=-1) for first in (0, 3, 6)]
    return torch.cat(rows, dim=-2)[None, :, :-4, :-4]


def write_sheet(image: str, arguments: argparse.Namespace) -> None:
    """The sheet of a picture, for the first seed."""
    models = list(trained(image, arguments.seeds[0], arguments).values())
    real = quality.finest_image(models[0], sample_image(image))
    quality.save_image(sheet(real, *models), arguments.results / f"crop_quality-{image}.png")


def draw(pairs: Pairs) -> plots.Figure:
    """The ratios, one column per measure: a dot for each picture and seed, a bar for the geometric mean."""
    figure, axes = plots.new_figure(height=3.0)
    for number, label in enumerate(MEASURES.values()):
        single = [each[label] for each in ratios(pairs)]
        axes.plot([number] * len(single), single, "o", alpha=0.6, markersize=5)
        mean = geometric_mean([means[label] for means in per_picture(pairs).values()]).mean
        axes.plot([number - 0.2, number + 0.2], [mean, mean], color="black")
    axes.axhline(1.0, color="0.5", linewidth=0.8)
    axes.set_xticks(range(len(MEASURES)), MEASURES.values())
    axes.set(yscale="log", ylabel="windows / whole images")
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=(1, 2, 5, 10)))  # a factor of two or less holds no decade
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--images", nargs="+", default=quality.IMAGES, help="bundled pictures")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--max-size", type=int, default=250, help="longer side, px")
    parser.add_argument("--precision", default="mixed", choices=common.PRECISIONS)
    parser.add_argument("--crop", type=int, default=160, help="TrainConfig.crop, px")
    parser.add_argument(
        "--points", type=Path, default=common.SCRATCH / "crop_quality", help="folder of finished points"
    )
    arguments = common.parsed(parser, argv, QUICK)

    pairs = {(image, seed): pair(image, seed, arguments) for seed in arguments.seeds for image in arguments.images}
    for image in arguments.images:
        write_sheet(image, arguments)
    table = ratio_rows(pairs)
    document = {
        "profile": arguments.profile,
        "max_size": arguments.max_size,
        "precision": arguments.precision,
        "crop": arguments.crop,
        "pairs": [{"picture": image, "seed": seed} | both for (image, seed), both in pairs.items()],
        "ratios": table,
    }
    machines = [point["machine"] for both in pairs.values() for point in both.values()]
    text = f"""# Training on windows against training on whole images

Profile `{arguments.profile}` at {arguments.max_size} px, precision {arguments.precision}, windows of together
{arguments.crop} x {arguments.crop} px.

{common.markdown(rows(pairs))}

Ratios of windows to whole images, geometric means over the seeds:

{common.markdown(table)}

{common.described(common.merged(machines))}
"""
    common.write(arguments.results, "crop_quality", document, text, draw(pairs))


if __name__ == "__main__":
    main()
