"""SinGAN in a small, readable and tested core: one photograph in, a pyramid of patch GANs out (ICCV 2019)."""

import os

# PyTorch's threads on a CPU (libgomp) wait for each other by spinning. As soon as another program wants a core, the one
# that spins takes it from the one that works: measured on two cores, a training became a hundred times slower. It is
# read when PyTorch loads, so it helps where this package is imported first; `make` sets it too.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

from singan_core.config import TrainConfig, resolve_profile
from singan_core.errors import SinGANError
from singan_core.images import (
    from_array,
    load_image,
    load_mask,
    sample_image,
    sample_mask,
    sample_names,
    save_image,
    to_array,
)
from singan_core.model import SinGAN
from singan_core.progress import Progress
from singan_core.pyramid import build_pyramid, pyramid_shape
from singan_core.store import load_or_train, load_run
from singan_core.training import train

__version__ = "0.1.0"

__all__ = [
    "Progress",
    "SinGAN",
    "SinGANError",
    "TrainConfig",
    "build_pyramid",
    "from_array",
    "load_image",
    "load_mask",
    "load_or_train",
    "load_run",
    "pyramid_shape",
    "resolve_profile",
    "sample_image",
    "sample_mask",
    "sample_names",
    "save_image",
    "to_array",
    "train",
]
