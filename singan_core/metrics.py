"""Measures of samples against the training image, and of one image against another, with confidence intervals.

All take tensors in [-1, 1] and work on the tensors' device, except PSNR, SSIM and RMSE, which scikit-image computes on
the CPU. They are deterministic: the same input and seed give the same value on the same machine.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from scipy.special import stdtrit
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from singan_core.arguments import checked_seed, is_whole
from singan_core.errors import SinGANError
from singan_core.features import FeatureExtractor
from singan_core.images import check_image, check_mask

_GRAY = (0.2125, 0.7154, 0.0721)  # Rec. 709, as scikit-image's rgb2gray
_DIRECTIONS_AT_ONCE = 16  # bounds the memory: 16 floats for each patch of all samples


class FrechetDistance(NamedTuple):
    """A single-image Fréchet distance: the mean over samples, the name of the features, and each sample's distance."""

    value: float
    features: str
    per_sample: tuple[float, ...]


class Interval(NamedTuple):
    """The mean of `n` values and the ends of its confidence interval."""

    mean: float
    low: float
    high: float
    n: int


@torch.no_grad()
def diversity(samples: Tensor, image: Tensor) -> float:
    """How much the samples differ from each other, relative to the contrast of the training image.

    The standard deviation of each pixel's gray level over the samples (N, 3, H, W), averaged over pixels and divided by
    the standard deviation of the gray levels of `image` (1, 3, H, W). Both are population deviations (divided by N).
    0 for equal samples; about 1 for samples that share no structure but the histogram. Depends weakly on N, which the
    paper takes as 100. Raises SinGANError for fewer than 2 samples, another size, or an image without contrast.
    Source: SinGAN, section 3, quantitative evaluation.
    """
    _check_samples(samples, image)
    if len(samples) < 2:
        raise SinGANError("Diversity needs at least 2 samples, got 1.")
    if samples.shape[-2:] != image.shape[-2:]:
        raise SinGANError(f"Samples are {_size(samples)} px and the image is {_size(image)} px; make them equal.")
    contrast_of_image = contrast(image).item()
    if contrast_of_image < 1e-9:
        raise SinGANError("The image has one gray level only, so that diversity relative to its contrast is undefined.")
    return gray_levels(samples).std(dim=0, correction=0).mean().item() / contrast_of_image


@torch.no_grad()
def contrast(images: Tensor) -> Tensor:
    """The contrast of each image: the standard deviation of its gray levels, float64 (N,).

    images: (N, 3, H, W) in [-1, 1]. In units of intensity, where the range is 2: from 0 for one gray level to 1 for
    half black, half white. A population deviation (divided by the number of pixels); brightness has no part in it.
    Raises SinGANError for what is no image. Source: RMS contrast, Peli 1990, who takes gray levels from 0 to 1.
    """
    check_image(images, "images")
    return gray_levels(images).std(dim=(1, 2), correction=0)


def sliced_wasserstein(
    a: Tensor, b: Tensor, *, patch_size: int = 7, levels: int = 3, projections: int = 128, seed: int = 0
) -> float:
    """Distance between the patches of the images `a` and `b`: the mean of `sliced_wasserstein_levels`.

    >>> black, gray = torch.full((1, 3, 32, 32), -1.0), torch.zeros(1, 3, 32, 32)
    >>> 0.6 < sliced_wasserstein(black, gray) < 1.0
    True
    """
    per_level = sliced_wasserstein_levels(
        a, b, patch_size=patch_size, levels=levels, projections=projections, seed=seed
    )
    return sum(per_level) / len(per_level)


