"""The run store: trainings on disk, found again by what they were trained on, resumed when interrupted, never half.

A run is a folder named by the key of image and settings: `checkpoint.safetensors` while it is in training, then
`model.safetensors`, with `run.json`, `history.csv`, `image.png` and the targets of single levels, `target_0.png` and so
on, beside it for people to read. Pictures that take minutes to make without a pyramid are kept in the same way.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from singan_core.arguments import to_path
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.files import write_text
from singan_core.images import check_image, data_folder, load_image, save_image
from singan_core.model import FORMAT_VERSION, HISTORY_COLUMNS, SinGAN, device_name, holds_discriminators
from singan_core.progress import Callback
from singan_core.targets import Targets, targets_key
from singan_core.trace import note_pyramid, note_read
from singan_core.training import train, training_images

MODEL, CHECKPOINT, PICTURE = "model.safetensors", "checkpoint.safetensors", "picture.png"


def load_or_train(
    image: Tensor,
    config: TrainConfig,
    targets: Targets | None = None,
    *,
    discriminators: bool = False,
    retrain: bool = False,
    store: str | Path | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> SinGAN:
    """The pyramid for this photograph (1, 3, H, W) and these settings: loaded if there is one, else trained.

    Looked for in the shipped pyramids (data/pretrained), then in the run store; an interrupted training goes on where
    it was; what another process trains at this moment is waited for. targets: levels that are trained on another
    picture, see `train`; with others it is another run. discriminators: whether they are needed, too; shipped pyramids
    may come without them. A config with a quantised_level needs the pyramid without one: it is loaded or trained in the
    same way, and not trained again because of retrain. retrain: take no finished pyramid, train again and replace the
    stored one; an interrupted retraining goes on, too. store: folder of the runs, default see `store_folder`. callback,
    progress, device: see `train`.

    A batch of notebooks sets SINGAN_RETRAIN_BEFORE, a time in seconds since 1970: what was trained later is not trained
    again, so that a pyramid that several notebooks retrain is trained once.

    Raises SinGANError for unfit input, a damaged run, or a place that cannot be written.
    """
    training_images(image, config, torch.device("cpu"), targets)  # what cannot be trained leaves nothing behind
    folder = run_folder(image, config, store, targets)
    shipped = None if retrain else shipped_pyramid(folder.name, discriminators)
    note_pyramid(folder.name, shipped=shipped is not None, discriminators=discriminators)
    if shipped is not None:
        note_read(shipped)
        return _with_settings(SinGAN.load(shipped, device), config, shipped)
    if _trained(folder, retrain):
        return _with_settings(load_run(folder, device), config, folder)
    with _only_one(folder, progress):
        if _trained(folder, retrain):  # by the process that was waited for
            return _with_settings(load_run(folder, device), config, folder)
        _clear_up(folder, retrain)
        save_image(image, folder / "image.png")
        for level, picture in (targets or {}).items():
            save_image(picture, folder / f"target_{level}.png")
        settings = {"config": config.to_dict(), "image_size": list(image.shape[-2:]), "format": FORMAT_VERSION}
        settings["targets"] = sorted(map(int, targets or {}))
        settings |= {"retrain": retrain, "device": device_name(device), "torch": str(torch.__version__)}
        write_text(folder / "run.json", json.dumps(settings, indent=2) + "\n")
        base = None
        if config.quantised_level:
            options = {
                "discriminators": discriminators,
                "store": store,
                "callback": callback,
                "progress": progress,
                "device": device,
            }
            base = load_or_train(image, config.unquantised(), targets, **options)
        model = train(
            image,
            config,
            targets=targets,
            base=base,
            checkpoint=folder / CHECKPOINT,
            callback=callback,
            progress=progress,
            device=device,
        )
        model.save(folder / MODEL)
        write_text(folder / "history.csv", history_csv(model))
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return model


def load_or_make(
    method: Callable[..., Tensor],
    image: Tensor,
    *,
    retrain: bool = False,
    store: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Tensor:
    """The picture (1, 3, h, w) that a slow method makes of an image (1, 3, H, W): loaded if there is one, else made.

    method: called as method(image, **settings), for instance `deep_image_prior`, which trains a network for one
    picture; the same arguments must give the same picture. settings: numbers and texts. Looked for where pyramids are,
    in data/pretrained and then in the run store, by the method's name, the image and the settings. The picture is kept
    as PNG and has 256 steps, also where it was made just now. retrain, store and the variables: see `load_or_train`.

    Raises SinGANError for what the method refuses, a method without a name of its own, other settings, and a place that
    cannot be written.
    """
    settings = {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}
    key = picture_key(method, image, settings)
    shipped = None if retrain else shipped_picture(key)
    note_pyramid(key, shipped=shipped is not None, discriminators=False)
    if shipped is not None:
        return load_image(shipped)
    folder = to_path(store or store_folder()) / key
    if _trained(folder, retrain, PICTURE):
        return load_image(folder / PICTURE)
    with _only_one(folder, progress):
        if not _trained(folder, retrain, PICTURE):  # else by the process that was waited for
            if progress:
                print(f"{method.__name__}: making a picture, which is kept ...", flush=True)
            started = time.monotonic()
            made = method(image, **settings)
            save_image(image, folder / "image.png")
            about = {"method": method.__name__, "settings": settings, "seconds": round(time.monotonic() - started, 1)}
            about |= {"device": device_name(image.device), "torch": str(torch.__version__)}
            write_text(folder / "run.json", json.dumps(about, indent=2) + "\n")
            save_image(made, folder / PICTURE)
        return load_image(folder / PICTURE)


def picture_key(method: Callable[..., Tensor], image: Tensor, settings: dict[str, Any]) -> str:
    """Name of a picture that a method makes, 16 hexadecimal digits: a hash of method, image and settings."""
    image = check_image(image).detach()
    if getattr(method, "__name__", "<lambda>") == "<lambda>":  # all of these would share one key
        raise SinGANError("A picture is kept by the name of its method: give it one, def method(image, ...): ...")
    digest = hashlib.sha256(f"{FORMAT_VERSION} {method.__name__} {tuple(image.shape)}".encode())
    try:
        digest.update(json.dumps(settings, sort_keys=True).encode())
    except TypeError as error:
        raise SinGANError(f"Settings of {method.__name__} must be numbers and texts, got {settings!r}.") from error
    digest.update(image.cpu().contiguous().numpy())
    return digest.hexdigest()[:16]


def run_key(image: Tensor, config: TrainConfig, targets: Targets | None = None) -> str:
    """Name of a run, 16 hexadecimal digits: a hash of image, settings, targets and format version.

    Only settings that differ from the defaults count, so that a new field does not turn old runs into strangers.
    """
    image = check_image(image).detach()
    digest = hashlib.sha256(f"{FORMAT_VERSION} {tuple(image.shape)}".encode())
    digest.update(json.dumps(config.changes(), sort_keys=True).encode())
    digest.update(image.cpu().contiguous().numpy())
    digest.update(targets_key(targets).encode())
    return digest.hexdigest()[:16]


def store_folder() -> Path:
    """Where runs are kept: SINGAN_RUNS, else `runs` in the checkout, else ~/.cache/singan_core/runs.

    Raises SinGANError where there is none of them.
    """
    if chosen := os.environ.get("SINGAN_RUNS"):
        return to_path(chosen)
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").exists():
        return checkout / "runs"
    try:
        return Path.home() / ".cache" / "singan_core" / "runs"
    except RuntimeError as error:
        raise SinGANError("There is no home folder for the run store: set SINGAN_RUNS to a folder.") from error


def run_folder(
    image: Tensor, config: TrainConfig, store: str | Path | None = None, targets: Targets | None = None
) -> Path:
    """Where the run of this image, these settings and these targets is kept, whether it exists or not."""
    return to_path(store or store_folder()) / run_key(image, config, targets)


def load_run(folder: str | Path, device: torch.device | str | None = None) -> SinGAN:
    """The pyramid of a finished run. Raises SinGANError when the folder holds none, or a damaged one."""
    folder = to_path(folder)
    if os.path.isfile(folder):
        raise SinGANError(f"{folder} is a file, not the folder of a run: SinGAN.load reads a single file.")
    if not os.path.exists(folder / MODEL):
        unfinished = os.path.exists(folder / CHECKPOINT)
        state = "is not finished yet: train it again and it resumes" if unfinished else "holds no trained pyramid"
        raise SinGANError(f"{folder} {state}.")
    return SinGAN.load(folder / MODEL, device)


def history_csv(model: SinGAN) -> str:
    """The losses of every level and iteration as CSV text: level, iteration, then HISTORY_COLUMNS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["level", "iteration", *HISTORY_COLUMNS])
    for index, level in enumerate(model.levels):
        if level.history is not None:
            writer.writerows(
                [index, iteration, *map(repr, row.tolist())] for iteration, row in enumerate(level.history)
            )
    return text.getvalue()


