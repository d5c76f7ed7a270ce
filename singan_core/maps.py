"""Maps over a picture: where samples vary, where a photograph holds information, and whether these places agree.

A map is a float64 tensor (1, 1, H, W) on the CPU with one value for each pixel. Where a map needs colours to be gray
levels, it takes images in [-1, 1], so that its unit is intensity, where the range is 2. `plots.show_maps` draws maps.
"""

from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from skimage.filters.rank import entropy
from torch import Tensor

from singan_core import metrics
from singan_core.arguments import checked_seed, is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image
from singan_core.metrics import Interval


def gray_levels(images: Tensor) -> Tensor:
    """Gray levels (N, 1, H, W) in [-1, 1] of images (N, 3, H, W), by the weights of Rec. 709; float64 on the CPU."""
    return metrics.gray_levels(check_image(images).detach())[:, None].cpu()


def variance_map(samples: Tensor) -> Tensor:
    """Variance of each pixel's gray level over samples (N, 3, H, W): (1, 1, H, W), in squared units of intensity.

    Divided by N - 1, so that batches of different N agree on average. 0 for equal samples. Its root, averaged over the
    pixels and divided by the contrast of the photograph, is the paper's diversity (which divides by N). Raises
    SinGANError for fewer than 2 samples.
    """
    if len(samples) < 2:
        raise SinGANError("A variance needs at least 2 samples, got 1: draw more.")
    return gray_levels(samples).var(dim=0, keepdim=True)


