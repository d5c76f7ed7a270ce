"""Memory that is kept at hand, and given back to the system."""

import platform
import resource
from pathlib import Path

import pytest
import torch

from singan_core.memory import keep_free_memory, release_free_memory

PIECES, BYTES = 2000, 100_000


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked for it")


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@only_glibc
def test_freed_memory_between_tensors_in_use_goes_back_to_the_system():
    pieces = [torch.ones(BYTES, dtype=torch.uint8) for _ in range(PIECES)]
    kept = pieces[::10]  # so that what is freed lies between pieces in use
    del pieces
    before = resident()
    release_free_memory(torch.device("cpu"))
    assert before - resident() > 0.7 * PIECES * BYTES  # 0.9 were freed; whole pages go back
    assert all(piece.sum() == BYTES for piece in kept)


@only_glibc
def test_a_large_map_takes_the_pages_of_the_one_before():
    keep_free_memory(torch.device("cpu"))
    side = 64 * 2**20
    faults = [page_faults()]
    for _ in range(10):
        torch.ones(side, dtype=torch.uint8)
        faults.append(page_faults())
    assert faults[-1] - faults[-6] < side // resource.getpagesize(), "not even those of one map"
    full = resident()
    release_free_memory(torch.device("cpu"))
    assert full - resident() > 0.9 * side
