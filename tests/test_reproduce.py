"""The batch: which runs it plans, how a cluster has them done, and what survives failures and interrupts."""

import contextlib
import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell

from singan_core import reproduce as batch
from singan_core.errors import SinGANError
from singan_core.notebooks import CHECKOUT, read_outcome
from singan_core.reproduce import Run, find_notebooks, local_workers, plan, reproduce
from tests.series import parameters_cell, save

# -- the plan


@pytest.fixture
def sources(tmp_path) -> list[Path]:
    """A notebook with all parameters, and one with a profile alone."""
    every = "profile = None\nseed = 0\nretrain = False\nimage_name = 'mountains'"
    return [
        save(tmp_path / "course" / "03_all.ipynb", parameters_cell(every)),
        save(tmp_path / "course" / "04_none.ipynb", parameters_cell("profile = None")),
    ]


def planned(sources: list[Path], folder: Path, **options: object) -> list[tuple[str, dict]]:
    return [(run.label, run.parameters) for run in plan(sources, "smoke", folder, **options)]


def test_without_wishes_every_notebook_runs_once(sources, tmp_path):
    assert planned(sources, tmp_path) == [("03_all", {"profile": "smoke"}), ("04_none", {"profile": "smoke"})]


def test_seeds_and_pictures_multiply_where_they_are_declared(sources, tmp_path):
    runs = planned(sources, tmp_path, seeds=[0, 1], images=["mountains", "peaks"])
    assert runs == [
        ("03_all", {"profile": "smoke"}),
        ("04_none", {"profile": "smoke"}),
        ("03_all seed1", {"profile": "smoke", "seed": 1}),
        ("03_all peaks", {"profile": "smoke", "image_name": "peaks"}),
        ("03_all peaks-seed1", {"profile": "smoke", "image_name": "peaks", "seed": 1}),
    ]


def test_what_is_asked_for_twice_runs_once(sources, tmp_path):
    assert len(planned(sources, tmp_path, seeds=[1, 1], images=["peaks", "peaks"])) == 2


def test_two_notebooks_of_one_name_are_refused(sources, tmp_path):
    other = save(tmp_path / "other" / "03_all.ipynb", parameters_cell())
    with pytest.raises(SinGANError, match="Two notebooks are called 03_all"):
        plan([*sources, other], "smoke", tmp_path)


def test_variants_have_folders_of_their_own(sources, tmp_path):
    base, variant = plan(sources[:1], "smoke", tmp_path, seeds=[0, 2])
    assert base.executed == tmp_path / "notebooks" / "03_all.ipynb"
    assert variant.executed == tmp_path / "seed2" / "notebooks" / "03_all.ipynb"


def test_retrain_goes_to_the_notebooks_that_train(sources, tmp_path):
    runs = plan(sources, "smoke", tmp_path, retrain=True)
    assert [run.parameters.get("retrain") for run in runs] == [True, None]


def test_retraining_does_not_change_what_a_run_is_known_by(sources, tmp_path):
    prints = [[run.fingerprint for run in plan(sources, "smoke", tmp_path, retrain=retrain)] for retrain in (0, 1)]
    assert prints[0] == prints[1] and len(set(prints[0])) == 2


@pytest.mark.parametrize("options", [{"seeds": [1]}, {"images": ["peaks"]}, {"retrain": True}])
def test_a_wish_that_no_notebook_can_fulfil_is_refused(sources, tmp_path, options):
    with pytest.raises(SinGANError, match=r"04_none.ipynb declares no parameter"):
        plan(sources[1:], "smoke", tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"images": ["peak"]}, "no bundled picture 'peak': did you mean 'peaks'"), ({"seeds": [-1]}, "from 0 on, got -1")],
)
def test_unknown_pictures_and_negative_seeds_are_refused(sources, tmp_path, options, message):
    with pytest.raises(SinGANError, match=message):
        plan(sources, "smoke", tmp_path, **options)


def test_misspelt_parameter_is_refused_before_anything_starts(sources, tmp_path):
    misspelt = save(tmp_path / "05_misspelt.ipynb", parameters_cell("profle = None"))
    with pytest.raises(SinGANError, match=r"05_misspelt.*'profile'.*'profle'"):
        reproduce([sources[0], misspelt], "smoke", output=tmp_path / "results", progress=False)
    assert not (tmp_path / "results").exists()


