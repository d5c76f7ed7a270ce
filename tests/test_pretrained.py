"""Shipped pyramids: what is shipped, how small, how near to the trained ones, and that the manifest says so."""

import functools
import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell

from singan_core import SinGAN, TrainConfig, load_or_train, sample_image
from singan_core import pretrained as shipping
from singan_core.errors import SinGANError
from singan_core.images import data_folder
from singan_core.model import pack
from singan_core.pretrained import (
    GRAY_LEVEL,
    MANIFEST,
    MAX_BYTES,
    lightened,
    needs,
    read_manifest,
    ship,
    ship_picture,
    ship_run,
)
from singan_core.store import load_or_make, load_run, picture_key, run_folder, run_key
from singan_core.training import training_images
from tests.series import parameters_cell, save

pytestmark = pytest.mark.system

CONFIG = TrainConfig.for_profile("smoke", iterations=2)
SHIPPED = read_manifest(data_folder() / "pretrained")
PYRAMIDS = [entry for entry in SHIPPED if "method" not in entry]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run."""
    store = tmp_path_factory.mktemp("store")
    load_or_train(sample_image("bricks"), CONFIG, store=store, progress=False, device="cpu")
    return run_folder(sample_image("bricks"), CONFIG, store)


# -- what is in data/pretrained


def test_shipped_files_are_those_of_the_manifest():
    files = {path.name for path in (data_folder() / "pretrained").iterdir()} - {MANIFEST}
    assert files == {f"{entry['key']}.{'png' if 'method' in entry else 'safetensors'}" for entry in SHIPPED}


def test_what_is_shipped_was_made_by_committed_code():
    assert [entry["key"] for entry in SHIPPED if entry["commit"].endswith("-dirty")] == []


def test_shipped_pictures_are_what_their_entries_say():
    for entry in SHIPPED:
        if "method" in entry:
            data = (data_folder() / "pretrained" / f"{entry['key']}.png").read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert len(data) == entry["bytes"] <= MAX_BYTES


@pytest.mark.parametrize("entry", PYRAMIDS, ids=lambda entry: entry["key"])
def test_a_shipped_pyramid_is_what_its_entry_says(entry):
    path = data_folder() / "pretrained" / f"{entry['key']}.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert path.stat().st_size == entry["bytes"] <= MAX_BYTES
    model = SinGAN.load(path, "cpu")
    assert model.config.changes() == entry["settings"] and len(model.levels) == entry["levels"]
    assert (model.levels[0].discriminator is not None) == entry["discriminators"]
    if entry["image"] is not None and not entry.get("targets"):
        assert run_key(sample_image(entry["image"]), model.config) == entry["key"]


# -- how a pyramid is made small


def test_a_lightened_pyramid_draws_the_same_to_a_gray_level(model):
    tensors, settings = pack(model)
    light = lightened(model, tensors, settings, discriminators=True)
    assert light["3.generator.tail.0.weight"].dtype == torch.float16
    assert light["z_star"].dtype == light["0.generator.tail.0.bias"].dtype == torch.float32
    drawn = shipping.unpack(light, settings, torch.device("cpu")).sample(4, seed=0)
    assert (drawn - model.sample(4, seed=0)).abs().max() < GRAY_LEVEL


def test_levels_whose_rounding_would_show_stay_in_single_precision(model, monkeypatch):
    tensors, settings = pack(model)
    monkeypatch.setattr(shipping, "GRAY_LEVEL", 1.001 * error(model, tensors, settings, exact=2))
    light = lightened(model, tensors, settings, discriminators=False)
    convolutions = {name: value.dtype for name, value in light.items() if name.endswith(".weight") and value.ndim == 4}
    exact = {int(name.split(".")[0]) for name, dtype in convolutions.items() if dtype == torch.float32}
    assert exact <= {0, 1} and len(exact) < len(model.levels)
    assert error(model, tensors, settings, exact=len(exact)) < shipping.GRAY_LEVEL
    assert not exact or error(model, tensors, settings, exact=len(exact) - 1) >= shipping.GRAY_LEVEL


def error(model, tensors, settings, exact: int) -> float:
    """Largest difference of a sample's value when all but `exact` levels are in half precision."""
    light = {name: shipping._light(name, value, exact) for name, value in tensors.items()}
    drawn = shipping.unpack(light, settings, torch.device("cpu")).sample(shipping.SAMPLES, seed=0)
    return (drawn - model.sample(shipping.SAMPLES, seed=0)).abs().max().item()