@torch.no_grad()
def sliced_wasserstein_levels(
    a: Tensor, b: Tensor, *, patch_size: int = 7, levels: int = 3, projections: int = 128, seed: int = 0
) -> tuple[float, ...]:
    """Sliced Wasserstein distance between the patches of `a` and `b`, for each level of a pyramid, coarsest first.

    Images (N, 3, H, W); N and the size may differ between `a` and `b`: the patches of all images of a tensor are
    pooled. Each level halves the one before (bilinear, antialiased); levels smaller than a patch are left out. At each
    level, all overlapping patches are projected on random unit vectors (drawn anew per level from `seed`), and the 1-D
    Wasserstein-1 distances are averaged. Where the counts differ, the smaller set is read at the larger's quantiles.

    Unit: intensity, where the image range is 2. Two images that differ by a constant d in all channels are about
    sqrt(2 / pi) d = 0.8 d apart. Raises SinGANError if no level is as large as a patch, a number is below 1, or the
    seed is none.
    Source: Karras et al. 2018 (section 5), here with all patches instead of a draw, and intensities as they are.
    """
    check_image(a, "a")
    check_image(b, "b")
    _check_devices(a, b)
    if not all(is_whole(each) and each >= 1 for each in (patch_size, levels, projections)):
        raise SinGANError("patch_size, levels and projections are whole numbers of at least 1.")
    generator = torch.Generator().manual_seed(checked_seed(seed))
    distances: list[float] = []
    while len(distances) < levels and min(*a.shape[-2:], *b.shape[-2:]) >= patch_size:
        directions = torch.randn(projections, 3, patch_size, patch_size, generator=generator)
        directions = (directions / directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).to(a)
        distances.append(_patch_distance(a, b, directions))
        a, b = _halve(a), _halve(b)
    if not distances:
        raise SinGANError(f"Images of {_size(a)} and {_size(b)} px hold no patch of {patch_size}x{patch_size} px.")
    return tuple(reversed(distances))


def rmse(a: Tensor, b: Tensor, mask: Tensor | None = None) -> float:
    """Root mean square error in 0..255 units, as in the paper's tables, of images (N, 3, H, W) that are not rounded.

    For N > 1, the mean over the N pairs. mask: (1, 1, H, W) in [0, 1]; only pixels that it sets (0.5 or more) count:
    with 1 - mask, what was done outside of it. 0 only if all pixels are equal. Raises SinGANError if the shapes differ
    or the mask sets no pixel.
    """
    if mask is None:
        return _mean_over_pairs(a, b, lambda x, y: 127.5 * mean_squared_error(x, y) ** 0.5)
    _check_pairs(a, b)
    counted = (check_mask(mask, tuple(a.shape[-2:]))[0, 0] >= 0.5).cpu().numpy()
    if not counted.any():
        raise SinGANError("The mask sets no pixel: there is nothing to compare.")
    return _mean_over_pairs(a, b, lambda x, y: 127.5 * mean_squared_error(x[counted], y[counted]) ** 0.5)


@torch.no_grad()
def seam_visibility(images: Tensor, mask: Tensor) -> Tensor:
    """How much each image (N, 3, H, W) jumps at the border of a mask (1, 1, H, W): float64 (N,), about 1 for no seam.

    The mean difference of the gray levels of neighbouring pixels, one of which the mask sets (0.5 or more), over that
    of all other neighbours. A border that follows an edge of the picture counts as a seam: compare with the picture
    before. Raises SinGANError for a mask without a border and for an image that is even elsewhere.
    """
    check_image(images, "images")
    inside = (check_mask(mask, tuple(images.shape[-2:]))[0, 0] >= 0.5).to(images.device)
    gray = gray_levels(images)
    jumps = torch.cat([gray.diff(dim=axis).abs().flatten(1) for axis in (1, 2)], dim=1)
    border = torch.cat([inside.int().diff(dim=axis).bool().flatten() for axis in (0, 1)])
    if not border.any() or border.all():
        raise SinGANError("The mask has no border inside the image: it must set some pixels and leave others.")
    elsewhere = jumps[:, ~border].mean(dim=1)
    if (elsewhere < 1e-9).any():
        raise SinGANError("The image is even outside the border of the mask: there is nothing to compare a seam with.")
    return jumps[:, border].mean(dim=1) / elsewhere


