"""A picture in few colours: which ones they are, and the nearest of them for every pixel."""

import warnings

import numpy as np
import torch
from torch import Tensor

from singan_core.arguments import is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image


def find_palette(image: Tensor, colours: int) -> Tensor:
    """The colours (k, 3), in [-1, 1], that stand best for an image (1, 3, H, W), k at most `colours`: k-means in RGB.

    It starts from the means of as many equal groups of pixels along the axis in which the colours differ most, so that
    nothing is random. A picture with fewer colours has a smaller palette. Raises SinGANError for what is no image.
    """
    from scipy.cluster.vq import kmeans2  # here, because it loads much that nothing else needs

    check_image(image)
    if not is_whole(colours) or colours < 1:
        raise SinGANError(f"colours must be a whole number from 1 on, got {colours!r}.")
    pixels = image.movedim(1, -1).reshape(-1, 3).double().cpu().numpy()
    axis = np.linalg.svd(np.cov(pixels.T, bias=True))[0][:, 0]
    groups = np.array_split(pixels[np.argsort(pixels @ axis, kind="stable")], min(colours, len(pixels)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a colour that no pixel is nearest to: it is left out below
        centres, nearest = kmeans2(pixels, np.stack([group.mean(axis=0) for group in groups]), minit="matrix", iter=50)
    return torch.from_numpy(centres[np.unique(nearest)]).to(image)


def quantise(image: Tensor, palette: Tensor) -> Tensor:
    """An image (N, 3, H, W) in the colours of a palette (k, 3): each pixel gets the nearest one in RGB."""
    pixels = image.movedim(1, -1)
    # by products, as by default, two colours that are nearly equally near could change places
    exact = "donot_use_mm_for_euclid_dist"
    nearest = torch.cdist(pixels.flatten(0, -2), palette.to(image), compute_mode=exact).argmin(dim=1)
    return palette.to(image)[nearest].view(pixels.shape).movedim(-1, 1).contiguous()
