"""Zero-shot super-resolution: a network learns to enlarge a picture from the picture alone (Shocher et al. 2018).

What the picture loses when it is reduced once more, the network learns to bring back; then it is given the picture.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singan_core.applications.super_resolution import enlarged_size
from singan_core.arguments import checked_seed, is_whole
from singan_core.errors import SinGANError
from singan_core.pyramid import resize

SMALLEST_SHARE = 0.7
"""Smallest share to which the picture is reduced before it serves as a goal: its patches come in other sizes, too."""
BACK_PROJECTIONS = 10


class Residual(nn.Module):
    """Convolutions of 3x3 with ReLU that add what a bicubic enlargement (N, 3, H, W) lacks."""

    def __init__(self, kernels: int, layers: int):
        super().__init__()
        widths = [3, *[kernels] * (layers - 1)]
        blocks = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()) for a, b in pairwise(widths)]
        self.layers = nn.Sequential(*blocks, nn.Conv2d(kernels, 3, 3, padding=1))
        nn.init.zeros_(self.layers[-1].weight)  # so that it starts as the bicubic enlargement
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, enlarged: Tensor) -> Tensor:
        return enlarged + self.layers(enlarged)


@torch.inference_mode(False)
@torch.enable_grad()
def zero_shot_super_resolution(
    image: Tensor,
    factor: float,
    *,
    iterations: int = 1000,
    kernels: int = 64,
    layers: int = 8,
    crop: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Tensor:
    """Enlarge an image (1, 3, H, W) in [-1, 1] by `factor`: (1, 3, round(factor * H), round(factor * W)) in [-1, 1].

    In each step the image, reduced by a random factor, turned and mirrored, is the goal, and what `resize` leaves of
    it at 1 / factor of its size the input; the loss is the mean absolute error in a window of `crop` px. The rate falls
    by ten after 60 % and 85 % of the iterations. The result is the median over the eight ways to turn and mirror the
    image, brought into line with it by back-projection. kernels, layers: the authors' 64 and 8. They enlarge by
    large factors in several steps and let the loss decide when the rate falls.

    Raises SinGANError for values out of range, an image that is too small to be reduced, and anything else than one.
    """
    enlarged_size(image, factor)
    for name, value in (("iterations", iterations), ("kernels", kernels), ("layers", layers), ("crop", crop)):
        if not is_whole(value) or value < 1 + (name == "layers"):
            raise SinGANError(f"{name} must be a whole number from {1 + (name == 'layers')} on, got {value!r}.")
    seed = checked_seed(seed)
    if SMALLEST_SHARE * min(image.shape[-2:]) < 2 * factor:
        raise SinGANError(
            f"An image of {image.shape[-1]}x{image.shape[-2]} px leaves nothing to learn from at factor={factor:g}: "
            "take a larger one or a smaller factor."
        )
    image = image.detach().clone()
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Residual(kernels, layers).to(image)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    milestones = [round(0.6 * iterations), round(0.85 * iterations)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)
    for _ in range(iterations):
        given, goal = _windows(*_pair(image, factor, rng), crop, rng)
        loss = F.l1_loss(network(given), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        ways = []
        for turns in range(4):
            for mirrored in (False, True):
                way = _turned(image, turns, mirrored)
                drawn = network(resize(way, enlarged_size(way, factor)))
                ways.append(_turned_back(drawn, turns, mirrored))
        median = torch.stack(ways).sort(dim=0).values[3:5].mean(dim=0)  # of eight, the mean of the middle two
        return back_projected(median, image)


def back_projected(enlarged: Tensor, image: Tensor) -> Tensor:
    """An enlarged image (1, 3, H, W), corrected until, reduced again, it is nearly the image (1, 3, h, w).

    What the reduced result lacks is enlarged and added, ten times. Source: Irani and Peleg 1991.
    """
    size, own = tuple(enlarged.shape[-2:]), tuple(image.shape[-2:])
    for _ in range(BACK_PROJECTIONS):
        # halved, because resize clamps to [-1, 1] and a difference may reach 2
        enlarged = enlarged + 2 * resize((image - resize(enlarged, own)) / 2, size)
    return enlarged.clamp(-1, 1)


def _pair(image: Tensor, factor: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A goal made from the image, and what is left of it after it was reduced by `factor` and enlarged again."""
    share = SMALLEST_SHARE + (1 - SMALLEST_SHARE) * torch.rand((), generator=rng).item()
    turns, mirrored = (int(torch.randint(most, (), generator=rng)) for most in (4, 2))
    goal = _turned(image, turns, bool(mirrored))
    goal = resize(goal, _scaled(goal, share))
    return resize(resize(goal, _scaled(goal, 1 / factor)), tuple(goal.shape[-2:])), goal


def _windows(given: Tensor, goal: Tensor, crop: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same random window of at most crop * crop pixels of both."""
    starts = [int(torch.randint(max(side - crop, 0) + 1, (), generator=rng)) for side in goal.shape[-2:]]
    window = (..., *(slice(start, start + crop) for start in starts))
    return given[window], goal[window]


def _turned(image: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = image.rot90(turns, (-2, -1))
    return turned.flip(-1) if mirrored else turned


def _turned_back(image: Tensor, turns: int, mirrored: bool) -> Tensor:
    return (image.flip(-1) if mirrored else image).rot90(-turns, (-2, -1))


def _scaled(image: Tensor, ratio: float) -> tuple[int, int]:
    return max(1, round(ratio * image.shape[-2])), max(1, round(ratio * image.shape[-1]))
