"""What one would use without a network: blending and histogram matching for edits, filters against noise."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from skimage import exposure, filters, restoration
from skimage.transform import pyramid_gaussian
from skimage.transform import resize as interpolate
from torch import Tensor

from singan_core.arguments import is_number, is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image, check_mask


def poisson_blend(background: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """The background with the gradients of the source inside a mask: (1, 3, H, W) in [-1, 1].

    background, source: (1, 3, H, W) in [-1, 1]. mask: (1, 1, H, W) in [0, 1]; outside of where it is at least 0.5 the
    background is returned bit for bit. Inside, the result f minimises the sum over neighbouring pixels p, q of
    ((f_p - f_q) - (source_p - source_q))^2 and meets the background at the border; then it is clamped. So the source
    keeps its texture and loses its colour where the border has another one. The border of the image is free.

    Source: Perez et al. 2003, seamless cloning. The sparse system is solved directly. Raises SinGANError for images of
    different size, and for a mask that sets nothing or everything.
    """
    inside = _set_pixels(background, source, mask)
    if inside.all():
        raise SinGANError("The mask covers everything, so that nothing is left to blend with: leave a border.")
    differences, known = _neighbours(inside)
    system = (differences.T @ differences)[~known].tocsc()  # the normal equations, of the pixels inside
    colours, guide = (_pixels(each) for each in (background, source))
    wanted = system @ guide - system[:, known] @ colours[known]
    colours[~known] = splu(system[:, ~known]).solve(wanted)
    return _replaced(background, colours, inside)


def poisson_stitch(images: Tensor, parts: Tensor, mask: Tensor) -> Tensor:
    """Pictures without the jumps between their parts, changed inside a mask only: (N, 3, H, W) in [-1, 1].

    images: (N, 3, H, W) in [-1, 1]. parts: (1, 1, H, W) in [0, 1]; the jumps are at its border, between a pixel that it
    sets (0.5 or more) and a neighbour that it does not. mask: (1, 1, H, W) in [0, 1]; outside of where it is at least
    0.5 the pictures are returned bit for bit. Inside, the result f minimises the sum over neighbouring pixels p, q of
    ((f_p - f_q) - d)^2 and meets the picture at the border of the mask; d is the difference in the picture or, across
    the border of the parts, 0, as if each part went on as its mirror image. Then it is clamped.

    Source: Perez et al. 2003, with the gradients of several sources side by side. Raises SinGANError for a mask that
    sets nothing or everything, parts without a border, and masks of another size.
    """
    check_image(images, "images")
    size = tuple(images.shape[-2:])
    inside, part = ((check_mask(each, size)[0, 0] >= 0.5).cpu().numpy() for each in (mask, parts))
    if not inside.any() or inside.all():
        raise SinGANError("The mask must set the pixels around the seams, and leave others as they are.")
    differences, known = _neighbours(inside)
    across = differences @ part.ravel().astype(float) != 0
    if not across.any():
        raise SinGANError("The parts have no border inside the mask: there is no jump to remove.")
    colours = np.concatenate([_pixels(image[None]) for image in images], axis=1)  # one system for all pictures
    kept = differences @ colours
    kept[across] = 0
    system = (differences.T @ differences)[~known].tocsc()
    wanted = (differences.T @ kept)[~known] - system[:, known] @ colours[known]
    colours[~known] = splu(system[:, ~known]).solve(wanted)
    results = np.split(colours, len(images), axis=1)
    return torch.cat([_replaced(image[None], each, inside) for image, each in zip(images, results, strict=True)])


def multiband_blend(images: Sequence[Tensor], masks: Sequence[Tensor], *, levels: int = 4) -> Tensor:
    """Several pictures blended into one, coarse bands over wide borders and fine bands over narrow ones.

    images: (N, 3, H, W) in [-1, 1] each, all of one size, defined on both sides of the borders. masks: (1, 1, H, W) in
    [0, 1] for each image, which add up to 1. levels: how often a picture is halved; the widest border takes about
    2^levels pixels to either side, and with 0 the masks alone mix the pictures. Result: (N, 3, H, W), clamped.

    Band l of the result is the sum over images of band l of the image's Laplacian pyramid times level l of the mask's
    Gaussian pyramid. Equal images are returned as they are, up to rounding. Source: Burt and Adelson 1983. The pyramids
    are scikit-image's; its own Laplacian pyramid cannot be put together again, because it leaves out the coarsest
    picture and what the reduction loses. Raises SinGANError for sizes, numbers and masks that do not fit.
    """
    if not images or len(images) != len(masks):
        raise SinGANError(f"One mask for each image is needed, got {len(masks)} masks and {len(images)} images.")
    if not is_whole(levels) or not 0 <= levels <= 20:
        raise SinGANError(f"levels must be a whole number from 0 to 20, got {levels!r}.")
    if len({check_image(image, "images").shape for image in images}) > 1:
        raise SinGANError("All images must have one size, and be as many: (N, 3, H, W) with the same N, H and W.")
    size = tuple(images[0].shape[-2:])
    weights = [check_mask(mask, size)[0].permute(1, 2, 0).double().cpu().numpy() for mask in masks]
    if not np.allclose(sum(weights), 1, atol=1e-4):  # masks are float32
        raise SinGANError("The masks must add up to 1 at every pixel.")
    bands: list[np.ndarray] = []
    for image, weight in zip(images, weights, strict=True):
        stacked = image.flatten(0, 1).permute(1, 2, 0).double().cpu().numpy()  # (H, W, 3 N)
        pyramid, share = (list(pyramid_gaussian(each, levels, channel_axis=-1)) for each in (stacked, weight))
        laplacian = [fine - _enlarged(coarse, fine) for fine, coarse in pairwise(pyramid)]
        weighted = [band * own for band, own in zip([*laplacian, pyramid[-1]], share, strict=True)]
        bands = [a + b for a, b in zip(bands, weighted, strict=True)] if bands else weighted
    blended = bands.pop()
    while bands:
        band = bands.pop()
        blended = band + _enlarged(blended, band)
    return torch.from_numpy(blended).permute(2, 0, 1).reshape(images[0].shape).to(images[0]).clamp(-1, 1)


def match_histograms(image: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """An image with the histograms of a reference, for each of R, G and B: (1, 3, H, W) in [-1, 1].

    image: (1, 3, H, W), reference: (1, 3, any size), in [-1, 1]. mask: (1, 1, H, W) in [0, 1]; only pixels where it is
    at least 0.5, a pasted object for instance, are given the histogram of the whole reference, all others stay as they
    are bit for bit. By scikit-image. Raises SinGANError for a mask that sets nothing, and anything that is no image.
    """
    if len(check_image(reference, "reference")) != 1:
        raise SinGANError(f"One reference is needed, got a batch of {len(reference)}: reference[i : i + 1].")
    whole = torch.ones(1, 1, *image.shape[-2:]) if mask is None and isinstance(image, Tensor) else mask
    inside = _set_pixels(image, image, whole)
    colours, chosen = _pixels(image), inside.ravel()
    # rows of pixels instead of pictures: a histogram does not know where its pixels are
    matched = exposure.match_histograms(colours[chosen][None], _pixels(reference)[None], channel_axis=-1)
    colours[chosen] = matched[0]
    return _replaced(image, colours, inside)


def median_filter(image: Tensor, size: int = 3) -> Tensor:
    """The median of size * size neighbours, for each of R, G and B: (1, 3, H, W) in [-1, 1], for one such picture.

    size: an odd number from 1 on; 1 changes nothing. By scikit-image; at the border the nearest pixel is repeated.
    """
    if not is_whole(size) or size < 1 or not size % 2:
        raise SinGANError(f"size must be an odd number of pixels from 1 on, got {size!r}.")
    return _filtered(image, lambda colours: filters.median(colours, np.ones((size, size, 1))))


def total_variation(image: Tensor, weight: float) -> Tensor:
    """The picture with less total variation: (1, 3, H, W) in [-1, 1], for one such picture.

    weight: above 0; the larger, the smoother. By scikit-image (Chambolle 2004), for colours from -1 to 1.
    """
    _check_positive("weight", weight)
    return _filtered(image, lambda colours: restoration.denoise_tv_chambolle(colours, weight, channel_axis=-1))


def nonlocal_means(image: Tensor, strength: float) -> Tensor:
    """Each pixel as a mean of those whose patches are like its own: (1, 3, H, W) in [-1, 1], for one such picture.

    strength: above 0; how different patches may be, as a distance of colours from -1 to 1. By scikit-image (Buades et
    al. 2005): patches of 7x7 px, at most 11 px away.
    """
    _check_positive("strength", strength)

    def averaged(colours: np.ndarray) -> np.ndarray:
        found = restoration.denoise_nl_means(colours, h=strength, channel_axis=-1)
        return found.reshape(colours.shape)  # it drops sides of one pixel

    return _filtered(image, averaged)


def inpaint_extremes(image: Tensor) -> Tensor:
    """Black and white pixels, replaced by what continues their surroundings smoothly: (1, 3, H, W) in [-1, 1].

    image: one such picture; a pixel whose three colours are all -1 or all 1 counts as damaged, all others stay as they
    are. The biharmonic inpainting of scikit-image. Raises SinGANError for a picture of black and white pixels alone.
    """

    def inpainted(colours: np.ndarray) -> np.ndarray:
        damaged = (colours == -1).all(axis=-1) | (colours == 1).all(axis=-1)
        if damaged.all():
            raise SinGANError("Every pixel is black or white: nothing is left to continue.")
        return restoration.inpaint_biharmonic(colours, damaged, channel_axis=-1) if damaged.any() else colours

    return _filtered(image, inpainted)


def _filtered(image: Tensor, method: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """One image after a method for float64 arrays (H, W, 3) in [-1, 1], clamped."""
    check_image(image)
    if len(image) != 1:
        raise SinGANError(f"One picture is needed, got a batch of {len(image)}: image[i : i + 1].")
    colours = method(image[0].permute(1, 2, 0).double().cpu().numpy())
    return torch.from_numpy(colours).to(image).permute(2, 0, 1)[None].clamp(-1, 1)


def _check_positive(name: str, value: float) -> None:
    if not is_number(value) or not 0 < value < np.inf:
        raise SinGANError(f"{name} must be a number above 0, got {value!r}.")


def _set_pixels(image: Tensor, other: Tensor, mask: Tensor) -> np.ndarray:
    """Which pixels (H, W) a mask sets, after all three were checked."""
    check_image(image)
    check_image(other, "source")
    if len(image) != 1 or image.shape != other.shape:
        raise SinGANError(
            f"Two images (1, 3, H, W) of one size are needed, got {tuple(image.shape)} and {tuple(other.shape)}."
        )
    inside = (check_mask(mask, tuple(image.shape[-2:]))[0, 0] >= 0.5).cpu().numpy()
    if not inside.any():
        raise SinGANError("The mask is empty: no pixel of it reaches 0.5.")
    return inside


def _neighbours(inside: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Differences (pairs, H * W) of all neighbouring pixels of which one at least is inside (H, W); who is not inside.

    A row has 1 at the left or upper pixel of a pair and -1 at the other.
    """
    height, width = inside.shape
    index = np.arange(height * width).reshape(height, width)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    known = ~inside.ravel()
    counted = ~(known[first] & known[second])
    first, second = first[counted], second[counted]
    rows = np.arange(len(first))
    values = np.concatenate([np.ones(len(rows)), -np.ones(len(rows))])
    places = np.concatenate([rows, rows]), np.concatenate([first, second])
    return sparse.csr_array((values, places), shape=(len(rows), index.size)), known


def _enlarged(coarse: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A level (h, w, C) of a Gaussian pyramid at the size of the next finer one, by linear interpolation."""
    return interpolate(coarse, like.shape[:2], order=1, mode="reflect", clip=False, preserve_range=True)


def _pixels(image: Tensor) -> np.ndarray:
    """The colours (H * W, 3) of an image, float64."""
    return image[0].flatten(1).T.double().cpu().numpy()


def _replaced(image: Tensor, colours: np.ndarray, inside: np.ndarray) -> Tensor:
    """The image with these colours (H * W, 3) in the pixels inside."""
    new = torch.from_numpy(colours).to(image).T.reshape(image.shape).clamp(-1, 1)
    return torch.where(torch.from_numpy(inside).to(image.device), new, image)
