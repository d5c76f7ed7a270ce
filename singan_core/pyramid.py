"""The image pyramid: how many scales, how large each one is, and the bicubic resize between them.

Scale 0 is the coarsest, everywhere in this package (the paper counts the other way and calls the coarsest N).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log

import numpy as np
import torch
from torch import Tensor

from singan_core.arguments import check_kind, check_size, is_number, is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image, check_mask

Size = tuple[int, int]


@dataclass(frozen=True)
class PyramidShape:
    """The sizes of a pyramid's levels, (height, width) in pixels, coarsest first, and the ratio between neighbours."""

    sizes: tuple[Size, ...]
    factor: float

    def __len__(self) -> int:
        return len(self.sizes)

    def scaled_to(self, size: Size) -> "PyramidShape":
        """The same pyramid for a picture of `size` pixels at the finest level: every level in proportion."""
        height, width = self.sizes[-1]
        rows, columns = size[0] / height, size[1] / width
        return PyramidShape(
            tuple((max(1, round(h * rows)), max(1, round(w * columns))) for h, w in self.sizes), self.factor
        )

    def around(self, size: Size) -> "PyramidShape":
        """As many levels for a picture of `size` pixels at the finest one: reduced by the same factor, and rounded up.

        Between these `upsample` never stretches, so that a picture on its way down and up stays in its place.
        """
        ratios = [self.factor**step for step in range(len(self) - 1, -1, -1)]
        return PyramidShape(tuple((ceil(size[0] * ratio), ceil(size[1] * ratio)) for ratio in ratios), self.factor)


@dataclass(frozen=True)
class Pyramid:
    """A photograph at every scale.

    images: one float32 tensor (1, 3, H, W) in [-1, 1] per level, coarsest first; shape: their sizes and ratio.
    """

    images: tuple[Tensor, ...]
    shape: PyramidShape


