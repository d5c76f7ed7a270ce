"""The maps: known values, comparison with plain loops and with SciPy, invariances, coverage, and what they refuse."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor

from singan_core import maps
from singan_core.errors import SinGANError
from singan_core.maps import (
    gradient_energy,
    gray_levels,
    largest_quarter,
    local_entropy,
    quarter_share,
    rank_correlation,
    ranks,
    smooth,
    variance_map,
)
from singan_core.metrics import diversity

SIDES = st.integers(min_value=2, max_value=20)
WINDOWS = st.sampled_from([1, 3, 5, 11])
SEEDS = st.integers(min_value=0, max_value=10_000)


def picture(n: int = 1, height: int = 16, width: int = 20, seed: int = 0) -> Tensor:
    return 2 * torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) - 1


def flat(value: float, height: int = 12, width: int = 14) -> Tensor:
    return torch.full((1, 3, height, width), value)


def random_map(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def window(array: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """The window around a pixel, cut off at the border."""
    reach = side // 2
    return array[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]


def over_windows(array: np.ndarray, side: int, measure) -> np.ndarray:
    rows, columns = array.shape
    return np.array([[measure(window(array, row, column, side)) for column in range(columns)] for row in range(rows)])


# gray levels


def test_gray_levels_weigh_the_colours_by_rec_709():
    image = picture(2)
    expected = 0.2125 * image[:, 0] + 0.7154 * image[:, 1] + 0.0721 * image[:, 2]
    assert gray_levels(image).shape == (2, 1, 16, 20)
    torch.testing.assert_close(gray_levels(image)[:, 0], expected.double(), rtol=0, atol=1e-6)  # float32 sum


def test_gray_levels_refuse_what_is_no_image():
    with pytest.raises(SinGANError):
        gray_levels(torch.zeros(1, 1, 8, 8))


# variance over samples


@given(low=st.floats(-1, 0), step=st.floats(0.1, 1), share=st.integers(1, 9))
@settings(max_examples=30)
def test_variance_of_two_value_samples(low: float, step: float, share: int):
    """Pixels that are `low + step` in `share` of 10 samples have the variance step^2 p (1 - p), times 10 / 9."""
    samples = torch.full((10, 3, 4, 6), low)
    samples[:share] = low + step
    p = share / 10
    # values are rounded to float32
    assert variance_map(samples).flatten().tolist() == pytest.approx([step**2 * p * (1 - p) * 10 / 9] * 24, rel=1e-4)


def test_variance_is_that_of_each_pixel_on_its_own():
    samples = torch.zeros(4, 3, 5, 6)
    samples[0, :, 2, 3] = 1
    assert (variance_map(samples) > 0).nonzero().tolist() == [[0, 0, 2, 3]]


def test_variance_of_equal_samples_is_zero():
    assert variance_map(picture().expand(5, -1, -1, -1)).abs().max() < 1e-15


def test_root_of_the_variance_is_the_diversity_times_the_contrast():
    samples, photograph = picture(8), picture(seed=1)
    contrast = gray_levels(photograph).std(correction=0)
    root = (variance_map(samples) * 7 / 8).sqrt().mean()  # diversity divides by N
    assert (root / contrast).item() == pytest.approx(diversity(samples, photograph), rel=1e-6)


def test_maps_take_samples_with_gradients():
    samples = picture(2).requires_grad_()
    assert not gray_levels(samples).requires_grad and not variance_map(samples).requires_grad
    assert local_entropy(samples[:1], 3).isfinite().all()


def test_a_variance_needs_two_samples():
    with pytest.raises(SinGANError, match="at least 2 samples"):
        variance_map(picture())


# smoothing


@given(SIDES, SIDES, WINDOWS)
@settings(max_examples=25)
def test_smoothing_is_the_mean_over_the_part_of_the_window_in_the_picture(height: int, width: int, side: int):
    values = random_map(height, width)
    expected = over_windows(values[0, 0].numpy(), side, np.mean)
    np.testing.assert_allclose(smooth(values, side)[0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("side", [0, 2, -3])
def test_windows_without_a_middle_are_refused(side: int):
    for function, values in ((smooth, random_map(8, 8)), (local_entropy, picture())):
        with pytest.raises(SinGANError, match="odd number"):
            function(values, side)


# entropy


def entropy_of(values: np.ndarray) -> float:
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


@given(SIDES, SIDES, WINDOWS, st.integers(2, 256), SEEDS)
@settings(max_examples=25)
def test_entropy_is_that_of_the_histogram_of_the_window(height: int, width: int, side: int, bins: int, seed: int):
    image = picture(1, height, width, seed)
    edges = np.linspace(-1, 1, bins + 1)
    steps = np.digitize(gray_levels(image)[0, 0].numpy(), edges[1:-1])
    expected = over_windows(steps, side, entropy_of)
    np.testing.assert_allclose(local_entropy(image, side, bins=bins)[0, 0], expected, atol=1e-9)


@pytest.mark.parametrize("bins", [2, 32, 256])
def test_white_falls_into_the_last_step(bins: int):
    image = flat(-1.0)
    image[..., ::2] = 1.0
    assert local_entropy(image, 3, bins=bins)[0, 0, 5, 0].item() == pytest.approx(1)
    image[..., 1::2] = 1 - 1 / 256  # the last step begins at 1 - 2 / bins
    assert local_entropy(image, 3, bins=bins).abs().max() == 0


@pytest.mark.parametrize("value", [-1.0, 0.3, 1.0])
def test_entropy_of_one_gray_level_is_zero(value: float):
    assert local_entropy(flat(value), 5).abs().max() == 0


def test_entropy_of_two_gray_levels_in_equal_parts_is_one_bit():
    image = flat(-0.5)
    image[..., ::2] = 0.5  # stripes of one pixel
    # a window of three columns that is not cut off has one or two of each pair: 1/3 and 2/3
    third = -(1 / 3 * np.log2(1 / 3) + 2 / 3 * np.log2(2 / 3))
    assert local_entropy(image, 3)[0, 0, 5, 5].item() == pytest.approx(third)
    assert local_entropy(image, 3)[0, 0, 5, 0].item() == pytest.approx(1)  # at the border two columns are left


def test_entropy_has_at_most_as_many_bits_as_the_bins_and_the_window_allow():
    noise = picture(1, 40, 40)
    assert local_entropy(noise, 11, bins=4).max() <= 2
    assert local_entropy(noise, 3, bins=256).max() <= np.log2(9) + 1e-9


@pytest.mark.parametrize("bins", [1, 257])
def test_entropy_refuses_other_numbers_of_bins(bins: int):
    with pytest.raises(SinGANError, match="2 to 256"):
        local_entropy(picture(), 3, bins=bins)


# gradient energy


@given(down=st.floats(-0.04, 0.04), right=st.floats(-0.04, 0.04))
@settings(max_examples=30)
def test_gradient_energy_of_a_ramp_is_its_slope_squared(down: float, right: float):
    rows, columns = torch.arange(12.0)[:, None], torch.arange(14.0)
    image = (down * (rows - 6) + right * (columns - 7)).expand(1, 3, 12, 14)
    # float32 pixels: differences are rounded to about 1e-7
    torch.testing.assert_close(
        gradient_energy(image),
        torch.full((1, 1, 12, 14), down**2 + right**2, dtype=torch.float64),
        rtol=1e-4,
        atol=1e-7,
    )


def test_gradient_energy_lies_at_the_edge_only():
    image = flat(-1.0)
    image[..., 7:] = 1.0
    energy = gradient_energy(image)[0, 0]
    assert energy[:, 6:8].flatten().tolist() == pytest.approx([1.0] * 24)  # a step of 2 across two pixels
    assert energy[:, :6].abs().max() == energy[:, 8:].abs().max() == 0


@pytest.mark.parametrize("function", [gradient_energy, lambda image: local_entropy(image, 3)])
def test_maps_of_a_photograph_refuse_a_batch(function):
    with pytest.raises(SinGANError, match="of one image"):
        function(picture(2))


# ranks


@given(SIDES, SIDES, SEEDS, st.integers(1, 50))
@settings(max_examples=30)
def test_ranks_are_the_share_of_smaller_values_with_ties_by_half(height: int, width: int, seed: int, steps: int):
    values = (random_map(height, width, seed) * steps).floor()
    flattened = values.flatten()
    expected = [((flattened < each).sum() + (flattened == each).sum() / 2) / len(flattened) for each in flattened]
    assert ranks(values).flatten().tolist() == pytest.approx(torch.stack(expected).tolist())


def test_what_is_no_map_is_refused():
    for wrong in (torch.zeros(4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(2, 1, 4, 4)):
        with pytest.raises(SinGANError, match=r"a tensor \(1, 1, H, W\)"):
            ranks(wrong)
    with pytest.raises(SinGANError, match="nan or inf"):
        ranks(torch.full((1, 1, 4, 4), float("nan")))


# rank correlation


@given(st.integers(4, 20), st.integers(4, 20), SEEDS, st.integers(2, 50))
@settings(max_examples=30)
def test_rank_correlation_is_spearmans_also_with_ties(height: int, width: int, seed: int, steps: int):
    a = (random_map(height, width, seed) * steps).floor()
    b = a + 3 * random_map(height, width, seed + 1)
    assume(a.min() < a.max())
    found = rank_correlation(a, b, block=2, resamples=2)
    assert found.mean == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-9)


@given(SEEDS, st.integers(2, 8))
@settings(max_examples=30)
def test_a_resample_is_ranked_anew_with_its_repetitions(seed: int, steps: int):
    rng = np.random.default_rng(seed)
    a, b = (np.unique(rng.integers(0, steps, 30), return_inverse=True)[1] for _ in range(2))
    times = rng.integers(0, 4, 30)
    repeated = [np.repeat(values, times) for values in (a, b)]
    assume(all(len(set(values)) > 1 for values in repeated))
    assert maps._spearman(a, b, times) == pytest.approx(spearmanr(*repeated).statistic, abs=1e-9)


def test_interval_holds_the_middle_95_percent_of_as_many_draws_as_asked_for():
    a = random_map(24, 24)
    b = a + random_map(24, 24, seed=1)
    blocks = maps._block_numbers(24, 24, 6)
    found = []
    for times in np.random.default_rng(5).multinomial(16, np.full(16, 1 / 16), size=50):
        drawn = np.repeat(np.arange(24 * 24), times[blocks])
        found.append(spearmanr(a.flatten()[drawn], b.flatten()[drawn]).statistic)
    interval = rank_correlation(a, b, block=6, resamples=50, seed=5)
    assert interval[1:3] == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=1e-9)


@given(SEEDS)
@settings(max_examples=15)
def test_rank_correlation_sees_the_order_only_and_turns_with_it(seed: int):
    a, b = random_map(12, 15, seed), random_map(12, 15, seed + 1) + random_map(12, 15, seed)
    found = rank_correlation(a, b, block=3, resamples=200)
    assert rank_correlation(a.exp(), b**3, block=3, resamples=200) == pytest.approx(found)
    assert rank_correlation(b, a, block=3, resamples=200) == pytest.approx(found)
    turned = rank_correlation(-a, b, block=3, resamples=200)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_interval_of_equal_and_of_reversed_maps_has_no_width():
    a = random_map(12, 12)
    assert rank_correlation(a, a, block=3)[:3] == pytest.approx((1, 1, 1))
    assert rank_correlation(a, -a, block=3)[:3] == pytest.approx((-1, -1, -1))


def test_interval_holds_the_correlation_and_repeats_with_its_seed():
    a = random_map(24, 24)
    b = a + random_map(24, 24, seed=1)
    found = rank_correlation(a, b, block=6)
    assert found.low < found.mean < found.high
    assert found == rank_correlation(a, b, block=6)
    assert found != rank_correlation(a, b, block=6, seed=1)


@given(st.integers(4, 60), st.integers(4, 60), st.integers(1, 30))
@settings(max_examples=40)
def test_blocks_cover_the_picture_in_rectangles_of_about_the_side_asked_for(height: int, width: int, block: int):
    numbers = maps._block_numbers(height, width, block).reshape(height, width)
    assert set(numbers.flat) == set(range(numbers.max() + 1))
    for number in range(numbers.max() + 1):
        rows, columns = np.nonzero(numbers == number)
        sides = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == sides[0] * sides[1]
        for side, whole in zip(sides, (height, width), strict=True):
            # rounding the number of parts makes them at most half as large again, or two thirds; then whole pixels
            assert min(whole, block / 1.5) - 1 <= side <= min(whole, 1.5 * block) + 1


def smooth_field(seed: int) -> Tensor:
    """Noise averaged over windows of 11 pixels, and over nothing else."""
    return smooth(random_map(80, 128, seed), 11)


def covered(block: int, trials: int = 40) -> float:
    """How often the interval of two independent smooth fields holds the true correlation, 0."""
    found = (
        rank_correlation(smooth_field(2 * trial), smooth_field(2 * trial + 1), block=block, resamples=40)
        for trial in range(trials)
    )
    return sum(each.low <= 0 <= each.high for each in found) / trials


def test_blocks_of_two_windows_cover_independent_maps_and_pixels_on_their_own_do_not():
    """The reason for blocks. Over 200 trials: 0.88 and 0.21; the standard error of 40 trials is 0.05 and 0.06."""
    assert covered(block=22) >= 0.7
    assert covered(block=1) <= 0.45


def test_rank_correlation_refuses_other_sizes_constant_maps_and_too_few_blocks():
    a, b = random_map(12, 12), random_map(12, 14)
    with pytest.raises(SinGANError, match="12x12 and 12x14"):
        rank_correlation(a, b, block=3)
    with pytest.raises(SinGANError, match="same value everywhere"):
        rank_correlation(a, torch.ones_like(a), block=3)
    with pytest.raises(SinGANError, match="only 1 in maps of 12x12"):
        rank_correlation(a, a, block=12)
    for block in (0, 2.5):
        with pytest.raises(SinGANError, match="at least 1"):
            rank_correlation(a, a, block=block)
    for seed in (None, -1):
        with pytest.raises(SinGANError, match="seed must be"):
            rank_correlation(a, a, block=3, seed=seed)
    for resamples in (0, -1, 2.5):
        with pytest.raises(SinGANError, match="resamples must be"):
            rank_correlation(a, a, block=3, resamples=resamples)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1)])
def test_gradient_energy_refuses_a_side_of_one_pixel(shape: tuple[int, int]):
    with pytest.raises(SinGANError, match="2 px or more"):
        gradient_energy(torch.zeros(1, 3, *shape))


def test_a_map_that_varies_in_one_block_alone_still_has_an_interval():
    """Draws without that block have no correlation and are left out."""
    a = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    a[..., :3, :3] = random_map(3, 3)
    found = rank_correlation(a, random_map(12, 12, seed=1), block=3)
    assert np.isfinite(found[:3]).all()


# the quarter of the largest values


@given(SIDES, SIDES, SEEDS)
@settings(max_examples=30)
def test_largest_quarter_has_a_quarter_of_the_pixels_and_no_smaller_ones(height: int, width: int, seed: int):
    values = (random_map(height, width, seed) * 20).floor()  # with ties
    mask = largest_quarter(values)
    assert mask.shape == values.shape
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert mask.sum() == -(-height * width // 4)
    assert values[mask == 1].min() >= values[mask == 0].max()


def test_of_equal_values_those_further_up_and_left_are_the_largest_quarter():
    mask = largest_quarter(torch.ones(1, 1, 40, 50, dtype=torch.float64)).flatten()
    assert mask[:500].all() and not mask[500:].any()


def test_the_quiet_quarter_is_the_largest_of_the_reversed_map():
    values = random_map(8, 8)
    assert values[largest_quarter(-values) == 1].max() < values[largest_quarter(values) == 1].min()


@given(st.integers(1, 10), st.integers(1, 10), st.floats(1e-6, 1e6))
@settings(max_examples=30)
def test_share_of_a_constant_map_is_a_quarter(rows: int, columns: int, value: float):
    values = torch.full((1, 1, 2 * rows, 2 * columns), value, dtype=torch.float64)
    assert quarter_share(values) == pytest.approx(0.25)


@given(SIDES, SIDES, SEEDS)
@settings(max_examples=30)
def test_share_lies_between_a_quarter_and_one_and_grows_with_the_contrast(height: int, width: int, seed: int):
    values = random_map(height, width, seed)
    shares = [quarter_share(values**power) for power in (1, 2, 4)]
    assert shares == sorted(shares)
    assert shares[0] >= 0.25 and shares[-1] <= 1 + 1e-12


def test_share_of_a_map_with_everything_in_one_pixel_is_one():
    values = F.one_hot(torch.tensor(5), 36).double().view(1, 1, 6, 6)
    assert quarter_share(values) == 1


def test_share_of_a_map_of_zeros_is_refused():
    with pytest.raises(SinGANError, match="zero everywhere"):
        quarter_share(torch.zeros(1, 1, 4, 4))
