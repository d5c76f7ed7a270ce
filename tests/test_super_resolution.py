"""Super-resolution: sizes and steps, the settings of its training, and the finest level applied again and again."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singan_core import SinGANError, TrainConfig, pyramid_shape, train
from singan_core.applications import super_resolution_config, super_resolve
from singan_core.model import seeded_noise
from singan_core.networks import pad
from singan_core.pyramid import upsample


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
