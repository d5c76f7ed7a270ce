"""Convolutions of few channels as products of matrices: the numbers of PyTorch's own, and where they are used."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from singan_core import convolution, narrow
from singan_core.convolution import Convolution

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def random(*shape, seed=0, dtype=torch.float64, layout=torch.contiguous_format):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return values.contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(
    n=st.integers(1, 3),
    few=st.integers(1, 3),
    many=st.integers(1, 9),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    k=st.integers(1, 5),
    biased=st.booleans(),
)
@settings(max_examples=50)
def test_numbers_and_gradients_are_those_of_pytorch(layout, n, few, many, size, k, biased):
    height, width = (side + k - 1 for side in size)
    x = random(n, many, height, width, layout=layout).requires_grad_()
    weight = random(few, many, k, k, seed=1, layout=layout).requires_grad_()
    bias = random(few, seed=2) if biased else None
    expected = F.conv2d(x, weight, bias)
    torch.testing.assert_close(narrow.convolve(x, weight, bias), expected)
    grad = random(*expected.shape, seed=3, layout=layout)
    (to_weight,) = torch.autograd.grad(expected, weight, grad)
    torch.testing.assert_close(narrow.gradient_of_weight(grad, x), to_weight)

    image = random(n, few, height, width, seed=4, layout=layout).requires_grad_()
    spread = random(many, few, k, k, seed=5, layout=layout)
    wide = F.conv2d(image, spread)
    grad = random(*wide.shape, seed=6, layout=layout)
    (to_image,) = torch.autograd.grad(wide, image, grad)
    torch.testing.assert_close(narrow.gradient_of_input(grad, spread), to_image)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_rounding_is_that_of_the_type(dtype, tolerance, layout):
    """In standard deviations of the numbers: bfloat16 has 0.004 of each number, and the largest are five of these."""
    x = random(1, 64, 40, 50, dtype=dtype, layout=layout)
    weight = random(3, 64, 3, 3, seed=1, dtype=dtype)
    grad = random(1, 3, 38, 48, seed=2, dtype=dtype, layout=layout)
    exact = [each.double().requires_grad_() for each in (x, weight)]
    expected = F.conv2d(*exact)
    _, to_weight = torch.autograd.grad(expected, exact, grad.double())
    for found, right in ((narrow.convolve(x, weight), expected), (narrow.gradient_of_weight(grad, x), to_weight)):
        assert found.dtype == dtype
        assert (found - right).abs().max() < tolerance * right.std()


@pytest.mark.parametrize(
    ("channels", "used"),
    [((32, 3), True), ((32, 1), True), ((3, 32), True), ((32, 4), False)],
    ids=["an image", "a score", "from an image", "more channels"],
)
def test_large_maps_to_and_from_few_channels_are_convolved_so(channels, used, monkeypatch):
    called = []
    for name in ("convolve", "gradient_of_input", "gradient_of_weight"):
        original = getattr(narrow, name)
        monkeypatch.setattr(narrow, name, lambda *args, o=original, n=name: called.append(n) or o(*args))
    ours, theirs = Convolution(*channels, 3), nn.Conv2d(*channels, 3)
    theirs.load_state_dict(ours.state_dict())
    found, expected = [], []
    for layer, results in ((ours, found), (theirs, expected)):
        x = random(1, channels[0], 130, 130, dtype=torch.float32).requires_grad_()
        out = layer(x)
        results += [out, *torch.autograd.grad(out.sin().sum(), [x, layer.weight, layer.bias])]
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, atol=1e-3, rtol=1e-3)
    from_many = ["convolve", "gradient_of_weight"] if channels[1] <= 3 else []
    assert called == (from_many if channels[0] > 3 else ["gradient_of_input"]) * used


def test_small_images_and_narrow_networks_are_left_to_pytorch_however_many_there_are(monkeypatch):
    monkeypatch.setattr(narrow, "convolve", lambda *_: pytest.fail("not worth it"))
    for n in (0, 1, 8):
        Convolution(32, 3, 3)(torch.zeros(n, 32, 80, 128))
    Convolution(8, 3, 3)(torch.zeros(1, 8, 400, 400))
    with pytest.raises(pytest.fail.Exception):
        Convolution(32, 3, 3)(torch.zeros(1, 32, 160, 256))


@pytest.mark.parametrize(("device", "used"), [("cpu", True), ("meta", False)])
def test_it_is_for_the_cpu_alone(device, used):
    assert convolution._narrow(3, torch.zeros(1, 32, 160, 256, device=device)) == used
