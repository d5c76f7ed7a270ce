"""Large pictures from four small pyramids: cut a photograph, train each quarter, put samples together, hide the seams.

The four quarters are always in reading order: upper left, upper right, lower left, lower right. A picture of odd height
or width has its larger quarters below and at the right. Source: High-Res-SinGAN, section 2.3 (image slicing).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from singan_core.applications.classical import multiband_blend
from singan_core.applications.editing import edit
from singan_core.arguments import check_size, checked_seed
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.images import check_image
from singan_core.model import SinGAN
from singan_core.pyramid import Size


def cut_quarters(image: Tensor) -> list[Tensor]:
    """The four quarters of pictures (N, 3, H, W), without overlap; the inverse of `join_quarters`.

    Raises SinGANError for what is no image, and for a side of one pixel.
    """
    check_image(image)
    height, width = image.shape[-2:]
    if min(height, width) < 2:
        raise SinGANError(f"A picture of {height}x{width} px has no quarters.")
    return [image[..., rows, columns] for rows in _halves(height) for columns in _halves(width)]


def join_quarters(quarters: Sequence[Tensor]) -> Tensor:
    """Four quarters (N, 3, h, w), put side by side: (N, 3, H, W).

    Raises SinGANError for another number of them, and for sizes that do not fit as those of `cut_quarters` do.
    """
    _check_quarters(quarters)
    upper_left, upper_right, lower_left, lower_right = quarters
    upper, lower = torch.cat([upper_left, upper_right], dim=3), torch.cat([lower_left, lower_right], dim=3)
    return torch.cat([upper, lower], dim=2)


def quarter_config(config: TrainConfig) -> TrainConfig:
    """The settings for the quarters of a photograph that is trained with `config`: half of its largest size."""
    return replace(config, max_size=math.ceil(config.max_size / 2))


def sample_quarters(models: Sequence[SinGAN], size: Size, *, n: int = 1, seed: int = 0) -> list[Tensor]:
    """n samples of each of four pyramids, (n, 3, h, w), as large as the quarters of a picture of `size` pixels.

    The noise of the four has nothing in common. Picture k depends on seed and k alone. Raises SinGANError for another
    number of pyramids, and as `SinGAN.sample` does.
    """
    seed = checked_seed(seed)
    if len(models) != 4:
        raise SinGANError(f"One pyramid for each of the four quarters is needed, got {len(models)}.")
    sizes = [tuple(each.shape[-2:]) for each in cut_quarters(torch.zeros(1, 3, *size))]
    return [
        model.sample(n, seed=4 * seed + number, size=own)
        for number, (model, own) in enumerate(zip(models, sizes, strict=True))
    ]


def quarter_mask(size: Size) -> Tensor:
    """Zeros, and ones in the quarters upper left and lower right, (1, 1, *size): its border is both of the seams."""
    check_size(size)
    (above, below), (left, right) = (_halves(side) for side in size)
    mask = torch.zeros(1, 1, *size)
    mask[..., above, left] = mask[..., below, right] = 1
    return mask


def seam_mask(size: Size) -> Tensor:
    """Zeros, and ones in the two rows and two columns that touch the seams between the quarters: (1, 1, *size)."""
    check_size(size)
    row, column = (side // 2 for side in size)
    mask = torch.zeros(1, 1, *size)
    mask[..., row - 1 : row + 1, :] = mask[..., column - 1 : column + 1] = 1
    return mask


def stitch(
    model: SinGAN,
    pictures: Tensor,
    scale: int,
    *,
    seed: int = 0,
    dilation: float | None = None,
    blur: float | None = None,
) -> Tensor:
    """Joined quarters (N, 3, H, W), redrawn along their seams by a pyramid for the whole picture: (N, 3, H, W).

    An edit of each picture with a mask that needs nobody to draw it, `seam_mask`; picture k gets the noise of seed + k.
    model, scale, dilation, blur, and errors: see `edit`. The pictures are expected at the trained size; others are
    brought to it.
    """
    seed = checked_seed(seed)
    mask = seam_mask(tuple(check_image(pictures, "the pictures").shape[-2:]))
    options = {"dilation": dilation, "blur": blur}
    edits = [
        edit(model, picture, mask, scale, seed=seed + number, **options)
        for number, picture in enumerate(pictures.split(1))
    ]
    return torch.cat(edits)


def multiband_stitch(quarters: Sequence[Tensor], *, levels: int = 4) -> Tensor:
    """Four quarters (N, 3, h, w), blended over their seams band by band: (N, 3, H, W). See `multiband_blend`.

    Quarters do not overlap, so that there is nothing to blend beyond a seam: each goes on as its mirror image.
    """
    _check_quarters(quarters)
    size = tuple(join_quarters(quarters).shape[-2:])
    images, masks = [], []
    places = [(rows, columns) for rows in _halves(size[0]) for columns in _halves(size[1])]
    for quarter, (rows, columns) in zip(quarters, places, strict=True):
        down, right = (_mirrored(part, side) for part, side in zip((rows, columns), size, strict=True))
        images.append(quarter[..., down[:, None], right])
        mask = torch.zeros(1, 1, *size)
        mask[..., rows, columns] = 1
        masks.append(mask)
    return multiband_blend(images, masks, levels=levels)


def _halves(side: int) -> tuple[slice, slice]:
    return slice(0, side // 2), slice(side // 2, side)


def _mirrored(part: slice, side: int) -> np.ndarray:
    """For each of `side` pixels the one of a part that stands there, or whose mirror image does: (side,)."""
    return np.pad(np.arange(part.stop - part.start), (part.start, side - part.stop), mode="symmetric")


def _check_quarters(quarters: Sequence[Tensor]) -> None:
    if len(quarters) != 4:
        raise SinGANError(f"Four quarters are needed, in reading order, got {len(quarters)}.")
    shapes = [check_image(quarter, "quarters").shape for quarter in quarters]
    counts, _, heights, widths = zip(*shapes, strict=True)
    level = heights[0] == heights[1] and heights[2] == heights[3]
    upright = widths[0] == widths[2] and widths[1] == widths[3]
    halves = heights[2] - heights[0] in (0, 1) and widths[1] - widths[0] in (0, 1)
    if len(set(counts)) > 1 or not (level and upright and halves):
        sizes = ", ".join(f"{n} of {h}x{w}" for n, h, w in zip(counts, heights, widths, strict=True))
        raise SinGANError(f"These are not the quarters of a picture, as cut_quarters makes them: {sizes} px.")
