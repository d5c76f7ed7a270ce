"""What is drawn from a trained pyramid: samples, reconstruction, injections, and its file."""

import copy
import subprocess
import sys
from operator import attrgetter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singan_core import SinGAN, SinGANError, TrainConfig, train
from singan_core.model import draw_tiled, full_float32, noise_shape, pack, pad_noise
from singan_core.networks import Generator, initialise, pad
from singan_core.pyramid import resize, upsample

ROUNDING = 1e-5  # float32 sums in another order, over four levels


def test_samples_are_images_of_the_trained_size(model):
    samples = model.sample(3, seed=1)
    assert samples.shape == (3, 3, *model.size)
    assert samples.dtype == torch.float32
    assert samples.abs().max() <= 1


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others(model):
    assert torch.equal(model.sample(2, seed=5), model.sample(2, seed=5))
    assert not torch.allclose(model.sample(2, seed=5), model.sample(2, seed=6), atol=1e-6)


def test_a_picture_does_not_depend_on_how_many_are_drawn_with_it(model):
    many, few = model.sample(11, seed=5), model.sample(2, seed=5)
    torch.testing.assert_close(many[:2], few, atol=ROUNDING, rtol=0)


def test_pictures_of_one_draw_differ(model):
    first, second = model.sample(2, seed=0)
    assert (first - second).abs().mean() > 1e-6


def test_drawing_leaves_the_model_and_the_global_random_state_alone(model):
    before, state = pack(model)[0], torch.get_rng_state()
    before = {name: value.clone() for name, value in before.items()}
    model.sample(2), model.reconstruct(), model.inject(model.reconstruct(), 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in pack(model)[0].items())


@given(height=st.integers(1, 90), width=st.integers(1, 90), start=st.integers(0, 3))
def test_any_size_can_be_drawn_from_any_level(model, height, width, start):
    assert model.sample(1, size=(height, width), start_scale=start).shape == (1, 3, height, width)


def test_factors_are_multiples_of_the_trained_size(model):
    height, width = model.size
    assert model.sample(1, factors=(2, 0.5)).shape[-2:] == (2 * height, round(width / 2))


def test_the_trained_size_asked_for_is_the_default(model):
    assert torch.equal(model.sample(1, size=list(model.size)), model.sample(1))
    assert torch.equal(model.sample(1, factors=(1, 1)), model.sample(1))


def test_sampling_by_hand_with_the_equations_gives_the_same_picture(model):
    from singan_core.model import seeded_noise

    noise, config = seeded_noise(7, range(1), torch.zeros(())), model.config
    with torch.no_grad():
        image = torch.zeros(1, 3, *model.shape.sizes[0])
        for n, level in enumerate(model.levels):
            size = model.shape.sizes[n]
            before = image if n == 0 else upsample(image, size, model.shape.factor)
            z = noise(n, noise_shape(n, size, config))
            image = level.generator(level.amplitude * pad_noise(z, config), pad(before, config.layers))
    torch.testing.assert_close(model.sample(1, seed=7), image.clamp(-1, 1), atol=ROUNDING, rtol=0)


def test_starting_finer_changes_less(model):
    reconstruction = model.reconstruct()
    distances = [(model.sample(4, start_scale=s) - reconstruction).abs().mean().item() for s in range(4)]
    assert distances == sorted(distances, reverse=True)


def test_levels_below_the_start_are_those_of_the_reconstruction(model):
    stop = 2
    coarse = model.reconstruct(stop - 1)
    assert coarse.shape[-2:] == model.shape.sizes[stop - 1]
    injected = model.inject(resize(coarse, model.shape.sizes[stop - 1]), stop, seed=4, size=model.size)
    torch.testing.assert_close(model.sample(1, seed=4, start_scale=stop), injected, atol=ROUNDING, rtol=0)


def test_a_stop_scale_gives_that_levels_image(model):
    for level, size in enumerate(model.shape.sizes):
        assert model.sample(1, stop_scale=level).shape[-2:] == size


def test_the_reconstruction_is_deterministic_and_image_sized(model):
    assert torch.equal(model.reconstruct(), model.reconstruct())
    assert model.reconstruct().shape == (1, 3, *model.size)