def test_misspelt_retrain_is_refused_though_another_notebook_has_it(sources, tmp_path):
    misspelt = save(tmp_path / "05_misspelt.ipynb", parameters_cell("profile = None\nretran = False"))
    with pytest.raises(SinGANError, match=r"05_misspelt.*'retran'"):
        plan([sources[0], misspelt], "smoke", tmp_path, retrain=True)


@pytest.mark.parametrize("cells", [[], [parameters_cell("seed = 0")], [new_code_cell("profile = None")]])
def test_notebook_without_a_profile_is_refused(tmp_path, cells):
    path = save(tmp_path / "05_plain.ipynb", *cells)
    with pytest.raises(SinGANError, match=r"05_plain.ipynb declares no parameter 'profile'"):
        plan([path], "smoke", tmp_path)


def test_unknown_profile_is_refused(sources, tmp_path):
    with pytest.raises(SinGANError, match="no profile 'quick'"):
        reproduce(sources, "quick", output=tmp_path)


@pytest.mark.parametrize("content", [b"", b"no JSON", b'{"cells": 3}', b"\xff\xfe", b"[]"])
def test_unreadable_notebook_is_named(tmp_path, content):
    path = tmp_path / "06_damaged.ipynb"
    path.write_bytes(content)
    with pytest.raises(SinGANError, match="06_damaged"):
        plan([path], "smoke", tmp_path)


@pytest.fixture
def course(monkeypatch, tmp_path) -> Path:
    """A checkout whose series is 00_start, 01_one and 10_ten."""
    for name in ("10_ten", "00_start", "01_one"):
        save(tmp_path / "notebooks" / f"{name}.ipynb")
    save(tmp_path / "notebooks" / "draft.ipynb")
    monkeypatch.setattr(batch, "CHECKOUT", tmp_path)
    return tmp_path / "notebooks"


def test_series_is_all_numbered_notebooks_in_order(course):
    assert [path.stem for path in find_notebooks()] == ["00_start", "01_one", "10_ten"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["1"], ["01_one"]),
        (["01"], ["01_one"]),
        (["10", "00_st"], ["10_ten", "00_start"]),
        (["01", "01_one"], ["01_one"]),
    ],
)
def test_notebooks_are_found_by_number_or_beginning(course, names, found):
    assert [path.stem for path in find_notebooks(names)] == found


def test_notebook_is_found_by_path(course, monkeypatch):
    monkeypatch.chdir(course)
    assert find_notebooks(["draft.ipynb"]) == [course / "draft.ipynb"]


@pytest.mark.parametrize("name", ["7", "start", "missing.ipynb"])
def test_unknown_notebook_is_refused_with_the_known_ones(course, name):
    with pytest.raises(SinGANError, match="00_start, 01_one, 10_ten"):
        find_notebooks([name])


def test_without_notebooks_there_is_nothing_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(batch, "CHECKOUT", tmp_path)
    with pytest.raises(SinGANError, match="from a checkout"):
        find_notebooks()


# -- what need not run again


def replanned(series, number: int = 2) -> Run:
    return plan(series.sources[number : number + 1], "laptop", series.folder)[0]


def test_only_what_passed_and_has_not_changed_is_up_to_date(series):
    assert replanned(series).up_to_date()
    assert not replanned(series, 1).up_to_date()
    assert not dataclasses.replace(replanned(series), fingerprint="another").up_to_date()
    assert not dataclasses.replace(replanned(series), variant="seed9", folder=series.folder / "seed9").up_to_date()


def test_cells_parameters_and_code_are_part_of_the_fingerprint(series, tmp_path, monkeypatch):
    before = replanned(series).fingerprint
    assert plan(series.sources[2:], "smoke", tmp_path)[0].fingerprint != before
    changed = save(tmp_path / "03_passes.ipynb", parameters_cell())
    assert plan([changed], "laptop", tmp_path)[0].fingerprint != before
    monkeypatch.setattr(batch, "code_fingerprint", lambda: b"other code")
    assert replanned(series).fingerprint != before


def test_a_pyramid_that_is_shipped_now_makes_a_run_due(series, monkeypatch):
    outcome = dataclasses.replace(
        read_outcome(series.executed(2)), pyramids={"abc": {"shipped": False, "discriminators": True}}
    )
    monkeypatch.setattr(batch, "read_outcome", lambda path: outcome)
    assert replanned(series).up_to_date()
    monkeypatch.setattr(batch, "shipped_pyramid", lambda key, discriminators: Path(key))
    assert not replanned(series).up_to_date()


