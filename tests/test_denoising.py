"""Denoising: noise of a given strength, re-injection, and super-resolution on tiles; and the filters beside them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singan_core import SinGAN, SinGANError
from singan_core.applications import reinject, salt_and_pepper, super_resolve, super_resolve_tiles
from singan_core.applications.classical import inpaint_extremes, median_filter, nonlocal_means, total_variation
from singan_core.metrics import psnr, rmse
from singan_core.model import Level
from singan_core.networks import Generator
from singan_core.pyramid import resize

# -- the noise


@given(wanted=st.floats(8, 30), seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_noise_has_the_strength_that_is_asked_for(picture, wanted, seed):
    noisy, hit = salt_and_pepper(picture, wanted, seed=seed)
    error, of_a_pixel = 4 / 10 ** (psnr(noisy, picture) / 10) if hit.any() else 0, 4 / picture[0, 0].numel()
    # half of what the largest step, a pixel from black to white, makes
    assert abs(error - 4 / 10 ** (wanted / 10)) <= 0.5 * of_a_pixel + 1e-6


def test_noise_is_black_or_white_in_equal_parts_and_leaves_the_rest(picture):
    noisy, hit = salt_and_pepper(picture, 9.0, seed=1)
    changed = noisy[:, :, hit[0, 0].bool()]
    assert ((changed == 1).all(dim=1) | (changed == -1).all(dim=1)).all()
    # some 700 pixels: four deviations of a fair coin are 0.08
    assert abs((changed[0, 0] == 1).float().mean() - 0.5) < 0.08
    assert torch.equal(noisy[:, :, ~hit[0, 0].bool()], picture[:, :, ~hit[0, 0].bool()])


def test_stronger_noise_of_a_seed_hits_the_same_pixels_and_more(picture):
    (weak, few), (strong, many) = (salt_and_pepper(picture, level, seed=3) for level in (20.0, 12.0))
    assert (few <= many).all() and few.sum() < many.sum()
    assert torch.equal(weak[:, :, few[0, 0].bool()], strong[:, :, few[0, 0].bool()])
    assert not torch.equal(few, salt_and_pepper(picture, 20.0, seed=4)[1])


@pytest.mark.parametrize("level", [float("nan"), float("inf"), 4000.0, -4000.0, "12", True])
def test_a_strength_that_is_no_number_is_refused(picture, level):
    with pytest.raises(SinGANError, match="psnr must be a number of dB"):
        salt_and_pepper(picture, level)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_a_seed_that_is_none_is_refused(picture, seed):
    with pytest.raises(SinGANError, match="seed must be"):
        salt_and_pepper(picture, seed=seed)


def test_a_strength_out_of_reach_is_refused(picture):
    with pytest.raises(SinGANError, match="psnr must be larger"):
        salt_and_pepper(picture, 3.0)


# -- re-injection


def test_reinjection_is_injection_into_the_result(model, picture):
    once = reinject(model, picture, 1, seed=5)
    assert torch.equal(
        reinject(model, picture, 2, noise=0), reinject(model, reinject(model, picture, 1, noise=0), 1, noise=0)
    )
    # the noise of a pass has a seed of its own, so that only its strength is known: a few hundredths after one level
    torch.testing.assert_close(once, model.inject(picture, len(model.levels) - 1), atol=0.2, rtol=0)
    assert not torch.equal(reinject(model, picture, 2, seed=5), reinject(model, once, 1, seed=5))


def test_passes_of_neighbouring_seeds_share_no_noise(model, picture):
    once = reinject(model, picture, 1, seed=5)
    assert not torch.equal(reinject(model, picture, 2, seed=5), reinject(model, once, 1, seed=6))


@given(height=st.integers(12, 60), width=st.integers(12, 60), scale=st.integers(1, 3))
@settings(max_examples=20)
def test_the_result_has_the_size_of_the_picture(model, height, width, scale):
    image = torch.zeros(1, 3, height, width)
    result = reinject(model, image, 2, scale=scale)
    assert result.shape == image.shape and result.abs().max() <= 1


def test_without_asking_an_injection_has_the_trained_size(model, picture):
    """What the report ran into."""
    larger = resize(picture, (72, 96))
    assert model.inject(larger, 1).shape[-2:] == model.size
    assert reinject(model, larger, 1).shape == larger.shape


def test_noise_of_factor_zero_makes_the_seed_unimportant(model, picture):
    assert torch.equal(reinject(model, picture, noise=0, seed=1), reinject(model, picture, noise=0, seed=2))
    assert not torch.equal(reinject(model, picture, seed=1), reinject(model, picture, seed=2))


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_noise_is_a_factor_of_the_amplitudes(model, picture, noise):
    louder = replace(model, levels=[replace(each, amplitude=noise * each.amplitude) for each in model.levels])
    expected = reinject(louder, picture, 1, scale=2, seed=5)
    assert torch.equal(reinject(model, picture, 1, scale=2, noise=noise, seed=5), expected)


def test_the_model_keeps_its_amplitudes(model, picture):
    before = [level.amplitude for level in model.levels]
    reinject(model, picture, 1, noise=7.0)
    assert [level.amplitude for level in model.levels] == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": 0}, "times must be"),
        ({"times": 1.5}, "times must be"),
        ({"noise": -1}, "noise must be"),
        ({"noise": float("nan")}, "noise must be"),
        ({"scale": 0}, "scale must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_a_reinjection_out_of_range_is_refused(model, picture, options, message):
    with pytest.raises(SinGANError, match=message):
        reinject(model, picture, **options)


# -- tiles


@given(
    factor=st.floats(1, 4),
    height=st.integers(8, 30),
    width=st.integers(8, 30),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    overlap=st.integers(0, 6),
)
@settings(max_examples=30)
def test_tiles_cover_everything_and_their_weights_sum_to_one(model, factor, height, width, rows, columns, overlap):
    """Of a generator that changes nothing, an even picture comes out as it is: no gap, and no seam."""
    even = torch.full((1, 3, height, width), 0.25)
    result = super_resolve_tiles(unchanging(model), even, factor, grid=(rows, columns), overlap=overlap)
    assert result.shape == (1, 3, round(factor * height), round(factor * width))
    torch.testing.assert_close(result, torch.full_like(result, 0.25), atol=1e-5, rtol=0)  # float32 weights


def test_the_weight_of_a_tile_falls_linearly_over_the_overlap(model, monkeypatch):
    sizes = []

    def even(_: SinGAN, tile: torch.Tensor, factor: float, seed: int) -> torch.Tensor:
        sizes.append(tuple(tile.shape[-2:]))
        return torch.full((1, 3, *(factor * side for side in sizes[-1])), len(sizes) - 2.0)  # -1, 0, 1

    monkeypatch.setattr("singan_core.applications.denoising.super_resolve", even)
    row = super_resolve_tiles(model, torch.zeros(1, 3, 5, 30), 2, grid=(1, 3), overlap=3)[0, 0, 4]
    assert sizes == [(5, 13), (5, 16), (5, 13)]
    slope = (torch.arange(12) + 0.5) / 12
    expected = torch.cat([-torch.ones(14), slope - 1, torch.zeros(8), slope, torch.ones(14)])
    torch.testing.assert_close(row, expected)


def unchanging(model: SinGAN) -> SinGAN:
    """A pyramid whose finest level adds nothing to its input and no noise, so that it enlarges bicubically."""
    generator = Generator(4, model.config.layers)
    for parameter in generator.parameters():
        torch.nn.init.zeros_(parameter)
    return replace(model, levels=[*model.levels[:-1], Level(generator.eval(), None, amplitude=0.0)])


def test_one_tile_is_super_resolution_but_for_its_noise(model, picture):
    silent = unchanging(model)
    assert torch.equal(super_resolve_tiles(silent, picture, 2, grid=(1, 1)), super_resolve(silent, picture, 2))


def test_blended_tiles_are_where_they_belong(model, picture):
    whole = super_resolve(unchanging(model), picture, 3)
    tiles = super_resolve_tiles(unchanging(model), picture, 3, grid=(3, 4), overlap=6)
    # bicubic interpolation reaches two pixels: only the ends of tiles, where they weigh little, differ
    assert rmse(tiles, whole) < 0.5
    shifted = torch.roll(whole, 2, dims=-1)
    assert rmse(tiles, whole) < 0.2 * rmse(tiles, shifted)


def test_tiles_have_noise_of_their_own(model):
    left, right = super_resolve_tiles(model, torch.zeros(1, 3, 12, 24), 2, grid=(1, 2), overlap=0).chunk(2, dim=3)
    assert not torch.equal(left, right)


def test_tiles_overlap_by_half_a_receptive_field(model, picture):
    by_default, chosen = (
        super_resolve_tiles(model, picture, 2, grid=(2, 2), **options)
        for options in ({}, {"overlap": model.config.layers})
    )
    assert torch.equal(by_default, chosen)


def test_a_tile_may_be_a_pixel(model):
    assert super_resolve_tiles(model, torch.zeros(1, 3, 3, 4), 2, grid=(3, 4), overlap=1).shape == (1, 3, 6, 8)


@pytest.mark.parametrize(
    "options", [{"grid": (0, 2)}, {"grid": (2, 49)}, {"grid": (2,)}, {"grid": 3}, {"overlap": -1}, {"overlap": 1.5}]
)
def test_a_grid_that_does_not_fit_is_refused(model, picture, options):
    with pytest.raises(SinGANError, match="grid is"):
        super_resolve_tiles(model, picture, 2, **options)


def test_only_one_picture_is_taken_at_a_time(model, picture):
    two = picture.expand(2, -1, -1, -1)
    for method in (salt_and_pepper, median_filter, inpaint_extremes, lambda image: reinject(model, image)):
        with pytest.raises(SinGANError, match="One picture"):
            method(two)


# -- filters


def test_the_median_removes_single_pixels_and_keeps_an_edge():
    clean = torch.full((1, 3, 12, 16), -0.5)
    clean[..., 8:] = 0.5
    noisy = clean.clone()
    noisy[..., 4, 3], noisy[..., 9, 12] = 1, -1
    assert torch.equal(median_filter(noisy), clean)
    assert torch.equal(median_filter(noisy, 1), noisy)


def test_filters_bring_a_noisy_picture_nearer_to_the_clean_one(picture):
    noisy, hit = salt_and_pepper(picture, 15.0)
    for filtered in (
        median_filter(noisy),
        total_variation(noisy, 0.3),
        nonlocal_means(noisy, 0.5),
        inpaint_extremes(noisy),
    ):
        assert filtered.shape == picture.shape and filtered.dtype == torch.float32
        assert psnr(filtered, picture) > psnr(noisy, picture) + 1
    assert torch.equal(inpaint_extremes(noisy)[:, :, ~hit[0, 0].bool()], picture[:, :, ~hit[0, 0].bool()])


def test_total_variation_falls_with_the_weight_and_each_colour_is_on_its_own(picture):
    weak, strong = (total_variation(picture, weight).diff(dim=3).abs().mean() for weight in (0.05, 2.0))
    assert strong < 0.5 * weak
    red = torch.tensor([0.8, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 12, 16)  # even: nothing is to be smoothed
    torch.testing.assert_close(total_variation(red, 0.3), red, atol=1e-6, rtol=0)


def test_the_median_is_that_of_each_colour():
    green = torch.tensor([-0.75, 0.75, -0.75]).view(1, 3, 1, 1).expand(1, 3, 12, 16)
    assert torch.equal(median_filter(green), green)


def test_inpainting_takes_a_pixel_for_damaged_only_if_all_its_colours_are():
    image = torch.zeros(1, 3, 12, 12)
    image[0, :, 3, 3], image[0, 0, 8, 8] = 1, 1
    result = inpaint_extremes(image)
    np.testing.assert_allclose(result[0, :, 3, 3].numpy(), 0, atol=1e-6)  # float64 solve of an even surrounding
    assert result[0, 0, 8, 8] == 1
    assert torch.equal(inpaint_extremes(result), result)
    with pytest.raises(SinGANError, match="black or white"):
        inpaint_extremes(torch.ones(1, 3, 12, 12))


def test_pure_colours_are_no_damage():
    image = torch.zeros(1, 3, 12, 12)
    image[0, :, 3, 3] = torch.tensor([1.0, -1.0, -1.0])
    assert torch.equal(inpaint_extremes(image), image)


@pytest.mark.parametrize(("height", "width"), [(1, 9), (9, 1), (1, 1)])
def test_filters_keep_the_size_of_pictures_of_one_pixel(height, width):
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    for filtered in (nonlocal_means(image, 0.5), total_variation(image, 0.1), median_filter(image)):
        assert filtered.shape == image.shape and torch.isfinite(filtered).all()


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True])
def test_strengths_of_filters_out_of_range_are_refused(picture, value):
    for method in (total_variation, nonlocal_means):
        with pytest.raises(SinGANError, match="above 0"):
            method(picture, value)
    with pytest.raises(SinGANError, match="odd number"):
        median_filter(picture, 2 if value is True else value)
