"""The measures: known values, identity, symmetry, order, monotonicity, and what they refuse."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import t as student
from scipy.stats import ttest_ind, wasserstein_distance
from torch import Tensor

from singan_core import metrics
from singan_core.errors import SinGANError
from singan_core.features import RandomFilterBank
from singan_core.metrics import (
    confidence_interval,
    contrast,
    diversity,
    frechet_distance,
    group_ratio_interval,
    psnr,
    ratio_interval,
    ring_around,
    rmse,
    seam_visibility,
    single_image_frechet,
    sliced_wasserstein,
    sliced_wasserstein_levels,
    ssim,
    standout,
    structure_kept,
)

SIDES = st.integers(min_value=11, max_value=40)


class Pixels:
    """The three colour values as features."""

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        return images


def noise(n: int = 1, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    return 2 * torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) - 1


def texture(n: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """Images in [-1, 1] with structure at every scale, as photographs have."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(n, 3, height, width)
    for side in (2, 4, 8, 16, 32):
        grid = torch.randn(n, 3, side, side, generator=generator)
        image += F.interpolate(grid, (height, width), mode="bicubic") / side**0.5
    return (image / 3).clamp(-1, 1)


def blur(image: Tensor, width: int) -> Tensor:
    padded = F.pad(image, [width // 2] * 4, mode="reflect")
    return F.avg_pool2d(padded, width, stride=1)


def gray(value: float, height: int = 16, width: int = 16) -> Tensor:
    return torch.full((1, 3, height, width), value)


# diversity


@given(low=st.floats(-1, 0), step=st.floats(0.1, 1), share=st.integers(1, 9))
def test_diversity_of_two_value_noise(low: float, step: float, share: int):
    """Pixels that are `low + step` in `share` of 10 samples have std step * sqrt(p (1 - p))."""
    samples = torch.full((10, 3, 4, 6), low)
    samples[:share] = low + step
    image = torch.full((1, 3, 4, 6), low)
    image[..., :3] = low + step  # half the pixels: std = step / 2
    p = share / 10
    # values are rounded to float32
    assert diversity(samples, image) == pytest.approx(2 * math.sqrt(p * (1 - p)), rel=1e-4)


def test_diversity_averages_over_pixels():
    samples = torch.zeros(2, 3, 4, 4)
    samples[0, :, 0, 0] = 1  # one pixel of 16 with std 1/2
    image = torch.zeros(1, 3, 4, 4)
    image[..., :2] = 1  # std 1/2
    assert diversity(samples, image) == pytest.approx(1 / 16, rel=1e-6)


def test_diversity_of_equal_samples_is_zero():
    assert diversity(noise().expand(5, -1, -1, -1), noise(seed=1)) == pytest.approx(0, abs=1e-12)


def test_diversity_ignores_order_and_common_flips():
    samples, image = noise(6), noise(seed=1)
    value = diversity(samples, image)
    assert diversity(samples[torch.randperm(6, generator=torch.Generator().manual_seed(0))], image) == pytest.approx(
        value
    )
    assert diversity(samples.flip(-1), image) == pytest.approx(value)


def test_diversity_grows_with_the_noise():
    image, change = texture(), noise(8, 64, 64)
    values = [diversity((image + size * change).clamp(-1, 1), image) for size in (0.05, 0.1, 0.2, 0.4)]
    assert values == sorted(values)
    assert values[0] > 0


def test_diversity_refuses_one_sample_other_sizes_and_flat_images():
    with pytest.raises(SinGANError, match="at least 2 samples"):
        diversity(noise(1), noise())
    with pytest.raises(SinGANError, match="32x32 px and the image is 32x30"):
        diversity(noise(2), noise(width=30))
    with pytest.raises(SinGANError, match="one gray level"):
        diversity(noise(2, 16, 16), gray(0.3))
    with pytest.raises(SinGANError, match="one image"):
        diversity(noise(2), noise(2))


# contrast


@given(low=st.floats(-1, 0), step=st.floats(0.1, 1), share=st.integers(0, 10))
@settings(deadline=None, max_examples=40)
def test_contrast_of_two_gray_levels(low: float, step: float, share: int):
    """A share p of the pixels at one level, the others at another: step * sqrt(p (1 - p))."""
    image = gray(low, 10, 7)
    image[..., :share, :] = low + step
    p = share / 10
    # values are rounded to float32
    assert contrast(image).item() == pytest.approx(step * math.sqrt(p * (1 - p)), abs=1e-6)


@given(factor=st.floats(0, 1), shift=st.floats(-1, 1))
@settings(deadline=None, max_examples=40)
def test_contrast_is_proportional_and_blind_to_brightness(factor: float, shift: float):
    image = texture(2, 24, 20)
    room = 1 - factor  # what a shift can be without leaving [-1, 1]
    # values are rounded to float32
    changed = factor * image + shift * room
    assert contrast(changed).tolist() == pytest.approx((factor * contrast(image)).tolist(), abs=1e-6)


def test_contrast_is_that_of_each_image_alone():
    images = texture(4)
    values = contrast(images)
    assert values.shape == (4,)
    # sums of the same numbers, perhaps in another order
    assert values.tolist() == pytest.approx([contrast(image).item() for image in images.split(1)], rel=1e-12)


@pytest.mark.parametrize(("channel", "weight"), [(0, 0.2125), (1, 0.7154), (2, 0.0721)])
def test_contrast_is_that_of_gray_levels(channel: int, weight: float):
    """Half of the pixels differ by 1 in one colour, which counts with its weight in the gray level."""
    image = torch.zeros(1, 3, 8, 8)
    image[:, channel, :4] = 1
    assert contrast(image).item() == pytest.approx(weight / 2, rel=1e-9)


def test_contrast_ignores_where_pixels_are():
    image = texture(1, 20, 24)
    shuffled = image.flatten(2)[..., torch.randperm(480, generator=torch.Generator().manual_seed(0))].view_as(image)
    # the sum of the same squares in another order
    assert contrast(shuffled).item() == pytest.approx(contrast(image).item(), rel=1e-12)


# sliced Wasserstein


def test_sliced_wasserstein_of_constants_at_one_pixel():
    """A shift d of all channels moves a projection by d |sum of a random unit 3-vector|, sqrt(3) / 2 d on average."""
    value = sliced_wasserstein(gray(-0.2), gray(0.3), patch_size=1, levels=1, projections=20_000)
    # standard error 0.5 * 0.5 / sqrt(20000) = 0.0018
    assert value == pytest.approx(0.5 * math.sqrt(3) / 2, abs=0.008)


def test_sliced_wasserstein_of_constants_at_seven_pixels():
    """In n = 147 dimensions the mean of |sum of a unit vector| is sqrt(n) Gamma(n/2) / (sqrt(pi) Gamma((n+1)/2))."""
    n = 147
    expected = math.sqrt(n / math.pi) * math.exp(math.lgamma(n / 2) - math.lgamma((n + 1) / 2))
    value = sliced_wasserstein(gray(-0.2, 8, 8), gray(0.3, 8, 8), levels=1, projections=20_000)
    # standard error 0.5 * 0.6 / sqrt(20000) = 0.0021
    assert value == pytest.approx(0.5 * expected, abs=0.009)
    assert expected == pytest.approx(math.sqrt(2 / math.pi), abs=0.002)


@given(first=st.floats(-1, 1), second=st.floats(-1, 1))
@settings(max_examples=20)
def test_sliced_wasserstein_of_constants_is_proportional_to_their_difference(first: float, second: float):
    unit = sliced_wasserstein(gray(0.0), gray(1.0))
    # float32 convolutions
    assert sliced_wasserstein(gray(first), gray(second)) == pytest.approx(abs(first - second) * unit, abs=1e-5)


@pytest.mark.parametrize(("n", "other"), [(1, 1), (3, 1), (2, 5), (1, 4)])
def test_sliced_wasserstein_equals_the_exact_distance_of_the_projections(n: int, other: int):
    a, b = noise(n, 12, 14), noise(other, 12, 14, seed=1).square()
    directions = torch.randn(5, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    directions /= directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    patches = [F.unfold(images, 7).transpose(1, 2).reshape(-1, 147).numpy() for images in (a, b)]
    rows = [patch @ directions.flatten(1).T.numpy() for patch in patches]
    exact = np.mean([wasserstein_distance(rows[0][:, i], rows[1][:, i]) for i in range(5)])
    # exact up to float32 where one count divides the other; else the quantiles are read 1/(2 count) off
    tolerance = 1e-5 if max(n, other) % min(n, other) == 0 else 2e-3
    assert metrics._patch_distance(a, b, directions) == pytest.approx(exact, abs=tolerance)


@given(height=SIDES, width=SIDES, other_height=SIDES, other_width=SIDES)
@settings(max_examples=20)
def test_sliced_wasserstein_is_symmetric_for_any_sizes(height: int, width: int, other_height: int, other_width: int):
    a, b = noise(2, height, width), texture(1, other_height, other_width)
    value = sliced_wasserstein(a, b, projections=32)
    assert value > 0
    assert value == sliced_wasserstein(b, a, projections=32)


@given(height=SIDES, width=SIDES)
@settings(max_examples=20)
def test_sliced_wasserstein_of_equal_images_is_zero(height: int, width: int):
    image = noise(1, height, width)
    # copies of an image have the same distribution of patches; the blocking of a convolution may round differently
    assert sliced_wasserstein(image, image, projections=16) == 0
    assert sliced_wasserstein(image.expand(3, -1, -1, -1), image, projections=16) == pytest.approx(0, abs=1e-6)


def test_sliced_wasserstein_ignores_the_order_of_samples():
    samples, image = texture(4), texture(seed=1)
    assert sliced_wasserstein(samples, image) == pytest.approx(sliced_wasserstein(samples.flip(0), image), rel=1e-5)


def test_sliced_wasserstein_at_one_pixel_ignores_where_pixels_are():
    image = texture(1, 20, 24)
    order = torch.randperm(480, generator=torch.Generator().manual_seed(0))
    shuffled = image.flatten(2)[..., order].reshape(image.shape)
    assert sliced_wasserstein(shuffled, image, patch_size=1, levels=1) == pytest.approx(0, abs=1e-6)
    assert sliced_wasserstein(shuffled, image, patch_size=7, levels=1) > 0.01


def test_sliced_wasserstein_grows_with_blur_and_noise():
    image, change = texture(), noise(1, 64, 64)
    blurred = [sliced_wasserstein(blur(image, width), image) for width in (1, 3, 5, 9, 15)]
    assert blurred == sorted(blurred)
    noisy = [sliced_wasserstein((image + size * change).clamp(-1, 1), image) for size in (0, 0.1, 0.2, 0.4, 0.8)]
    assert noisy == sorted(noisy)


def test_sliced_wasserstein_is_a_function_of_the_seed():
    a, b = noise(), texture(1, 32, 32)
    before = torch.get_rng_state()
    assert sliced_wasserstein(a, b, seed=3) == sliced_wasserstein(a, b, seed=3)
    assert sliced_wasserstein(a, b, seed=3) != sliced_wasserstein(a, b, seed=4)
    assert torch.equal(before, torch.get_rng_state())


def test_sliced_wasserstein_is_the_mean_of_its_levels_coarsest_first():
    a, b = texture(), noise(1, 64, 64)
    per_level = sliced_wasserstein_levels(a, b)
    assert sliced_wasserstein(a, b) == pytest.approx(sum(per_level) / 3)
    # the last level is the full size, where its directions are drawn first
    assert sliced_wasserstein_levels(a, b, levels=1) == per_level[-1:]


def test_fine_noise_shows_most_at_the_finest_level():
    image = texture()
    checkers = 0.2 * (torch.arange(64)[:, None] + torch.arange(64)[None]).remainder(2) - 0.1
    per_level = sliced_wasserstein_levels((image + checkers).clamp(-1, 1), image)
    assert per_level[-1] == max(per_level)


def test_halving_removes_what_the_next_level_cannot_show():
    """Stripes of 3 px keep 1/8 under the triangle filter of antialiased halving, but 1/2 without antialiasing."""
    stripes = 0.5 * torch.cos(2 * math.pi / 3 * torch.arange(66)).expand(1, 3, 66, 66)
    coarse, fine = sliced_wasserstein_levels(stripes, torch.zeros_like(stripes), levels=2)
    assert coarse < 0.25 * fine


def test_sliced_wasserstein_of_negatives_is_the_same():
    """Also where neither count divides the other: quantiles are read symmetrically."""
    a, b = texture(3, 12, 12), noise(5, 12, 12)
    value = sliced_wasserstein(a, b, levels=1)
    assert sliced_wasserstein(-a, -b, levels=1) == pytest.approx(value, rel=1e-6)


def test_levels_smaller_than_a_patch_are_left_out():
    assert len(sliced_wasserstein_levels(noise(1, 14, 40), noise(1, 64, 64), levels=4)) == 2
    with pytest.raises(SinGANError, match="6x40 and 64x64 px hold no patch of 7x7"):
        sliced_wasserstein(noise(1, 6, 40), noise(1, 64, 64))


@pytest.mark.parametrize("setting", ["patch_size", "levels", "projections"])
@pytest.mark.parametrize("number", [0, 2.5, "7"])
def test_sliced_wasserstein_refuses_numbers_that_count_nothing(setting: str, number):
    with pytest.raises(SinGANError, match="at least 1"):
        sliced_wasserstein(noise(), noise(), **{setting: number})


# RMSE, PSNR, SSIM


@given(first=st.floats(-1, 1), second=st.floats(-1, 1))
def test_rmse_of_constants_is_their_difference_in_8_bit_steps(first: float, second: float):
    # float32 holds the values to 6e-8
    assert rmse(gray(first), gray(second)) == pytest.approx(127.5 * abs(first - second), abs=1e-4)


def test_psnr_equals_its_formula():
    a, b = noise(), texture(1, 32, 32)
    error = (a.double() - b.double()).square().mean().item()
    assert psnr(a, b) == pytest.approx(10 * math.log10(4 / error), rel=1e-12)
    assert psnr(a, b) == pytest.approx(20 * math.log10(255 / rmse(a, b)), rel=1e-12)


def direct_ssim(a: Tensor, b: Tensor) -> float:
    """Wang et al. 2004, equation 13, with an 11x11 Gaussian window inside the image, on data of range 2."""
    line = torch.exp(-torch.arange(-5, 6).double().square() / (2 * 1.5**2))
    window = (line / line.sum()).outer(line / line.sum())[None, None].expand(3, 1, -1, -1)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, window, groups=3)

    a, b = a.double(), b.double()
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean().item()


@given(height=SIDES, width=SIDES)
@settings(max_examples=15)
def test_ssim_equals_its_formula(height: int, width: int):
    a = texture(1, height, width)
    b = (a + 0.2 * noise(1, height, width)).clamp(-1, 1)
    assert ssim(a, b) == pytest.approx(direct_ssim(a, b), abs=1e-9)


def test_equal_images_have_no_error():
    a = noise(2)
    with np.errstate(all="raise"):
        assert (rmse(a, a), psnr(a, a)) == (0, math.inf)
    assert ssim(a, a) == pytest.approx(1)


@pytest.mark.parametrize("measure", [rmse, psnr, ssim])
def test_pair_measures_are_symmetric_averaged_and_blind_to_common_flips(measure):
    a, b = texture(3, 32, 32), noise(3)
    value = measure(a, b)
    assert value == pytest.approx(measure(b, a))
    assert value == pytest.approx(measure(a.flip(-1, -2), b.flip(-1, -2)))
    assert value == pytest.approx(np.mean([measure(a[i : i + 1], b[i : i + 1]) for i in range(3)]))


@pytest.mark.parametrize(("measure", "sign"), [(rmse, 1), (psnr, -1), (ssim, -1)])
def test_pair_measures_follow_noise_and_blur(measure, sign: int):
    image, change = texture(), noise(1, 64, 64)
    noisy = [sign * measure((image + size * change).clamp(-1, 1), image) for size in (0.05, 0.1, 0.2, 0.4)]
    assert noisy == sorted(noisy)
    blurred = [sign * measure(blur(image, width), image) for width in (3, 5, 9, 15)]
    assert blurred == sorted(blurred)


@pytest.mark.parametrize("measure", [rmse, psnr, ssim])
@pytest.mark.parametrize("other", [noise(2), noise(1, 32, 31)])
def test_pair_measures_refuse_other_shapes(measure, other: Tensor):
    with pytest.raises(SinGANError, match="cannot be compared"):
        measure(noise(), other)


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(SinGANError, match="at least 11x11"):
        ssim(noise(1, 10, 20), noise(1, 10, 20))


# single-image Fréchet distance


def test_frechet_distance_of_independent_components():
    """Diagonal covariances: |difference of means|^2 + sum of (difference of deviations)^2."""
    mean_a, mean_b = torch.tensor([1.0, 0.0, -2.0]), torch.tensor([0.0, 0.5, -2.0])
    a, b = torch.diag(torch.tensor([4.0, 1.0, 0.0])), torch.diag(torch.tensor([1.0, 9.0, 0.25]))
    expected = 1 + 0.25 + (2 - 1) ** 2 + (1 - 3) ** 2 + (0 - 0.5) ** 2
    assert frechet_distance(mean_a, a, mean_b, b) == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 1000), size=st.integers(1, 12))
