"""Drawings made from photographs: lines where there are boundaries, white elsewhere."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import lab2rgb

from singan_core import SinGANError, from_array, sample_image
from singan_core.pyramid import resize
from singan_core.sketch import DARKNESS, edge_sketch


def halves(left, right, size=(60, 100)) -> torch.Tensor:
    """A picture of two colours, in CIELAB, that meet in the middle."""
    lab = np.empty((*size, 3))
    lab[:, : size[1] // 2], lab[:, size[1] // 2 :] = left, right
    return from_array(lab2rgb(lab))


def darkness(sketch: torch.Tensor) -> torch.Tensor:
    """Ink at each pixel (H, W), from 0 for white to 1 for black."""
    return (1 - sketch[0, 0]) / 2


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten(), b.flatten())[0, 1])


@pytest.mark.parametrize("left, right", [((20, 0, 0), (80, 0, 0)), ((60, 40, 20), (60, -40, 20))])
def test_a_boundary_of_lightness_or_of_colour_alone_becomes_a_line(left, right):
    ink = darkness(edge_sketch(halves(left, right)))
    (columns,) = (ink.amax(dim=0) > 0.01).nonzero(as_tuple=True)
    assert set(columns.tolist()) <= {48, 49, 50, 51}
    assert ink.amax(dim=1)[3:-3].allclose(torch.tensor(DARKNESS), atol=1 / 255)  # from top to bottom


def test_a_boundary_below_the_contrast_is_not_drawn():
    picture = halves((50, 0, 0), (60, 0, 0))
    assert (edge_sketch(picture) == 1).all()
    assert (edge_sketch(picture, contrast=6.0) < 1).any()


def test_an_even_picture_stays_white():
    assert (edge_sketch(torch.zeros(1, 3, 40, 50)) == 1).all()


@given(height=st.integers(12, 80), width=st.integers(12, 80), contrast=st.floats(1, 40), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_a_sketch_is_a_gray_picture_of_the_same_size_with_less_lines_for_more_contrast(height, width, contrast, seed):
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    picture = resize(coarse, (height, width))
    sketch, fewer = edge_sketch(picture, contrast=contrast), edge_sketch(picture, contrast=1.5 * contrast)
    assert sketch.shape == picture.shape and sketch.dtype == torch.float32
    assert torch.equal(sketch[:, 0], sketch[:, 1]) and torch.equal(sketch[:, 0], sketch[:, 2])
    assert sketch.min() >= 1 - 2 * DARKNESS - 1e-6 and sketch.max() <= 1
    assert (darkness(fewer) <= darkness(sketch) + 1e-6).all()


def test_lines_have_the_width_that_was_asked_for():
    picture = halves((20, 0, 0), (80, 0, 0), (60, 200))
    picture[..., 100] = picture[..., 98:102].mean(dim=-1)  # between two pixels, rounding would decide for one or both
    for width in (2, 5, 9):
        ink = darkness(edge_sketch(picture, line=width / 200))[30]
        assert ink.sum() / DARKNESS == pytest.approx(width, abs=0.01)


def test_pieces_shorter_than_a_twentieth_of_the_longer_side_are_left_out():
    picture = -torch.ones(1, 3, 60, 600)
    picture[..., 20:26, 100:106] = 1  # its outline has less than the 30 px that are needed
    assert (edge_sketch(picture) == 1).all()
    picture[..., 20:34, 400:414] = 1
    ink = darkness(edge_sketch(picture))
    assert (ink[:, 300:] > 0).any() and not (ink[:, :300] > 0).any()


def test_a_photograph_gives_the_same_drawing_at_other_resolutions():
    photograph = sample_image("mountains")
    size = tuple(side // 2 for side in photograph.shape[-2:])
    large, small = resize(edge_sketch(photograph), size), edge_sketch(resize(photograph, size))
    # Thin lines need to be off by a pixel only to miss each other: compare them a little blurred.
    blurred = [torch.nn.functional.avg_pool2d(each, 8) for each in (large, small)]
    assert correlation(*blurred) > 0.8


def test_the_bundled_sketch_is_the_drawing_of_its_photograph():
    assert correlation(edge_sketch(sample_image("mountains")), sample_image("sketch_mountains")) > 0.8


@pytest.mark.parametrize("image", [torch.zeros(2, 3, 40, 40), torch.zeros(1, 1, 40, 40), None])
def test_what_is_no_single_image_is_refused(image):
    with pytest.raises(SinGANError):
        edge_sketch(image)


@pytest.mark.parametrize("option", [{"contrast": 0.0}, {"line": -1.0}, {"contrast": float("nan")}])
def test_settings_that_draw_nothing_are_refused(option):
    with pytest.raises(SinGANError, match="above 0"):
        edge_sketch(torch.zeros(1, 3, 40, 40), **option)


@pytest.mark.parametrize("option", [{"line": 0.0}, {"line": float("nan")}])
def test_lines_without_a_width_are_refused(option):
    with pytest.raises(SinGANError, match="above 0"):
        edge_sketch(torch.zeros(1, 3, 40, 40), **option)


def test_an_even_picture_stays_white_however_wide_the_lines():
    assert (edge_sketch(torch.zeros(1, 3, 40, 50), line=0.2) == 1).all()
