"""The explorer without a screen: what a person does gives the pictures that the functions give, or a clear message."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from singan_core import SinGANError, TrainConfig, sample_image, sample_mask, save_image
from singan_core.applications import edit, harmonize, paint_to_image
from singan_core.explorer import LARGEST_PAGE, MASKED, Background, Explorer, Settings, Stopped, photographs
from singan_core.store import run_folder

RED = (255, 0, 0)


@pytest.fixture
def explorer(picture, model, tmp_path) -> Explorer:
    made = Explorer(picture, "own", profile="smoke", store=tmp_path)
    made.use(model)
    return made


def marked(explorer: Explorer, task: str) -> None:
    explorer.stroke(task, [(0.3, 0.5), (0.6, 0.5)], "mark", RED, 0.1)


# -- settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "dream"},
        {"scale": 0},
        {"scale": 1.5},
        {"scale": True},
        {"seed": -1},
        {"dilation": float("nan")},
        {"dilation": -1.0},
        {"blur": "soft"},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(SinGANError, match=name):
        replace(Settings("edit", 1), **wrong)


def test_a_sample_may_start_at_level_0():
    assert Settings("sample", 0).scale == 0


# -- pictures


@pytest.mark.parametrize(("task", "function"), [("edit", edit), ("harmonize", harmonize)])
def test_a_masked_task_gives_what_its_function_gives(explorer, picture, model, task, function):
    marked(explorer, task)
    settings = Settings(task, 2, seed=3, dilation=2.0, blur=1.0)
    page = explorer.input(task)
    expected = function(model, page.picture.image(), page.mask.image(), 2, seed=3, dilation=2.0, blur=1.0)
    assert torch.equal(explorer.after(settings), expected)


def test_a_painting_and_a_sample_give_what_their_functions_give(explorer, model):
    explorer.stroke("paint", [(0.2, 0.2)], "paint", RED, 0.2)
    painting = explorer.input("paint").picture.image()
    assert torch.equal(explorer.after(Settings("paint", 1, seed=2)), paint_to_image(model, painting, 1, seed=2))
    assert torch.equal(explorer.after(Settings("sample", 1, seed=2)), model.sample(1, seed=2, start_scale=1))


def test_bundled_inputs_belong_to_bundled_photographs_only(tmp_path):
    explorer = Explorer.of_sample("mountains", profile="smoke", store=tmp_path)
    page = explorer.input("edit")
    # half a step of 8 bits
    assert (page.picture.image() - sample_image("edit_mountains")).abs().max() <= 1 / 255 + 1e-6
    assert torch.equal(page.mask.image(), sample_mask("edit_mountains"))
    namesake = Explorer(sample_image("peaks"), "mountains", profile="smoke", store=tmp_path)
    assert not namesake.input("edit").mask.image().any()


@pytest.fixture
def own_inputs(tmp_path, monkeypatch, picture) -> Path:
    """The folder of a person's own pictures, with the photograph `hill`."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    save_image(picture, tmp_path / "data" / "own" / "hill.png")
    return tmp_path / "data" / "own"