def test_frechet_distance_equals_the_matrix_square_root_formula(seed: int, size: int):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, size, size + 3, generator=generator, dtype=torch.float64)
    a, b = a @ a.T, b @ b.T
    zero = torch.zeros(size, dtype=torch.float64)
    expected = torch.trace(a + b).item() - 2 * np.trace(sqrtm((a @ b).numpy())).real
    # the formula subtracts numbers of the size of the traces; sqrtm loses half of the digits at worst
    assert frechet_distance(zero, a, zero, b) == pytest.approx(expected, abs=1e-6 * torch.trace(a + b).item())


@given(seed=st.integers(0, 1000), rank=st.integers(0, 5))
def test_frechet_distance_of_singular_gaussians_is_not_negative_and_zero_on_equal_ones(seed: int, rank: int):
    factor = torch.randn(8, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    covariance, zero = factor @ factor.T, torch.zeros(8)
    # the square root of the rounding errors of the zero eigenvalues, squared
    assert 0 <= frechet_distance(zero, covariance, zero, covariance) < 1e-12
    assert frechet_distance(zero, covariance, zero, covariance.roll((1, 1), (0, 1))) >= 0


def test_single_image_frechet_of_pixels_has_its_analytic_value():
    """Scaling an image by s and shifting it by d: Gaussians with means (s - 1) m + d and deviations scaled by s."""
    image = 0.5 * noise()
    scale, shift = 0.6, 0.2
    vectors = image[0].flatten(1).double()
    expected = ((scale - 1) * vectors.mean(1) + shift).square().sum() + (scale - 1) ** 2 * vectors.var(1).sum()
    result = single_image_frechet(scale * image + shift, image, Pixels())
    assert result.value == pytest.approx(expected.item(), rel=1e-5)  # float32 images
    assert result.features == "pixels"


def test_single_image_frechet_of_the_image_itself_is_zero():
    image = texture()
    assert 0 <= single_image_frechet(image, image, RandomFilterBank()).value < 1e-12


def test_single_image_frechet_of_a_batch_is_the_mean_of_its_samples():
    samples, image, features = texture(3, 40, 48, seed=1), texture(), RandomFilterBank()
    result = single_image_frechet(samples, image, features)
    singles = tuple(single_image_frechet(sample, image, features).value for sample in samples.split(1))
    assert result.per_sample == pytest.approx(singles)
    assert result.value == pytest.approx(np.mean(singles))
    assert single_image_frechet(samples.flip(0), image, features).value == pytest.approx(result.value)


def test_single_image_frechet_is_symmetric():
    a, b = texture(), noise(1, 50, 40)
    there, back = (single_image_frechet(x, y, RandomFilterBank()).value for x, y in ((a, b), (b, a)))
    assert there == pytest.approx(back, rel=1e-9)


def test_single_image_frechet_of_pixels_ignores_where_pixels_are():
    image = texture()
    assert single_image_frechet(image.flip(-1).transpose(2, 3), image, Pixels()).value == pytest.approx(0, abs=1e-12)


def test_single_image_frechet_grows_with_blur_and_noise():
    image, change = texture(), noise(1, 64, 64)
    blurred = [single_image_frechet(blur(image, width), image, RandomFilterBank()).value for width in (1, 3, 5, 9, 15)]
    assert blurred == sorted(blurred)
    noisy = [(image + size * change).clamp(-1, 1) for size in (0, 0.1, 0.2, 0.4, 0.8)]
    values = [single_image_frechet(each, image, RandomFilterBank()).value for each in noisy]
    assert values == sorted(values)


def test_single_image_frechet_refuses_images_with_one_vector():
    with pytest.raises(SinGANError, match="one vector of random-filters-0"):
        single_image_frechet(noise(1, 20, 20), noise(), RandomFilterBank())


# intervals


def test_confidence_interval_of_known_values():
    """Mean 3, deviation sqrt(2.5), 4 degrees of freedom: the 97.5 % point of Student's t is 2.776445."""
    result = confidence_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert result == pytest.approx((3, 3 - half, 3 + half, 5), abs=1e-5)


@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20),
    level=st.floats(0.01, 0.99),
)
def test_confidence_interval_equals_scipy(values: list[float], level: float):
    result = confidence_interval(values, level)
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    half = student.ppf((1 + level) / 2, len(values) - 1) * error
    assert (result.low, result.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=1e-6)


