"""The run store: what is found again, what is trained, and what happens to two who want the same."""

import csv
import errno
import functools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from singan_core import SinGANError, TrainConfig, load_image, load_or_train, load_run, train
from singan_core.files import write_tensors
from singan_core.model import HISTORY_COLUMNS, SinGAN, pack
from singan_core.store import load_or_make, picture_key, run_folder, run_key, store_folder
from singan_core.trace import digest


@pytest.fixture(scope="module")
def finished(picture, tiny, tmp_path_factory):
    """A finished run: (model, store). Tests must not change it."""
    store = tmp_path_factory.mktemp("store")
    return load_or_train(picture, tiny, store=store, progress=False, device="cpu"), store


@pytest.fixture
def trained(finished, picture, tiny, tmp_path):
    """The finished run in a store of the test's own: (model, store, run folder)."""
    model, store = finished
    shutil.copytree(store, tmp_path, dirs_exist_ok=True)
    return model, tmp_path, run_folder(picture, tiny, tmp_path)


def never(progress):
    raise AssertionError("it trains, though the pyramid was there")


def test_the_second_time_nothing_is_trained(trained, picture, tiny):
    model, store, _ = trained
    again = load_or_train(picture, tiny, store=store, callback=never, device="cpu")
    assert torch.equal(again.sample(1), model.sample(1))


def test_a_finished_run_is_readable_by_people(trained, tiny):
    model, _, folder = trained
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "model.safetensors", "run.json", "history.csv", "image.png",
    }  # fmt: skip
    assert TrainConfig.from_dict(json.loads((folder / "run.json").read_text())["config"]) == tiny
    rows = list(csv.DictReader((folder / "history.csv").open()))
    assert len(rows) == len(model.levels) * tiny.iterations
    assert [float(rows[-1][name]) for name in HISTORY_COLUMNS] == model.levels[-1].history[-1].tolist()


def test_retraining_replaces_the_run(trained, picture, tiny):
    _, store, folder = trained
    before = (folder / "model.safetensors").stat().st_mtime_ns
    reports = []
    load_or_train(picture, tiny, store=store, retrain=True, callback=reports.append, progress=False, device="cpu")
    assert reports
    assert (folder / "model.safetensors").stat().st_mtime_ns > before


def test_a_batch_retrains_what_is_older_than_itself(trained, picture, tiny, monkeypatch):
    _, store, folder = trained
    trained_at = (folder / "model.safetensors").stat().st_mtime
    reports = []
    for begun, trains in ((trained_at - 10, False), (trained_at + 10, True)):
        monkeypatch.setenv("SINGAN_RETRAIN_BEFORE", str(begun))
        reports.clear()
        load_or_train(picture, tiny, store=store, retrain=True, callback=reports.append, progress=False, device="cpu")
        assert bool(reports) == trains


def test_a_shipped_pyramid_without_discriminators_serves_those_who_need_none(
    trained, picture, tiny, tmp_path, monkeypatch
):
    model, store, folder = trained
    tensors, settings = pack(model)
    light = {name: value for name, value in tensors.items() if ".discriminator." not in name}
    write_tensors(tmp_path / "data" / "pretrained" / f"{folder.name}.safetensors", light, settings)
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SINGAN_TRACE", str(tmp_path / "trace"))
    for needed in (False, True):
        found = load_or_train(picture, tiny, discriminators=needed, store=store, callback=never, device="cpu")
        assert (found.levels[0].discriminator is not None) == needed
    notes = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
    used = digest(tmp_path / "data" / "pretrained" / f"{folder.name}.safetensors")
    assert [note.pop("digest") for note in notes if "read" in note] == [used]
    assert [note for note in notes if "read" not in note] == [
        {"key": folder.name, "shipped": True, "discriminators": False},
        {"key": folder.name, "shipped": False, "discriminators": True},
    ]


def test_a_shipped_pyramid_comes_first(trained, picture, tiny, tmp_path, monkeypatch):
    model, _, _ = trained
    data = tmp_path / "data"
    model.save(data / "pretrained" / f"{run_key(picture, tiny)}.safetensors")
    monkeypatch.setenv("SINGAN_DATA", str(data))
    shipped = load_or_train(picture, tiny, store=tmp_path / "empty", callback=never, device="cpu")
    assert torch.equal(shipped.sample(1), model.sample(1))
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("shipped", [True, False])
def test_a_pyramid_of_a_time_with_another_default_is_refused(trained, picture, tiny, tmp_path, monkeypatch, shipped):
    """Its key is the same, for it counts only settings that differ from the defaults."""
    model, _, _ = trained
    tensors, settings = pack(model)
    settings["config"] |= {"noise_amplitude": 0.7}
    place = tmp_path / "data" / "pretrained" if shipped else tmp_path / "runs" / run_key(picture, tiny)
    name = f"{run_key(picture, tiny)}.safetensors" if shipped else "model.safetensors"
    write_tensors(place / name, tensors, settings)
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    with pytest.raises(SinGANError, match=r"noise_amplitude=0.7 in place of 0.1: a default has changed"):
        load_or_train(picture, tiny, store=tmp_path / "runs", callback=never, device="cpu")


