"""What one would use without a network: Poisson blending and histogram matching for edits, filters against noise."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from skimage import exposure, filters, restoration
from torch import Tensor

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
    differences = sparse.csr_array((values, places), shape=(len(rows), index.size))
    system = (differences.T @ differences)[~known].tocsc()  # the normal equations, of the pixels inside
    colours, guide = (_pixels(each) for each in (background, source))
    wanted = system @ guide - system[:, known] @ colours[known]
    colours[~known] = splu(system[:, ~known]).solve(wanted)
    return _replaced(background, colours, inside)


def match_histograms(image: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """An image with the histograms of a reference, for each of R, G and B: (1, 3, H, W) in [-1, 1].

    image: (1, 3, H, W), reference: (1, 3, any size), in [-1, 1]. mask: (1, 1, H, W) in [0, 1]; only pixels where it is
    at least 0.5, a pasted object for instance, are given the histogram of the whole reference, all others stay as they
    are bit for bit. By scikit-image. Raises SinGANError for a mask that sets nothing, and anything that is no image.
    """
    check_image(reference, "reference")
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
    if isinstance(size, bool) or not isinstance(size, int) or size < 1 or not size % 2:
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
    return _filtered(image, lambda colours: restoration.denoise_nl_means(colours, h=strength, channel_axis=-1))


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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
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


def _pixels(image: Tensor) -> np.ndarray:
    """The colours (H * W, 3) of an image, float64."""
    return image[0].flatten(1).T.double().cpu().numpy()


def _replaced(image: Tensor, colours: np.ndarray, inside: np.ndarray) -> Tensor:
    """The image with these colours (H * W, 3) in the pixels inside."""
    new = torch.from_numpy(colours).to(image).T.reshape(image.shape).clamp(-1, 1)
    return torch.where(torch.from_numpy(inside).to(image.device), new, image)
