"""How good a trained pyramid is: one set of measures for notebooks, benchmarks and the pyramids that are shipped."""

from collections.abc import Iterable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from singan_core.errors import SinGANError
from singan_core.features import RandomFilterBank
from singan_core.images import check_image
from singan_core.metrics import (
    diversity,
    psnr,
    single_image_frechet,
    sliced_wasserstein,
    sliced_wasserstein_levels,
)
from singan_core.model import SinGAN


class Quality(NamedTuple):
    """Distances of random samples to the photograph, how far they differ, and how well the photograph is rebuilt.

    sliced_wasserstein, frechet: see `metrics`; lower is nearer, 0 for the photograph itself. frechet_features: what the
    Fréchet distance is over. diversity: 0 for equal samples. reconstruction_psnr: in dB.
    """

    sliced_wasserstein: float
    frechet: float
    frechet_features: str
    diversity: float
    reconstruction_psnr: float


def measure(model: SinGAN, real: Tensor, *, samples: int = 20, seed: int = 1) -> Quality:
    """The quality of a pyramid against the photograph at the trained size, (1, 3, H, W), from so many samples.

    A distance without the diversity says little: a copy of the photograph has the smallest distance. The Fréchet
    distance is over random filters, which are at hand everywhere. Raises SinGANError for a photograph of another size.
    """
    drawn, real = model.sample(samples, seed=seed), real.to(model.device).float()
    frechet = single_image_frechet(drawn, real, RandomFilterBank())
    return Quality(
        sliced_wasserstein(drawn, real),
        frechet.value,
        frechet.features,
        diversity(drawn, real),
        psnr(model.reconstruct(), real),
    )


def patch_distances(batches: Iterable[Tensor], real: Tensor) -> dict[str, list[float]]:
    """Distances of batches (n, 3, H, W) to a photograph (1, 3, h, w), one value for each batch, by name.

    `patch distance`: the sliced Wasserstein distance. `structure distance`: its coarsest level alone, of pictures that
    are reduced to a quarter where they are large enough. `texture distance`: its finest level alone. Raises SinGANError
    as `metrics.sliced_wasserstein_levels` does.
    """
    levels = [sliced_wasserstein_levels(batch, real) for batch in batches]
    return {
        "patch distance": [sum(each) / len(each) for each in levels],
        "structure distance": [each[0] for each in levels],
        "texture distance": [each[-1] for each in levels],
    }


def high_pass_distances(batches: Iterable[Tensor], real: Tensor, *, projections: int = 128) -> list[float]:
    """Distances in texture of batches (n, 3, H, W) to a photograph (1, 3, h, w), one value for each batch.

    The sliced Wasserstein distance of the finest level alone, of pictures without the mean colour of the 7 x 7 pixels
    around each pixel. Raw patches, as in `patch_distances`, also tell how much sky and how much meadow there is: a part
    of a photograph is far from the whole by those, and near by these. Raises SinGANError as
    `metrics.sliced_wasserstein_levels` does.
    """
    wanted = _high_pass(real)
    return [
        2 * sliced_wasserstein_levels(_high_pass(batch), wanted, levels=1, projections=projections)[0]
        for batch in batches
    ]


def _high_pass(pictures: Tensor) -> Tensor:
    """Half of what pictures differ from the mean of the 7 x 7 pixels around each: within [-1, 1] like a picture."""
    height, width = check_image(pictures).shape[-2:]
    if min(height, width) < 7:
        raise SinGANError(f"Images of {height}x{width} px hold no patch of 7x7 px.")
    return (pictures - F.avg_pool2d(F.pad(pictures, (3,) * 4, mode="reflect"), 7, stride=1)) / 2