def test_intervals_take_tensors_also_with_gradients():
    values = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    assert confidence_interval(values) == confidence_interval([1.0, 2.0, 4.0])
    assert ratio_interval(values, values + 1) == ratio_interval([1.0, 2.0, 4.0], [2.0, 3.0, 5.0])


def test_confidence_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    intervals = [confidence_interval(row, level=0.8) for row in draws]
    covered = np.mean([each.low <= 0 <= each.high for each in intervals])
    assert covered == pytest.approx(0.8, abs=0.03)  # standard error 0.009


def test_one_value_has_an_unbounded_interval():
    assert confidence_interval([0.3]) == (0.3, -math.inf, math.inf, 1)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf], [[1.0], [2.0]]])
def test_confidence_interval_refuses_what_has_no_mean(values: list):
    with pytest.raises(SinGANError, match="finite values"):
        confidence_interval(values)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5])
def test_confidence_interval_refuses_levels_outside_0_to_1(level: float):
    with pytest.raises(SinGANError, match="between 0 and 1"):
        confidence_interval([1, 2], level)


# what all measures share


@pytest.mark.parametrize(
    "measure",
    [
        lambda bad: contrast(bad),
        lambda bad: diversity(bad, noise()),
        lambda bad: sliced_wasserstein(bad, noise()),
        lambda bad: single_image_frechet(bad, noise(), RandomFilterBank()),
        lambda bad: rmse(noise(2), bad),
        lambda bad: psnr(bad, noise(2)),
        lambda bad: ssim(bad, noise(2)),
    ],
)
@pytest.mark.parametrize("bad", [5 * noise(2), noise(2)[:, :1], noise(2).double(), noise(2).numpy(), noise(2) / 0])
def test_measures_refuse_what_is_not_an_image(measure, bad):
    with pytest.raises(SinGANError):
        measure(bad)


