"""The simulated batch: its bounds, its waits for pyramids, its order, and a real batch that it is compared with."""

import dataclasses
import json
import os
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell

from benchmarks import schedule
from benchmarks.schedule import Notebook, Task, longest_chain, lower_bound, simulate, work
from singan_core import TrainConfig, planning, reproduce
from singan_core.errors import SinGANError
from singan_core.execution import leave_failure
from singan_core.notebooks import Outcome, read_outcome
from singan_core.store import MODEL
from tests.series import leave_copy, parameters_cell, save

# -- the simulation


def task(seconds: float, *pyramids: str) -> Task:
    return Task("00_any", 0, 0, pyramids, seconds)


SECONDS = st.integers(1, 50).map(float)


@st.composite
def batches(draw) -> tuple[list[Task], dict[str, float]]:
    """Any tasks, some of which share pyramids, asked for in any order."""
    training = draw(st.dictionaries(st.sampled_from("abcdef"), SECONDS, min_size=1))
    keys = st.lists(st.sampled_from(sorted(training)), unique=True, max_size=4)
    tasks = draw(st.lists(st.builds(lambda seconds, asked: task(seconds, *asked), SECONDS, keys), min_size=1))
    return tasks, training


@settings(deadline=None, max_examples=40)
@given(batches(), st.integers(1, 9))
def test_no_batch_is_faster_than_its_bounds(made, workers):
    tasks, training = made
    assert simulate(tasks, training, workers).makespan >= lower_bound(tasks, training, workers)


@settings(deadline=None, max_examples=40)
@given(batches())
def test_one_worker_does_all_work_one_after_the_other_without_waiting(made):
    tasks, training = made
    found = simulate(tasks, training, 1)
    assert found.makespan == work(tasks, training) and not found.waits and not found.unused


@settings(deadline=None, max_examples=40)
@given(batches(), st.integers(1, 9))
def test_workers_work_wait_or_have_no_task_left(made, workers):
    tasks, training = made
    found = simulate(tasks, training, workers)
    busy = work(tasks, training) / found.paid
    assert busy + found.waiting + found.unused == pytest.approx(1)  # shares, rounded


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_with_a_worker_for_every_task_the_longest_chain_remains(data):
    notebooks = [
        Notebook(
            f"{number:02}_any",
            data.draw(SECONDS),
            *data.draw(st.sampled_from([((), ()), (("fixed",), ()), ((), ("shared",))])),
            tuple(f"{number} {index}" for index in range(data.draw(st.integers(0, 3)))),
            data.draw(st.booleans()),
            data.draw(st.booleans()),
        )
        for number in range(data.draw(st.integers(1, 5)))
    ]
    trainings = data.draw(st.lists(SECONDS, min_size=1, max_size=4))
    tasks, training = schedule.batch(notebooks, trainings, data.draw(st.integers(1, 3)))
    assert simulate(tasks, training, len(tasks)).makespan == longest_chain(tasks, training)


def test_a_pyramid_is_trained_once_and_the_others_wait_for_it():
    found = simulate([task(5, "a"), task(1, "a"), task(2), task(1, "a")], {"a": 10}, workers=3)
    assert found.waits == [10, 8]  # at 0 s, and at 2 s, when the third task is done
    assert found.makespan == 15 and found.waiting == 18 / 45


def test_a_free_worker_takes_the_next_task():
    found = simulate([task(4), task(1), task(2), task(5)], {}, workers=2)
    assert sorted(found.ends) == [4, 8]


# -- the tasks


def test_tasks_come_in_the_order_of_the_plan(tmp_path):
    cells = ["profile = None\nseed = 0\nimage_name = 'mountains'", "profile = None\nseed = 0", "profile = None"]
    paths = [save(tmp_path / f"{number:02}_any.ipynb", parameters_cell(source)) for number, source in enumerate(cells)]
    images = ["mountains", "peaks", "pagoda"]
    planned = [
        (run.path.stem, images.index(run.parameters.get("image_name", images[0])), run.parameters.get("seed", 0))
        for run in planning.plan(paths, "smoke", tmp_path, seeds=[0, 1], images=images)
    ]
    notebooks = [
        Notebook(path.stem, 1.0, (), (), (), "image_name" in source, "seed" in source)
        for path, source in zip(paths, cells, strict=True)
    ]
    tasks, _ = schedule.batch(notebooks, [1.0] * 3, seeds=2)
    assert [(each.notebook, each.picture, each.seed) for each in tasks] == planned


