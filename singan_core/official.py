"""Import of checkpoints from the SinGAN authors' code: a folder of .pth files becomes a `SinGAN`.

Such files are pickles from anywhere. Only tensors, numbers, lists and dictionaries are read from them, nothing in them
is run, and `Gs.pth`, which holds whole pickled modules, is never opened. Writing that format is left to the authors.
"""

import io
import math
import os
import re
import warnings
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from singan_core.arguments import to_path
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.model import Level, SinGAN, pick_device
from singan_core.networks import Discriminator, Generator
from singan_core.pyramid import PyramidShape, Size, resize

Network = TypeVar("Network", bound=nn.Module)

CHECKPOINT_FOLDER = "TrainedModels/<image>/scale_factor=0.750000,alpha=10"

ROUNDING = 1e-6
"""Pixels by which a computed side may be off: whether 25 or 25.000000000000004 comes out depends on the machine."""

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)
"""What the authors' tensors can be; int64 are the counters of batch norm, and zeros filled in by newer PyTorch."""


def import_official(folder: str | Path, device: torch.device | str | None = None) -> SinGAN:
    """The pyramid that the authors' code saved in a folder, TrainedModels/<image>/scale_factor=0.750000,alpha=10.

    Needed are reals.pth (for the sizes), NoiseAmp.pth, Zs.pth or 0/z_opt.pth (for z*), and netG.pth in the level
    folders 0, 1, ...; discriminators are imported where netD.pth is there. Layers, kernels and noise padding are read
    from the tensors, scale_factor and alpha from the folder's name if they stand there; settings that nothing
    records, such as the iterations, have their defaults in the config. The losses are not known. device: see
    `pick_device`.

    Of an interrupted training the complete levels are imported, and a UserWarning names the others. Raises SinGANError
    for files that are missing, damaged, do not fit together, or hold anything but tensors.
    """
    folder, device = to_path(folder), pick_device(device)
    trained = _trained_levels(folder)
    reals, amplitudes = _real_images(folder / "reals.pth"), _amplitudes(folder / "NoiseAmp.pth")
    complete, planned = _complete_levels(folder, trained, len(reals), len(amplitudes))
    levels = [_level(folder / str(n), amplitudes[n]) for n in range(complete)]
    layers = levels[0].generator.margin
    if any(level.generator.margin != layers for level in levels):
        raise SinGANError(f"The levels in {folder} differ in their number of layers: they are not of one training.")

    named = _settings_in(folder.resolve().name)
    shape, min_size = fitted_shape(reals, named.get("scale_factor", TrainConfig.scale_factor))
    z_star, noise_padding = _z_star(folder, shape.sizes[0], layers, complete)
    config = TrainConfig(
        min_size=min_size,
        max_size=max(shape.sizes[-1]),
        layers=layers,
        noise_padding=noise_padding,
        **named,
        **_width_rule([level.generator.tail[0].in_channels for level in levels]),
    )
    if complete < planned:
        missing = f"level {complete} is" if complete == planned - 1 else f"levels {complete} to {planned - 1} are"
        height, width = shape.sizes[complete - 1]
        warnings.warn(
            f"The training in {folder} was interrupted: {missing} missing or incomplete. Levels up to {complete - 1} "
            f"are imported, so pictures have {width}x{height} px.",
            UserWarning,
            stacklevel=2,
        )
    return SinGAN(config, PyramidShape(shape.sizes[:complete], shape.factor), z_star, levels).to(device)


def fitted_shape(reals: Sequence[Tensor], scale_factor: float) -> tuple[PyramidShape, int]:
    """Sizes and adjusted factor of a pyramid of level images (1, 3, h, w), coarsest first, and its min_size.

    The files do not record the factor, but the authors compute it from min_size, a whole number of pixels, as
    (min_size / shorter side) ** (1 / steps), and the sizes from it by rounding up. So min_size is the shorter side of
    the coarsest level or, where rounding errors were rounded up, one pixel less. The one that gives all sizes is
    taken; where both do, the one that brings the finest image closer to the coarsest. A pyramid of one level has the
    ratio scale_factor.

    Raises SinGANError for sizes that the authors' code does not produce.
    """
    sizes = tuple((real.shape[2], real.shape[3]) for real in reals)
    finest, steps, coarsest = sizes[-1], len(sizes) - 1, min(sizes[0])
    if not steps:
        return PyramidShape(sizes, scale_factor), coarsest
    fitting = []
    for min_size in (coarsest, max(coarsest - 1, 1)):
        factor = (min_size / min(finest)) ** (1 / steps)
        if factor <= 1 and all(_is_scaled(sizes[n], finest, factor ** (steps - n)) for n in range(steps + 1)):
            difference = resize(reals[-1], sizes[0], factor**steps) - reals[0]
            fitting.append((difference.abs().mean().item(), min_size, factor))
    if not fitting:
        listed = ", ".join(f"{width}x{height}" for height, width in sizes)
        raise SinGANError(f"The real images are not a pyramid of the authors' code, coarsest first: {listed} px.")
    _, min_size, factor = min(fitting)
    return PyramidShape(sizes, factor), min_size


