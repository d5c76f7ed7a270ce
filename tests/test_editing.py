"""Editing and harmonization: soft masks, the blend, sizes, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import gaussian
from skimage.morphology import dilation as grow
from skimage.morphology import disk
from torch import Tensor

from singan_core import SinGANError
from singan_core.applications import edit, harmonize, paste, soft_mask
from singan_core.pyramid import resize


def rectangle(size: tuple[int, int], top: int, left: int, height: int, width: int) -> Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[..., top : top + height, left : left + width] = 1
    return mask


@pytest.fixture(scope="module")
def mask() -> Tensor:
    return rectangle((36, 48), 10, 14, 6, 8)


@pytest.fixture(scope="module")
def edited(picture: Tensor) -> Tensor:
    """The photograph with a part of it copied to another place."""
    edited = picture.clone()
    edited[..., 10:16, 14:22] = picture[..., 25:31, 35:43]
    return edited


# -- masks


def test_a_mask_is_widened_by_a_disk_and_blurred_as_the_authors_do():
    mask = rectangle((60, 80), 25, 30, 5, 9)
    grown = grow(mask[0, 0].numpy() > 0, disk(7))
    blurred = gaussian(grown.astype(float), sigma=3)
    expected = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    soft = soft_mask(mask, (60, 80), dilation=7, blur=3)
    assert soft.dtype == torch.float32
    np.testing.assert_allclose(soft[0, 0].numpy(), expected, atol=1e-6)  # float32


def test_a_slope_at_the_border_of_the_picture_is_the_authors_too():
    mask = rectangle((60, 80), 2, 30, 5, 9)
    blurred = gaussian(mask[0, 0].numpy().astype(float), sigma=3)
    soft = soft_mask(mask, (60, 80), dilation=0, blur=3)
    np.testing.assert_allclose(soft[0, 0].numpy(), blurred / blurred.max(), atol=1e-6)  # float32


def test_without_dilation_and_blur_a_mask_stays_as_it_is(mask):
    assert torch.equal(soft_mask(mask, (36, 48), dilation=0, blur=0), mask)


def test_a_slope_ends_four_deviations_beyond_the_dilation():
    mask = rectangle((101, 101), 50, 50, 1, 1)
    soft = soft_mask(mask, (101, 101), dilation=10, blur=2)[0, 0]
    assert soft[50, 50 + 10 + 8] > 0
    assert soft[50, 50 + 10 + 9] == 0
    assert soft[50, 50] == 1


def test_a_mask_that_covers_everything_is_one_everywhere():
    assert (soft_mask(torch.ones(1, 1, 20, 30), (20, 30), dilation=5, blur=3) == 1).all()


def test_the_border_of_the_picture_is_no_border_of_the_mask():
    soft = soft_mask(rectangle((40, 60), 0, 0, 40, 30), (40, 60), dilation=0, blur=4)
    assert torch.allclose(soft[..., 0, :], soft[..., 20, :], atol=1e-6)
    assert torch.allclose(soft[..., 0], torch.ones(()), atol=1e-6)


def test_a_stroke_thinner_than_a_pixel_of_the_result_is_not_lost():
    soft = soft_mask(rectangle((600, 800), 0, 333, 600, 1), (30, 40), dilation=0, blur=0)
    assert (soft.sum(dim=-1) == 1).all()


@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    height=st.integers(4, 60),
    width=st.integers(4, 60),
    dilation=st.floats(0, 12),
    blur=st.floats(0, 6),
    seed=st.integers(0, 999),
)
@settings(max_examples=40)
def test_a_soft_mask_of_any_size_is_a_mask_that_peaks_at_one(rows, columns, height, width, dilation, blur, seed):
    mask = (torch.rand(1, 1, rows, columns, generator=torch.Generator().manual_seed(seed)) > 0.8).float()
    mask[..., rows // 2, columns // 2] = 1
    soft = soft_mask(mask, (height, width), dilation=dilation, blur=blur)
    assert soft.shape == (1, 1, height, width)
    assert soft.min() >= 0 and soft.max() == 1
    wider = soft_mask(mask, (height, width), dilation=dilation + 2, blur=0)
    narrow = soft_mask(mask, (height, width), dilation=dilation, blur=0)
    assert (wider >= narrow).all()


# -- results


@pytest.mark.parametrize("task", [edit, harmonize])
def test_outside_the_mask_the_picture_is_returned_bit_for_bit(model, edited, mask, task):
    result = task(model, edited, mask, 2, dilation=2, blur=1)
    outside = (soft_mask(mask, (36, 48), dilation=2, blur=1) == 0).expand_as(edited)
    assert outside.float().mean() > 0.5
    assert torch.equal(result[outside], edited[outside])


def test_inside_the_mask_is_what_the_pyramid_has_drawn(model, edited, mask):
    result = edit(model, edited, mask, 2, dilation=0, blur=0, n=2, seed=4)
    inside = (mask == 1).expand_as(result)
    assert torch.equal(result[inside], model.inject(edited, 2, n=2, seed=4)[inside])
    assert not torch.equal(result[0], result[1])


def test_the_slope_mixes_both(model, edited, mask):
    soft = soft_mask(mask, (36, 48), dilation=1, blur=2)
    expected = (1 - soft) * edited + soft * model.inject(edited, 1, seed=3)
    assert torch.equal(harmonize(model, edited, mask, 1, dilation=1, blur=2, seed=3), expected)


@pytest.mark.parametrize(("task", "dilation"), [(edit, 20), (harmonize, 7)])
def test_the_authors_pixels_are_in_proportion_to_the_trained_size(model, edited, mask, task, dilation):
    unit = max(model.size) / 250
    assert torch.equal(
        task(model, edited, mask, 3), task(model, edited, mask, 3, dilation=dilation * unit, blur=5 * unit)
    )


def test_the_authors_pixels_grow_with_a_picture_of_full_size(model, edited, mask):
    large, unit = resize(edited, (72, 96)), max(model.size) / 250
    by_default = edit(model, large, mask, 2, full_size=True)
    assert torch.equal(by_default, edit(model, large, mask, 2, dilation=20 * unit, blur=5 * unit, full_size=True))


@given(height=st.integers(20, 90), width=st.integers(20, 90), scale=st.integers(1, 3))
@settings(max_examples=15)
def test_the_result_has_the_trained_resolution_or_the_size_of_the_picture(model, picture, height, width, scale):
    given_picture = resize(picture, (height, width))
    mask = rectangle((height, width), height // 3, width // 3, 4, 4)
    small = edit(model, given_picture, mask, scale, dilation=1, blur=0.5)
    full = edit(model, given_picture, mask, scale, dilation=1, blur=0.5, full_size=True)
    assert max(small.shape[-2:]) == max(model.size)
    assert full.shape == given_picture.shape
    ratio = max(height, width) / max(model.size)
    outside = soft_mask(mask, (height, width), dilation=ratio, blur=0.5 * ratio) == 0
    assert torch.equal(full[outside.expand_as(full)], given_picture[outside.expand_as(full)])


def test_a_mask_may_have_another_size_than_the_picture(model, edited, mask):
    large = mask.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    assert torch.equal(edit(model, edited, large, 2), edit(model, edited, mask, 2))


def test_the_result_is_an_image_that_may_enter_a_loss(model, edited, mask):
    result = edit(model, edited, mask, 1)
    assert result.dtype == torch.float32 and result.abs().max() <= 1 + 1e-6  # rounding of the blend
    assert not result.is_inference()


# -- what is refused


@pytest.mark.parametrize("task", [edit, harmonize])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(1, 1, 36, 48), "mask is empty"),
        (0.4 * torch.ones(1, 1, 36, 48), "mask is empty"),
        (torch.ones(1, 1, 48, 36), "other proportions"),
        (torch.ones(1, 3, 36, 48), r"mask must be \(N, 1, H, W\)"),
        (torch.ones(1, 1, 36, 48, dtype=torch.bool), "float32"),
        (255 * torch.ones(1, 1, 36, 48), r"within \[0, 1\]"),
        (np.ones((36, 48)), "numpy array"),
        ("mask.png", "load_mask"),
    ],
)
def test_a_mask_of_the_wrong_kind_is_explained(model, edited, task, mask, message):
    with pytest.raises(SinGANError, match=message):
        task(model, edited, mask, 2)


@pytest.mark.parametrize("scale", [0, 4, -1, 1.5])
def test_a_scale_out_of_range_is_explained(model, edited, mask, scale):
    with pytest.raises(SinGANError, match="scale must be a level from 1 to 3"):
        edit(model, edited, mask, scale)


@pytest.mark.parametrize("option", [{"dilation": -1}, {"blur": float("nan")}, {"blur": "soft"}, {"dilation": True}])
def test_pixels_below_zero_are_refused(model, edited, mask, option):
    with pytest.raises(SinGANError, match=f"{next(iter(option))} must be a number of pixels"):
        edit(model, edited, mask, 2, **option)


@pytest.mark.parametrize("option", [{"dilation": float("inf")}, {"blur": float("inf")}])
def test_pixels_without_end_are_refused(model, edited, mask, option):
    with pytest.raises(SinGANError, match=f"{next(iter(option))} must be a number of pixels"):
        edit(model, edited, mask, 2, **option)


@pytest.mark.parametrize("size", [(18, 22), (17, 25), (36, 45)])
def test_a_mask_of_nearly_the_pictures_proportions_is_refused(model, edited, size):
    with pytest.raises(SinGANError, match="other proportions"):
        edit(model, edited, rectangle(size, 5, 7, 4, 4), 2)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 3, 36, 48), torch.zeros(1, 1, 36, 48), None])
def test_what_is_no_single_picture_is_refused(model, mask, wrong):
    with pytest.raises(SinGANError):
        edit(model, wrong, mask, 2)


# -- paste


def test_a_part_is_copied_to_another_place_and_nothing_else_changes(picture):
    edited, mask = paste(picture, rectangle((36, 48), 25, 35, 6, 8), (-15, -21))
    expected = picture.clone()
    expected[..., 10:16, 14:22] = picture[..., 25:31, 35:43]
    assert torch.equal(edited, expected)
    assert torch.equal(mask, rectangle((36, 48), 10, 14, 6, 8))


def test_a_mask_sets_the_pixels_where_it_is_a_half_or_more(picture, mask):
    soft = 0.25 + 0.25 * mask
    assert torch.equal(soft_mask(soft, (36, 48), dilation=2, blur=1), soft_mask(mask, (36, 48), dilation=2, blur=1))
    assert torch.equal(paste(picture, soft, (5, 5))[0], paste(picture, mask, (5, 5))[0])


@pytest.mark.parametrize(
    ("part", "shift", "message"),
    [
        (rectangle((36, 48), 25, 35, 6, 8), (6, 0), "out of the picture"),  # the last row would be row 36
        (rectangle((36, 48), 25, 35, 6, 8), (0, -36), "out of the picture"),
        (rectangle((36, 48), 25, 35, 6, 8), (1,), "two whole numbers"),
        (rectangle((36, 48), 25, 35, 6, 8), (0.5, 1), "two whole numbers"),
        (torch.zeros(1, 1, 36, 48), (0, 0), "empty"),
        (torch.ones(1, 1, 18, 24), (0, 0), "mask is"),
    ],
)
def test_what_cannot_be_pasted_is_refused(picture, part, shift, message):
    with pytest.raises(SinGANError, match=message):
        paste(picture, part, shift)


@pytest.mark.parametrize(("shift", "top", "left"), [((-25, -35), 0, 0), ((5, 5), 30, 40)])
def test_a_copy_may_touch_the_border_of_the_picture(picture, shift, top, left):
    assert torch.equal(
        paste(picture, rectangle((36, 48), 25, 35, 6, 8), shift)[1], rectangle((36, 48), top, left, 6, 8)
    )
