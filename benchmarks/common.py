"""What the benchmarks share: options, the machine, timing, tables and result files, and points computed only once."""

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from singan_core import TrainConfig, plots
from singan_core.files import replacing, write_text
from singan_core.model import pick_device

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SCRATCH = ROOT / "build" / "bench"
"""Finished points of long measurements, and what --quick writes."""

PRECISIONS = ("float32", "mixed")
"""What trainings are timed in; float64 is for comparisons of results."""

TIMES = {False: "wall time", True: "processor time of one thread"}
"""What is measured, by whether one thread of the processor computes."""

BUSY = 0.5
"""Load average above which other programs take time from a measurement."""


# -- options


def options(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--device", help="cpu or cuda; default: CUDA where there is one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a trial run in seconds, results to build/bench/quick")
    return parser


def add_one_thread(parser: argparse.ArgumentParser) -> None:
    """The option of benchmarks that can also be run where other programs have some of the machine."""
    parser.add_argument("--one-thread", action="store_true", help="compute in one thread, measure processor time")


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None, quick: Mapping[str, Any]) -> argparse.Namespace:
    """The options of a command line; --quick changes the defaults to those of `quick`. device becomes a device.

    --one-thread takes effect here. Tells on stderr when the machine is busy.
    """
    if parser.parse_known_args(argv)[0].quick:
        parser.set_defaults(results=SCRATCH / "quick", **quick)
    arguments = parser.parse_args(argv)
    arguments.device = pick_device(arguments.device)
    if getattr(arguments, "one_thread", False):
        torch.set_num_threads(1)
    warn_if_busy()
    return arguments


# -- the machine


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers are measured on; load: the load average of the last minute, where the system tells it."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": f"{_memory_bytes() / 2**30:.0f} GiB",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
        "load": _load(),
    }


def described(where: Mapping[str, Any]) -> str:
    """One line that says what the numbers were measured on."""
    return "Measured on: " + ", ".join(f"{key} {value}" for key, value in where.items()) + "."


def merged(machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the points of a long measurement were measured on: all values that occur, of the load the largest."""
    found = {key: " / ".join(dict.fromkeys(str(each[key]) for each in machines)) for key in machines[0]}
    loads = [each["load"] for each in machines if each["load"] is not None]
    return found | {"load": f"up to {max(loads)}" if loads else None}


def warn_if_busy() -> None:
    """Say on stderr that the times will mean little, when other programs are running."""
    load = _load()
    if load is not None and load > BUSY:
        print(
            f"Warning: the load average of the last minute is {load} (an earlier benchmark counts too): "
            "while other programs run, times are too long.",
            file=sys.stderr,
        )


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def available_bytes() -> int:
    """Memory that a new process can have; all there is where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 2**10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _memory_bytes()


def _commit() -> str:
    """The checkout's commit, marked where the measured code differs from it."""

    def git(*words: str) -> str:
        try:
            return subprocess.run(["git", *words], capture_output=True, text=True, cwd=ROOT).stdout.strip()
        except OSError:  # there is no git
            return ""

    commit = git("rev-parse", "--short", "HEAD")
    changed = git("status", "--porcelain", "singan_core", "tests/reference.py", "benchmarks/*.py")
    return f"{commit or 'unknown'}{' with changes' if commit and changed else ''}"


# -- timing


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def one_thread(device: torch.device) -> bool:
    """Whether one thread of the processor computes; then what it takes itself is known, whatever else is running."""
    return device.type == "cpu" and torch.get_num_threads() == 1


def kind_of_time(device: torch.device) -> str:
    """What `clock_of` measures, in words."""
    return TIMES[one_thread(device)]


def clock_of(device: torch.device) -> Callable[[], float]:
    """What measures: the processor time of one thread, or else wall time."""
    return time.process_time if one_thread(device) else time.perf_counter


def seconds(action: Callable[[], Any], device: torch.device, clock: Callable[[], float] | None = None) -> float:
    """Time of one call, from an idle device to an idle device; clock: default `clock_of` the device."""
    clock = clock or clock_of(device)
    synchronise(device)
    started = clock()
    action()
    synchronise(device)
    return clock() - started


def interleaved(
    actions: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: torch.device,
    *,
    warm_up: int = 1,
    clock: Callable[[], float] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each action in each repeat, in turns (A B A B ...), so that a slow minute hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(-warm_up, repeats):
        for name, action in actions.items():
            taken = seconds(action, device, clock)
            if number >= 0:
                times[name].append(taken)
    return times


class Ratio(NamedTuple):
    """A ratio of medians, with the lowest and the highest ratio of single repeats."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Ratio:
    """How many times as long `slow` takes as `fast`, both measured in turns."""
    single = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(median(slow) / median(fast), min(single), max(single))


# -- results


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows {column: value} as a Markdown table, numbers with three significant digits."""
    table = plots.table([{key: str(v) if isinstance(v, Ratio) else v for key, v in row.items()} for row in rows])
    rule = ["---:" if numeric else "---" for numeric in table.numeric]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (table.header, rule, *table.cells))


def write(folder: Path, name: str, document: Mapping[str, Any], text: str, figure: plots.Figure | None = None) -> None:
    """Print the text; write it with the numbers and the figure to <folder>/<name>.{md,json,png}."""
    text = re.sub(r"\n{3,}", "\n\n", text.strip()) + "\n"
    write_text(folder / f"{name}.json", json.dumps(document, indent=2) + "\n")
    write_text(folder / f"{name}.md", text)
    if figure is not None:
        with replacing(folder / f"{name}.png") as unfinished:
            unfinished.write_bytes(plots.as_png(figure))
    print(text)


def point_name(*parts: object, config: TrainConfig) -> str:
    """A file name for a point: its parts, and a hash of all settings that differ from the defaults."""
    digest = hashlib.sha256(json.dumps(config.changes(), sort_keys=True).encode()).hexdigest()[:8]
    return "-".join(str(part) for part in (*parts, digest)) + ".json"


def point(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result kept in a JSON file; computed and written at once where the file is not there yet.

    The file's name says what was computed, or an old result would pass for a new one: see `point_name`.
    """
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    result = compute()
    write_text(path, json.dumps(result, indent=2) + "\n")
    return result
