"""Checkpoints of the authors' code: their tensors arrive unchanged, and nothing else in the files does."""

import io
import math
import os
import pickle
import re
import shutil
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

from singan_core import SinGAN, SinGANError, TrainConfig, pyramid_shape
from singan_core.official import fitted_shape, import_official
from tests.reference import imresize

ROUNDING = 1e-5  # float32 sums in another order, over a few levels
TRAINED = "scale_factor=0.750000,alpha=10"


# -- checkpoints like those of the authors: the same module names, lists and files, in plain PyTorch


def official_block(in_channels, kernels):
    parts = {"conv": nn.Conv2d(in_channels, kernels, 3), "norm": nn.BatchNorm2d(kernels), "act": nn.LeakyReLU(0.2)}
    return nn.Sequential(OrderedDict(parts))


def official_body(kernels, layers):
    return nn.Sequential(OrderedDict((f"block{i}", official_block(kernels, kernels)) for i in range(1, layers - 1)))


class OfficialG(nn.Module):
    def __init__(self, kernels, layers):
        super().__init__()
        self.margin = layers
        self.head = official_block(3, kernels)
        self.body = official_body(kernels, layers)
        self.tail = nn.Sequential(nn.Conv2d(kernels, 3, 3), nn.Tanh())

    def forward(self, x, prev):
        m = self.margin
        return self.tail(self.body(self.head(x))) + prev[:, :, m:-m, m:-m]


class OfficialD(nn.Module):
    def __init__(self, kernels, layers):
        super().__init__()
        self.head = official_block(3, kernels)
        self.body = official_body(kernels, layers)
        self.tail = nn.Conv2d(kernels, 1, 3)

    def forward(self, x):
        return self.tail(self.body(self.head(x)))


class Official:
    """A pyramid as the authors' code has it in memory when it saves."""

    def __init__(self, widths=(3, 3, 4), layers=5, size=(26, 34), min_size=15, noise_padding=False, seed=0):
        rng = torch.Generator().manual_seed(seed)
        steps = len(widths) - 1
        self.factor = (min_size / min(size)) ** (1 / steps) if steps else 0.75
        coarse = torch.rand(1, 3, 5, 6, generator=rng) * 1.8 - 0.9
        finest = F.interpolate(coarse, size, mode="bilinear")
        self.reals = [imresize(finest, self.factor ** (steps - n)) for n in range(steps + 1)]
        self.amplitudes = [1] + [torch.rand((), generator=rng) * 0.1 for _ in range(steps)]
        self.noise_padding = noise_padding
        self.zs = []
        for n, real in enumerate(self.reals):
            z = torch.zeros(1, 3, real.shape[2] + 2 * layers, real.shape[3] + 2 * layers)
            if n == 0:
                grid = z if noise_padding else z[..., layers:-layers, layers:-layers]
                grid[:] = torch.randn(1, 1, *grid.shape[2:], generator=rng)
            self.zs.append(z)
        self.gs = [OfficialG(kernels, layers) for kernels in widths]
        self.ds = [OfficialD(kernels, layers) for kernels in widths]
        for network in (*self.gs, *self.ds):
            for name, value in network.state_dict().items():  # all of it, so that no part may be left out
                if value.is_floating_point():
                    spread = 0.5 + torch.rand(value.shape, generator=rng) if "var" in name else None
                    fresh = torch.randn(value.shape, generator=rng) * 0.3
                    value.copy_(fresh if spread is None else spread)
                else:
                    value.fill_(6000)
            network.eval()

    @torch.no_grad()
    def reconstruct(self):
        image = torch.zeros_like(self.reals[0])
        for n, (netG, z, amplitude) in enumerate(zip(self.gs, self.zs, self.amplitudes, strict=True)):
            if n:
                height, width = self.reals[n].shape[2:]
                image = imresize(image, 1 / self.factor)[:, :, :height, :width]
            prev = F.pad(image, (netG.margin,) * 4)
            image = netG(amplitude * z + prev, prev)
        return image.clamp(-1, 1)

    def save(self, folder, legacy=False):
        def write(value, name):
            torch.save(value, folder / name, _use_new_zipfile_serialization=not legacy)

        folder.mkdir(parents=True)
        write(self.zs, "Zs.pth"), write(self.reals, "reals.pth"), write(self.amplitudes, "NoiseAmp.pth")
        (folder / "Gs.pth").write_bytes(b"never to be opened")
        for n, (netG, netD, z) in enumerate(zip(self.gs, self.ds, self.zs, strict=True)):
            (folder / str(n)).mkdir()
            write(netG.state_dict(), f"{n}/netG.pth"), write(netD.state_dict(), f"{n}/netD.pth")
            write(z, f"{n}/z_opt.pth")
        return folder


