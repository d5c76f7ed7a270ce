"""Nearest patches: how foreign the patches of an image are to another image, and how far from home they are found.

Each patch of an image is compared with every overlapping patch of a source, so that the answer is exact; the time grows
with the product of both numbers: about 15 s for two images of 250 px on one core. A mask or `candidates` make it less.
`shuffle_tiles` makes a picture that has nearly all patches of another one, and none of its layout.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from singan_core.arguments import checked_seed, is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image, check_mask

_PRODUCTS_AT_ONCE = 2**24  # bounds the memory: 64 MB of distances


class NearestPatches(NamedTuple):
    """The p patches of an image that were looked for, and where in the source each has its nearest one.

    distance: (p,), RMSE between the two, where the image range is 2. place, found: (p, 2), row and column of the upper
    left pixel in the image and in the source.
    """

    distance: Tensor
    place: Tensor
    found: Tensor


@torch.no_grad()
def nearest_patches(
    image: Tensor,
    source: Tensor,
    *,
    patch_size: int = 7,
    mask: Tensor | None = None,
    candidates: int | None = None,
    apart: int | None = None,
    seed: int = 0,
) -> NearestPatches:
    """The nearest patch of `source` (1, 3, h, w) for each overlapping patch of `image` (1, 3, H, W), all in [-1, 1].

    patch_size: side in pixels. mask: (1, 1, H, W) in [0, 1]; only patches whose centre it sets (0.5 or more) are looked
    for. candidates: choose among so many patches of the source, drawn at random from `seed`, so that sources of
    different size compare; default: all. apart: leave out those of the source less than so many pixels away, along both
    axes, from the patch's own place; the side of a patch leaves out those that overlap it, so that an image can be
    compared with itself. Without it, of equally near patches the one at the patch's own place counts where images of
    one size are compared as a whole.

    Raises SinGANError for images smaller than a patch, a mask that sets none, numbers out of range, and where `apart`
    leaves nothing to compare with.
    """
    for name, each in (("image", image), ("source", source)):
        check_image(each, name)
        if len(each) != 1:
            raise SinGANError(f"{name} must be one image, got a batch of {len(each)}: take {name}[i : i + 1].")
        if not is_whole(patch_size) or not 1 <= patch_size <= min(each.shape[-2:]):
            raise SinGANError(f"{name} has {each.shape[-2]}x{each.shape[-1]} px and no patch of {patch_size!r} px.")
    patches, others = (F.unfold(each, patch_size)[0].T for each in (image, source.to(image)))
    columns, columns_of_source = (each.shape[-1] - patch_size + 1 for each in (image, source))
    places = torch.arange(len(patches), device=image.device)
    if mask is not None:
        half = patch_size // 2
        centres = check_mask(mask, tuple(image.shape[-2:]))[..., half:, half:].to(image.device)
        places = places[(centres[0, 0, : image.shape[-2] - patch_size + 1, :columns] >= 0.5).flatten()]
        if not len(places):
            raise SinGANError("The mask sets the centre of no patch: it is empty, or at the border of the image.")
    chosen = torch.arange(len(others), device=image.device)
    if candidates is not None:
        if not is_whole(candidates) or not 1 <= candidates <= len(others):
            raise SinGANError(f"candidates must be a number of patches from 1 to {len(others)}, got {candidates!r}.")
        chosen = torch.randperm(len(others), generator=torch.Generator().manual_seed(checked_seed(seed)))
        chosen = chosen[:candidates].to(image.device)
    if apart is not None and (not is_whole(apart) or apart < 1):
        raise SinGANError(f"apart must be a number of pixels from 1 on, got {apart!r}.")
    patches, offered = patches[places], others[chosen]
    place, offered_place = _coordinates(places, columns), _coordinates(chosen, columns_of_source)
    middle = offered.mean(dim=0)  # near zero, products lose fewer digits
    shifted, lengths = offered - middle, (offered - middle).square().sum(dim=1)
    some = max(1, _PRODUCTS_AT_ONCE // len(offered))
    nearest = []
    rows_of, columns_of = offered_place.int().T
    for each, own in zip(patches.split(some), place.int().split(some), strict=True):
        score = lengths - 2 * (each - middle) @ shifted.T
        if apart is not None:
            close = (own[:, :1] - rows_of).abs_() < apart
            close &= (own[:, 1:] - columns_of).abs_() < apart
            if close.all(dim=1).any():
                raise SinGANError(f"Some patch has none that is {apart} px or more away: take less, or a larger image.")
            score.masked_fill_(close, float("inf"))
        nearest.append(score.argmin(dim=1))
    found = chosen[torch.cat(nearest)]
    distance = _rms(patches - others[found])
    if image.shape == source.shape and candidates is None and apart is None:
        at_home = _rms(patches - others[places])
        found = torch.where(at_home <= distance, places, found)
        distance = torch.minimum(at_home, distance)
    return NearestPatches(distance, place, _coordinates(found, columns_of_source))


def nearest_patch_distance(images: Tensor, source: Tensor, **options: object) -> Tensor:
    """How foreign the patches of images (N, 3, H, W) are to a source (1, 3, h, w): float64 (N,), 0 for a part of it.

    The mean over patches of the RMSE to the nearest patch of the source, in intensity, where the range is 2; options
    and errors: see `nearest_patches`. Divide by `metrics.contrast` of the source to compare pictures.
    """
    found = [nearest_patches(image, source, **options) for image in images.split(1)]
    return torch.stack([each.distance.double().mean() for each in found])


def border_centres(mask: Tensor, *, patch_size: int = 7) -> Tensor:
    """The centres of all patches that hold pixels of a mask (0.5 or more) and others: ones, else zeros, (1, 1, H, W).

    mask: (1, 1, H, W) in [0, 1]; patch_size: side in pixels, odd. For `nearest_patches` along a border. Raises
    SinGANError for what is no mask, and an even patch_size.
    """
    if not is_whole(patch_size) or patch_size < 1 or patch_size % 2 == 0:
        raise SinGANError(f"patch_size must be odd, so that a patch has a centre, got {patch_size!r}.")
    inside = (check_mask(mask) >= 0.5).float()
    holds, lacks = (F.max_pool2d(each, patch_size, stride=1, padding=patch_size // 2) for each in (inside, 1 - inside))
    return holds * lacks


def shuffle_tiles(image: Tensor, tile: int, rng: torch.Generator) -> Tensor:
    """An image (1, 3, H, W) whose square tiles of `tile` px are in random order: the same patches but for the seams.

    What is left over at the lower and the right border stays in its place. rng: of the order, on the CPU. Raises
    SinGANError for anything that is not one image, and for tiles that do not fit into it.
    """
    if len(check_image(image)) != 1:
        raise SinGANError(f"image must be one image, got a batch of {len(image)}: take image[i : i + 1].")
    if not is_whole(tile) or not 1 <= tile <= min(image.shape[-2:]):
        raise SinGANError(f"tile must be a number of pixels from 1 to {min(image.shape[-2:])}, got {tile!r}.")
    down, across = (side // tile for side in image.shape[-2:])
    whole = (..., slice(down * tile), slice(across * tile))
    tiles = image[whole].unfold(2, tile, tile).unfold(3, tile, tile).flatten(2, 3)
    order = torch.randperm(down * across, generator=rng).to(image.device)
    shuffled = image.clone()
    shuffled[whole] = tiles[:, :, order].unflatten(2, (down, across)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return shuffled


def patch_displacement(images: Tensor, source: Tensor, **options: object) -> Tensor:
    """How far from its own place each patch of images (N, 3, H, W) is found in a source of that size: float64 (N,).

    The mean over patches of the distance in pixels between a patch and the nearest patch of the source: 0 for a copy,
    about half a side for patches in any order. Patches of even areas, which look alike, raise it. Options
    and errors: see `nearest_patches`; images of another size raise SinGANError.
    """
    _check_size(images, source)
    found = [nearest_patches(image, source, **options) for image in images.split(1)]
    return torch.stack([_moved(each).mean() for each in found])


def displacement_map(image: Tensor, source: Tensor, *, patch_size: int = 7) -> Tensor:
    """How far from its own place each patch of an image (1, 3, H, W) is found in a source of that size, as a map.

    (1, 1, H - patch_size + 1, W - patch_size + 1) in pixels, float64 on the CPU, a value for each overlapping patch at
    the place of its centre; its mean is `patch_displacement`. Errors as there.
    """
    _check_size(image, source)
    found = nearest_patches(image, source, patch_size=patch_size)
    return _moved(found).reshape(1, 1, *(side - patch_size + 1 for side in image.shape[-2:])).cpu()


def patch_repetition(images: Tensor, source: Tensor, **options: object) -> Tensor:
    """How often images (N, 3, H, W) use a patch of a source (1, 3, h, w), on average: float64 (N,), 1 for a copy.

    The number of patches over the number of different patches of the source that are nearest to one of them. Patches of
    even areas, which look alike, raise it, so that an image is best compared with another one of that size that repeats
    nothing. Options and errors: see `nearest_patches`.
    """
    found = [nearest_patches(image, source, **options).found for image in images.split(1)]
    return torch.tensor([len(each) / len(each.unique(dim=0)) for each in found], dtype=torch.float64)


def _moved(nearest: NearestPatches) -> Tensor:
    """Distance in pixels from each patch's place to where it was found."""
    return (nearest.found - nearest.place).double().norm(dim=1)


def _check_size(images: Tensor, source: Tensor) -> None:
    if images.shape[1:] != source.shape[1:]:
        raise SinGANError("Displacements need images of the source's size: resize one of them.")


def _rms(differences: Tensor) -> Tensor:
    return differences.square().mean(dim=1).sqrt()


def _coordinates(index: Tensor, columns: int) -> Tensor:
    return torch.stack([index // columns, index % columns], dim=1)
