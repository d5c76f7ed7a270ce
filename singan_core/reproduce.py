"""The batch: notebooks x seeds x pictures as tasks on Dask, and a page over what they leave behind.

`plan` makes the list of runs, `reproduce` has those that are due executed (see `execution`) by a cluster and the page
written (see `report`). The trained pyramids are the run store's business; figures and measured results are written by
the notebooks.
"""

import contextlib
import difflib
import functools
import hashlib
import json
import logging
import os
import queue
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from singan_core.claims import load_claims
from singan_core.config import resolve_profile
from singan_core.errors import SinGANError
from singan_core.execution import absolute_folders, interrupt_kernels, leave_failure, run_notebook
from singan_core.images import sample_names
from singan_core.notebooks import (
    CHECKOUT,
    Notebook,
    Outcome,
    check_declared,
    code_cells,
    declared_parameters,
    first_line,
    read_notebook,
    read_outcome,
)
from singan_core.plots import profile_folder
from singan_core.progress import deferred_interrupt
from singan_core.report import write_report
from singan_core.store import shipped_pyramid

try:
    import dask
    import psutil
    from dask.system import CPU_COUNT
    from distributed import Client, Future, Nanny, Scheduler, SpecCluster, get_worker, wait
except ModuleNotFoundError as error:
    raise SinGANError(f"Running notebooks needs {error.name}: python -m pip install -e '.[course]'.") from error

MEMORY_OF_A_RUN = 1.5 * 2**30
"""Bytes that a notebook may need, for the number of local workers: the largest of the series needs about 1 GiB."""

GUESSED_SECONDS = 60.0
"""Expected time of a run that has never been finished."""

CELLS = "singan-cells"
"""Dask's topic for the cells that are done: (label of the run, number of cells)."""


@dataclass(frozen=True)
class Run:
    """One notebook with one set of parameters: a task of the batch.

    variant: empty for the notebook's own seed and picture, else their label, as `peaks-seed1`. folder: where figures
    go. fingerprint: of all that the results depend on. cells: how many there are to execute. seconds: expected time.
    """

    path: Path
    parameters: dict[str, Any]
    variant: str
    folder: Path
    fingerprint: str
    cells: int
    seconds: float

    @property
    def label(self) -> str:
        return f"{self.path.stem} {self.variant}".strip()

    @property
    def executed(self) -> Path:
        """The executed copy."""
        return self.folder / "notebooks" / self.path.name

    def up_to_date(self) -> bool:
        """Whether the executed copy is what running it again would give: no error, and nothing has changed since."""
        try:
            outcome = read_outcome(self.executed)
        except SinGANError:
            return False
        same = all(
            (shipped_pyramid(key, note["discriminators"]) is not None) == note["shipped"]
            for key, note in outcome.pyramids.items()
        )
        return outcome.error is None and outcome.fingerprint == self.fingerprint and same


def reproduce(
    notebooks: Iterable[str | Path] | None = None,
    profile: str | None = None,
    *,
    seeds: Sequence[int] = (),
    images: Sequence[str] = (),
    scheduler: str | None = None,
    retrain: bool = False,
    output: str | Path | None = None,
    progress: bool = True,
) -> list[Outcome]:
    """Run notebooks and write `report.html` and `report.md` over all that they made; a failure stops no other.

    notebooks: see `find_notebooks`. profile: see `resolve_profile`. seeds, images: run every notebook that declares a
    `seed` or an `image_name` with each of them; by default with its own. scheduler: address of a Dask scheduler, whose
    workers share a file system with this process; default is a cluster of this machine, one worker per GPU or, without
    one, a worker per core. retrain: train the pyramids again, each one once. output: where the results go, see
    `results_folder`. progress: show a bar and, first, where Dask's dashboard is.

    What is up to date is not run again. A Ctrl-C lets trainings save their state; starting again goes on from there.
    Gives the outcome of each run, in the order of notebooks. Raises SinGANError before anything starts when a notebook
    or a picture is missing, unreadable, or no notebook declares a parameter that is asked for.
    """
    profile = resolve_profile(profile)
    folder = results_folder(profile, output)
    runs = plan(find_notebooks(notebooks), profile, folder, seeds=seeds, images=images, retrain=retrain)
    due = runs if retrain else [run for run in runs if not run.up_to_date()]
    environment = {name: value for name, value in absolute_folders(os.environ).items() if name in HANDED_ON}
    environment |= {"SINGAN_PROFILE": profile, "SINGAN_FIGURES": str(folder.parent)}
    if retrain:
        environment["SINGAN_RETRAIN_BEFORE"] = str(time.time())
    try:
        if due:
            with cluster(scheduler, len(due)) as client:
                execute(client, due, environment, progress)
    finally:
        write_report(folder, profile)
    return [read_outcome(run.executed) for run in runs]


