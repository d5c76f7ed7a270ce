"""What a training tells on its way: a progress bar, reports to a callback, and a Ctrl-C that loses nothing."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from singan_core.config import TrainConfig
from singan_core.costs import training_costs
from singan_core.model import HISTORY_COLUMNS, SinGAN
from singan_core.pyramid import PyramidShape

if TYPE_CHECKING:
    from singan_core.training import LevelTrainer


@dataclass(frozen=True)
class Progress:
    """What a callback is told while a pyramid is in training.

    level: the one in training, 0 is the coarsest, of `levels`. iteration: how many of its `iterations` are done.
    history: its losses so far, (iteration, len(HISTORY_COLUMNS)) float64. seconds_left: estimate for the whole
    pyramid. model: the finished levels, this one among them once its last iteration is done; sampling from it does not
    disturb the training.
    """

    level: int
    levels: int
    iteration: int
    iterations: int
    history: np.ndarray
    seconds_left: float
    model: SinGAN


Callback = Callable[[Progress], None]

REPORT_SECONDS = 0.5
"""Time between reports: each one waits for the device, so they are few."""


class Reporter:
    """Tells the progress bar and the callback where a training is, at most every REPORT_SECONDS."""

    def __init__(self, model: SinGAN, callback: Callback | None, progress: bool):
        self.model, self.callback = model, callback
        self.costs = iteration_costs(model.config, model.shape)
        self.bar = tqdm(
            # where one level is trained anew, what comes after it is there already
            total=self._finished_cost(1 + (model.config.quantised_level or len(self.costs) - 1)),
            disable=not progress,
            bar_format="{desc} |{bar}| {percentage:3.0f}% [{elapsed}, {remaining} left{postfix}]",
        )
        self.reported = time.monotonic()
        self.started: tuple[float, float] | None = None  # (time, cost done) when this process took the training up

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def report(self, trainer: "LevelTrainer", level_done: bool = False) -> None:
        """Report if it is time, or if the level is done; raises SinGANError if the training has diverged."""
        now = time.monotonic()
        done = self.costs[trainer.index] * trainer.iteration + self._finished_cost(trainer.index)
        if self.started is None:
            self.started = (now, done)
            self.bar.initial = self.bar.n = done
        if now - self.reported < REPORT_SECONDS and not level_done:
            return
        self.reported = now
        trainer.raise_if_diverged()
        history = trainer.history[: trainer.iteration].cpu().numpy()
        levels = len(self.model.shape)
        place = f"level {trainer.index} ({trainer.index + 1} of {levels})"
        self.bar.set_description_str(f"{place}, iteration {trainer.iteration}/{trainer.iterations}", refresh=False)
        losses = dict(zip(HISTORY_COLUMNS, history[-1], strict=True))
        self.bar.set_postfix_str(
            f"D(x)-D(G) {losses['critic_real'] - losses['critic_fake']:.2f}, rec {losses['reconstruction']:.4f}",
            refresh=False,
        )
        self.bar.update(done - self.bar.n)
        if self.callback is not None:
            start, before = self.started
            pace = (now - start) / max(done - before, 1e-9)
            left = (self.bar.total - done) * pace
            self.callback(
                Progress(trainer.index, levels, trainer.iteration, trainer.iterations, history, left, self.model)
            )

    def _finished_cost(self, level: int) -> float:
        iterations_at = self.model.config.iterations_at
        return sum(cost * iterations_at(below) for below, cost in enumerate(self.costs[:level]))


def iteration_costs(config: TrainConfig, shape: PyramidShape) -> list[float]:
    """Relative time of one iteration of each level, in floating-point operations.

    PASS_OVERHEAD stands for what a pass costs besides its arithmetic, so that small levels are not taken as free.
    """
    return [cost.operations + PASS_OVERHEAD * cost.passes for cost in training_costs(config, shape)]


PASS_OVERHEAD = 2e7
"""Overhead of a pass in operations: 0.1 ms, and 200 GFLOP/s, as `forecast` finds them on one CPU core."""


@contextlib.contextmanager
def deferred_interrupt(then: Callable[[], None] | None = None) -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C or SIGTERM; gives a function that tells if it came, to act on it when it suits.

    SIGTERM is what clusters send to a process that is to end soon. then: called when it comes. Another signal, a second
    later or more, does what it always does; some programs send the first one twice. Outside the main thread, where
    signals cannot be handled, nothing is held back.
    """
    came: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hold_back(number: int, frame: object) -> None:
        came.append(time.monotonic())
        if len(came) == 1:
            if then is not None:
                then()
        elif came[-1] - came[0] >= 1.0:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, hold_back)
    try:
        yield lambda: bool(came)
    finally:
        restore()
