"""What a trained pyramid is used for, beyond samples: thin functions over `SinGAN.inject` and `SinGAN.draw`.

Each takes a trained pyramid and pictures (1, 3, H, W) in [-1, 1] and gives pictures (n, 3, h, w) in [-1, 1]; callers
are notebooks, the command line and widgets. Where a task needs a training of its own, another function gives the
settings for it, and `load_or_train` does the rest. To be imported by module: `slicing`, which joins samples of four
pyramids, and what one would use instead of a pyramid, `classical` (Poisson and multi-band blending, histogram
matching, filters against noise), `style`, `deep_prior` and `zssr`.
"""

from singan_core.applications.animation import animate, animation_config, save_animation
from singan_core.applications.denoising import reinject, salt_and_pepper, super_resolve_tiles
from singan_core.applications.editing import edit, harmonize, paste, soft_mask
from singan_core.applications.painting import paint_to_image, painting_config
from singan_core.applications.super_resolution import super_resolution_config, super_resolve

__all__ = [
    "animate",
    "animation_config",
    "edit",
    "harmonize",
    "paint_to_image",
    "painting_config",
    "paste",
    "reinject",
    "salt_and_pepper",
    "save_animation",
    "soft_mask",
    "super_resolution_config",
    "super_resolve",
    "super_resolve_tiles",
]
