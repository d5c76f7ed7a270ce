"""What one would use for editing and harmonization without a network: Poisson blending and histogram matching."""

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from skimage import exposure
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