@torch.no_grad()
def structure_kept(images: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Whether images (N, 3, H, W) have their edges where the reference (1, 3, H, W) has them: float64 (N,), at most 1.

    The correlation of the gradient magnitudes of the gray levels over the pixels that a mask (1, 1, H, W) sets (0.5 or
    more): 1 for the same outlines, also in another colour or weaker; about 0 for others. Raises SinGANError for images
    of different size, for a mask that sets fewer than two pixels, and where the gradient is the same everywhere.
    """
    check_image(images, "images")
    check_image(reference, "reference")
    if len(reference) != 1 or images.shape[1:] != reference.shape[1:]:
        raise SinGANError(f"One reference of {_size(images)} px is needed, not {tuple(reference.shape)}.")
    inside = (check_mask(mask, tuple(images.shape[-2:]))[0, 0] >= 0.5).to(images.device)
    if min(images.shape[-2:]) < 2:
        raise SinGANError(f"Edges need sides of 2 px or more, got {_size(images)}.")
    down, right = torch.gradient(gray_levels(torch.cat([reference.to(images), images])), dim=(1, 2))
    magnitudes = (down.square() + right.square()).sqrt()[:, inside]
    if magnitudes.shape[1] < 2 or (magnitudes.std(dim=1) < 1e-9).any():
        raise SinGANError("Inside the mask there are no edges to compare: it sets too little, or an even area.")
    return torch.corrcoef(magnitudes)[0, 1:]


def ring_around(mask: Tensor) -> Tensor:
    """The pixels around a mask (1, 1, H, W): those outside nearest to it, as many as it sets, float32 (1, 1, H, W).

    All of the rest where that is fewer; of equally near ones those further up and left come first. Raises SinGANError
    for a mask that sets nothing or everything.
    """
    inside = (check_mask(mask)[0, 0] >= 0.5).cpu().numpy()
    if not inside.any() or inside.all():
        raise SinGANError("The mask has no surroundings: it must set some pixels and leave others.")
    away = np.where(inside, np.inf, distance_transform_edt(~inside)).ravel()
    nearest = np.argsort(away, kind="stable")[: min(inside.sum(), (~inside).sum())]
    ring = np.zeros(inside.size, dtype=np.float32)
    ring[nearest] = 1
    return torch.from_numpy(ring).reshape(mask.shape).to(mask.device)


@torch.no_grad()
def standout(images: Tensor, mask: Tensor) -> Tensor:
    """How far an object stands out by its colour in each image (N, 3, H, W): float64 (N,), 0 for not at all.

    RMSE between the mean colour inside a mask (1, 1, H, W) and that of the ring of the same area around it, in
    intensity, where the range is 2. Errors: see `ring_around`, and a mask of another size.
    """
    check_image(images, "images")
    check_mask(mask, tuple(images.shape[-2:]))
    own, around = (
        images.double()[..., (each[0, 0] >= 0.5).to(images.device)].mean(dim=2) for each in (mask, ring_around(mask))
    )
    return (own - around).square().mean(dim=1).sqrt()


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB (the data range is the 2 from -1 to 1) of images (N, 3, H, W); inf if equal.

    For N > 1, the mean over the N pairs. Raises SinGANError if the shapes differ.
    """
    with np.errstate(divide="ignore"):
        return _mean_over_pairs(a, b, lambda x, y: peak_signal_noise_ratio(x, y, data_range=2))


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of images (N, 3, H, W), at most 1, with the data range 2 (from -1 to 1).

    With the settings of Wang et al. 2004: an 11x11 Gaussian window of sigma 1.5, computed for each of R, G, B and
    averaged. For N > 1, the mean over the N pairs. Raises SinGANError if the shapes differ or a side is below 11 px.
    """
    _check_pairs(a, b)
    if min(a.shape[-2:]) < 11:
        raise SinGANError(f"SSIM needs images of at least 11x11 px, these have {_size(a)}.")
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
    return _mean_over_pairs(a, b, lambda x, y: structural_similarity(x, y, data_range=2, **settings))


@torch.no_grad()
def single_image_frechet(sample: Tensor, image: Tensor, features: FeatureExtractor) -> FrechetDistance:
    """Fréchet distance between the feature vectors of each sample and those of the training image (SIFID).

    Each image has one vector per position of its feature map; a Gaussian is fitted to them, and the two Gaussians are
    compared. `sample` (N, 3, H, W) and `image` (1, 3, H, W) may differ in size. The value for N samples is the mean of
    the N distances (not the distance of the pooled vectors), as the paper averages. Squared units of the features, so
    that values of different features do not compare: the result carries their name. A copy of the image has distance
    0, so report `diversity` beside it. Raises SinGANError for images too small for the features.
    Source: SinGAN, section 3, single image FID. With InceptionFeatures(192) it is the paper's SIFID.
    """
    _check_samples(sample, image)
    reference = _fit_gaussian(image, features)
    distances = tuple(frechet_distance(*_fit_gaussian(each, features), *reference) for each in sample.split(1))
    return FrechetDistance(sum(distances) / len(distances), features.name, distances)


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two Gaussians; means (C,), covariances (C, C), in float64.

    |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2). The trace is computed as the equal min over rotations U of
    |A^1/2 - U B^1/2|^2: a sum of squares is never negative and loses no digits between nearly equal Gaussians, also
    where fewer vectors than channels make the covariances singular.
    """
    root_a, root_b = _symmetric_root(covariance_a), _symmetric_root(covariance_b)
    left, _, right = torch.linalg.svd(root_b @ root_a)
    rotation = (left @ right).T
    return ((mean_a - mean_b).double().square().sum() + (root_a - rotation @ root_b).square().sum()).item()


def check_level(level: float) -> None:
    """Raises SinGANError for a confidence level outside (0, 1)."""
    if not 0 < level < 1:
        raise SinGANError(f"The confidence level lies between 0 and 1, for example 0.95, not {level!r}.")


def _as_array(values: Sequence[float] | np.ndarray | Tensor) -> np.ndarray:
    """Values as float64, from a tensor of any device, too."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)


def confidence_interval(values: Sequence[float] | np.ndarray | Tensor, level: float = 0.95) -> Interval:
    """Mean of independent values with its Student-t interval, at the confidence `level` in (0, 1).

    One value says nothing about its spread: its interval is (-inf, inf). Raises SinGANError for no values, values that
    are not finite, or a level outside (0, 1).
    """
    array = _as_array(values)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise SinGANError("A confidence interval needs a list of one or more finite values.")
    check_level(level)
    mean, n = float(array.mean()), array.size
    if n == 1:
        return Interval(mean, -np.inf, np.inf, n)
    half = float(stdtrit(n - 1, (1 + level) / 2) * array.std(ddof=1) / n**0.5)
    return Interval(mean, mean - half, mean + half, n)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], level: float = 0.95) -> Interval:
    """Geometric mean of the ratios of paired positive values, with its interval: Student's t over the logarithms.

    Pairs belong to each other, by the same seed for instance. Raises SinGANError for values that are not positive, for
    lists of different length, and as `confidence_interval`.
    """
    a, b = _as_array(numerators), _as_array(denominators)
    if a.ndim != 1 or a.shape != b.shape or not ((a > 0) & (b > 0)).all():
        raise SinGANError("A ratio needs two lists of positive values of the same length.")
    logarithms = confidence_interval(np.log(a) - np.log(b), level)
    return Interval(*np.exp(logarithms[:3]).tolist(), logarithms.n)


def group_ratio_interval(numerators: Sequence[float], denominators: Sequence[float], level: float = 0.95) -> Interval:
    """Ratio of the geometric means of two groups of positive values that have no pairs, with its interval.

    Welch's interval for the difference of the mean logarithms, so that the groups may scatter differently; `n` is the
    number of all values. Raises SinGANError for values that are not positive, fewer than two in a group, groups that
    do not scatter at all, and a level outside (0, 1).
    """
    check_level(level)
    groups = [_as_array(values) for values in (numerators, denominators)]
    if any(each.ndim != 1 or len(each) < 2 or not ((each > 0) & np.isfinite(each)).all() for each in groups):
        raise SinGANError("A ratio of groups needs two or more positive values in each of them.")
    means, variances = zip(
        *((np.log(each).mean(), np.log(each).var(ddof=1) / len(each)) for each in groups), strict=True
    )
    total = sum(variances)
    if not total > 0:
        raise SinGANError("The values of both groups are all equal: there is no scatter to judge the ratio by.")
    freedom = total**2 / sum(part**2 / (len(each) - 1) for part, each in zip(variances, groups, strict=True))
    difference, half = means[0] - means[1], float(stdtrit(freedom, (1 + level) / 2)) * total**0.5
    ends = np.exp([difference, difference - half, difference + half]).tolist()
    return Interval(*ends, sum(len(each) for each in groups))


def gray_levels(images: Tensor) -> Tensor:
    """Gray levels (N, H, W) of images (N, 3, H, W), in the same range, by the weights of Rec. 709; float64."""
    return torch.einsum("nchw,c->nhw", images.double(), images.new_tensor(_GRAY, dtype=torch.float64))


def _halve(images: Tensor) -> Tensor:
    size = [max(side // 2, 1) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def _patch_distance(a: Tensor, b: Tensor, directions: Tensor) -> float:
    """Mean over directions of the 1-D Wasserstein-1 distance between the projected patches."""
    total = 0.0
    for some in directions.split(_DIRECTIONS_AT_ONCE):
        rows_a, rows_b = _sorted_projections(a, some), _sorted_projections(b, some)
        count = max(rows_a.shape[1], rows_b.shape[1])
        gaps = (_quantiles(rows_a, count) - _quantiles(rows_b, count)).abs()
        total += gaps.mean(dim=1, dtype=torch.float64).sum().item()
    return total / len(directions)


def _sorted_projections(images: Tensor, directions: Tensor) -> Tensor:
    """Rows (direction, patch), sorted: projecting every overlapping patch on a direction is a convolution with it."""
    rows = F.conv2d(images, directions).transpose(0, 1).flatten(1)
    if rows.device.type == "cpu":
        # ten times as fast as torch.sort, which finds the positions too
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))
    return rows.sort(dim=1).values


def _quantiles(rows: Tensor, count: int) -> Tensor:
    """Each sorted row, read at the `count` quantiles (i + 1/2) / count."""
    have = rows.shape[1]
    if have == count:
        return rows
    return rows[:, (2 * torch.arange(count, device=rows.device) + 1) * have // (2 * count)]


def _fit_gaussian(image: Tensor, features: FeatureExtractor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and covariance (C, C), in float64, of the feature vectors of one image (1, 3, H, W)."""
    vectors = features(image)[0].flatten(1).double()
    if vectors.shape[1] < 2:
        raise SinGANError(f"An image of {_size(image)} px gives one vector of {features.name}; take a larger image.")
    return vectors.mean(dim=1), torch.cov(vectors).reshape(len(vectors), len(vectors))


def _symmetric_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance.double())
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _mean_over_pairs(a: Tensor, b: Tensor, measure: Callable[[np.ndarray, np.ndarray], float]) -> float:
    _check_pairs(a, b)
    values = [float(measure(x, y)) for x, y in zip(_to_float64(a), _to_float64(b), strict=True)]
    return sum(values) / len(values)


def _to_float64(images: Tensor) -> np.ndarray:
    """An array (N, H, W, 3) that stays in [-1, 1]; images.to_array would round to 8 bits."""
    return images.detach().permute(0, 2, 3, 1).double().cpu().numpy()


def _check_pairs(a: Tensor, b: Tensor) -> None:
    check_image(a, "a")
    check_image(b, "b")
    if a.shape != b.shape:
        raise SinGANError(f"Images of the shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared in pairs.")


def _check_samples(samples: Tensor, image: Tensor) -> None:
    check_image(samples, "samples")
    check_image(image, "image")
    if len(image) != 1:
        raise SinGANError(f"The training image is one image (1, 3, H, W), not {len(image)}.")
    _check_devices(samples, image)


def _check_devices(a: Tensor, b: Tensor) -> None:
    if a.device != b.device:
        raise SinGANError(f"One tensor is on {a.device} and the other on {b.device}; move them together.")


def _size(images: Tensor) -> str:
    return "x".join(str(side) for side in images.shape[-2:])
