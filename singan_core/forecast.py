"""Time and memory of a training before it starts: "this needs about 9 GB and 40 min here".

The counts of `costs`, times the pace of this machine, which a second of real iterations at two small sizes tells.
"""

import math
import statistics
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from singan_core.config import TrainConfig
from singan_core.costs import LevelCost, training_costs
from singan_core.graphs import GraphedIterations
from singan_core.model import SinGAN, noise_shape, pick_device
from singan_core.networks import fast_bfloat16
from singan_core.pyramid import PyramidShape, Size, pyramid_shape
from singan_core.training import LevelTrainer, training_images

SMALL, SIDES = 24, (256, 192, 160, 128, 96, 64, 48)
"""Sides in pixels of the two timed sizes; the larger one is the largest that is timed in a moment."""

MOMENT = {"cpu": 2e10, "cuda": 2e12}
"""Floating-point operations of a moment, by kind of device: for iterations in timing."""

RAREST = 4
"""Iterations at most that are timed together, so that they share one penalty."""

WIDEST = 128
"""Kernels of the widest networks that are timed; wider ones take too long, and get no more done in a second."""

LIBRARIES, SCATTERED = 45e6, 2.05
"""What a process needs beside networks and images, as `benchmarks/results` has it: bytes of code that PyTorch makes for
convolutions, and how many times the memory of its hidden maps: freed pieces stay with it (`memory`)."""


@dataclass(frozen=True)
class Pace:
    """How fast a device trains: width of the networks to (seconds of an operation, seconds of a pass).

    Operations and passes are those of `costs.LevelCost`.
    """

    device: torch.device
    seconds: dict[int, tuple[float, float]]

    def of_iteration(self, cost: LevelCost, kernels: int) -> float:
        """Seconds of an iteration. For a width that was not timed, those of the nearest one that was."""
        nearest = min(self.seconds, key=lambda width: abs(math.log(width / kernels)))
        operation, each_pass = self.seconds[nearest]
        return operation * cost.operations + each_pass * cost.passes


@dataclass(frozen=True)
class Forecast:
    """What a training will take: seconds, bytes of memory, and floating-point operations of its convolutions.

    memory: on a CPU that of the process beyond what it had before, on a GPU that of tensors.
    """

    seconds: float
    memory: float
    operations: float

    def __str__(self) -> str:
        return f"about {_duration(self.seconds)} and {_size(self.memory)} of memory"


def forecast(size: Size, config: TrainConfig, pace: Pace | None = None) -> Forecast:
    """What training on a photograph of `size` (height, width) pixels will take, on the device of the pace.

    pace: from `measure_pace`, which takes some seconds; default: measured now. All levels are counted, whatever
    `quantised_level` says. Left out are what happens between the levels (1 % of the time at 250 px, more with windows)
    and the texture loss where it weighs more than the rest.
    """
    limits = {"min_size": config.min_size, "max_size": config.max_size, "scale_factor": config.scale_factor}
    shape = pyramid_shape(tuple(size), **limits)
    pace = pace or measure_pace(config, levels=len(shape))
    if config.precision == "mixed" and not fast_bfloat16(pace.device):
        config = replace(config, precision="float32")
    on_cpu = pace.device.type == "cpu"
    seconds = operations = memory = 0.0
    for level, cost in enumerate(training_costs(config, shape)):
        seconds += cost.iterations * pace.of_iteration(cost, config.kernels_at(level))
        operations += cost.iterations * cost.operations
        memory = max(memory, SCATTERED * cost.maps + cost.kept if on_cpu else cost.memory)
    if on_cpu:
        memory += LIBRARIES
    return Forecast(seconds, memory, operations)


def measure_pace(
    config: TrainConfig, *, levels: int = 10, seconds: float = 1.0, device: torch.device | str | None = None
) -> Pace:
    """Time iterations on random pictures of two sizes, about `seconds` for each width of so many levels.

    What counts of the settings are precision, widths and how often there is a penalty, whose operations take longer.
    The others take what they take, in however many layers and steps. device: default CUDA where there is one, else
    the CPU.
    """
    device = pick_device(device)
    widths = {min(config.kernels_at(level), WIDEST) for level in range(levels)}
    return Pace(device, {kernels: _timed_width(config, kernels, seconds / 2, device) for kernels in sorted(widths)})