def official_name(name: str) -> str:
    """The authors' name of a parameter of our networks: "body.2.1.bias" is "body.block3.norm.bias"."""
    part, *place, kind = name.split(".")
    if part == "tail":
        return name
    block = f"body.block{int(place[0]) + 1}" if part == "body" else part
    return f"{block}.{('conv', 'norm')[int(place[-1])]}.{kind}"


# -- the files


def _read(path: Path) -> Any:
    """What a .pth file holds, tensors on the CPU."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SinGANError(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        # weights_only is not enough before PyTorch 2.6: TorchScript programs, whose archives have a part of this name,
        # were run nevertheless (CVE-2025-32434). And from memory, because tar files, the format of 2016, would be
        # unpacked on the disk first; PyTorch looks for them only in open files.
        if b"constants.pkl" in data:
            raise ValueError("a TorchScript program")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True, mmap=False)
    except Exception:  # a damaged pickle can raise anything
        # without the cause, whose text advises to load the file with weights_only=False
        raise SinGANError(
            f"{path} is damaged, or holds something else than tensors, which is not loaded because it could run a "
            "program: copy or download it again."
        ) from None


def _read_list(path: Path) -> list:
    values = _read(path)
    if not isinstance(values, (list, tuple)):
        raise SinGANError(f"{path} should hold a list with an entry per level, got {_described(values)}.")
    return list(values)


def _trained_levels(folder: Path) -> set[int]:
    """Numbers of the levels that have a generator. Raises SinGANError when what every import needs is not there."""
    try:
        names = os.listdir(folder)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise SinGANError(f"Cannot read the folder {folder}: {getattr(error, 'strerror', None) or error}.") from error
    missing = [
        f"{' and '.join(files)} ({what})"
        for files, what in (
            (("reals.pth",), "the level images"),
            (("NoiseAmp.pth",), "the noise amplitudes"),
            (("Zs.pth", "0/z_opt.pth"), "the noise map of the reconstruction, in either"),
            (("0/netG.pth",), "the generator of the coarsest level"),
        )
        if not any(os.path.isfile(folder / name) for name in files)
    ]
    if missing:
        raise SinGANError(
            f"{folder} lacks {', '.join(missing)}: give a folder {CHECKPOINT_FOLDER} with all that the authors' code "
            "has written there."
        )
    numbered = (int(name) for name in names if re.fullmatch("0|[1-9][0-9]{0,3}", name))
    return {n for n in numbered if os.path.isfile(folder / str(n) / "netG.pth")}


def _complete_levels(folder: Path, trained: set[int], reals: int, amplitudes: int) -> tuple[int, int]:
    """How many levels from the coarsest on have everything, and how many the training was to have."""
    complete = next(n for n in range(len(trained) + 1) if n not in trained)
    if complete < max(trained):
        raise SinGANError(
            f"{folder / str(complete) / 'netG.pth'} is missing, but finer levels are there: the copy is incomplete."
        )
    planned = max(complete, reals, amplitudes)
    complete = min(complete, reals, amplitudes)
    if not complete:
        raise SinGANError(
            f"No level in {folder} is complete: reals.pth has {reals} images, NoiseAmp.pth {amplitudes} amplitudes."
        )
    return complete, planned


def _settings_in(name: str) -> dict[str, float]:
    """Settings that stand in a folder's name, "scale_factor=0.750000,alpha=10"."""
    found = {key: re.search(rf"{key}=(\d+(\.\d+)?)", name) for key in ("scale_factor", "alpha")}
    values = {key: float(match[1]) for key, match in found.items() if match}
    return {key: value for key, value in values.items() if _in_range(key, value)}


def _in_range(name: str, value: float) -> bool:
    """Whether a setting may have this value; the name of a folder may say anything."""
    try:
        TrainConfig(**{name: value})
    except SinGANError:
        return False
    return True


# -- what the files hold


def _real_images(path: Path) -> list[Tensor]:
    reals = _read_list(path)
    return [_checked(real, f"Image {n} in {path}", (1, 3, None, None)).float() for n, real in enumerate(reals)]


def _amplitudes(path: Path) -> list[float]:
    amplitudes = []
    for n, value in enumerate(_read_list(path)):
        try:
            amplitude = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            amplitude = math.nan
        if not math.isfinite(amplitude):
            raise SinGANError(f"The amplitude of level {n} in {path} is not a finite number: {_described(value)}.")
        amplitudes.append(amplitude)
    return amplitudes


