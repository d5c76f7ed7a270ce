"""Quality against training time: whole trainings of growing length by the reference and by two profiles.

    python -m benchmarks.convergence --images mountains peaks pagoda drawn_pebbles

Each training is measured at its end as in `quality`. All methods train at --max-size, and by default with the constant
width of profile `laptop`. The reference has the package's resize in place of its slow one; time is that of the
training alone. This takes hours: each finished training is kept in build/bench/convergence and not repeated, so it can
be stopped at any time, and started again with more images, iterations or seeds. The short trainings of all come first.

With --one-thread a training computes in one thread, and its time is the processor time that it took. Then it can run
beside other work, also beside a second benchmark with other images, and still be compared.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.ticker import LogLocator

from benchmarks import common, quality
from benchmarks.levels import as_model, matrix_resize, train_on_reference, warm_up
from singan_core import SinGAN, TrainConfig, plots, sample_image, train

MEASURES = {
    "sliced_wasserstein": "sliced Wasserstein",
    "frechet": "Frechet (random filters)",
    "diversity": "diversity",
}
DISTANCES = ("sliced_wasserstein", "frechet")

METHODS = {"reference": "paper", "paper": "paper", "laptop": "laptop"}
"""Method to profile."""

WIDTHS = {False: "All have 32 kernels at every level.", True: "Reference and `paper` double their kernels."}

QUICK = {
    "images": ["bricks"],
    "max_size": 30,
    "iterations": [1, 2],
    "paper_iterations": [1, 2],
    "laptop_iterations": [1, 3],
    "points": common.SCRATCH / "quick" / "convergence",
}

Point = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training: what is trained on which picture."""

    method: str
    image: str
    config: TrainConfig

    def file_name(self, device: torch.device) -> str:
        where = f"{device.type}1" if common.one_thread(device) else device.type
        parts = (self.image, self.method, self.config.iterations, self.config.seed, where)
        return common.point_name(*parts, config=self.config)


def trained(run: Run, device: torch.device) -> tuple[SinGAN, float]:
    """The pyramid, and the seconds of its training: of processor time where there is one thread."""
    image, done = sample_image(run.image), []

    def by_reference() -> None:
        with matrix_resize():
            done.extend(train_on_reference(image, run.config, device))

    def by_package() -> None:
        done.append(train(image, run.config, progress=False, device=device))

    reference = run.method == "reference"
    taken = common.seconds(by_reference if reference else by_package, device)
    if not reference:
        return done[0], taken
    levels, z_star, shape = done
    return as_model(levels, z_star, run.config, shape), taken


def measured(run: Run, device: torch.device) -> Point:
    """Train, and measure the result."""
    where = common.machine(device)
    warm_up(device)
    model, taken = trained(run, device)
    found = quality.measure(model, quality.finest_image(model, sample_image(run.image)))
    key = {"method": run.method, "image": run.image, "iterations": run.config.iterations, "seed": run.config.seed}
    return key | found | {"seconds": taken, "machine": where}


def runs(arguments: argparse.Namespace) -> list[Run]:
    """All trainings: in rounds, the n-th of each method together, so that an early stop leaves whole curves."""
    counts = {"reference": arguments.iterations, "paper": arguments.paper_iterations}
    counts |= {"laptop": arguments.laptop_iterations}
    found = []
    for number in range(max(len(each) for each in counts.values())):
        for seed in arguments.seeds:
            for image in arguments.images:
                for method, profile in METHODS.items():
                    if number < len(counts[method]):
                        settings = {"max_size": arguments.max_size, "seed": seed}
                        settings["double_kernels_every"] = arguments.double_kernels_every
                        config = TrainConfig.for_profile(profile, iterations=counts[method][number], **settings)
                        found.append(Run(method, image, config))
    return found


def points_of(found: Sequence[Run], folder: Path, device: torch.device) -> list[Point]:
    """The points of all trainings; those that are not there yet are computed, each written when it is done."""
    points = []
    for number, run in enumerate(found, start=1):
        points.append(common.point(folder / run.file_name(device), lambda run=run: measured(run, device)))
        latest = points[-1]
        print(
            f"{number}/{len(found)}: {run.image}, {run.method}, {run.config.iterations} iterations, seed "
            f"{run.config.seed}: {latest['seconds']:.1f} s, sliced Wasserstein {latest['sliced_wasserstein']:.3f}",
            flush=True,
        )
    return points


# -- curves


