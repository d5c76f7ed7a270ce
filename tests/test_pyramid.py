"""The pyramid: sizes by the authors' rules, and the resize between levels."""

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from singan_core.errors import SinGANError
from singan_core.pyramid import (
    at_level,
    build_pyramid,
    coarsened,
    fit,
    layout_and_detail,
    pyramid_shape,
    resize,
    resize_mask,
    resize_matrix,
    same_proportions,
    upsample,
)


def random_image(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_186x248_picture_has_the_published_nine_levels():
    shape = pyramid_shape((186, 248))
    assert len(shape) == 9
    assert shape.factor == pytest.approx(0.7781, abs=5e-5)
    assert shape.sizes[0] == (25, 34)
    assert shape.sizes[-1] == (186, 248)


def test_the_188x250_colosseum_has_the_published_ten_levels():
    shape = pyramid_shape((188, 250))
    assert len(shape) == 10
    assert shape.factor == pytest.approx(0.7992, abs=5e-5)
    assert shape.sizes[0] == (26, 34)  # not 25: the authors' ceil sees 25.000000000000004
    assert shape.sizes[-1] == (188, 250)


@given(
    height=st.integers(30, 1200),
    width=st.integers(30, 1200),
    scale_factor=st.floats(0.3, 0.95),
    max_size=st.integers(40, 500),
)
def test_levels_grow_from_min_size_to_max_size(height, width, scale_factor, max_size):
    try:
        shape = pyramid_shape((height, width), min_size=25, max_size=max_size, scale_factor=scale_factor)
    except SinGANError:
        assert min(height, width) < 25 or min(height, width) * max_size <= 24 * max(height, width)
        return
    assert shape.sizes == tuple(sorted(shape.sizes))
    assert max(shape.sizes[-1]) == min(max_size, max(height, width))
    if len(shape) > 1:
        assert min(shape.sizes[0]) in (25, 26)
        assert 0 < shape.factor < 1


@given(rows=st.floats(0.3, 3), columns=st.floats(0.3, 3))
def test_a_scaled_shape_keeps_the_proportions_of_every_level(rows, columns):
    shape = pyramid_shape((186, 248))
    size = (round(186 * rows), round(248 * columns))
    scaled = shape.scaled_to(size)
    assert scaled.sizes[-1] == size
    for (h, w), (own_h, own_w) in zip(scaled.sizes, shape.sizes, strict=True):
        assert h == pytest.approx(own_h * size[0] / 186, abs=0.51)
        assert w == pytest.approx(own_w * size[1] / 248, abs=0.51)


def test_a_picture_that_ends_below_min_size_is_refused_with_a_way_out():
    with pytest.raises(SinGANError, match="raise max_size or lower min_size"):
        pyramid_shape((100, 2000))


def test_a_picture_of_exactly_min_size_is_one_level():
    assert pyramid_shape((25, 40)).sizes == ((25, 40),)


def test_a_batch_is_refused():
    with pytest.raises(SinGANError, match="one picture"):
        build_pyramid(torch.zeros(2, 3, 40, 40))


def test_small_pictures_are_not_enlarged():
    image = random_image(40, 60)
    assert torch.equal(build_pyramid(image).images[-1], image)


@pytest.mark.parametrize("size", [(20, 30), (10, 15), (80, 90), (7, 60)])
def test_away_from_the_border_resize_is_pytorchs_antialiased_bicubic(size):
    image = random_image(40, 60) * 0.5  # within the clamp
    own = resize(image, size)
    theirs = torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False)
    # at the border PyTorch drops the pixels outside and we mirror them
    margin = [max(2, ceil(2 * size[i] / image.shape[2 + i])) + 1 for i in (0, 1)]
    inner = (..., slice(margin[0], -margin[0]), slice(margin[1], -margin[1]))
    assert own[inner].numel()
    torch.testing.assert_close(own[inner], theirs[inner].clamp(-1, 1), atol=2e-5, rtol=0)


