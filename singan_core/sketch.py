"""A line drawing made from a photograph: its edges, as somebody might have sketched them before painting it."""

import numpy as np
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.feature import canny
from torch import Tensor

from singan_core.errors import SinGANError
from singan_core.images import check_image, from_array, to_array

DARKNESS = 0.85
"""Of the lines, on white: 0 is white, 1 is black."""

# Shares of the longer side, so that a photograph gives the same drawing at every resolution.
_BLUR = 0.0045
_SHORTEST = 0.05


def edge_sketch(image: Tensor, *, contrast: float = 14.0, line: float = 0.006) -> Tensor:
    """A photograph (1, 3, H, W) in [-1, 1] as a drawing of its size: dark lines on white, (1, 3, H, W) in [-1, 1].

    The lines are Canny edges of the lightness and of both colour channels in CIELAB, so that a boundary between two
    colours of one lightness counts too. contrast: how much the two sides of a boundary must differ, in units of
    lightness (black to white is 100); a boundary of colours needs 0.7 of it. line: width, as a share of the longer
    side; at least a pixel is drawn. Short pieces are left out. Raises SinGANError for anything that is no single
    image, and for a contrast or a line that is not above 0.
    """
    check_image(image)
    if len(image) != 1:
        raise SinGANError(f"edge_sketch draws one image, got {len(image)}: image[i : i + 1].")
    if not (contrast > 0 and line > 0):
        raise SinGANError(f"contrast and line must be above 0, got {contrast!r} and {line!r}.")
    longer = max(image.shape[-2:])
    edges = np.zeros(tuple(image.shape[-2:]), dtype=bool)
    for channel, needed in zip(np.moveaxis(rgb2lab(to_array(image)), -1, 0), (1.0, 0.7, 0.7), strict=True):
        edges |= _edges(channel, needed * contrast, blur=max(1.0, _BLUR * longer))
    pieces, _ = ndimage.label(edges, structure=np.ones((3, 3)))
    kept = np.bincount(pieces.ravel()) >= _SHORTEST * longer
    kept[0] = False  # what is no edge
    return from_array(_drawn(kept[pieces], width=max(1.0, line * longer))).to(image.device)


def _edges(channel: np.ndarray, contrast: float, blur: float) -> np.ndarray:
    """Canny edges (H, W) between areas that differ by `contrast`; a weaker part counts where it goes on from one."""
    slope = 8 * contrast / (np.sqrt(2 * np.pi) * blur)  # of a blurred step; 8: the weights of Sobel's filter
    return canny(channel, sigma=blur, low_threshold=0.4 * slope, high_threshold=slope, mode="nearest")


def _drawn(edges: np.ndarray, width: float) -> np.ndarray:
    """Gray levels (H, W) in [0, 1] of lines of so many pixels along the edges."""
    if not edges.any():
        return np.ones(edges.shape)
    distance = ndimage.distance_transform_edt(~edges)
    return 1 - DARKNESS * np.clip((width + 1) / 2 - distance, 0, 1)
