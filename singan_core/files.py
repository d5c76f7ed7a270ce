"""Files that are whole or absent: written under a temporary name and renamed, and tensors sealed with a checksum.

A reader gets exactly what was written or a SinGANError; what stood there before stays until the new file is complete.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from singan_core.errors import SinGANError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed to disk and renamed to `path`, else removed.

    Makes the parent folders. Any OSError becomes a SinGANError that names the file and the reason.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as written:  # Windows flushes only what may be written
            os.fsync(written.fileno())  # before the rename, or a power cut leaves an empty file under the final name
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise SinGANError(
            f"Cannot write {path}: {reason}. Free some space or choose a folder you can write to."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make a folder where there is none. Raises SinGANError when no file can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SinGANError(f"Cannot write to the folder {folder} ({reason}): choose another one.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(path: Path, tensors: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Write tensors and JSON settings to one safetensors file, with a checksum over both."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(settings, sort_keys=True)
    data = serialise(tensors, metadata={"settings": text, "sha256": _checksum(tensors, text)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and settings of a file by `write_tensors`.

    Raises SinGANError when the file is absent, truncated, altered or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # copies: the tensors themselves would change with the file
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118, not a mapping
        text = metadata["settings"]
        if metadata["sha256"] != _checksum(tensors, text):
            raise SinGANError(f"{path} was altered after it was written. Delete the run's file to train again.")
        return tensors, json.loads(text)
    except OSError as error:
        raise SinGANError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise SinGANError(
            f"{path} is damaged or no file of this project ({error}). Delete the run's file to train again."
        ) from error


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a file by `write_tensors`, without reading them. SinGANError for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise SinGANError(
            f"{path} is damaged or no file of this project ({error}). Delete it to train again."
        ) from error


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