def test_every_picture_and_seed_has_pyramids_of_its_own_and_every_seed_those_of_named_pictures():
    notebooks = [
        Notebook("00_any", 1.0, (), ("base",), ("sweep",), True, True),
        Notebook("01_any", 1.0, ("lake",), ("base",), (), True, True),
    ]
    tasks, training = schedule.batch(notebooks, [10.0, 20.0], seeds=3)
    assert len(tasks) == 12 and sorted(training.values()) == [10.0] * 9 + [20.0] * 6
    assert tasks[0].pyramids == ("base 0 0", "sweep 0 0")
    assert [task.pyramids for task in tasks if task.notebook == "01_any" and task.seed == 2] == [
        ("lake 2", "base 0 2"),
        ("lake 2", "base 1 2"),
    ]


# -- what was measured


KEPT = Outcome(
    name="00_any", title="", question="", error=None, seconds=20.0, finished="2026-01-01T12:00:00+00:00",
    profile="laptop", seed=0, image="mountains", device="CPU", torch="2", commit=None,
    pyramids={"base": {"shipped": True, "discriminators": False}}, retrained=False, files={}, cells="", edition="",
    fingerprint="",
)  # fmt: skip


def keep(folder: Path, **changes: object) -> Path:
    outcome = dataclasses.replace(KEPT, **changes)
    leave_copy(folder / f"{outcome.name}.ipynb", outcome)
    return folder


def test_notebooks_ask_for_named_pictures_for_what_others_ask_for_and_for_their_own():
    shipped = {"shipped": True, "discriminators": False}
    asked = dict.fromkeys(["base", "only here", "lake"], shipped)
    outcomes = [KEPT, dataclasses.replace(KEPT, name="01_any", pyramids=asked, seconds=30.0)]
    pictures = {"base": "mountains", "lake": "sunset"}  # what is not shipped is not known
    first, second = schedule.measured_notebooks(outcomes, pictures)
    assert (first.fixed, first.shared, first.own, first.seconds) == ((), ("base",), (), 20.0)
    assert (second.fixed, second.shared, second.own, second.seconds) == (("lake",), ("base",), ("only here",), 30.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"error": "cell [1]: ValueError"}, "failed: cell"), ({"profile": "smoke"}, "profile smoke, not laptop")],
)
def test_runs_that_tell_no_time_are_refused(tmp_path, changes, message):
    with pytest.raises(SinGANError, match=message):
        schedule.measured_outcomes(keep(tmp_path, **changes), "laptop")


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(SinGANError, match="no executed notebooks"):
        schedule.measured_outcomes(tmp_path, "laptop")


@pytest.mark.parametrize(("age", "fits"), [(60, True), (-5, False), (None, False)])
def test_a_run_that_may_have_trained_is_refused(tmp_path, monkeypatch, age, fits):
    """age: of the pyramid in the run store when the run began, in seconds; None when the store does not have it."""
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path / "runs"))
    folder = keep(tmp_path / "copies", pyramids={"base": {"shipped": False, "discriminators": False}})
    if age is not None:
        model = tmp_path / "runs" / "base" / MODEL
        model.parent.mkdir(parents=True)
        model.touch()
        begun = 1767268800 - KEPT.seconds  # 2026-01-01, noon
        os.utime(model, (begun - age, begun - age))
    if fits:
        assert [outcome.name for outcome in schedule.measured_outcomes(folder, "laptop")] == ["00_any"]
    else:
        with pytest.raises(SinGANError, match="may have trained base"):
            schedule.measured_outcomes(folder, "laptop")


def test_trainings_at_other_settings_than_the_profiles_are_refused(tmp_path):
    path = tmp_path / "quality.json"
    path.write_text(json.dumps({"config": TrainConfig.for_profile("laptop", iterations=7).to_dict()}))
    with pytest.raises(SinGANError, match="other settings than profile laptop"):
        schedule.measured_trainings(path, "laptop")


