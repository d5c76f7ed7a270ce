"""Super-resolution: sizes and steps, the settings of its training, and the finest level applied again and again."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singan_core import SinGANError, TrainConfig, pyramid_shape, train
from singan_core.applications import super_resolution_config, super_resolve
from singan_core.applications.super_resolution import reduced_pair
from singan_core.images import from_array, sample_image, to_array
from singan_core.model import seeded_noise
from singan_core.networks import pad
from singan_core.pyramid import resize, upsample


@given(factor=st.floats(1, 8), height=st.integers(5, 30), width=st.integers(5, 30))
@settings(max_examples=30)
def test_any_factor_gives_the_size_it_says(model, factor, height, width):
    image = torch.zeros(1, 3, height, width)
    result = super_resolve(model, image, factor)
    assert result.shape == (1, 3, round(factor * height), round(factor * width))
    assert result.dtype == torch.float32 and result.abs().max() <= 1


def test_four_times_is_six_steps_through_the_finest_generator(model, picture):
    """The authors' loop, written out."""
    step, finest = 4 ** (1 / 6), model.levels[-1]
    noise = seeded_noise(3, range(1), model.z_star)
    image = picture
    with torch.no_grad():
        for index in range(1, 7):
            size = tuple(round(side * step**index) for side in picture.shape[-2:])
            z = finest.amplitude * noise(index, (1, 3, *size))
            margin = model.config.layers
            image = finest.generator(pad(z, margin), pad(upsample(image, size, 1 / step), margin))
    # float32: here batch norm is applied as it is, there it is folded into the convolutions
    torch.testing.assert_close(super_resolve(model, picture, 4, seed=3), image.clamp(-1, 1), atol=1e-5, rtol=0)


def test_a_seed_gives_the_same_results_and_another_one_others(model, picture):
    first = super_resolve(model, picture, 2, n=2, seed=1)
    assert torch.equal(first, super_resolve(model, picture, 2, n=2, seed=1))
    assert not torch.equal(first[0], first[1])


def test_the_settings_are_the_authors():
    config = super_resolution_config(TrainConfig(kernels=16), 4)
    assert (config.alpha, config.min_size, config.kernels) == (100, 18, 16)
    assert config.scale_factor == pytest.approx(2 ** (-1 / 3))


@given(factor=st.floats(1, 64), layers=st.integers(2, 12))
def test_every_factor_and_number_of_layers_gives_settings_that_fit_a_pyramid(factor, layers):
    config = super_resolution_config(TrainConfig(layers=layers), factor)
    assert config.min_size >= 2 * layers + 1
    sizes = {"min_size": config.min_size, "max_size": config.max_size, "scale_factor": config.scale_factor}
    assert len(pyramid_shape((188, 250), **sizes)) > 1


@pytest.mark.parametrize("layers", [2, 3, 7])
def test_pyramids_of_any_number_of_layers_enlarge(picture, layers):
    base = TrainConfig.for_profile("smoke", layers=layers, kernels=4, iterations=1, max_size=40)
    model = train(picture, super_resolution_config(base, 3), progress=False, device="cpu")
    assert super_resolve(model, picture, 3).shape == (1, 3, 108, 144)


@pytest.mark.parametrize("factor", [0.5, 0, -2, 65, float("nan"), "four", True])
def test_a_factor_out_of_range_is_refused(model, picture, factor):
    with pytest.raises(SinGANError, match="factor must be a number from 1 to 64"):
        super_resolve(model, picture, factor)
    with pytest.raises(SinGANError, match="factor must be a number from 1 to 64"):
        super_resolution_config(TrainConfig(), factor)


def test_a_result_too_large_to_draw_is_refused(model):
    with pytest.raises(SinGANError, match="pixels"):
        super_resolve(model, torch.zeros(1, 3, 200, 200), 64)


def test_a_batch_is_refused(model, picture):
    with pytest.raises(SinGANError, match="One image"):
        super_resolve(model, picture.expand(2, -1, -1, -1), 2)


def test_steps_can_be_chosen(model, picture):
    assert torch.equal(super_resolve(model, picture, 4, steps=6), super_resolve(model, picture, 4))
    one = super_resolve(model, picture, 4, steps=1)
    assert one.shape == (1, 3, 144, 192) and not torch.equal(one, super_resolve(model, picture, 4))


def test_the_number_of_steps_is_the_nearest_whole_one(model, picture):
    # log(2.2) / log(2^(1/3)) is 3.4
    assert torch.equal(super_resolve(model, picture, 2.2), super_resolve(model, picture, 2.2, steps=3))
    assert super_resolution_config(TrainConfig(), 2.2).scale_factor == pytest.approx(2.2 ** (-1 / 3))


def test_64_times_and_a_hundred_steps_are_the_most(model):
    assert super_resolve(model, torch.zeros(1, 3, 8, 8), 1, steps=100).shape == (1, 3, 8, 8)
    assert super_resolve(model, torch.zeros(1, 3, 2, 2), 64).shape == (1, 3, 128, 128)


@pytest.mark.parametrize("steps", [0, 1.5, True, 101])
def test_steps_out_of_range_are_refused(model, picture, steps):
    with pytest.raises(SinGANError, match="steps must be a whole number from 1 to 100"):
        super_resolve(model, picture, 4, steps=steps)


def test_a_pyramid_without_levels_is_refused(model, picture):
    with pytest.raises(SinGANError, match="no trained level"):
        super_resolve(replace(model, levels=[]), picture, 2)


# -- what a result is compared with


@pytest.mark.parametrize(("max_size", "size"), [(40, (27, 40)), (500, (75, 112))])  # the cat has 300 x 451 px
def test_a_pair_is_a_photograph_and_its_reduction(max_size, size):
    low, high = reduced_pair(sample_image("cat"), 4, max_size)
    assert low.shape == (1, 3, *size) and high.shape == (1, 3, 4 * size[0], 4 * size[1])
    assert torch.equal(low, from_array(to_array(low)))  # so a file of it is the picture itself
    assert (resize(high, size) - low).abs().max() <= 1.01 / 255  # half a step of rounding


@pytest.mark.parametrize("name", ["cat", "mountains", "peaks", "gravel"])
def test_a_pair_is_computed_in_float64(name):
    photograph = sample_image(name)
    low, high = reduced_pair(photograph, 4, 40)
    large = from_array(to_array(resize(photograph.double(), tuple(high.shape[-2:]))))
    assert torch.equal(high, large)
    assert torch.equal(low, from_array(to_array(resize(large.double(), tuple(low.shape[-2:])))))


def test_a_photograph_too_small_for_a_pair_is_refused():
    with pytest.raises(SinGANError, match="take a larger photograph"):
        reduced_pair(torch.zeros(1, 3, 3, 2), 4, 10)


@pytest.mark.parametrize("factor", [2.5, 2.0])
def test_a_pair_of_a_broken_factor_is_refused(picture, factor):
    with pytest.raises(SinGANError, match="whole factor"):
        reduced_pair(picture, factor, 10)


def test_a_photograph_too_thin_for_a_pair_is_refused():
    with pytest.raises(SinGANError, match="take a larger photograph"):
        reduced_pair(torch.zeros(1, 3, 1, 40), 4, 10)