def test_tensors_on_two_devices_are_refused():
    with pytest.raises(SinGANError, match="on cpu and the other on meta"):
        metrics._check_devices(noise(), noise().to("meta"))


def test_measures_leave_their_inputs_alone():
    samples, image = noise(2), texture(1, 32, 32)
    copies = samples.clone(), image.clone()
    diversity(samples, image)
    sliced_wasserstein(samples, image)
    single_image_frechet(samples, image, RandomFilterBank())
    ssim(samples, image.expand(2, -1, -1, -1))
    assert torch.equal(samples, copies[0])
    assert torch.equal(image, copies[1])


def test_measures_take_tensors_with_gradients():
    samples = noise(2).requires_grad_()
    values = [
        diversity(samples, noise(seed=1)),
        sliced_wasserstein(samples, noise(seed=1)),
        rmse(samples, noise(2, seed=1)),
        single_image_frechet(samples, noise(seed=1), RandomFilterBank()).value,
    ]
    assert all(isinstance(value, float) for value in values)


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=2, max_size=12), st.floats(1e-2, 1e2))
@settings(deadline=None, max_examples=40)
def test_ratio_interval_is_that_of_the_logarithms_and_scales_with_the_numerators(pairs, factor):
    numerators, denominators = map(np.array, zip(*pairs, strict=True))
    result = ratio_interval(numerators, denominators)
    logarithms = confidence_interval(np.log(numerators / denominators))
    assert np.log(result[:3]) == pytest.approx(np.array(logarithms[:3]), abs=1e-9)
    scaled = ratio_interval(factor * numerators, denominators)
    assert np.array(scaled[:3]) == pytest.approx(factor * np.array(result[:3]), rel=1e-9)


