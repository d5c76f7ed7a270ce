"""Writing the files in data/images: one way to save a photograph, one to save a drawing or mask, one to list checksums.

The three scripts beside this module use it, so that every file follows the same rules: at most 1024 px on the longer
side, 8-bit RGB (masks: 8-bit gray with only 0 and 255), no metadata.
"""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

DATA = Path(__file__).resolve().parent
IMAGES = DATA / "images"
MAX_SIDE = 1024


def check_size(image: Image.Image, path: Path) -> None:
    """Refuse an image that is longer than MAX_SIDE pixels on a side."""
    if max(image.size) > MAX_SIDE:
        raise ValueError(f"{path.name} is {image.size[0]} x {image.size[1]} px; at most {MAX_SIDE} px are allowed.")


def save_photo(image: Image.Image, path: Path) -> None:
    """Save an RGB image as JPEG, quality 92, without metadata.

    Colour is not subsampled (4:4:4): decoders interpolate subsampled colour in different ways, and the composites
    need the same pixels everywhere.
    """
    check_size(image, path)
    # A fresh image carries no EXIF block, comment or colour profile.
    bare = Image.fromarray(np.asarray(image.convert("RGB")))
    bare.save(path, "JPEG", quality=92, subsampling=0, optimize=True)


def save_png(array: np.ndarray, path: Path) -> None:
    """Save a uint8 array as PNG: (H, W, 3) as RGB, boolean (H, W) as a mask with the values 0 and 255."""
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    image = Image.fromarray(array)
    check_size(image, path)
    image.save(path, "PNG", optimize=True)


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file as a uint8 array (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """Read a mask file as a boolean array (H, W)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L")) > 127


def write_checksums(folder: Path, path: Path) -> None:
    """Write the SHA-256 of every file in `folder` to `path`, sorted by name, in the format of `sha256sum`.

    The names are relative to the folder that holds `path`: `cd data && sha256sum --check checksums.sha256`.
    """
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {folder.name}/{file.name}\n"
        for file in sorted(folder.iterdir())
    ]
    path.write_text("".join(lines), encoding="ascii")