def test_the_recorded_reconstruction_loss_is_that_of_the_networks_in_training(picture):
    """After enough steps the running statistics have settled, and the finished level rebuilds what it learned."""
    config = TrainConfig.for_profile("smoke", iterations=60, min_size=30, max_size=40)
    model = train(picture, config, progress=False, device="cpu")
    real = resize(picture, model.shape.sizes[0], model.shape.factor ** (len(model.levels) - 1) * 40 / 48)
    error = (model.reconstruct(0) - real).square().mean().item()
    assert error == pytest.approx(model.levels[0].history[-1, 4], rel=0.5)
    assert error < 0.5 * model.levels[0].history[0, 4]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_injection_keeps_the_pictures_shape_at_the_trained_resolution(model, picture, scale):
    assert model.inject(picture, scale, n=2).shape == (2, 3, *model.size)
    wide = torch.nn.functional.interpolate(picture, (40, 160))
    assert model.inject(wide, scale).shape == (1, 3, 12, 48)
    assert model.inject(wide, scale, size=(30, 31)).shape == (1, 3, 30, 31)


@given(larger=st.floats(1.0, 2.5), scale=st.integers(1, 3))
def test_an_injected_picture_keeps_its_place(model, larger, scale):
    """Generators that add no detail give the picture back, blurred, and where it was."""
    levels = copy.deepcopy(model.levels)
    for level in levels:
        torch.nn.init.zeros_(level.generator.tail[0].weight)
        torch.nn.init.zeros_(level.generator.tail[0].bias)
    silent = SinGAN(model.config, model.shape, model.z_star, levels)
    height, width = (round(larger * side) for side in model.size)
    ramp = torch.linspace(-0.5, 0.5, height)[:, None] + torch.linspace(-0.4, 0.4, width)
    ramp = ramp.expand(1, 3, height, width)
    injected = silent.inject(ramp, scale, size=(height, width))
    middle = (..., slice(height // 3, -height // 3), slice(width // 3, -width // 3))
    pixel = 1 / height + 0.8 / width  # what the ramp rises from a pixel to the next one along the diagonal
    assert (injected - ramp)[middle].abs().max().item() < 0.1 * pixel


def test_a_finer_injection_stays_closer_to_the_picture(model, picture):
    distances = [(model.inject(picture, scale, n=4) - picture).abs().mean().item() for scale in (1, 2, 3)]
    assert distances == sorted(distances, reverse=True)


def test_what_is_drawn_may_enter_a_loss(model, picture):
    weight = torch.ones(1, requires_grad=True)
    for image in (model.sample(1), model.sample(1, start_scale=2), model.reconstruct(), model.inject(picture, 2)):
        (image * weight).square().mean().backward()
    assert weight.grad is not None


def test_noise_padding_draws_noise_up_to_the_border(picture, tiny):
    config = TrainConfig.from_dict(tiny.to_dict() | {"noise_padding": True})
    model = train(picture, config, progress=False, device="cpu")
    height, width = model.shape.sizes[0]
    assert model.z_star.shape == (1, 1, height + 10, width + 10)
    assert model.sample(2, size=(50, 60)).shape == (2, 3, 50, 60)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.sample(0),
        lambda m: m.sample(2.5),
        lambda m: m.sample(True),
        lambda m: m.sample(1, seed=-1),
        lambda m: m.sample(1, seed="a"),
        lambda m: m.sample(1, size=(0, 5)),
        lambda m: m.sample(1, size=(5.5, 5)),
        lambda m: m.sample(1, size=(5, 5, 5)),
        lambda m: m.sample(1, size=7),
        lambda m: m.sample(1, factors=(1, -1)),
        lambda m: m.sample(1, factors=(float("nan"), 1)),
        lambda m: m.sample(1, factors=2.0),
        lambda m: m.sample(1, factors=(1e9, 1)),
        lambda m: m.sample(1, size=(5, 5), factors=(1, 1)),
        lambda m: m.sample(1, start_scale=4),
        lambda m: m.sample(1, start_scale=-1),
        lambda m: m.sample(1, start_scale=2, stop_scale=1),
        lambda m: m.reconstruct(9),
        lambda m: m.inject(torch.zeros(1, 3, 8, 8), 0),
        lambda m: m.inject(torch.zeros(1, 3, 8, 8), 4),
        lambda m: m.inject(torch.zeros(2, 3, 8, 8), 1),
        lambda m: m.inject(torch.full((1, 3, 8, 8), 255.0), 1),
        lambda m: m.inject("picture.png", 1),
    ],
)
def test_calls_that_make_no_sense_are_refused(model, call):
    with pytest.raises(SinGANError):
        call(model)


