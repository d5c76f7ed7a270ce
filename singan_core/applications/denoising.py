"""Denoising, as a student report tried it: re-injection, and super-resolution on tiles; and the noise to try it on.

The report (RecVis in data/claims.yaml) left the size of its results and the darkening as open questions, and the tiles
as an idea. What one would use instead of a pyramid stands in `classical`.
"""

import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor

from singan_core.applications.super_resolution import enlarged_size, super_resolve
from singan_core.arguments import checked_seed, is_number, is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image
from singan_core.model import SinGAN
from singan_core.pyramid import resize

REPORT_PSNR = 12.15
"""The noise of the report's noisy picture: its PSNR to the clean one, in dB."""


def salt_and_pepper(image: Tensor, psnr: float = REPORT_PSNR, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A picture with salt and pepper of a given strength, and where it was hit: (1, 3, H, W) and a mask (1, 1, H, W).

    image: (1, 3, H, W) in [-1, 1]. Pixels at random places become white or black, all three colours of a pixel alike
    and both with equal chance, until the PSNR to the picture is `psnr` in dB (data range 2), as near as whole pixels
    allow. The mask is 1 where a pixel was hit. A seed gives the same places at every strength.

    Raises SinGANError for a PSNR beyond 1000 dB or that even noise everywhere does not reach, a seed below 0, and for
    anything that is not one image.
    """
    _check_one(image)
    if not is_number(psnr) or not -1000 <= psnr <= 1000:
        raise SinGANError(f"psnr must be a number of dB from -1000 to 1000, got {psnr!r}.")
    pixels = image[0].flatten(1).double().cpu().numpy()
    rng = np.random.default_rng(checked_seed(seed))
    order = rng.permutation(pixels.shape[1])
    values = rng.choice([-1.0, 1.0], pixels.shape[1])
    # the mean square error after the first 0, 1, 2, ... pixels of the order were hit
    errors = np.append(0, ((pixels - values) ** 2).mean(axis=0)[order].cumsum() / pixels.shape[1])
    wanted = 4 / 10 ** (psnr / 10)
    if wanted > errors[-1]:
        lowest = 10 * math.log10(4 / errors[-1])
        raise SinGANError(f"With every pixel hit, this picture is still at {lowest:.2f} dB: psnr must be larger.")
    places = order[: np.abs(errors - wanted).argmin()]
    hit = np.zeros(pixels.shape[1], dtype=bool)
    hit[places] = True
    mask = torch.from_numpy(hit).reshape(1, 1, *image.shape[-2:]).to(image.device)
    drawn = torch.from_numpy(values).to(image).reshape(1, 1, *image.shape[-2:])
    return torch.where(mask, drawn, image), mask.float()


def reinject(
    model: SinGAN, image: Tensor, times: int = 3, *, scale: int | None = None, noise: float = 1.0, seed: int = 0
) -> Tensor:
    """Put a picture through a pyramid again and again: the result (1, 3, H, W) in [-1, 1] has the size of the picture.

    image: (1, 3, H, W) in [-1, 1]. Each result is the input of the next of `times` injections (see `SinGAN.inject`) at
    `scale`, by default the last level, with new noise. noise: factor of the noise amplitudes of all levels; 0 leaves
    the noise maps out. A picture of another size than the trained one is drawn at its own size.

    Source: the report RecVis, II.A. Raises SinGANError for values out of range and anything that is not one image.
    """
    _check_one(image)
    if not is_whole(times) or not 1 <= times <= 100:
        raise SinGANError(f"times must be a whole number from 1 to 100, got {times!r}.")
    if not is_number(noise) or not 0 <= noise <= 100:
        raise SinGANError(f"noise must be a number from 0 to 100, got {noise!r}.")
    scale = len(model.levels) - 1 if scale is None else scale
    louder = replace(model, levels=[replace(level, amplitude=noise * level.amplitude) for level in model.levels])
    for number in range(times):
        image = louder.inject(image, scale, seed=_own_seed(seed, number), size=tuple(image.shape[-2:]))
    return image


def super_resolve_tiles(
    model: SinGAN,
    image: Tensor,
    factor: float,
    *,
    grid: tuple[int, int] = (4, 4),
    overlap: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Enlarge a picture tile by tile and blend the results: (1, 3, round(factor * H), round(factor * W)) in [-1, 1].

    image: (1, 3, H, W) in [-1, 1]. grid: rows and columns of tiles; each reaches `overlap` px of the picture beyond
    its cell where there is a neighbour, by default half a receptive field, and is enlarged by `super_resolve` with
    noise of its own. Where tiles overlap, the weight of each falls linearly towards its end.

    Source: the report RecVis, III, second idea. Raises SinGANError as `super_resolve`, for a grid with more rows or
    columns than pixels, and for an overlap below 0.
    """
    size = enlarged_size(image, factor)
    height, width = image.shape[-2:]
    overlap = model.config.layers if overlap is None else overlap
    pair = isinstance(grid, (tuple, list)) and len(grid) == 2
    whole = pair and all(map(is_whole, (*grid, overlap)))
    if not whole or not (1 <= grid[0] <= height and 1 <= grid[1] <= width and overlap >= 0):
        raise SinGANError(
            f"grid is (rows, columns), from 1 to the sides of the picture ({height}, {width}), and overlap a number of "
            f"pixels from 0 on; got {grid!r} and {overlap!r}."
        )
    total, weights, ramp = torch.zeros(1, 3, *size), torch.zeros(1, 1, *size), max(1, 2 * factor * overlap)
    tiles = product(_spans(height, grid[0], overlap), _spans(width, grid[1], overlap))
    for number, (rows, columns) in enumerate(tiles):
        drawn = super_resolve(model, image[..., slice(*rows), slice(*columns)], factor, seed=_own_seed(seed, number))
        tall, wide = (slice(*(round(factor * end) for end in ends)) for ends in (rows, columns))
        # the places meet also where the sizes of tiles, which are rounded too, would leave a gap of a pixel
        drawn = resize(drawn.cpu(), (tall.stop - tall.start, wide.stop - wide.start))
        weight = _window(tall, size[0], ramp)[:, None] * _window(wide, size[1], ramp)
        total[..., tall, wide] += weight * drawn
        weights[..., tall, wide] += weight
    return (total / weights).clamp(-1, 1).to(model.device)


def _check_one(image: Tensor) -> None:
    check_image(image)
    if len(image) != 1:
        raise SinGANError(f"One picture is needed, got a batch of {len(image)}: image[i : i + 1].")


def _own_seed(seed: int, number: int) -> int:
    """A seed for each pass or tile: with `seed + number`, neighbouring seeds would share their noise."""
    return int(np.random.SeedSequence((checked_seed(seed), number)).generate_state(1)[0])


def _spans(side: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """First pixel and end of each of `count` cells along a side, widened by the overlap within the picture."""
    borders = [round(side * number / count) for number in range(count + 1)]
    return [(max(0, first - overlap), min(side, end + overlap)) for first, end in pairwise(borders)]


def _window(place: slice, side: int, ramp: float) -> Tensor:
    """Weights of a tile along a side of the result: 1, and rising from 0 over `ramp` px where there is a neighbour."""
    before = torch.arange(place.stop - place.start) + 0.5
    rising = torch.ones_like(before) if place.start == 0 else (before / ramp).clamp(max=1)
    falling = torch.ones_like(before) if place.stop == side else (before.flip(0) / ramp).clamp(max=1)
    return rising * falling