def test_expected_time_is_that_of_the_last_run(series):
    assert replanned(series).seconds == max(1.0, read_outcome(series.executed(2)).seconds)
    assert plan(series.sources[2:], "smoke", series.folder / "elsewhere")[0].seconds == batch.GUESSED_SECONDS


# -- the run


def test_failing_notebooks_do_not_stop_the_others(series):
    dies, fails, passes, variant = series.outcomes
    assert dies.error.startswith("DeadKernelError")
    assert fails.error == "cell [3]: ValueError: on purpose"
    assert passes.error is None and variant.error is None
    assert (passes.seed, variant.seed) == (0, 1)


def test_figures_of_a_variant_lie_in_its_folder(series):
    for folder in (series.folder, series.folder / "seed1"):
        assert (folder / "03_a_curve.png").exists()
    assert (series.folder / "report.html").exists() and (series.folder / "report.md").exists()


def test_executed_copies_remember_their_outcomes(series):
    assert [read_outcome(series.executed(number)) for number in range(3)] == series.outcomes[:3]


def test_bar_shows_runs_at_work_the_share_done_and_the_time_left(series):
    states = [state for state in series.bar.split("\r") if "left]" in state]
    assert "0 of 4" in states[0] and " 0%" in states[0]
    assert any("03_passes" in state for state in states)
    assert "4 of 4" in states[-1] and "100%" in states[-1]
    assert "2 workers" in series.bar and "dashboard http://127.0.0.1" in series.bar


@contextlib.contextmanager
def counted(tmp_path):
    """A notebook that notes each of its runs in a file."""
    notes = tmp_path / "notes"
    path = save(
        tmp_path / "03_counts.ipynb",
        parameters_cell(),
        new_code_cell(f"with open({str(notes)!r}, 'a') as file:\n    print(seed, file=file)"),
    )
    yield path, lambda: sorted(map(int, notes.read_text().split()))


def test_what_is_up_to_date_is_not_run_again_and_what_is_asked_for_is(cluster, tmp_path):
    with counted(tmp_path) as (path, runs):
        options = {"scheduler": cluster.scheduler_address, "output": tmp_path / "results", "progress": False}
        for seeds in ([0], [0, 1], [0, 1]):
            outcomes = reproduce([path], "smoke", seeds=seeds, **options)
        assert runs() == [0, 1] and [outcome.seed for outcome in outcomes] == [0, 1]
        reproduce([path], "smoke", retrain=True, **options)
        assert runs() == [0, 0, 1]


RETRAIN_TWICE = """
from singan_core import TrainConfig, load_or_train, sample_image
config = TrainConfig.for_profile("smoke", max_size=16, iterations=2)
models = [load_or_train(sample_image("bricks"), config, retrain=retrain) for _ in range(2)]
same = models[0].seconds == models[1].seconds
assert same, "trained twice"
"""