def pyramid_shape(size: Size, *, min_size: int = 25, max_size: int = 250, scale_factor: float = 0.75) -> PyramidShape:
    """Sizes of all levels for a picture of `size` (height, width) pixels, by the rules of the authors' code.

    min_size: shorter side of the coarsest level in pixels. max_size: longer side of the finest level in pixels; a
    smaller picture is not enlarged. scale_factor: wished ratio of neighbouring levels, in (0, 1); it is adjusted so
    that the coarsest level lands on min_size (for a 188x250 picture 0.75 becomes 0.80).

    Raises SinGANError when the reduced picture is smaller than min_size on its shorter side, and for settings that make
    no pyramid.
    """
    sides = tuple(size)
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in (*sides, min_size, max_size)):
        raise SinGANError(f"Sizes are whole numbers of pixels above 0, got {sides}, {min_size=}, {max_size=}.")
    if not is_number(scale_factor) or not 0 < scale_factor < 1:
        raise SinGANError(f"scale_factor must lie between 0 and 1, got {scale_factor!r}.")
    short, long = min(size), max(size)
    # whole-number arithmetic: max_size is a promise, and floating point would sometimes make it one pixel more
    finest = size if long <= max_size else (-(-size[0] * max_size // long), -(-size[1] * max_size // long))
    if min(finest) < min_size:
        if finest == size:
            raise SinGANError(f"A picture of {size[1]}x{size[0]} px is below {min_size=} px: take a larger one.")
        raise SinGANError(
            f"A picture of {size[1]}x{size[0]} px becomes {finest[1]}x{finest[0]} px at max_size={max_size}; its "
            f"shorter side is below min_size={min_size}. Crop it to a less extreme shape, "
            "or raise max_size or lower min_size."
        )
    num_scales = ceil(log(min_size / short, scale_factor)) + 1
    stop_scale = num_scales - ceil(log(min(max_size, long) / long, scale_factor))
    if stop_scale < 1 or min(finest) == min_size:
        return PyramidShape((finest,), scale_factor)
    factor = (min_size / min(finest)) ** (1 / stop_scale)
    ratios = [factor ** (stop_scale - level) for level in range(stop_scale + 1)]
    # plain ceil, as the authors do: where 25.000000000000004 px come out, their coarsest level has 26 px, and ours too
    sizes = [(ceil(finest[0] * ratio), ceil(finest[1] * ratio)) for ratio in ratios]
    return PyramidShape(tuple(sizes), factor)


def build_pyramid(image: Tensor, *, min_size: int = 25, max_size: int = 250, scale_factor: float = 0.75) -> Pyramid:
    """The photograph (1, 3, H, W) in [-1, 1] at every scale; see `pyramid_shape` for the parameters and errors."""
    check_image(image)
    if len(image) != 1:
        raise SinGANError(
            f"A pyramid is built from one picture, got a batch of {len(image)}: choose one, image[i : i + 1]."
        )
    shape = pyramid_shape(tuple(image.shape[-2:]), min_size=min_size, max_size=max_size, scale_factor=scale_factor)
    finest = resize(image, shape.sizes[-1], min(max_size / max(image.shape[-2:]), 1.0))
    steps = range(len(shape) - 1, 0, -1)
    images = [resize(finest, shape.sizes[-1 - step], shape.factor**step) for step in steps]
    resize_matrix.cache_clear()  # these matrices are not needed again, and of a large picture they are large
    return Pyramid((*images, finest), shape)


def resize(image: Tensor, size: Size, ratio: float | None = None) -> Tensor:
    """Bicubic resize (a = -0.5) of (N, C, H, W) to `size` = (height, width) pixels, antialiased when shrinking.

    ratio: output pixels per input pixel along both axes; by default size / input size. With a ratio the output grid
    starts at the top left corner and is cut at `size`, as in the authors' code, so that a level of ceil(ratio * side)
    pixels is not stretched by the rounding. The result is clamped to [-1, 1]: bicubic interpolation overshoots, and the
    authors' code, which goes through 8-bit images here, clamps too (the quantisation itself is left out).

    Raises SinGANError for a size that is no pair of whole numbers from 1 on, and for what is no tensor of floating
    point: not for one that is no picture, so that a mask or a map within [-1, 1] is resized as well.
    """
    check_size(size)
    check_kind(image, Tensor, "A tensor, as load_image or from_array returns it,")
    if not image.is_floating_point():
        raise SinGANError(f"The values must be of floating point, in [-1, 1], not {image.dtype}: see from_array.")
    height, width = image.shape[-2:]
    rows = resize_matrix(height, size[0], ratio or size[0] / height, image.device, image.dtype)
    columns = resize_matrix(width, size[1], ratio or size[1] / width, image.device, image.dtype)
    return (rows @ image.clamp(-1, 1) @ columns.T).clamp_(-1, 1)


def layout_and_detail(images: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) taken apart: what is left of them at a smaller `size`, and what they have over that.

    The layout is `resize`d to (N, C, *size); the detail, (N, C, H, W) in [-2, 2], is what the layout lacks when it is
    enlarged again: their sum is the image. With the size of level 0 the layout is what that level decides.
    """
    layout = resize(images, size)
    return layout, images - resize(layout, tuple(images.shape[-2:]))


def same_proportions(size: Size, other: Size) -> bool:
    """Whether two sizes are those of one picture at two resolutions, but for the rounding to whole pixels."""
    return abs(size[0] * other[1] - size[1] * other[0]) < max(size) + max(other)


def fit(picture: Tensor, size: Size) -> Tensor:
    """A picture (N, C, h, w) at the `size` of a finest level: as `build_pyramid` reduces it, up to rounding.

    One of other proportions is stretched.
    """
    own = tuple(picture.shape[-2:])
    if own == size:
        return picture.clamp(-1, 1)
    return resize(picture, size, max(size) / max(own) if same_proportions(own, size) else None)


def at_level(picture: Tensor, shape: PyramidShape, level: int) -> Tensor:
    """A picture (N, C, h, w) at a level, in the two steps of `build_pyramid`; as it is if it has the level's size.

    So its pixels lie where those of the photograph lie, and `upsample` brings them back to their places. Stretched to
    a level's size, which is rounded up, they would end up to a pixel further right and down.
    """
    own, finest = tuple(picture.shape[-2:]), shape.sizes[-1]
    if own == shape.sizes[level] and own != finest:  # the two can be equal where the factor is near 1
        return picture.clamp(-1, 1)
    return resize(fit(picture, finest), shape.sizes[level], shape.factor ** (len(shape) - 1 - level))


def coarsened(picture: Tensor, shape: PyramidShape, level: int) -> Tensor:
    """What a level leaves of a picture (N, C, h, w): reduced to it (see `at_level`) and enlarged to the finest size."""
    return upsample(at_level(picture, shape, level), shape.sizes[-1], shape.factor ** (len(shape) - 1 - level))


def resize_mask(mask: Tensor, size: Size) -> Tensor:
    """A mask (1, 1, H, W) in [0, 1] at `size` = (height, width) pixels: 1 where it covers half or more, else 0.

    So its border stays where it was, to half a pixel. (The mask of `applications.edit` also sets what is covered less,
    so that nothing that was changed is left out.) Raises SinGANError for what is no mask.
    """
    return (resize(check_mask(mask), size) >= 0.5).to(mask)


def upsample(image: Tensor, size: Size, factor: float) -> Tensor:
    """The image of one level, brought to the next finer one: `size` pixels, `factor` the pyramid's ratio in (0, 1).

    At the sizes of the training pyramid the ratio is exactly 1 / factor. For other sample sizes rounding can leave a
    level larger than that; then the image is stretched to fit, instead of inventing a border.
    """
    return resize(image, size, upsample_ratio(image.shape[-2:], size, factor))


def upsample_ratio(size: Size, finer: Size, factor: float) -> float | None:
    """The ratio by which `upsample` goes from one (height, width) to a finer one; None where it stretches to fit."""
    fits = all(ceil(side / factor) >= wanted for side, wanted in zip(size, finer, strict=True))
    return 1 / factor if fits else None


@lru_cache(maxsize=128)
def resize_matrix(in_size: int, out_size: int, ratio: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Weights (out_size, in_size) of a bicubic resize along one axis; rows sum to 1, borders are mirrored.

    Output pixel i sits at (i + 0.5) / ratio - 0.5 of the input; when shrinking, the kernel is widened by 1 / ratio.
    Cubic convolution of Keys (1981), a = -0.5. A matrix is as exact as a loop and fast on every device.
    """
    stretch = min(ratio, 1.0)
    centres = (np.arange(out_size) + 0.5) / ratio - 0.5
    reach = ceil(2 / stretch) + 1
    taps = np.floor(centres)[:, None] + np.arange(-reach, reach + 1)
    weights = _cubic((centres[:, None] - taps) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    period = taps.astype(int) % (2 * in_size)
    mirrored = np.minimum(period, 2 * in_size - 1 - period)
    matrix = np.zeros((out_size, in_size))
    np.add.at(matrix, (np.arange(out_size)[:, None], mirrored), weights)
    with torch.inference_mode(False):  # the cached tensor must serve training too
        return torch.tensor(matrix, dtype=dtype, device=device)


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
