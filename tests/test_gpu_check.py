"""The script for a borrowed GPU, tried out on the CPU: its stages, its time, and folders that travel as few files."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from benchmarks import common, gpu_check, isolated
from singan_core import SinGAN, TrainConfig, progress

pytestmark = pytest.mark.system

TINY = TrainConfig.for_profile("smoke", max_size=24, kernels=4, iterations=3)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """No new processes, which take seconds to start; arguments and results go through JSON as they would."""

    def call(function, **arguments):
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)))))

    monkeypatch.setattr(isolated, "isolated", call)


@pytest.fixture
def commands(monkeypatch):
    """The commands of processes, which are not started: trainings run here, at tiny settings, the others say "done"."""
    called = []

    def run(command, log, seconds):
        called.append(command)
        log.parent.mkdir(parents=True, exist_ok=True)
        said = "done"
        if "benchmarks.gpu_check:train_pictures" in command:
            said = json.dumps(gpu_check.train_pictures(**json.loads(command[-1])))
        log.write_text(f"...\n{said}\n")
        return {"status": "passed", "seconds": 0.1, "log": log.name}

    monkeypatch.setattr(gpu_check, "run_logged", run)
    monkeypatch.setattr(gpu_check, "training_settings", lambda options: TINY)
    return called


def call(out, *options):
    return gpu_check.main(["--out", str(out), "--quick", "--device", "cpu", *options])


def summary(out):
    document = json.loads((out / "summary.json").read_text())
    assert all(stage in (out / "summary.md").read_text() for stage in document["stages"])
    return document


# -- a machine that lacks much


def test_the_cuda_tests_and_the_benchmarks_need_no_package_of_the_course():
    """What is absent on a borrowed machine: the packages of `course`, the command line's, and git."""
    script = """
import sys

class Absent:
    def find_spec(self, name, *_):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import pytest
from benchmarks import gpu_check, memory, sampling, scaling, speed
from benchmarks.common import machine
import torch
print("commit:", machine(torch.device("cpu"))["commit"])
sys.exit(pytest.main(["-p", "no:cacheprovider", "-p", "no:nbval", "--collect-only", "-q", "tests/test_cuda.py"]))
"""
    absent = "jupyterlab ipycanvas ipywidgets voila papermill dask distributed bokeh nbconvert nbformat nbclient jinja2"
    absent += " ipykernel IPython yaml tyro"
    done = subprocess.run(
        [sys.executable, "-c", script, ",".join(absent.split())],
        cwd=common.ROOT,
        env=os.environ | {"PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "commit: unknown" in done.stdout and "test_cuda.py" in done.stdout


# -- the whole


def test_all_stages_run_and_are_summarised(commands, tmp_path):
    assert call(tmp_path) == 0
    document = summary(tmp_path)
    assert list(document["stages"]) == ["tests", "benchmarks", "trainings"]
    assert document["stages"]["tests"]["test_cuda"]["said"] == "done"
    assert list(document["stages"]["benchmarks"]) == list(gpu_check.BENCHMARKS)
    assert document["stages"]["trainings"]["bricks"]["status"] == "passed"
    assert document["trained"]["bricks"]["levels"] > 1 and "bricks" in (tmp_path / "summary.md").read_text()
    assert [command[2] for command in commands[1:5]] == [f"benchmarks.{name}" for name in gpu_check.BENCHMARKS]
    assert all("--quick" in command and "cpu" in command for command in commands[1:5])


def test_options_of_the_benchmarks_are_known_to_them():
    for name, options in gpu_check.BENCHMARKS.items():
        module = __import__(f"benchmarks.{name}", fromlist=["main"])
        with pytest.raises(SystemExit) as ended:  # after the help, if all options before it are understood
            module.main([*options, "--device", "cpu", "--results", "somewhere", "--help"])
        assert ended.value.code == 0


def test_what_fails_does_not_stop_the_next(commands, tmp_path, monkeypatch):
    run = gpu_check.run_logged

    def failing(command, log, seconds):
        if "pytest" in command:
            raise OSError("no such program")
        if "benchmarks.sampling" in command:
            return run(command, log, seconds) | {"status": "failed"}
        return run(command, log, seconds)

    monkeypatch.setattr(gpu_check, "run_logged", failing)
    assert call(tmp_path, "--images", "nothing", "bricks") == 1
    stages = summary(tmp_path)["stages"]
    assert "no such program" in stages["tests"]["the stage itself"]["said"]
    assert [outcome["status"] for outcome in stages["benchmarks"].values()] == ["passed", "failed", "passed", "passed"]
    assert stages["trainings"]["nothing"]["status"] == "failed" and stages["trainings"]["bricks"]["status"] == "passed"


def test_without_cuda_it_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--out", str(tmp_path / "out")]) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# -- time


def test_stages_share_the_time_and_leave_what_they_do_not_need_to_the_later():
    now = [0.0]
    clock = gpu_check.Clock(gpu_check.RESERVE + 130, now=lambda: now[0])
    every = list(gpu_check.STAGES)
    assert clock.share("tests", every) == pytest.approx(30)
    now[0] = 10.0
    assert clock.share("benchmarks", every) == pytest.approx(120 * 4 / 10)
    assert clock.share("trainings", every) == pytest.approx(120)


def test_with_no_time_nothing_is_begun(commands, tmp_path):
    assert call(tmp_path, "--seconds", "1") == 0
    assert not commands
    assert all(stage == {"all": {"status": "not begun"}} for stage in summary(tmp_path)["stages"].values())


@pytest.mark.parametrize("ours", [signal.default_int_handler, signal.SIG_IGN])
def test_a_process_out_of_time_is_interrupted_and_may_end_in_good_order(tmp_path, ours):
    """Also where this process itself ignores interrupts, as one that a shell started in the background."""
    started = time.monotonic()
    code = "import time\ntry:\n print('on', flush=True)\n time.sleep(60)\nexcept KeyboardInterrupt:\n print('off')"
    before = signal.signal(signal.SIGINT, ours)
    try:
        outcome = gpu_check.run_logged([sys.executable, "-c", code], tmp_path / "log", 1.5)
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome["status"] == "out of time" and time.monotonic() - started < 30  # half of what it would sleep
    assert (tmp_path / "log").read_text().split() == ["on", "off"]


def test_a_process_that_fails_is_told_with_its_exit_code(tmp_path):
    outcome = gpu_check.run_logged([sys.executable, "-c", "print('why'); raise SystemExit(3)"], tmp_path / "log", 30)
    assert outcome["status"] == "failed" and outcome["exit_code"] == 3
    assert gpu_check.last_line(tmp_path / "log") == "why"


# -- trainings


def train_tiny(folder, seconds):
    names, device = ["bricks"], "cpu"
    return gpu_check.train_pictures(names, TINY.to_dict(), str(folder / "out"), str(folder / "state"), device, seconds)


def test_a_training_out_of_time_goes_on_in_the_next_call(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(progress, "REPORT_SECONDS", 0)  # it looks at the clock in each report
        patch.setattr(gpu_check, "MEASURING", 1e6)  # there is never enough time left at the last level
        outcome = train_tiny(tmp_path, 60)["bricks"]
    assert outcome["status"] == "out of time" and "level" in outcome["said"]
    (checkpoint,) = (tmp_path / "state").iterdir()

    resumed, load = [], gpu_check.train

    def seen(*arguments, **options):
        resumed.append(options["checkpoint"].exists())
        return load(*arguments, **options)

    monkeypatch.setattr(gpu_check, "train", seen)
    assert train_tiny(tmp_path, 60)["bricks"]["status"] == "passed"
    assert resumed == [True] and not checkpoint.exists()
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "bricks.jpg",
        "bricks.json",
        "bricks.safetensors",
    ]
    model = SinGAN.load(tmp_path / "out" / "bricks.safetensors", "cpu")
    assert all(level.discriminator is None for level in model.levels) and len(model.sample(1)) == 1

    assert train_tiny(tmp_path, 60)["bricks"]["said"] == "in an earlier call" and len(resumed) == 1


# -- few files


def fill(folder):
    contents = {"tests/test_cuda.log": b"log", "trainings/cat.json": b"{}", "state/dahlia-0.safetensors": b"s" * 3000}
    contents |= {"trainings/cat.safetensors": bytes(range(256)) * 40, "benchmarks/speed.md": b"# speed"}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return contents


def read(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("into_itself", [False, True])
def test_a_packed_folder_comes_back_as_it_was(tmp_path, monkeypatch, into_itself):
    monkeypatch.setattr(gpu_check, "PART_BYTES", 300)
    contents = fill(tmp_path / "out")
    assert gpu_check.pack(tmp_path / "out") == []
    parts = list((tmp_path / "out").iterdir())
    assert 3 < len(parts) <= gpu_check.MAX_PARTS and all(part.stat().st_size <= 300 for part in parts)
    target = tmp_path / ("out" if into_itself else "other")
    gpu_check.unpack(tmp_path / "out", target)
    assert read(target) == contents


def test_pyramids_that_are_too_much_are_left_out_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "MAX_PARTS", 2)
    fill(tmp_path)
    assert gpu_check.pack(tmp_path) == ["cat"]
    gpu_check.unpack(tmp_path, tmp_path)
    assert "trainings/cat.json" not in read(tmp_path) and "state/dahlia-0.safetensors" in read(tmp_path)


def test_a_second_call_takes_up_a_packed_first_one(commands, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert call(first, "--pack") == 0
    files = list(first.iterdir())
    assert len(files) <= 6 and all(file.is_file() for file in files)
    assert call(second, "--unpack", str(first), "--stages", "trainings", "--pack") == 0
    document = summary(second)
    assert document["stages"]["trainings"]["bricks"]["said"] == "in an earlier call"
    assert document["stages"]["tests"]["test_cuda"]["status"] == "passed"  # of the first call
    assert document["trained"] == summary(first)["trained"]