@given(in_size=st.integers(1, 60), out_size=st.integers(1, 90), stretch=st.sampled_from([None, 0.7781, 1.2851]))
def test_a_constant_stays_constant_and_rows_sum_to_one(in_size, out_size, stretch):
    matrix = resize_matrix(in_size, out_size, stretch or out_size / in_size, torch.device("cpu"), torch.float32)
    assert matrix.shape == (out_size, in_size)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(out_size), atol=1e-5, rtol=0)


def test_resize_to_the_same_size_changes_nothing():
    image = random_image(13, 21)
    torch.testing.assert_close(resize(image, (13, 21)), image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("image", [np.zeros((1, 3, 8, 8)), None, torch.zeros(1, 3, 8, 8, dtype=torch.uint8)])
def test_resize_refuses_what_is_no_tensor_of_floating_point(image):
    with pytest.raises(SinGANError, match="from_array"):
        resize(image, (4, 4))


def test_resize_commutes_with_flipping():
    image = random_image(30, 41)
    torch.testing.assert_close(resize(image.flip(-1), (17, 60)), resize(image, (17, 60)).flip(-1), atol=1e-5, rtol=0)


def test_resize_stays_within_the_range_of_images():
    image = torch.where(random_image(30, 30) > 0, 1.0, -1.0)
    assert resize(image, (77, 77)).abs().max() <= 1


@given(st.integers(10, 40), st.integers(10, 40), st.integers(2, 9))
def test_layout_and_detail_add_up_to_the_image(height, width, side):
    image = random_image(height, width)
    layout, detail = layout_and_detail(image, (side, side))
    assert layout.shape[-2:] == (side, side) and torch.equal(layout, resize(image, (side, side)))
    assert torch.allclose(resize(layout, (height, width)) + detail, image, atol=1e-6)


def test_extremes_keep_their_detail_outside_the_range_of_images():
    board = torch.ones(1, 3, 16, 16)
    board[..., 4, 4] = -1.0  # a black dot on white: twice what an image can hold
    assert layout_and_detail(board, (4, 4))[1].min() < -1.5
    assert layout_and_detail(torch.full((1, 3, 16, 16), 0.3), (4, 4))[1].abs().max() < 1e-6


def test_upsampling_at_training_sizes_uses_the_exact_factor():
    shape = pyramid_shape((186, 248))
    image = random_image(*shape.sizes[3])
    torch.testing.assert_close(
        upsample(image, shape.sizes[4], shape.factor), resize(image, shape.sizes[4], 1 / shape.factor)
    )


@given(st.integers(1, 80), st.integers(1, 80), st.floats(0.4, 0.9))
def test_upsampling_reaches_any_size_without_leaving_the_picture(height, width, factor):
    """A ramp stays a ramp: no mirrored border where rounding asks for more pixels than the factor gives."""
    ramp = torch.linspace(-0.8, 0.8, 24).expand(1, 3, 20, 24).contiguous()
    out = upsample(ramp, (height, width), factor)
    assert out.shape == (1, 3, height, width)
    if width > 24 / factor:
        steps = out[0, 0, 0].diff()
        assert (steps[2:-2] > 0).all()


def test_a_mask_keeps_its_border_when_it_is_resized():
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., 8:23, 12:48] = 1
    small = resize_mask(mask, (10, 15))
    assert small.dtype == torch.float32
    expected = torch.zeros(1, 1, 10, 15)
    expected[..., 2:6, 3:12] = 1  # of row 5, three of four rows are covered
    assert torch.equal(small, expected)
    assert torch.equal(resize_mask(small, (20, 30))[..., 4:12, 6:24], torch.ones(1, 1, 8, 18))