@pytest.mark.parametrize("discriminators", [True, False])
def test_discriminators_are_shipped_where_they_are_needed(run, tmp_path, discriminators):
    entry = ship_run(run, tmp_path, discriminators=discriminators, commit=None)
    model = SinGAN.load(tmp_path / f"{run.name}.safetensors", "cpu")
    assert (model.levels[0].discriminator is not None) == discriminators == entry["discriminators"]
    assert model.levels[0].history.shape == (2, 5) and model.levels[0].history.dtype == "float64"


def test_the_entry_tells_where_a_pyramid_comes_from(run, tmp_path):
    entry = ship_run(run, tmp_path, discriminators=False, commit=None)
    assert (entry["image"], entry["settings"]) == ("bricks", CONFIG.changes())
    assert entry["device"] and entry["torch"] and entry["seconds"] > 0
    assert entry["measured"]["sliced_wasserstein"] > 0 and entry["measured"]["frechet_features"] == "random-filters-0"
    json.dumps(entry)


def test_a_picture_that_a_notebook_made_has_no_name(tmp_path):
    picture = sample_image("bricks").flip(-1)
    load_or_train(picture, CONFIG, store=tmp_path, progress=False, device="cpu")
    entry = ship_run(run_folder(picture, CONFIG, tmp_path), tmp_path / "shipped", discriminators=False, commit=None)
    assert entry["image"] is None


def test_a_pyramid_with_targets_is_shipped_and_measured_against_the_photograph(tmp_path, monkeypatch):
    photograph, targets = sample_image("bricks"), {0: sample_image("gravel"), 4: sample_image("gravel")}
    load_or_train(photograph, CONFIG, targets, store=tmp_path, progress=False, device="cpu")
    against = []
    monkeypatch.setattr(shipping, "measured", lambda model, real: against.append(real) or {})
    key = run_key(photograph, CONFIG, targets)
    entry = ship_run(tmp_path / key, tmp_path / "shipped", discriminators=False, commit=None)
    assert (entry["key"], entry["image"], entry["targets"]) == (key, "bricks", [0, 4])
    assert torch.equal(against[0], training_images(photograph, CONFIG, torch.device("cpu"))[1][-1])


def test_losses_are_in_half_precision_where_the_file_would_be_too_large(run, tmp_path, monkeypatch):
    ship_run(run, tmp_path, discriminators=False, commit=None)
    size = (tmp_path / f"{run.name}.safetensors").stat().st_size
    monkeypatch.setattr(shipping, "MAX_BYTES", size - 1)
    assert ship_run(run, tmp_path, discriminators=False, commit=None)["bytes"] < size
    whole, light = load_run(run, "cpu"), SinGAN.load(tmp_path / f"{run.name}.safetensors", "cpu")
    for ours, theirs in zip(light.levels, whole.levels, strict=True):
        np.testing.assert_allclose(ours.history, theirs.history, rtol=2**-10, atol=1e-6)  # 11 bits


def test_losses_are_left_out_where_the_file_would_be_too_large_with_them(run, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "MAX_BYTES", 1000)
    with pytest.raises(SinGANError) as refused:
        ship_run(run, tmp_path, discriminators=False, commit=None)
    smallest = int(re.search(r"takes (\d+) bytes", str(refused.value)).group(1))
    monkeypatch.setattr(shipping, "MAX_BYTES", smallest)
    assert ship_run(run, tmp_path, discriminators=False, commit=None)["bytes"] == smallest
    whole, light = load_run(run, "cpu"), SinGAN.load(tmp_path / f"{run.name}.safetensors", "cpu")
    assert all(level.history is None for level in light.levels)
    assert (light.sample(2, seed=0) - whole.sample(2, seed=0)).abs().max() < GRAY_LEVEL


def test_too_large_a_pyramid_is_refused_and_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "MAX_BYTES", 1000)
    with pytest.raises(SinGANError, match="at most 1000 are shipped"):
        ship_run(run, tmp_path, discriminators=False, commit=None)
    assert not list(tmp_path.iterdir())


