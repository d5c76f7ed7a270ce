"""Convolutions to or from few channels, each as one product of matrices, on a CPU.

A critic's score has one channel and an image three, but PyTorch's kernels compute 8 or 16 channels at a time, so that a
network's last layer takes half as long as a hidden one. With a row for each channel and each of the nine places in the
kernel a product of matrices wastes little.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

FEW = 3
"""Channels up to which this is used: those of an image."""

VALUES = 500_000
"""Numbers of one image in its map of the many channels from which on it pays; below, calls cost what they save."""


def pays(few: int, values: int) -> bool:
    """Whether this is faster than PyTorch's own, by the channels on one side and an image's numbers on the other."""
    return few <= FEW and values >= VALUES


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, bias)`: (N, few, H - k + 1, W - k + 1) from (N, C, H, W) and (few, C, k, k)."""
    few, _, k, _ = weight.shape
    height, width = x.shape[2:]
    products = _products(x, weight.permute(2, 3, 0, 1))
    plane = height * width
    size = (few, height - k + 1, width - k + 1)
    total = _sum_of_shifts(products.as_strided((len(x), k, k, *size), _strides(k, few, plane, width, 1)))
    if bias is not None:
        total += bias.view(-1, 1, 1)
    return total.to(x.dtype)


def gradient_of_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Of a convolution of few channels, (N, few, H, W), by (C, few, k, k), given that of its output (N, C, h, w)."""
    _, few, k, _ = weight.shape
    edge = k - 1
    products = F.pad(_products(grad, weight.permute(2, 3, 1, 0)), (edge, edge, edge, edge))
    height, width = products.shape[2:]
    plane = height * width
    size = (few, height - edge, width - edge)
    last = edge * width + edge
    shifts = products.as_strided((len(grad), k, k, *size), _strides(k, few, plane, width, -1), last)
    return _sum_of_shifts(shifts).to(grad.dtype)


def gradient_of_weight(grad: Tensor, x: Tensor) -> Tensor:
    """Of a convolution to few channels, (few, C, k, k), given that of its output (N, few, h, w) and its input x."""
    few, k = grad.shape[1], x.shape[2] - grad.shape[2] + 1
    edge = k - 1
    grad = F.pad(grad.contiguous(), (edge, edge, edge, edge))
    (height, width), (rows, columns) = x.shape[2:], grad.shape[2:]
    plane = rows * columns
    windows = grad.as_strided((len(x), k, k, few, height, width), (few * plane, columns, 1, plane, columns, 1))
    pairs = zip(windows.reshape(len(x), k * k * few, height * width), x, strict=True)
    total = sum(each @ maps.flatten(1).T for each, maps in pairs)
    # the window of a pixel of x begins with the output that sees it last
    return total.view(k, k, few, x.shape[1]).flip(0, 1).permute(2, 3, 0, 1)


def _products(maps: Tensor, weight: Tensor) -> Tensor:
    """The maps (N, C, H, W) times the weights (k, k, few, C): (N, k * k * few, H, W)."""
    matrix = weight.flatten(0, 2)
    found = [(matrix @ each.flatten(1)).view(-1, *each.shape[1:]) for each in maps]
    return found[0][None] if len(found) == 1 else torch.stack(found)


def _strides(k: int, few: int, plane: int, width: int, sign: int) -> tuple[int, ...]:
    """Of products as (N, row in the kernel, column in it, few, height, width), each place shifted by itself."""
    row = k * few * plane
    return k * row, row + sign * width, few * plane + sign, plane, width, 1


def _sum_of_shifts(shifts: Tensor) -> Tensor:
    """The sum over the places in the kernel of (N, k, k, few, H, W), in float32 at least.

    Written as additions: PyTorch's `sum` over these strides takes up to ten times as long.
    """
    rows = shifts[:, 0].to(torch.promote_types(shifts.dtype, torch.float32), copy=True)
    for row in range(1, shifts.shape[1]):
        rows += shifts[:, row]
    total = rows[:, 0] + rows[:, 1]
    for column in range(2, shifts.shape[2]):
        total += rows[:, column]
    return total