def _with_settings(model: SinGAN, config: TrainConfig, place: Path) -> SinGAN:
    """The loaded pyramid; SinGANError where it has other settings than its key says."""
    if model.config != config:
        theirs, asked = model.config.to_dict(), config.to_dict()
        other = ", ".join(
            f"{name}={theirs[name]!r} in place of {asked[name]!r}" for name in asked if theirs[name] != asked[name]
        )
        raise SinGANError(
            f"{place} was trained with {other}: a default has changed since, which keys do not count. Change it back, "
            "set it where it is wanted, or move the old pyramid away."
        )
    return model


def _trained(folder: Path, retrain: bool, result: str = MODEL) -> bool:
    """Whether a run holds its finished result; to train again, one that is younger than SINGAN_RETRAIN_BEFORE."""
    try:
        written = os.stat(folder / result).st_mtime
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return False
    return not retrain or written > float(os.environ.get("SINGAN_RETRAIN_BEFORE", "inf"))


def _clear_up(folder: Path, retrain: bool) -> None:
    """Remove what a killed process left half written and, to train again, a checkpoint of the first training."""
    for leftover in folder.glob(".*-*.*"):
        leftover.unlink(missing_ok=True)
    if retrain and not _begun_as_retraining(folder):
        (folder / CHECKPOINT).unlink(missing_ok=True)


