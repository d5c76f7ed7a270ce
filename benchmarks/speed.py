"""Time of a training iteration, level by level: the plain reference against the package, and where the time goes.

    python -m benchmarks.speed --settings paper laptop

Both run in one process and in turns. The reference has a gradient penalty in every discriminator step; the headline
ratio compares it, with a fast resize (see `levels`), to the package with the same steps; the package with the
profile's own `penalty_every` stands beside it.
"""

import argparse
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import common, work
from benchmarks.common import Ratio, ratio
from benchmarks.levels import Climb, imresize_by_matrix, reference_resize, train_on_reference
from singan_core import TrainConfig, plots, sample_image
from tests import reference

QUICK = {"settings": ["smoke"], "image": "bricks", "repeats": 1, "more_repeats": 2, "matrix_side": 256}

SAME_ALGORITHM = {"penalty_every": 1, "crop": 0}
"""The settings with which the package takes the reference's steps, whatever the profile."""

SLOW = "reference"
FAIR = "reference, fast resize"

Times = dict[str, list[float]]
"""Seconds per iteration of each method, repeat by repeat."""


class Enough(Exception):
    """Ends the reference's training after the last level that is wanted."""


def variants(profile: str, precisions: Sequence[str]) -> dict[str, TrainConfig]:
    """The package's settings to time, by name: with the reference's algorithm first, then as the profile has them."""
    own = TrainConfig.for_profile(profile)
    found = {}
    for precision in precisions:
        found[f"ours, {precision}"] = replace(own, precision=precision, **SAME_ALGORITHM)
    if changed := own.changes().keys() & SAME_ALGORITHM.keys():
        name = ", ".join(f"{key}={getattr(own, key)}" for key in sorted(changed))
        for precision in precisions:
            found[f"ours, {precision}, {name}"] = replace(own, precision=precision)
    return found


class Race:
    """The callback of `train_reference` that gives every method its turn after each of the reference's iterations.

    The first iteration of a level, which includes its setting up, and the warm-up of each method are not counted.
    After them the reference's iterations have the fast and its own resize alternately; the others run beside the fast.
    """

    def __init__(
        self,
        climbs: dict[str, Climb],
        repeats: int,
        levels: int,
        device: torch.device,
        clock: Callable[[], float] | None = None,
    ):
        self.climbs, self.repeats, self.levels, self.device = climbs, repeats, levels, device
        self.clock = clock or common.clock_of(device)
        self.times: list[Times] = []
        self.own_resize = reference.imresize
        self.turn = 0
        self.started = 0.0

    @property
    def iterations(self) -> int:
        """What the reference must run at each level."""
        return 1 + 2 * self.repeats

    def __call__(self, level: int) -> None:
        common.synchronise(self.device)
        taken = self.clock() - self.started
        if level == len(self.times):
            self._begin_level()
        elif self.turn % 2:
            self.times[level][FAIR].append(taken)
            self._others(level)
        else:
            self.times[level][SLOW].append(taken)
        self.turn += 1
        if self.turn == self.iterations and level + 1 == self.levels:
            raise Enough
        reference.imresize = imresize_by_matrix if self.turn % 2 else self.own_resize
        common.synchronise(self.device)
        self.started = self.clock()

    def _begin_level(self) -> None:
        self.times.append({name: [] for name in (SLOW, FAIR, *self.climbs)})
        self.turn = 0
        for climb in self.climbs.values():
            climb.up()
            climb.warm_up()

    def _others(self, level: int) -> None:
        for name, climb in self.climbs.items():
            taken = common.seconds(climb.cycle, self.device, self.clock)
            self.times[level][name].append(taken / climb.period)


def race(
    image: Tensor, configs: dict[str, TrainConfig], repeats: int, levels: int | None, device: torch.device
) -> list[Times]:
    """Times of the reference and of the package's `configs` at the first `levels` levels (None: all)."""
    climbs = {name: Climb(image, config, device) for name, config in configs.items()}
    first = next(iter(climbs.values()))
    run = Race(climbs, repeats, levels or len(first.shape), device)
    with reference_resize(reference.imresize), contextlib.suppress(Enough):  # restores what the race switches
        train_on_reference(image, replace(first.config, iterations=run.iterations), device, run)
    return run.times


def level_times(
    image: Tensor, configs: dict[str, TrainConfig], repeats: int, more: int, budget: float, device: torch.device
) -> list[Times]:
    """Times at every level: `repeats` turns, and `more` at the lower levels that take less than `budget` seconds so."""
    times = race(image, configs, repeats, None, device)
    rounds = [sum(median(values) for values in level.values()) for level in times]
    fast = sum(1 for seconds in rounds if seconds * more < budget)
    if fast and more > repeats:
        times[:fast] = race(image, configs, more, fast, device)
    return times


# -- from times to tables


def totals(times: list[Times], name: str, iterations: int) -> list[float]:
    """Seconds of a whole training, once for each repeat that all levels have."""
    count = min(len(level[name]) for level in times)
    return [iterations * sum(level[name][k] for level in times) for k in range(count)]


