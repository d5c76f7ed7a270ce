"""The batch: notebooks x seeds x pictures as tasks on Dask, and a page over what they leave behind.

`planning` makes the list of runs, `reproduce` has those that are due executed (see `execution`) by a cluster and the
page written (see `report`). The trained pyramids are the run store's business; figures and measured results are written
by the notebooks.
"""

import contextlib
import logging
import os
import queue
import re
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from statistics import mean

import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from singan_core.config import resolve_profile
from singan_core.errors import SinGANError
from singan_core.execution import absolute_folders, leave_failure, run_notebook
from singan_core.files import check_writable
from singan_core.notebooks import Outcome, first_line, read_outcome
from singan_core.planning import Run, find_notebooks, plan, results_folder, retraining
from singan_core.progress import deferred_interrupt
from singan_core.report import minutes, write_report
from singan_core.store import store_folder

try:
    import dask
    import psutil
    from dask.system import CPU_COUNT
    from distributed import Client, Future, Nanny, Scheduler, SpecCluster, get_worker, wait
except ModuleNotFoundError as error:
    raise SinGANError(f"Running notebooks needs {error.name}: python -m pip install -e '.[course]'.") from error

MEMORY_OF_A_RUN = 1.5 * 2**30
"""Bytes that a notebook may need, for the number of local workers: the largest of the series needs about 1 GiB."""

CELLS = "singan-cells"
"""Dask's topic for the cells that are done: (label of the run, number of cells)."""


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
    one, a worker per core. retrain: train the pyramids again, each one once; an interrupted retraining goes on. output:
    where the results go, see `results_folder`. progress: show a bar and, first, where Dask's dashboard is.

    What is up to date is not run again, see `Run.up_to_date`. A Ctrl-C, or the SIGTERM that clusters send, lets
    trainings save their state; starting again goes on from there. Gives the outcome of each run, in the order of
    notebooks. Raises SinGANError before anything starts when a notebook or a picture is missing, unreadable, no
    notebook declares a parameter that is asked for, or the run store cannot be written; and when the scheduler is lost.
    """
    profile = resolve_profile(profile)
    folder = results_folder(profile, output)
    runs = plan(find_notebooks(notebooks), profile, folder, seeds=seeds, images=images, retrain=retrain)
    check_writable(store_folder())
    check_writable(folder)
    environment = {name: value for name, value in absolute_folders(os.environ).items() if name in HANDED_ON}
    environment |= {"SINGAN_PROFILE": profile, "SINGAN_FIGURES": str(folder.parent)}
    with contextlib.ExitStack() as stack:
        stack.callback(write_report, folder, profile)
        since = stack.enter_context(retraining(folder, runs)) if retrain else None
        if since is not None:
            environment["SINGAN_RETRAIN_BEFORE"] = str(since)
        if due := [run for run in runs if not run.up_to_date(since)]:
            execute(stack.enter_context(cluster(scheduler, len(due))), due, environment, since, progress)
    return [read_outcome(run.executed) for run in runs]


HANDED_ON = ("SINGAN_RUNS", "SINGAN_DATA")
"""Variables of this process that count for notebooks on another machine, too."""


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
    with dask.config.set(LOCAL_SETTINGS):
        scheduling = {"cls": Scheduler, "options": here | {"dashboard_address": "127.0.0.1:0"}}
        with SpecCluster(workers, scheduling) as local, Client(local) as client:
            yield client


LOCAL_SETTINGS = {
    # In place of Dask's own variables, which slow PyTorch down in the kernels (one thread, memory given back at once).
    "distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "critical"},
    # After 15 s Dask would give up for good a worker that died, while on a slow machine the next is still starting.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}
"""Dask's settings for a cluster of this machine."""

IGNORE_INTERRUPTS = """
import signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
"""
"""Run at the start of each local worker: a Ctrl-C of the terminal and the signal that ends a job reach all processes,
and `execute` handles them."""


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


def execute(
    client: Client, runs: Sequence[Run], environment: Mapping[str, str], since: float | None, progress: bool
) -> None:
    """Have all runs done by the workers; a run that cannot be done leaves a copy that says why.

    since: see `Run.up_to_date`. A worker that dies is replaced, and its run begins again. After a Ctrl-C or a SIGTERM
    the trainings save their state, then KeyboardInterrupt is raised; a second one ends at once. Raises SinGANError when
    a worker does not see the results' folder, and when the scheduler is lost.
    """
    batch = uuid.uuid4().hex  # keys of their own on a cluster that others use, too
    futures: dict[Future, Run] = {}
    pending: set[Future] = set()
    cells: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    try:
        if progress:
            announce(client)
        client.wait_for_workers(1)
        check_shared(client, runs[0].folder)
        client.subscribe_topic(CELLS, lambda event: cells.put(tuple(event[1])))
        with Bar(runs, progress) as bar, deferred_interrupt() as interrupted:
            while (pending or len(futures) < len(runs)) and not interrupted():
                # One run at a time for each thread. Of all at once Dask gives each worker its share before it knows how
                # long they take, and one that has done its own stands idle while others have runs left.
                bar.at_once = max(1, sum(client.nthreads().values()))
                for run in runs[len(futures) : len(futures) + max(0, bar.at_once - len(pending))]:
                    key = f"{run.label} {batch}"
                    future = client.submit(run_task, run, environment, since, batch, key=key, pure=False)
                    futures[future] = run
                    pending.add(future)
                finished, pending = waited(pending, seconds=0.5)
                while not cells.empty():
                    bar.cell(*cells.get())
                for future in finished:
                    run = futures[future]
                    if future.status not in ("finished", "error"):
                        raise ConnectionError(f"the state of {run.label} is {future.status}")
                    bar.done(run)
                    if future.status == "error":
                        why = reason(future)
                        try:
                            leave_failure(run.path, run.parameters, run.executed, why)
                        except SinGANError as error:  # reading the copy will only say that it is not there
                            tqdm.write(f"{run.label} failed: {why}. It left no copy: {error}", file=sys.stderr)
                bar.show()
            if interrupted():
                bar.say("Interrupted: trainings save their state ...")
                client.run(stop, batch, on_error="ignore")
                waited(pending, seconds=20, all_of_them=True)
                raise KeyboardInterrupt
    except (OSError, CancelledError) as error:
        raise SinGANError(
            f"The Dask scheduler was lost ({first_line(str(error))}). What was finished is kept: run this again."
        ) from error


