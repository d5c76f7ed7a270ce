"""Paint to image: the level that is trained anew on few colours, and what becomes of a painting."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from singan_core import SinGAN, SinGANError, TrainConfig, train
from singan_core.applications import paint_to_image, painting_config
from singan_core.colours import find_palette, quantise
from singan_core.model import noise_shape, pack
from singan_core.networks import pad
from singan_core.progress import Progress
from singan_core.pyramid import build_pyramid, upsample
from singan_core.store import load_or_train, run_folder
from singan_core.training import LevelTrainer
from singan_core.views import RandomWindows, WholeImage

SCALE = 2


def same_bits(one: SinGAN, other: SinGAN) -> bool:
    left, right = pack(one)[0], pack(other)[0]
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def config(tiny: TrainConfig) -> TrainConfig:
    return painting_config(tiny, SCALE)


@pytest.fixture(scope="module")
def painted(picture: Tensor, config: TrainConfig, model: SinGAN) -> SinGAN:
    return train(picture, config, base=model, progress=False, device="cpu")


@pytest.fixture(scope="module")
def painting(picture: Tensor) -> Tensor:
    return quantise(picture.flip(-1), find_palette(picture, 4))


# -- the training


def test_only_the_injection_level_is_trained_anew(painted, model):
    assert len(painted.levels) == len(model.levels)
    for index, (level, before) in enumerate(zip(painted.levels, model.levels, strict=True)):
        assert (level is before) == (index != SCALE)
    assert torch.equal(painted.z_star, model.z_star)


def test_the_level_starts_from_fresh_weights_as_the_authors_do(picture, config, model):
    below = SinGAN(config, model.shape, model.z_star, model.levels[:1])
    real = build_pyramid(picture, min_size=config.min_size, max_size=config.max_size).images[1]
    for level, fresh in ((SCALE, False), (1, True)):
        below.config = replace(config, quantised_level=level)
        trainer = LevelTrainer(below, real, torch.Generator().manual_seed(0))
        same = torch.equal(trainer.generator.tail[0].weight, model.levels[0].generator.tail[0].weight)
        assert config.kernels_at(0) == config.kernels_at(1) and same != fresh


def test_the_colours_are_those_of_the_levels_image(painted, config, picture):
    sizes = {"min_size": config.min_size, "max_size": config.max_size, "scale_factor": config.scale_factor}
    image = build_pyramid(picture, **sizes).images[SCALE]
    assert torch.equal(painted.levels[SCALE].palette, find_palette(image, 5))


@pytest.mark.parametrize("windows", [False, True])
def test_the_inputs_in_training_are_reduced_to_the_colours(model, config, windows):
    """With zeros in the padding, as in drawing; one window is all of the image."""
    below = SinGAN(replace(config, crop=64), model.shape, model.z_star, model.levels[:SCALE])
    margin = config.layers

    def previous(palette: Tensor | None) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        view = RandomWindows(below, rng, 1, palette) if windows else WholeImage(below, rng, palette)
        return view.previous()

    inside = previous(None)[..., margin:-margin, margin:-margin]
    palette = find_palette(inside, 4)  # of this image: after the shortest training it is far from the photograph
    reduced = quantise(inside, palette)
    assert len(reduced.flatten(2)[0].T.unique(dim=0)) == 4
    assert torch.equal(previous(palette), pad(reduced, margin))


def test_the_reconstruction_in_training_is_reduced_too(painted, model, config, picture):
    below = SinGAN(config, model.shape, model.z_star, model.levels[:SCALE])
    sizes = {"min_size": config.min_size, "max_size": config.max_size, "scale_factor": config.scale_factor}
    image = build_pyramid(picture, **sizes).images[SCALE]
    trainer = LevelTrainer(below, image, torch.Generator().manual_seed(0))
    rebuilt = upsample(model.reconstruct(SCALE - 1), model.shape.sizes[SCALE], model.shape.factor)
    expected = pad(quantise(rebuilt, painted.levels[SCALE].palette), config.layers)
    assert torch.equal(trainer.reconstruction_below, expected)


def test_the_training_of_one_level_ends_with_no_time_left(model, config, picture):
    left = []
    train(
        picture, config, base=model, callback=lambda each: left.append(each.seconds_left), progress=False, device="cpu"
    )
    assert left[-1] == 0


def test_the_amplitude_comes_from_the_reconstruction_before_it_is_reduced(painted, model, picture, config):
    pyramid = build_pyramid(
        picture, min_size=config.min_size, max_size=config.max_size, scale_factor=config.scale_factor
    )
    rebuilt = upsample(model.reconstruct(SCALE - 1), model.shape.sizes[SCALE], model.shape.factor)
    rmse = (rebuilt - pyramid.images[SCALE]).square().mean().sqrt().item()
    # reconstruct() clamps what training does not
    assert painted.levels[SCALE].amplitude == pytest.approx(config.noise_amplitude * rmse, rel=1e-3)


def test_a_training_that_is_interrupted_ends_with_the_same_bits(painted, model, picture, config, tmp_path, monkeypatch):
    def stop(progress: Progress) -> None:
        assert progress.level == SCALE
        if progress.iteration == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("singan_core.progress.REPORT_SECONDS", 0)
    options = {"base": model, "checkpoint": tmp_path / "checkpoint.safetensors", "progress": False, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        train(picture, config, callback=stop, checkpoint_seconds=0, **options)
    assert same_bits(train(picture, config, **options), painted)


def test_the_run_store_trains_the_pyramid_first_and_then_the_level_alone(picture, config, tiny, painted, tmp_path):
    levels = []

    def seen(progress: Progress) -> None:
        if progress.iteration == progress.iterations:
            levels.append(progress.level)

    options = {"store": tmp_path, "progress": False, "device": "cpu"}
    model = load_or_train(picture, config, callback=seen, **options)
    assert sorted(set(levels)) == [0, 1, 2, 3] and levels[-1] == SCALE
    assert same_bits(model, painted)
    assert run_folder(picture, tiny, tmp_path).exists()

    def never(_: Progress) -> None:
        raise AssertionError("it trains")

    again = load_or_train(picture, config, callback=never, **options)
    assert same_bits(again, painted) and again.config == config


def test_the_file_of_a_painter_keeps_its_colours(painted, painting, tmp_path):
    painted.save(tmp_path / "painter.safetensors")
    loaded = SinGAN.load(tmp_path / "painter.safetensors", "cpu")
    assert torch.equal(loaded.levels[SCALE].palette, painted.levels[SCALE].palette)
    assert torch.equal(paint_to_image(loaded, painting), paint_to_image(painted, painting))


# -- paintings


def test_a_painting_is_injected_in_the_colours_of_the_level(painted, painting):
    shape, layers = painted.shape, painted.config.layers
    level, palette = painted.levels[SCALE], painted.levels[SCALE].palette
    quiet = SinGAN(painted.config, shape, painted.z_star, painted.levels[: SCALE + 1])

    def no_noise(index: int, size: tuple[int, ...]) -> Tensor:
        return torch.zeros(size)

    below = torch.nn.functional.interpolate(painting, shape.sizes[SCALE - 1])
    with torch.no_grad():
        drawn = quiet.generate(quiet.folded(), no_noise, shape, SCALE, SCALE, below)
        reduced = quantise(upsample(below, shape.sizes[SCALE], shape.factor), palette)
        zeros = torch.zeros(noise_shape(SCALE, shape.sizes[SCALE], painted.config))
        expected = level.generator(pad(zeros, layers), pad(reduced, layers))
    torch.testing.assert_close(drawn, expected, atol=1e-5, rtol=0)  # folded batch norm, float32


def test_the_scale_is_by_default_the_level_for_paintings(painted, painting):
    assert torch.equal(paint_to_image(painted, painting, n=2, seed=3), painted.inject(painting, SCALE, n=2, seed=3))


def test_any_pyramid_paints_without_a_level_of_its_own(model, painting):
    assert torch.equal(paint_to_image(model, painting, 1), model.inject(painting, 1))


def test_the_result_has_the_size_of_the_painting_when_asked(model, painting):
    large = torch.nn.functional.interpolate(painting, (72, 96))
    assert paint_to_image(model, large, 1).shape[-2:] == model.size
    assert paint_to_image(model, large, 1, full_size=True).shape == large.shape


# -- what is refused


def test_a_pyramid_without_a_level_for_paintings_needs_a_scale(model, painting):
    with pytest.raises(SinGANError, match="say at which scale"):
        paint_to_image(model, painting)


def test_level_0_is_no_default(painted, painting):
    with pytest.raises(SinGANError, match="scale must be a level from 1"):
        paint_to_image(painted, painting, 0)


def test_a_painting_of_other_proportions_keeps_them(model, painting):
    upright = painting.transpose(2, 3).contiguous()
    assert paint_to_image(model, upright, 1).shape[-2:] == model.size[::-1]


@pytest.mark.parametrize("scale", [0, -1, 1.5, True])
def test_settings_for_no_level_are_refused(tiny, scale):
    with pytest.raises(SinGANError, match="scale must be a level from 1 on"):
        painting_config(tiny, scale)


def test_a_level_that_the_pyramid_does_not_have_leaves_nothing_behind(picture, tiny, tmp_path: Path):
    with pytest.raises(SinGANError, match="quantised_level=4: this pyramid has the levels 0 to 3"):
        load_or_train(picture, painting_config(tiny, 4), store=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_the_settings_hold_the_level_and_the_colours(tiny):
    assert painting_config(tiny, 3, 7) == replace(tiny, quantised_level=3, quantised_colours=7)
    assert painting_config(tiny, 1) == replace(tiny, quantised_level=1, quantised_colours=5)


def test_a_base_must_be_there_and_fit(picture, tiny, config, model):
    with pytest.raises(SinGANError, match="use load_or_train"):
        train(picture, config, progress=False)
    with pytest.raises(SinGANError, match="only with a quantised_level"):
        train(picture, tiny, base=model, progress=False)
    with pytest.raises(SinGANError, match="another pyramid"):
        train(picture, replace(config, alpha=1), base=model, progress=False)