def test_intervals_of_ratios_have_the_level_that_was_asked_for():
    a, b = [1.0, 2.0, 4.0], [1.5, 1.0, 2.0]
    groups = ttest_ind(np.log(a), np.log(b), equal_var=False).confidence_interval(0.8)
    assert np.log(group_ratio_interval(a, b, 0.8)[1:3]) == pytest.approx([groups.low, groups.high])
    pairs = confidence_interval(np.log(a) - np.log(b), 0.8)
    assert np.log(ratio_interval(a, b, 0.8)[1:3]) == pytest.approx([pairs.low, pairs.high])


def test_ratio_of_one_pair_has_no_bounds():
    assert ratio_interval([3.0], [2.0]) == pytest.approx((1.5, 0, math.inf, 1))


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([1, 0], [1, 1]), ([1, 1], [1, -1]), ([], []), ([math.nan], [1])])
def test_ratio_interval_refuses_what_has_no_ratio(a, b):
    with pytest.raises(SinGANError):
        ratio_interval(a, b)


@given(
    a=st.lists(st.floats(0.1, 10), min_size=2, max_size=6, unique=True),
    b=st.lists(st.floats(0.1, 10), min_size=2, max_size=6, unique=True),
)
def test_the_interval_of_a_ratio_of_groups_is_welchs_of_the_logarithms(a, b):
    found = group_ratio_interval(a, b)
    wanted = ttest_ind(np.log(a), np.log(b), equal_var=False).confidence_interval(0.95)
    assert found.mean == pytest.approx(np.exp(np.log(a).mean() - np.log(b).mean()))
    assert np.log(found[1:3]) == pytest.approx(list(wanted), rel=1e-6, abs=1e-6)
    assert found.n == len(a) + len(b)


