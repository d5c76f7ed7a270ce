"""Pictures and masks: files, numpy arrays and tensors.

Every conversion between the three is here, so that the rest of the package knows one kind of image, float32
(N, 3, H, W) in [-1, 1], and one kind of mask, float32 (1, 1, H, W) in [0, 1]. Resizing images is left to pyramid.py.
"""

import difflib
import io
import math
import operator
import os
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError
from torch.nn.functional import interpolate

from singan_core.arguments import to_path
from singan_core.errors import SinGANError
from singan_core.files import replacing
from singan_core.trace import note_read

# What is read and written. An explicit list keeps Pillow from starting other programs (Ghostscript for .eps).
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".ppm": "PPM",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
# Near lossless, so that measurements on a saved sample are about the sample and not about its compression.
SAVE_OPTIONS = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}

# The largest picture that is decoded: 8944 x 8944, about 1 GB as float32, and just below where Pillow starts to warn.
MAX_PIXELS = 80_000_000

# Float32 arithmetic (resizing, blending) may leave a value this far outside its range: 1/78 of an 8-bit step.
RANGE_TOLERANCE = 1e-4

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(path: str | Path) -> torch.Tensor:
    """Read a picture file as an image: float32 (1, 3, H, W) in [-1, 1].

    Gray becomes three equal channels, transparency is laid over white, the EXIF rotation is applied, and of an
    animation the first frame is taken. 16-bit gray and float TIFF (values in [0, 1]) keep their precision; Pillow cuts
    16-bit colour to 8 bits. Colour profiles are not applied. Raises SinGANError for a file that is missing, damaged,
    cut short, of another kind than SUFFIXES, or of more than MAX_PIXELS.
    """
    return _to_tensor(_to_unit_range(_read(path), name=f"The picture {path}"))


