"""The training objective (paper, section 2.2 and equation 4): WGAN-GP for the patches, MSE for the reconstruction."""

import torch
from torch import Tensor, nn


def critic_score(discriminator: nn.Module, image: Tensor) -> Tensor:
    """Mean patch score of (N, 3, H, W): the critic's verdict on an image, a scalar; higher means more real.

    The mean is taken in the image's floating-point type, whatever the discriminator computes in.
    """
    return discriminator(image).mean(dtype=image.dtype)


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """How far the critic's slope is from 1, between a real and a fake image (Gulrajani et al. 2017); a scalar.

    real, fake: (N, 3, H, W) without graph. mix: scalar tensor in [0, 1], where between the two the slope is taken.
    As in the authors' code the norm is taken per pixel over the channels, then (norm - 1)^2 is averaged: on purpose,
    every pixel's slope is held near 1, not that of the image as one vector.
    """
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return (slope.norm(2, dim=1) - 1).square().mean()