def test_a_pyramid_that_is_retrained_is_retrained_once(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("SINGAN_RUNS", str(tmp_path / "runs"))
    path = save(tmp_path / "03_trains.ipynb", parameters_cell(), new_code_cell(RETRAIN_TWICE))
    (outcome,) = reproduce(
        [path],
        "smoke",
        retrain=True,
        scheduler=cluster.scheduler_address,
        output=tmp_path / "results",
        progress=False,
    )
    assert outcome.error is None


KILL_THE_WORKER_ONCE = """
import os, pathlib, signal
mark = pathlib.Path({mark!r})
if not mark.exists():
    mark.touch()
    os.kill(os.getppid(), signal.SIGKILL)
    import time; time.sleep(60)
"""


def test_a_killed_worker_is_replaced_and_its_notebook_completes(cluster, tmp_path):
    kills = KILL_THE_WORKER_ONCE.format(mark=str(tmp_path / "killed"))
    path = save(tmp_path / "03_kills.ipynb", parameters_cell(), new_code_cell(kills), new_code_cell("print('done')"))
    (outcome,) = reproduce(
        [path], "smoke", scheduler=cluster.scheduler_address, output=tmp_path / "results", progress=False
    )
    assert outcome.error is None and (tmp_path / "killed").exists()


def test_a_notebook_that_kills_every_worker_fails_with_the_reason(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    kills = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)"
    path = save(tmp_path / "03_kills.ipynb", parameters_cell(), new_code_cell(kills))
    (outcome,) = reproduce(
        [path], "smoke", scheduler=cluster.scheduler_address, output=tmp_path / "results", progress=False
    )
    assert "worker died again and again" in outcome.error
    assert "03_kills" in (tmp_path / "results" / "smoke" / "report.html").read_text()


TRAIN_FOR_LONG = """
import pathlib, time
from singan_core import TrainConfig, load_or_train, sample_image

from singan_core.training import LevelTrainer

begun, step = pathlib.Path({begun!r}), LevelTrainer.step

def slow_step(trainer):
    step(trainer)
    if trainer.index == 1:
        begun.touch()
        time.sleep(0.3)

LevelTrainer.step = slow_step
load_or_train(sample_image("bricks"), TrainConfig.for_profile("smoke", max_size=24, iterations=500))
"""


def test_an_interrupt_of_the_terminal_saves_the_training(tmp_path):
    begun = tmp_path / "begun"
    cell = new_code_cell(TRAIN_FOR_LONG.format(begun=str(begun)))
    path = save(tmp_path / "03_trains.ipynb", parameters_cell("profile = None"), cell)
    command = [sys.executable, "-m", "singan_core", "reproduce", "--notebooks", str(path), "--profile", "smoke"]
    command += ["--output", str(tmp_path / "results")]
    environment = os.environ | {"SINGAN_RUNS": str(tmp_path / "runs")}
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # all processes of the terminal get it
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Interrupted" in errors
    assert list(tmp_path.glob("runs/*/checkpoint.safetensors"))
    assert not list(tmp_path.glob("results/*/notebooks/*.ipynb"))


# -- clusters


def test_an_existing_cluster_is_left_running(cluster, tmp_path):
    with counted(tmp_path) as (path, runs):
        for seed in (3, 4):
            reproduce(
                [path],
                "smoke",
                seeds=[seed],
                scheduler=cluster.scheduler_address,
                output=tmp_path / "results",
                progress=False,
            )
        assert runs() == [3, 4]
    assert len(cluster.scheduler.workers) == 1


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_a_scheduler_that_does_not_answer_is_a_clear_error(tmp_path, monkeypatch, address):
    client = batch.Client
    monkeypatch.setattr(batch, "Client", lambda *args, **_: client(*args, timeout=1))
    with counted(tmp_path) as (path, _), pytest.raises(SinGANError, match="No Dask scheduler answers"):
        reproduce([path], "smoke", scheduler=address, output=tmp_path / "results", progress=False)


def test_workers_that_do_not_see_the_results_are_refused(tmp_path):
    class Blind:
        def run(self, *_):
            return {"tcp://far:1": False}

    with pytest.raises(SinGANError, match="tcp://far:1 does not see"):
        batch.check_shared(Blind(), tmp_path / "results")
    assert not list((tmp_path / "results").iterdir())


def test_the_cores_are_shared_out_among_the_workers(monkeypatch):
    monkeypatch.setattr(batch.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(batch, "CPU_COUNT", 8)
    monkeypatch.setattr(batch.psutil, "virtual_memory", lambda: type("", (), {"available": 64 * 2**30})())
    assert local_workers(20) == [{"OMP_NUM_THREADS": "1"}] * 8
    assert local_workers(3) == [{"OMP_NUM_THREADS": "2"}] * 3
    monkeypatch.setattr(batch.psutil, "virtual_memory", lambda: type("", (), {"available": 4 * 2**30})())
    assert local_workers(20) == [{"OMP_NUM_THREADS": "4"}] * 2
    monkeypatch.setattr(batch.psutil, "virtual_memory", lambda: type("", (), {"available": 0})())
    assert local_workers(20) == [{"OMP_NUM_THREADS": "8"}]


def test_every_gpu_has_a_worker(monkeypatch):
    monkeypatch.setattr(batch.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(batch.torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [worker["CUDA_VISIBLE_DEVICES"] for worker in local_workers(9)] == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [worker["CUDA_VISIBLE_DEVICES"] for worker in local_workers(9)] == ["4", "7"]


def test_the_bar_of_a_batch_that_began_a_notebook_again_goes_back(sources, tmp_path):
    (run,) = plan(sources[:1], "smoke", tmp_path)
    run = dataclasses.replace(run, cells=4, seconds=8.0)
    with contextlib.redirect_stderr(io.StringIO()), batch.Bar([run], show=True) as bar:
        shown = []
        for done in (1, 3, 1):
            bar.cell(run.label, done)
            shown.append(bar.bar.n)
        bar.done(run)
        bar.cell(run.label, 1)  # a message that comes late
        assert shown == [2.0, 6.0, 2.0] and bar.bar.n == 8.0