def test_the_mask_of_a_large_input_stays_in_its_place(own_inputs, tmp_path):
    height, width = 600, 2 * LARGEST_PAGE
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 2 :, width // 4 : width // 2] = 1
    save_image(torch.zeros(1, 3, height, width), own_inputs / "edit_hill.png")
    save_image(mask, own_inputs / "edit_hill_mask.png")
    page = Explorer.of_sample("hill", profile="smoke", store=tmp_path).input("edit")
    assert page.picture.image().shape[-2:] == page.mask.image().shape[-2:] == (height // 2, LARGEST_PAGE)
    assert torch.equal(page.mask.image(), mask[..., ::2, ::2])


def test_a_damaged_mask_of_an_input_is_told(own_inputs, picture, tmp_path):
    save_image(picture, own_inputs / "edit_hill.png")
    (own_inputs / "edit_hill_mask.png").write_bytes(b"no picture")
    explorer = Explorer.of_sample("hill", profile="smoke", store=tmp_path)
    with pytest.raises(SinGANError, match=r"edit_hill_mask\.png"):
        explorer.input("edit")


def test_an_input_without_a_mask_waits_for_its_marks(own_inputs, picture, tmp_path):
    save_image(picture.flip(-1), own_inputs / "edit_hill.png")
    explorer = Explorer.of_sample("hill", profile="smoke", store=tmp_path)
    assert not explorer.is_marked("edit")
    torch.testing.assert_close(explorer.input("edit").picture.image(), picture.flip(-1), atol=1 / 127, rtol=0)
    marked(explorer, "edit")
    assert explorer.is_marked("edit")


def test_a_result_is_drawn_anew_only_after_a_change(explorer):
    marked(explorer, "edit")
    settings = Settings("edit", 2)
    first = explorer.after(settings)
    assert explorer.after(settings) is first
    explorer.stroke("edit", [(0.5, 0.2)], "paint", RED, 0.2)
    assert not torch.equal(explorer.after(settings), first)
    explorer.clear("edit")
    with pytest.raises(SinGANError, match="Nothing is marked"):
        explorer.after(settings)


def test_marks_can_be_taken_away(explorer):
    marked(explorer, "edit")
    assert explorer.input("edit").mask.image().any()
    explorer.stroke("edit", [(0.2, 0.5), (0.7, 0.5)], "unmark", RED, 0.4)
    assert not explorer.input("edit").mask.image().any()


def test_what_is_marked_has_a_tint_on_the_screen(explorer):
    before = explorer.shown("edit", (72, 96)).astype(int)
    marked(explorer, "edit")
    changed = np.abs(explorer.shown("edit", (72, 96)).astype(int) - before).sum(axis=2) > 0
    assert changed[36, 45] and not changed[5, 5]


@pytest.mark.parametrize(("task", "tool"), [("sample", "paint"), ("paint", "mark"), ("edit", "hammer")])
def test_a_stroke_that_makes_no_sense_is_refused(explorer, task, tool):
    with pytest.raises(SinGANError, match=r"no drawing|no mask|tool must be"):
        explorer.stroke(task, [(0.5, 0.5)], tool, RED, 0.1)


def test_defaults_can_be_drawn_for_every_task(explorer):
    for task in ("sample", "edit", "harmonize", "paint"):
        if task in MASKED:
            marked(explorer, task)
        settings = explorer.defaults(task)
        assert explorer.after(settings).shape == explorer.before(settings).shape
        assert explorer.given(settings).shape[-1] <= explorer.before(settings).shape[-1]


def test_a_level_that_the_pyramid_has_not_is_named(explorer):
    with pytest.raises(SinGANError, match="no level 50"):
        explorer.after(Settings("sample", 50))


def test_saving_twice_keeps_both_files(explorer, picture, tmp_path):
    paths = [explorer.save(Settings("sample", 0, seed=seed), tmp_path / "out") for seed in (1, 1)]
    assert [path.name for path in paths] == ["own-sample-level0-seed1.png", "own-sample-level0-seed1-2.png"]
    assert all(path.exists() for path in paths)


# -- photographs


def test_an_upload_is_the_photograph_and_a_large_one_is_reduced(tmp_path):
    large = torch.rand(1, 3, 90, 1500, generator=torch.Generator().manual_seed(0)) * 2 - 1
    save_image(large[..., :200], tmp_path / "own.png")
    save_image(large, tmp_path / "large.png")
    explorer = Explorer.of_upload((tmp_path / "own.png").read_bytes(), "C:\\pictures\\own.png", profile="smoke")
    assert explorer.name == "own" and explorer.image.shape == (1, 3, 90, 200) and explorer.model is None
    with pytest.raises(SinGANError, match="Crop it"):  # 1024 x 61 px make no pyramid at 48 px
        Explorer.of_upload((tmp_path / "large.png").read_bytes(), "large.png", profile="smoke")
    assert LARGEST_PAGE < 1500


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_bad_upload_is_refused_by_its_own_name(content):
    with pytest.raises(SinGANError, match=r"^holiday\.png is empty, cut short or none of"):
        Explorer.of_upload(content, "../holiday.png", profile="smoke")


def test_photographs_are_no_inputs():
    assert "mountains" in photographs()
    assert not [name for name in photographs() if name.startswith(("edit_", "harmonize_", "paint_", "sketch_"))]


# -- threads


def test_a_training_reports_and_its_pyramid_is_found_again(picture, tmp_path):
    explorer, reports = Explorer(picture, "own", profile="smoke", store=tmp_path), []
    with pytest.raises(SinGANError, match="train one"):
        explorer.after(Settings("sample", 0))
    training = explorer.train(lambda training: reports.append((training.share, training.running)))
    assert training.wait(120)
    assert training.error is None and reports[-1] == (1.0, False)
    assert explorer.after(Settings("sample", 0)).shape[1] == 3
    assert Explorer(picture, "own", profile="smoke", store=tmp_path).model is not None


def test_a_training_can_be_stopped(picture, tmp_path):
    explorer = Explorer(picture, "own", profile="smoke", store=tmp_path)
    explorer.quick = TrainConfig.for_profile("smoke", iterations=100_000)
    training = explorer.train(lambda training: training.stop())
    assert training.wait(120)
    assert isinstance(training.error, Stopped) and explorer.model is None


def test_a_training_that_waits_for_another_one_can_be_stopped(picture, tmp_path):
    explorer, told = Explorer(picture, "own", profile="smoke", store=tmp_path), []
    folder = run_folder(picture, explorer.quick, tmp_path)
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):  # as the other process has it
        training = explorer.train(lambda training: told.append(training.running))
        assert not training.wait(0.2)
        training.stop()
        assert training.wait(0)
    for thread in threading.enumerate():
        if thread.name == "explorer-training":
            thread.join(60)
    assert told == [False] and isinstance(training.error, Stopped) and explorer.model is None


def test_an_error_of_a_training_is_kept(picture, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    training = Explorer(picture, "own", profile="smoke", store=blocked).train(lambda training: None)
    assert training.wait(60)
    assert isinstance(training.error, SinGANError)


def test_of_waiting_jobs_the_newest_is_run():
    background, done, hold, begun = Background(), [], threading.Event(), threading.Event()
    background.submit(lambda: (begun.set(), hold.wait(30), done.append("first")))
    assert begun.wait(30)
    for name in ("second", "third"):
        background.submit(lambda name=name: done.append(name))
    hold.set()
    assert background.wait(30)
    assert done == ["first", "third"]
    background.submit(lambda: done.append("later"))
    assert background.wait(30) and done[-1] == "later"