def load_mask(path: str | Path, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Read a picture file as a binary mask: float32 (1, 1, H, W) of zeros and ones.

    A pixel is set where its brightest channel times its opacity is at least half of full scale: white and strong
    colours are set, black, transparent and the faint noise of JPEG are not. With `size` = (height, width) the mask is
    resized by nearest neighbour. A mask with no pixel set is allowed. Raises SinGANError as `load_image` does.
    """
    unit = _to_unit_range(_read(path), name=f"The mask {path}")
    level = unit[..., :3].max(axis=-1)
    if unit.shape[-1] == 4:
        level = level * unit[..., 3]
    mask = torch.from_numpy((level >= 0.5).astype(np.float32))[None, None]
    if size is None:
        return mask
    height, width = _check_size(size)
    return interpolate(mask, size=(height, width), mode="nearest-exact")


def save_image(image: torch.Tensor, path: str | Path) -> None:
    """Write one image (1, 3, H, W) or one mask (1, 1, H, W) to a file whose suffix is one of SUFFIXES.

    Values outside [-1, 1] of an image are clamped. Missing folders are made. The file appears whole or not at all: an
    older file of that name stays as it was when writing fails. Raises SinGANError for a batch of several images,
    another suffix, or a place that cannot be written.
    """
    is_mask = isinstance(image, torch.Tensor) and image.ndim == 4 and image.shape[1] == 1
    array = mask_to_array(image) if is_mask else to_array(image)
    if array.ndim == 4:
        raise SinGANError(f"save_image writes one image, got {len(array)}; save image[i : i + 1] for each i.")
    path = to_path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise SinGANError(f"Cannot tell from its name how to write '{path}'; end it in one of {', '.join(SUFFIXES)}.")
    file_format = SUFFIXES[path.suffix.lower()]
    # Through memory: when Pillow writes to a file itself, a write cut off by a full disk can pass unnoticed.
    encoded = io.BytesIO()
    try:
        Image.fromarray(array).save(encoded, format=file_format, **SAVE_OPTIONS.get(file_format, {}))
    except Exception as error:  # too large for the format, which each writer tells by an error of its own
        size = f"{array.shape[0]} x {array.shape[1]} pixels"
        raise SinGANError(f"Cannot write {size} as {file_format} ({error}); end the name in .png.") from error
    with replacing(path) as unfinished:
        unfinished.write_bytes(encoded.getvalue())


def from_array(array: np.ndarray) -> torch.Tensor:
    """Turn a numpy picture into an image: float32 (1, 3, H, W) in [-1, 1].

    The array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of bool, uint8, uint16 or floats in [0, 1]; a fourth
    channel is opacity and is laid over white. Raises SinGANError for anything else, other integers included: whether
    an int64 counts to 1, 255 or 65535 cannot be known, so the caller says it with `astype`.
    """
    return _to_tensor(_to_unit_range(array, name="The array"))


def to_array(image: torch.Tensor) -> np.ndarray:
    """Turn an image (N, 3, H, W) or (3, H, W) into uint8 (N, H, W, 3), or (H, W, 3) for a single one.

    Values outside [-1, 1] are clamped, the rest is rounded to the nearest of 256 steps: the inverse of `from_array` for
    8-bit colour. Raises SinGANError for other shapes, integer tensors and NaN. For masks see `mask_to_array`.
    """
    if isinstance(image, torch.Tensor) and image.ndim == 3:
        image = image[None]
    _check_layout(image, name="image", channels=3)
    if not image.is_floating_point() or bool(image.isnan().any()):
        raise SinGANError("to_array needs floats in [-1, 1] without NaN; check_image(image) says what is wrong.")
    steps = (image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5
    array = steps.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return array[0] if len(array) == 1 else array


def mask_to_array(mask: torch.Tensor) -> np.ndarray:
    """Turn a mask (1, 1, H, W) in [0, 1] into uint8 (H, W), 255 where it is fully set. Raises SinGANError otherwise."""
    steps = check_mask(mask)[0, 0].detach().cpu().clamp(0, 1) * 255
    return steps.round().to(torch.uint8).numpy()


def check_image(image: torch.Tensor, name: str = "image") -> torch.Tensor:
    """Return `image` if it is float32 (N, 3, H, W), N >= 1, finite, within [-1, 1] up to RANGE_TOLERANCE.

    Raises SinGANError, which calls the image `name`, says what was found and how to mend it.
    """
    _check_layout(image, name, channels=3)
    _check_values(image, name, low=-1.0, high=1.0)
    return image


def check_mask(mask: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Return `mask` if it is float32 (1, 1, H, W), finite, within [0, 1] up to RANGE_TOLERANCE.

    With `size` = (height, width) it must have that size too. Raises SinGANError that says how to mend it.
    """
    _check_layout(mask, name="mask", channels=1)
    if mask.shape[0] != 1:
        raise SinGANError(f"mask must be a single one, (1, 1, H, W), got {len(mask)} of them; take mask[:1].")
    _check_values(mask, name="mask", low=0.0, high=1.0)
    if size is not None and tuple(mask.shape[2:]) != (wanted := _check_size(size)):
        raise SinGANError(f"mask is {tuple(mask.shape[2:])}, expected {wanted}; use load_mask(path, size={wanted}).")
    return mask


def bounding_box(mask: torch.Tensor) -> tuple[slice, slice]:
    """The rows and columns of the smallest box with all pixels of a mask (1, 1, H, W) above 0: image[..., *box].

    Raises SinGANError for an empty mask.
    """
    rows, columns = (check_mask(mask)[0, 0] > 0).nonzero().unbind(dim=1)
    if not len(rows):
        raise SinGANError("The mask is empty, so that there is no box around it.")
    return tuple(slice(int(places.min()), int(places.max()) + 1) for places in (rows, columns))


def sample_image(name: str) -> torch.Tensor:
    """Load the bundled picture `name`: (1, 3, H, W) in [-1, 1]. Raises SinGANError that lists the names if unknown."""
    return load_image(_find_sample(name, _sample_files(masks=False)))


def sample_mask(name: str) -> torch.Tensor:
    """Load the mask of the bundled picture `name`: (1, 1, H, W) of 0 and 1. Raises SinGANError if it has none."""
    return load_mask(_find_sample(name, _sample_files(masks=True)))


def sample_names(with_mask: bool = False) -> list[str]:
    """List the names of the bundled pictures and those in data/own in alphabetical order; with_mask: that have one."""
    return sorted(_sample_files(masks=with_mask))


def data_folder() -> Path:
    """Return the folder of the bundled data: $SINGAN_DATA, or `data` beside the package. SinGANError if missing."""
    chosen = os.environ.get("SINGAN_DATA")
    folder = to_path(chosen) if chosen else Path(__file__).resolve().parents[1] / "data"
    if not os.path.isdir(folder):
        where = "SINGAN_DATA points to" if chosen else "The bundled data should be in"
        raise SinGANError(f"{where} {folder}, which is no folder; set SINGAN_DATA to the data folder of a checkout.")
    return folder


OWN = "own"
"""Folder beside that of the bundled pictures for a person's own ones, which are found by name as well."""


def _sample_files(masks: bool) -> dict[str, Path]:
    """Map the names of the bundled pictures to their files, or to those of their masks, <name>_mask.png."""
    folder = data_folder() / "images"
    if not os.path.isdir(folder):
        raise SinGANError(f"There is no folder {folder}; set SINGAN_DATA to the data folder of a checkout.")
    return _files_in(data_folder() / OWN, masks) | _files_in(folder, masks)  # bundled ones win


def _files_in(folder: Path, masks: bool) -> dict[str, Path]:
    there = sorted(folder.iterdir(), reverse=True) if os.path.isdir(folder) else []  # cat.jpg wins over cat.png
    files = [file for file in there if file.suffix.lower() in SUFFIXES]
    files = [file for file in files if not file.name.startswith(".")]  # macOS puts ._cat.jpg beside cat.jpg in archives
    return {file.stem.removesuffix("_mask"): file for file in files if file.stem.endswith("_mask") == masks}


def is_hidden(name: str) -> bool:
    """Whether a person's own picture has the name of a bundled one, which `sample_image` gives in its place."""
    return all(name in _files_in(data_folder() / place, masks=False) for place in (OWN, "images"))


def _find_sample(name: str, files: dict[str, Path]) -> Path:
    if not isinstance(name, str):
        raise SinGANError(f"A sample is asked for by its name, got {name!r}; load_image(path) reads a file.")
    if name in files:
        return files[name]
    close = difflib.get_close_matches(name.lower(), files, n=1)
    guess = f" Did you mean '{close[0]}'?" if close else ""
    raise SinGANError(f"There is no sample '{name}'.{guess} Known: {', '.join(sorted(files)) or 'none'}.")


def _read(path: str | Path) -> np.ndarray:
    """Decode a picture, upright: uint8 (H, W, 3 or 4), or uint16 or float (H, W) for gray of more than 8 bits.

    uint16 (H, W, 4) where a gray of 16 bits stands for transparent.
    """
    path = to_path(path)
    if os.path.isdir(path):
        raise SinGANError(f"{path} is a folder; give the path of a picture in it.")
    try:
        with Image.open(path, formats=FORMATS) as picture:
            note_read(path)
            # Only the header has been read so far.
            if math.prod(picture.size) > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{picture.width} x {picture.height} pixels")
            picture.load()
            negative = getattr(picture, "tag_v2", {}).get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0  # white is 0
            if picture.mode == "I" and picture.format not in ("PNG", "PPM"):  # there it is how Pillow reads 16 bits
                raise SinGANError(
                    f"{path} has integers of 32 bits or with a sign, whose full scale is unknown: save it with 8 or 16."
                )
            return _decoded_to_array(_turn_upright(picture), negative)
    except SinGANError:
        raise
    except FileNotFoundError as error:
        raise SinGANError(f"There is no file {path}; check the name (relative to {Path.cwd()}).") from error
    except PermissionError as error:
        raise SinGANError(f"You may not read {path}; change its permissions or copy it.") from error
    except Image.DecompressionBombError as error:
        raise SinGANError(f"{path} is too large ({error}; at most {MAX_PIXELS} are read); shrink it first.") from error
    except UnidentifiedImageError as error:
        raise SinGANError(f"{path} is empty, cut short or none of {', '.join(FORMATS)}; save it as PNG.") from error
    except Exception as error:  # damaged files make Pillow raise almost anything: SyntaxError, struct.error, KeyError
        raise SinGANError(f"Cannot read {path}, it may be damaged or cut short ({error}); get it again.") from error


def _turn_upright(picture: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose would do, but it also writes the EXIF data anew, and fails when a tag in it is malformed.
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # unreadable EXIF says nothing about the pixels
        return picture
    return picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture


def _decoded_to_array(picture: Image.Image, negative: bool) -> np.ndarray:
    """The values as they are in the file. negative: it is a TIFF in which 0 is white."""
    if picture.mode in ("I", "I;16") and "transparency" in picture.info:  # the one gray of a PNG that is clear
        values = np.asarray(picture).astype(np.uint16)
        opacity = np.where(values == picture.info["transparency"], 0, 65535)
        return np.stack([values, values, values, opacity], axis=-1).astype(np.uint16)
    if picture.mode == "I":  # 16 bits, see `_read`
        return np.asarray(picture).astype(np.uint16)
    if picture.mode == "F":
        return np.asarray(picture)
    if picture.mode.startswith("I;16"):  # of which Pillow makes no positive, as it does of 8 bits
        return 65535 - np.asarray(picture) if negative else np.asarray(picture)
    return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))


