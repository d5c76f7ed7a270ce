"""Animation: a random walk through the noise of a pyramid, and its frames as a GIF or MP4 (paper, section 4)."""

import io
import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from singan_core.arguments import check_count, is_number, is_whole, to_path
from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.files import replacing
from singan_core.images import check_image, to_array
from singan_core.model import MAX_SIDE, NoiseSource, SinGAN, seeded_noise
from singan_core.pyramid import Size, resize

MIN_SIZE, FIRST_STEP = 20, 0.05
"""The authors' coarsest side in pixels, and the share of new noise in the first step of the walk."""

LARGEST_GIF = 2**16 - 1
"""Pixels of a side: the format has two bytes for it."""


def animation_config(config: TrainConfig) -> TrainConfig:
    """The settings with which a pyramid learns to be animated, as the authors': the rest is as in `config`.

    Noise is drawn on the padded grid too, in place of the zeros around it, and the coarsest side has 20 px, or one
    receptive field where that is more.
    """
    return replace(config, noise_padding=True, min_size=max(MIN_SIZE, 2 * config.layers + 1))


def animate(
    model: SinGAN,
    frames: int = 100,
    *,
    alpha: float = 0.1,
    beta: float = 0.9,
    start_scale: int = 2,
    seed: int = 0,
    size: Size | None = None,
) -> Tensor:
    """Frames of the photograph in motion, (frames, 3, H, W) in [-1, 1].

    model: trained with `animation_config`, as the authors train for this. alpha, in [0, 1]: how strongly the walk is
    drawn back to the photograph. beta, in [0, 1]: how smooth it is; 1 never changes its direction. The paper has 0.1
    and 0.8 to 0.95. start_scale: levels below it stay still; the paper has 0 to 2. seed: frame k is
    the same in animations of any length. size: (height, width) of the frames, by default the trained one; another one
    needs a start_scale from 1 on, because the noise of level 0 has one size.

    Source: the supplement's section on animation; see `noise_walk`. Raises SinGANError for values out of range.
    """
    check_walk(frames, alpha, beta)
    return model.draw(frames, noise_walk(model, alpha, beta, seed), size=size, start_scale=start_scale)


def check_walk(frames: int, alpha: float, beta: float) -> None:
    """Raises SinGANError for settings that `animate` refuses, whatever the pyramid is."""
    check_count("frames", frames)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not is_number(value) or not 0 <= value <= 1:
            raise SinGANError(f"{name} must be a number from 0 to 1, got {value!r}.")


def noise_walk(model: SinGAN, alpha: float, beta: float, seed: int) -> Callable[[range], NoiseSource]:
    """The noise of the frames of an animation, for `SinGAN.draw`: at each level a random walk that starts at z*.

    z_1 = 0.95 z* + 0.05 e, then z_t+1 = alpha z* + (1 - alpha) (z_t + beta (z_t - z_t-1) + (1 - beta) e), with new
    normal noise e in every step and z_0 = z*; the frames are z_2, z_3 and so on.
    """
    last_two: dict[int, tuple[Tensor, Tensor]] = {}

    def noise_of(pictures: range) -> NoiseSource:
        new = seeded_noise(seed, range(pictures.start + 1, pictures.stop + 1), model.z_star)

        def noise(level: int, shape: tuple[int, int, int, int]) -> Tensor:
            centre = model.reconstruction_noise(level, shape)
            if centre.shape != shape:
                raise SinGANError("The noise of level 0 has one size: for frames of another one set start_scale=1 on.")
            if level not in last_two:
                first = seeded_noise(seed, range(1), model.z_star)(level, shape)
                last_two[level] = centre, (1 - FIRST_STEP) * centre + FIRST_STEP * first
            before, now = last_two[level]
            walked = []
            for step in new(level, shape).split(1):
                ahead = now + beta * (now - before) + (1 - beta) * step
                before, now = now, alpha * centre + (1 - alpha) * ahead
                walked.append(now)
            last_two[level] = before, now
            return torch.cat(walked)

        return noise

    return noise_of


def save_animation(frames: Tensor, path: str | Path, *, fps: float = 10, size: Size | None = None) -> None:
    """Write frames (n, 3, H, W) in [-1, 1] to a file that ends in .gif or .mp4; it appears whole or not at all.

    fps: frames per second, 1 to 50; a GIF counts in hundredths of a second. size: (height, width) to which the frames
    are resized. A GIF repeats forever, with 256 colours in each frame. An MP4 is made by the program ffmpeg, which must
    be installed; odd sides get a black line, because the format wants even ones.

    Raises SinGANError for another suffix, values out of range, a missing or failing ffmpeg and unwritable places.
    """
    path = to_path(path)
    check_image(frames, "frames")
    check_film(path, fps)
    if size is not None:
        frames = resize(frames, _checked_size(size))
    write = {".gif": _gif, ".mp4": _mp4}[path.suffix.lower()]
    pictures = to_array(frames).reshape(len(frames), *frames.shape[-2:], 3)
    with replacing(path) as unfinished:
        write(pictures, fps, unfinished)


def check_film(path: Path, fps: float) -> None:
    """Raises SinGANError for a file or a rate that `save_animation` refuses, whatever the frames are."""
    if not is_number(fps) or not 1 <= fps <= 50:
        raise SinGANError(f"fps must be a number of frames per second from 1 to 50, got {fps!r}.")
    suffix = path.suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise SinGANError(f"Cannot tell from its name how to write '{path}': end it in .gif or .mp4.")
    if suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise SinGANError("An MP4 needs the program ffmpeg, which is not on the PATH: install it, or write a .gif.")


def _gif(pictures: np.ndarray, fps: float, path: Path) -> None:
    height, width = pictures.shape[1:3]
    if max(height, width) > LARGEST_GIF:
        raise SinGANError(f"{height} x {width} pixels are too many for a GIF: a side has {LARGEST_GIF} at most.")
    first, *others = (Image.fromarray(picture) for picture in pictures)
    encoded = io.BytesIO()  # as in images.save_image: a full disk must not pass unnoticed
    first.save(encoded, "GIF", save_all=True, append_images=others, duration=10 * round(100 / fps), loop=0)
    path.write_bytes(encoded.getvalue())


def _mp4(pictures: np.ndarray, fps: float, path: Path) -> None:
    height, width = pictures.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
    target = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    command = ["ffmpeg", "-y", "-loglevel", "error", *source, *target]
    done = subprocess.run(command, input=pictures.tobytes(), capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise SinGANError(f"ffmpeg could not write the MP4 ({said[-1]}): write a .gif, or another size.")


def _checked_size(size: Size) -> Size:
    try:
        height, width = size
    except (TypeError, ValueError):
        height = width = math.nan
    if not all(is_whole(side) and 1 <= side <= MAX_SIDE for side in (height, width)):
        raise SinGANError(f"size must be (height, width) in whole pixels from 1 to {MAX_SIDE}, got {size!r}.")
    return height, width
