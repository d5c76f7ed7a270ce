"""What a level in training looks at: its whole image, as in the paper, or random windows of it where that is too large.

A view gives the parts of the level's images, the noise and the previous image that go together. Windows cost the same
at every resolution: also the finished levels below draw only the part that a window needs, in the same pixels as if
they had drawn everything.
"""

import itertools
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from singan_core.colours import quantise
from singan_core.config import TrainConfig
from singan_core.model import SinGAN, noise_shape, pad_noise
from singan_core.networks import Generator, fast_bfloat16, measure_statistics, pad
from singan_core.pyramid import resize_matrix, upsample, upsample_ratio

WINDOWS = 4
"""Windows per step. They share batch statistics, which come the closer to the whole image's the more windows there are;
each costs its margins."""


def make_view(model: SinGAN, rng: torch.Generator, palette: Tensor | None = None) -> "WholeImage | RandomWindows":
    """The view for the level of a model that is trained next. palette: its colours (k, 3) of previous images."""
    config, size = model.config, model.shape.sizes[len(model.levels)]
    if config.crop and size[0] * size[1] > config.crop**2:
        return RandomWindows(model, rng, palette=palette)
    return WholeImage(model, rng, palette)


class WholeImage:
    """The whole image in every step."""

    def __init__(self, model: SinGAN, rng: torch.Generator, palette: Tensor | None = None):
        self.model, self.rng, self.index, self.palette = model, rng, len(model.levels), palette
        self.dtype = computing_type(model.config, model.device)
        self.generators = model.folded(self.dtype)
        self.size = model.shape.sizes[self.index]
        self.matrices: dict[int, Tensor] = {}

    def move(self) -> None:
        """Go to the next place: there is only one. The matrices of `upsample` are kept for it.

        Its cache may drop them at any time, and a CUDA graph that was recorded with them still reads them.
        """
        if self.model.z_star.is_cuda:
            sizes, factor = self.model.shape.sizes[: self.index + 1], self.model.shape.factor
            for below, size in pairwise(sizes):
                for axis in (0, 1):
                    ratio = upsample_ratio(below, size, factor)
                    matrix = _matrix_to(below[axis], size[axis], ratio, self.model.z_star)
                    self.matrices[id(matrix)] = matrix

    def cut(self, image: Tensor, margin: int = 0) -> Tensor:
        """The part of an image of the level, (1, C, H, W), that is in view. margin: padding that the image has."""
        return image

    def noise(self) -> Tensor:
        """New standard normal noise of the level for the part in view, on the padded grid."""
        return pad_noise(
            self._draw(self.index, noise_shape(self.index, self.size, self.model.config)), self.model.config
        )

    def previous(self) -> Tensor:
        """A new random image from below for the part in view, on the padded grid; zeros at level 0."""
        margin = self.model.config.layers
        if self.index == 0:
            return pad(self.model.z_star.new_zeros(1, 3, *self.size), margin)
        with torch.no_grad():
            image = self.model.generate(self.generators, self._draw, self.model.shape, 0, self.index - 1)
            image = upsample(image, self.size, self.model.shape.factor)
            return pad(image if self.palette is None else quantise(image, self.palette), margin)

    def settle(self, generator: Generator, amplitude: float, rebuilt_from: list[Tensor]) -> None:
        """Set the statistics that a trained generator will be drawn with: here it has seen them in training."""

    def _draw(self, level: int, shape: tuple[int, ...]) -> Tensor:
        like = self.model.z_star
        return torch.randn(shape, generator=self.rng, device=like.device, dtype=like.dtype)


