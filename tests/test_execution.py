"""One notebook run in a kernel of its own: what reaches it, what it leaves, and how it is interrupted."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from singan_core.errors import SinGANError
from singan_core.execution import Log, kernel_environment, leave_failure, run_notebook
from singan_core.notebooks import CHECKOUT, read_outcome
from singan_core.progress import deferred_interrupt
from tests.series import outputs_of, parameters_cell, save

pytestmark = pytest.mark.system


def test_kernel_is_the_running_interpreter_in_the_notebooks_folder(series):
    about = json.loads(outputs_of(series.notebook(2))[0].text)
    assert about["executable"] == sys.executable
    assert Path(about["folder"]) == series.sources[2].parent


def test_parameters_and_variables_reach_the_notebook(series):
    about = json.loads(outputs_of(series.notebook(2))[0].text)
    assert about["profile"] == about["variables"]["SINGAN_PROFILE"] == "laptop"
    assert about["retrain"] is False
    assert Path(about["variables"]["SINGAN_FIGURES"]) == series.folder.parent


def test_kernels_share_the_cores_and_keep_the_memory_that_they_free(series):
    variables = json.loads(outputs_of(series.notebook(2))[0].text)["variables"]
    assert int(variables["OMP_NUM_THREADS"]) >= 1
    assert "MALLOC_TRIM_THRESHOLD_" not in variables, "Dask sets it for its workers, and PyTorch becomes slow"


def test_failing_notebook_leaves_a_copy_with_its_error(series):
    errors = [output for output in outputs_of(series.notebook(1)) if output.output_type == "error"]
    assert [error.ename for error in errors] == ["ValueError"]


def test_outcome_tells_parameters_versions_and_time(series):
    outcome = read_outcome(series.executed(2))
    assert (outcome.name, outcome.profile, outcome.seed, outcome.image) == ("03_passes", "laptop", 0, None)
    assert outcome.seconds > 0 and outcome.torch and outcome.device and outcome.finished


def test_metadata_of_an_executed_copy_names_no_folder_of_this_machine(series):
    assert str(series.folder.parents[1]) not in json.dumps(series.notebook(2).metadata)


def test_sources_stay_as_they_were(series):
    source = nbformat.read(series.sources[2], as_version=4)
    assert not outputs_of(source) and "singan" not in source.metadata


def test_undeclared_parameters_are_refused(series, tmp_path):
    with pytest.raises(SinGANError, match=r"no parameter 'speed'.*profile"):
        run_notebook(series.sources[1], {"speed": 3}, tmp_path / "copy.ipynb")
    assert not list(tmp_path.iterdir())


TRAIN = """
from singan_core import TrainConfig, load_or_train, sample_image
for size in (16, 20):
    for discriminators in (size > 16, False):
        config = TrainConfig.for_profile("smoke", max_size=size, iterations=2)
        load_or_train(sample_image("bricks"), config, discriminators=discriminators)