@pytest.fixture(scope="module")
def official():
    return Official()


@pytest.fixture(scope="module")
def original(official, tmp_path_factory):
    return official.save(tmp_path_factory.mktemp("trained") / "tree" / TRAINED)


@pytest.fixture
def folder(original, tmp_path):
    """A checkpoint that the test may damage."""
    return Path(shutil.copytree(original, tmp_path / "tree" / TRAINED))


def change(path, alter):
    """Rewrite a .pth file with what `alter` makes of its value."""
    torch.save(alter(torch.load(path, weights_only=True)), path)


# -- what arrives


def test_the_reconstruction_is_that_of_the_authors_modules(official, original):
    model = import_official(original, "cpu")
    torch.testing.assert_close(model.reconstruct(), official.reconstruct(), atol=ROUNDING, rtol=0)


def test_the_discriminators_score_as_the_authors_modules_do(official, original):
    for level, netD, real in zip(import_official(original, "cpu").levels, official.ds, official.reals, strict=True):
        torch.testing.assert_close(level.discriminator(real), netD(real).detach(), atol=ROUNDING, rtol=ROUNDING)


def test_every_weight_and_statistic_arrives_bit_by_bit(official, original):
    for level, netG, netD in zip(import_official(original, "cpu").levels, official.gs, official.ds, strict=True):
        for own, theirs in ((level.generator, netG), (level.discriminator, netD)):
            pairs = zip(own.state_dict().values(), theirs.state_dict().values(), strict=True)
            assert all(torch.equal(mine, other) for mine, other in pairs)


def test_the_pyramid_and_its_settings_arrive(official, original):
    model = import_official(str(original), "cpu")
    assert model.shape.sizes == tuple(tuple(real.shape[2:]) for real in official.reals)
    assert model.shape.factor == official.factor
    assert [level.amplitude for level in model.levels] == [float(value) for value in official.amplitudes]
    assert all(level.history is None for level in model.levels)
    expected = {"min_size": 15, "max_size": 34, "kernels": 3, "max_kernels": 4, "double_kernels_every": 2}
    assert model.config == TrainConfig(**expected)


@settings(max_examples=15)
@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    layers=st.integers(3, 8),
    growth=st.tuples(st.integers(1, 16), st.integers(0, 12)),
    noise_padding=st.booleans(),
    legacy=st.booleans(),
)
def test_any_checkpoint_reconstructs_samples_and_survives_saving(
    tmp_path_factory, widths, layers, growth, noise_padding, legacy
):
    min_size = 2 * layers + 1
    size = (min_size + growth[0], min_size + sum(growth)) if len(widths) > 1 else (min_size, min_size + growth[1])
    official = Official(widths, layers, size, min_size, noise_padding)
    folder = official.save(tmp_path_factory.mktemp("any") / TRAINED, legacy)
    model = import_official(folder, "cpu")
    torch.testing.assert_close(model.reconstruct(), official.reconstruct(), atol=ROUNDING, rtol=0)
    assert model.config.noise_padding == noise_padding
    model.save(folder / "model.safetensors")
    loaded = SinGAN.load(folder / "model.safetensors", "cpu")
    assert torch.equal(loaded.sample(2, seed=1), model.sample(2, seed=1))
    assert model.sample(1, size=(20, 31)).shape == (1, 3, 20, 31)
    if len(widths) > 1:
        assert torch.equal(loaded.inject(official.reals[-1], 1), model.inject(official.reals[-1], 1))