def mirrored(image, times):
    return image.flip(-1)


def test_a_picture_that_takes_minutes_is_shipped_as_it_was_made(tmp_path, monkeypatch):
    image = sample_image("bricks")
    made = load_or_make(mirrored, image, store=tmp_path, progress=False, times=1)
    key = picture_key(mirrored, image, {"times": 1})
    entry = ship_picture(tmp_path / key, tmp_path / "data" / "pretrained", commit="abc")
    assert (entry["image"], entry["method"], entry["settings"]) == ("bricks", "mirrored", {"times": 1})
    json.dumps(entry)
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    assert torch.equal(load_or_make(mirrored, image, store=tmp_path / "none", times=1), made)
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr(shipping, "MAX_BYTES", 1000)
    with pytest.raises(SinGANError, match="at most 1000 are shipped"):
        ship_picture(tmp_path / key, tmp_path, commit=None)


# -- the whole


TRAIN = """
from singan_core import TrainConfig, load_or_train, sample_image
for size in {sizes}:
    config = TrainConfig.for_profile("smoke", max_size=size, iterations=2)
    load_or_train(sample_image("bricks"), config, retrain=retrain, discriminators={discriminators})
"""


@pytest.fixture
def course(cluster, tmp_path, monkeypatch):
    """Two notebooks that share a pyramid, in a course whose data and runs are the test's own."""
    (tmp_path / "data").mkdir()
    for name in ("images", "claims.yaml"):
        (tmp_path / "data" / name).symlink_to(data_folder() / name)
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SINGAN_FIGURES", str(tmp_path / "figures"))
    reproduce = functools.partial(shipping.reproduce, scheduler=cluster.scheduler_address)
    monkeypatch.setattr(shipping, "reproduce", reproduce)
    return [
        save(
            tmp_path / f"{name}.ipynb",
            parameters_cell(),
            new_code_cell(TRAIN.format(sizes=sizes, discriminators=discriminators)),
        )
        for name, sizes, discriminators in (("03_first", "(32, 40)", False), ("04_second", "(40,)", True))
    ]


def test_what_the_notebooks_need_is_shipped_once_and_what_none_needs_is_removed(course, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "pretrained"
    added = ship(course, progress=False)
    assert [entry["notebooks"] for entry in read_manifest(folder)] == [["03_first"], ["03_first", "04_second"]]
    assert [entry["discriminators"] for entry in read_manifest(folder)] == [False, True]
    assert len(added) == len(list(folder.glob("*.safetensors"))) == 2

    (folder / MANIFEST).unlink()  # as if the shipping had been interrupted before it wrote it
    assert len(ship(course, progress=False)) == len(read_manifest(folder)) == 2

    shutil.rmtree(tmp_path / "runs")  # now only the shipped ones are there
    assert ship(course, progress=False) == []
    assert not list((tmp_path / "runs").iterdir())

    find = shipping.reproduce
    monkeypatch.setattr(shipping, "reproduce", lambda notebooks, *args, **options: find(course[1:], *args, **options))
    ship(progress=False)
    (left,) = read_manifest(folder)
    assert left["notebooks"] == ["04_second"]
    assert [path.name for path in folder.iterdir() if path.name != MANIFEST] == [f"{left['key']}.safetensors"]


def test_a_failing_notebook_ends_it(tmp_path, monkeypatch):
    failed = type("", (), {"error": "cell [2]: it broke", "name": "03_x"})
    monkeypatch.setattr(shipping, "reproduce", lambda *_, **__: [failed])
    with pytest.raises(SinGANError, match="03_x failed with cell"):
        ship(progress=False)


def test_needs_are_joined_over_notebooks():
    def outcome(name, **pyramids):
        notes = {key: {"shipped": False, "discriminators": needed} for key, needed in pyramids.items()}
        return type("", (), {"name": name, "pyramids": notes})

    found = needs([outcome("00", a=False, b=False), outcome("01", a=True)])
    assert found == {
        "a": {"notebooks": ["00", "01"], "discriminators": True},
        "b": {"notebooks": ["00"], "discriminators": False},
    }