@given(st.sampled_from(["alpha", "iterations", "seed", "residual"]))
def test_other_settings_are_another_run(picture, tiny, name):
    value = (not tiny.residual) if name == "residual" else getattr(tiny, name) + 1
    other = TrainConfig.from_dict(tiny.to_dict() | {name: value})
    assert run_key(picture, other) != run_key(picture, tiny)


def test_one_changed_pixel_is_another_run(picture, tiny):
    other = picture.clone()
    other[0, 0, 0, 0] += 1 / 255
    assert run_key(other, tiny) != run_key(picture, tiny)


def test_the_same_pixels_in_another_shape_are_another_run(picture, tiny):
    assert run_key(picture.reshape(1, 3, 48, 36), tiny) != run_key(picture, tiny)


def test_keys_do_not_change_from_version_to_version():
    """Shipped pyramids are found by key: a changed key means that every one of them must be trained again."""
    image = torch.linspace(-1, 1, 3 * 40 * 50).reshape(1, 3, 40, 50)
    assert run_key(image, TrainConfig(alpha=1.0)) == "e0a48909334485ab"
    assert run_key(image, TrainConfig(alpha=1.0), {1: image}) == "41b9cf93832d588b"


def test_the_store_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path / "elsewhere"))
    assert store_folder() == tmp_path / "elsewhere"
    monkeypatch.delenv("SINGAN_RUNS")
    assert store_folder().name == "runs"


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "another file"])
def test_a_damaged_run_is_one_clear_error_and_stays_as_it_is(trained, picture, tiny, damage):
    _, store, folder = trained
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "altered":
        content[-100] ^= 1
    else:
        content = b"" if damage == "empty" else b"not a tensor file at all"
    file.write_bytes(content)
    with pytest.raises(SinGANError, match="Delete the run's file"):
        load_or_train(picture, tiny, store=store, callback=never, device="cpu")
    assert file.read_bytes() == content


def test_a_folder_without_a_run_and_an_unfinished_one_are_told_apart(tmp_path):
    with pytest.raises(SinGANError, match="holds no trained pyramid"):
        load_run(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(SinGANError, match="not finished"):
        load_run(tmp_path)


def test_who_takes_the_file_for_the_folder_or_the_folder_for_the_file_is_told(trained):
    _, _, run = trained
    with pytest.raises(SinGANError, match=r"is a file.*SinGAN\.load"):
        load_run(run / "model.safetensors")
    with pytest.raises(SinGANError, match=r"is a folder.*load_run"):
        SinGAN.load(run)


def test_an_interrupted_run_goes_on_where_it_was(trained, picture, tiny, tmp_path, stop_at):
    model, _, _ = trained
    with pytest.raises(KeyboardInterrupt):
        load_or_train(picture, tiny, store=tmp_path / "b", callback=stop_at(2), progress=False, device="cpu")
    seen = []
    resumed = load_or_train(
        picture, tiny, store=tmp_path / "b", callback=lambda p: seen.append(p.level), progress=False, device="cpu"
    )
    assert min(seen) == 2
    ours, theirs = pack(resumed)[0], pack(model)[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not (run_folder(picture, tiny, tmp_path / "b") / "checkpoint.safetensors").exists()


def test_a_full_disk_during_a_checkpoint_keeps_the_last_one(picture, tiny, tmp_path, monkeypatch):
    real_fsync, calls = os.fsync, []

    def soon_full(descriptor):
        calls.append(descriptor)
        if len(calls) == 5:  # picture, run.json, two checkpoints, then the disk is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", soon_full)
    with pytest.raises(SinGANError, match="No space left"):
        load_or_train(picture, tiny, store=tmp_path, progress=False, device="cpu")
    folder = run_folder(picture, tiny, tmp_path)
    assert (folder / "checkpoint.safetensors").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".checkpoint")]
    monkeypatch.undo()
    levels = set()
    load_or_train(picture, tiny, store=tmp_path, callback=lambda p: levels.add(p.level), progress=False, device="cpu")
    assert 0 not in levels


def test_a_store_that_cannot_be_written_names_the_variable_to_set(picture, tiny, tmp_path):
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(SinGANError, match="SINGAN_RUNS"):
        load_or_train(picture, tiny, store=tmp_path / "occupied", progress=False, device="cpu")


