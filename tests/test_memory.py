"""Memory that a step keeps, and that is given back to the system."""

import platform
from pathlib import Path

import pytest
import torch

from singan_core.losses import gradient_penalty
from singan_core.memory import kept_for_backward, release_free_memory
from singan_core.networks import Discriminator

PIECES, BYTES = 2000, 100_000


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked for it")
def test_freed_memory_between_tensors_in_use_goes_back_to_the_system():
    pieces = [torch.ones(BYTES, dtype=torch.uint8) for _ in range(PIECES)]
    kept = pieces[::10]  # so that what is freed lies between pieces in use
    del pieces
    before = resident()
    release_free_memory(torch.device("cpu"))
    assert before - resident() > 0.7 * PIECES * BYTES  # 0.9 were freed; whole pages go back
    assert all(piece.sum() == BYTES for piece in kept)


def test_what_is_kept_is_what_the_backward_pass_needs():
    weight, x = torch.ones(4, 6, requires_grad=True), torch.ones(10, 6)
    assert kept_for_backward(lambda: (x @ weight.T).sum()) == 4 * x.numel()  # x does not need a gradient, weight does
    exponential = 4 * weight.numel()  # one output, kept by two steps, counts once
    assert kept_for_backward(lambda: weight.exp().square().sum()) == exponential
    with torch.no_grad():
        assert kept_for_backward(lambda: weight.exp().sum()) == 0


def test_a_critics_step_keeps_memory_in_proportion_to_the_pixels():
    """Four times the pixels, about four times the memory: weights and borders are the rest."""
    critic = Discriminator(16, 5)
    for network in critic.parameters():
        network.data.normal_(0, 0.02)

    def step(side: int) -> torch.Tensor:
        real, fake = torch.rand(2, 1, 3, side, side)
        return critic(real).mean() + gradient_penalty(critic, real, fake, torch.tensor(0.5))

    small, large = (kept_for_backward(lambda side=side: step(side)) for side in (64, 128))
    assert 3.8 < large / small < 5.0