@pytest.mark.parametrize("legacy", [False, True])
def test_both_serialisations_are_read(official, tmp_path, legacy):
    folder = official.save(tmp_path / TRAINED, legacy)
    assert zipfile.is_zipfile(folder / "0" / "netG.pth") != legacy
    model = import_official(folder, "cpu")
    torch.testing.assert_close(model.reconstruct(), official.reconstruct(), atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_saved_on_a_gpu_are_read_without_one(official, tmp_path, monkeypatch, legacy):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        folder = official.save(tmp_path / TRAINED, legacy)
    pickled = folder / "Zs.pth"
    data = pickled.read_bytes() if legacy else zipfile.ZipFile(pickled).read("Zs/data.pkl")
    assert b"cuda:0" in data
    model = import_official(folder, "cpu")
    torch.testing.assert_close(model.reconstruct(), official.reconstruct(), atol=ROUNDING, rtol=0)


def test_double_and_half_precision_become_single(official, folder):
    change(folder / "Zs.pth", lambda zs: [z.double() for z in zs])
    change(folder / "1" / "netG.pth", lambda weights: {k: v.half() for k, v in weights.items()})
    model = import_official(folder, "cpu")
    assert {value.dtype for value in model.levels[1].generator.parameters()} | {model.z_star.dtype} == {torch.float32}
    # half precision has eleven bits: 5e-4 of each weight
    torch.testing.assert_close(model.reconstruct(), official.reconstruct(), atol=0.02, rtol=0)


# -- noise


def test_z_star_is_one_channel_without_the_margin_of_padded_noise(official, original):
    model = import_official(original, "cpu")
    assert not model.config.noise_padding
    assert torch.equal(model.z_star, official.zs[0][:, :1, 5:-5, 5:-5])


def test_noise_drawn_on_the_padded_grid_is_kept_whole(tmp_path):
    official = Official(noise_padding=True)
    model = import_official(official.save(tmp_path / "scale_factor=0.750000_noise_padding"), "cpu")
    assert model.config.noise_padding
    assert torch.equal(model.z_star, official.zs[0][:, :1])
    torch.testing.assert_close(model.reconstruct(), official.reconstruct(), atol=ROUNDING, rtol=0)


def test_without_zs_the_noise_map_in_the_folder_of_level_0_is_taken(official, folder):
    (folder / "Zs.pth").unlink()
    model = import_official(folder, "cpu")
    torch.testing.assert_close(model.reconstruct(), official.reconstruct(), atol=ROUNDING, rtol=0)


def test_zero_noise_maps_of_whole_numbers_are_read(folder):
    """Newer versions of PyTorch make them when told to fill with 0."""
    change(folder / "Zs.pth", lambda zs: [zs[0], *(z.long() for z in zs[1:])])
    assert import_official(folder, "cpu").z_star.dtype == torch.float32


# -- settings


def imported(tmp_path, sizes, name=TRAINED, widths=None):
    """The import of a checkpoint with these level sizes; its images and networks are not meaningful."""
    folder = Official(widths or (1,) * len(sizes), 2, (8, 9), 5).save(tmp_path / "image" / name)
    torch.save([torch.zeros(1, 3, *size) for size in sizes], folder / "reals.pth")
    z = torch.zeros(1, 3, sizes[0][0] + 4, sizes[0][1] + 4)
    z[..., 2:-2, 2:-2] = 1
    torch.save([z], folder / "Zs.pth")
    return import_official(folder, "cpu")


@pytest.mark.parametrize(
    ("photograph", "levels", "coarsest", "factor"),
    [((186, 248), 9, (25, 34), 0.7781), ((188, 250), 10, (26, 34), 0.7992)],
)
def test_the_factor_of_known_checkpoints_is_recovered(tmp_path, photograph, levels, coarsest, factor):
    sizes = pyramid_shape(photograph).sizes
    assert (len(sizes), sizes[0]) == (levels, coarsest)
    model = imported(tmp_path, sizes)
    assert model.shape.factor == pytest.approx(factor, abs=5e-5)
    assert (model.config.min_size, model.config.max_size) == (25, max(photograph))


@settings(max_examples=40)
@given(
    height=st.integers(30, 400),
    width=st.integers(30, 400),
    min_size=st.integers(12, 30),
    max_size=st.integers(60, 250),
    scale_factor=st.floats(0.6, 0.85),
)
@example(height=26, width=37, min_size=25, max_size=250, scale_factor=0.75)  # two min_sizes have the same sizes
def test_the_factor_of_any_pyramid_is_recovered(height, width, min_size, max_size, scale_factor):
    try:
        shape = pyramid_shape((height, width), min_size=min_size, max_size=max_size, scale_factor=scale_factor)
    except SinGANError:
        assume(False)
    assume(len(shape) > 1)
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    finest = F.interpolate(coarse, shape.sizes[-1], mode="bilinear")
    coarsest = imresize(finest, shape.factor ** (len(shape) - 1))
    between = [torch.zeros(1, 3, *size) for size in shape.sizes[1:-1]]
    assert fitted_shape([coarsest, *between, finest], 0.75) == (shape, min_size)


def test_a_size_that_was_rounded_up_on_another_machine_is_understood():
    """(25 / 188) ** (1 / 9) to the ninth times 188 is 25.000000000000004 here, and may be 25 elsewhere."""
    sizes = [(25, 34), *pyramid_shape((188, 250)).sizes[1:]]
    shape, min_size = fitted_shape([torch.zeros(1, 3, *size) for size in sizes], 0.75)
    assert min_size == 25
    assert shape.factor == pytest.approx((25 / 188) ** (1 / 9), abs=1e-12)


@pytest.mark.parametrize("sizes", [[(20, 20), (40, 60)], [(40, 40), (20, 20)], [(20, 20), (20, 20), (30, 30)]])
def test_sizes_that_are_no_pyramid_are_refused(sizes):
    with pytest.raises(SinGANError, match="not a pyramid of the authors' code"):
        fitted_shape([torch.zeros(1, 3, *size) for size in sizes], 0.75)


@pytest.mark.parametrize(
    ("name", "scale_factor", "alpha"),
    [
        ("scale_factor=0.750000,alpha=10", 0.75, 10),
        ("scale_factor=0.793701,alpha=100", 0.793701, 100),
        ("scale_factor=0.600000_noise_padding", 0.6, 10),
        ("my copy", 0.75, 10),
        ("scale_factor=0.990000,alpha=3", 0.75, 3),  # no factor that a training may have
    ],
)
def test_the_folders_name_tells_scale_factor_and_alpha(tmp_path, monkeypatch, name, scale_factor, alpha):
    folder = Official((2, 2)).save(tmp_path / name)
    monkeypatch.chdir(folder)  # also where the path itself does not have the name
    config = import_official(".", "cpu").config
    assert (config.scale_factor, config.alpha) == (scale_factor, alpha)


@pytest.mark.parametrize(
    "rule",
    [
        {"kernels": 2, "double_kernels_every": 4},
        {"kernels": 3, "double_kernels_every": 0},
        {"kernels": 1, "double_kernels_every": 1},
        {"kernels": 2, "double_kernels_every": 2, "max_kernels": 4},
        {"kernels": 1, "double_kernels_every": 5},
    ],
)
def test_the_rule_of_the_widths_is_recovered(tmp_path, rule):
    widths = [TrainConfig(**rule).kernels_at(n) for n in range(7)]
    config = import_official(Official(widths, 2, (40, 41), 5).save(tmp_path / TRAINED), "cpu").config
    assert [config.kernels_at(n) for n in range(7)] == widths


def test_the_authors_widths_give_the_authors_settings(tmp_path):
    config = imported(tmp_path, pyramid_shape((188, 250)).sizes, widths=(32,) * 4 + (64,) * 4 + (128,) * 2).config
    assert config.changes() == {"layers": 2}  # which only keeps this test small


# -- what is missing


@pytest.mark.parametrize("files", [["Gs.pth"], ["Zs.pth"], ["0/z_opt.pth", "1/z_opt.pth", "2/z_opt.pth"]])
def test_what_is_not_needed_may_be_missing(folder, files):
    for name in files:
        (folder / name).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(import_official(folder, "cpu").levels) == 3


def test_a_discriminator_that_is_missing_is_left_out(folder):
    (folder / "1" / "netD.pth").unlink()
    levels = import_official(folder, "cpu").levels
    assert [level.discriminator is None for level in levels] == [False, True, False]


@pytest.mark.parametrize("files", [["reals.pth"], ["NoiseAmp.pth"], ["Zs.pth", "0/z_opt.pth"], ["0/netG.pth"]])
def test_what_is_needed_and_missing_is_named(folder, files):
    for name in files:
        (folder / name).unlink()
    with pytest.raises(SinGANError, match="lacks " + " and ".join(map(re.escape, files))):
        import_official(folder, "cpu")


def test_another_folder_than_the_innermost_is_refused_with_advice(folder):
    with pytest.raises(SinGANError, match=r"give a folder TrainedModels/<image>/scale_factor=0.750000,alpha=10"):
        import_official(folder.parent, "cpu")


@pytest.mark.parametrize("path", ["no such folder", "a\0b"])
def test_a_folder_that_cannot_be_read_is_refused(path):
    with pytest.raises(SinGANError, match="Cannot read the folder"):
        import_official(path, "cpu")


def test_a_file_in_place_of_the_folder_is_refused(folder):
    with pytest.raises(SinGANError, match="Cannot read the folder"):
        import_official(folder / "Zs.pth", "cpu")


@pytest.mark.parametrize(
    ("level", "lists"), [(2, 2), (2, 3), (3, 2)], ids=["before level 2", "generator lost", "amplitude lost"]
)
def test_the_complete_levels_of_an_interrupted_training_are_imported(official, folder, level, lists):
    for n in range(level, 3):
        (folder / str(n) / "netG.pth").unlink()
    for name in ("Zs.pth", "NoiseAmp.pth"):  # the authors save all real images from the beginning
        change(folder / name, lambda values: values[:lists])
    with pytest.warns(UserWarning, match="level 2 is missing or incomplete") as caught:
        model = import_official(folder, "cpu")
    assert caught[0].filename == __file__
    assert len(model.levels) == len(model.shape) == 2
    assert model.shape.factor == official.factor
    assert model.sample(1).shape[-2:] == official.reals[1].shape[-2:]


def test_an_interruption_names_all_missing_levels(folder):
    change(folder / "NoiseAmp.pth", lambda amplitudes: amplitudes[:1])
    with pytest.warns(UserWarning, match="levels 1 to 2 are missing or incomplete"):
        assert len(import_official(folder, "cpu").levels) == 1


def test_an_amplitude_without_its_level_is_noticed(folder):
    change(folder / "NoiseAmp.pth", lambda amplitudes: [*amplitudes, 0.1])
    with pytest.warns(UserWarning, match="level 3 is missing or incomplete"):
        assert len(import_official(folder, "cpu").levels) == 3


def test_images_of_levels_that_are_there_may_not_be_missing_unnoticed(folder):
    change(folder / "reals.pth", lambda reals: reals[:2])
    change(folder / "Zs.pth", lambda zs: zs[:2])
    with pytest.warns(UserWarning, match="level 2 is missing or incomplete"):
        assert len(import_official(folder, "cpu").levels) == 2


@pytest.mark.parametrize("name", ["reals.pth", "NoiseAmp.pth"])
def test_a_training_without_a_complete_level_is_refused(folder, name):
    change(folder / name, lambda values: [])
    with pytest.raises(SinGANError, match=r"No level in .* is complete"):
        import_official(folder, "cpu")


def test_a_level_missing_in_the_middle_is_refused(folder):
    (folder / "1" / "netG.pth").unlink()
    with pytest.raises(SinGANError, match=r"1/netG.pth is missing, but finer levels are there"):
        import_official(folder, "cpu")


# -- what is damaged or foreign

READ = ["Zs.pth", "reals.pth", "NoiseAmp.pth", "0/netG.pth", "1/netG.pth", "2/netD.pth"]


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("content", [b"", b"a text file\n", b"\x80\x02.", b"PK\x03\x04", pickle.dumps("text", 2)])
def test_other_files_with_the_right_name_are_refused(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(SinGANError, match=re.escape(name)):
        import_official(folder, "cpu")


@pytest.mark.parametrize("name", READ)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(legacy=st.booleans(), share=st.floats(0, 1))
def test_truncated_files_are_refused(folder, original, name, legacy, share):
    value = torch.load(original / name, weights_only=True)
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    data = buffer.getvalue()
    (folder / name).write_bytes(data[: int(share * (len(data) - 1))])
    with pytest.raises(SinGANError, match=re.escape(name)):
        import_official(folder, "cpu")


@pytest.mark.parametrize("name", READ)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(
            [torch.zeros(2), torch.zeros(1, 3, 4, 4), torch.ones(2, 2).to_sparse(), torch.tensor(1j), torch.ones(0)]
        ),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner),
        max_leaves=4,
    )
)  # fmt: skip
def test_values_of_another_kind_are_refused(folder, name, value):
    if name == "NoiseAmp.pth":  # numbers in a list are amplitudes
        assume(not (isinstance(value, list) and value and is_amplitude(value[0])))
    torch.save(value, folder / name)
    with pytest.raises(SinGANError):
        import_official(folder, "cpu")