HANDED_ON = ("SINGAN_RUNS", "SINGAN_DATA")
"""Variables of this process that count for notebooks on another machine, too."""


# -- what to run


def plan(
    paths: Sequence[Path],
    profile: str,
    folder: Path,
    *,
    seeds: Sequence[int] = (),
    images: Sequence[str] = (),
    retrain: bool = False,
) -> list[Run]:
    """The runs of notebooks x seeds x pictures, those with the notebooks' own seed and picture first.

    A notebook takes of the parameters what it declares: one that trains nothing has no `retrain`. Raises SinGANError
    for pictures that are not bundled, a misspelt parameter, and one that no notebook declares.
    """
    for name in images:
        if name not in sample_names():
            close = difflib.get_close_matches(name, sample_names(), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sample_names())}."
            raise SinGANError(f"There is no bundled picture {name!r}: {hint}")
    for seed in seeds:
        if seed < 0:
            raise SinGANError(f"A seed is a whole number from 0 on, got {seed}.")
    for path in paths:
        if any(path.stem == other.stem and path != other for other in paths):
            raise SinGANError(f"Two notebooks are called {path.stem}: run them with different output folders.")
    wanted = {name for name, asked in (("retrain", retrain), ("seed", seeds), ("image_name", images)) if asked}
    sources = [read_notebook(path) for path in paths]
    declared = [declared_parameters(source) for source in sources]
    for path, source, names in zip(paths, sources, declared, strict=True):
        nowhere = {name for name in wanted if not any(name in others for others in declared)}
        misspelt = {name for name in wanted if name not in names and difflib.get_close_matches(name, names)}
        check_declared(path, source, sorted({"profile"} | nowhere | misspelt))
    runs = []
    for path, source, names in zip(paths, sources, declared, strict=True):
        for image in dict.fromkeys(images) if images and "image_name" in names else [None]:
            for seed in dict.fromkeys(seeds) if seeds and "seed" in names else [None]:
                asked = {"image_name": image, "seed": seed}
                asked = {name: value for name, value in asked.items() if value is not None and value != names[name]}
                label = "-".join(f"seed{value}" if name == "seed" else value for name, value in asked.items())
                parameters = {"profile": profile} | asked
                place = folder / label
                runs.append(
                    Run(
                        path,
                        parameters | ({"retrain": True} if retrain and "retrain" in names else {}),
                        label,
                        place,
                        fingerprint(path.stem, source, parameters),
                        1 + len(code_cells(source)),  # and the one with the parameters
                        expected_seconds(place / "notebooks" / path.name),
                    )
                )
    return sorted(runs, key=lambda run: bool(run.variant))


