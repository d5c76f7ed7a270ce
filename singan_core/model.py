"""SinGAN: a trained pyramid of generators, and what one can draw from it: samples, the reconstruction, injections.

The applications (editing, harmonization, painting, ...) are thin functions over `SinGAN.inject`.
"""

import contextlib
import itertools
import math
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from singan_core.arguments import check_count, checked_seed, is_number, is_whole, to_path
from singan_core.colours import quantise
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.files import read_tensors, tensor_names, write_tensors
from singan_core.images import check_image
from singan_core.memory import keep_free_memory
from singan_core.networks import Discriminator, FoldedGenerator, Generator, pad
from singan_core.pyramid import PyramidShape, Size, at_level, resize, upsample

FORMAT_VERSION = 1
"""Of model and checkpoint files and of run keys; raised when an old file or an old result would be misread."""

HISTORY_COLUMNS = ("critic_real", "critic_fake", "gradient_penalty", "generator_fake", "reconstruction")
"""Per iteration, each from the last step of its kind: mean D(x), mean D(G(z)) before the critic's step, the unweighted
gradient penalty (the latest, where one is due only every few steps), mean D(G(z)) before the generator's step, and
MSE(G(z*), x) (0 where alpha is 0: it is not computed then)."""

NoiseSource = Callable[[int, tuple[int, int, int, int]], Tensor]
"""Standard normal noise of a level: called with (level, shape of one picture's map), gives (n, *shape[1:])."""

SAMPLE_BATCH = 8
"""Pictures that go through the generators together, at most: more are no faster on a CPU."""

BATCH_VALUES = 2**22
"""Values of a hidden layer of all pictures that go through the generators together: with more, processors wait for
their memory, and are slower than with one picture at a time."""

TILE = 2**8
"""Side in pixels of the tiles in which large pictures are drawn: a hidden layer of 128 kernels takes 34 MB each."""

MAX_SIDE, MAX_PIXELS = 2**13, 2**25
"""Largest picture that is drawn: images of 2**25 pixels take 0.4 GB each, a few of which are needed at a time."""


@dataclass
class Level:
    """One scale of a trained pyramid: its networks, its noise amplitude, and the losses seen in training.

    history: (iterations, len(HISTORY_COLUMNS)) float64 array; None where it is not known.
    discriminator: None where only the generators were kept. palette: the colours (k, 3) in which the level gets the
    previous image; None: as it is.
    """

    generator: Generator
    discriminator: Discriminator | None
    amplitude: float
    history: np.ndarray | None = None
    palette: Tensor | None = None


