"""One notebook, run from top to bottom without a browser, in a kernel of its own.

It leaves an executed copy, a page and a log, and says in an `Outcome` how it went. Which notebooks run, with which
parameters and where, is the business of `reproduce`.
"""

import contextlib
import html
import json
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import torch

from singan_core.claims import current_commit
from singan_core.errors import SinGANError
from singan_core.files import replacing, write_text
from singan_core.model import device_name
from singan_core.notebooks import (
    CHECKOUT,
    Notebook,
    Outcome,
    check_declared,
    code_cells,
    declared_parameters,
    digest_of_cells,
    first_line,
    read_notebook,
    render,
    title_and_question,
)
from singan_core.progress import deferred_interrupt
from singan_core.store import store_folder
from singan_core.trace import Trace, digest, read_trace

try:
    import papermill
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import load_notebook_node, write_ipynb
except ModuleNotFoundError as error:
    raise SinGANError(f"Running notebooks needs {error.name}: python -m pip install -e '.[course]'.") from error


def run_notebook(
    path: Path,
    parameters: Mapping[str, Any],
    output: Path,
    *,
    environment: Mapping[str, str] | None = None,
    edition: str = "",
    fingerprint: str = "",
    on_cell: Callable[[], Any] | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run one notebook in a fresh kernel of the running interpreter; write the executed copy, a page, and a log.

    The working folder is the notebook's, as in JupyterLab. parameters: values for names that its `parameters` cell
    declares. output: the executed copy, ending in .ipynb; a failing notebook leaves one too, with the error in it. Page
    and log lie beside it; the log grows while the notebook runs. environment: variables for the kernel, on top of this
    process's. edition, fingerprint: kept in the outcome, the former also in the results. on_cell: called after each
    executed cell. stop: an event that another thread sets to have the kernel interrupted; in the main thread a Ctrl-C
    does that.

    A failing cell gives an `Outcome` with its error. Raises SinGANError for an undeclared parameter and for files that
    cannot be read or written, and KeyboardInterrupt when the kernel was interrupted, so that trainings in it have saved
    their state; an earlier copy stays then.
    """
    notebook = read_notebook(path)
    check_declared(path, notebook, parameters)
    started, error, stop = time.monotonic(), None, stop or threading.Event()
    with (
        replacing(output) as unfinished,
        tempfile.TemporaryDirectory() as scratch,
        Log(output.with_suffix(".log")) as log,
    ):
        notes = Path(scratch) / "notes"
        try:
            papermill.execute_notebook(
                notebook,
                str(unfinished).replace("{", "{{").replace("}", "}}"),  # papermill fills in placeholders
                parameters=dict(parameters),
                engine_name=OwnKernel.NAME,
                progress_bar=False,
                environment=kernel_environment(
                    {"SINGAN_TRACE": str(notes), "SINGAN_EDITION": edition} | dict(environment or {})
                ),
                folder=path.parent,
                on_cell=on_cell,
                live=log,
                stop=stop,
            )
        except PapermillExecutionError as failure:
            if failure.ename == "KeyboardInterrupt":
                raise KeyboardInterrupt from failure
            error = f"cell [{failure.exec_count}]: {failure.ename}: {first_line(failure.evalue)}"
        except Exception as failure:  # the kernel died, or did not start: another notebook may well run
            if stop.wait(timeout=1.0):  # it may have got the signal that stops the batch first
                raise KeyboardInterrupt from failure
            error = f"{type(failure).__name__}: {first_line(str(failure))}"
        log.line(f"failed: {error}" if error else "passed")
        trace = read_trace(notes)
        circumstances = about(path, notebook, parameters, edition) | {
            "error": error,
            "seconds": round(time.monotonic() - started, 1),
            "pyramids": trace.pyramids,
            "fingerprint": fingerprint,
        }
        executed = load_notebook_node(str(unfinished)) if unfinished.stat().st_size else notebook
        executed.metadata.pop("papermill", None)  # has paths of this machine
        return finish(executed, circumstances, trace, unfinished, output)


def leave_failure(path: Path, parameters: Mapping[str, Any], output: Path, error: str) -> None:
    """Write the copy and the page of a notebook that could not be run at all, with the reason."""
    notebook = read_notebook(path)
    circumstances = about(path, notebook, parameters) | {"error": error, "seconds": 0.0, "pyramids": {}}
    circumstances |= {"fingerprint": ""}
    with replacing(output) as unfinished:
        finish(notebook, circumstances, Trace({}, {}, frozenset()), unfinished, output)


def finish(executed: Notebook, circumstances: dict[str, Any], trace: Trace, unfinished: Path, output: Path) -> Outcome:
    """Write the page of an executed notebook, and the copy with its outcome to `unfinished`, which becomes `output`.

    circumstances: the fields of the outcome apart from the digests.
    """
    page = output.with_suffix(".html")
    executed.metadata["singan"] = {"title": circumstances["title"], "error": circumstances["error"]}
    write_text(page, render(executed))
    write_ipynb(executed, str(unfinished))
    cells = digest_of_cells(json.loads(unfinished.read_text(encoding="utf-8"))["cells"])
    # what is read in the run store is known by its key, and can be made again
    read = {path: found for path, found in trace.read.items() if store_folder() not in path.parents}
    files = read | {path: digest(path) for path in {*trace.written, page}}
    names = {Path(os.path.relpath(path, output.parent)).as_posix(): found for path, found in files.items()}
    outcome = Outcome(**circumstances, files=dict(sorted(names.items())), cells=cells)
    executed.metadata["singan"] = asdict(outcome)
    write_ipynb(executed, str(unfinished))
    return outcome


def about(path: Path, notebook: Notebook, parameters: Mapping[str, Any], edition: str = "") -> dict[str, Any]:
    """The fields of an outcome that do not depend on how the run went, for one that ends now in this process."""
    title, question = title_and_question(notebook, path.stem)
    values = declared_parameters(notebook) | dict(parameters)
    return {
        "name": path.stem,
        "title": title,
        "question": question,
        "finished": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "profile": str(values.get("profile", "")),
        "seed": values.get("seed"),
        "image": values.get("image_name"),
        "device": device_name(),
        "torch": str(torch.__version__),
        "commit": current_commit(edition),
        "edition": edition,
        "retrained": values.get("retrain") is True,
    }


class Log:
    """A text file that tells what a notebook does while it runs: its cells, what they print, how far a training is."""

    SECONDS_BETWEEN_STATES = 5.0

    def __init__(self, path: Path):
        self.path, self.told = path, -float("inf")
        self.widgets: dict[str, str] = {}
        self.file: TextIO | None = None

    def __enter__(self) -> "Log":
        try:
            self.file = open(self.path, "w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise SinGANError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def line(self, text: str) -> None:
        """Append a line with the time of day."""
        self.file.write(f"{datetime.now():%H:%M:%S}  {text}\n")

    def state(self, text: str) -> None:
        """Append a state that changes all the time, such as a progress bar, if the last one is a while ago."""
        if text and time.monotonic() - self.told >= self.SECONDS_BETWEEN_STATES:
            self.told = time.monotonic()
            self.line(text)

    def message(self, kind: str, content: Mapping[str, Any]) -> None:
        """Note what a kernel sent: printed text, and the text of widgets, which progress bars are."""
        if kind == "stream":
            *whole, state = content["text"].rsplit("\r", 1)
            for text in filter(str.strip, "" if whole else state.splitlines()):
                self.line(text)
            self.state(state.strip() if whole else "")
        elif kind == "comm_msg":
            value = content.get("data", {}).get("state", {}).get("value")
            if isinstance(value, str):  # a bar has a text on each side of it
                self.widgets[content["comm_id"]] = html.unescape(re.sub(r"<[^>]*>", "", value)).strip()
                self.state(" ".join(list(self.widgets.values())[-2:]))
        elif kind == "error":
            self.line(f"{content['ename']}: {first_line(content['evalue'])}")


class OwnKernel(Engine):
    """papermill engine: the kernel is the running interpreter, with an environment and a working folder of its own."""

    NAME = "singan_core"

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        environment: dict[str, str],
        folder: Path,
        on_cell: Callable[[], Any] | None,
        live: Log,
        stop: threading.Event,
        start_timeout: int = 60,
        **_: Any,
    ) -> None:
        client = OwnKernelClient(
            nb_man,
            live=live,
            stop=stop,
            kernel_name=kernel_name,
            timeout=None,
            startup_timeout=start_timeout,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        client.on_cell_executed = None if on_cell is None else lambda **_: on_cell()
        # What the kernel's process itself writes would run into the progress bar.
        client.execute(env=environment, cwd=str(folder), stdout=live.file, stderr=live.file)


class OwnKernelClient(PapermillNotebookClient):
    """Starts `python3` with the running interpreter, whatever else is installed under that name, or nothing is."""

    def __init__(self, manager: Any, *, live: Log, stop: threading.Event | None = None, **options: Any):
        super().__init__(manager, **options)
        self.live, self.stop = live, stop or threading.Event()

    def create_kernel_manager(self) -> Any:
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager.kernel_dirs = []  # without installed kernels, python3 is this interpreter's own
        return manager

    def papermill_execute_cells(self) -> None:
        """Run the cells. The kernel gets a Ctrl-C first, so that a training in it saves its state; then this ends."""
        cells = [cell["source"] for cell in code_cells(self.nb)]

        def start(cell: Any, **_: Any) -> None:
            if self.stop.is_set():
                raise KeyboardInterrupt
            if cell["source"] in cells:
                number = 1 + cells.index(cell["source"])
                self.live.line(f"cell {number} of {len(cells)}: {first_line(cell['source'])}")

        self.on_cell_start = start
        with deferred_interrupt(then=self.stop.set), interrupting(self.km.provisioner.pid, self.stop):
            super().papermill_execute_cells()
        if self.stop.is_set():
            raise KeyboardInterrupt

    def process_message(self, message: dict[str, Any], *where: Any) -> Any:
        self.live.message(message["msg_type"], message["content"])
        return super().process_message(message, *where)


papermill_engines.register(OwnKernel.NAME, OwnKernel)


@contextlib.contextmanager
def interrupting(process: int, stop: threading.Event) -> Iterator[None]:
    """Send a process a Ctrl-C once the event is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(timeout=0.2) and not over.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def kernel_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a kernel: this process's with some variables changed.

    The notebooks import the same singan_core, installed or not; folders given relative to the caller stay the same
    ones; and figures go into the notebook even where MPLBACKEND asks for another backend.
    """
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    if (CHECKOUT / "pyproject.toml").exists():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    return absolute_folders(environment) | dict(changes)


def absolute_folders(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables, those of the package that name folders made absolute."""
    found = dict(environment)
    for name in ("SINGAN_RUNS", "SINGAN_DATA", "SINGAN_FIGURES"):
        if found.get(name):
            found[name] = os.path.abspath(found[name])
    return found