def test_injecting_at_level_0_says_why_not(model, picture):
    with pytest.raises(SinGANError, match="starts from noise alone"):
        model.inject(picture, 0)


def test_a_saved_model_draws_the_same_pictures(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    loaded = SinGAN.load(tmp_path / "model.safetensors", "cpu")
    assert loaded.config == model.config and loaded.shape == model.shape
    assert torch.equal(loaded.sample(2, seed=3), model.sample(2, seed=3))
    assert torch.equal(loaded.reconstruct(), model.reconstruct())
    for own, other in zip(loaded.levels, model.levels, strict=True):
        assert own.amplitude == other.amplitude
        assert (own.history == other.history).all()


def test_a_model_is_saved_and_loaded_at_home(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model.save("~/model.safetensors")
    assert (tmp_path / "model.safetensors").exists()
    assert torch.equal(SinGAN.load("~/model.safetensors", "cpu").z_star, model.z_star)


@pytest.fixture
def tf32_settings():
    """PyTorch's settings of TF32 are after the test what they were before."""
    names = ("cudnn.conv", "cudnn.rnn", "cudnn")
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("PyTorch before 2.9")
    flags = [(attrgetter(name)(torch.backends), attrgetter(name)(torch.backends).fp32_precision) for name in names]
    yield
    for flag, value in flags:
        flag.fp32_precision = value


@pytest.mark.parametrize("value", ["ieee", "tf32", "none"])
def test_drawing_leaves_the_precision_of_convolutions_as_somebody_has_set_it(model, tf32_settings, value):
    conv = torch.backends.cudnn.conv
    conv.fp32_precision = value
    with full_float32():
        assert conv.fp32_precision == "ieee"
    model.sample(1)
    assert conv.fp32_precision == value


@pytest.mark.parametrize("value", [True, False])
def test_drawing_leaves_the_older_setting_of_tf32_as_it_is(model, tf32_settings, value):
    torch.backends.cudnn.allow_tf32 = value
    model.sample(1)
    assert torch.backends.cudnn.allow_tf32 is value


def test_a_model_without_discriminators_can_be_saved_and_drawn_from(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    slim = SinGAN.load(tmp_path / "model.safetensors", "cpu")
    for level in slim.levels:
        level.discriminator = None
    slim.save(tmp_path / "slim.safetensors")
    loaded = SinGAN.load(tmp_path / "slim.safetensors", "cpu")
    assert torch.equal(loaded.sample(1), model.sample(1))
    assert (tmp_path / "slim.safetensors").stat().st_size < (tmp_path / "model.safetensors").stat().st_size


def test_a_tensor_file_that_is_no_model_is_refused(tmp_path):
    from singan_core.files import write_tensors

    write_tensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"format": 1})
    with pytest.raises(SinGANError, match="does not hold a trained pyramid"):
        SinGAN.load(tmp_path / "other.safetensors")


def test_an_unknown_device_is_refused(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(SinGANError, match="no device"):
        SinGAN.load(tmp_path / "model.safetensors", "no-such-device")


def test_a_float64_model_survives_saving_bit_by_bit(picture, tiny, tmp_path):
    config = TrainConfig.from_dict(tiny.to_dict() | {"precision": "float64", "iterations": 1})
    model = train(picture, config, progress=False, device="cpu")
    model.save(tmp_path / "model.safetensors")
    ours, theirs = pack(SinGAN.load(tmp_path / "model.safetensors", "cpu"))[0], pack(model)[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_an_unfinished_pyramid_draws_at_the_size_of_its_last_level(picture, tiny):
    seen = []

    def draw(progress):
        if progress.iteration == progress.iterations:
            model = progress.model
            seen.append(len(model.levels))
            assert model.size == model.shape.sizes[progress.level]
            assert model.sample(1).shape[-2:] == model.size
            assert model.sample(1, size=(20, 22)).shape[-2:] == (20, 22)
            assert model.sample(1, factors=(2, 2)).shape[-2:] == (2 * model.size[0], 2 * model.size[1])

    train(picture, tiny, callback=draw, progress=False, device="cpu")
    assert sorted(set(seen)) == [1, 2, 3, 4]


def test_drawing_before_any_level_is_trained_is_refused(model):
    untrained = SinGAN(model.config, model.shape, model.z_star)
    with pytest.raises(SinGANError, match="0 trained levels"):
        untrained.sample(1)


def test_a_checkpoint_is_not_taken_for_a_trained_pyramid(picture, tiny, tmp_path, stop_at):
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(picture, tiny, checkpoint=file, callback=stop_at(2), progress=False, device="cpu")
    with pytest.raises(SinGANError, match="not finished"):
        SinGAN.load(file, "cpu")


def test_a_picture_too_large_to_draw_is_refused_before_memory_is_taken(model):
    with pytest.raises(SinGANError, match="ask for less"):
        model.sample(1, size=(8192, 8192))


def test_large_pictures_go_one_by_one_and_are_the_same(model, monkeypatch):
    together = model.sample(3, seed=2)
    monkeypatch.setattr("singan_core.model.BATCH_VALUES", 1)
    torch.testing.assert_close(model.sample(3, seed=2), together, atol=ROUNDING, rtol=0)


@given(height=st.integers(1, 70), width=st.integers(1, 70), side=st.integers(1, 80), batch=st.integers(1, 2))
@settings(max_examples=30)
def test_tiles_of_any_size_make_up_the_very_image(height, width, side, batch):
    generator = Generator(3).eval().double()
    initialise(generator, torch.Generator().manual_seed(0))
    noise = torch.randn(batch, 1, height + 10, width + 10, dtype=torch.float64)
    previous = torch.rand(1, 3, height + 10, width + 10, dtype=torch.float64)
    with torch.no_grad():
        whole, tiled = generator(noise, previous), draw_tiled(generator, noise, previous, max(side, height // 8))
    torch.testing.assert_close(tiled, whole, atol=1e-12, rtol=0)


def test_a_sample_drawn_in_tiles_is_the_sample_drawn_whole(model, monkeypatch):
    size = (70, 110)
    monkeypatch.setattr("singan_core.model.TILE", 2000)
    whole = model.sample(1, seed=3, size=size)
    monkeypatch.setattr("singan_core.model.TILE", 32)
    torch.testing.assert_close(model.sample(1, seed=3, size=size), whole, atol=1e-5, rtol=0)


@pytest.mark.system
def test_a_four_megapixel_sample_needs_less_than_four_gigabytes(tmp_path):
    """Measured in a process of its own, on networks of 32 to 128 kernels, all memory of Python and PyTorch included.

    Three layers are enough: the two hidden ones of the finest level, which a convolution needs at once, would be 4.1 GB
    for the whole picture, and more layers need no more at a time.
    """
    code = """
import resource, torch
from singan_core.model import Level, SinGAN, finish, noise_shape
from singan_core.config import TrainConfig
from singan_core.networks import Generator, initialise
from singan_core.pyramid import pyramid_shape
config = TrainConfig(layers=3)
shape = pyramid_shape((200, 250))
rng = torch.Generator().manual_seed(0)
model = SinGAN(config, shape, torch.randn(noise_shape(0, shape.sizes[0], config), generator=rng))
for index in range(len(shape)):
    generator = Generator(config.kernels_at(index), config.layers)
    initialise(generator, rng)
    model.levels.append(Level(generator, None, 0.1))
    finish(model.levels[-1], model.z_star)
picture = model.sample(1, size=(1792, 2240), start_scale=len(shape) - 1)
assert picture.shape == (1, 3, 1792, 2240) and picture.isfinite().all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 4e9
