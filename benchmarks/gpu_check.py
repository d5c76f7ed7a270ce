"""What to do with a borrowed GPU and little time: the CUDA tests, the benchmarks, and pyramids of the photographs.

    python -m benchmarks.gpu_check --out build/gpu --seconds 540

The stages share the time. One that fails or runs out of time does not stop the next, and what it has finished stays;
the summary is written anew after each. Trainings that are not finished go on in the next call with the same folder:
see benchmarks/GPU.md. Exit code: 0; 1 when something failed; 2 where there is no CUDA device.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import common, isolated
from benchmarks.common import ROOT
from benchmarks.quality import finest_image, measure, sheet, table
from singan_core import Progress, SinGAN, TrainConfig, sample_image, save_image, train
from singan_core.files import replacing, write_text
from singan_core.model import pick_device
from singan_core.store import run_key

STAGES = {"tests": 3, "benchmarks": 4, "trainings": 6}
"""Stages in their order, with their shares: each may use its share of the time that is left for it and the later."""

BENCHMARKS = {
    # more turns than a level has ordinary iterations on CUDA, so that the medians are those of graphs
    "speed": ["--settings", "paper", "laptop", "--repeats", "9", "--more-repeats", "9"],
    "sampling": [],
    "memory": [],
    "scaling": ["--profile", "paper", "--sizes", "125", "250", "500", "1000", "--budget", "0.5", "--limit", "40"],
}
"""Options of each benchmark, the most telling first."""

IMAGES = ["mountains", "peaks", "pagoda", "creek", "cat", "dahlia", "bridge", "nuthatch", "sunset", "dandelions"]
"""The photographs in the order in which they are trained."""

RESERVE = 15.0
"""Seconds before the end in which no stage runs: the summary and the parts are written."""

GRACE = 10.0
"""Seconds that a stage may take over its time, to end in good order."""

MEASURING = 20.0
"""Seconds that samples and measures of a finished training may take; with less left, the next call makes them."""

PART_BYTES, MAX_PARTS = 14 * 10**6, 4
"""Parts of a packed folder: with summary.json and summary.md beside them, at most 6 files of together below 60 MB."""

QUICK = {"seconds": 60.0, "images": ["bricks"]}

Outcome = dict[str, Any]
"""What became of something: status, seconds, and what else there is to say."""


class Clock:
    """The time of a call: what is left of it, and shares of that."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic):
        self.now, self.started, self.seconds = now, now(), seconds

    def taken(self) -> float:
        """Seconds since the beginning."""
        return self.now() - self.started

    def left(self) -> float:
        """Seconds until the stages must have ended."""
        return self.seconds - RESERVE - self.taken()

    def share(self, stage: str, stages: Sequence[str]) -> float:
        """Seconds for a stage, of those left for it and the later ones."""
        later = stages[stages.index(stage) :]
        return self.left() * STAGES[stage] / sum(STAGES[name] for name in later)


# -- processes


def run_logged(command: Sequence[str], log: Path, seconds: float) -> Outcome:
    """Run a command from the checkout with its output in a file; out of time, it is interrupted, then killed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with open(log, "w", encoding="utf-8") as output:
        # started in the background of a shell, this process ignores SIGINT, and those that it starts would, too
        listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        streams = {"stdout": output, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, preexec_fn=listen, **streams)
        try:
            code = process.wait(max(0.0, seconds))
            status = "passed" if code == 0 else "failed"
        except subprocess.TimeoutExpired:
            code, status = None, "out of time"
        finally:  # also when this process is interrupted
            _end(process)
    outcome = {"status": status, "seconds": round(time.monotonic() - started, 1), "log": log.name}
    return outcome | ({"exit_code": code} if status == "failed" else {})


def _end(process: subprocess.Popen) -> None:
    """End a process and those that it started, if it has not ended."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip(" =") if lines else ""


# -- stages: each is called with the options, the seconds that it may take, and a dictionary of outcomes that it fills


def tests(options: argparse.Namespace, seconds: float, outcomes: dict[str, Outcome]) -> Iterator[None]:
    """The tests that need CUDA."""
    log = options.out / "tests" / "test_cuda.log"
    # a process of its own for each test would spend the time on starting
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "tests/test_cuda.py"]
    outcome = run_logged(command, log, seconds)
    outcomes["test_cuda"] = outcome | {"said": last_line(log)}
    yield