@pytest.mark.parametrize("group", [[1.0], [1.0, 0.0], [1.0, -2.0], [1.0, math.nan], [], [2.0, 2.0]])
def test_groups_without_a_ratio_are_refused(group):
    with pytest.raises(SinGANError, match="groups"):
        group_ratio_interval(group, [3.0, 3.0])


@pytest.mark.parametrize("level", [0, 1, 95, -0.5])
def test_groups_refuse_levels_outside_0_to_1(level: float):
    with pytest.raises(SinGANError, match="between 0 and 1"):
        group_ratio_interval([1.0, 2.0], [3.0, 4.0], level)


# -- masks


def left_half(height: int = 32, width: int = 32) -> Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., : width // 2] = 1
    return mask


@given(height=SIDES, width=SIDES, seed=st.integers(0, 99))
def test_rmse_in_a_mask_and_outside_of_it_make_up_the_whole(height: int, width: int, seed: int):
    a, b = noise(1, height, width, seed), noise(1, height, width, seed + 100)
    mask = (torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
    share = mask.mean().item()
    parts = share * rmse(a, b, mask) ** 2 + (1 - share) * rmse(a, b, 1 - mask) ** 2
    assert parts == pytest.approx(rmse(a, b) ** 2, rel=1e-5)  # float32 in the share


def test_rmse_outside_a_mask_is_zero_only_if_nothing_was_changed_there():
    image, mask = noise(), left_half()
    changed = torch.where(mask == 1, -image, image)
    assert rmse(changed, image, 1 - mask) == 0
    changed[..., 0, -1] += 1e-6
    assert rmse(changed, image, 1 - mask) > 0


def test_a_step_at_the_border_of_a_mask_is_a_seam_of_its_height():
    ramp = (0.01 * torch.arange(32.0)).expand(1, 3, 32, 32) - 0.9  # jumps of 0.01 to the right and of 0 downward
    stepped = ramp + 0.4 * (1 - left_half())
    elsewhere = (30 * 0.01 * 32) / (30 * 32 + 31 * 32)
    assert seam_visibility(stepped, left_half()).item() == pytest.approx(0.41 / elsewhere, rel=1e-4)  # float32 images


def test_a_mask_that_nobody_has_used_shows_no_seam():
    visibility = seam_visibility(noise(8, 64, 64), left_half(64, 64))
    assert visibility.dtype == torch.float64 and visibility.shape == (8,)
    # jumps of noise scatter by 0.7 of their mean: 64 of them by 9 %, four deviations
    torch.testing.assert_close(visibility, torch.ones_like(visibility), atol=0.36, rtol=0)


@given(height=st.integers(0, 100))
def test_a_seam_is_the_more_visible_the_higher_it_is(height: int):
    image, other = 0.2 * noise(), left_half()
    lower, higher = (seam_visibility(image + step * other, other) for step in (0.5, 0.51 + height / 400))
    assert higher > lower > 1


def test_a_seam_is_that_of_each_image_alone():
    images = noise(3)
    each = torch.cat([seam_visibility(image, left_half()) for image in images.split(1)])
    torch.testing.assert_close(seam_visibility(images, left_half()), each)


@pytest.mark.parametrize("mask", [torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)])
def test_masks_without_a_border_have_no_seam(mask: Tensor):
    with pytest.raises(SinGANError, match="no border"):
        seam_visibility(noise(), mask)


