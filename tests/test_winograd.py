"""Winograd's convolution: the numbers of the direct one, and used only where it is the faster of the two."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from singan_core import convolution, winograd
from singan_core.convolution import Convolution
from singan_core.networks import memory_format
from singan_core.winograd import convolve, pays
from tests.test_convolution import penalty_gradients

needs_nnpack = pytest.mark.skipif(not torch.backends.nnpack.is_available(), reason="PyTorch without NNPACK")


@pytest.fixture
def narrow_vectors(monkeypatch):
    """A processor on which it pays, whatever this one is."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def error(found, expected):
    """The largest difference, in standard deviations of the expected numbers."""
    return ((found.double() - expected).abs().max() / expected.std()).item()


@needs_nnpack
@given(
    n=st.integers(1, 3),
    channels=st.tuples(st.integers(64, 70), st.integers(64, 70)),
    size=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    padding=st.integers(0, 2),
    biased=st.booleans(),
)
@settings(max_examples=20)
def test_it_gives_the_numbers_of_the_direct_convolution(n, channels, size, padding, biased):
    x = random(n, channels[0], *size)
    weight = random(channels[1], channels[0], 3, 3, seed=1).transpose(2, 3)
    bias = random(channels[1], seed=2) if biased else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "pays", lambda *_: True)
        found = convolve(x, weight, bias, padding)
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=padding)
    assert found.shape == expected.shape
    assert error(found, expected) < 3e-4


@needs_nnpack
def test_it_pays_for_wide_networks_in_single_precision_on_a_processor_without_wide_vectors(monkeypatch, narrow_vectors):
    x, weight = torch.zeros(1, 128, 60, 60), torch.zeros(128, 128, 3, 3)
    assert pays(x, weight)
    assert not pays(x.double(), weight.double())
    assert not pays(x.bfloat16(), weight.bfloat16())
    assert not pays(x, torch.zeros(3, 128, 3, 3)) and not pays(torch.zeros(1, 3, 60, 60), torch.zeros(128, 3, 3, 3))
    assert not pays(x, torch.zeros(128, 128, 5, 5))
    assert not pays(x.contiguous(memory_format=torch.channels_last), weight)
    with torch.backends.nnpack.flags(enabled=False):
        assert not pays(x, weight)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for halved in (True, False):
        monkeypatch.setattr(winograd, "_is_zen4", lambda halved=halved: halved)
        assert pays(x, weight) == halved
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert not pays(x, weight)


@needs_nnpack
def test_networks_lie_in_memory_as_their_convolutions_want_them(monkeypatch):
    monkeypatch.setattr(winograd, "_is_zen4", lambda: True)
    cpu, by_channel, last = torch.device("cpu"), torch.contiguous_format, torch.channels_last
    expected = {  # in training and in drawing
        ("AVX2", 32, torch.float32): (by_channel, by_channel),
        ("AVX512", 32, torch.float32): (last, last),
        ("AVX512", 64, torch.float32): (last, by_channel),
        ("AVX512", 128, torch.float32): (by_channel, by_channel),
        ("AVX512", 128, torch.bfloat16): (last, last),
    }
    for (capability, *network), layouts in expected.items():
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert tuple(memory_format(cpu, *network, training) for training in (True, False)) == layouts
    assert memory_format(torch.device("cuda"), 64, torch.float32, training=False) == last


@pytest.mark.parametrize(
    ("name", "zen4"),
    [
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9454\n", True),
        ("AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD", True),
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n", False),
        ("vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 25\n", False),
        ("Intel64 Family 6 Model 140 Stepping 1, GenuineIntel", False),
        ("", False),
    ],
    ids=["Linux", "Windows", "Zen 5", "Intel", "Intel, Windows", "not told"],
)
def test_zen4_is_known_by_its_family(name, zen4):
    assert winograd.names_zen4(name) == zen4


def test_without_nnpack_the_convolution_is_pytorchs_own(monkeypatch, narrow_vectors):
    monkeypatch.setattr(torch.backends.nnpack, "is_available", lambda: False)
    x, weight = random(1, 64, 20, 20), random(64, 64, 3, 3, seed=1)
    assert torch.equal(convolve(x, weight, padding=1), F.conv2d(x, weight, padding=1))


@needs_nnpack
def test_first_and_second_derivatives_are_those_of_pytorch_in_double_precision(monkeypatch, narrow_vectors):
    monkeypatch.setattr(convolution, "SMALL", 0)
    used, original = [], torch._nnpack_spatial_convolution
    monkeypatch.setattr(torch, "_nnpack_spatial_convolution", lambda *args: used.append(args) or original(*args))
    ours, theirs = Convolution(64, 72, 3), nn.Conv2d(64, 72, 3).double()
    with torch.no_grad():
        ours.weight.copy_(random(72, 64, 3, 3, seed=1) / 20)
        ours.bias.zero_()
    theirs.load_state_dict(ours.state_dict())
    x = random(2, 64, 19, 23)
    found = penalty_gradients(ours, x.requires_grad_())
    expected = penalty_gradients(theirs, x.detach().double().requires_grad_())
    # for each picture: forward, the slope, and of the second derivative by the output's gradient and by the picture
    assert len(used) == 4 * len(x)
    for own, exact in zip(found[1:], expected[1:], strict=True):
        assert error(own, exact) < 1e-3
    assert found[0].item() == pytest.approx(expected[0].item(), abs=0.05)  # of 51,408 terms


@needs_nnpack
def test_the_same_bits_again_and_with_any_number_of_threads(narrow_vectors):
    x, weight, threads = random(1, 64, 70, 90), random(64, 64, 3, 3, seed=1), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            results.append(convolve(x, weight))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results[1:])