def benchmarks(options: argparse.Namespace, seconds: float, outcomes: dict[str, Outcome]) -> Iterator[None]:
    """The benchmarks, each in a process of its own, as long as there is time."""
    end = time.monotonic() + seconds
    folder = options.out / "benchmarks"
    for name in options.benchmarks:
        left = end - time.monotonic()
        if left < GRACE:
            outcomes[name] = {"status": "not begun"}
            continue
        how = ["--quick"] if options.quick else BENCHMARKS[name]
        command = [sys.executable, "-m", f"benchmarks.{name}", *how]
        command += ["--device", str(options.device), "--results", str(folder)]
        outcomes[name] = run_logged(command, folder / f"{name}.log", left)
        if outcomes[name]["status"] == "failed":
            outcomes[name]["said"] = last_line(folder / f"{name}.log")
        yield


def trainings(options: argparse.Namespace, seconds: float, outcomes: dict[str, Outcome]) -> Iterator[None]:
    """Pyramids of the photographs one after the other, in one process; finished ones of earlier calls are kept."""
    folder = options.out / "trainings"
    arguments = {
        "names": options.images,
        "settings": training_settings(options).to_dict(),
        "folder": str(folder.resolve()),
        "state": str(options.state.resolve()),
        "device": str(options.device),
        "seconds": seconds - GRACE,  # it stops by itself before it is interrupted
    }
    target = "benchmarks.gpu_check:train_pictures"
    command = [sys.executable, "-m", "benchmarks.isolated", target, json.dumps(arguments)]
    log = folder / "trainings.log"
    outcome = run_logged(command, log, seconds)
    if outcome["status"] == "passed":
        outcomes |= json.loads(last_line(log))
    else:
        outcomes |= {name: {"status": "passed"} for name in finished_trainings(folder, options.images)}
        outcomes["the process"] = outcome | {"said": last_line(log)}
    yield


RUN: dict[str, Callable[[argparse.Namespace, float, dict[str, Outcome]], Iterator[None]]] = {
    "tests": tests,
    "benchmarks": benchmarks,
    "trainings": trainings,
}


# -- trainings, in their own process


def training_settings(options: argparse.Namespace) -> TrainConfig:
    """The settings of the trainings."""
    return TrainConfig.for_profile("smoke" if options.quick else options.profile)


def train_pictures(
    names: Sequence[str], settings: dict[str, Any], folder: str, state: str, device: str, seconds: float
) -> dict[str, Outcome]:
    """Train and measure pictures until the time is over; gives what became of each.

    Per finished picture, `folder` gets <name>.safetensors (the generators), <name>.jpg (samples) and <name>.json
    (measures). A training out of time leaves its checkpoint in `state`, and one that fails does not stop the next.
    """
    config, end = TrainConfig.from_dict(settings), time.monotonic() + seconds
    outcomes: dict[str, Outcome] = {}
    for name in names:
        if name in finished_trainings(Path(folder), [name]):
            outcomes[name] = {"status": "passed", "said": "in an earlier call"}
            continue
        started = time.monotonic()
        if started + GRACE > end:
            outcomes[name] = {"status": "not begun"}
            continue
        try:
            said = train_picture(name, config, Path(folder), Path(state), pick_device(device), end)
            outcomes[name] = {"status": "out of time" if said else "passed", "said": said}
        except Exception as error:
            outcomes[name] = {"status": "failed", "said": f"{type(error).__name__}: {error}"}
        outcomes[name]["seconds"] = round(time.monotonic() - started, 1)
    return outcomes


def train_picture(
    name: str, config: TrainConfig, folder: Path, state: Path, device: torch.device, end: float
) -> str | None:
    """Train a picture, or go on with it, until `end` (of the monotonic clock); gives how far it is, None if finished.

    It ends through the signal of Ctrl-C, which a training answers with a checkpoint.
    """
    image = sample_image(name)
    checkpoint = state / f"{name}-{run_key(image, config)}.safetensors"
    seen: list[Progress] = []

    def watch(progress: Progress) -> None:
        seen[:] = [progress]
        if time.monotonic() > end - MEASURING * (progress.level == progress.levels - 1):
            signal.raise_signal(signal.SIGINT)

    try:
        model = train(image, config, checkpoint=checkpoint, callback=watch, progress=False, device=device)
    except KeyboardInterrupt:
        at = seen[-1]
        return f"level {at.level} of 0 to {at.levels - 1}, iteration {at.iteration} of {at.iterations}"
    export(model, image, name, folder)
    checkpoint.unlink(missing_ok=True)
    return None


