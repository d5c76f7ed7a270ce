"""Super-resolution by Deep Image Prior: the picture that an untrained network finds first (Ulyanov et al. 2018).

A compact version of the authors' hourglass with skip connections; the objective, the noise and the rate are theirs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singan_core.applications.super_resolution import enlarged_size
from singan_core.arguments import checked_seed, is_whole
from singan_core.errors import SinGANError
from singan_core.pyramid import resize

INPUT_CHANNELS, INPUT_RANGE, INPUT_NOISE, SKIP_CHANNELS = 32, 0.1, 0.03, 4
"""The authors' input: uniform noise that stays the same, from 0 to 0.1, and normal noise on top of it in every step."""


class Hourglass(nn.Module):
    """An encoder and decoder with skip connections: (N, 32, H, W) to images (N, 3, H, W) in [-1, 1].

    kernels: width. scales: how often the size is halved; H and W must be multiples of 2 ** scales.
    """

    def __init__(self, kernels: int, scales: int):
        super().__init__()
        self.down, self.skip, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for scale in range(scales):
            channels = kernels if scale else INPUT_CHANNELS
            self.down.append(nn.Sequential(_block(channels, kernels, stride=2), _block(kernels, kernels)))
            self.skip.append(_block(channels, SKIP_CHANNELS, side=1))
            self.up.append(nn.Sequential(_block(kernels + SKIP_CHANNELS, kernels), _block(kernels, kernels, side=1)))
        self.tail = nn.Sequential(nn.Conv2d(kernels, 3, 1), nn.Tanh())

    def forward(self, maps: Tensor) -> Tensor:
        skipped = []
        for down, skip in zip(self.down, self.skip, strict=True):
            skipped.append(skip(maps))
            maps = down(maps)
        for up in reversed(self.up):
            larger = F.interpolate(maps, scale_factor=2, mode="bilinear")
            maps = up(torch.cat([larger, skipped.pop()], dim=1))
        return self.tail(maps)


@torch.inference_mode(False)
@torch.enable_grad()
def deep_image_prior(
    image: Tensor,
    factor: float,
    *,
    iterations: int = 2000,
    kernels: int = 64,
    scales: int = 4,
    learning_rate: float = 0.01,
    seed: int = 0,
) -> Tensor:
    """Enlarge an image (1, 3, H, W) in [-1, 1] by `factor`: (1, 3, round(factor * H), round(factor * W)) in [-1, 1].

    A network that gets noise learns to draw a large picture which, reduced by `resize`, is the image: min over its
    weights of |reduce(f(z)) - image|^2. It draws smooth and repeating things first; after many more iterations also
    what no picture has. iterations: 2000 as the authors. kernels: width, theirs is 128. scales: how often it halves
    the size, at most down to 4 px; theirs is 5.

    Raises SinGANError for values out of range and anything that is not one image.
    """
    height, width = enlarged_size(image, factor)
    for name, value in (("iterations", iterations), ("kernels", kernels), ("scales", scales)):
        if not is_whole(value) or value < 1:
            raise SinGANError(f"{name} must be a whole number from 1 on, got {value!r}.")
    seed = checked_seed(seed)
    if min(height, width) < 4:
        raise SinGANError(f"The result would have {width}x{height} px, too few for a network: enlarge it more.")
    while scales > 1 and min(height, width) < 4 * 2**scales:
        scales -= 1
    image = image.detach().clone()
    rows, columns = (-(-side // 2**scales) * 2**scales for side in (height, width))
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Hourglass(kernels, scales).to(image)
    z = (INPUT_RANGE * torch.rand(1, INPUT_CHANNELS, rows, columns, generator=rng)).to(image)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for _ in range(iterations):
        noise = INPUT_NOISE * torch.randn(z.shape, generator=rng).to(image)
        drawn = network(z + noise)[..., :height, :width]
        loss = F.mse_loss(resize(drawn, tuple(image.shape[-2:])), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return network(z)[..., :height, :width].contiguous()


def _block(channels: int, kernels: int, side: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, kernels, side, stride, padding=side // 2, padding_mode="reflect")
    return nn.Sequential(convolution, nn.BatchNorm2d(kernels), nn.LeakyReLU(0.2))