@dataclass
class SinGAN:
    """A trained pyramid. Level 0 is the coarsest; `shape` has one size per trained level.

    z_star: the fixed noise map of level 0 that reconstructs the photograph (paper, section 2.2), (1, 1, h, w).
    seconds: how long the training took, interruptions left out; 0 where it is not known.
    """

    config: TrainConfig
    shape: PyramidShape
    z_star: Tensor
    levels: list[Level] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def size(self) -> Size:
        """(height, width) in pixels of the finest level: the natural size of a sample."""
        return self.shape.sizes[len(self.levels) - 1]

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.z_star.device

    def fitted_size(self, size: Size) -> Size:
        """The trained resolution in the proportions of `size`: the longer side is that of the finest level."""
        ratio = max(self.size) / max(size)
        fitted = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
        close = all(abs(side - own) <= 1 for side, own in zip(fitted, self.size, strict=True))
        return self.size if close else fitted

    def shape_for_picture(self, own: Size, size: Size | None = None) -> PyramidShape:
        """The levels through which `inject` sends a picture of `own` pixels: default size, its `fitted_size`.

        Raises SinGANError for a size out of range.
        """
        shape = self._shape_for(self.fitted_size(own) if size is None else size, None)
        return shape if shape.sizes[-1] == self.size else shape.around(shape.sizes[-1])

    def to(self, device: torch.device | str) -> "SinGAN":
        """Move the networks to a device; returns the model itself."""
        self.z_star = self.z_star.to(pick_device(device))
        for level in self.levels:
            finish(level, self.z_star)
        return self

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        size: Size | None = None,
        factors: tuple[float, float] | None = None,
        start_scale: int = 0,
        stop_scale: int | None = None,
    ) -> Tensor:
        """n new pictures, (n, 3, H, W) in [-1, 1].

        seed: picture k depends on seed and k alone, not on n; level by level the noise is the same for every
        start_scale. size: (height, width) in pixels at the finest level; factors: the same in units of the trained
        size; default: the trained size. start_scale: levels below it reconstruct the photograph, new noise comes from
        it on (paper, Fig. 8): 0 changes everything, the last level only the finest texture. stop_scale: last level to
        run; the pictures then have that level's size (default: all levels).

        Raises SinGANError for values out of range.
        """
        noise = partial(seeded_noise, seed, like=self.z_star)
        return self.draw(n, noise, size=size, factors=factors, start_scale=start_scale, stop_scale=stop_scale)

    def draw(
        self,
        n: int,
        noise: Callable[[range], NoiseSource],
        *,
        size: Size | None = None,
        factors: tuple[float, float] | None = None,
        start_scale: int = 0,
        stop_scale: int | None = None,
    ) -> Tensor:
        """What `sample` does, with noise of one's own: n pictures, (n, 3, H, W) in [-1, 1].

        noise: gives the source of the noise for a range of the pictures 0 to n - 1; it is called for one range after
        the other, and each source once per level, from start_scale on.
        """
        last = self._check_scale(stop_scale, "stop_scale", low=0)
        start = self._check_scale(start_scale, "start_scale", low=0)
        if start > last:
            raise SinGANError(f"start_scale={start} lies above stop_scale={last}: nothing would be generated.")
        shape = self._shape_for(size, factors)
        previous = None
        if start:
            previous = resize(self._reconstruct_to(start - 1), shape.sizes[start - 1])
        return self._draw(n, noise, shape, start, last, previous)

    def reconstruct(self, stop_scale: int | None = None) -> Tensor:
        """The training photograph from z*, (1, 3, H, W) in [-1, 1], at the size of stop_scale (default: the finest)."""
        return self._reconstruct_to(self._check_scale(stop_scale, "stop_scale", low=0))

    def inject(self, image: Tensor, scale: int, *, n: int = 1, seed: int = 0, size: Size | None = None) -> Tensor:
        """Put a picture into the pyramid at one scale and let the finer levels redraw it: (n, 3, H, W) in [-1, 1].

        The picture (1, 3, h, w) is brought to level scale - 1 and up again to level `scale`, then goes through the
        generators from `scale` on with new noise (paper, section 4). scale: 1 (much is redrawn) to the last level
        (texture only). size: (height, width) of the result in pixels; by default the picture's proportions at the
        trained resolution, which is the trained size itself for a picture of the training photograph's shape.

        Raises SinGANError for a scale out of range and for anything that is not an image.
        """
        check_image(image)
        if len(image) != 1:
            raise SinGANError(f"inject takes one picture at a time, got a batch of {len(image)}: image[i : i + 1].")
        scale = self._check_scale(scale, "scale", low=1)
        shape = self.shape_for_picture(image.shape[-2:], size)
        previous = at_level(image.to(self.z_star), shape, scale - 1)
        noise = partial(seeded_noise, seed, like=self.z_star)
        return self._draw(n, noise, shape, scale, len(self.levels) - 1, previous)

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file. Raises SinGANError when it cannot be written."""
        write_tensors(to_path(path), *pack(self))

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str | None = None) -> "SinGAN":
        """Read a pyramid written by `save`; device: see `pick_device`. Raises SinGANError for anything else."""
        path = to_path(path)
        if os.path.isdir(path):
            raise SinGANError(f"{path} is a folder, not a file: load_run reads the folder of a run.")
        tensors, settings = read_tensors(path)
        if "iteration" in settings:
            raise SinGANError(f"{path} is the checkpoint of a training that is not finished: resume that training.")
        device = pick_device(device)
        try:
            return unpack(tensors, settings, device)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError) as error:
            raise SinGANError(f"{path} does not hold a trained pyramid of this project ({error!r}).") from error

    # -- how pictures are made

    def folded(self, dtype: torch.dtype | None = None) -> list[FoldedGenerator]:
        """The finished generators for `generate`, faster to draw from; dtype: to compute in."""
        return [FoldedGenerator(level.generator, dtype or self.config.dtype) for level in self.levels]

    def generate(
        self,
        generators: list[FoldedGenerator],
        noise: NoiseSource,
        shape: PyramidShape,
        start: int,
        stop: int,
        previous: Tensor | None = None,
    ) -> Tensor:
        """The image of level `stop`, (n, 3, h, w), not clamped, from levels start to stop (equations 1 to 3).

        generators: as from `folded`. previous: the image of level start - 1, (n or 1, 3, any size); None at level 0,
        which starts from zeros. Training draws from the finished levels through this, sampling from all of them.
        """
        for index in range(start, stop + 1):
            level, size = self.levels[index], shape.sizes[index]
            z = pad_noise(level.amplitude * noise(index, noise_shape(index, size, self.config)), self.config)
            before = z.new_zeros(1, 3, *size) if previous is None else upsample(previous, size, shape.factor)
            if level.palette is not None:
                before = quantise(before, level.palette)
            before, previous = pad(before, self.config.layers), None  # large pictures: keep nothing that is not needed
            previous = draw_tiled(generators[index], z, before, TILE)
        return previous

    def reconstruction_noise(self, level: int, shape: tuple[int, ...]) -> Tensor:
        """The fixed noise of the reconstruction: z* at level 0 and zero elsewhere (paper, section 2.2)."""
        return self.z_star if level == 0 else self.z_star.new_zeros(shape)

    def _draw(
        self,
        n: int,
        noise: Callable[[range], NoiseSource],
        shape: PyramidShape,
        start: int,
        last: int,
        previous: Tensor | None,
    ) -> Tensor:
        check_count("n", n)
        kernels = self.levels[last].generator.tail[0].in_channels
        together = max(1, min(SAMPLE_BATCH, BATCH_VALUES // (math.prod(shape.sizes[last]) * kernels)))
        batches = [range(first, min(first + together, n)) for first in range(0, n, together)]
        sources = [noise(batch) for batch in batches]
        keep_free_memory(self.device)
        with torch.inference_mode(), full_float32():
            generators = self.folded()
            images = [self.generate(generators, source, shape, start, last, previous) for source in sources]
        return _as_image(torch.cat(images))

    def _reconstruct_to(self, last: int) -> Tensor:
        with torch.inference_mode(), full_float32():
            image = self.generate(self.folded(), self.reconstruction_noise, self.shape, 0, last)
        return _as_image(image)

    # -- checks

    def _check_scale(self, scale: int | None, name: str, low: int) -> int:
        last = len(self.levels) - 1
        if last < low:
            raise SinGANError(f"The pyramid has {last + 1} trained levels, too few for this.")
        if scale is None:
            return last
        if not is_whole(scale) or not low <= scale <= last:
            why = " (level 0 starts from noise alone and has no input)" if low == 1 and scale == 0 else ""
            raise SinGANError(f"{name} must be a level from {low} to {last}, got {scale!r}{why}.")
        return int(scale)

    def _shape_for(self, size: Size | None, factors: tuple[float, float] | None) -> PyramidShape:
        if size is not None and factors is not None:
            raise SinGANError("Give either size (pixels) or factors (multiples of the trained size), not both.")
        if factors is not None:
            if not _is_pair(factors, is_number) or not all(0 < factor < 1000 for factor in factors):
                raise SinGANError(f"factors must be (vertical, horizontal) numbers above 0, got {factors!r}.")
            size = (round(self.size[0] * factors[0]), round(self.size[1] * factors[1]))
        trained = PyramidShape(self.shape.sizes[: len(self.levels)], self.shape.factor)
        if size is None:
            return trained
        if not _is_pair(size, is_whole) or not all(1 <= side <= MAX_SIDE for side in size):
            raise SinGANError(f"size must be (height, width) in whole pixels from 1 to {MAX_SIDE}, got {size!r}.")
        if size[0] * size[1] > MAX_PIXELS:
            raise SinGANError(
                f"size {tuple(size)} has over {MAX_PIXELS} pixels, more than is drawn at once: ask for less."
            )
        return trained.scaled_to(size) if tuple(size) != self.size else trained


def pick_device(device: torch.device | str | None = None) -> torch.device:
    """The device asked for; by default CUDA where there is one, else the CPU. Raises SinGANError if it is not there."""
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=chosen).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise SinGANError(f"There is no device {chosen!r} here: use 'cpu', or leave it out.") from error


def device_name(device: torch.device | str | None = None) -> str:
    """What a device (see `pick_device`) is called in results: the GPU's name, or the CPU with the kind of machine."""
    device = pick_device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU {platform.machine()}"


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions on a GPU in float32, and not in the TF32 that PyTorch takes for them: that moves pixels by a level.

    On a CPU it has no effect.
    """
    flags, name, full = torch.backends.cudnn, "allow_tf32", False
    if hasattr(flags, "conv"):  # from PyTorch 2.9 on, which does not tell the former to whoever has used this
        flags, name, full = flags.conv, "fp32_precision", "ieee"
    before = getattr(flags, name)
    setattr(flags, name, full)
    try:
        yield
    finally:
        setattr(flags, name, before)


def _as_image(generated: Tensor) -> Tensor:
    """What generators gave, as an image: float32 in [-1, 1], and an ordinary tensor that may also enter a loss."""
    return generated.clone().clamp(-1, 1).float()


def _is_pair(value: object, fits: Callable[[object], bool]) -> bool:
    return isinstance(value, (tuple, list, torch.Size)) and len(value) == 2 and all(map(fits, value))


def draw_tiled(generator: FoldedGenerator, noise: Tensor, previous: Tensor, side: int) -> Tensor:
    """What the generator gives, computed in tiles of side * side pixels: the same pixels in little memory.

    Each tile is drawn from all of the input that its pixels depend on, so there are no seams. Only for finished levels:
    the batch statistics of one in training are those of all pixels.
    """
    margin = 2 * generator.margin
    height, width = previous.shape[-2] - margin, previous.shape[-1] - margin
    if height * width <= side**2:
        return generator(noise, previous)
    image = previous.new_empty(max(len(noise), len(previous)), 3, height, width)
    for top, left in itertools.product(range(0, height, side), range(0, width, side)):
        tile = (..., slice(top, top + side + margin), slice(left, left + side + margin))
        image[..., top : top + side, left : left + side] = generator(noise[tile], previous[tile])
    return image


def noise_shape(level: int, size: Size, config: TrainConfig) -> tuple[int, int, int, int]:
    """Shape of a level's noise map: one channel at level 0 (the same noise for red, green and blue), three above."""
    margin = config.layers if config.noise_padding else 0
    return (1, 1 if level == 0 else 3, size[0] + 2 * margin, size[1] + 2 * margin)


