"""Both implementations level by level: the package's trainer without a whole training, and the plain reference.

The reference is `tests/reference.py`, the authors' loop written out. Its resize is a loop over rows in Python, slow on
purpose; so that this does not decide a comparison, `matrix_resize` puts the package's in its place.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from singan_core import SinGAN, SinGANError, TrainConfig
from singan_core.graphs import GraphedIterations
from singan_core.model import Level, finish, noise_shape
from singan_core.networks import Generator
from singan_core.pyramid import PyramidShape, resize
from singan_core.training import LevelTrainer, training_images
from tests import reference

NEVER = 10**6
"""Levels after which the reference's width doubles where the package's setting is 0, never."""

ROOM = 10_000
"""Iterations that a level of `Climb` has room for, more than any timing takes."""

AS_IN_CONFIG = (
    "kernels", "max_kernels", "iterations", "decay_at", "discriminator_steps", "generator_steps", "learning_rate",
    "penalty_weight", "alpha", "noise_amplitude", "seed",
)  # fmt: skip

ELSEWHERE = ("min_size", "max_size", "scale_factor", "double_kernels_every")
"""Settings that reach the reference in another form: with the pyramid that it is given, and as `NEVER`."""

WHATEVER = ("penalty_every", "precision")
"""Settings in which the package may differ: the reference has a penalty in each step and computes in float32."""


# -- the package


class Climb:
    """The package's training, taken from level to level at will: `step` is an iteration, `up` ends the level.

    Levels that were left after no or a few steps are as costly to draw from as trained ones, so that every level can be
    timed without a training.
    """

    def __init__(self, image: Tensor, config: TrainConfig, device: torch.device):
        self.config = config = replace(config, iterations=ROOM, iteration_decay=0.0)
        self.shape, self.reals = training_images(image, config, device)
        self.rng = torch.Generator(device).manual_seed(config.seed)
        noise = noise_shape(0, self.shape.sizes[0], config)
        z_star = torch.randn(noise, generator=self.rng, device=device, dtype=config.dtype)
        self.model = SinGAN(config, self.shape, z_star)
        self.trainer: LevelTrainer | None = None

    def up(self) -> bool:
        """End the level in training, if any, and begin the next; False where there is none."""
        if self.trainer is not None:
            self.model.levels.append(self.trainer.finished())
            self.trainer = None
        if self.reals:  # as in a training, those of finished levels are given up
            self.trainer = LevelTrainer(self.model, self.reals.pop(0), self.rng)
        return self.trainer is not None

    def to_finest(self) -> "Climb":
        """Begin the finest level; returns itself."""
        while self.up() and self.reals:
            pass
        return self

    @property
    def kernels(self) -> int:
        """Width of the level in training."""
        return self.config.kernels_at(len(self.model.levels))

    @property
    def period(self) -> int:
        """Iterations after which gradient penalties fall on the same steps again."""
        every, steps = self.config.penalty_every, self.config.discriminator_steps
        return every // math.gcd(every, steps)

    @property
    def warm_up_cycles(self) -> int:
        """Periods until iterations cost what they will: on CUDA until they are recorded as graphs."""
        return 1 if self.trainer.graphs is None else GraphedIterations.ORDINARY + 2

    def warm_up(self) -> None:
        """The periods of iterations that no timing should count."""
        for _ in range(self.warm_up_cycles):
            self.cycle()

    def cycle(self) -> None:
        """One period of iterations."""
        for _ in range(self.period):
            self.trainer.step()


def untrained(image: Tensor, config: TrainConfig, device: torch.device) -> SinGAN:
    """A whole pyramid with fresh weights, to be drawn from."""
    climb = Climb(image, config, device)
    while climb.up():
        pass
    return climb.model


def warm_up(device: torch.device) -> None:
    """Let PyTorch load what it loads at first use, with a training of one level that takes no time and no memory."""
    config = TrainConfig.for_profile("smoke", max_size=15)
    climb = Climb(torch.zeros(1, 3, 15, 15), config, device).to_finest()
    climb.cycle()


# -- the reference


def imresize_by_matrix(image: Tensor, ratio: float) -> Tensor:
    """The reference's imresize with the package's matrices: the same numbers up to rounding, at full speed."""
    return resize(image, tuple(math.ceil(ratio * side) for side in image.shape[-2:]), ratio)


@contextlib.contextmanager
def reference_resize(function: Callable[[Tensor, float], Tensor]) -> Iterator[None]:
    """Inside, the reference resizes with `function`; afterwards with its own again."""
    own = reference.imresize
    reference.imresize = function
    try:
        yield
    finally:
        reference.imresize = own


def matrix_resize() -> contextlib.AbstractContextManager[None]:
    """Inside, the reference resizes with the package's matrices."""
    return reference_resize(imresize_by_matrix)


def reference_settings(config: TrainConfig) -> dict[str, Any]:
    """The arguments of `train_reference` that say the same as `config`, which may differ in WHATEVER.

    Raises SinGANError where another setting that the reference does not have is not the authors'.
    """
    if lacking := config.changes().keys() - {*AS_IN_CONFIG, *ELSEWHERE, *WHATEVER}:
        raise SinGANError(f"The reference does not have {', '.join(sorted(lacking))}: leave the defaults.")
    settings = {name: getattr(config, name) for name in AS_IN_CONFIG}
    return settings | {"double_kernels_every": config.double_kernels_every or NEVER}


def train_on_reference(
    image: Tensor, config: TrainConfig, device: torch.device, on_iteration: Callable[[int], None] | None = None
) -> tuple[list[dict[str, Any]], Tensor, PyramidShape]:
    """The reference's training on the pyramid that the package would use: (levels, z_star, shape), in float32."""
    settings = reference_settings(config)
    shape, reals = training_images(image, config, device)
    reals = [real.float().contiguous() for real in reals]  # as the authors' code has them, not channels-last
    return *reference.train_reference(reals, shape.factor, **settings, on_iteration=on_iteration), shape


def as_model(levels: list[dict[str, Any]], z_star: Tensor, config: TrainConfig, shape: PyramidShape) -> SinGAN:
    """The reference's trained networks as a SinGAN, to be drawn from and measured like one of ours."""
    model = SinGAN(config, shape, z_star)
    for trained in levels:
        generator = Generator(trained["width"], config.layers, config.residual).to(trained["real"])
        copy_weights(trained["netG"], generator)
        level = Level(generator, None, trained["amplitude"], np.array(trained["losses"]))
        finish(level, z_star)
        model.levels.append(level)
    return model


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Parameters and batch norm statistics, one after the other: both implementations have the same in one order."""
    values = source.state_dict().values()
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))
