"""Convolution is PyTorch's, also in its first and second derivative, in one piece or in bands."""

import pytest
import torch
from torch import nn

from singan_core import convolution as module
from singan_core import narrow
from singan_core.convolution import Convolution, _Convolve


@pytest.fixture(params=["one piece", "bands", "few outputs", "few inputs"])
def always_ours(request, monkeypatch):
    """Small maps, too; bands of which the last one is smaller or all have one row; 4 outputs, or 5 inputs, as few."""
    monkeypatch.setattr(module, "SMALL", 0)
    if request.param == "bands":
        monkeypatch.setattr(module, "BAND", 1000)
    if "few" in request.param:
        monkeypatch.setattr(narrow, "VALUES", 0)
        monkeypatch.setattr(narrow, "MANY", 0)
        monkeypatch.setattr(narrow, "FEW", 4 if request.param == "few outputs" else 5)


def layer_of(kind, dtype):
    layer = kind(5, 4, 3).to(dtype)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=rng)
    return layer


def features(n=2, height=9, width=7, dtype=torch.float64, layout=torch.contiguous_format):
    x = torch.randn(n, 5, height, width, generator=torch.Generator().manual_seed(2)).to(dtype)
    return x.contiguous(memory_format=layout).requires_grad_()


def penalty_gradients(layer, x):
    """Output, slope, and the gradients of a gradient penalty and a score: first and second derivatives together."""
    score = layer(x).sin().sum()
    (slope,) = torch.autograd.grad(score, x, create_graph=True)
    loss = ((slope.norm(dim=1) - 1) ** 2).mean() + score
    return [score, slope, *torch.autograd.grad(loss, [x, *layer.parameters()])]


@pytest.mark.parametrize("n", [1, 3])
def test_first_and_second_derivatives_are_those_of_finite_differences(n, always_ours):
    layer = layer_of(Convolution, torch.float64)
    inputs = (features(n, 5, 4), layer.weight, layer.bias)
    assert torch.autograd.gradcheck(_Convolve.apply, inputs)
    assert torch.autograd.gradgradcheck(_Convolve.apply, inputs)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-3)])
def test_it_gives_the_numbers_of_pytorch_in_every_layout(dtype, tolerance, layout, always_ours):
    x = features(dtype=dtype, layout=layout)
    ours = penalty_gradients(layer_of(Convolution, dtype), x)
    theirs = penalty_gradients(layer_of(nn.Conv2d, dtype), x)
    for own, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, expected, atol=tolerance, rtol=tolerance)


def test_under_autocast_it_computes_in_bfloat16_and_gives_gradients_in_the_type_of_the_weights(always_ours):
    x = features(dtype=torch.float32)
    found = {}
    for kind in (Convolution, nn.Conv2d):
        layer = layer_of(kind, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
            found[kind] = penalty_gradients(layer, x)
    exact = penalty_gradients(layer_of(nn.Conv2d, torch.float32).double(), x.detach().double().requires_grad_())
    for own, other, expected in zip(found[Convolution], found[nn.Conv2d], exact, strict=True):
        assert own.dtype == other.dtype
        assert (own - expected).norm() < 0.1 * expected.norm()
        if own.numel() > 9:  # over many values rounding errors are alike: measured, up to 1.5 times those of PyTorch
            assert (own - expected).norm() < 2 * (other - expected).norm()


def test_only_wanted_gradients_are_computed(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 0)
    computed = []
    original = module._gradients
    monkeypatch.setattr(module, "_gradients", lambda *args: computed.append(args[-1]) or original(*args))
    first, second = layer_of(Convolution, torch.float64), Convolution(4, 4, 3).double()
    x = features()
    score = second(first(x)).square().sum()
    (slope,) = torch.autograd.grad(score, x, create_graph=True)
    assert computed and all(which == (True, False, False) for which in computed), "the slope needs no weights"
    computed.clear()
    slope.square().sum().backward(inputs=list(first.parameters()), retain_graph=True)
    assert first.weight.grad is not None and second.weight.grad is None
    computed.clear()
    score.backward(inputs=[x])
    assert set(computed) == {(True, False, False)}
    layer_of(Convolution, torch.float64)(x.detach()).sum().backward()
    assert set(computed[2:]) == {(False, True, False)}, "nobody asked for the gradient of the picture"


def test_small_maps_are_left_to_pytorch(monkeypatch):
    monkeypatch.setattr(module._Convolve, "apply", lambda *_: pytest.fail("not worth it"))
    layer_of(Convolution, torch.float32)(features(dtype=torch.float32))
    with pytest.raises(pytest.fail.Exception):
        Convolution(128, 128, 3)(torch.zeros(1, 128, 60, 60))