def find_notebooks(names: Iterable[str | Path] | None = None) -> list[Path]:
    """Notebooks by path, number or beginning of the name, in the given order; all of the series by default.

    Raises SinGANError that lists what there is.
    """
    series = sorted((CHECKOUT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    found = list(series) if names is None else []
    for name in names or []:
        if Path(name).suffix == ".ipynb":
            matches = [Path(name).resolve()] if Path(name).is_file() else []
        else:
            beginning = str(name).zfill(2) if str(name).isdigit() else str(name)
            matches = [path for path in series if path.stem.startswith(beginning)]
        if not matches:
            known = ", ".join(path.stem for path in series) or "none"
            raise SinGANError(f"There is no notebook {str(name)!r}; give a path or one of: {known}.")
        found += [path for path in matches if path not in found]
    if not found:
        raise SinGANError(f"There are no notebooks in {CHECKOUT / 'notebooks'}: run this from a checkout.")
    return found


def results_folder(profile: str, output: str | Path | None = None) -> Path:
    """Where results of a profile go: <output>/<profile>, by default beside the figures (`plots.profile_folder`)."""
    return (Path(output) / profile if output else profile_folder(profile)).resolve()


def expected_seconds(executed: Path) -> float:
    """The time of the run that left this copy; a guess where there is none."""
    try:
        return max(read_outcome(executed).seconds, 1.0)
    except SinGANError:
        return GUESSED_SECONDS


def fingerprint(name: str, notebook: Notebook, parameters: dict[str, Any]) -> str:
    """A hash of what a run's results depend on: cells, parameters, claims, the package's code, PyTorch, kind of device.

    Not of `retrain`: what was trained again is what training gives.
    """
    cells = [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]]
    claims = [asdict(claim) for claim in load_claims().values() if claim.notebook == name]
    text = json.dumps([cells, parameters, claims, str(torch.__version__), torch.cuda.is_available()], sort_keys=True)
    return hashlib.sha256(text.encode() + code_fingerprint()).hexdigest()[:16]


@functools.cache
def code_fingerprint() -> bytes:
    """A hash of the package's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


# -- where to run


@contextlib.contextmanager
def cluster(scheduler: str | None, tasks: int) -> Iterator[Client]:
    """A client of the scheduler at this address, or of a cluster of this machine, which ends with the context.

    Raises SinGANError when no scheduler answers.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells of every start and end
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=20)
        except (OSError, ValueError) as error:
            raise SinGANError(
                f"No Dask scheduler answers at {scheduler} ({first_line(str(error))}). Start one with `dask scheduler` "
                "or leave the address out to use this machine alone."
            ) from error
        with client:
            yield client
        return
    here = {"host": "127.0.0.1"}
    workers = {
        number: {
            "cls": Nanny,
            "options": here | {"nthreads": 1, "memory_limit": 0, "env": environment, "preload": [IGNORE_INTERRUPTS]},
        }
        for number, environment in enumerate(local_workers(tasks))
    }
    # In place of Dask's own variables, which slow PyTorch down in the kernels (one thread, memory given back at once).
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "critical"}}):
        scheduling = {"cls": Scheduler, "options": here | {"dashboard_address": "127.0.0.1:0"}}
        with SpecCluster(workers, scheduling) as local, Client(local) as client:
            yield client


