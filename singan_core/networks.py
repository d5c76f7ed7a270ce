"""Generator and discriminator of one scale: five 3x3 convolutions each, fully convolutional, receptive field 11."""

import itertools
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from singan_core import winograd
from singan_core.batchnorm import BatchNorm
from singan_core.convolution import Convolution, convolve

SLOPE = 0.2
"""Of the leaky rectifiers, below zero (paper, section 2.1)."""


def receptive_field(layers: int) -> int:
    """Side in pixels of the patch that one output pixel of `layers` 3x3 convolutions sees: 11 for five layers."""
    return 2 * layers + 1


def pad(image: Tensor, margin: int) -> Tensor:
    """Zeros around (N, C, H, W), `margin` pixels on each side: what the unpadded convolutions will take off."""
    return F.pad(image, (margin, margin, margin, margin))


def conv_block(in_channels: int, kernels: int) -> nn.Sequential:
    """Conv(3x3) - BatchNorm - LeakyReLU(0.2) (paper, section 2.1), without padding."""
    conv = nn.utils.skip_init(Convolution, in_channels, kernels, 3)
    # The authors train this bias, but batch norm takes it out again: its gradient is zero but for rounding errors,
    # which Adam scales up to full steps. Left alone, it changes nothing that is learned, and trainings that differ by
    # rounding alone stay together.
    conv.bias.requires_grad_(False)
    return nn.Sequential(
        conv,
        BatchNorm(kernels),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


class Generator(nn.Module):
    """The generator G_n of one scale: adds the detail that its scale has over the next coarser one.

    x_n = (x_{n-1})^r + psi_n(z_n + (x_{n-1})^r)   (paper, equation 3, with scale 0 the coarsest)

    kernels: width of every hidden layer. layers: number of 3x3 convolutions, at least 2. residual: add the previous
    image to the output of psi_n (the paper's design); without it psi_n has to paint the whole image.
    """

    def __init__(self, kernels: int, layers: int = 5, residual: bool = True):
        super().__init__()
        self.residual = residual
        self.margin = layers
        self.head = conv_block(3, kernels)
        self.body = nn.Sequential(*(conv_block(kernels, kernels) for _ in range(layers - 2)))
        self.tail = nn.Sequential(nn.utils.skip_init(Convolution, kernels, 3, 3), nn.Tanh())

    def forward(self, noise: Tensor, previous: Tensor) -> Tensor:
        """Image (N, 3, H, W) from noise (already multiplied by its amplitude) and the upsampled previous image.

        Both inputs are padded: (N, 1 or 3, H + 2 * margin, W + 2 * margin); margin = layers. The sum is not clamped.
        The image has the inputs' type also where the network computes in another one.
        """
        inputs = noise + previous
        detail = self.tail(self.body(self.head(inputs))).to(inputs.dtype)
        return _added(detail, previous, self.margin) if self.residual else detail


class Discriminator(nn.Module):
    """The Markovian discriminator D_n of one scale: a WGAN critic that scores every overlapping patch of an image."""

    def __init__(self, kernels: int, layers: int = 5):
        super().__init__()
        self.head = conv_block(3, kernels)
        self.body = nn.Sequential(*(conv_block(kernels, kernels) for _ in range(layers - 2)))
        self.tail = nn.utils.skip_init(Convolution, kernels, 1, 3)

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, 1, H - 2 * layers, W - 2 * layers) of the patches of (N, 3, H, W); higher means more real."""
        return self.tail(self.body(self.head(image)))


def _added(detail: Tensor, previous: Tensor, margin: int) -> Tensor:
    return detail + previous[..., margin:-margin, margin:-margin]


class FoldedGenerator:
    """A finished generator with batch norm folded into the convolutions: the same images in less time.

    Equal up to rounding, and only for drawing: what `eval` gives, with copies of the weights as they are now. It takes
    a tenth of a millisecond a layer to make, so that whoever draws a single picture does not wait for it.

    dtype: what it computes in, whatever the inputs are.
    """

    @torch.no_grad()
    def __init__(self, generator: Generator, dtype: torch.dtype):
        self.residual, self.margin, self.dtype = generator.residual, generator.margin, dtype
        tail = generator.tail[0]
        layout = memory_format(tail.weight.device, tail.in_channels, dtype, training=False)
        weights = [_folded(*block[:2]) for block in (generator.head, *generator.body)] + [(tail.weight, tail.bias)]
        self.layers = [
            (weight.detach().to(dtype, memory_format=layout, copy=True), bias.detach().to(dtype, copy=True))
            for weight, bias in weights
        ]

    def __call__(self, noise: Tensor, previous: Tensor) -> Tensor:
        """What `Generator.forward` gives, in the type of the inputs."""
        inputs = noise + previous
        hidden, (*hidden_layers, last) = inputs.to(self.dtype), self.layers
        for weight, bias in hidden_layers:
            hidden = F.leaky_relu(convolve(hidden, weight, bias), SLOPE, inplace=True)
        detail = convolve(hidden, *last).tanh().to(inputs.dtype)
        return _added(detail, previous, self.margin) if self.residual else detail


def _folded(conv: Convolution, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    return fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)


def memory_format(device: torch.device, kernels: int, dtype: torch.dtype, training: bool) -> torch.memory_format:
    """The order in memory in which networks of so many kernels, computed in this type, and their images are fastest.

    Channels last on a GPU and on processors with vectors of 512 bits. With those of 256 bits the gradients of weights
    take two to five times as long so, and all else as long as channel by channel; others have not been measured. What
    Winograd's algorithm convolves has to lie channel by channel.
    """
    wide = device.type == "cuda" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    last = wide and not winograd.convolves(device, kernels, dtype, training)
    return torch.channels_last if last else torch.contiguous_format


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; without them it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch.cpu has no public question for it yet
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in names)


@torch.no_grad()
def measure_statistics(generator: Generator, inputs: Iterable[Tensor], side: int = 128) -> None:
    """Set the running statistics of batch norm to those of whole images, as one pass over each in training would.

    inputs: sums of noise and previous image, (1, 3, H + 2 * margin, W + 2 * margin) each, taken one after the other;
    over them the statistics are averaged. Layer by layer and in tiles of side * side pixels, so that the memory it
    needs does not grow with the image.
    """
    blocks = [generator.head, *generator.body]
    found = []
    for image in inputs:
        for depth, block in enumerate(blocks):
            halo = 2 * (depth + 1)
            height, width = image.shape[-2] - halo, image.shape[-1] - halo
            sums = torch.zeros(2, block[0].out_channels, dtype=torch.float64, device=image.device)
            for top, left in itertools.product(range(0, height, side), range(0, width, side)):
                features = image[..., top : top + side + halo, left : left + side + halo]
                for earlier in blocks[:depth]:
                    features = earlier.eval()(features)
                features = block[0](features)
                sums += torch.stack([features.sum((0, 2, 3)), features.square().sum((0, 2, 3))])
            mean, square = sums / (height * width)
            variance = square - mean.square()
            block[1].running_mean.copy_(mean)
            block[1].running_var.copy_(variance)  # what the pass itself normalises by; kept is the unbiased estimate
            found.append((mean, variance * (height * width / (height * width - 1))))
    for depth, block in enumerate(blocks):
        means, variances = zip(*found[depth :: len(blocks)], strict=True)
        block[1].running_mean.copy_(sum(means) / len(means))
        block[1].running_var.copy_(sum(variances) / len(variances))


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimizer gets."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@torch.no_grad()
def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """Draw fresh weights as the authors do: conv N(0, 0.02), batch norm N(1, 0.02) with bias 0.

    Convolution biases keep PyTorch's default, U(-1, 1) / sqrt(fan in): the authors do not set them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_(0.0, 0.02, generator=rng)
            bound = module.weight[0].numel() ** -0.5
            module.bias.uniform_(-bound, bound, generator=rng)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.normal_(1.0, 0.02, generator=rng)
