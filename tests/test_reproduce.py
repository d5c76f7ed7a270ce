"""The batch: which runs it plans, how a cluster has them done, and what survives failures and interrupts."""

import contextlib
import dataclasses
import io
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import dask
import pytest
from distributed import LocalCluster
from nbformat.v4 import new_code_cell

from singan_core import reproduce as batch
from singan_core.errors import SinGANError
from singan_core.notebooks import CHECKOUT, read_outcome
from singan_core.planning import Run, plan, retraining
from singan_core.reproduce import local_workers, reproduce
from tests.series import parameters_cell, save

pytestmark = pytest.mark.system

# -- what is refused before anything starts


def test_misspelt_parameter_is_refused_before_anything_starts(sources, tmp_path):
    misspelt = save(tmp_path / "05_misspelt.ipynb", parameters_cell("profle = None"))
    with pytest.raises(SinGANError, match=r"05_misspelt.*'profile'.*'profle'"):
        reproduce([sources[0], misspelt], "smoke", output=tmp_path / "results", progress=False)
    assert not (tmp_path / "results").exists()


def test_unknown_profile_is_refused(sources, tmp_path):
    with pytest.raises(SinGANError, match="no profile 'quick'"):
        reproduce(sources, "quick", output=tmp_path)


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
    states = [state for state in series.bar.split("\r") if "%" in state]
    assert "0 of 4" in states[0] and " 0%" in states[0]
    assert any("03_passes" in state for state in states)
    assert "4 of 4" in states[-1] and "100%" in states[-1]
    workers = len(local_workers(tasks=4))
    assert f"{workers} worker" in series.bar and "; dashboard http://127.0.0.1" in series.bar


