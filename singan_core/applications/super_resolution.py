"""Super-resolution: the finest level of a pyramid, applied again and again to a growing picture (paper, section 4)."""

import math
from dataclasses import replace

from torch import Tensor

from singan_core.arguments import is_number, is_whole
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.images import check_image, from_array, to_array
from singan_core.model import SinGAN
from singan_core.pyramid import PyramidShape, Size, resize

ALPHA, MIN_SIZE, STEP = 100.0, 18, 2 ** (1 / 3)
"""The authors' settings: weight of the reconstruction, coarsest side in pixels, and about how much a step enlarges."""


def super_resolution_config(config: TrainConfig, factor: float) -> TrainConfig:
    """The settings with which a pyramid learns to enlarge by `factor`, as the authors': the rest is as in `config`.

    Its levels grow by the same factor as the steps of `super_resolve`, about 2^(1/3); the reconstruction weighs 100,
    and the coarsest side has 18 px, or one receptive field where that is more. Raises SinGANError as `super_resolve`.
    """
    smallest = max(MIN_SIZE, 2 * config.layers + 1)
    # neighbouring levels of more than 0.95 are no pyramid: for factors next to 1
    return replace(config, alpha=ALPHA, min_size=smallest, scale_factor=min(1 / _steps(factor)[1], 0.95))


def super_resolve(
    model: SinGAN, image: Tensor, factor: float, *, n: int = 1, seed: int = 0, steps: int | None = None
) -> Tensor:
    """Enlarge a picture by `factor`, at least 1: n results (n, 3, round(factor * H), round(factor * W)) in [-1, 1].

    model: trained with `super_resolution_config` on this picture, or on another one with such patches. image: (1, 3, H,
    W) in [-1, 1] at the resolution of the pyramid's finest level. In k = `steps` steps the picture grows by
    factor^(1/k) and goes through the finest generator with new noise; by default those for which the pyramid is
    trained, k = round(log(factor) / log(2^(1/3))), one at least.

    Raises SinGANError for a factor that is no number from 1 to 64, steps that are no whole number from 1 to 100,
    results that are too large to draw, and anything that is not one image.
    """
    final = enlarged_size(image, factor)
    count, step = _steps(factor, steps)
    height, width = image.shape[-2:]
    sizes = (*((round(height * step**index), round(width * step**index)) for index in range(count)), final)
    if not model.levels:
        raise SinGANError("The pyramid has no trained level: train it to the end first.")
    # a pyramid of its own in which every level but the first, where the picture enters, is the finest of the model
    grown = SinGAN(model.config, PyramidShape(sizes, 1 / step), model.z_star, [model.levels[-1]] * (count + 1))
    return grown.inject(image, scale=1, n=n, seed=seed, size=final)


def reduced_pair(photograph: Tensor, factor: int, max_size: int) -> tuple[Tensor, Tensor]:
    """A photograph (1, 3, H, W) to be found again, and what is left of it after it was reduced by `factor`.

    Gives the small picture, whose longer side has `max_size` px or as many as the photograph allows, and the large one,
    `factor` times as high and wide. Both have 256 steps, as files have them; computed in float64, they are the same
    everywhere. Raises SinGANError for a photograph that is too small for it, a factor that is no whole number,
    and anything that is not one image.
    """
    enlarged_size(photograph, factor)
    if not is_whole(factor):
        raise SinGANError(
            f"A pair needs a whole factor, so that both sizes are whole numbers of pixels; got {factor!r}."
        )
    longer = max(photograph.shape[-2:])
    ratio = min(max_size, longer // factor) / longer
    height, width = (round(ratio * side) for side in photograph.shape[-2:])
    if min(height, width) < 1:
        raise SinGANError(f"Nothing is left of {longer} px that are reduced {factor} times: take a larger photograph.")
    large = _in_steps(resize(photograph.double(), (factor * height, factor * width)))
    return _in_steps(resize(large.double(), (height, width))), large


def _in_steps(image: Tensor) -> Tensor:
    return from_array(to_array(image)).to(image.device)


def enlarged_size(image: Tensor, factor: float) -> Size:
    """(height, width) of an image (1, 3, H, W), enlarged by `factor`; SinGANError as `super_resolve`."""
    check_image(image)
    if len(image) != 1:
        raise SinGANError(f"One image is enlarged at a time, got a batch of {len(image)}: image[i : i + 1].")
    _steps(factor)
    return round(factor * image.shape[-2]), round(factor * image.shape[-1])


def _steps(factor: float, count: int | None = None) -> tuple[int, float]:
    """How many steps enlarge by `factor`, by default the authors' number, and by how much each does."""
    if not is_number(factor) or not 1 <= factor <= 64:
        raise SinGANError(f"factor must be a number from 1 to 64, got {factor!r}.")
    if count is None:
        count = max(1, round(math.log(factor) / math.log(STEP)))
    if not is_whole(count) or not 1 <= count <= 100:
        raise SinGANError(f"steps must be a whole number from 1 to 100, got {count!r}.")
    return count, factor ** (1 / count)
