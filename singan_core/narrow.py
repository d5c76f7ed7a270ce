"""Convolutions to or from few channels, each as one product of matrices, on a CPU.

A critic's score has one channel and an image three, but PyTorch's kernels compute 8 or 16 channels at a time, so that a
network's last layer takes half as long as a hidden one. With a row for each channel and each place in the kernel a
product of matrices wastes little.
"""

import itertools

import torch
from torch import Tensor

FEW = 3
"""Channels up to which this is used: those of an image."""

MANY = 16
"""Channels from which on it pays on the other side, for sums over the places in the kernel cost the same for fewer."""

VALUES = 500_000
"""Numbers of one image in its map of the many channels from which on it pays; below, calls cost what they save."""


def pays(few: int, many: int, pixels: int) -> bool:
    """Whether this is faster than PyTorch's own, for so many channels on the two sides and pixels in an image."""
    return few <= FEW and many >= MANY and pixels * many >= VALUES


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, bias)`: (N, few, H - k + 1, W - k + 1) from (N, C, H, W) and (few, C, k, k)."""
    few, _, k, _ = weight.shape
    height, width = x.shape[2] - k + 1, x.shape[3] - k + 1
    total = _zeros(x, few, height, width)
    for (row, column), product in _products(x, weight.permute(2, 3, 0, 1)):
        total += product[..., row : row + height, column : column + width]
    if bias is not None:
        total += bias.view(-1, 1, 1)
    return total.to(x.dtype)


def gradient_of_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Of a convolution of few channels, (N, few, H, W), by (C, few, k, k), given that of its output (N, C, h, w)."""
    _, few, k, _ = weight.shape
    height, width = grad.shape[2:]
    total = _zeros(grad, few, height + k - 1, width + k - 1)
    for (row, column), product in _products(grad, weight.permute(2, 3, 1, 0)):
        total[..., row : row + height, column : column + width] += product
    return total.to(grad.dtype)


def gradient_of_weight(grad: Tensor, x: Tensor) -> Tensor:
    """Of a convolution to few channels, (few, C, k, k), given that of its output (N, few, h, w) and its input x."""
    few, height, width = grad.shape[1:]
    k = x.shape[2] - height + 1
    shifted = x.new_zeros(len(x), k, k, few, *x.shape[2:])  # for each place in the kernel, over the pixels that it saw
    for row, column in itertools.product(range(k), repeat=2):
        shifted[:, row, column, :, row : row + height, column : column + width] = grad
    pairs = zip(shifted.view(len(x), k * k * few, -1), x, strict=True)
    total = sum(each @ maps.flatten(1).T for each, maps in pairs)
    return total.view(k, k, few, x.shape[1]).permute(2, 3, 0, 1)


def _products(maps: Tensor, weight: Tensor) -> list[tuple[tuple[int, int], Tensor]]:
    """For each place in the kernel, the maps (N, C, H, W) times its weights (few, C) of (k, k, few, C)."""
    k, _, few, _ = weight.shape
    matrix = weight.flatten(0, 2)
    found = [(matrix @ each.flatten(1)).view(k, k, few, *each.shape[1:]) for each in maps]
    every = found[0][None] if len(found) == 1 else torch.stack(found)
    return [((row, column), every[:, row, column]) for row, column in itertools.product(range(k), repeat=2)]


def _zeros(like: Tensor, few: int, height: int, width: int) -> Tensor:
    """To add products up in, in float32 at least."""
    return like.new_zeros(len(like), few, height, width, dtype=torch.promote_types(like.dtype, torch.float32))