def whole(times: list[Times], name: str, iterations: int) -> float:
    """Seconds of a whole training: the levels' medians times the iterations."""
    return iterations * sum(median(level[name]) for level in times)


def against_reference(times: list[Times], name: str) -> Ratio:
    """How many times as fast a whole training is as the reference with the fast resize."""
    spread = ratio(totals(times, FAIR, 1), totals(times, name, 1))
    return spread._replace(value=whole(times, FAIR, 1) / whole(times, name, 1))


def level_rows(times: list[Times], climb: Climb) -> list[dict[str, Any]]:
    """A row per level: size, width, milliseconds of each method, and the ratio of the first of ours."""
    rows = []
    for level, (height, width) in enumerate(climb.shape.sizes):
        row = {"level": str(level), "size": f"{width}x{height}", "kernels": climb.config.kernels_at(level)}
        row |= {f"{name} (ms)": 1000 * median(values) for name, values in times[level].items()}
        ours = next(iter(name for name in times[level] if name not in (SLOW, FAIR)))
        rows.append(row | {"ratio": ratio(times[level][FAIR], times[level][ours])})
    return rows


def total_rows(times: list[Times], iterations: int) -> list[dict[str, Any]]:
    """A row per method: a whole training, and how many times as fast as the reference with the fast resize."""
    return [
        {
            "method": name,
            "whole training (min)": whole(times, name, iterations) / 60,
            "times as fast as the reference, fast resize": against_reference(times, name),
        }
        for name in times[0]
    ]


def draw(settings: dict[str, list[Times]], sizes: dict[str, list[int]]) -> plots.Figure:
    """Time per iteration over the pixels of the level, one panel per setting."""
    figure, grid = plots.new_figure(height=3.4, columns=len(settings), sharey=True, squeeze=False)
    for axes, (name, times) in zip(grid.flat, settings.items(), strict=True):
        for method in times[0]:
            axes.loglog(sizes[name], [1000 * median(level[method]) for level in times], ".-", label=method)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("pixels of the level")
        axes.legend(fontsize=7, frameon=False)
    grid.flat[0].set_ylabel("time per iteration (ms)")
    return figure


# -- the benchmark


def measure(profile: str, image: Tensor, arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Everything about one profile: numbers, and their tables."""
    configs = variants(profile, arguments.precisions)
    device = arguments.device
    repeats = (arguments.repeats, arguments.more_repeats, arguments.budget)
    times = level_times(image, configs, *repeats, device)
    iterations = TrainConfig.for_profile(profile).iterations
    climb = Climb(image, next(iter(configs.values())), torch.device("cpu"))
    utilisation = work.utilisation(image, configs, times[-1], arguments.matrix_side, device)
    shares = {name: work.profile(Climb(image, config, device).to_finest(), device) for name, config in configs.items()}
    document = {
        "iterations": iterations,
        "sizes": climb.shape.sizes,
        "configs": {name: config.to_dict() for name, config in configs.items()},
        "seconds": times,
        "totals": {name: whole(times, name, iterations) for name in times[0]},
        "speedup": {name: against_reference(times, name)._asdict() for name in times[0]},
        "utilisation": utilisation,
        "profile": shares,
    }
    text = f"""## Settings `{profile}`

{common.markdown(level_rows(times, climb))}

Medians per iteration; ratio: the reference with the fast resize against the first of ours, which runs the same
algorithm (lowest to highest of single repeats).

{common.markdown(total_rows(times, iterations))}

{iterations} iterations at each of {len(times)} levels, from the medians above.

Where the time goes, at the finest level:

{common.markdown(work.utilisation_rows(utilisation))}

{work.EXPLANATION}

{common.markdown(work.profile_rows(shares))}
"""
    return document, text


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--settings", nargs="+", default=["paper", "laptop"], help="profiles (default: paper laptop)")
    parser.add_argument("--image", default="mountains", help="a bundled picture")
    parser.add_argument("--precisions", nargs="+", default=common.PRECISIONS)
    parser.add_argument("--repeats", type=int, default=3, help="turns of each method at each level")
    parser.add_argument("--more-repeats", type=int, default=30, help="turns at levels that are fast enough")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds that those may take per level")
    parser.add_argument("--matrix-side", type=int, help="side of the matrices of the peak (default: by the device)")
    common.add_one_thread(parser)
    arguments = common.parsed(parser, argv, QUICK)

    image = sample_image(arguments.image)
    document: dict[str, Any] = {"image": arguments.image, "machine": common.machine(arguments.device), "settings": {}}
    document["time"] = common.kind_of_time(arguments.device)
    where = common.described(document["machine"])
    texts = [f"# Training speed\n\nPicture `{arguments.image}`. Times are {document['time']}. {where}\n"]
    for profile in arguments.settings:
        document["settings"][profile], text = measure(profile, image, arguments)
        texts.append(text)
        # after each profile: who stops it in the second keeps the first
        times = {name: found["seconds"] for name, found in document["settings"].items()}
        pixels = {name: [h * w for h, w in found["sizes"]] for name, found in document["settings"].items()}
        common.write(arguments.results, "speed", document, "\n".join(texts), draw(times, pixels))


if __name__ == "__main__":
    main()
