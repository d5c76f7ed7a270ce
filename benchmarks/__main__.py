"""Run benchmarks, each in a process of its own: python -m benchmarks [NAMES ...] [--quick] [--device cpu]

Without names, all of them. `convergence` and `crop_quality` take hours, and go on where they were stopped.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.common import ROOT

NAMES = ("speed", "memory", "sampling", "scaling", "quality", "schedule", "crop_quality", "convergence")


def commands(names: Sequence[str], options: Sequence[str]) -> list[list[str]]:
    """The command of each benchmark."""
    return [[sys.executable, "-m", f"benchmarks.{name}", *options] for name in names]


def main(argv: Sequence[str] | None = None) -> int:
    """Run them in order; a benchmark that fails does not stop the others. Gives the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a trial run of each in seconds")
    parser.add_argument("--device", help="cpu or cuda; default: CUDA where there is one")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")

    options = [*(["--quick"] if arguments.quick else []), *(["--device", arguments.device] if arguments.device else [])]
    failed = 0
    for command in commands(arguments.names or NAMES, options):
        print(f"== {command[2]}", flush=True)
        failed += subprocess.call(command, cwd=ROOT) != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
