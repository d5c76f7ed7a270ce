"""Memory that is free again: kept at hand for the next maps, and given back to the system between levels."""

import ctypes
import sys
from typing import Any

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of glibc's malloc.h

LARGE = 2**20
"""Bytes of a tensor that has pages of its own after `release_free_memory`."""


def keep_free_memory(device: torch.device) -> None:
    """Let the process keep what it frees, for its next tensors; on Linux, on a CPU, until `release_free_memory`.

    glibc takes the pages of large maps from the system, which clears them first, and gives them back as soon as the map
    is free: an iteration with maps of more than 32 MiB takes twice as long, and a picture a tenth longer.
    """
    set_option = _of_glibc("mallopt")
    if device.type == "cpu" and set_option is not None:
        set_option(_MMAP_MAX, 0)
        set_option(_TRIM_THRESHOLD, 2**31 - 1)


def release_free_memory(device: torch.device) -> None:
    """Give back what was freed on the device, and on Linux in the process, and from now on what large tensors free.

    glibc keeps freed memory in pieces, and a training that goes from size to size leaves many that no later tensor fits
    into: without this the process takes up to twice as much. It takes milliseconds and is called twice per level. What
    follows a level's iterations works on the whole image, once: it would scatter the pieces anew, so each large tensor
    has pages of its own there.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    set_option, trim = _of_glibc("mallopt"), _of_glibc("malloc_trim")
    if set_option is not None and trim is not None:
        set_option(_MMAP_THRESHOLD, LARGE)
        set_option(_MMAP_MAX, 2**16)
        trim(0)


def _of_glibc(name: str) -> Any:
    """A function of the C library; None where that is another one and has no such function."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
