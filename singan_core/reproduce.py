"""The batch: notebooks run from top to bottom without a browser, and what they leave behind, gathered on one page.

`run_notebook` runs one notebook in a kernel of its own and depends on its arguments alone; `reproduce` runs the series
and has the page written. The trained pyramids are the run store's business, the figures and the measured results are
written by the notebooks.
"""

import difflib
import os
import platform
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from singan_core.config import resolve_profile
from singan_core.errors import SinGANError
from singan_core.files import replacing, write_text
from singan_core.notebooks import (
    CHECKOUT,
    Notebook,
    Outcome,
    code_cells,
    first_line,
    read_notebook,
    render,
    title_and_question,
)
from singan_core.plots import figures_folder
from singan_core.progress import deferred_interrupt
from singan_core.report import write_index

try:
    import papermill
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import load_notebook_node, write_ipynb
except ModuleNotFoundError as error:
    raise SinGANError(f"Running notebooks needs {error.name}: python -m pip install -e '.[course]'.") from error


def reproduce(
    notebooks: Iterable[str | Path] | None = None,
    profile: str | None = None,
    *,
    retrain: bool = False,
    output: str | Path | None = None,
    progress: bool = True,
) -> list[Outcome]:
    """Run notebooks one after the other and write `index.html` with all that they made; a failure stops no other.

    notebooks: see `find_notebooks`. profile: see `resolve_profile`. retrain: train the pyramids again. output: where
    the results go, see `results_folder`; the executed copies go to `notebooks` in there. progress: show a bar.

    Raises SinGANError before anything starts when a notebook is missing, unreadable, or declares no such parameter.
    """
    profile = resolve_profile(profile)
    paths = find_notebooks(notebooks)
    sources = [read_notebook(path) for path in paths]
    parameters = _parameters_for_each(paths, sources, {"profile": profile} | ({"retrain": True} if retrain else {}))
    folder = results_folder(profile, output)
    environment = {"SINGAN_PROFILE": profile, "SINGAN_FIGURES": str(folder.parent)}
    cells = [1 + len(code_cells(source)) for source in sources]  # and the one with the parameters
    outcomes = []
    bar_format = "{desc} |{bar}| {percentage:3.0f}% [{elapsed}, {remaining} left]"
    try:
        with tqdm(total=sum(cells), disable=not progress, bar_format=bar_format) as bar:
            for number, path in enumerate(paths):
                bar.set_description_str(f"{path.stem} ({number + 1}/{len(paths)})")
                copy_path = folder / "notebooks" / path.name
                outcomes.append(
                    run_notebook(path, parameters[number], copy_path, environment=environment, on_cell=bar.update)
                )
                bar.update(sum(cells[: number + 1]) - bar.n)  # the cells that a failure left out
    finally:
        write_index(folder, profile)
    return outcomes


def run_notebook(
    path: Path,
    parameters: Mapping[str, Any],
    output: Path,
    *,
    environment: Mapping[str, str] | None = None,
    on_cell: Callable[[], Any] | None = None,
) -> Outcome:
    """Run one notebook in a fresh kernel of the running interpreter; write the executed copy, and beside it a page.

    The working folder is the notebook's, as in JupyterLab. parameters: values for names that its `parameters` cell
    declares. output: the executed copy, ending in .ipynb; a failing notebook leaves one too, with the error in it.
    environment: variables for the kernel, on top of this process's. on_cell: called after each executed cell.

    A failing cell gives an `Outcome` with its error. Raises SinGANError for an undeclared parameter and for files that
    cannot be read or written.
    """
    notebook = read_notebook(path)
    _check_declared(path, notebook, parameters)
    title, question = title_and_question(notebook, path.stem)
    started, error = time.monotonic(), None
    with replacing(output) as unfinished:
        try:
            papermill.execute_notebook(
                notebook,
                str(unfinished).replace("{", "{{").replace("}", "}}"),  # papermill fills in placeholders
                parameters=dict(parameters),
                engine_name=OwnKernel.NAME,
                progress_bar=False,
                environment=kernel_environment(environment or {}),
                folder=path.parent,
                on_cell=on_cell,
            )
        except PapermillExecutionError as failure:
            error = f"cell [{failure.exec_count}]: {failure.ename}: {first_line(failure.evalue)}"
        except Exception as failure:  # the kernel died, or did not start: another notebook may well run
            error = f"{type(failure).__name__}: {first_line(str(failure))}"
        outcome = Outcome(
            name=path.stem,
            title=title,
            question=question,
            error=error,
            seconds=round(time.monotonic() - started, 1),
            finished=datetime.now().astimezone().isoformat(timespec="seconds"),
            profile=str(parameters.get("profile", "")),
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
            torch=str(torch.__version__),
        )
        executed = load_notebook_node(str(unfinished)) if unfinished.stat().st_size else notebook
        executed.metadata["singan"] = asdict(outcome)
        executed.metadata.pop("papermill", None)  # has paths of this machine
        write_ipynb(executed, str(unfinished))
    write_text(output.with_suffix(".html"), render(executed))
    return outcome


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
        start_timeout: int = 60,
        **_: Any,
    ) -> None:
        hook = None if on_cell is None else lambda **_: on_cell()
        client = OwnKernelClient(
            nb_man,
            kernel_name=kernel_name,
            timeout=None,
            startup_timeout=start_timeout,
            on_cell_executed=hook,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # its warnings would run into the progress bar
        )
        client.execute(env=environment, cwd=str(folder))


