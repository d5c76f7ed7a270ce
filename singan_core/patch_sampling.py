"""Samples without training: the photograph's own patches in a new arrangement, from a coarse picture to the finest.

`gpnn` replaces every patch by the nearest one of the photograph, level by level; `gpdm` moves the pixels until the
patches are distributed as those of the photograph. Neither learns anything: every sample is made from the photograph
again. Both are compact; patches are compared exactly, so that the time of `gpnn` grows with the square of the pixels.
"""

import itertools
from collections.abc import Iterator
from math import inf

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from singan_core.arguments import is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image
from singan_core.model import NoiseSource, seeded_noise
from singan_core.pyramid import Pyramid, upsample

_PRODUCTS_AT_ONCE = 2**22  # what a processor's cache holds, roughly: rows of distances that are computed together
_PRODUCTS_KEPT = 2**27  # 0.5 GB of distances are kept for their second use; of larger pictures they are computed twice


@torch.no_grad()
def gpnn(
    pyramid: Pyramid,
    n: int = 1,
    *,
    seed: int = 0,
    noise: float = 0.75,
    alpha: float = 0.005,
    passes: int = 10,
    patch_size: int = 7,
) -> Tensor:
    """n pictures of the photograph's patches by nearest neighbours, (n, 3, H, W) in [-1, 1], of the finest size.

    pyramid: of the photograph, see `build_pyramid`. seed: picture k depends on seed and k alone. noise: standard
    deviation of the gray noise that is added to level 0, where the image range is 2; everything new comes from it.
    alpha: see `nearest_complete`. passes: replacements at every level but the coarsest, which has one. In the first one
    keys are the photograph's level below, enlarged, because the picture to improve is as blurred as these.

    Raises SinGANError for numbers out of range and for a level that is smaller than a patch.
    Source: Granot et al. 2022, GPNN, section 3; theirs begins at a coarsest side of 14 px, this one where the pyramid
    does.
    """
    _check(pyramid, patch_size, noise, n=n, passes=passes)
    made = []
    for source in _sources(pyramid, n, seed):
        picture = key = pyramid.images[0]
        picture = picture + noise * source(0, (1, 1, *picture.shape[-2:]))
        for level, value in enumerate(pyramid.images):
            if level:
                key, picture = (
                    upsample(each, pyramid.shape.sizes[level], pyramid.shape.factor) for each in (key, picture)
                )
            for _ in range(passes if level else 1):
                picture = replace_patches(picture, key, value, alpha=alpha, patch_size=patch_size)
                key = value
        made.append(picture)
    return torch.cat(made)


@torch.no_grad()
def replace_patches(
    picture: Tensor, key: Tensor, value: Tensor, *, alpha: float = 0.005, patch_size: int = 7
) -> Tensor:
    """One pass of GPNN: each patch of a picture (1, 3, H, W), replaced by one of the photograph; (1, 3, H, W).

    key, value: (1, 3, h, w), of one size. A patch of the picture is compared with those of `key` by `nearest_complete`,
    and what it becomes is the patch of `value` at the same place. Patches overlap; a pixel is the mean over all patches
    that cover it. Raises SinGANError for a key of another size than the value and for pictures smaller than a patch.
    """
    check_image(value, "value")
    for name, each in (("picture", picture), ("key", key), ("value", value)):
        if each.shape[:-2] != (1, 3):
            raise SinGANError(f"{name} must be one image (1, 3, H, W), got {tuple(each.shape)}.")
    if key.shape != value.shape:
        raise SinGANError(f"key and value have one size, not {tuple(key.shape)} and {tuple(value.shape)}.")
    if not 1 <= patch_size <= min(*picture.shape[-2:], *value.shape[-2:]):
        raise SinGANError(f"A picture is smaller than a patch of {patch_size}x{patch_size} px: take smaller ones.")
    queries, keys, values = (F.unfold(each, patch_size)[0].T for each in (picture, key, value))
    return fold_patches(values[nearest_complete(queries, keys, alpha)], picture.shape, patch_size)