def _to_unit_range(array: np.ndarray, name: str) -> np.ndarray:
    """Check a picture and scale it: float32 (H, W, 1, 3 or 4) in [0, 1]."""
    if not isinstance(array, np.ndarray):
        raise SinGANError(f"{name} must be a numpy array, got {type(array).__name__}; numpy.asarray(...) may make one.")
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or array.size == 0:
        raise SinGANError(f"{name} must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not empty, got {array.shape}.")
    if array.dtype == bool:
        return array.astype(np.float32)
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return array.astype(np.float32) / np.float32(255 if array.dtype.itemsize == 1 else 65535)
    if array.dtype.kind != "f":
        hint = "say what it counts to with astype(numpy.uint8), or divide it to floats in [0, 1]"
        raise SinGANError(f"{name} must be bool, uint8, uint16 or floating, got {array.dtype}; {hint}.")
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SinGANError(f"{name} has NaN or infinite values; replace them, for example with numpy.nan_to_num.")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise SinGANError(f"{name} has floats from {low:.4g} to {high:.4g}; scale them to [0, 1] first.")
    return array.astype(np.float32).clip(0, 1)


def _to_tensor(unit: np.ndarray) -> torch.Tensor:
    """Lay (H, W, 1, 3 or 4) in [0, 1] over white and scale it to (1, 3, H, W) in [-1, 1]."""
    colour, opacity = unit[..., :3], unit[..., 3:]
    if opacity.size:
        colour = colour * opacity + (1 - opacity)
    colour = np.broadcast_to(colour, (*colour.shape[:2], 3)).transpose(2, 0, 1)
    return torch.from_numpy(np.array(colour, order="C"))[None] * 2 - 1


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError) as error:
        raise SinGANError(f"size must be (height, width) in pixels, got {size!r}.") from error
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise SinGANError(f"size must be (height, width) of 1 to {MAX_PIXELS} pixels in all, got {height} x {width}.")
    return height, width


