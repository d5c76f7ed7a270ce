"""Generator and discriminator: sizes, receptive field, parameters, initial weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from singan_core.networks import (
    Discriminator,
    FoldedGenerator,
    Generator,
    initialise,
    pad,
    receptive_field,
    trained_parameters,
)


def fresh(network, seed=0):
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("kernels", [8, 32, 64, 128])
def test_parameter_counts_follow_from_the_architecture(kernels):
    first, inner, norm = 3 * kernels * 9 + kernels, kernels * kernels * 9 + kernels, 2 * kernels
    hidden = first + norm + 3 * (inner + norm)
    assert count(Generator(kernels)) == hidden + kernels * 3 * 9 + 3
    assert count(Discriminator(kernels)) == hidden + kernels * 9 + 1


def test_a_32_kernel_level_has_the_known_number_of_parameters():
    assert count(Generator(32)) == 29_763
    assert count(Discriminator(32)) == 29_185


@given(height=st.integers(1, 40), width=st.integers(1, 40), layers=st.integers(2, 8), batch=st.integers(1, 3))
def test_the_generator_gives_back_the_size_before_padding(height, width, layers, batch):
    generator = fresh(Generator(4, layers)).eval()
    previous = torch.zeros(batch, 3, height, width)
    assert generator(pad(previous, layers), pad(previous, layers)).shape == previous.shape


@pytest.mark.parametrize("layers", [2, 5, 8, 10])
def test_the_discriminators_patch_is_the_receptive_field_measured_by_gradient(layers):
    discriminator = fresh(Discriminator(6, layers)).eval().double()
    side = receptive_field(layers) + 8
    image = torch.randn(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    scores = discriminator(image)
    scores[0, 0, 4, 4].backward()
    touched = (image.grad[0].abs().sum(0) > 0).nonzero()
    assert touched.amin(0).tolist() == [4, 4]
    assert (touched.amax(0) - touched.amin(0) + 1).tolist() == [receptive_field(layers)] * 2


def test_five_layers_see_eleven_pixels():
    assert receptive_field(5) == 11


def test_with_residual_a_generator_without_detail_passes_the_previous_image_on():
    generator = fresh(Generator(4))
    torch.nn.init.zeros_(generator.tail[0].weight)
    torch.nn.init.zeros_(generator.tail[0].bias)
    previous = torch.rand(1, 3, 20, 24) * 2 - 1
    torch.testing.assert_close(generator(pad(previous, 5) * 0, pad(previous, 5)), previous)


def test_without_residual_it_gives_its_own_detail_alone():
    with_residual, without = fresh(Generator(4, residual=True)), fresh(Generator(4, residual=False))
    previous = torch.rand(1, 3, 20, 24) * 2 - 1
    inputs = pad(torch.randn_like(previous), 5), pad(previous, 5)
    torch.testing.assert_close(without(*inputs) + previous, with_residual(*inputs))


def test_one_noise_channel_acts_on_all_three_colours():
    generator = fresh(Generator(4)).eval()
    noise, previous = torch.randn(1, 1, 30, 30), torch.zeros(1, 3, 30, 30)
    torch.testing.assert_close(generator(noise, previous), generator(noise.expand(1, 3, 30, 30), previous))


def test_initial_weights_have_the_authors_distribution():
    network = fresh(Generator(128)).requires_grad_(False)
    conv, norm = network.body[0][0], network.body[0][1]
    assert conv.weight.mean().abs() < 1e-3
    assert conv.weight.std() == pytest.approx(0.02, rel=0.02)
    assert norm.weight.mean() == pytest.approx(1.0, abs=0.01)
    assert norm.weight.std() == pytest.approx(0.02, rel=0.3)
    assert (norm.bias == 0).all()
    bound = (128 * 9) ** -0.5
    assert conv.bias.abs().max() <= bound
    assert conv.bias.std() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_initialisation_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    fresh(Generator(8))
    assert torch.equal(torch.get_rng_state(), before)


def test_only_biases_in_front_of_batch_norm_are_not_trained():
    network = Discriminator(8)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {"head.0.bias", "body.0.0.bias", "body.1.0.bias", "body.2.0.bias"}
    assert len(trained_parameters(network)) == len(list(network.parameters())) - len(frozen)


def test_a_bias_in_front_of_batch_norm_has_no_effect_in_training():
    network = fresh(Discriminator(8))
    image = torch.rand(1, 3, 30, 30, dtype=torch.float32)
    before = network(image)
    with torch.no_grad():
        network.body[1][0].bias += 3.0
    torch.testing.assert_close(network(image), before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("residual", [True, False])
def test_a_folded_generator_draws_the_same_image(residual):
    generator = fresh(Generator(8, layers=4, residual=residual)).double()
    inputs = torch.randn(2, 3, 30, 33, dtype=torch.float64), torch.rand(2, 3, 30, 33, dtype=torch.float64)
    generator(*inputs)  # running statistics other than 0 and 1
    generator.eval()
    torch.testing.assert_close(FoldedGenerator(generator, torch.float64)(*inputs), generator(*inputs))


def test_a_folded_generator_in_bfloat16_takes_and_gives_float32():
    generator = fresh(Generator(8)).eval()
    inputs = torch.randn(1, 3, 30, 33), torch.rand(1, 3, 30, 33)
    coarse = FoldedGenerator(generator, torch.bfloat16)(*inputs)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, generator(*inputs), atol=0.02, rtol=0)  # eight bits of a detail in [-1, 1]
    kept = coarse - FoldedGenerator(generator, torch.bfloat16)(inputs[0] + inputs[1], torch.zeros_like(inputs[1]))
    torch.testing.assert_close(kept, inputs[1][..., 5:-5, 5:-5], atol=1e-6, rtol=0)  # the previous image is not rounded


def test_a_folded_generator_keeps_the_weights_that_it_was_made_of():
    generator = fresh(Generator(8)).eval()
    inputs = torch.randn(1, 3, 30, 33), torch.rand(1, 3, 30, 33)
    made = FoldedGenerator(generator, torch.float32)
    before = made(*inputs)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter += 1
    assert torch.equal(made(*inputs), before)


def test_folding_leaves_the_generator_as_it_was():
    generator = fresh(Generator(8)).eval()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    FoldedGenerator(generator, torch.bfloat16)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name]), name