def export(model: SinGAN, image: torch.Tensor, name: str, folder: Path) -> None:
    """Write generators, samples and measures; the measures come last and say that all is there."""
    real = finest_image(model, image)
    found = measure(model, real)
    save_image(sheet(model, real), folder / f"{name}.jpg")
    for level in model.levels:
        level.discriminator = None
    model.save(folder / f"{name}.safetensors")
    write_text(folder / f"{name}.json", json.dumps(found, indent=2) + "\n")


def finished_trainings(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Measures of the pictures that are trained, by name."""
    files = {name: folder / f"{name}.json" for name in names}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


# -- the summary


def begun_summary(options: argparse.Namespace) -> dict[str, Any]:
    """The summary before the first stage: what an earlier call says of stages that are not run now stays in it."""
    file = (options.unpack or options.out) / "summary.json"
    earlier = json.loads(file.read_text(encoding="utf-8"))["stages"] if file.exists() else {}
    return {
        "machine": isolated.isolated(machine, device=options.device),
        "profile": "smoke" if options.quick else options.profile,
        "stages": {stage: earlier.get(stage, {}) for stage in STAGES if stage in earlier or stage in options.stages},
        "trained": {},
        "left_out": [],
    }


def write_summary(options: argparse.Namespace, document: dict[str, Any]) -> None:
    """Write summary.json and summary.md."""
    rows = [
        {"stage": stage, "what": name, **{key: outcome.get(key) for key in ("status", "seconds", "said")}}
        for stage, outcomes in document["stages"].items()
        for name, outcome in outcomes.items()
    ]
    trained, left_out = document["trained"], document["left_out"]
    parts = [
        "# GPU check",
        common.described(document["machine"]),
        common.markdown(rows) if rows else "Nothing was run.",
        f"## Pyramids at profile {document['profile']}\n\n{table(trained)}" if trained else "",
        f"Left out of the parts: {', '.join(left_out)}." if left_out else "",
    ]
    write_text(options.out / "summary.json", json.dumps(document, indent=2) + "\n")
    write_text(options.out / "summary.md", "\n\n".join(part for part in parts if part) + "\n")


# -- one folder as a few files


def pack(folder: Path) -> list[str]:
    """Replace the stages' folders by at most MAX_PARTS files of at most PART_BYTES; gives what had to be left out.

    Results come first, then the state of trainings; where all is too much, finished pyramids are left out, which the
    next call then trains again, or the state where even that is too large.
    """
    small = [file for file in _files(folder) if file.suffix != ".safetensors"]
    state = _files(folder, "state")
    pyramids = [file for file in _files(folder) if file.suffix == ".safetensors" and file not in state]
    left_out: list[str] = []
    while True:
        bundles = {"results": small, "state": state, "pyramids": pyramids}
        archives = {name: _archive(folder, files) for name, files in bundles.items() if files}
        parts = {
            f"{name}.tar.gz.{first // PART_BYTES:02d}": data[first : first + PART_BYTES]
            for name, data in archives.items()
            for first in range(0, len(data), PART_BYTES)
        }
        if len(parts) <= MAX_PARTS or not (pyramids or state):
            break
        dropped = (pyramids or state).pop()
        small = [file for file in small if file != dropped.with_suffix(".json")]
        left_out.append(dropped.stem)
    for name, data in parts.items():
        with replacing(folder / name) as unfinished:
            unfinished.write_bytes(data)
    for stage in (*STAGES, "state"):
        shutil.rmtree(folder / stage, ignore_errors=True)
    return left_out


def unpack(source: Path, folder: Path) -> None:
    """Take up the parts of an earlier call: those in `source` come to lie in `folder` as they were."""
    for name in ("results", "state", "pyramids"):
        parts = sorted(source.glob(f"{name}.tar.gz.*"))
        if parts:
            data = io.BytesIO(b"".join(part.read_bytes() for part in parts))
            with tarfile.open(fileobj=data, mode="r:gz") as archive:
                # nothing outside the folder; early releases of Python 3.11 do not know the filter
                archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        for part in parts if source.resolve() == folder.resolve() else []:
            part.unlink()


def _files(folder: Path, *stages: str) -> list[Path]:
    return sorted(
        file for stage in stages or (*STAGES, "state") for file in (folder / stage).rglob("*") if file.is_file()
    )


def _archive(folder: Path, files: Sequence[Path]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for file in files:
            archive.add(file, file.relative_to(folder))
    return data.getvalue()


# -- the call


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line, with --quick's defaults where it is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that comes out")
    parser.add_argument("--seconds", type=float, default=540.0, help="time for the whole call (default: %(default)s)")
    parser.add_argument("--stages", default=",".join(STAGES), help="which ones, by comma (default: %(default)s)")
    parser.add_argument("--benchmarks", default=",".join(BENCHMARKS), help="by comma (default: %(default)s)")
    parser.add_argument("--images", nargs="+", default=IMAGES, metavar="NAME", help="bundled pictures to train on")
    parser.add_argument("--profile", default="paper", help="of the trainings (default: %(default)s)")
    parser.add_argument("--state", type=Path, help="folder of unfinished trainings (default: state in --out)")
    parser.add_argument("--pack", action="store_true", help="at the end, make --out a few files of limited size")
    parser.add_argument("--unpack", type=Path, metavar="FOLDER", help="take up what an earlier call packed there")
    parser.add_argument("--quick", action="store_true", help="a trial run in a minute")
    parser.add_argument("--device", default="cuda", help="cpu to try this script out (default: %(default)s)")
    if parser.parse_known_args(argv)[0].quick:
        parser.set_defaults(**QUICK)
    options = parser.parse_args(argv)
    options.state = options.state or options.out / "state"
    for name, known in (("stages", STAGES), ("benchmarks", BENCHMARKS)):
        chosen = [part for part in getattr(options, name).split(",") if part]
        if unknown := set(chosen) - set(known):
            parser.error(f"there is no {', '.join(sorted(unknown))} among the {name}: {', '.join(known)}")
        setattr(options, name, [each for each in known if each in chosen])
    return options


def run_stages(options: argparse.Namespace, document: dict[str, Any], clock: Clock) -> None:
    """Run the stages; after each step of one the summary is written anew."""
    for stage in options.stages:
        outcomes = document["stages"][stage] = {}
        seconds = clock.share(stage, options.stages)
        if seconds < GRACE:
            outcomes["all"] = {"status": "not begun"}
            continue
        print(f"== {stage}, at most {seconds:.0f} s", flush=True)
        try:
            for _ in RUN[stage](options, seconds, outcomes):
                document["trained"] = finished_trainings(options.out / "trainings", options.images)
                write_summary(options, document)
        except Exception as error:
            outcomes["the stage itself"] = {"status": "failed", "said": f"{type(error).__name__}: {error}"}
        for name, outcome in outcomes.items():
            print(f"   {name}: {outcome['status']}  {outcome.get('said') or ''}", flush=True)
        write_summary(options, document)


def main(argv: Sequence[str] | None = None) -> int:
    options = parsed(argv)
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here: --device cpu --quick tries this script out without one.", file=sys.stderr)
        return 2
    clock = Clock(options.seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.unpack:
        unpack(options.unpack, options.out)
    document = begun_summary(options)
    try:
        run_stages(options, document, clock)
    finally:
        document["trained"] = finished_trainings(options.out / "trainings", options.images)
        document["left_out"] = pack(options.out) if options.pack else []
        write_summary(options, document)
        print(f"{options.out / 'summary.md'}, after {clock.taken():.0f} s", flush=True)
    outcomes = [outcome for stage in options.stages for outcome in document["stages"][stage].values()]
    return int(any(outcome["status"] == "failed" for outcome in outcomes))


def machine(device: str) -> dict[str, Any]:
    """What it runs on; asked in a process of its own, so that this one needs no memory on the GPU."""
    return common.machine(pick_device(device))


if __name__ == "__main__":
    sys.exit(main())
