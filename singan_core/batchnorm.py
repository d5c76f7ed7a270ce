"""Batch norm whose gradient is cheap to differentiate again, which the gradient penalty does in every step.

Function and kernels are PyTorch's own. Ours is the second derivative, in seven passes over the feature maps where
PyTorch's takes about thirty, a quarter of the training time.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_native_backward = torch.ops.aten.native_batch_norm_backward


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d`: the same parameters, statistics and numbers, with a faster second derivative (not a third)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised (N, C, H, W): by the statistics of x itself in training, by the running ones otherwise."""
        if not self.training:
            return super().forward(x)
        statistics = self.running_mean, self.running_var, self.momentum, self.eps
        return _Normalize.apply(x, self.weight, self.bias, *statistics)


@contextlib.contextmanager
def counting_twice(network: nn.Module) -> Iterator[None]:
    """One pass through the network in place of two of the same images: the running statistics move as by both."""
    momenta = {module: module.momentum for module in network.modules() if isinstance(module, BatchNorm)}
    for norm, momentum in momenta.items():
        norm.momentum = 1 - (1 - momentum) ** 2
    try:
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum


class _Normalize(torch.autograd.Function):
    """y = weight * xh + bias, where xh = (x - mean) / std, with mean and std over all axes but the channels."""

    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, momentum, eps):
        y, mean, inverse_std = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)
        ctx.save_for_backward(x, weight, mean, inverse_std)
        return y

    @staticmethod
    def backward(ctx, grad):
        return *_NormalizeBackward.apply(grad, *ctx.saved_tensors), None, None, None, None


class _NormalizeBackward(torch.autograd.Function):
    """The gradients of x, weight and bias, given y's gradient g. With averages <.> over all axes but the channels:

    grad x = weight / std * (g - <g> - xh <g xh>),   grad weight = sum of g xh,   grad bias = sum of g
    """

    @staticmethod
    def forward(ctx, g, x, weight, mean, inverse_std):
        ctx.set_materialize_grads(False)
        grads = _backward(g, x, weight, mean, inverse_std)
        ctx.save_for_backward(g, x, weight, mean, inverse_std, *grads)
        return grads

    @staticmethod
    @once_differentiable
    def backward(ctx, v, v_weight, v_bias):
        """Gradients of g, x and weight, given those of grad x (v), grad weight and grad bias (None where unused).

        Of the product of v and grad x, the derivative by g has the form of grad x, with v in place of g, and the
        derivative by x is

            -1 / std * (<g xh> [grad x of v] + <v xh> [grad x of g] + k weight / std xh),
            k = <v g> - <v> <g> - <v xh> <g xh>
        """
        g, x, weight, mean, inverse_std, grad_x, grad_weight, grad_bias = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        to_g = to_x = to_weight = None
        if v is not None:
            to_g, v_xh, v_sum = _backward(v, x, weight, mean, inverse_std)
            v_g = (v * g).sum((0, 2, 3), dtype=mean.dtype)
            k = (v_g - (v_sum * grad_bias + v_xh * grad_weight) / count) / count
            to_weight = count * inverse_std * k
            by_x = -weight * inverse_std**3 * k
            to_x = torch.addcmul(_per_channel(-by_x * mean, x), x, _per_channel(by_x, x))
            to_x.addcmul_(to_g, _per_channel(-inverse_std * grad_weight / count, x))
            to_x.addcmul_(grad_x, _per_channel(-inverse_std * v_xh / count, x))
        if v_weight is not None:
            to_x = _sum(to_x, _backward(g, x, v_weight, mean, inverse_std)[0])
            to_g = _sum(to_g, (x - _per_channel(mean, x)) * _per_channel(inverse_std * v_weight, x))
        if v_bias is not None:
            to_g = _sum(to_g, _per_channel(v_bias, x).expand_as(x))
        return to_g, to_x, to_weight, None, None


def _backward(g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse_std: Tensor) -> tuple[Tensor, ...]:
    # eps is in inverse_std already, and the kernels do not use it where statistics are those of x
    return _native_backward(g, x, weight, None, None, mean, inverse_std, True, 0.0, (True, True, True))


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).view(1, -1, 1, 1)


def _sum(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term