def smooth(values: Tensor, side: int) -> Tensor:
    """Mean of a map over the window of side x side pixels around each pixel; side: odd.

    At the border the window is cut off, and the mean is over the part that lies in the picture, as in `local_entropy`.
    """
    _check_map(values)
    _check_side(side)
    return F.avg_pool2d(values, side, stride=1, padding=side // 2, count_include_pad=False)


def local_entropy(image: Tensor, side: int, *, bins: int = 32) -> Tensor:
    """Entropy in bits, (1, 1, H, W), of the gray levels of an image (1, 3, H, W) around each pixel.

    The gray levels from -1 to 1 fall into `bins` equal steps (2 to 256); their histogram is that of the side x side
    window, cut off at the border of the picture; side: odd. From 0, a single step, to log2 of bins or pixels in the
    window, whichever is less. With 32 bins a step is 8 of 256 levels, more than sensor noise, and a window of 11 x 11
    pixels fills them; with 256 it could not, and nearly every window that has any texture would look alike.
    """
    _check_side(side)
    if not is_whole(bins) or not 2 <= bins <= 256:
        raise SinGANError(f"bins is a whole number from 2 to 256, got {bins!r}.")
    steps = ((_one_gray(image)[0, 0] + 1) / 2 * bins).floor().clamp(0, bins - 1).to(torch.uint8)
    return torch.from_numpy(entropy(steps.numpy(), np.ones((side, side), np.uint8)))[None, None]


def gradient_energy(image: Tensor) -> Tensor:
    """Squared length of the gradient of an image's gray levels, (1, 1, H, W), in (intensity per pixel) squared.

    The image is (1, 3, H, W) with sides of at least 2 px. Differences are taken across two pixels, at the border from
    one to the next. Raises SinGANError for a side of one pixel.
    """
    gray = _one_gray(image)
    if min(gray.shape[-2:]) < 2:
        raise SinGANError(f"A gradient needs sides of 2 px or more, got {_size(gray)}.")
    down, right = torch.gradient(gray, dim=(2, 3))
    return down.square() + right.square()


def ranks(values: Tensor) -> Tensor:
    """Each value of a map replaced by the share of the pixels that have a smaller one, in (0, 1); ties count half.

    It is all that `rank_correlation` sees of a map, and makes maps of different units comparable.
    """
    _check_map(values)
    places = rankdata(values.numpy(), method="average").reshape(values.shape)
    return torch.from_numpy((places - 0.5) / values.numel())


def rank_correlation(a: Tensor, b: Tensor, *, block: int, resamples: int = 1000, seed: int = 0) -> Interval:
    """Spearman's rank correlation over the pixels of two maps, with a 95 % interval by resampling blocks.

    1 where the maps order all pixels alike, -1 where one has the order reversed. Neighbouring pixels are not
    independent, so the picture is cut into blocks of about block x block pixels, and as many of them are drawn with
    replacement, `resamples` times; the interval holds the middle 95 % of their correlations. n is the number of blocks.

    `block` should be twice the distance over which a map depends on itself, which for a smoothed one is the window, and
    leave a dozen blocks or more. Measured on independent maps of 80 x 128 px, smoothed over 11 px: the interval holds
    the true 0 in 88 % of 200 trials with blocks of 22 px, in 82 % with 11 px, in 21 % with single pixels. None helps
    against layers that go through the whole picture: with such, 56 %.

    Raises SinGANError for maps of different sizes, maps with one value only, fewer than 4 blocks, and a seed or a
    number of resamples that is none.
    Source: block bootstrap, Künsch 1989, here with blocks that do not overlap.
    """
    if _check_map(a).shape != _check_map(b).shape:
        raise SinGANError(f"The maps have {_size(a)} and {_size(b)} px; compute them at one size.")
    if not is_whole(resamples) or resamples < 1:
        raise SinGANError(f"resamples must be a whole number from 1 on, got {resamples!r}.")
    if min(values.max() - values.min() for values in (a, b)) == 0:
        raise SinGANError("A map has the same value everywhere: it has no order that could correlate with another.")
    blocks = _block_numbers(a.shape[-2], a.shape[-1], block)
    groups = [np.unique(values.numpy(), return_inverse=True)[1].ravel() for values in (a, b)]
    count = int(blocks.max()) + 1
    if count < 4:
        raise SinGANError(f"Blocks of {block} px give only {count} in maps of {_size(a)} px: take smaller ones.")
    drawn = np.random.default_rng(checked_seed(seed)).multinomial(count, np.full(count, 1 / count), size=resamples)
    with np.errstate(invalid="ignore"):  # a draw of blocks in which a map is constant has no correlation: nan
        low, high = np.nanquantile([_spearman(*groups, times[blocks]) for times in drawn], [0.025, 0.975])
    return Interval(_spearman(*groups, np.ones_like(blocks)), float(low), float(high), count)


def largest_quarter(values: Tensor) -> Tensor:
    """The mask (1, 1, H, W) of the quarter of the pixels at which a map is largest: 1 there, else 0, as float32.

    Rounded up to whole pixels; of equal values those further up and left come first.
    """
    _check_map(values)
    largest = values.flatten().argsort(descending=True, stable=True)[: ceil(values.numel() / 4)]
    mask = torch.zeros(values.numel())
    mask[largest] = 1
    return mask.view_as(values)


def quarter_share(values: Tensor) -> float:
    """Share of a map's sum that lies in its largest quarter: 0.25 for one value everywhere, 1 if it holds everything.

    For maps that are nowhere negative. Raises SinGANError for a map that is zero everywhere.
    """
    total = _check_map(values).sum().item()
    if total == 0:
        raise SinGANError("The map is zero everywhere, so that no place has a share of it.")
    return (values * largest_quarter(values)).sum().item() / total


def _block_numbers(height: int, width: int, block: int) -> np.ndarray:
    """The number of each pixel's block, (height * width,): each side is cut into equal parts of about `block` px."""
    if not is_whole(block) or block < 1:
        raise SinGANError(f"block is a side in pixels, at least 1, got {block!r}.")
    down, across = max(1, round(height / block)), max(1, round(width / block))
    rows, columns = np.arange(height) * down // height, np.arange(width) * across // width
    return (rows[:, None] * across + columns).ravel()


def _spearman(a: np.ndarray, b: np.ndarray, times: np.ndarray) -> float:
    """Spearman's correlation of two lists of whole numbers 0, 1, ... without gaps, item i counted times[i] times."""
    products = np.cov(_counted_ranks(a, times), _counted_ranks(b, times), fweights=times)
    return float(np.clip(products[0, 1] / np.sqrt(products[0, 0] * products[1, 1]), -1, 1))


def _counted_ranks(numbers: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The mean place of each item among all, item i counted times[i] times: without sorting them again."""
    totals = np.bincount(numbers, times)
    return (np.cumsum(totals) - totals / 2)[numbers]


def _one_gray(image: Tensor) -> Tensor:
    gray = gray_levels(image)
    if len(gray) != 1:
        raise SinGANError(f"The map is that of one image (1, 3, H, W), not of {len(gray)}: image[i : i + 1].")
    return gray


def _check_map(values: Tensor) -> Tensor:
    if values.ndim != 4 or values.shape[:2] != (1, 1):
        raise SinGANError(f"A map is a tensor (1, 1, H, W), got {tuple(values.shape)}.")
    if not values.isfinite().all():
        raise SinGANError("A map has finite values only; this one has nan or inf.")
    return values


def _check_side(side: int) -> None:
    if not is_whole(side) or side < 1 or side % 2 == 0:
        raise SinGANError(f"The side of a window is an odd number of pixels, for one in the middle; got {side!r}.")


def _size(values: Tensor) -> str:
    return "x".join(str(side) for side in values.shape[-2:])