def _check_layout(value: torch.Tensor, name: str, channels: int) -> None:
    """Check that `value` is a tensor (N, channels, H, W) with something in it."""
    loader = "load_image(path)" if channels == 3 else "load_mask(path)"
    if isinstance(value, np.ndarray):
        hint = "from_array(array)" if channels == 3 else "torch.from_numpy(array).float()[None, None]"
        raise SinGANError(f"{name} is a numpy array; turn it into a tensor with {hint}.")
    if not isinstance(value, torch.Tensor):
        raise SinGANError(f"{name} must be a tensor, got {type(value).__name__}; {loader} reads one from a file.")
    shape = tuple(value.shape)
    if len(shape) == 4 and shape[1] == channels and value.numel():
        return
    if len(shape) == 3 and shape[0] == channels:
        hint = f"add the batch axis with {name}[None]"
    elif len(shape) == 2:
        hint = f"add the batch and channel axes with {name}[None, None]"
    elif len(shape) in (3, 4) and shape[-1] == channels:
        hint = "put the channels before the height with permute" + ", or use from_array" * (channels == 3)
    elif len(shape) == 4 and shape[1] == 1:
        hint = "repeat the one channel of a gray image with expand(-1, 3, -1, -1)"
    else:
        hint = f"{loader} makes such a tensor"
    raise SinGANError(f"{name} must be (N, {channels}, H, W) and not empty, got {shape}; {hint}.")


def _check_values(value: torch.Tensor, name: str, low: float, high: float) -> None:
    """Check that `value` is float32, finite and within [low, high]."""
    if value.dtype != torch.float32:
        is_picture = low < 0 and not value.is_floating_point()
        hint = "pass the uint8 numpy array to from_array" if is_picture else f"use {name}.float()"
        raise SinGANError(f"{name} must be float32, got {value.dtype}; {hint}.")
    smallest, largest = (bound.item() for bound in torch.aminmax(value.detach()))
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        raise SinGANError(f"{name} has NaN or infinite values; find where they come from, or use torch.nan_to_num.")
    if smallest < low - RANGE_TOLERANCE or largest > high + RANGE_TOLERANCE:
        scaling = "/ 127.5 - 1" if low < 0 else "/ 255"
        hint = f"if it counts to 255 use {name} {scaling}, if it overshoots {name}.clamp({low:g}, {high:g})"
        raise SinGANError(f"{name} must be within [{low:g}, {high:g}], got {smallest:.4g} to {largest:.4g}; {hint}.")