class OwnKernelClient(PapermillNotebookClient):
    """Starts `python3` with the running interpreter, whatever else is installed under that name, or nothing is."""

    def create_kernel_manager(self) -> Any:
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager.kernel_dirs = []  # without installed kernels, python3 is this interpreter's own
        return manager

    def papermill_execute_cells(self) -> None:
        """Run the cells. The kernel gets a Ctrl-C first, so that a training in it saves its state; then this ends."""
        kernel = self.km.provisioner.pid
        with deferred_interrupt(then=lambda: os.kill(kernel, signal.SIGINT)) as came:

            def stop(**_: Any) -> None:
                if came():
                    raise KeyboardInterrupt

            self.on_cell_start = stop
            super().papermill_execute_cells()
            stop()


papermill_engines.register(OwnKernel.NAME, OwnKernel)


def kernel_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a kernel: this process's with some variables changed.

    The notebooks import the same singan_core, installed or not; folders given relative to the caller stay the same
    ones; and figures go into the notebook even where MPLBACKEND asks for another backend.
    """
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    if (CHECKOUT / "pyproject.toml").exists():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    for name in ("SINGAN_RUNS", "SINGAN_DATA", "SINGAN_FIGURES"):
        if environment.get(name):
            environment[name] = os.path.abspath(environment[name])
    return environment | dict(changes)


# -- which notebooks, with which parameters


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
    """Where results of a profile go: <output>/<profile>, by default beside the figures (`plots.figures_folder`)."""
    return (Path(output) / profile if output else figures_folder(profile)).resolve()


def _declared(notebook: Notebook) -> list[str]:
    """Names that the cell tagged `parameters` sets."""
    return list(papermill.inspect_notebook(notebook))


def _check_declared(path: Path, notebook: Notebook, parameters: Iterable[str]) -> None:
    """SinGANError for a name that the notebook does not declare; papermill would set it and nobody would read it."""
    declared = _declared(notebook)
    for name in parameters:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"it has {close[0]!r}, correct that" if close else f"it has {', '.join(declared) or 'none'}"
            raise SinGANError(f"{path.name} declares no parameter {name!r} in its cell tagged `parameters`: {hint}.")


def _parameters_for_each(paths: list[Path], notebooks: list[Notebook], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """For each notebook what it takes of the wanted parameters: always the profile, others where they are declared.

    A notebook that trains nothing has no `retrain`. SinGANError where one is misspelt, or where no notebook has it.
    """
    declared = [_declared(notebook) for notebook in notebooks]
    for path, notebook, names in zip(paths, notebooks, declared, strict=True):
        nowhere = {name for name in wanted if not any(name in others for others in declared)}
        misspelt = {name for name in wanted if name not in names and difflib.get_close_matches(name, names)}
        _check_declared(path, notebook, sorted({"profile"} | nowhere | misspelt))
    return [{name: value for name, value in wanted.items() if name in names} for names in declared]