def test_a_store_whose_name_is_none_is_refused(picture, tiny):
    with pytest.raises(SinGANError, match="SINGAN_RUNS"):
        load_or_train(picture, tiny, store="a\0b", progress=False, device="cpu")


def test_without_a_home_folder_the_variable_to_set_is_named(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SINGAN_RUNS")
    monkeypatch.setattr("singan_core.store.__file__", str(tmp_path / "site-packages" / "singan_core" / "store.py"))
    assert store_folder() == Path.home() / ".cache" / "singan_core" / "runs"
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(SinGANError, match="SINGAN_RUNS"):
        store_folder()


def test_a_checkpoint_of_another_training_is_refused(picture, tiny, tmp_path, stop_at):
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(picture, tiny, checkpoint=file, callback=stop_at(1), progress=False, device="cpu")
    other = TrainConfig.from_dict(tiny.to_dict() | {"alpha": 3.0})
    with pytest.raises(SinGANError, match="another training"):
        train(picture, other, checkpoint=file, progress=False, device="cpu")
    with pytest.raises(SinGANError, match="another training"):
        train(picture.flip(-1), tiny, checkpoint=file, progress=False, device="cpu")


def test_a_picture_that_cannot_be_trained_leaves_no_run_behind(tiny, tmp_path):
    for image in (torch.zeros(1, 3, 10, 10), torch.zeros(2, 3, 40, 40), torch.zeros(1, 3, 20, 2000)):
        with pytest.raises(SinGANError):
            load_or_train(image, tiny, store=tmp_path, progress=False, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_retraining_starts_anew_but_resumes_itself(picture, tiny, tmp_path, stop_at):
    def first_level(retrain, stop):
        levels = []
        callback = stop_at(stop, levels)
        with pytest.raises(KeyboardInterrupt):
            load_or_train(
                picture, tiny, store=tmp_path, retrain=retrain, callback=callback, progress=False, device="cpu"
            )
        return min(levels)

    first_level(retrain=False, stop=2)
    assert first_level(retrain=True, stop=1) == 0, "the first training's checkpoint must not be continued"
    assert first_level(retrain=True, stop=2) == 1, "its own must be"
    (run_folder(picture, tiny, tmp_path) / "run.json").write_text("edited by hand")
    assert first_level(retrain=True, stop=1) == 0, "what cannot be told is not continued"


def test_files_half_written_by_a_killed_process_are_cleared_up(picture, tiny, tmp_path):
    folder = run_folder(picture, tiny, tmp_path)
    folder.mkdir()
    (folder / ".checkpoint-abc.safetensors").write_bytes(b"half")
    load_or_train(picture, tiny, store=tmp_path, progress=False, device="cpu")
    assert not (folder / ".checkpoint-abc.safetensors").exists()


def test_settings_that_are_none_are_refused(picture, tmp_path):
    for config in ("smoke", {}, None):
        with pytest.raises(SinGANError, match="TrainConfig"):
            load_or_train(picture, config, store=tmp_path)


def test_it_trains_inside_inference_mode_and_on_images_with_gradients(picture, tiny, tmp_path):
    with torch.inference_mode():
        model = load_or_train(picture.clone().requires_grad_(False), tiny, store=tmp_path, progress=False, device="cpu")
    again = load_or_train(
        picture.clone().requires_grad_(), tiny, store=tmp_path / "other", progress=False, device="cpu"
    )
    assert torch.equal(model.sample(1), again.sample(1))


# -- runs in which some levels are trained on another picture


def test_a_run_without_targets_keeps_its_key(picture, tiny):
    assert run_key(picture, tiny, None) == run_key(picture, tiny, {}) == run_key(picture, tiny)


def test_other_levels_or_other_pictures_as_targets_are_another_run(picture, tiny):
    changed = picture.clone()
    changed[0, 0, 0, 0] += 1 / 255
    runs = [{}, {0: picture}, {1: picture}, {0: picture, 1: picture}, {0: changed}, {0: picture.reshape(1, 3, 48, 36)}]
    assert len({run_key(picture, tiny, targets) for targets in runs}) == len(runs)
    assert run_key(picture, tiny, {0: changed, 1: picture}) == run_key(picture, tiny, {1: picture, 0: changed})


def test_a_run_with_targets_is_found_again_and_shows_them(trained, picture, tiny):
    plain, store, _ = trained
    targets = {0: -picture, 2: picture.flip(-1)}
    model = load_or_train(picture, tiny, targets, store=store, progress=False, device="cpu")
    assert not torch.equal(model.sample(1), plain.sample(1))
    again = load_or_train(picture, tiny, targets, store=store, callback=never, device="cpu")
    assert torch.equal(again.sample(1), model.sample(1))
    folder = run_folder(picture, tiny, store, targets)
    assert json.loads((folder / "run.json").read_text())["targets"] == [0, 2]
    for level, target in targets.items():
        assert (load_image(folder / f"target_{level}.png") - target).abs().max() < 1 / 255 + 1e-6  # half an 8-bit step


def test_a_shipped_pyramid_with_targets_is_found_by_them(picture, tiny, model, tmp_path, monkeypatch):
    targets = {1: -picture}
    model.save(tmp_path / "data" / "pretrained" / f"{run_key(picture, tiny, targets)}.safetensors")
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    shipped = load_or_train(picture, tiny, targets=targets, store=tmp_path / "empty", callback=never, device="cpu")
    assert torch.equal(shipped.sample(1), model.sample(1))


def test_an_interrupted_run_with_targets_ends_with_the_same_bits(picture, tiny, tmp_path, stop_at):
    targets = {0: -picture, 2: picture.flip(-1)}
    whole = train(picture, tiny, targets=targets, progress=False, device="cpu")
    for level in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            load_or_train(picture, tiny, targets, store=tmp_path, callback=stop_at(level), progress=False, device="cpu")
    resumed = load_or_train(picture, tiny, targets, store=tmp_path, progress=False, device="cpu")
    ours, theirs = pack(resumed)[0], pack(whole)[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("levels", [(), (1,), (0, 1)])
def test_a_checkpoint_of_a_training_with_other_targets_is_refused(levels, picture, tiny, tmp_path, stop_at):
    """Also where the level in training, here 2, sees the same picture in both."""
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(picture, tiny, targets={0: -picture}, checkpoint=file, callback=stop_at(2), progress=False, device="cpu")
    targets = {level: -picture for level in levels}
    with pytest.raises(SinGANError, match="another training"):
        train(picture, tiny, targets=targets, checkpoint=file, progress=False, device="cpu")


def test_targets_that_do_not_fit_leave_no_run_behind(picture, tiny, tmp_path):
    with pytest.raises(SinGANError, match="level 9"):
        load_or_train(picture, tiny, {9: picture}, store=tmp_path, progress=False, device="cpu")
    assert list(tmp_path.iterdir()) == []


# -- pictures that take minutes without a pyramid


def darkened(image, by=0.5):
    darkened.made += 1
    return image - by * (1 + image)


@pytest.fixture
def made(picture, tmp_path):
    """A picture that is kept: (picture, store); what makes it counts."""
    darkened.made = 0
    return load_or_make(darkened, picture, store=tmp_path, progress=False, by=0.25), tmp_path


def test_a_picture_is_made_once_and_the_same_when_it_is_read(made, picture):
    first, store = made
    assert torch.equal(first, load_or_make(darkened, picture, store=store, by=0.25))
    assert darkened.made == 1
    assert (first - (picture - 0.25 * (1 + picture))).abs().max() <= 1.01 / 255  # half of 256 steps


def test_other_settings_and_other_images_make_other_pictures(made, picture):
    _, store = made
    load_or_make(darkened, picture, store=store, progress=False, by=0.5)
    load_or_make(darkened, picture.flip(-1), store=store, progress=False, by=0.25)
    assert darkened.made == 3


def test_numbers_of_numpy_are_the_same_settings(made, picture):
    first, store = made
    for by in (np.float64(0.25), np.float32(0.25)):
        assert torch.equal(first, load_or_make(darkened, picture, store=store, progress=False, by=by))
    assert darkened.made == 1


def test_settings_that_are_no_numbers_or_texts_are_refused(made, picture):
    with pytest.raises(SinGANError, match="darkened must be numbers and texts"):
        load_or_make(darkened, picture, store=made[1], progress=False, by=picture)


class Maker:
    def __call__(self, image):
        return -image


@pytest.mark.parametrize("method", [lambda image: -image, functools.partial(darkened, by=0.1), Maker()])
def test_a_method_without_a_name_of_its_own_is_refused_for_others_would_get_its_picture(made, picture, method):
    with pytest.raises(SinGANError, match="by the name of its method"):
        load_or_make(method, picture, store=made[1], progress=False)


def test_a_picture_is_made_again_when_asked(made, picture):
    load_or_make(darkened, picture, store=made[1], retrain=True, progress=False, by=0.25)
    assert darkened.made == 2


def test_the_folder_of_a_picture_tells_how_it_was_made(made, picture):
    folder = made[1] / picture_key(darkened, picture, {"by": 0.25})
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"picture.png", "image.png", "run.json"}
    about = json.loads((folder / "run.json").read_text())
    assert (about["method"], about["settings"]) == ("darkened", {"by": 0.25})


def test_a_method_that_fails_leaves_no_picture(picture, tmp_path):
    def fails(image):
        raise SinGANError("too small")

    for _ in range(2):
        with pytest.raises(SinGANError, match="too small"):
            load_or_make(fails, picture, store=tmp_path, progress=False)
