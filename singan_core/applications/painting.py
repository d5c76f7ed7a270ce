"""Paint to image: a pyramid redraws a painting in flat colours in the manner of its photograph (paper, section 4)."""

from dataclasses import replace

from torch import Tensor

from singan_core.arguments import is_whole
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.images import check_image
from singan_core.model import SinGAN


def painting_config(config: TrainConfig, scale: int, colours: int = 5) -> TrainConfig:
    """The settings of a pyramid that expects a painting at `scale`: this level is trained anew on few colours.

    `load_or_train` takes all other levels from the pyramid of `config`. While the level is in training, its inputs, the
    images from the level below, are reduced to `colours` colours, those of a k-means in the level's image: they look
    like paintings then, and the level learns what to make of them. The authors have 5. Raises SinGANError for values
    out of range.
    """
    if not is_whole(scale) or scale < 1:
        raise SinGANError(f"scale must be a level from 1 on, got {scale!r}: level 0 has no input.")
    return replace(config, quantised_level=scale, quantised_colours=colours)


def paint_to_image(
    model: SinGAN, painting: Tensor, scale: int | None = None, *, n: int = 1, seed: int = 0, full_size: bool = False
) -> Tensor:
    """Turn a painting (1, 3, H, W) in [-1, 1] into n pictures like the photograph, (n, 3, h, w) in [-1, 1].

    scale: where the painting is injected (see `SinGAN.inject`); by default the level that was trained for paintings, if
    the model has one (see `painting_config`), and which brings the painting to its own colours first. full_size: the
    result has the size of the painting; by default it has the trained resolution.

    Raises SinGANError for a scale out of range or missing, and for anything that is no image.
    """
    check_image(painting, "the painting")
    if scale is None:
        scale = model.config.quantised_level
        if not scale:
            raise SinGANError("This pyramid has no level for paintings: say at which scale to inject, from 1 on.")
    return model.inject(painting, scale, n=n, seed=seed, size=tuple(painting.shape[-2:]) if full_size else None)