def _timed_width(config: TrainConfig, kernels: int, seconds: float, device: torch.device) -> tuple[float, float]:
    """Seconds of an operation and of a pass, from one size where the arithmetic hardly counts and one where it does."""
    period = min(config.penalty_every, RAREST)
    settings = TrainConfig(kernels=kernels, max_kernels=kernels, double_kernels_every=0, precision=config.precision)
    settings = replace(settings, discriminator_steps=1, generator_steps=1, penalty_every=period)

    def cost(side: int) -> LevelCost:
        return training_costs(settings, PyramidShape(((side, side),), settings.scale_factor))[0]

    most = MOMENT[device.type] / period
    large = next((side for side in SIDES if cost(side).operations <= most), SIDES[-1])
    taken = [_timed(settings, side, seconds, device) for side in (SMALL, large)]
    counts = np.array([(cost(side).operations, cost(side).passes) for side in (SMALL, large)])
    # neither is negative, whatever disturbed the timing; an operation always takes its time
    operation, each_pass = nnls(counts / np.array(taken)[:, None], np.ones(2))[0]
    return (float(operation), float(each_pass)) if operation else (float(taken[1] / counts[1, 0]), 0.0)


def _timed(config: TrainConfig, side: int, seconds: float, device: torch.device) -> float:
    """Median of the seconds of an iteration at a single level of side x side pixels."""
    settings = replace(config, min_size=side, max_size=side, iterations=10_000)
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model, reals, rng = _untrained(picture, settings, device)
    return _median(LevelTrainer(model, reals[0], rng), seconds, device)


def _median(trainer: LevelTrainer, seconds: float, device: torch.device) -> float:
    """Median of the seconds of an iteration, of so many together as share one penalty, timed for about `seconds`."""
    config = trainer.config
    period = config.penalty_every // math.gcd(config.penalty_every, config.discriminator_steps)

    def cycle() -> float:
        started = time.perf_counter()
        for _ in range(period):
            trainer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - started) / period

    for _ in range(1 if trainer.graphs is None else GraphedIterations.ORDINARY + 2):
        cycle()
    until, cycles = time.perf_counter() + seconds, [cycle()]
    while time.perf_counter() < until or len(cycles) < 3:
        cycles.append(cycle())
    return statistics.median(cycles)


def iteration_times(
    image: Tensor, config: TrainConfig, *, seconds: float = 0.3, device: torch.device | str | None = None
) -> list[float]:
    """Seconds of an iteration at every level, coarsest first: the median of about `seconds` of them, each untrained.

    The time does not depend on what is learned, so `training_seconds` tells from these what the whole training takes,
    on this machine, in its present state.
    """
    device = pick_device(device)
    # all levels can be timed: no schedule ends within that
    model, reals, rng = _untrained(image, replace(config, iterations=10_000, iteration_decay=0.0), device)
    times = []
    while reals:
        trainer = LevelTrainer(model, reals.pop(0), rng)
        times.append(_median(trainer, seconds, device))
        model.levels.append(trainer.finished())
    return times


def training_seconds(config: TrainConfig, times: Sequence[float]) -> float:
    """Seconds of a whole training, from those of an iteration of each of its levels, coarsest first.

    times: of these levels, from `iteration_times`. The settings may have another number of iterations, or another
    decay of it, than those which were timed. What happens between the levels is left out.
    """
    return sum(config.iterations_at(level) * each for level, each in enumerate(times))


def peak_memory(image: Tensor, config: TrainConfig, *, device: torch.device | str | None = None) -> int:
    """Bytes of all tensors at the peak of a training, measured in one iteration of every level, each untrained.

    The memory does not depend on what is learned, so this is that of the whole training. Beside it a process needs the
    memory of its libraries, and on a CPU what `forecast` says.
    """
    device = pick_device(device)
    model, reals, rng = _untrained(image, config, device)

    def climb() -> None:
        while reals:
            trainer = LevelTrainer(model, reals.pop(0), rng)
            trainer.step()
            model.levels.append(trainer.finished())
            del trainer

    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        climb()
        return torch.cuda.max_memory_allocated(device) - before
    with _LiveTensors() as tensors:
        climb()
    return tensors.peak


def _untrained(
    image: Tensor, config: TrainConfig, device: torch.device
) -> tuple[SinGAN, list[Tensor], torch.Generator]:
    """A pyramid without levels, the images to train them on, and the random numbers."""
    shape, reals = training_images(image, config, device)
    rng = torch.Generator(device).manual_seed(config.seed)
    size = noise_shape(0, shape.sizes[0], config)
    return SinGAN(config, shape, torch.randn(size, generator=rng, device=device, dtype=config.dtype)), reals, rng


class _LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside it, as long as they live; `peak` is the most at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.live += storage.nbytes()
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, name: int, size: int) -> None:
        self.known.discard(name)
        self.live -= size


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{max(1, round(seconds))} s"


def _size(memory: float) -> str:
    return f"{_two_digits(memory / 1e9)} GB" if memory >= 1e9 else f"{max(1, round(memory / 1e6, -1)):.0f} MB"


def _two_digits(number: float) -> str:
    return f"{number:.2g}" if number < 99.5 else f"{round(number, -1):.0f}"
