"""How time and memory of a training grow with the picture, on the whole image against on random crops.

    python -m benchmarks.scaling --profile laptop --sizes 125 250 500 1000 2000 --crop 160

Each point is a process of its own that goes through all levels with a few iterations each. The time of a whole
training is, over the levels, the median time of an iteration times their number, plus the time between the levels,
which is measured once and does not grow with the iterations. A point is left out, and named, when the points before
it say that it would not fit into the memory or that measuring it would take longer than --limit.
"""

import argparse
import math
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import common, isolated
from benchmarks.levels import Climb, warm_up
from singan_core import TrainConfig, plots, sample_image
from singan_core.model import pick_device
from singan_core.pyramid import resize

QUICK = {"profile": "smoke", "image": "bricks", "sizes": [30, 60], "crop": 44, "budget": 0.1}
DEFAULT_CROP = 160

Point = dict[str, Any]


# -- one point, in its own process


def enlarged(image: Tensor, longer: int) -> Tensor:
    """The picture, made larger (bicubic) where its longer side is below `longer` pixels; pyramids do not do so."""
    height, width = image.shape[-2:]
    if max(height, width) >= longer:
        return image
    ratio = longer / max(height, width)
    return resize(image, (round(height * ratio), round(width * ratio)))


def time_level(climb: Climb, budget: float, device: torch.device) -> tuple[float, float]:
    """Seconds of an iteration at the level in training (a median), and of its first ones beyond that."""
    first = common.seconds(climb.warm_up, device) / climb.period
    started, cycles = time.perf_counter(), []
    while len(cycles) < 3 or (time.perf_counter() - started < budget and len(cycles) < 30):
        cycles.append(common.seconds(climb.cycle, device) / climb.period)
        if len(cycles) == 1 and cycles[0] * climb.period > budget:
            break
    return median(cycles), max(0.0, first - climb.warm_up_cycles * median(cycles)) * climb.period


def climb_all(image: Tensor, config: TrainConfig, budget: float, device: torch.device) -> Point:
    """Time of an iteration at every level, and of all that happens once."""
    started = time.perf_counter()
    climb = Climb(image, config, device)
    levels, stepping = [], 0.0
    while climb.up():
        common.synchronise(device)
        begun = time.perf_counter()
        iteration, extra = time_level(climb, budget, device)
        stepping += time.perf_counter() - begun - extra
        height, width = climb.shape.sizes[len(levels)]
        levels.append({"height": height, "width": width, "kernels": climb.kernels, "iteration_s": iteration})
    common.synchronise(device)
    taken = time.perf_counter() - started
    return {"levels": levels, "between_s": taken - stepping, "measured_s": taken}


def measure(image: str, settings: dict[str, Any], budget: float, device: str) -> Point:
    """A point of the curve: times, memory, and the whole training that they add up to."""
    config, where = TrainConfig.from_dict(settings), pick_device(device)
    picture = enlarged(sample_image(image), config.max_size)
    warm_up(where)
    found, memory = isolated.peak_memory(lambda: climb_all(picture, config, budget, where), where)
    finest = found["levels"][-1]
    steps = (config.iterations_at(level) * each["iteration_s"] for level, each in enumerate(found["levels"]))
    training = sum(steps) + found["between_s"]
    return found | memory | {"training_s": training, "pixels": finest["height"] * finest["width"]}


# -- the curve


def predicted(points: Sequence[Point], name: str, pixels: float) -> float:
    """A quantity at `pixels`, continued as a power of the pixels from the last two points; in proportion from one."""
    last = points[-1]
    exponent = 1.0
    if len(points) > 1:
        before = points[-2]
        exponent = math.log(last[name] / before[name]) / math.log(last["pixels"] / before["pixels"])
    return last[name] * (pixels / last["pixels"]) ** exponent