def test_the_benchmark_writes_inputs_and_table(tmp_path, capsys):
    for number in range(2):
        keep(tmp_path / "copies", name=f"{number:02}_any")
    quality = {"results": {"bricks": {"seconds": 60.0}}, "machine": {"device": "abacus"}}
    quality["config"] = TrainConfig.for_profile("laptop").to_dict()
    (tmp_path / "quality.json").write_text(json.dumps(quality))
    options = ["--quick", "--device", "cpu", "--results", str(tmp_path)]
    schedule.main([*options, "--copies", str(tmp_path / "copies"), "--quality", str(tmp_path / "quality.json")])
    document = json.loads((tmp_path / "schedule.json").read_text())
    assert document["tasks"] == 6 and document["trained"] == 3
    assert document["work_s"] == 6 * 20 + 3 * 60 == document["schedules"][0]["makespan_s"]
    text = (tmp_path / "schedule.md").read_text()
    assert text.strip() in capsys.readouterr().out
    assert "3 pictures x 2 notebooks" in text and "abacus" in text
    assert (tmp_path / "schedule.png").stat().st_size > 0


# -- a real batch


SLEEP = "import time\ntime.sleep({seconds})"
TRAIN = """
import json, pathlib, time
from singan_core import TrainConfig, load_or_train, sample_image, store

train = store.train

def slow_train(*arguments, **options):
    time.sleep(2)
    return train(*arguments, **options)

store.train = slow_train
begun = time.monotonic()
load_or_train(sample_image("bricks"), TrainConfig.for_profile("smoke", max_size=16, iterations=1), progress=False)
pathlib.Path({note!r}).write_text(str(time.monotonic() - begun))
"""


@pytest.mark.system
def test_a_real_batch_takes_as_long_as_the_simulated_one(tmp_path):
    """Five notebooks sleep; the first two ask for one pyramid, which takes 2 s to train.

    The time of a run alone is what its outcome says, with the start of its kernel, less the training of its pyramid;
    and the time in which its page was written. Both of the first two note how long they stood before the pyramid, of
    which the longer is the training. The other waited less by as much as its kernel started later, which is no time of
    its own: in the simulation trainings begin with the run.
    """
    paths, notes = [], {}
    for number, seconds in enumerate((1, 1, 2, 1, 1)):
        path, cells = tmp_path / f"{number:02}_sleeps.ipynb", [new_code_cell(SLEEP.format(seconds=seconds))]
        if number < 2:
            notes[path] = tmp_path / f"{number}.txt"
            cells.insert(0, new_code_cell(TRAIN.format(note=str(notes[path]))))
        paths.append(save(path, parameters_cell("profile = None"), *cells))
    runs = planning.plan(paths, "smoke", tmp_path / "results" / "smoke")
    environment = {"SINGAN_RUNS": str(tmp_path / "runs"), "SINGAN_FIGURES": str(tmp_path / "results")}
    with reproduce.cluster(None, 2) as client:
        # What a worker does once: importing PyTorch, and the templates of pages.
        client.run(leave_failure, paths[0], {}, tmp_path / "warm_up.ipynb", "not run")
        begun = time.monotonic()
        reproduce.execute(client, runs, environment, None, progress=False)
        measured = time.monotonic() - begun
        workers = len(client.scheduler_info()["workers"])

    noted = {path: float(note.read_text()) for path, note in notes.items()}
    training = max(noted.values())
    tasks = []
    for run in runs:
        outcome = read_outcome(run.executed)
        page = run.executed.stat().st_mtime - datetime.fromisoformat(outcome.finished).timestamp()
        shared = run.path in noted
        tasks.append(task(outcome.seconds - training * shared + page, *["shared"] * shared))
    found = simulate(tasks, {"shared": training}, workers)
    assert len(found.waits) == workers - 1
    # Left out is Dask's own work, some hundredths of a second for each run.
    assert found.makespan == pytest.approx(measured, rel=0.05)
