"""Checks of what users give: numbers of Python or numpy, but no bool, which would count as 0 or 1; paths; and kinds."""

import numbers
import os
from pathlib import Path
from typing import Any

from singan_core.errors import SinGANError


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number by its type: 3 and numpy.int64(3) are, 3.0 and True are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a real number by its type, of Python or numpy, and no bool. It may be infinite or NaN."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def checked_seed(seed: int) -> int:
    """A seed for noise, as an int; SinGANError for anything but a whole number from 0 on."""
    if not is_whole(seed) or seed < 0:
        raise SinGANError(f"seed must be a whole number from 0 on, got {seed!r}.")
    return int(seed)


def check_count(name: str, count: int) -> None:
    """Raises SinGANError for anything but a number of pictures from 1 to 10000."""
    if not is_whole(count) or not 1 <= count <= 10_000:
        raise SinGANError(f"{name} must be a whole number of pictures from 1 to 10000, got {count!r}.")


def check_size(size: Any) -> None:
    """Raises SinGANError for anything but (height, width) in whole pixels from 1 on."""
    if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(is_whole(side) and side > 0 for side in size):
        raise SinGANError(f"size must be (height, width) in whole pixels from 1 on, got {size!r}.")


def check_kind(value: Any, kind: type, wanted: str) -> None:
    """Raises SinGANError that asks for `wanted` if a value is not of a kind, and says what it is."""
    if not isinstance(value, kind):
        raise SinGANError(f"{wanted} is wanted here, got {type(value).__name__}.")


def to_path(path: str | os.PathLike[str]) -> Path:
    """A path, with ~ for the home folder. Raises SinGANError for anything else."""
    try:
        return Path(os.path.expanduser(path))
    except TypeError as error:
        raise SinGANError(f"A path must be a str or a pathlib.Path, got {type(path).__name__}.") from error