def is_amplitude(value):
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False


def without(key):
    return lambda weights: {name: value for name, value in weights.items() if name != key}


@pytest.mark.parametrize(
    ("name", "alter", "words"),
    [
        ("0/netG.pth", without("head.conv.weight"), "not a generator of the authors' code"),
        ("0/netG.pth", without("body.block2.norm.running_var"), "body.block2.norm.running_var in .* got nothing"),
        ("0/netG.pth", lambda w: w | {"skip.weight": torch.zeros(1)}, "weights named 'skip.weight'"),
        ("0/netG.pth", lambda w: {"module." + name: value for name, value in w.items()}, "not a generator"),
        ("0/netG.pth", lambda w: w | {"tail.0.weight": torch.zeros(1, 3, 3, 3)}, "tail.0.weight in .* shape"),
        ("0/netG.pth", lambda w: w | {"tail.0.bias": torch.full((3,), math.nan)}, "not finite"),
        ("0/netG.pth", lambda w: w | {"tail.0.bias": torch.zeros(3, dtype=torch.complex64)}, "got a complex64 tensor"),
        ("0/netG.pth", lambda w: w | {"tail.0.bias": torch.ones(3).to_sparse()}, "tail.0.bias in .* should be"),
        ("0/netG.pth", lambda w: w | {0: torch.zeros(1)}, "weights of a network by name"),
        ("1/netD.pth", lambda w: OfficialD(4, 5).state_dict(), r"1/netD.pth should be a tensor of shape \(3, 3, 3, 3"),
        ("1/netD.pth", lambda w: OfficialG(3, 5).state_dict(), "tail.weight in .* got nothing"),
        ("1/netD.pth", lambda w: OfficialD(3, 6).state_dict(), "weights named 'body.block4"),
        ("reals.pth", lambda reals: [*reals[:2], reals[2][0]], "Image 2 in .* should be a tensor of shape"),
        ("reals.pth", lambda reals: [real[:, :1] for real in reals], "Image 0 in .* should be a tensor of shape"),
        ("reals.pth", lambda reals: [real[..., 1:] for real in reals], "not a pyramid"),
        ("reals.pth", lambda reals: [reals[0][..., :0], *reals[1:]], "Image 0 in .* should be a tensor of shape"),
        ("reals.pth", lambda reals: {0: reals[0]}, "should hold a list"),
        ("NoiseAmp.pth", lambda amplitudes: [1, torch.tensor(math.nan), 0.1], "amplitude of level 1"),
        ("NoiseAmp.pth", lambda amplitudes: [1, torch.zeros(2), 0.1], "amplitude of level 1"),
        ("Zs.pth", lambda zs: [], "empty"),
        ("Zs.pth", lambda zs: [zs[0][..., 5:-5, 5:-5], *zs[1:]], r"should be a tensor of shape \(1, 3, 25, "),
        ("Zs.pth", lambda zs: [zs[0] * torch.tensor([1, 1, 2]).view(1, 3, 1, 1), *zs[1:]], "differs between colours"),
        ("Zs.pth", lambda zs: [zs[0] * 0, *zs[1:]], "not trained from noise"),
        ("Zs.pth", lambda zs: [zs[0], zs[0][..., :6], zs[2]], "Noise map 1 in .* is not zero"),
    ],
)
def test_foreign_and_inconsistent_tensors_are_refused(folder, name, alter, words):
    change(folder / name, alter)
    with pytest.raises(SinGANError, match=words):
        import_official(folder, "cpu")