def _z_star(folder: Path, size: Size, layers: int, complete: int) -> tuple[Tensor, bool]:
    """z* as `SinGAN` keeps it, and whether noise was drawn on the padded grid too.

    The authors keep z* on the padded grid, (1, 3, h + 2 * layers, w + 2 * layers): its margin is zero unless it was
    drawn there (their animation). The three channels are one.
    """
    path = folder / "Zs.pth"
    if path.is_file():
        maps = _read_list(path)
    else:
        path = folder / "0" / "z_opt.pth"
        maps = [_read(path)]
    if not maps:
        raise SinGANError(f"{path} holds an empty list: it should begin with the noise map of level 0.")
    for n, above in enumerate(maps[1:complete], start=1):
        if _checked(above, f"Noise map {n} in {path}", (1, 3, None, None)).any():
            raise SinGANError(f"Noise map {n} in {path} is not zero: only the reconstruction noise of level 0 may be.")
    height, width = size
    padded = _checked(maps[0], f"The noise map of level 0 in {path}", (1, 3, height + 2 * layers, width + 2 * layers))
    if not padded.any():
        raise SinGANError(f"The noise map of level 0 in {path} is zero: this level was not trained from noise.")
    if not torch.equal(padded, padded[:, :1].expand_as(padded)):
        raise SinGANError(f"The noise map of level 0 in {path} differs between colours: it should be one for all.")
    inner = padded[..., layers:-layers, layers:-layers]
    noise_padding = bool(padded.count_nonzero() > inner.count_nonzero())
    return (padded if noise_padding else inner)[:, :1].float().clone(), noise_padding


def _level(folder: Path, amplitude: float) -> Level:
    path = folder / "netG.pth"
    weights = _state_dict(path)
    head = weights.get("head.conv.weight")
    if not isinstance(head, Tensor) or not len(head.shape) or not 1 <= head.shape[0] <= 1024:
        raise SinGANError(f"{path} is not a generator of the authors' code: 'head.conv.weight' is {_described(head)}.")
    kernels = head.shape[0]
    layers = 2 + len({name.split(".")[1] for name in weights if re.match(r"body\.\w+\.", name)})
    generator = _filled(Generator(kernels, layers), weights, path)
    path = folder / "netD.pth"
    discriminator = None
    if path.is_file():
        discriminator = _filled(Discriminator(kernels, layers), _state_dict(path), path)
    return Level(generator, discriminator, amplitude)


def _state_dict(path: Path) -> dict[str, Any]:
    weights = _read(path)
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise SinGANError(f"{path} should hold the weights of a network by name, got {_described(weights)}.")
    return weights


def _filled(network: Network, weights: dict[str, Any], path: Path) -> Network:
    """The network with the authors' weights in it, all of them and no others."""
    own = {official_name(name): (name, tuple(value.shape)) for name, value in network.state_dict().items()}
    state = {name: _checked(weights.get(key), f"{key} in {path}", shape) for key, (name, shape) in own.items()}
    if strange := [key for key in weights if key not in own]:
        raise SinGANError(f"{path} is not a network of the authors' code: it has weights named {strange[0]!r}.")
    network.load_state_dict(state)
    return network


def _width_rule(kernels: list[int]) -> dict[str, int]:
    """The settings that give these widths of the levels; for widths without a rule, those of the first levels.

    What counts are the widths of the networks; the settings are a record.
    """
    spacings = (4, 0, 1, 2, 3, *range(5, len(kernels)))
    rules = [
        {"kernels": kernels[0], "max_kernels": most, "double_kernels_every": every}
        for most in (max(TrainConfig.max_kernels, *kernels), max(kernels))
        for every in spacings
    ]
    given = (rule for rule in rules if [TrainConfig(**rule).kernels_at(n) for n in range(len(kernels))] == kernels)
    return next(given, rules[0])


def _is_scaled(size: Size, finest: Size, ratio: float) -> bool:
    """Whether `size` is the finest one times a ratio, rounded up."""
    scaled = [ratio * side for side in finest]
    return all(ceil(x - ROUNDING) <= side <= ceil(x + ROUNDING) for side, x in zip(size, scaled, strict=True))


def _checked(value: Any, name: str, shape: tuple[int | None, ...]) -> Tensor:
    """The value, if it is an ordinary tensor of finite numbers and of this shape, where None stands for any side."""
    ordinary = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
    fits = ordinary and value.dtype in DTYPES and len(value.shape) == len(shape) and 0 not in value.shape
    if not fits or any(side not in (None, own) for side, own in zip(shape, value.shape, strict=True)):
        wished = ", ".join("any" if side is None else str(side) for side in shape)
        raise SinGANError(f"{name} should be a tensor of shape ({wished}), got {_described(value)}.")
    if not value.isfinite().all():
        raise SinGANError(f"{name} holds numbers that are not finite: the training diverged, or the file is damaged.")
    return value.detach()


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}".replace("torch.", "")
    return "nothing" if value is None else f"{type(value).__name__}"
