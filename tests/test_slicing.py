"""Image slicing: quarters and their place, settings, samples with noise of their own, and stitching."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from singan_core import SinGAN, SinGANError, TrainConfig, train
from singan_core.applications.editing import edit
from singan_core.applications.slicing import (
    cut_quarters,
    join_quarters,
    multiband_stitch,
    quarter_config,
    quarter_mask,
    sample_quarters,
    seam_mask,
    stitch,
)
from singan_core.metrics import seam_visibility
from singan_core.pyramid import resize

SIZES = st.integers(2, 31)


def ramp(height: int, width: int, n: int = 1) -> Tensor:
    """Pictures whose values tell every pixel from every other."""
    return torch.linspace(-1, 1, n * 3 * height * width).reshape(n, 3, height, width)


@pytest.fixture(scope="module")
def quarter_models(picture: Tensor, tiny: TrainConfig) -> list[SinGAN]:
    settings = replace(tiny, max_size=24, min_size=11, iterations=1)
    return [train(quarter, settings, progress=False, device="cpu") for quarter in cut_quarters(picture)]


# -- quarters


@given(height=SIZES, width=SIZES, n=st.integers(1, 2))
@settings(max_examples=30)
def test_quarters_put_side_by_side_are_the_picture(height, width, n):
    image = ramp(height, width, n)
    assert torch.equal(join_quarters(cut_quarters(image)), image)


def test_quarters_come_in_reading_order():
    image = ramp(4, 6)
    upper_left, upper_right, lower_left, lower_right = cut_quarters(image)
    assert torch.equal(upper_left, image[..., :2, :3])
    assert torch.equal(upper_right, image[..., :2, 3:])
    assert torch.equal(lower_left, image[..., 2:, :3])
    assert torch.equal(lower_right, image[..., 2:, 3:])


@pytest.mark.parametrize(
    ("quarters", "message"),
    [
        (cut_quarters(ramp(8, 8))[:3], "Four quarters"),
        (cut_quarters(ramp(8, 9))[::-1], "not the quarters"),
        ([*cut_quarters(ramp(8, 8))[:3], ramp(4, 4, 2)], "not the quarters"),
        ([ramp(4, 4), ramp(4, 4), ramp(7, 4), ramp(7, 4)], "not the quarters"),
        ([None] * 4, "quarters must be"),
    ],
)
def test_what_is_no_set_of_quarters_is_refused(quarters, message):
    with pytest.raises(SinGANError, match=message):
        join_quarters(quarters)
    with pytest.raises(SinGANError, match=message):
        multiband_stitch(quarters)


def test_larger_quarters_above_or_at_the_left_are_refused():
    with pytest.raises(SinGANError, match="not the quarters"):
        join_quarters([ramp(5, 4), ramp(5, 4), ramp(4, 4), ramp(4, 4)])
    with pytest.raises(SinGANError, match="not the quarters"):
        join_quarters([ramp(4, 5), ramp(4, 4), ramp(4, 5), ramp(4, 4)])


def test_a_row_of_pixels_has_no_quarters():
    with pytest.raises(SinGANError, match="no quarters"):
        cut_quarters(ramp(1, 8))


def test_quarters_are_trained_at_half_the_size_and_else_alike():
    config = TrainConfig(max_size=129, seed=7, alpha=3.0)
    assert quarter_config(config) == replace(config, max_size=65)


# -- masks


@given(height=SIZES, width=SIZES)
@settings(max_examples=30)
def test_the_seam_mask_is_where_the_quarters_touch(height, width):
    """Every pixel with a neighbour in another quarter, found the slow way."""
    quarters = cut_quarters(torch.zeros(1, 3, height, width))
    labels = join_quarters([quarter + number / 4 for number, quarter in enumerate(quarters)])[0, 0]
    expected = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            around = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
            inside = [(a, b) for a, b in around if 0 <= a < height and 0 <= b < width]
            expected[i, j] = any(labels[place] != labels[i, j] for place in inside)
    assert torch.equal(seam_mask((height, width))[0, 0], expected)


def test_a_picture_of_mirrored_quarters_is_not_changed():
    quarter = ramp(9, 12)
    upper = torch.cat([quarter, quarter.flip(3)], dim=3)
    picture = torch.cat([upper, upper.flip(2)], dim=2)
    torch.testing.assert_close(multiband_stitch(cut_quarters(picture)), picture, atol=1e-5, rtol=0)  # float32


def test_the_border_of_the_quarter_mask_is_both_seams():
    image = torch.zeros(1, 3, 10, 12)
    image[..., 5:, :] += 0.5  # a jump at the horizontal seam
    image[..., 6:] += 0.25  # and half as large a one at the vertical seam
    image[:, :, 0, 0] = 1  # so that something differs elsewhere
    jumps = 12 * 0.5 + 10 * 0.25
    elsewhere = 2 * 1.0 / (10 * 11 + 9 * 12 - 22)  # the corner's two neighbours
    expected = jumps / 22 / elsewhere
    assert seam_visibility(image, quarter_mask((10, 12))).item() == pytest.approx(expected)


def test_the_quarter_mask_sets_upper_left_and_lower_right():
    assert quarter_mask((3, 3))[0, 0].tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]


# -- samples


def test_samples_fit_together_at_any_size(quarter_models):
    for size in ((36, 48), (35, 47)):
        joined = join_quarters(sample_quarters(quarter_models, size, n=2))
        assert joined.shape == (2, 3, *size)


def test_quarters_have_noise_of_their_own(quarter_models):
    """One pyramid in all four places: with the same noise the four samples would be equal."""
    same = [quarter_models[0]] * 4
    samples = sample_quarters(same, (36, 48), seed=1)
    others = sample_quarters(same, (36, 48), seed=2)
    assert all(torch.equal(a, b) for a, b in zip(samples, sample_quarters(same, (36, 48), seed=1), strict=True))
    for a, b in combinations([*samples, *others], 2):
        assert not torch.allclose(a, b, rtol=0, atol=1e-6)  # after one iteration the noise has little weight yet


def test_four_pyramids_are_needed(quarter_models):
    with pytest.raises(SinGANError, match="four quarters"):
        sample_quarters(quarter_models[:3], (36, 48))


@pytest.mark.parametrize("seed", [-1, 0.5, "two", None])
def test_a_seed_that_is_none_is_refused(model, quarter_models, picture, seed):
    with pytest.raises(SinGANError, match="seed"):
        sample_quarters(quarter_models, (36, 48), seed=seed)
    with pytest.raises(SinGANError, match="seed"):
        stitch(model, picture, 1, seed=seed)


# -- stitching


def test_stitching_is_an_edit_along_the_seams(model):
    pictures = resize(ramp(36, 48, 2), model.size)
    stitched = stitch(model, pictures, 1, seed=5, dilation=2, blur=1)
    assert stitched.shape == pictures.shape
    for number in range(2):
        expected = edit(
            model, pictures[number : number + 1], seam_mask(model.size), 1, seed=5 + number, dilation=2, blur=1
        )
        assert torch.equal(stitched[number : number + 1], expected)
    far = torch.ones(model.size)
    row, column = model.size[0] // 2, model.size[1] // 2
    far[row - 8 : row + 8], far[:, column - 8 : column + 8] = 0, 0  # 1 + 2 px, and four deviations
    assert torch.equal(stitched[..., far > 0], pictures[..., far > 0])
    assert not torch.equal(stitched, pictures)


@given(height=st.integers(4, 30), width=st.integers(4, 30), levels=st.integers(0, 5))
@settings(max_examples=20)
def test_quarters_of_one_colour_are_blended_to_that_colour(height, width, levels):
    image = torch.full((1, 3, height, width), 0.3)
    blended = multiband_stitch(cut_quarters(image), levels=levels)
    torch.testing.assert_close(blended, image, atol=1e-5, rtol=0)  # float32


def test_without_levels_the_quarters_are_left_as_they_are():
    image = ramp(9, 12, 2)
    torch.testing.assert_close(multiband_stitch(cut_quarters(image), levels=0), image)


def test_a_difference_in_colour_becomes_a_slope_that_is_as_wide_as_the_coarsest_band():
    """Two even halves, dark and bright: the more levels, the smaller the largest step between neighbours."""
    image = torch.full((1, 3, 64, 64), -0.5)
    image[..., 32:] = 0.5
    quarters = cut_quarters(image)
    steps = [multiband_stitch(quarters, levels=levels).diff(dim=3).abs().max().item() for levels in range(6)]
    assert steps[0] == 1
    assert all(b < 0.8 * a for a, b in pairwise(steps))
    blended = multiband_stitch(cut_quarters(image), levels=3)
    assert (blended.diff(dim=3) >= -1e-6).all(), "the slope rises everywhere"
    torch.testing.assert_close(blended[..., :8], image[..., :8], atol=0.01, rtol=0)  # far from the seam
