"""Memory that is given back to the system."""

import platform
from pathlib import Path

import pytest
import torch

from singan_core.memory import release_free_memory

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
