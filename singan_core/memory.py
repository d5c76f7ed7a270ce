"""Memory: how much a training step keeps, and what is free again given back to the system."""

import ctypes
import sys
from collections.abc import Callable

import torch
from torch import Tensor


def release_free_memory(device: torch.device) -> None:
    """Give back what was freed on the device, and on Linux in the process.

    glibc keeps freed memory in pieces, and a training that goes from size to size leaves many that no later tensor fits
    into: without this the process takes up to twice as much. It takes milliseconds and is called twice per level.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # other C libraries than glibc have no such function
            trim(0)


def kept_for_backward(compute: Callable[[], Tensor]) -> int:
    """Bytes of all tensors that autograd keeps until it has gone back through the result of compute().

    Outputs of layers and, where they need gradients, weights; memory that is used by several is counted once. So it is
    the same on every device. What a computation takes and gives back on its way comes on top at the peak.
    """
    kept: dict[int, tuple[Tensor, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = tensor.detach(), storage.nbytes()  # in use, so that no other tensor gets its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    return sum(count for _, count in kept.values())
