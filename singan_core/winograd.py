"""Winograd's convolution (Lavin and Gray, 2016), with a fifth of the products, where that is faster than PyTorch's own.

PyTorch convolves on a CPU with oneDNN, product by product. It also carries NNPACK, which transforms tiles of 8 x 8
pixels so that a 3x3 convolution becomes products of single numbers, but does not use it for a few images at a time.
"""

import functools
import platform
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

KERNELS = 64
"""Channels below which transforming tiles costs more than it saves, in and out."""

KERNELS_BESIDE_ONEDNN = 128
"""The same in training, on processors where oneDNN's gradients of weights are faster channels last."""


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 0) -> Tensor:
    """`F.conv2d(x, weight, bias, padding=padding)`, by Winograd's algorithm where that pays.

    Its rounding errors are ten times those of the direct one: for 128 channels 5e-6 of the output's standard deviation,
    where bfloat16 has 3e-3 (root mean squares).
    """
    if not pays(x, weight):
        return F.conv2d(x, weight, bias, padding=padding)
    weight = weight.contiguous()
    # one by one: NNPACK needs up to twice as long for several images at once
    found = [torch._nnpack_spatial_convolution(each, weight, bias, padding) for each in x.split(1)]
    return found[0] if len(found) == 1 else torch.cat(found)


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether Winograd's algorithm is the faster one for x (N, in, H, W) and a weight (out, in, k, k).

    It is not where x lies channels last: `convolves` says for which networks it should not.
    """
    drawing = convolves(x.device, min(weight.shape[:2]), x.dtype, training=False)
    return drawing and weight.shape[-1] == 3 and x.is_contiguous()


def convolves(device: torch.device, kernels: int, dtype: torch.dtype, training: bool) -> bool:
    """Whether hidden layers of so many kernels are convolved so, where they are computed in this type."""
    beside = training and torch.backends.cpu.get_cpu_capability() == "AVX512"
    enough = kernels >= (KERNELS_BESIDE_ONEDNN if beside else KERNELS)
    return device.type == "cpu" and dtype == torch.float32 and enough and _available()


def _available() -> bool:
    """NNPACK is there, nobody has switched it off, and the processor works in the vectors that it was written for."""
    return (
        _works_in_256_bits()
        and torch._C._get_nnpack_enabled()
        and torch.backends.nnpack.is_available()
        and hasattr(torch, "_nnpack_spatial_convolution")
    )


def _works_in_256_bits() -> bool:
    """Whether vectors of 512 bits, which oneDNN uses and NNPACK does not, are missing or gain nothing.

    AMD's Zen 4 takes them in halves. Others that have them are taken to gain by them: one of Intel's with AMX does at
    64 channels, where Winograd's algorithm takes 1.4 times as long, and not at 128, where it takes 0.8 times as long.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    return capability == "AVX2" or (capability == "AVX512" and _is_zen4())


@functools.cache
def _is_zen4() -> bool:
    try:
        return names_zen4(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore"))
    except OSError:  # not Linux
        return names_zen4(platform.processor())


def names_zen4(name: str) -> bool:
    """Whether a system's description of a processor is one of AMD's family 25, of which Zen 4 alone has 512 bits."""
    return "AuthenticAMD" in name and re.search(r"family\s*:?\s*25\b", name, re.IGNORECASE) is not None
