"""Convolution with faster gradients for large maps: of its weights, and second ones, which the gradient penalty needs.

PyTorch's second derivative convolves with kernels of the size of the image, and takes three times as long as the two
convolutions that it comes to; and on a CPU the gradient of the weights of maps that outgrow the caches takes up to
three times as long in one piece as in bands. The convolutions themselves are PyTorch's own, `narrow` or `winograd`.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from singan_core import narrow, winograd

BAND = 4 * 2**20
"""Bytes of the input that one band of rows has at most, on a CPU."""

SMALL = 4e7
"""An image's pixels times the square of the wider side's channels below which, on a CPU, Python costs what is won."""


class Convolution(nn.Conv2d):
    """`nn.Conv2d`, with a bias, without stride and padding: the same numbers, with faster gradients (not a third)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, out, H - k + 1, W - k + 1) from (N, in, H, W), for kernels k x k."""
        return convolve(x, self.weight, self.bias)


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.conv2d(x, weight, bias)`, with faster gradients: (N, out, H - k + 1, W - k + 1) from (N, in, H, W)."""
    pixels, (few, many), kind = x.shape[2] * x.shape[3], sorted(weight.shape[:2]), x.device.type
    if kind == "cpu" and pixels * many**2 < SMALL and not narrow.pays(few, many, pixels):
        return F.conv2d(x, weight, bias)
    # a function of one's own has to see to autocast itself
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    return _Convolve.apply(x.to(dtype), weight.to(dtype), bias.to(dtype))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return (
            _GradientOfInput.apply(grad, x, weight) if _wanted(ctx, 0) else None,
            _GradientOfWeight.apply(grad, x, weight) if _wanted(ctx, 1) else None,
            grad.sum((0, 2, 3)) if _wanted(ctx, 2) else None,
        )


class _GradientOfInput(torch.autograd.Function):
    """Linear in the output's gradient and in the weights; of x it needs the size alone."""

    @staticmethod
    def forward(ctx, grad, x, weight):
        ctx.save_for_backward(grad, weight)
        return _gradient_of_input(grad, x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, v):
        grad, weight = ctx.saved_tensors
        return (
            _convolve(v, weight) if _wanted(ctx, 0) else None,
            None,
            _gradient_of_weight(grad, v, weight) if _wanted(ctx, 2) else None,
        )


class _GradientOfWeight(torch.autograd.Function):
    """Linear in the output's gradient and in the input; of the weights it needs the size alone."""

    @staticmethod
    def forward(ctx, grad, x, weight):
        ctx.save_for_backward(grad, x)
        return _gradient_of_weight(grad, x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, v):
        grad, x = ctx.saved_tensors
        return (
            _convolve(x, v) if _wanted(ctx, 0) else None,
            _gradient_of_input(grad, x, v) if _wanted(ctx, 1) else None,
            None,
        )


def _narrow(few: int, wide: Tensor) -> bool:
    return wide.device.type == "cpu" and narrow.pays(few, wide.shape[1], wide.shape[2] * wide.shape[3])


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if _narrow(weight.shape[0], x):
        return narrow.convolve(x, weight, bias)
    return winograd.convolve(x, weight, bias)


def _gradient_of_input(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    if _narrow(weight.shape[1], grad):
        return narrow.gradient_of_input(grad, weight)
    if winograd.pays(grad, weight):
        return winograd.convolve(grad, weight.flip(2, 3).transpose(0, 1), padding=weight.shape[-1] - 1)
    return _gradients(grad, x, weight, (True, False, False))[0]


def _gradient_of_weight(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    if _narrow(weight.shape[0], x):
        return narrow.gradient_of_weight(grad, x)
    rows, halo = grad.shape[2], x.shape[2] - grad.shape[2]
    bands = 1 if x.is_cuda else min(rows, -(-x.numel() * x.element_size() // BAND))
    if bands == 1:
        return _gradients(grad, x, weight, (False, True, False))[1]
    total = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
    edges = [rows * band // bands for band in range(bands + 1)]
    for top, bottom in itertools.pairwise(edges):
        total += _gradients(grad[:, :, top:bottom], x[:, :, top : bottom + halo], weight, (False, True, False))[1]
    return total.to(weight.dtype)


def _gradients(grad: Tensor, x: Tensor, weight: Tensor, which: tuple[bool, ...]) -> tuple[Tensor, ...]:
    return torch.ops.aten.convolution_backward(grad, x, weight, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, which)


def _wanted(ctx, number: int) -> bool:
    """Whether somebody wants this gradient in the backward pass that runs; ctx alone tells what could be wanted."""
    if not ctx.needs_input_grad[number]:
        return False
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[number][0])
    except RuntimeError:  # refused where it is a leaf whose gradient `autograd.grad` was asked for
        return True