IGNORE_INTERRUPTS = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Run at the start of each local worker: a Ctrl-C of the terminal reaches all processes, and `execute` handles it."""


def local_workers(tasks: int) -> list[dict[str, str]]:
    """The environment of each worker on this machine, at most one per task.

    One worker per GPU; without one, a worker per core as far as memory goes, with the cores shared out among them: two
    trainings of one thread each finish sooner than one after the other with two threads (by a third at `laptop`).
    """
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        return [{"CUDA_VISIBLE_DEVICES": device} for device in visible.split(",")[:tasks]]
    fitting = int(psutil.virtual_memory().available // MEMORY_OF_A_RUN)
    count = max(1, min(tasks, CPU_COUNT, fitting))
    return [{"OMP_NUM_THREADS": str(max(1, CPU_COUNT // count))}] * count


# -- running


def execute(client: Client, runs: Sequence[Run], environment: dict[str, str], progress: bool) -> None:
    """Have all runs done by the workers; a run that cannot be done leaves a copy that says why.

    A worker that dies is replaced, and its run begins again. After a Ctrl-C the trainings save their state, then
    KeyboardInterrupt is raised; a second one ends at once. Raises SinGANError when a worker does not see the results'
    folder.
    """
    check_shared(client, runs[0].folder)
    cells: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    client.subscribe_topic(CELLS, lambda event: cells.put(tuple(event[1])))
    if progress:
        print(
            f"{len(client.scheduler_info(n_workers=-1)['workers'])} workers; dashboard {client.dashboard_link}",
            file=sys.stderr,
        )
    batch = uuid.uuid4().hex  # keys of their own on a cluster that others use, too
    futures: dict[Future, Run] = {}
    pending: set[Future] = set()
    with Bar(runs, progress) as bar, deferred_interrupt() as interrupted:
        while (pending or len(futures) < len(runs)) and not interrupted():
            # One run at a time for each thread. Of all at once Dask gives each worker its share before it knows how
            # long they take, and one that has done its own stands idle while others have runs left.
            free = max(1, sum(client.nthreads().values())) - len(pending)
            for run in runs[len(futures) : len(futures) + max(0, free)]:
                future = client.submit(run_task, run, environment, key=f"{run.label} {batch}", pure=False)
                futures[future] = run
                pending.add(future)
            finished, pending = waited(pending, seconds=0.5)
            while not cells.empty():
                bar.cell(*cells.get())
            for future in finished:
                bar.done(futures[future])
                if future.status == "error":
                    run = futures[future]
                    leave_failure(run.path, run.parameters, run.executed, reason(future))
        if interrupted():
            bar.say("Interrupted: trainings save their state ...")
            client.run(interrupt_kernels, on_error="ignore")
            waited(pending, seconds=20, all_of_them=True)
            raise KeyboardInterrupt


def run_task(run: Run, environment: dict[str, str]) -> Outcome:
    """The task of a worker: `run_notebook`, which tells the client of each cell."""
    worker, done = get_worker(), 0

    def on_cell() -> None:
        nonlocal done
        done += 1
        worker.log_event(CELLS, [run.label, done])

    environment = environment | ({"SINGAN_VARIANT": run.variant} if run.variant else {})
    try:
        return run_notebook(
            run.path,
            run.parameters,
            run.executed,
            environment=environment,
            fingerprint=run.fingerprint,
            on_cell=on_cell,
        )
    except KeyboardInterrupt as error:  # on its way through the worker it would end it
        raise SinGANError(f"{run.label} was interrupted.") from error


def waited(futures: set[Future], seconds: float, all_of_them: bool = False) -> tuple[set[Future], set[Future]]:
    """Wait for one of the futures, or all, but no longer than so many seconds; gives the finished and the others."""
    with contextlib.suppress(TimeoutError):
        wait(futures, timeout=seconds, return_when="ALL_COMPLETED" if all_of_them else "FIRST_COMPLETED")
    finished = {future for future in futures if future.done()}
    return finished, futures - finished


def reason(future: Future) -> str:
    """Why a task failed, in one line."""
    failure = future.exception()
    if type(failure).__name__ == "KilledWorker":
        return "its worker died again and again: is there enough memory?"
    return f"{type(failure).__name__}: {first_line(str(failure))}"


def check_shared(client: Client, folder: Path) -> None:
    """SinGANError when a worker does not see files that this process writes to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f".{uuid.uuid4().hex}"
    mark.touch()
    try:
        seen = client.run(os.path.exists, str(mark))
    finally:
        mark.unlink()
    if blind := [address for address, sees in seen.items() if not sees]:
        raise SinGANError(
            f"The worker at {blind[0]} does not see {folder}: all workers need this checkout, the run store and the "
            "folder of the results on a shared file system."
        )


class Bar:
    """The progress bar of a batch: which runs are at work, and the time left by what each took the last time."""

    def __init__(self, runs: Sequence[Run], show: bool):
        self.runs = {run.label: run for run in runs}
        self.cells = dict.fromkeys(self.runs, 0)
        self.finished: set[str] = set()
        self.bar = tqdm(
            desc=f"0 of {len(runs)}",
            total=sum(run.seconds for run in runs),
            disable=not show,
            bar_format="{desc} |{bar}| {percentage:3.0f}% [{elapsed}, {remaining} left]",
        )

    def __enter__(self) -> "Bar":
        self._show()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def cell(self, label: str, done: int) -> None:
        """So many cells of a run are done; fewer than before when it began again."""
        if label in self.runs and label not in self.finished:
            self.cells[label] = done
            self._show()

    def done(self, run: Run) -> None:
        """A run has ended."""
        self.finished.add(run.label)
        self.cells[run.label] = run.cells
        self._show()

    def say(self, text: str) -> None:
        self.bar.set_description_str(text)

    def _show(self) -> None:
        working = [label for label, done in self.cells.items() if done and label not in self.finished]
        self.bar.set_description_str(
            f"{len(self.finished)} of {len(self.runs)} {', '.join(working)}".strip(), refresh=False
        )
        reached = sum(run.seconds * min(self.cells[label] / run.cells, 1.0) for label, run in self.runs.items())
        self.bar.update(reached - self.bar.n)
        self.bar.refresh()
