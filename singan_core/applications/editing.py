"""Editing and harmonization: a pyramid redraws the changed part of a picture so that it fits (paper, section 4).

Both inject the picture at one scale and put the result back through a mask with soft edges; they differ in how far the
mask is widened beyond what was changed.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from singan_core.arguments import check_size, is_number, is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image, check_mask
from singan_core.model import SinGAN
from singan_core.pyramid import Size, fit, same_proportions

EDIT_DILATION, HARMONIZE_DILATION, BLUR = 20 / 250, 7 / 250, 5 / 250
"""The authors' 20, 7 and 5 px in a picture of 250 px, as shares of its longer side."""


def edit(
    model: SinGAN,
    edited: Tensor,
    mask: Tensor,
    scale: int,
    *,
    n: int = 1,
    seed: int = 0,
    dilation: float | None = None,
    blur: float | None = None,
    full_size: bool = False,
) -> Tensor:
    """Blend parts that were copied, moved or removed into an edited picture: n results, (n, 3, h, w) in [-1, 1].

    model: trained on the picture before the edit. edited: (1, 3, H, W) in [-1, 1]. mask: (1, 1, any size) in [0, 1] of
    the picture's proportions, at least 0.5 where something was changed (see `load_mask`). scale: where the picture is
    injected (see `SinGAN.inject`). dilation, blur: see `soft_mask`, in pixels of the trained size; by default the
    authors' 20 and 5 px at 250 px, in proportion. full_size: the result has the size of the picture, at which the
    pyramid then draws; by default the picture is reduced to the trained resolution.

    result = (1 - mask) * picture + mask * injected, with the widened and blurred mask. Where that is 0, the result is
    the picture itself, or what `resize` makes of it at the trained resolution, bit for bit.

    Raises SinGANError for an empty mask, one of other proportions, values out of range and anything that is no image.
    """
    dilation = EDIT_DILATION * max(model.size) if dilation is None else dilation
    return _redraw(model, edited, mask, scale, n, seed, dilation, blur, full_size)


def harmonize(
    model: SinGAN,
    composite: Tensor,
    mask: Tensor,
    scale: int,
    *,
    n: int = 1,
    seed: int = 0,
    dilation: float | None = None,
    blur: float | None = None,
    full_size: bool = False,
) -> Tensor:
    """Give an object that was pasted into a picture the picture's appearance: n results, (n, 3, h, w) in [-1, 1].

    model: trained on the picture without the object. composite: the picture with it, (1, 3, H, W) in [-1, 1]. The rest
    is as for `edit`, but that by default the mask is widened by 7 px at 250 px.
    """
    dilation = HARMONIZE_DILATION * max(model.size) if dilation is None else dilation
    return _redraw(model, composite, mask, scale, n, seed, dilation, blur, full_size)


def paste(image: Tensor, part: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Copy a part of a picture to another place in it: the edited picture (N, 3, H, W), and the mask of the copy.

    image: (N, 3, H, W) in [-1, 1]. part: a mask (1, 1, H, W) in [0, 1], which sets the part (0.5 or more). shift: by
    how many (rows, columns) the copy is moved. Raises SinGANError where the part is empty or leaves the picture.
    """
    check_image(image, "the picture")
    chosen = check_mask(part, tuple(image.shape[-2:])) >= 0.5
    if not chosen.any():
        raise SinGANError("The mask is empty: there is no part to copy.")
    if not isinstance(shift, tuple | list) or len(shift) != 2 or not all(map(is_whole, shift)):
        raise SinGANError(f"shift must be two whole numbers, rows and columns, got {shift!r}.")
    for side, places, step in zip(chosen.shape[2:], chosen[0, 0].nonzero().unbind(dim=1), shift, strict=True):
        if not 0 <= int(places.min()) + step <= int(places.max()) + step < side:
            raise SinGANError(f"A shift by {tuple(shift)} rows and columns moves the part out of the picture.")
    copied, placed = (each.roll(tuple(shift), dims=(2, 3)) for each in (image, chosen))
    return torch.where(placed.to(image.device), copied, image), placed.to(part)


def soft_mask(mask: Tensor, size: Size, *, dilation: float, blur: float) -> Tensor:
    """A mask with soft edges, (1, 1, *size) float32: 1 inside, 0 outside, between them a slope.

    mask: (1, 1, any size); a pixel of the result counts as set where it covers any of the mask, so that thin strokes
    are not lost. dilation: radius in pixels of the disk by which the mask is widened. blur: deviation in pixels of the
    Gaussian that makes the slope, which ends four deviations away; the peak is brought back to 1. Source: the authors'
    code. Raises SinGANError for an empty mask, for numbers below 0 and a size that is none.
    """
    check_mask(mask)
    check_size(size)
    dilation, blur = _checked("dilation", dilation), _checked("blur", blur)
    covered = F.adaptive_max_pool2d((mask >= 0.5).float(), size)[0, 0].cpu().numpy() > 0
    if not covered.any():
        raise SinGANError("The mask is empty: no pixel of it reaches 0.5. White is redrawn, black stays.")
    if dilation and not covered.all():
        covered = ndimage.distance_transform_edt(~covered) <= dilation
    soft = ndimage.gaussian_filter(covered.astype(np.float64), blur, mode="nearest", truncate=4.0)
    return torch.from_numpy((soft / soft.max()).astype(np.float32))[None, None].to(mask.device)


def _redraw(
    model: SinGAN,
    picture: Tensor,
    mask: Tensor,
    scale: int,
    n: int,
    seed: int,
    dilation: float,
    blur: float | None,
    full_size: bool,
) -> Tensor:
    check_image(picture, "the picture")
    check_mask(mask)
    (height, width), (rows, columns) = picture.shape[-2:], mask.shape[-2:]
    if not same_proportions((rows, columns), (height, width)):
        raise SinGANError(
            f"The mask has {columns}x{rows} px, other proportions than the picture with its {width}x{height} px: "
            f"load_mask(path, size=({height}, {width})) would stretch it."
        )
    size = (height, width) if full_size else model.fitted_size((height, width))
    ratio = max(size) / max(model.size)
    blur = BLUR * max(model.size) if blur is None else _checked("blur", blur)
    soft = soft_mask(mask, size, dilation=ratio * _checked("dilation", dilation), blur=ratio * blur).to(model.device)
    redrawn = model.inject(picture, scale, n=n, seed=seed, size=size)
    return (1 - soft) * fit(picture.to(redrawn), size) + soft * redrawn


def _checked(name: str, pixels: float) -> float:
    if not is_number(pixels) or not 0 <= pixels < math.inf:
        raise SinGANError(f"{name} must be a number of pixels from 0 on, got {pixels!r}.")
    return pixels
