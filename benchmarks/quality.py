"""How good a profile's pyramids are: distance, diversity, reconstruction and training time, picture by picture.

    python -m benchmarks.quality --profile laptop --images mountains peaks pagoda drawn_pebbles

Trains what the run store does not have yet, prints a table, and writes it with every number to
benchmarks/results/quality-<profile>.{md,json}, beside one sheet of samples per picture to look at: the photograph and
its reconstruction first, then samples. Time is that of the training on an otherwise idle machine, or it means nothing.
"""

import argparse
import json
import platform
import subprocess
from pathlib import Path

import torch
import torch.nn.functional as F

from singan_core import SinGAN, TrainConfig, load_or_train, sample_image, save_image
from singan_core.features import RandomFilterBank
from singan_core.files import write_text
from singan_core.metrics import diversity, psnr, single_image_frechet, sliced_wasserstein
from singan_core.training import training_images

RESULTS = Path(__file__).parent / "results"
SAMPLES = 20


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def measure(model: SinGAN, real: torch.Tensor) -> dict[str, object]:
    """Quality of one pyramid against the photograph at the trained size, (1, 3, H, W)."""
    samples = model.sample(SAMPLES, seed=1)
    frechet = single_image_frechet(samples, real, RandomFilterBank())
    return {
        "seconds": round(model.seconds, 1),
        "size": list(model.size),
        "levels": len(model.levels),
        "sliced_wasserstein": sliced_wasserstein(samples, real),
        "frechet": frechet.value,
        "frechet_features": frechet.features,
        "diversity": diversity(samples, real),
        "reconstruction_psnr": psnr(model.reconstruct(), real),
    }


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--images", nargs="+", default=["mountains", "peaks", "pagoda", "drawn_pebbles"])
    parser.add_argument("--retrain", action="store_true", help="train again, to measure the time anew")
    arguments = parser.parse_args()

    config = TrainConfig.for_profile(arguments.profile)
    results = {}
    for name in arguments.images:
        image = sample_image(name)
        model = load_or_train(image, config, retrain=arguments.retrain)
        real = training_images(image, config, model.device)[1][-1].float()
        results[name] = measure(model, real)
        save_image(sheet(model, real), RESULTS / f"quality-{arguments.profile}-{name}.png")

    document = {"profile": arguments.profile, "config": config.to_dict(), "machine": machine(), "results": results}
    write_text(RESULTS / f"quality-{arguments.profile}.json", json.dumps(document, indent=2) + "\n")
    where = ", ".join(f"{key} {value}" for key, value in document["machine"].items())
    text = f"# Quality at profile {arguments.profile}\n\n{table(results)}\n\nMeasured on: {where}.\n"
    write_text(RESULTS / f"quality-{arguments.profile}.md", text)
    print(text)


if __name__ == "__main__":
    main()
