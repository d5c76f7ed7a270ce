"""Nobody loses a training: killed, interrupted or out of disk, it resumes and ends with the same bits.

The trainings run in processes forked from a server that has PyTorch loaded and no threads, so that each costs little.
"""

import multiprocessing
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest
import torch

from singan_core import SinGAN, SinGANError, TrainConfig, load_or_train, train
from singan_core.files import read_tensors

pytestmark = pytest.mark.system

CONFIG = TrainConfig.for_profile("smoke", min_size=21, kernels=4, iterations=12)
PICTURE = torch.nn.functional.interpolate(
    torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9, (36, 48), mode="bilinear"
)
PATIENCE = 120  # seconds until a child counts as hung


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    # PyTorch's optimizers import `torch._dynamo` at their first use, which takes longer than a training here.
    context.set_forkserver_preload(["tests.test_resume", "torch._dynamo"])
    return context


def train_with(folder: Path, **options) -> SinGAN:
    return train(PICTURE, CONFIG, checkpoint=folder / "checkpoint.safetensors", progress=False, device="cpu", **options)


def train_to_end(folder: Path, sabotage=None) -> None:
    """In a child: train with a checkpoint after every iteration, then save the model."""
    torch.set_num_threads(1)
    if sabotage is not None:
        sabotage()
    model = train(
        PICTURE,
        CONFIG,
        checkpoint=folder / "checkpoint.safetensors",
        checkpoint_seconds=0,
        progress=False,
        device="cpu",
    )
    model.save(folder / "model.safetensors")


def die_in(name: str, at_call: int, before: bool):
    """Make the process kill itself at the given call of os.<name>, before or after it does its work."""
    real, calls = getattr(os, name), []

    def deadly(*arguments, **options):
        calls.append(name)
        if len(calls) == at_call and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if len(calls) == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, name, deadly)


class DieIn:
    """Picklable `die_in`, for a child process."""

    def __init__(self, name: str, at_call: int, before: bool):
        self.arguments = (name, at_call, before)

    def __call__(self) -> None:
        die_in(*self.arguments)


def start(processes, target, *arguments):
    process = processes.Process(target=target, args=arguments)
    process.start()
    return process


def finish(process) -> int:
    process.join(PATIENCE)
    assert process.exitcode is not None, "the training hangs"
    return process.exitcode


def iterations_done(checkpoint: Path) -> tuple[int, int]:
    """(finished levels, iterations of the level in training) of a checkpoint."""
    _, settings = read_tensors(checkpoint)
    return len(settings["kernels"]), settings["iteration"]


def assert_same_bits(file: Path, undisturbed: Path) -> None:
    ours, theirs = read_tensors(file)[0], read_tensors(undisturbed)[0]
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