def test_levels_of_different_trainings_are_refused(folder):
    change(folder / "1" / "netG.pth", lambda weights: OfficialG(3, 4).state_dict())
    change(folder / "1" / "netD.pth", lambda weights: OfficialD(3, 4).state_dict())
    with pytest.raises(SinGANError, match="differ in their number of layers"):
        import_official(folder, "cpu")


# -- what is dangerous


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


def test_the_bomb_of_these_tests_goes_off_where_everything_is_loaded(tmp_path):
    torch.save([Bomb(tmp_path / "trace")], tmp_path / "bomb.pth")
    torch.load(tmp_path / "bomb.pth", weights_only=False)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", [*READ, "0/z_opt.pth"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "state of a dictionary"])
def test_programs_in_the_files_are_not_run(folder, tmp_path, name, form):
    trace = tmp_path / "trace"
    if name == "0/z_opt.pth":
        (folder / "Zs.pth").unlink()  # else it is not read
    value = torch.load(folder / name, weights_only=True)
    if form == "pickle":
        (folder / name).write_bytes(pickle.dumps(Bomb(trace), 2))
    elif form == "state of a dictionary":
        value = OrderedDict(value) if isinstance(value, dict) else OrderedDict(value=value)
        value._metadata = Bomb(trace)
        torch.save(value, folder / name)
    else:
        bombed = value | {"bomb": Bomb(trace)} if isinstance(value, dict) else [*value, Bomb(trace)]
        torch.save(bombed, folder / name, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(SinGANError, match="could run a program"):
        import_official(folder, "cpu")
    assert not trace.exists()


def test_the_pickled_modules_are_never_opened(folder, tmp_path):
    torch.save([Bomb(tmp_path / "trace")], folder / "Gs.pth")
    import_official(folder, "cpu")
    assert not (tmp_path / "trace").exists()


def test_a_tar_file_of_the_oldest_format_is_not_unpacked(folder, tmp_path, monkeypatch):
    bomb = pickle.dumps(Bomb(tmp_path / "trace"), 2)
    with tarfile.open(folder / "Zs.pth", "w") as tar:
        for part in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(part)
            member.size = len(bomb)
            tar.addfile(member, io.BytesIO(bomb))
    monkeypatch.setattr(tarfile, "open", lambda *args, **kwargs: pytest.fail("PyTorch unpacks the file"))
    with pytest.raises(SinGANError, match="could run a program"):
        import_official(folder, "cpu")
    assert not (tmp_path / "trace").exists()


def test_a_torchscript_program_does_not_even_reach_pytorch(folder, monkeypatch):
    """Before version 2.6 it would be run."""
    with zipfile.ZipFile(folder / "reals.pth", "w") as archive:
        archive.writestr("reals/constants.pkl", b"")
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("torch.load was called"))
    with pytest.raises(SinGANError, match="could run a program"):
        import_official(folder, "cpu")


def test_an_error_does_not_pass_on_the_advice_to_load_everything(folder):
    torch.save([print], folder / "Zs.pth")
    with pytest.raises(SinGANError) as caught:
        import_official(folder, "cpu")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "weights_only" not in str(caught.value)
