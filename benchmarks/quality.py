"""How good a profile's pyramids are: distance, diversity, reconstruction and training time, picture by picture.

    python -m benchmarks.quality --profile laptop --images mountains peaks pagoda drawn_pebbles

Trains, prints a table, and writes it with every number to
benchmarks/results/quality-<profile>.{md,json}, beside one sheet of samples per picture to look at: the photograph and
its reconstruction first, then samples. Time is that of the training on an otherwise idle machine, or it means nothing.
"""

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from benchmarks import common
from singan_core import SinGAN, TrainConfig, load_or_train, quality, sample_image, save_image
from singan_core.training import training_images

IMAGES = ["mountains", "peaks", "pagoda", "drawn_pebbles"]
SAMPLES = 20
QUICK = {"profile": "smoke", "images": ["mountains"]}


def measure(model: SinGAN, real: torch.Tensor) -> dict[str, object]:
    """Quality of one pyramid against the photograph at the trained size, (1, 3, H, W)."""
    about = {"seconds": model.seconds, "size": list(model.size), "levels": len(model.levels)}
    return about | quality.measure(model, real, samples=SAMPLES)._asdict()


def finest_image(model: SinGAN, image: torch.Tensor) -> torch.Tensor:
    """The photograph (1, 3, H, W) at the trained size, float32, on the model's device."""
    return training_images(image, model.config, model.device)[1][-1].float()


def sheet(model: SinGAN, real: torch.Tensor) -> torch.Tensor:
    """Photograph, reconstruction and seven samples as one image of three rows, each pixel doubled, with white gaps."""
    tiles = torch.cat([real, model.reconstruct(), model.sample(7, seed=1)])
    tiles = tiles.repeat_interleave(2, -1).repeat_interleave(2, -2)
    tiles = F.pad(tiles, (0, 4, 0, 4), value=1.0)
    rows = [torch.cat(list(tiles[first : first + 3]), dim=-1) for first in (0, 3, 6)]
    return torch.cat(rows, dim=-2)[None, :, :-4, :-4]


def table(results: dict[str, dict[str, object]]) -> str:
    """The results as a Markdown table. ValueError if Frechet distances over different features would share a column."""
    features = {str(r["frechet_features"]) for r in results.values()}
    if len(features) > 1:
        raise ValueError(f"Distances over different features have no common column: {', '.join(sorted(features))}.")
    lines = [
        f"| picture | size | levels | training (s) | sliced Wasserstein | Frechet ({features.pop()}) | diversity "
        "| reconstruction (dB) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        lines.append(
            f"| {name} | {r['size'][1]}x{r['size'][0]} | {r['levels']} | {r['seconds']:.0f} "
            f"| {r['sliced_wasserstein']:.3f} | {r['frechet']:.3f} | {r['diversity']:.2f} "
            f"| {r['reconstruction_psnr']:.1f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--images", nargs="+", default=IMAGES)
    parser.add_argument(
        "--retrain",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train again, to measure the time anew, or take the pyramids that are there (default: train)",
    )
    arguments = common.parsed(parser, argv, QUICK)

    config = TrainConfig.for_profile(arguments.profile)
    where = common.machine(arguments.device)
    results = {}
    for name in arguments.images:
        image = sample_image(name)
        model = load_or_train(image, config, retrain=arguments.retrain, device=arguments.device)
        real = finest_image(model, image)
        results[name] = measure(model, real)
        save_image(sheet(model, real), arguments.results / f"quality-{arguments.profile}-{name}.png")

    document = {"profile": arguments.profile, "config": config.to_dict(), "machine": where, "results": results}
    text = f"# Quality at profile {arguments.profile}\n\n{table(results)}\n\n{common.described(where)}"
    common.write(arguments.results, f"quality-{arguments.profile}", document, text)


if __name__ == "__main__":
    main()
