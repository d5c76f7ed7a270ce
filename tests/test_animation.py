"""Animation: the walk through the noise, what stays still, and the files."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from singan_core import SinGAN, SinGANError, TrainConfig, to_array, train
from singan_core.applications import animate, animation_config, save_animation
from singan_core.applications.animation import noise_walk
from singan_core.model import SAMPLE_BATCH, noise_shape, seeded_noise


@pytest.fixture(scope="module")
def moving(picture: Tensor) -> SinGAN:
    """A tiny pyramid trained for animation."""
    base = TrainConfig.for_profile("smoke", kernels=4, iterations=2)
    return train(picture, animation_config(base), progress=False, device="cpu")


# -- the walk


def test_the_walk_is_the_authors(moving):
    alpha, beta, level = 0.2, 0.8, 0
    shape = noise_shape(level, moving.shape.sizes[level], moving.config)
    new = seeded_noise(7, range(6), moving.z_star)(level, shape)
    centre = before = moving.z_star
    now = 0.95 * centre + 0.05 * new[:1]
    expected = []
    for step in new[1:]:
        difference = beta * (now - before) + (1 - beta) * step
        before, now = now, alpha * centre + (1 - alpha) * (now + difference)
        expected.append(now)
    walked = noise_walk(moving, alpha, beta, seed=7)(range(5))(level, shape)
    torch.testing.assert_close(walked, torch.cat(expected))


@given(split=st.integers(1, 4), level=st.integers(0, 2))
@settings(max_examples=10)
def test_the_walk_goes_on_from_batch_to_batch(moving, split, level):
    shape = noise_shape(level, moving.shape.sizes[level], moving.config)
    whole = noise_walk(moving, 0.1, 0.9, seed=1)(range(5))(level, shape)
    walk = noise_walk(moving, 0.1, 0.9, seed=1)
    parts = [walk(pictures)(level, shape) for pictures in (range(split), range(split, 5))]
    assert torch.equal(torch.cat(parts), whole)


def test_noise_is_drawn_on_the_padded_grid(moving):
    margin = moving.config.layers
    height, width = moving.shape.sizes[0]
    assert moving.config.noise_padding
    assert moving.z_star.shape[-2:] == (height + 2 * margin, width + 2 * margin)


def test_the_settings_are_the_authors():
    config = animation_config(TrainConfig(alpha=3))
    assert (config.noise_padding, config.min_size, config.alpha) == (True, 20, 3)
    assert animation_config(TrainConfig(layers=12)).min_size == 25


# -- frames


def test_frames_are_images_of_the_trained_size_that_differ(moving):
    frames = animate(moving, 3)
    assert frames.shape == (3, 3, *moving.size)
    assert frames.dtype == torch.float32 and frames.abs().max() <= 1
    assert not torch.equal(frames[0], frames[1])


def test_a_frame_does_not_depend_on_how_many_follow(moving):
    many, few = animate(moving, SAMPLE_BATCH + 1, seed=2), animate(moving, 2, seed=2)
    torch.testing.assert_close(many[:2], few, atol=1e-5, rtol=0)  # float32 sums in another order


def test_drawn_back_all_the_way_the_frames_are_the_reconstruction(moving):
    frames = animate(moving, 2, alpha=1, start_scale=0)
    torch.testing.assert_close(frames, moving.reconstruct().expand_as(frames), atol=1e-5, rtol=0)


def test_the_frames_are_drawn_from_the_walk_that_was_asked_for(moving):
    asked = moving.draw(3, noise_walk(moving, 0.3, 0.6, seed=4), start_scale=1)
    assert torch.equal(animate(moving, 3, alpha=0.3, beta=0.6, start_scale=1, seed=4), asked)
    papers = moving.draw(3, noise_walk(moving, 0.1, 0.9, seed=0), start_scale=2)
    assert torch.equal(animate(moving, 3), papers)


def test_levels_below_the_start_stay_still(moving):
    last = len(moving.levels) - 1
    by_start = [animate(moving, 4, start_scale=start).std(dim=0).mean().item() for start in (0, last)]
    assert 0 < by_start[1] < by_start[0]


def test_the_larger_beta_the_smoother(moving):
    def jumps(beta: float) -> float:
        return animate(moving, 6, beta=beta, start_scale=0).diff(dim=0).abs().mean().item()

    assert jumps(0.95) < jumps(0.2)


@given(height=st.integers(8, 60), width=st.integers(8, 60), start=st.integers(1, 2))
@settings(max_examples=10)
def test_frames_of_any_size_are_drawn_from_level_one_on(moving, height, width, start):
    assert animate(moving, 2, size=(height, width), start_scale=start).shape == (2, 3, height, width)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.1}, "alpha must be"),
        ({"beta": -0.1}, "beta must be"),
        ({"beta": True}, "beta must be"),
        ({"start_scale": 99}, "start_scale must be"),
        ({"frames": 0}, "number of pictures"),
        ({"seed": -1}, "seed must be"),
        ({"size": (40, 40), "start_scale": 0}, "start_scale=1"),
    ],
)
def test_values_out_of_range_are_refused(moving, options, message):
    with pytest.raises(SinGANError, match=message):
        animate(moving, **options)


# -- files


@pytest.fixture
def frames() -> Tensor:
    return 2 * torch.rand(4, 3, 9, 14, generator=torch.Generator().manual_seed(0)) - 1


@pytest.mark.parametrize(("fps", "milliseconds"), [(10, 100), (12, 80), (50, 20)])
def test_a_gif_has_all_frames_and_repeats_at_the_speed_asked_for(frames, tmp_path, fps, milliseconds):
    save_animation(frames, tmp_path / "new" / "moving.gif", fps=fps)
    with Image.open(tmp_path / "new" / "moving.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (4, (14, 9), 0)
        assert gif.info["duration"] == milliseconds


@pytest.mark.parametrize(("fps", "milliseconds"), [(1, 1000), (15, 70), (40, 20)])
def test_a_gif_counts_in_the_nearest_hundredths_of_a_second(frames, tmp_path, fps, milliseconds):
    save_animation(frames, tmp_path / "moving.GIF", fps=fps)
    with Image.open(tmp_path / "moving.GIF") as gif:
        assert gif.info["duration"] == milliseconds


def test_a_gif_shows_the_frames(tmp_path):
    frames = torch.stack([torch.full((3, 20, 30), level) for level in (-1.0, 0.0, 1.0)])
    save_animation(frames, tmp_path / "moving.gif")
    with Image.open(tmp_path / "moving.gif") as gif:
        for number, expected in enumerate(to_array(frames)):
            gif.seek(number)
            np.testing.assert_array_equal(np.asarray(gif.convert("RGB")), expected)


@given(height=st.integers(1, 40), width=st.integers(1, 40), count=st.integers(1, 3))
@settings(max_examples=15)
def test_a_gif_of_any_size(tmp_path_factory, height, width, count):
    path = tmp_path_factory.mktemp("gif") / "moving.gif"
    frames = 2 * torch.rand(count, 3, 9, 14, generator=torch.Generator().manual_seed(0)) - 1
    save_animation(frames, path, size=(height, width))
    with Image.open(path) as gif:
        assert gif.size == (width, height)


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is on the PATH, with a stand-in for ffmpeg that keeps what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\n/bin/cat > {folder}/input\n'
                       'for last; do :; done\necho video > "$last"\n')  # fmt: skip
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_an_mp4_is_made_by_ffmpeg_from_the_raw_frames(frames, ffmpeg, tmp_path):
    save_animation(frames, tmp_path / "moving.mp4", fps=12.5)
    arguments = (ffmpeg / "arguments").read_text()
    assert "-f rawvideo -pix_fmt rgb24 -s 14x9 -r 12.5 -i -" in arguments
    assert (ffmpeg / "input").read_bytes() == to_array(frames).tobytes()
    assert (tmp_path / "moving.mp4").read_text() == "video\n"


def test_a_failing_ffmpeg_leaves_the_older_file_and_says_why(frames, ffmpeg, tmp_path):
    (ffmpeg / "ffmpeg").write_text("#!/bin/sh\n/bin/cat > /dev/null\necho 'no such encoder' >&2\nexit 1\n")
    (tmp_path / "moving.mp4").write_text("older")
    with pytest.raises(SinGANError, match="no such encoder"):
        save_animation(frames, tmp_path / "moving.mp4")
    assert (tmp_path / "moving.mp4").read_text() == "older"
    assert sorted(os.listdir(tmp_path)) == ["bin", "moving.mp4"]


def test_an_mp4_without_ffmpeg_is_explained(frames, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SinGANError, match="ffmpeg, which is not on the PATH"):
        save_animation(frames, tmp_path / "moving.mp4")
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(not any(Path(folder, "ffmpeg").exists() for folder in os.get_exec_path()), reason="needs ffmpeg")
def test_the_installed_ffmpeg_writes_an_mp4(frames, tmp_path):
    save_animation(frames, tmp_path / "moving.mp4")
    assert (tmp_path / "moving.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("moving.avi", {}, "end it in .gif or .mp4"),
        ("moving", {}, "end it in .gif or .mp4"),
        ("moving.gif", {"fps": 0}, "fps must be"),
        ("moving.gif", {"fps": 51}, "fps must be"),
        ("moving.gif", {"size": (0, 4)}, "size must be"),
        ("moving.gif", {"size": 4}, "size must be"),
        ("moving.gif", {"size": (4.5, 4)}, "size must be"),
    ],
)
def test_what_cannot_be_written_is_explained(frames, tmp_path, name, options, message):
    with pytest.raises(SinGANError, match=message):
        save_animation(frames, tmp_path / name, **options)


def test_frames_too_large_for_a_gif_are_explained(tmp_path):
    with pytest.raises(SinGANError, match="1 x 65536 pixels are too many for a GIF"):
        save_animation(torch.zeros(1, 3, 1, 65536), tmp_path / "wide.gif")
    assert list(tmp_path.iterdir()) == []