def _begun_as_retraining(folder: Path) -> bool:
    try:
        return json.loads((folder / "run.json").read_text())["retrain"] is True
    except (OSError, ValueError, KeyError, TypeError):  # no run yet, or a file that somebody has edited
        return False


def shipped_pyramid(key: str, discriminators: bool = False) -> Path | None:
    """The model file of the run with this key in data/pretrained, if there is one with all that is needed."""
    path = _shipped(f"{key}.safetensors")
    return None if path is None or (discriminators and not holds_discriminators(path)) else path


def shipped_file(key: str, discriminators: bool = False) -> Path | None:
    """The pyramid or picture with this key in data/pretrained, see `shipped_pyramid`."""
    return shipped_pyramid(key, discriminators) or shipped_picture(key)


def shipped_picture(key: str) -> Path | None:
    """The picture with this key in data/pretrained, if there is one."""
    return _shipped(f"{key}.png")


def _shipped(name: str) -> Path | None:
    try:
        path = data_folder() / "pretrained" / name
    except SinGANError:  # the package is used without the course's data
        return None
    return path if os.path.exists(path) else None


@contextlib.contextmanager
def _only_one(folder: Path, progress: bool) -> Iterator[None]:
    """Hold the run's lock; while another process has it, say so and wait. The lock falls when its process ends."""
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if progress:
                print(f"Another process is training {folder.name}; waiting for it to finish ...", flush=True)
            lock.acquire()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise SinGANError(
            f"Cannot write to the run store {folder.parent} ({getattr(error, 'strerror', None) or error}). "
            "Set SINGAN_RUNS to a folder you can write to."
        ) from error
    try:
        yield
    finally:
        lock.release()