@contextlib.contextmanager
def counted(tmp_path, *cells):
    """A notebook that notes each of its runs in a file, before the cells."""
    notes = tmp_path / "notes"
    path = save(
        tmp_path / "03_counts.ipynb",
        parameters_cell(),
        new_code_cell(f"with open({str(notes)!r}, 'a') as file:\n    print(seed, file=file)"),
        *map(new_code_cell, cells),
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


def test_an_interrupted_retraining_does_not_run_again_what_it_has_finished(cluster, tmp_path):
    with counted(tmp_path) as (path, runs):
        folder = tmp_path / "results" / "smoke"
        options = {"scheduler": cluster.scheduler_address, "output": tmp_path / "results", "progress": False}
        asked = plan([path], "smoke", folder, seeds=[0, 1])
        with pytest.raises(KeyboardInterrupt), retraining(folder, asked) as since:
            environment = {"SINGAN_PROFILE": "smoke", "SINGAN_FIGURES": str(folder.parent)}
            first = plan([path], "smoke", folder, retrain=True)
            with batch.cluster(options["scheduler"], 1) as client:
                batch.execute(client, first, environment, since, progress=False)
            raise KeyboardInterrupt
        reproduce([path], "smoke", seeds=[0, 1], retrain=True, **options)
        assert runs() == [0, 1]
        reproduce([path], "smoke", seeds=[0, 1], retrain=True, **options)
        assert runs() == [0, 0, 1, 1]


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


def test_a_worker_that_takes_long_to_come_back_is_not_given_up():
    """Dask asks whether it is back as long after its death as this setting says: here at once, before it can be."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0.01 s"}), batch.cluster(None, tasks=1) as client:
        (killed,) = client.run(os.getpid).values()
        os.kill(killed, signal.SIGKILL)
        deadline, answers = time.monotonic() + 300, [killed]
        while answers in ([], [killed]) and time.monotonic() < deadline:  # none: dead, and not yet known to be
            time.sleep(0.1)
            answers = list(client.run(os.getpid, on_error="ignore").values())
        assert answers not in ([], [killed])


def test_a_notebook_that_kills_every_worker_fails_with_the_reason(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    kills = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)"
    path = save(tmp_path / "03_kills.ipynb", parameters_cell(), new_code_cell(kills))
    (outcome,) = reproduce(
        [path], "smoke", scheduler=cluster.scheduler_address, output=tmp_path / "results", progress=False
    )
    assert "worker died again and again" in outcome.error
    assert "03_kills" in (tmp_path / "results" / "smoke" / "report.html").read_text()


def test_a_failure_that_leaves_no_copy_is_told_with_its_reason(cluster, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise SinGANError("no space")

    def broken(*_):
        raise RuntimeError("a worker without templates")

    monkeypatch.setattr(batch, "leave_failure", full)
    monkeypatch.setattr(batch, "run_task", broken)
    path = save(tmp_path / "03_fails.ipynb", parameters_cell())
    with pytest.raises(SinGANError, match="no executed copy"):
        reproduce([path], "smoke", scheduler=cluster.scheduler_address, output=tmp_path / "results", progress=False)
    told = "03_fails failed: RuntimeError: a worker without templates. It left no copy: no space"
    assert told in capsys.readouterr().err


TRAIN_FOR_LONG = """
import pathlib, time
from singan_core import TrainConfig, load_or_train, sample_image

from singan_core.training import LevelTrainer

begun, step = pathlib.Path({begun!r}), LevelTrainer.step

def slow_step(trainer):
    step(trainer)
    begun.touch()
    time.sleep(0.3)

LevelTrainer.step = slow_step
load_or_train(sample_image("bricks"), TrainConfig.for_profile("smoke", max_size=24, iterations=500))
"""


@pytest.mark.parametrize(
    "kind", ["a Ctrl-C, which all processes of the terminal get", "the SIGTERM that ends a job, twice"]
)
def test_an_interrupted_batch_saves_its_training_and_leaves_a_report(tmp_path, kind):
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
    if "Ctrl-C" in kind:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()  # as `timeout` does, which ends its child, and then the group
        os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Interrupted" in errors and "Traceback" not in errors
    assert (tmp_path / "results" / "smoke" / "report.html").exists()
    assert list(tmp_path.glob("runs/*/checkpoint.safetensors"))
    assert not list(tmp_path.glob("results/*/notebooks/*.ipynb"))


# -- clusters


def test_an_existing_cluster_is_left_running(cluster, tmp_path):
    with counted(tmp_path) as (path, runs):
        reproduce([path], "smoke", scheduler=cluster.scheduler_address, output=tmp_path / "results", progress=False)
        assert runs() == [0]
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


def bar_of(sources, tmp_path, seeds=(0, 1)) -> tuple[list[Run], batch.Bar]:
    runs = [dataclasses.replace(run, cells=4) for run in plan(sources[:1], "smoke", tmp_path, seeds=seeds)]
    with contextlib.redirect_stderr(io.StringIO()):
        return runs, batch.Bar(runs, show=True)


def test_the_bar_of_a_batch_that_began_a_notebook_again_goes_back(sources, tmp_path):
    (run,), bar = bar_of(sources, tmp_path, seeds=[0])
    shown = []
    for done in (0, 1, 3, 0, 1):
        bar.cell(run.label, done)
        bar.show()
        shown.append(bar.bar.n)
    bar.done(run)
    bar.cell(run.label, 1)  # a message that comes late
    bar.show()
    assert shown == [0, 0.25, 0.75, 0, 0.25] and bar.bar.n == 1


def test_time_left_is_unknown_until_something_tells_it(sources, tmp_path):
    (own, variant, other), bar = bar_of(sources, tmp_path, seeds=[0, 1, 2])
    assert bar.seconds_left(100.0) is None
    bar.took[own.label] = 5.0
    assert bar.seconds_left(100.0) is None, "a run with its own seed may find its pyramids shipped, a variant does not"
    bar.took[variant.label] = 300.0
    bar.started[other.label] = 100.0
    assert bar.seconds_left(100.0) == 300
    assert bar.seconds_left(190.0) == 210
    assert bar.seconds_left(500.0) == 0


def test_time_left_is_that_of_the_last_run_shared_out_among_those_at_once(sources, tmp_path):
    runs, bar = bar_of(sources, tmp_path, seeds=[0, 1, 2])
    bar.runs = {run.label: dataclasses.replace(run, seconds=60.0) for run in runs}
    assert bar.seconds_left(0.0) == 180
    bar.at_once = 2
    assert bar.seconds_left(0.0) == 90
    bar.at_once = 16
    assert bar.seconds_left(0.0) == 60, "no run is split"


# -- what other processes do meanwhile


def test_two_batches_at_once_run_a_notebook_once(cluster, tmp_path):
    with counted(tmp_path, "import time; time.sleep(2)") as (path, runs):
        options = {"scheduler": cluster.scheduler_address, "output": tmp_path / "results", "progress": False}
        both = [threading.Thread(target=reproduce, args=([path], "smoke"), kwargs=options) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join()
        assert runs() == [0]


def test_what_killed_processes_left_is_cleared(cluster, tmp_path):
    with counted(tmp_path) as (path, _):
        folder = tmp_path / "results" / "smoke" / "notebooks"
        folder.mkdir(parents=True)
        mine, others = folder / ".03_counts-abc_1234.ipynb", folder / ".03_counts-too.lock"
        for leftover in (mine, others):
            leftover.write_text("half a copy")
        reproduce([path], "smoke", scheduler=cluster.scheduler_address, output=tmp_path / "results", progress=False)
        assert not mine.exists() and others.exists()
        assert "half a copy" not in (folder.parent / "report.html").read_text()
        assert "Left out" not in (folder.parent / "report.md").read_text(), "hidden files are no results"


def test_a_lost_scheduler_is_a_clear_error_and_leaves_a_report(tmp_path, monkeypatch):
    monkeypatch.setitem(dask.config.config["distributed"]["comm"]["timeouts"], "connect", "2s")
    begun, lost = tmp_path / "begun", tmp_path / "lost"
    waits = f"""
        import pathlib, time
        pathlib.Path({str(begun)!r}).touch()
        while not pathlib.Path({str(lost)!r}).exists():
            time.sleep(0.1)
    """
    path = save(tmp_path / "03_waits.ipynb", parameters_cell("profile = None"), new_code_cell(textwrap.dedent(waits)))
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0", silence_logs=logging.CRITICAL) as own:

        def lose() -> None:
            while not begun.exists():
                time.sleep(0.1)
            own.sync(own.scheduler.close)

        loser = threading.Thread(target=lose)
        loser.start()
        with pytest.raises(SinGANError, match=r"scheduler was lost.*run this again"):
            reproduce([path], "smoke", scheduler=own.scheduler_address, output=tmp_path / "results", progress=False)
        loser.join()
        lost.touch()
    assert (tmp_path / "results" / "smoke" / "report.html").exists()


def test_a_scheduler_without_workers_says_how_to_start_one_and_waits(tmp_path, capfd):
    with (
        counted(tmp_path) as (path, runs),
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0", silence_logs=logging.CRITICAL) as own,
    ):
        options = {"scheduler": own.scheduler_address, "output": tmp_path / "results"}
        waiting = threading.Thread(target=reproduce, args=([path], "smoke"), kwargs=options)
        waiting.start()
        hint, seen = f"dask worker {own.scheduler_address}", ""
        while hint not in seen:
            assert waiting.is_alive()
            time.sleep(0.1)
            seen += capfd.readouterr().err
        own.scale(1)
        waiting.join()
        assert runs() == [0]