def test_a_mask_whose_border_is_everywhere_is_refused():
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    with pytest.raises(SinGANError, match="no border"):
        seam_visibility(noise(), ((rows + columns) % 2).float()[None, None])


def test_what_cannot_be_measured_at_a_mask_is_refused():
    with pytest.raises(SinGANError, match="even outside"):
        seam_visibility(torch.zeros(1, 3, 32, 32), left_half())
    with pytest.raises(SinGANError, match="sets no pixel"):
        rmse(noise(), noise(seed=1), torch.zeros(1, 1, 32, 32))
    with pytest.raises(SinGANError, match="expected"):
        rmse(noise(), noise(seed=1), left_half(8, 8))
    with pytest.raises(SinGANError, match="expected"):
        seam_visibility(noise(), left_half(8, 8))


@pytest.mark.parametrize("seed", [-1, None, 1.0])
def test_sliced_wasserstein_refuses_what_is_no_seed(seed):
    with pytest.raises(SinGANError, match="seed must be"):
        sliced_wasserstein(noise(), noise(), seed=seed)


def test_sliced_wasserstein_takes_seeds_of_numpy():
    assert sliced_wasserstein(noise(), noise(), seed=np.int64(1)) == sliced_wasserstein(noise(), noise(), seed=1)


# objects in a mask


