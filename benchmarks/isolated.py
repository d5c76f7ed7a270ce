"""A measurement in a process of its own, so that its peak of memory is its own and a failure ends nothing else."""

import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ROOT


class Failed(Exception):
    """The process ended without a result; the message says how."""


def isolated(function: Callable[..., Any], **arguments: Any) -> Any:
    """function(**arguments) in a new Python process. Arguments and result go through JSON.

    Raises Failed when the process ends without a result, for instance because the system had no memory left for it.
    """
    module = function.__module__
    if module == "__main__":  # of `python -m`, which the new process knows by its full name
        module = sys.modules["__main__"].__spec__.name
    target = f"{module}:{function.__qualname__}"
    command = [sys.executable, "-m", "benchmarks.isolated", target, json.dumps(arguments)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["killed, probably out of memory"]
        raise Failed(last[0] if process.returncode > 0 else f"ended by signal {-process.returncode}")
    return json.loads(process.stdout.splitlines()[-1])


def peak_memory(action: Callable[[], Any], device: torch.device) -> tuple[Any, dict[str, float]]:
    """The action's result and the MiB that it added at its peak, in a process that did nothing large before.

    Call `levels.warm_up` first, or what PyTorch loads at first use is counted too.

    On the CPU: resident memory of the process. On CUDA: memory of tensors, and what PyTorch's allocator took for them.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
        torch.cuda.reset_peak_memory_stats(device)
        result = action()
        after = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        peak, reserved = ((high - low) / 2**20 for low, high in zip(before, after, strict=True))
        return result, {"peak_mib": peak, "reserved_mib": reserved}
    with contextlib.suppress(OSError):  # Linux then counts the peak from now on; elsewhere there is no such file
        Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    result = action()
    # less than a MiB is not told apart from none: small work fits into memory that the process has already
    return result, {"peak_mib": max(1.0, _resident("VmHWM") - before)}


def _resident(name: str) -> float:
    """MiB of resident memory: VmRSS now, VmHWM at its peak. Where there is no /proc, the peak for both.

    Not ru_maxrss on Linux: a new process inherits it from the one that started it.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    module, name = sys.argv[1].split(":")
    function = getattr(importlib.import_module(module), name)
    print(json.dumps(function(**json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