class RandomWindows:
    """Windows at random places, new ones in each iteration; together they have as many pixels as a square of `crop`.

    A place outside the image is moved to its border, so that the pixels there are seen as often as those inside, and
    with the zeros around them that the network will always find there. Places are tensors on the device: nothing waits
    for them, and a CUDA graph can draw them.
    """

    def __init__(self, model: SinGAN, rng: torch.Generator, count: int = WINDOWS, palette: Tensor | None = None):
        self.model, self.rng, self.index, self.count = model, rng, len(model.levels), count
        self.palette = palette
        self.dtype = computing_type(model.config, model.device)
        self.generators = model.folded(self.dtype)
        self.margin = model.config.layers
        sizes, factor = model.shape.sizes[: self.index + 1], model.shape.factor
        ratios = [upsample_ratio(below, size, factor) for below, size in pairwise(sizes)]
        side = round(model.config.crop / count**0.5)
        self.axes = tuple(_Axis([s[axis] for s in sizes], ratios, side, self.margin, model.z_star) for axis in (0, 1))
        self.counts = [1 if all(axis.is_whole(level) for axis in self.axes) else count for level in range(len(sizes))]
        self.move()

    def move(self) -> None:
        """Go to new random places."""
        self.starts = [axis.draw(self.count, self.rng) for axis in self.axes]

    def cut(self, image: Tensor, margin: int = 0) -> Tensor:
        """The windows of an image of the level, (1, C, H, W) to (count, C, h, w). margin: padding of both."""
        rows, columns = self._spans(self.index, margin)
        return image[0][:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)

    def noise(self) -> Tensor:
        """New standard normal noise of the level for the windows, on the padded grid."""
        return self._noise(self.index)

    def previous(self) -> Tensor:
        """A new random image from below for the windows, on the padded grid; zeros at level 0."""
        previous = self.model.z_star.new_zeros(1, 3, *(axis.lengths[0] + 2 * self.margin for axis in self.axes))
        with torch.no_grad():
            for level in range(self.index):
                noise = self.model.levels[level].amplitude * self._noise(level)
                previous = self._upsampled(self.generators[level](noise, previous), level + 1)
            if self.palette is not None:
                previous = quantise(previous, self.palette) * self._inside(self.index)
        return previous

    def settle(self, generator: Generator, amplitude: float, rebuilt_from: list[Tensor]) -> None:
        """Set the statistics that a trained generator will be drawn with to those of whole images.

        Those of windows scatter: the average is over two new random images and the reconstruction, about the mixture
        that the running statistics of a training on whole images hold. rebuilt_from: the reconstruction's input, the
        sum of noise and previous image on the padded grid; empty where it has no part in the training.
        """
        whole = WholeImage(self.model, self.rng, self.palette)
        random = (whole.previous().add_(whole.noise(), alpha=amplitude) for _ in range(2))
        measure_statistics(generator, itertools.chain(random, rebuilt_from))

    def _noise(self, level: int) -> Tensor:
        """Noise of a level for its windows. It is the same to draw it for the part in view: pixels are independent."""
        spans = self._spans(level, self.margin)
        size = [span.shape[1] for span in spans]
        like = self.model.z_star
        shape = (self.counts[level], 1 if level == 0 else 3, *size)
        noise = torch.randn(shape, generator=self.rng, device=like.device, dtype=like.dtype)
        if self.model.config.noise_padding:
            return noise
        return noise * self._inside(level)

    def _inside(self, level: int) -> Tensor:
        """1 at the pixels of a level's windows, (count, 1, h, w), and 0 in the padding."""
        spans = self._spans(level, self.margin)
        rows, columns = (
            axis.inside(level, span).to(self.model.z_star) for axis, span in zip(self.axes, spans, strict=True)
        )
        return rows[:, None, :, None] * columns[:, None, None, :]

    def _upsampled(self, image: Tensor, level: int) -> Tensor:
        """What `upsample` and `pad` make of the image below `level`, for the windows of that level alone."""
        below, here = self._spans(level - 1, 0), self._spans(level, self.margin)
        rows, columns = (
            axis.matrices[level - 1][to[:, :, None], of[:, None, :]][:, None]
            for axis, to, of in zip(self.axes, here, below, strict=True)
        )
        return (rows @ image.clamp(-1, 1) @ columns.transpose(-1, -2)).clamp_(-1, 1)

    def _spans(self, level: int, margin: int) -> tuple[Tensor, Tensor]:
        """Rows and columns of a level's windows, (count, h) and (count, w), in an image padded by margin."""
        count = self.counts[level]
        return tuple(
            starts[level][:count, None] + torch.arange(axis.lengths[level] + 2 * margin, device=starts[level].device)
            for axis, starts in zip(self.axes, self.starts, strict=True)
        )


class _Axis:
    """The windows along one axis: per level 0 to n, how long they are, and where they start for a start at level n.

    lengths: pixels of the window that the level has to draw. matrices: for each level but the first the padded resize
    matrix to it from the level below, (side + 2 * margin, side below).
    """

    def __init__(self, sides: list[int], ratios: list[float | None], length: int, margin: int, like: Tensor):
        self.sides, self.margin = sides, margin
        self.lengths = [min(length, sides[-1])]
        self.matrices, self.first = [], []
        for below, side, ratio in zip(sides[-2::-1], sides[:0:-1], ratios[::-1], strict=True):
            matrix = _matrix_to(below, side, ratio, like)
            used = F.pad(matrix.cpu() != 0, (0, 0, margin, margin), mode="constant")
            used[:margin], used[-margin:] = used[margin], used[-margin - 1]
            first, last = used.int().argmax(1), below - 1 - used.flip(1).int().argmax(1)
            span = self.lengths[0] + 2 * margin
            needed = int((last[span - 1 :] - first[: len(first) - span + 1]).max()) + 1
            self.lengths.insert(0, min(needed, below))
            self.matrices.insert(0, F.pad(matrix, (0, 0, margin, margin)))
            self.first.insert(0, first.clamp(max=below - self.lengths[0]).to(like.device))

    def is_whole(self, level: int) -> bool:
        """Whether the windows of a level are all of it."""
        return self.lengths[level] == self.sides[level]

    def draw(self, count: int, rng: torch.Generator) -> list[Tensor]:
        """Random starts of `count` windows, per level."""
        length, side = self.lengths[-1], self.sides[-1]
        starts = torch.randint(1 - length, side, (count,), generator=rng, device=rng.device).clamp(0, side - length)
        found = [starts]
        for first in reversed(self.first):
            found.insert(0, first[found[0]])
        return found

    def inside(self, level: int, span: Tensor) -> Tensor:
        """Which places of a padded image are not padding."""
        return (span >= self.margin) & (span < self.sides[level] + self.margin)


def _matrix_to(below: int, side: int, ratio: float | None, like: Tensor) -> Tensor:
    """The matrix with which `resize` goes from one side to another, None standing for their ratio."""
    return resize_matrix(below, side, ratio or side / below, like.device, like.dtype)


def computing_type(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Floating-point type of the convolutions in a training."""
    return torch.bfloat16 if config.precision == "mixed" and fast_bfloat16(device) else config.dtype