def disk(height: int = 32, width: int = 32, radius: float = 6.0) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((rows - 15).square() + (columns - 14).square() <= radius**2).float()[None, None]


def test_structure_is_kept_by_another_contrast_and_colour_and_lost_in_noise():
    image, mask = texture(height=32, width=32), disk()
    paler = 0.5 * image + torch.tensor([0.2, -0.1, 0.0]).view(1, 3, 1, 1)
    kept = structure_kept(torch.cat([image, paler, -image, noise()]), image, mask)
    assert kept.dtype == torch.float64
    torch.testing.assert_close(kept[:3], torch.ones(3).double(), atol=1e-5, rtol=0)  # float32 images
    assert abs(kept[3]) < 0.5


def test_structure_needs_two_pixels_across():
    row = noise()[..., :1, :]
    with pytest.raises(SinGANError, match="2 px or more"):
        structure_kept(row, row, torch.ones_like(row[:, :1]))


def test_structure_counts_inside_the_mask_only():
    image, mask = texture(height=32, width=32), disk()
    other = torch.where(F.max_pool2d(mask, 3, 1, 1) > 0, image, noise())  # a gradient reaches one pixel further
    torch.testing.assert_close(structure_kept(other, image, mask), torch.ones(1).double())


def test_structure_is_the_correlation_of_gradient_lengths():
    image, other, mask = texture(), texture(seed=1), torch.ones(1, 1, 64, 64)
    lengths = [np.hypot(*np.gradient(metrics.gray_levels(each)[0].numpy())).ravel() for each in (image, other)]
    assert structure_kept(other, image, mask).item() == pytest.approx(np.corrcoef(lengths)[0, 1])


def test_a_ring_has_the_area_of_its_mask_and_lies_next_to_it():
    mask = disk()
    ring = ring_around(mask)
    assert ring.sum() == mask.sum()
    assert (ring * mask).sum() == 0
    assert ((disk(radius=10) - mask) >= ring).all()  # about sqrt(2) * 6 px suffice
    assert (ring >= disk(radius=7.9) - mask).all()


def test_a_ring_counts_distances_along_the_diagonal_too():
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 3:6, 3:6] = 1
    ring = ring_around(mask)[0, 0]  # 9 of the 12 pixels that touch a side, and none of the four at the corners
    assert ring.sum() == 9 and ring[[2, 2, 6, 6], [2, 6, 2, 6]].sum() == 0


def test_a_ring_takes_all_that_is_left_where_that_is_less():
    mask = torch.ones(1, 1, 8, 8)
    mask[..., :2] = 0
    assert torch.equal(ring_around(mask), 1 - mask)


@given(red=st.floats(-1, 1), blue=st.floats(-1, 1))
def test_standout_is_the_difference_of_the_mean_colours(red: float, blue: float):
    mask = disk()
    ground, colour = gray(0.1, 32, 32), torch.tensor([red, 0.1, blue]).view(1, 3, 1, 1)
    image = torch.where(mask > 0, colour, ground)
    images = torch.cat([image, ground])
    expected = math.sqrt(((red - 0.1) ** 2 + (blue - 0.1) ** 2) / 3)
    assert standout(images, mask).tolist() == pytest.approx([expected, 0], abs=1e-6)  # float32


def test_objects_that_cannot_be_measured_are_refused():
    with pytest.raises(SinGANError, match="no surroundings"):
        standout(noise(), torch.ones(1, 1, 32, 32))
    with pytest.raises(SinGANError, match="no surroundings"):
        ring_around(torch.zeros(1, 1, 8, 8))
    with pytest.raises(SinGANError, match="expected"):
        standout(noise(), disk(20, 20))
    with pytest.raises(SinGANError, match="no edges"):
        structure_kept(noise(), gray(0.0, 32, 32), disk())
    with pytest.raises(SinGANError, match="One reference"):
        structure_kept(noise(), noise(2), disk())


@pytest.mark.parametrize(
    "measure",
    [
        lambda mask: rmse(noise(), noise(seed=1), mask),
        lambda mask: seam_visibility(noise(), mask).item(),
        lambda mask: structure_kept(noise(), noise(seed=1), mask).item(),
        lambda mask: ring_around(mask).flatten().tolist(),
        lambda mask: standout(noise(), mask).item(),
    ],
)
def test_a_mask_sets_the_pixels_where_it_is_a_half_or_more(measure):
    assert measure(0.25 + 0.25 * disk()) == measure(disk())