def announce(client: Client) -> None:
    """Say on stderr where the runs will be done."""
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    print(f"{workers} worker{'s' * (workers != 1)}; dashboard {client.dashboard_link}", file=sys.stderr)
    if not workers:
        address = client.scheduler.address
        print(f"Waiting for a worker: start one with `dask worker {address}` on any machine.", file=sys.stderr)


STOPS: defaultdict[str, threading.Event] = defaultdict(threading.Event)
"""Of a worker, by batch: set when its kernels are to be interrupted."""


def stop(batch: str) -> None:
    """Have a worker interrupt the runs of a batch."""
    STOPS[batch].set()


def run_task(run: Run, environment: Mapping[str, str], since: float | None, batch: str) -> None:
    """The task of a worker: `run_notebook`, which tells the client of each cell.

    What another batch runs at this moment is waited for, and taken if it is up to date then.
    """
    worker, done = get_worker(), 0

    def on_cell() -> None:
        nonlocal done
        done += 1
        worker.log_event(CELLS, [run.label, done])

    environment = dict(environment) | ({"SINGAN_VARIANT": run.variant} if run.variant else {})
    try:
        with only_one(run, STOPS[batch]):
            if run.up_to_date(since):
                return
            worker.log_event(CELLS, [run.label, 0])
            run_notebook(
                run.path,
                run.parameters,
                run.executed,
                environment=environment,
                edition=run.edition,
                fingerprint=run.fingerprint,
                on_cell=on_cell,
                stop=STOPS[batch],
            )
    except KeyboardInterrupt as error:  # on its way through the worker it would end it
        raise SinGANError(f"{run.label} was interrupted.") from error


@contextlib.contextmanager
def only_one(run: Run, stopped: threading.Event) -> Iterator[None]:
    """Hold the lock of a run, cleared of what killed processes left. KeyboardInterrupt if stopped while waiting."""
    folder = run.executed.parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f".{run.path.stem}.lock")
    while not lock.is_locked:
        if stopped.is_set():
            raise KeyboardInterrupt
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0.5)
    try:
        # the temporary names of `replacing`, and no files of a notebook whose name goes on
        unfinished = re.compile(rf"\.{re.escape(run.path.stem)}-[a-z0-9_]{{8}}\.(ipynb|html)")
        for leftover in folder.iterdir():
            if unfinished.fullmatch(leftover.name):
                leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


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
    """The progress bar of a batch: which runs are at work, and the time left as far as it is known."""

    def __init__(self, runs: Sequence[Run], show: bool):
        self.runs = {run.label: run for run in runs}
        self.cells = dict.fromkeys(self.runs, 0)
        self.started: dict[str, float] = {}
        self.took: dict[str, float] = {}
        self.at_once = 1
        self.bar = tqdm(
            desc=f"0 of {len(runs)}",
            total=len(runs),
            disable=not show,
            bar_format="{desc} |{bar}| {percentage:3.0f}% [{elapsed}{postfix}]",
        )

    def __enter__(self) -> "Bar":
        self.show()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def cell(self, label: str, done: int) -> None:
        """So many cells of a run are done; none when it begins, or begins again."""
        if label in self.runs and label not in self.took:
            self.cells[label] = done
            if not done:
                self.started[label] = time.monotonic()

    def done(self, run: Run) -> None:
        """A run has ended."""
        now = time.monotonic()
        self.took[run.label] = now - self.started.get(run.label, now)
        self.cells[run.label] = run.cells

    def say(self, text: str) -> None:
        self.bar.set_postfix_str("", refresh=False)
        self.bar.set_description_str(text)

    def show(self) -> None:
        working = [label for label in self.started if label not in self.took]
        left = self.seconds_left(time.monotonic())
        self.bar.set_description_str(
            f"{len(self.took)} of {len(self.runs)} {', '.join(working)}".strip(), refresh=False
        )
        self.bar.set_postfix_str(f"about {minutes(left)} left" if left else "", refresh=False)
        self.bar.update(sum(min(self.cells[label] / run.cells, 1.0) for label, run in self.runs.items()) - self.bar.n)
        self.bar.refresh()

    def seconds_left(self, now: float) -> float | None:
        """Time left with `at_once` runs at once; None as long as nothing tells how long one of them takes."""
        left = []
        for label, run in self.runs.items():
            if label not in self.took:
                expected = self._expected(run)
                if expected is None:
                    return None
                left.append(max(expected - (now - self.started.get(label, now)), 0.0))
        return max(sum(left) / self.at_once, max(left, default=0.0))

    def _expected(self, run: Run) -> float | None:
        """Seconds that a run took the last time, else the like of it in this batch: with own seed and picture or not.

        The pyramids of a notebook's own seed and picture may be shipped, those of a variant never are.
        """
        if run.seconds is not None:
            return run.seconds
        alike = [other for other in self.took if bool(self.runs[other].variant) == bool(run.variant)]
        same = [other for other in alike if self.runs[other].path == run.path]
        times = [self.took[other] for other in same or alike]
        return mean(times) if times else None
