"""Batch norm is PyTorch's, also in its first and second derivative."""

import pytest
import torch
from torch import nn

from singan_core.batchnorm import BatchNorm, _Normalize, counting_twice


def filled(layer):
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.weight.normal_(1.0, 0.5, generator=rng)
        layer.bias.normal_(generator=rng)
    return layer


def features(n=2, channels=4, height=5, width=6, dtype=torch.float64, layout=torch.contiguous_format):
    x = torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(2)).to(dtype)
    return x.contiguous(memory_format=layout).requires_grad_()


def penalty_gradients(layer, x):
    """Output, statistics, and the gradients of a gradient penalty: first and second derivatives together."""
    y = layer(x)
    (slope,) = torch.autograd.grad(y.to(layer.weight.dtype).sin().sum(), x, create_graph=True)
    penalty = ((slope.to(layer.weight.dtype).norm(dim=1) - 1) ** 2).mean()
    grads = torch.autograd.grad(penalty, [x, layer.weight, layer.bias])
    return [y, layer.running_mean, layer.running_var, slope, *grads]


@pytest.mark.parametrize("n", [1, 3])
def test_first_and_second_derivatives_are_those_of_finite_differences(n):
    layer = filled(BatchNorm(4).double())
    inputs = (features(n, height=3), layer.weight, layer.bias)

    def normalize(x, weight, bias):
        return _Normalize.apply(x, weight, bias, None, None, 0.1, 1e-5)

    assert torch.autograd.gradcheck(normalize, inputs)
    assert torch.autograd.gradgradcheck(normalize, inputs)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_it_gives_the_numbers_of_pytorch_in_every_layout(dtype, tolerance, layout):
    x = features(dtype=dtype, layout=layout)
    ours = penalty_gradients(filled(BatchNorm(4).to(dtype)), x)
    theirs = penalty_gradients(filled(nn.BatchNorm2d(4).to(dtype)), x)
    for own, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, expected, atol=tolerance, rtol=tolerance)


def test_features_in_bfloat16_give_the_gradients_of_float32_to_its_eight_bits():
    layers = filled(BatchNorm(8)), filled(BatchNorm(8))
    x = features(1, 8, 20, 30, dtype=torch.bfloat16, layout=torch.channels_last)
    coarse = penalty_gradients(layers[0], x)
    exact = penalty_gradients(layers[1], x.detach().float().requires_grad_())
    for own, expected in zip(coarse, exact, strict=True):
        error = (own.float() - expected).norm() / expected.norm()
        assert error < 0.02  # a few roundings of 2**-9 each
    assert coarse[0].dtype == torch.bfloat16 and coarse[-1].dtype == torch.float32


def test_a_weight_of_zero_has_a_second_derivative_too():
    ours, theirs = filled(BatchNorm(4).double()), filled(nn.BatchNorm2d(4).double())
    for layer in (ours, theirs):
        layer.weight.data[1] = 0.0
    for own, expected in zip(penalty_gradients(ours, features()), penalty_gradients(theirs, features()), strict=True):
        torch.testing.assert_close(own, expected)


def test_finished_levels_normalise_by_their_running_statistics():
    ours, theirs = filled(BatchNorm(4)).eval(), filled(nn.BatchNorm2d(4)).eval()
    for layer in (ours, theirs):
        layer.running_mean += 0.5
        layer.running_var += 1.0
    x = features(dtype=torch.float32)
    torch.testing.assert_close(ours(x), theirs(x))


def test_one_pass_that_counts_twice_moves_the_statistics_as_two_do():
    once, twice = nn.Sequential(BatchNorm(4)), nn.Sequential(nn.BatchNorm2d(4))
    x = features(dtype=torch.float32)
    with counting_twice(once):
        once(x)
    for _ in range(2):
        twice(x)
    for own, expected in ((once[0].running_mean, twice[0].running_mean), (once[0].running_var, twice[0].running_var)):
        torch.testing.assert_close(own, expected)
    with pytest.raises(KeyboardInterrupt), counting_twice(once):
        raise KeyboardInterrupt
    assert once[0].momentum == twice[0].momentum == 0.1