@pytest.fixture(scope="module")
def undisturbed(processes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert finish(start(processes, train_to_end, folder)) == 0
    return folder / "model.safetensors"


def test_killed_at_random_moments_a_training_ends_with_the_same_bits(processes, undisturbed, tmp_path):
    moments = random.Random(0)
    kills = []
    checkpoint = tmp_path / "checkpoint.safetensors"
    for _ in range(40):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = start(processes, train_to_end, tmp_path)
        deadline = time.monotonic() + PATIENCE
        while process.is_alive() and time.monotonic() < deadline:  # until it has made some progress of its own
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns > before:
                break
            time.sleep(0.001)
        if len(kills) < 8:
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
        if finish(process) == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills.append(iterations_done(checkpoint))
    assert len(kills) >= 6, "the training was over before it could be killed six times"
    assert len(set(kills)) > 1
    assert_same_bits(tmp_path / "model.safetensors", undisturbed)


@pytest.mark.parametrize(
    "name, call, before", [("fsync", 2, True), ("replace", 1, True), ("replace", 17, True), ("replace", 2, False)]
)
def test_killed_while_a_checkpoint_is_written_it_ends_with_the_same_bits(
    processes, undisturbed, tmp_path, name, call, before
):
    assert finish(start(processes, train_to_end, tmp_path, DieIn(name, call, before))) == -signal.SIGKILL
    assert finish(start(processes, train_to_end, tmp_path)) == 0
    assert_same_bits(tmp_path / "model.safetensors", undisturbed)


def interrupt_after(folder: Path) -> None:
    """In a child: load_or_train, with a Ctrl-C of its own in the middle of an iteration."""
    torch.set_num_threads(1)

    def press(progress):
        if progress.level == 1:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        train(
            PICTURE, CONFIG, checkpoint=folder / "checkpoint.safetensors", callback=press, progress=False, device="cpu"
        )
    except KeyboardInterrupt:
        os._exit(130)


def test_ctrl_c_saves_the_iteration_it_was_in(processes, undisturbed, tmp_path):
    assert finish(start(processes, interrupt_after, tmp_path)) == 130
    levels, iteration = iterations_done(tmp_path / "checkpoint.safetensors")
    assert (levels, iteration) >= (1, 1)
    assert finish(start(processes, train_to_end, tmp_path)) == 0
    assert_same_bits(tmp_path / "model.safetensors", undisturbed)


def run_out_of_space(folder: Path) -> None:
    """In a child: from the first checkpoint on, no file may grow beyond 30 kB."""
    torch.set_num_threads(1)

    def fill(progress):
        if progress.model.levels:
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    try:
        train_with(folder, checkpoint_seconds=0, callback=fill)
    except SinGANError as error:
        assert "Cannot write" in str(error)
        os._exit(7)


def test_a_file_system_that_takes_no_more_loses_nothing(processes, undisturbed, tmp_path):
    assert finish(start(processes, run_out_of_space, tmp_path)) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    assert iterations_done(tmp_path / "checkpoint.safetensors") >= (0, CONFIG.iterations)
    assert finish(start(processes, train_to_end, tmp_path)) == 0
    assert_same_bits(tmp_path / "model.safetensors", undisturbed)


def train_into_read_only(store: Path) -> None:
    """In a child: ask for a run in a folder that this user may not write to."""
    torch.set_num_threads(1)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        load_or_train(PICTURE, CONFIG, store=store, progress=False, device="cpu")
    except SinGANError as error:
        assert "SINGAN_RUNS" in str(error)
        os._exit(7)


def test_a_read_only_store_is_one_clear_error(processes, tmp_path):
    tmp_path.chmod(0o555)
    assert finish(start(processes, train_into_read_only, tmp_path)) == 7
    tmp_path.chmod(0o755)
    assert list(tmp_path.iterdir()) == []


def train_or_wait(store: Path, result: Path, barrier) -> None:
    """In a child: ask for the run at the same time as the other one, and note whether it was this one that trained."""
    torch.set_num_threads(1)
    reports = []
    barrier.wait(PATIENCE)
    model = load_or_train(PICTURE, CONFIG, store=store, callback=reports.append, progress=False, device="cpu")
    model.save(result.with_suffix(".safetensors"))
    result.write_text("trained" if reports else "loaded")


def test_of_two_processes_one_trains_and_the_other_waits_and_loads(processes, undisturbed, tmp_path):
    barrier = processes.Barrier(2)
    results = [tmp_path / "first.txt", tmp_path / "second.txt"]
    children = [start(processes, train_or_wait, tmp_path / "store", result, barrier) for result in results]
    assert [finish(child) for child in children] == [0, 0]
    assert sorted(result.read_text() for result in results) == ["loaded", "trained"]
    for result in results:
        assert_same_bits(result.with_suffix(".safetensors"), undisturbed)


def test_a_truncated_checkpoint_is_one_clear_error_and_is_left_alone(processes, tmp_path):
    assert finish(start(processes, train_to_end, tmp_path, DieIn("replace", 3, False))) == -signal.SIGKILL
    checkpoint = tmp_path / "checkpoint.safetensors"
    content = checkpoint.read_bytes()[:-50]
    checkpoint.write_bytes(content)
    with pytest.raises(SinGANError, match="Delete the run's file"):
        train_with(tmp_path)
    assert checkpoint.read_bytes() == content


def test_the_resumed_model_is_whole(undisturbed):
    model = SinGAN.load(undisturbed, "cpu")
    assert all(len(level.history) == CONFIG.iterations for level in model.levels)
    assert model.sample(1).shape == (1, 3, *model.size)