@torch.no_grad()
def nearest_complete(queries: Tensor, keys: Tensor, alpha: float) -> Tensor:
    """For each query (q, d) the key (k, d) with the lowest normalised distance: its number, (q,).

    With the mean square difference D, the distance of query i to key j is D_ij / (alpha + min_l D_lj): a key that no
    query is near to becomes attractive to all of them, so that what the picture lacks comes into it. alpha: in squared
    intensity, where the image range is 2; the smaller, the more so; inf: the plain nearest neighbour. Where no query is
    near to any key, as with strong noise, a small alpha does the opposite: few keys attract most of the queries.
    Raises SinGANError for an alpha that is not positive. Source: Granot et al. 2022, section 3.
    """
    if not alpha > 0:
        raise SinGANError(f"alpha must be above 0, or inf for the plain nearest neighbour, not {alpha!r}.")
    middle = keys.mean(dim=0)  # near zero, products lose fewer digits
    queries, keys = queries - middle, keys - middle
    lengths, dimensions = keys.square().sum(dim=1), keys.shape[1]

    def distances() -> Iterator[Tensor]:
        for some in queries.split(max(1, _PRODUCTS_AT_ONCE // len(keys))):
            products = torch.addmm(lengths, some, keys.T, alpha=-2)
            yield products.add_(some.square().sum(dim=1, keepdim=True)).clamp_min_(0).div_(dimensions)

    if alpha == inf:
        return torch.cat([each.argmin(dim=1) for each in distances()])
    kept = list(distances()) if len(queries) * len(keys) <= _PRODUCTS_KEPT else None
    closest = lengths.new_full((len(keys),), inf)
    for each in kept or distances():
        torch.minimum(closest, each.amin(dim=0), out=closest)
    weights = 1 / (alpha + closest)
    return torch.cat([each.mul_(weights).argmin(dim=1) for each in kept or distances()])


def fold_patches(patches: Tensor, shape: tuple[int, ...], patch_size: int) -> Tensor:
    """The picture of this shape (1, 3, H, W) whose pixels are the means of all patches (p, 3 * side**2) over them.

    patches: one for each place, row by row, as `F.unfold` cuts them out; with those of a picture it is the inverse.
    """
    ones = F.unfold(patches.new_ones(1, 1, *shape[-2:]), patch_size)
    covered, total = (F.fold(each, shape[-2:], patch_size) for each in (ones, patches.T[None]))
    return total / covered


@torch.inference_mode(False)
@torch.enable_grad()
def gpdm(
    pyramid: Pyramid,
    n: int = 1,
    *,
    seed: int = 0,
    noise: float = 1.5,
    steps: int = 100,
    projections: int = 64,
    learning_rate: float = 0.05,
    patch_size: int = 7,
) -> Tensor:
    """n pictures whose patches are distributed as the photograph's, by gradient descent on pixels: (n, 3, H, W).

    Each level begins with the level below, enlarged, the coarsest with the photograph's plus gray noise of this
    standard deviation. Then so many steps of Adam on `sliced_distance` with that level of the photograph, along new
    random directions in every step; the rate falls to nine tenths every hundred steps. Clamped to [-1, 1] after each
    level. seed: picture k depends on seed and k alone.

    Raises SinGANError for numbers out of range and for a level that is smaller than a patch.
    Source: Elnekave and Weiss 2022, GPDM, section 3; theirs begins with noise alone, and takes more and smaller levels.
    """
    _check(pyramid, patch_size, noise, n=n, steps=steps, projections=projections)
    if not 0 < learning_rate < inf:
        raise SinGANError(f"learning_rate must be above 0, got {learning_rate!r}.")
    made = []
    for source in _sources(pyramid, n, seed):
        picture = pyramid.images[0] + noise * source(0, (1, 1, *pyramid.shape.sizes[0]))
        draws = itertools.count(1)  # number 0 is the noise
        for level, target in enumerate(pyramid.images):
            if level:
                picture = upsample(picture, pyramid.shape.sizes[level], pyramid.shape.factor)
            picture = picture.clone().requires_grad_(True)
            optimiser = torch.optim.Adam([picture], lr=learning_rate)
            schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=100, gamma=0.9)
            for _ in range(steps):
                directions = source(next(draws), (projections, 3, patch_size, patch_size))
                optimiser.zero_grad()
                sliced_distance(picture, target, directions).backward()
                optimiser.step()
                schedule.step()
            picture = picture.detach().clamp(-1, 1)
        made.append(picture)
    return torch.cat(made)


def sliced_distance(picture: Tensor, target: Tensor, directions: Tensor) -> Tensor:
    """Sliced 2-Wasserstein distance, squared, between the patches of two images; differentiable in the first one.

    picture, target: (1, 3, H, W) of one size. directions: (P, 3, side, side), of any length above 0; the mean over them
    of the mean square difference between the sorted projections of both images' patches, as a scalar tensor. (The
    measure `metrics.sliced_wasserstein` takes absolute differences, over several sizes.) Raises SinGANError for images
    of different size, and for batches. Source: Elnekave and Weiss 2022, section 3.
    """
    if picture.shape != target.shape or len(picture) != 1:
        raise SinGANError(f"Two images of one size are compared, not {tuple(picture.shape)} and {tuple(target.shape)}.")
    directions = directions / directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    rows, wanted = (F.conv2d(each, directions)[0].flatten(1) for each in (picture, target))
    return (rows - _in_the_order_of(rows.detach(), wanted.detach())).square().mean()


def _in_the_order_of(rows: Tensor, values: Tensor) -> Tensor:
    """The values (P, N) of each row, so permuted that they rise where `rows` (P, N) do: what each is matched with."""
    if rows.device.type != "cpu":
        return torch.empty_like(rows).scatter_(1, rows.argsort(dim=1), values.sort(dim=1).values)
    matched = np.empty_like(rows.numpy())  # numpy sorts several times as fast as torch on a CPU
    np.put_along_axis(matched, np.argsort(rows.numpy(), axis=1), np.sort(values.numpy(), axis=1), axis=1)
    return torch.from_numpy(matched)


def _sources(pyramid: Pyramid, n: int, seed: int) -> list[NoiseSource]:
    """The noise of each of n pictures."""
    return [seeded_noise(seed, range(k, k + 1), like=pyramid.images[0]) for k in range(n)]


def _check(pyramid: Pyramid, patch_size: int, noise: float, **counts: int) -> None:
    for image in pyramid.images:
        check_image(image, "each level")
    if not 0 <= noise < inf:
        raise SinGANError(f"noise must be a number from 0 on, got {noise!r}.")
    for name, count in {"patch_size": patch_size, **counts}.items():
        if not is_whole(count) or count < 1:
            raise SinGANError(f"{name} must be a whole number of at least 1, got {count!r}.")
    height, width = pyramid.shape.sizes[0]
    if patch_size > min(height, width):
        raise SinGANError(f"Level 0 has {height}x{width} px and no patch of {patch_size} px: take smaller patches.")
