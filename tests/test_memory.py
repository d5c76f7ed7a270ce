"""Memory that is kept at hand, and given back to the system."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from singan_core.images import data_folder
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


FREE = """
from pathlib import Path
import torch
from singan_core.memory import keep_free_memory, release_free_memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

def part_left(size):  # of a map that is freed below another one in use
    before = resident()
    freed, used = torch.ones(size, dtype=torch.uint8), torch.ones(size, dtype=torch.uint8)
    del freed
    return (resident() - before - size) / size

cpu, mebibyte = torch.device("cpu"), 2**20
part_left(mebibyte)  # the code for it is read from the disk, which takes memory, too
for setting, size in ((release_free_memory, 16), (keep_free_memory, 16), (release_free_memory, 64)):  # fits no hole
    setting(cpu)
    print(part_left(size * mebibyte))
"""


@only_glibc
def test_once_memory_is_released_a_large_tensor_gives_its_own_back():
    found = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True)
    released, kept, released_again = (float(part) for part in found.stdout.split())
    assert kept > 0.9
    assert released < 0.1
    assert released_again < 0.1


DRAW = """
import resource, statistics
from singan_core import SinGAN

model = SinGAN.load({path!r}, device="cpu")
faults = []
for _ in range(6):
    model.sample(8)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(statistics.median_low([faults[number + 1] - faults[number] for number in range(2, 5)]))
"""


@only_glibc
@pytest.mark.system
def test_pictures_are_drawn_into_the_memory_of_those_before():
    path = next(iter(sorted((data_folder() / "pretrained").glob("*.safetensors"))))
    command, threads = [sys.executable, "-c", DRAW.format(path=str(path))], {"OMP_NUM_THREADS": "2"}
    found = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True)
    assert int(found.stdout) < 1000, found.stderr  # a few, and ten thousand where every map takes new pages