def available_mib(device: torch.device) -> float:
    """Memory that a training can have: that of the GPU, or what the system says is available."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 2**20
    return common.available_bytes() / 2**20


def reason_to_skip(points: Sequence[Point], pixels: float, limit: float, memory: float) -> str | None:
    """Why a point is not measured, or None; the first always is."""
    if not points:
        return None
    need = predicted(points, "reserved_mib" if "reserved_mib" in points[-1] else "peak_mib", pixels)
    if need > memory:
        return f"would need about {need / 1024:.0f} GiB of memory"
    if (taken := predicted(points, "measured_s", pixels)) > limit:
        return f"would take about {taken / 60:.0f} min to measure"
    return None


def curve(config: TrainConfig, arguments: argparse.Namespace) -> tuple[list[Point], dict[int, str]]:
    """The points at all sizes, and those left out: size to reason."""
    height, width = sample_image(arguments.image).shape[-2:]
    memory = available_mib(arguments.device)
    points: list[Point] = []
    missing: dict[int, str] = {}
    for size in sorted(arguments.sizes):
        pixels = size**2 * min(height, width) / max(height, width)
        if why := reason_to_skip(points, pixels, arguments.limit, memory):
            missing[size] = why
            continue
        settings = config.to_dict() | {"max_size": size}
        call = {"image": arguments.image, "settings": settings, "budget": arguments.budget}
        try:
            point = isolated.isolated(measure, **call, device=str(arguments.device))
            points.append({"max_size": size} | point)
        except isolated.Failed as error:
            missing[size] = str(error)
    return points, missing


# -- tables


def rows(curves: dict[str, list[Point]], missing: dict[str, dict[int, str]]) -> list[dict[str, Any]]:
    """A row per point; those left out come last, with their reason."""
    measured = [
        {
            "training": name,
            "longer side (px)": str(point["max_size"]),
            "levels": len(point["levels"]),
            "iteration at the finest level (ms)": 1000 * point["levels"][-1]["iteration_s"],
            "whole training (min)": point["training_s"] / 60,
            "of it between levels (s)": point["between_s"],
            "peak memory (MiB)": point["peak_mib"],
        }
        for name, points in curves.items()
        for point in points
    ]
    left_out = [
        {"training": name, "longer side (px)": str(size), "note": f"left out: {why}"}
        for name, reasons in missing.items()
        for size, why in reasons.items()
    ]
    return measured + left_out


def growth(points: Sequence[Point], low: int, high: int) -> dict[str, float] | None:
    """How many times the time and the memory of `low` px a training at `high` px takes; None if one is missing."""
    at = {point["max_size"]: point for point in points}
    if low not in at or high not in at:
        return None
    return {name: at[high][name] / at[low][name] for name in ("pixels", "training_s", "peak_mib")}


def growth_text(curves: dict[str, list[Point]], low: int, high: int) -> str:
    """One sentence per curve."""
    found = {name: growth(points, low, high) for name, points in curves.items()}
    return "\n".join(
        f"- {name}, {high} px against {low} px: {g['pixels']:.1f} times the pixels, {g['training_s']:.2f} times the "
        f"time, {g['peak_mib']:.2f} times the memory."
        for name, g in found.items()
        if g
    )


def draw(curves: dict[str, list[Point]]) -> plots.Figure:
    """Time and memory over the longer side, logarithmic on all axes."""
    figure, panels = plots.new_figure(height=3.2, columns=2)
    for axes, name, label, unit in zip(
        panels, ("training_s", "peak_mib"), ("whole training (min)", "peak memory (MiB)"), (60, 1), strict=True
    ):
        for training, points in curves.items():
            axes.loglog([p["max_size"] for p in points], [p[name] / unit for p in points], "o-", label=training)
        sizes = sorted({point["max_size"] for points in curves.values() for point in points})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("longer side (px)")
        axes.set_ylabel(label)
        axes.legend(fontsize=8, frameon=False)
    return figure


def trainings(profile: str, crop: int | None, precision: str | None) -> dict[str, TrainConfig]:
    """The settings of both curves by name; precision: default the profile's."""
    own = TrainConfig.for_profile(profile, **({"precision": precision} if precision else {}))
    side = crop or own.crop or DEFAULT_CROP
    return {
        "whole image": TrainConfig.from_dict(own.to_dict() | {"crop": 0}),
        f"crops of {side} px": TrainConfig.from_dict(own.to_dict() | {"crop": side}),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--image", default="mountains", help="a bundled picture; enlarged where it is too small")
    parser.add_argument("--sizes", nargs="+", type=int, default=[125, 250, 500, 1000, 2000], help="longer sides, px")
    parser.add_argument("--crop", type=int, help=f"side of the crops, px (default: the profile's, or {DEFAULT_CROP})")
    parser.add_argument("--precision", choices=common.PRECISIONS, help="default: the profile's")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that measuring one point may take")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds of iterations per level, about")
    arguments = common.parsed(parser, argv, QUICK)

    where = common.machine(arguments.device)
    configs = trainings(arguments.profile, arguments.crop, arguments.precision)
    precision = next(iter(configs.values())).precision
    found = {name: curve(config, arguments) for name, config in configs.items()}
    curves = {name: points for name, (points, _) in found.items()}
    missing = {name: reasons for name, (_, reasons) in found.items()}
    ends = (250, 1000)
    document = {
        "profile": arguments.profile,
        "image": arguments.image,
        "machine": where,
        "configs": {name: config.to_dict() for name, config in configs.items()},
        "points": curves,
        "left_out": missing,
        "growth": {name: growth(points, *ends) for name, points in curves.items()},
    }
    own_side = max(sample_image(arguments.image).shape[-2:])
    text = f"""# Time and memory against the size of the picture

Profile `{arguments.profile}`, precision {precision}, picture `{arguments.image}`, which has {own_side} px on its longer
side and is enlarged (bicubic) beyond that.

{common.markdown(rows(curves, missing))}

{growth_text(curves, *ends)}

{common.described(where)}
"""
    common.write(arguments.results, "scaling", document, text, draw(curves))


if __name__ == "__main__":
    main()