@given(height=st.integers(30, 150), width=st.integers(30, 150), max_size=st.integers(30, 100))
def test_a_picture_at_a_level_is_the_photograph_at_that_level(height, width, max_size):
    photograph = random_image(height, width)
    try:
        pyramid = build_pyramid(photograph, min_size=15, max_size=max_size)
    except SinGANError:
        return
    for level, image in enumerate(pyramid.images):
        assert torch.equal(at_level(photograph, pyramid.shape, level), image)
        torch.testing.assert_close(at_level(pyramid.images[-1], pyramid.shape, level), image, atol=1e-6, rtol=0)
        if image.shape != pyramid.images[-1].shape:
            assert torch.equal(at_level(image, pyramid.shape, level), image)
    assert torch.equal(fit(photograph, pyramid.shape.sizes[-1]), pyramid.images[-1])


@given(height=st.integers(80, 150), width=st.integers(80, 150), scale_factor=st.floats(0.5, 0.9), data=st.data())
def test_a_picture_keeps_its_place_on_its_way_down_and_up(height, width, scale_factor, data):
    """A ramp stays the same ramp, apart from its borders: stretched, it would end too far right and down."""
    shape = pyramid_shape((height, width), min_size=30, scale_factor=scale_factor)
    start = data.draw(st.integers(0, len(shape) - 1))
    rows, columns = torch.linspace(-0.5, 0.5, height)[:, None], torch.linspace(-0.4, 0.4, width)
    ramp = (rows + columns).expand(1, 3, height, width)
    picture = at_level(ramp, shape, start)
    for size in shape.sizes[start + 1 :]:
        picture = upsample(picture, size, shape.factor)
    border = 5 * len(shape)
    inside = (..., slice(border, height - border), slice(border, width - border))
    tenth_of_a_pixel = 0.1 * (0.8 / width + 1 / height)
    torch.testing.assert_close(picture[inside], ramp[inside], atol=tenth_of_a_pixel, rtol=0)


def test_other_proportions_are_stretched():
    assert same_proportions((638, 1024), (80, 128)) and not same_proportions((638, 1024), (80, 120))
    shape = pyramid_shape((80, 120), min_size=25, max_size=120)
    halves = torch.cat([torch.full((1, 3, 60, 30), side) for side in (-1.0, 1.0)], dim=3)
    for level, (_, columns) in enumerate(shape.sizes):
        dark = (at_level(halves, shape, level).mean(dim=(0, 1, 2)) < 0).sum().item()
        assert dark == pytest.approx(columns / 2, abs=1)


def test_what_a_level_leaves_of_a_picture_is_blurred_and_in_its_place():
    shape = pyramid_shape((63, 100), min_size=25)
    picture = torch.full((1, 3, 63, 100), -0.5)
    picture[..., 30:34, 60:64] = 0.5
    for level in range(len(shape)):
        left = coarsened(picture, shape, level) + 0.5
        assert left.shape == picture.shape
        weights = left.clamp(min=0)[0, 0]
        centre = (
            torch.stack([weights.sum(1) @ torch.arange(63.0), weights.sum(0) @ torch.arange(100.0)]) / weights.sum()
        )
        assert centre.tolist() == pytest.approx([31.5, 61.5], abs=0.2)
    assert torch.equal(coarsened(picture, shape, len(shape) - 1), picture)


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (2.5, 5), (4.0, 5), (5,), (5, 5, 5), 5, None, "ab"])
def test_sizes_that_are_no_pair_of_whole_numbers_are_refused(size):
    with pytest.raises(SinGANError, match="size must be"):
        resize(torch.zeros(1, 3, 8, 8), size)


def test_sizes_may_be_numbers_of_numpy():
    assert resize(torch.zeros(1, 3, 8, 8), (np.int64(4), np.uint8(5))).shape == (1, 3, 4, 5)


@pytest.mark.parametrize("factor", [None, "0.75", 0, 1, -0.5, float("nan"), True])
def test_scale_factors_that_are_none_are_refused(factor):
    with pytest.raises(SinGANError, match="scale_factor must lie between 0 and 1"):
        build_pyramid(torch.zeros(1, 3, 40, 40), scale_factor=factor)