def curves(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Method to the means over images and seeds, one point per number of iterations, shortest first."""
    found: dict[str, list[Point]] = {}
    for method in dict.fromkeys(point["method"] for point in points):
        mine = [point for point in points if point["method"] == method]
        found[method] = [
            mean_of([point for point in mine if point["iterations"] == count])
            for count in sorted({point["iterations"] for point in mine})
        ]
    return found


def mean_of(points: Sequence[Point]) -> Point:
    """The mean of trainings of one length."""
    names = ("seconds", *MEASURES)
    means = {name: sum(point[name] for point in points) / len(points) for name in names}
    return {"iterations": points[0]["iterations"], "n": len(points)} | means


def time_to_reach(curve: Sequence[Point], name: str, target: float) -> float | None:
    """Seconds of the shortest training of a curve that comes as near as `target`; None where none does."""
    return next((point["seconds"] for point in curve if point[name] <= target), None)


def rows(found: dict[str, list[Point]]) -> list[dict[str, Any]]:
    """A row per method and length."""
    return [
        {
            "method": method,
            "iterations": str(point["iterations"]),
            "trainings": point["n"],
            "training (s)": point["seconds"],
        }
        | {label: point[name] for name, label in MEASURES.items()}
        for method, curve in found.items()
        for point in curve
    ]


def reach_rows(found: dict[str, list[Point]]) -> list[dict[str, Any]]:
    """A row per method and distance: the time to come as near as the longest training of the reference."""
    longest = found["reference"][-1]
    result = []
    for name in DISTANCES:
        slow = time_to_reach(found["reference"], name, longest[name])
        for method, curve in found.items():
            taken = time_to_reach(curve, name, longest[name])
            row = {"distance": MEASURES[name], "at most": longest[name], "method": method, "training (s)": taken}
            result.append(row | {"times as fast": slow / taken if taken else None})
    return result


def draw(points: Sequence[Point], found: dict[str, list[Point]]) -> plots.Figure:
    """Each measure over the training time: means thick, single pictures thin."""
    figure, panels = plots.new_figure(height=3.2, columns=len(MEASURES))
    for axes, (name, label) in zip(panels, MEASURES.items(), strict=True):
        for colour, (method, curve) in zip(plots.COLOURS, found.items(), strict=False):  # there are more colours
            for single in single_curves(points, method):
                times, values = [point["seconds"] for point in single], [point[name] for point in single]
                axes.plot(times, values, ".-", color=colour, lw=0.6, markersize=3, alpha=0.5)
            seconds = [point["seconds"] for point in curve]
            axes.plot(seconds, [point[name] for point in curve], "o-", color=colour, label=method, markersize=4)
        axes.set(
            xlabel="training time (s)", ylabel=label, xscale="log", yscale="log" if name in DISTANCES else "linear"
        )
        for axis in (axes.xaxis, axes.yaxis) if name in DISTANCES else (axes.xaxis,):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(found), frameon=False)
    return figure


def single_curves(points: Sequence[Point], method: str) -> list[list[Point]]:
    """The points of a method, picture by picture and seed by seed, shortest training first."""
    groups: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        if point["method"] == method:
            groups.setdefault((point["image"], point["seed"]), []).append(point)
    return [sorted(group, key=lambda point: point["iterations"]) for group in groups.values()]


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--images", nargs="+", default=quality.IMAGES, help="bundled pictures")
    parser.add_argument("--max-size", type=int, default=128, help="longer side, px")
    parser.add_argument("--iterations", nargs="+", type=int, default=[50, 500], help="of the reference")
    parser.add_argument("--paper-iterations", nargs="+", type=int, default=[50, 500])
    parser.add_argument("--laptop-iterations", nargs="+", type=int, default=[100, 300, 800])
    parser.add_argument(
        "--double-kernels-every",
        type=int,
        default=0,
        help="levels after which the width doubles (authors: 4; 0: never)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    common.add_one_thread(parser)
    parser.add_argument("--points", type=Path, default=common.SCRATCH / "convergence", help="folder of finished points")
    arguments = common.parsed(parser, argv, QUICK)

    points = points_of(runs(arguments), arguments.points, arguments.device)
    found = curves(points)
    document = {"max_size": arguments.max_size, "points": points, "means": found, "reach": reach_rows(found)}
    text = f"""# Quality against training time

Trainings at {arguments.max_size} px of {", ".join(arguments.images)}; reference and `paper` take 3 + 3 steps an
iteration. {WIDTHS[bool(arguments.double_kernels_every)]} Means over pictures and seeds, {quality.SAMPLES} samples
each; distances are to the photograph. Times are {common.kind_of_time(arguments.device)}.

{common.markdown(rows(found))}

Time of the first training that comes at least as near as the longest one of the reference:

{common.markdown(reach_rows(found))}

{common.described(common.merged([point["machine"] for point in points]))}
"""
    common.write(arguments.results, "convergence", document, text, draw(points, found))


if __name__ == "__main__":
    main()