def pad_noise(noise: Tensor, config: TrainConfig) -> Tensor:
    """Noise on the grid that the generator takes: zeros around it, unless it was drawn on the padded grid already."""
    return noise if config.noise_padding else pad(noise, config.layers)


def seeded_noise(seed: int, pictures: range, like: Tensor) -> NoiseSource:
    """Noise for a batch of pictures; each one's depends on seed, its own number and the level alone.

    It has the device and type of `like`, but is drawn on the CPU in float32, so that a seed gives the same picture on
    every device and in every batch.
    """
    seed = checked_seed(seed)

    def noise(level: int, shape: tuple[int, int, int, int]) -> Tensor:
        states = [np.random.SeedSequence((seed, k, level)).generate_state(1, np.uint64)[0] for k in pictures]
        rngs = [torch.Generator().manual_seed(int(state)) for state in states]
        return torch.cat([torch.randn(shape, generator=rng) for rng in rngs]).to(like)

    return noise


# -- one model as named tensors and JSON settings: what model files and checkpoints share


def pack(model: SinGAN) -> tuple[dict[str, Tensor], dict]:
    """A model as (tensors by name, settings); the inverse of `unpack`."""
    tensors = {"z_star": model.z_star}
    for index, level in enumerate(model.levels):
        parts = {"generator": level.generator, "discriminator": level.discriminator}
        for part, network in parts.items():
            if network is not None:
                tensors |= {f"{index}.{part}.{name}": value for name, value in network.state_dict().items()}
        if level.history is not None:
            tensors[f"{index}.history"] = torch.from_numpy(level.history)
        if level.palette is not None:
            tensors[f"{index}.palette"] = level.palette
    settings = {
        "format": FORMAT_VERSION,
        "config": model.config.to_dict(),
        "sizes": model.shape.sizes,
        "factor": model.shape.factor,
        "kernels": [level.generator.tail[0].in_channels for level in model.levels],
        "amplitudes": [level.amplitude for level in model.levels],
        "seconds": model.seconds,
    }
    return tensors, settings