"""


def test_outcome_names_the_pyramids_that_were_asked_for(tmp_path):
    path = save(tmp_path / "03_trains.ipynb", parameters_cell("profile = None"), new_code_cell(TRAIN))
    runs = tmp_path / "runs"
    outcome = run_notebook(path, {}, tmp_path / "copy.ipynb", environment={"SINGAN_RUNS": str(runs)})
    assert outcome.error is None
    assert sorted(outcome.pyramids) == sorted(folder.name for folder in runs.iterdir())
    assert [note["discriminators"] for note in outcome.pyramids.values()].count(True) == 1
    assert not any(note["shipped"] for note in outcome.pyramids.values())


def test_a_notebook_that_cannot_be_run_leaves_a_copy_with_the_reason(series, tmp_path):
    leave_failure(series.sources[2], {"profile": "smoke"}, tmp_path / "copy.ipynb", "no memory")
    outcome = read_outcome(tmp_path / "copy.ipynb")
    assert (outcome.error, outcome.profile, outcome.title) == ("no memory", "smoke", "03 Passes <well>")
    assert "no memory" in (tmp_path / "copy.html").read_text()


# -- the log


def test_log_tells_cells_and_what_they_print(series):
    lines = series.executed(2).with_suffix(".log").read_text().splitlines()
    assert [line.split("  ", 1)[1] for line in lines if "cell 5 of 5" in line] == [
        f"cell 5 of 5: print({str(CHECKOUT / 'data')!r})"
    ]
    assert any("a warning" in line for line in lines)
    assert lines[-1].endswith("passed")
    assert "failed: cell [3]: ValueError: on purpose" in series.executed(1).with_suffix(".log").read_text()


def test_log_keeps_few_of_many_states(tmp_path):
    with Log(tmp_path / "log") as log:
        for number in range(1000):
            log.message("stream", {"text": f"\r{number} %"})
            value = {"state": {"value": f"<b>{number}</b> &lt;left&gt;"}}
            log.message("comm_msg", {"comm_id": "bar", "data": value})
        log.message("stream", {"text": "done\n"})
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) < 100 and "0 %" in lines[0] and "done" in lines[-1]


def test_log_joins_the_texts_at_both_ends_of_a_bar(tmp_path):
    with Log(tmp_path / "log") as log:
        log.SECONDS_BETWEEN_STATES = 0.0
        for name, text in (("left", "level 1"), ("right", "3 s &lt;left&gt;")):
            log.message("comm_msg", {"comm_id": name, "data": {"state": {"value": text}}})
        log.message("comm_msg", {"comm_id": "slider", "data": {"state": {"value": 3.0}}})
    assert [line.split("  ")[1] for line in (tmp_path / "log").read_text().splitlines()] == [
        "level 1",
        "level 1 3 s <left>",
    ]


def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path):
    with pytest.raises(SinGANError, match="Cannot write"), Log(tmp_path):
        pass


# -- interrupts


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, also where the tests run as a shell's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_first_interrupt_goes_to_the_kernel_and_the_second_is_ours():
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nprint(flush=True)\ntime.sleep(60)"
    waits = [sys.executable, "-c", code]
    with subprocess.Popen(waits, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as kernel:
        kernel.stdout.readline()  # it has started
        with deferred_interrupt(then=lambda: os.kill(kernel.pid, signal.SIGINT)) as came:
            assert not came()
            signal.raise_signal(signal.SIGINT)
            assert came()
            assert kernel.wait(timeout=30) == -signal.SIGINT
            signal.raise_signal(signal.SIGINT)  # at once, as from a program that sends it twice
            time.sleep(1)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


def test_kernels_of_other_threads_can_be_interrupted_and_leave_the_earlier_copy(tmp_path):
    started = tmp_path / "started"
    path = save(
        tmp_path / "03_sleeps.ipynb",
        parameters_cell("profile = None"),
        new_code_cell(f"open({str(started)!r}, 'w').close()\nimport time\ntime.sleep(300)"),
    )
    copy, raised, stop = tmp_path / "copy.ipynb", [], threading.Event()
    copy.write_text("an earlier copy")

    def run():
        try:
            run_notebook(path, {}, copy, stop=stop)
        except KeyboardInterrupt as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not started.exists():
        time.sleep(0.05)
    stop.set()
    thread.join(timeout=60)
    assert raised and copy.read_text() == "an earlier copy"


def test_a_run_that_is_stopped_before_its_first_cell_runs_none(tmp_path):
    ran, stop = tmp_path / "ran", threading.Event()
    cell = new_code_cell(f"open({str(ran)!r}, 'w')")
    path = save(tmp_path / "03_quick.ipynb", parameters_cell("profile = None"), cell)
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        run_notebook(path, {}, tmp_path / "copy.ipynb", stop=stop)
    assert not ran.exists()


def test_what_the_kernels_process_writes_goes_to_the_log(tmp_path, capfd):
    cell = new_code_cell("import os\nos.write(2, b'from a library')")
    path = save(tmp_path / "03_writes.ipynb", parameters_cell("profile = None"), cell)
    run_notebook(path, {}, tmp_path / "copy.ipynb")
    assert "from a library" in (tmp_path / "copy.log").read_text()
    assert "from a library" not in "".join(capfd.readouterr())


# -- the environment


def test_kernel_environment_keeps_folders_and_drops_the_plotting_backend(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SINGAN_RUNS", "my runs")
    monkeypatch.setenv("MPLBACKEND", "agg")
    environment = kernel_environment({"SINGAN_PROFILE": "smoke"})
    assert environment["SINGAN_RUNS"] == str(tmp_path / "my runs")
    assert environment["SINGAN_PROFILE"] == "smoke"
    assert "MPLBACKEND" not in environment
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(CHECKOUT)
