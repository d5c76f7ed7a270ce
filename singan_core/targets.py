"""Targets: pictures on which single levels of a pyramid are trained instead of on the photograph."""

import hashlib
from collections.abc import Mapping

from torch import Tensor

from singan_core.arguments import is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image
from singan_core.pyramid import PyramidShape, same_proportions

Targets = Mapping[int, Tensor]
"""Pictures (1, 3, H, W) in [-1, 1], each by the level that is trained on it instead of on the photograph."""


def checked_targets(targets: Targets | None, shape: PyramidShape) -> Targets:
    """The targets of a training on a pyramid of this shape, none for None; SinGANError for what does not fit it."""
    if targets is None:
        return {}
    if not isinstance(targets, Mapping):
        raise SinGANError(f"targets must be a dictionary, level to picture, got {type(targets).__name__}.")
    height, width = shape.sizes[-1]
    for level, picture in targets.items():
        if not is_whole(level) or not 0 <= level < len(shape):
            raise SinGANError(f"targets has a picture for level {level!r}: the levels are 0 to {len(shape) - 1}.")
        check_image(picture, name := f"targets[{level}]")
        if len(picture) != 1:
            raise SinGANError(f"{name} must be one picture, got a batch of {len(picture)}: choose one of them.")
        h, w = picture.shape[-2:]
        if not same_proportions((h, w), (height, width)):
            raise SinGANError(
                f"{name} has {w}x{h} px, other proportions than the photograph, which has {width}x{height} px at the "
                "finest level: crop it."
            )
    return targets


def targets_key(targets: Targets | None) -> str:
    """A hash of the targets of a training, their levels and all their pixels; empty without targets."""
    if not targets:
        return ""
    digest = hashlib.sha256()
    for level in sorted(targets):
        digest.update(f"{level} {tuple(targets[level].shape)}".encode())
        digest.update(targets[level].detach().cpu().contiguous().numpy())
    return digest.hexdigest()