def unpack(tensors: dict[str, Tensor], settings: dict, device: torch.device) -> SinGAN:
    """A model from what `pack` gave. Raises KeyError, TypeError or RuntimeError where the parts do not fit."""
    if settings["format"] != FORMAT_VERSION:
        raise SinGANError(
            f"The file has format {settings['format']}, this version reads {FORMAT_VERSION}: train again."
        )
    config = TrainConfig.from_dict(settings["config"])
    shape = PyramidShape(tuple((h, w) for h, w in settings["sizes"]), settings["factor"])
    model = SinGAN(config, shape, tensors["z_star"].to(device), seconds=settings["seconds"])
    for index, (kernels, amplitude) in enumerate(zip(settings["kernels"], settings["amplitudes"], strict=True)):
        generator = Generator(kernels, config.layers, config.residual).to(config.dtype)
        generator.load_state_dict(_below(tensors, f"{index}.generator."))
        discriminator = None
        if weights := _below(tensors, f"{index}.discriminator."):
            discriminator = Discriminator(kernels, config.layers).to(config.dtype)
            discriminator.load_state_dict(weights)
        history = tensors.get(f"{index}.history")
        history = None if history is None else history.double().numpy()
        level = Level(generator, discriminator, amplitude, history, tensors.get(f"{index}.palette"))
        finish(level, model.z_star)
        model.levels.append(level)
    return model


def holds_discriminators(path: str | Path) -> bool:
    """Whether a model file has the discriminators, too; shipped ones may be without."""
    return any(".discriminator." in name for name in tensor_names(to_path(path)))


def finish(level: Level, like: Tensor) -> None:
    """Make a level what finished ones are: device and type of `like`, running statistics, no gradients."""
    for network in (level.generator, level.discriminator):
        if network is not None:
            network.to(like).eval().requires_grad_(False).zero_grad()
    if level.palette is not None:
        level.palette = level.palette.to(like)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
