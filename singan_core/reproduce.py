"""The batch: notebooks run from top to bottom without a browser, and what they leave behind, gathered on one page.

`run_notebook` runs one notebook in a kernel of its own and depends on its arguments alone; `reproduce` runs the series
and writes the page; `publish` puts the outputs back into the notebooks, ready to be committed. The trained pyramids
are the run store's business, the figures and the measured results are written by the notebooks.
"""

import contextlib
import copy
import difflib
import html
import json
import logging
import os
import platform
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from singan_core.claims import NOT_TESTABLE, Claim, Verdict, load_claims
from singan_core.config import resolve_profile
from singan_core.errors import SinGANError
from singan_core.files import replacing, write_text
from singan_core.plots import figures_folder

try:
    import papermill
    from nbconvert import HTMLExporter
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import load_notebook_node, write_ipynb
except ModuleNotFoundError as error:
    raise SinGANError(f"Running notebooks needs {error.name}: python -m pip install -e '.[course]'.") from error

Notebook = dict[str, Any]
"""A notebook, or a part of one, as nbformat reads version 4: a dictionary that is never rebuilt as a plain one."""

CHECKOUT = Path(__file__).resolve().parents[1]
PUBLISHED_PROFILE = "laptop"
"""The profile at which notebooks are committed."""
PUBLISHED_BYTES = 1_000_000
"""Largest notebook that is committed."""

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_NOTE = "A widget: run the notebook to use it."


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook; kept in the metadata of its executed copy.

    name: its file name without suffix. error: cell and exception in one line, None when every cell ran. seconds: run
    time with the start of the kernel. finished: local date and time. device, torch: where, and with which version.
    """

    name: str
    title: str
    question: str
    error: str | None
    seconds: float
    finished: str
    profile: str
    device: str
    torch: str


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
    sources = [_read(path) for path in paths]
    parameters = _parameters_for_each(paths, sources, {"profile": profile} | ({"retrain": True} if retrain else {}))
    folder = results_folder(profile, output)
    environment = {"SINGAN_PROFILE": profile, "SINGAN_FIGURES": str(folder.parent)}
    cells = [1 + len(_code_cells(source)) for source in sources]  # and the one with the parameters
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
    notebook = _read(path)
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
            error = f"cell [{failure.exec_count}]: {failure.ename}: {_first_line(failure.evalue)}"
        except Exception as failure:  # the kernel died, or did not start: another notebook may well run
            error = f"{type(failure).__name__}: {_first_line(str(failure))}"
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
        with forwarded_interrupt(self.km.provisioner.pid) as came:

            def stop(**_: Any) -> None:
                if came():
                    raise KeyboardInterrupt

            self.on_cell_start = stop
            super().papermill_execute_cells()
            stop()


@contextlib.contextmanager
def forwarded_interrupt(process: int) -> Iterator[Callable[[], bool]]:
    """Send the first Ctrl-C on to another process instead of raising; gives a function that tells if it came.

    A second Ctrl-C raises. Outside the main thread, where signals cannot be handled, nothing is changed.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: object) -> None:
        came.append(number)
        signal.signal(signal.SIGINT, before)
        os.kill(process, signal.SIGINT)

    signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


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


def _read(path: Path) -> Notebook:
    """A notebook for execution, its kernel set to the one that will run it."""
    try:
        notebook = load_notebook_node(str(path))
    except Exception as error:  # by kind of damage: no JSON, no notebook, no UTF-8, no permission
        raise SinGANError(f"Cannot read the notebook {path} ({_first_line(str(error))}).") from error
    notebook.metadata["kernelspec"] = dict(KERNELSPEC)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


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


# -- what a notebook says about itself


def title_and_question(notebook: Notebook, name: str) -> tuple[str, str]:
    """Title and question of a notebook, as plain text: from its first cell, the heading and the paragraph that asks.

    Without a heading the title is `name`; where nothing is asked the first paragraph stands for the question.
    """
    text = notebook["cells"][0]["source"] if notebook["cells"] else ""
    title = re.search(r"^#+ +(.*)", text, re.MULTILINE)
    paragraphs = [_plain(part) for part in re.split(r"\n\s*\n|^#.*$", text, flags=re.MULTILINE) if part.strip()]
    asked = [part for part in paragraphs if "?" in part] or paragraphs or [""]
    return _plain(title.group(1)) if title else name, asked[0].removeprefix("Question.").strip()


def _plain(markdown: str) -> str:
    """Markdown without emphasis, code marks and link targets, on one line."""
    unlinked = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"\*+|`+", "", unlinked).split())


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def _code_cells(notebook: Notebook) -> list[Notebook]:
    """The cells that a kernel runs."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]


# -- notebooks for readers


def tidy(notebook: Notebook) -> Notebook:
    """A copy without progress bars, in which a widget is a note and a still of what it shows.

    A widget works with a kernel only, and its saved state is large and needs the network to be shown.
    """
    notebook = copy.deepcopy(notebook)
    state = notebook["metadata"].pop("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            outputs = [part for output in cell["outputs"] for part in _without_widget(output, state)]
            cell["outputs"] = list(filter(None, map(_without_bars, _joined_streams(outputs))))
    return notebook


def _without_widget(output: Notebook, state: dict[str, Any]) -> Iterator[Notebook]:
    """The output; for a widget the note and its still, for a bar of tqdm nothing."""
    view = output.get("data", {}).get(WIDGET_VIEW)
    if view is None:
        yield output
        return
    model = view["model_id"]
    parts = [model, *_children(model, state)]
    if any(state.get(part, {}).get("model_name", "").endswith("ProgressModel") for part in parts):
        return
    yield _display({"text/markdown": f"*{WIDGET_NOTE}*", "text/plain": WIDGET_NOTE}, output)
    yield from _still(model, state)


def _still(model: str, state: dict[str, Any]) -> Iterator[Notebook]:
    """Outputs and pictures that a widget and its parts hold at this moment."""
    widget = state.get(model, {})
    for output in widget.get("state", {}).get("outputs", []):
        yield from _without_widget(output, state)
    if widget.get("model_name") == "ImageModel":
        for buffer in widget.get("buffers", []):
            if buffer["path"] == ["value"]:
                yield _display({f"image/{widget['state']['format']}": buffer["data"]}, widget)
    for child in _children(model, state):
        yield from _still(child, state)


def _children(model: str, state: dict[str, Any]) -> list[str]:
    children = state.get(model, {}).get("state", {}).get("children", [])
    return [child.removeprefix("IPY_MODEL_") for child in children]


def _display(data: dict[str, str], part: Notebook) -> Notebook:
    """A new output of the type that the parts of this notebook have."""
    output = type(part)(output_type="display_data")
    output["data"], output["metadata"] = data, {}
    return output


def _joined_streams(outputs: Iterable[Notebook]) -> list[Notebook]:
    """Outputs in which pieces of text that follow each other on one stream are one piece."""
    joined: list[Notebook] = []
    for output in outputs:
        if joined and output["output_type"] == "stream" and joined[-1].get("name") == output["name"]:
            joined[-1]["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def _without_bars(output: Notebook) -> Notebook | None:
    """The output without lines that were rewritten in place, as text progress bars are; None if nothing is left."""
    if output["output_type"] != "stream" or output["name"] != "stderr":
        return output
    output["text"] = "\n".join(line for line in output["text"].split("\n") if "\r" not in line)
    return output if output["text"].strip() else None


PAGE_TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- if resources.has_formulas -%}{{ super() }}{%- endif -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
@media (max-width: 700px) {
  body.jp-Notebook { padding: 0.5rem; }
  .jp-InputPrompt, .jp-OutputPrompt { display: none; }
}
</style>
{%- endblock -%}
{%- block body_header -%}
{{ super() }}
<p><a href="../index.html">All notebooks</a></p>
{%- if resources.error %}<p>This run failed: {{ resources.error | escape_html }}</p>{% endif -%}
{%- endblock -%}
"""


def render(notebook: Notebook) -> str:
    """An executed notebook as one HTML page, images included.

    It needs the network for one thing: formulas are set by MathJax; offline they stand there as LaTeX.
    """
    notebook = tidy(notebook)
    has_formulas = any("$" in cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    quiet = logging.getLogger(f"{__name__}.nbconvert")
    quiet.setLevel(logging.ERROR)  # nbconvert warns of every figure without a description
    exporter = HTMLExporter(template_name="lab", raw_template=PAGE_TEMPLATE, log=quiet)
    about = notebook["metadata"].get("singan", {})
    resources = {
        "has_formulas": has_formulas,
        "error": about.get("error"),
        "metadata": {"name": about.get("title", "")},
    }
    return exporter.from_notebook_node(notebook, resources)[0]


def publish(source: Path, executed: Path) -> None:
    """Put the outputs of an executed copy back into the notebook that was run, as it is committed.

    Progress bars, warnings, widget state, injected parameters, times, versions and this machine's paths stay out.
    Raises SinGANError for a failed run, another profile than PUBLISHED_PROFILE, a notebook that was changed in the
    meantime, or a result above PUBLISHED_BYTES; the notebook then stays as it was.
    """
    outcome = read_outcome(executed)
    if outcome.error is not None:
        raise SinGANError(f"{source.name} is not published, it failed: {outcome.error}.")
    if outcome.profile != PUBLISHED_PROFILE:
        raise SinGANError(f"{source.name} ran at profile {outcome.profile}; publish it at {PUBLISHED_PROFILE}.")
    published = publishable(_read(executed))
    if [cell["source"] for cell in published["cells"]] != [cell["source"] for cell in _read(source)["cells"]]:
        raise SinGANError(f"{source.name} was changed after its run: run it again.")
    with replacing(source) as unfinished:
        write_ipynb(published, str(unfinished))
        size = unfinished.stat().st_size
        if size > PUBLISHED_BYTES:
            raise SinGANError(
                f"{source.name} would have {size / 1e6:.1f} MB, at most {PUBLISHED_BYTES / 1e6:.1f} MB are committed: "
                "draw fewer or smaller figures in it."
            )


def publishable(executed: Notebook) -> Notebook:
    """An executed notebook as it is committed: see `publish`."""
    notebook = tidy(executed)
    notebook["metadata"] = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    notebook["cells"] = [
        cell for cell in notebook["cells"] if "injected-parameters" not in cell["metadata"].get("tags", [])
    ]
    for cell in notebook["cells"]:
        cell["metadata"] = {
            key: value
            for key, value in cell["metadata"].items()
            if key not in ("papermill", "execution", "ExecuteTime") and (key, value) != ("tags", [])
        }
    for count, cell in enumerate(_code_cells(notebook), start=1):
        cell["execution_count"] = count  # as if there had been no injected cell
        cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
        for output in cell["outputs"]:
            _make_portable(output)
            if output["output_type"] == "execute_result":
                output["execution_count"] = count
    return notebook


def _make_portable(output: Notebook) -> None:
    """Give paths in the checkout from there on, as they are the same for every reader."""
    here = f"{CHECKOUT}{os.sep}"
    if "text" in output:
        output["text"] = output["text"].replace(here, "")
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/"):
            output["data"][kind] = value.replace(here, "")


# -- the page


STYLE = """
:root { color-scheme: light dark;
  --ink: #222; --soft: #666; --line: #ddd; --paper: #fdfdfb; --bad: #a3241d; --good: #1d6b3a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --soft: #999; --line: #444; --paper: #1b1b1b; --bad: #f08a80; --good: #7cc796; }
}
body { margin: 0 auto; max-width: 46rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1.05rem/1.55 Georgia, "Times New Roman", serif; overflow-wrap: break-word; }
h1, h2 { line-height: 1.2; font-weight: normal; }
h1 { font-size: 1.9rem; } h2 { font-size: 1.35rem; margin: 3rem 0 0.3rem; }
a { color: inherit; }
.about, footer, table, nav { font-family: system-ui, sans-serif; font-size: 0.85rem; }
.about, footer { color: var(--soft); }
.question { font-style: italic; margin: 0.3rem 0; }
.passed { color: var(--good); } .failed { color: var(--bad); }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; }
figcaption { font-family: system-ui, sans-serif; font-size: 0.8rem; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.8rem 0.35rem 0;
  border-bottom: 1px solid var(--line); }
td.time { text-align: right; white-space: nowrap; }
footer { margin-top: 4rem; border-top: 1px solid var(--line); padding-top: 1rem; }
"""


def read_outcome(executed: Path) -> Outcome:
    """What is recorded in an executed copy. Raises SinGANError for any other file."""
    try:
        return Outcome(**json.loads(executed.read_text(encoding="utf-8"))["metadata"]["singan"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SinGANError(f"{executed} is no executed copy of a notebook ({error!r}): run the notebook.") from error


def write_index(folder: Path, profile: str) -> Path:
    """Write <folder>/index.html over all executed copies, figures and measured results in a folder; give its path.

    Links are relative and nothing comes from the network, so the folder can be moved, zipped and read offline.
    """
    outcomes = []
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        with contextlib.suppress(SinGANError):  # a copy by another version is left out until it is run again
            outcomes.append(read_outcome(path))
    figures = sorted(path.name for path in folder.glob("*") if path.suffix in (".png", ".gif"))
    failed = sum(outcome.error is not None for outcome in outcomes)
    total = sum(outcome.seconds for outcome in outcomes)
    parts = [
        f"<h1>SinGAN: results at profile {html.escape(profile)}</h1>",
        f"<p class='about'>{len(outcomes) - failed} of {len(outcomes)} notebooks passed, {minutes(total)} in all.</p>",
    ]
    if profile == "smoke":
        parts.append("<p>The profile smoke only tests the code: its pictures and numbers are no evidence.</p>")
    rows = "".join(
        f"<tr><td><a href='#{_escaped(outcome.name)}'>{_escaped(outcome.title)}</a></td><td>{_status(outcome)}</td>"
        f"<td class='time'>{minutes(outcome.seconds)}</td></tr>"
        for outcome in outcomes
    )
    parts.append(f"<nav><table>{rows}</table></nav>")
    parts += [_section(outcome, figures) for outcome in outcomes]
    parts.append(_claims_table(folder / "results", profile, [outcome.name for outcome in outcomes]))
    parts.append(
        "<footer>This page and the figures work offline. The notebooks' pages load MathJax from the network to set "
        "formulas; without it formulas stand there as LaTeX.</footer>"
    )
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>SinGAN: {html.escape(profile)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def minutes(seconds: float) -> str:
    """Seconds as minutes:seconds, or hours:minutes:seconds."""
    left, whole = divmod(round(seconds), 60)
    hours, left = divmod(left, 60)
    return f"{hours}:{left:02}:{whole:02}" if hours else f"{left}:{whole:02}"


def _section(outcome: Outcome, figures: list[str]) -> str:
    """A notebook on the page: title, question, how the run went, its figures."""
    name = _escaped(outcome.name)
    own = [figure for figure in figures if figure.startswith(f"{outcome.name[:2]}_")]
    when = outcome.finished.replace("T", " ")[:16]
    where = (minutes(outcome.seconds), outcome.device, f"profile {outcome.profile}", f"torch {outcome.torch}", when)
    about = (_status(outcome), *map(_escaped, where), f"<a href='notebooks/{name}.ipynb'>notebook file</a>")
    question = f"<p class='question'>{_escaped(outcome.question)}</p>" if outcome.question else ""
    error = f"<p class='failed'>{_escaped(outcome.error)}</p>" if outcome.error else ""
    return (
        f"<section id='{name}'><h2><a href='notebooks/{name}.html'>{_escaped(outcome.title)}</a></h2>"
        f"{question}<p class='about'>{' · '.join(about)}</p>{error}{''.join(map(_figure, own))}</section>"
    )


def _figure(name: str) -> str:
    caption = _escaped(Path(name).stem[3:].replace("_", " "))
    return (
        f"<figure><a href='{_escaped(name)}'><img src='{_escaped(name)}' alt='Figure: {caption}' loading='lazy'></a>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _status(outcome: Outcome) -> str:
    word = "passed" if outcome.error is None else "failed"
    return f"<span class='{word}'>{word}</span>"


def _claims_table(results: Path, profile: str, notebooks: list[str]) -> str:
    """The claims of these notebooks, and all that were measured, with the verdicts as the rules give them now."""
    try:
        claims = load_claims()
    except SinGANError as error:
        return f"<h2>Claims</h2><p class='failed'>{_escaped(str(error))}</p>" if results.is_dir() else ""
    found: dict[str, list[Verdict]] = {}
    for path in sorted(results.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            verdict = Verdict(claims[result["claim"]], result["measured"], profile, result["seed"])
            verdict.outcome  # noqa: B018, raises for quantities that do not fit the claim any more
        except (OSError, ValueError, KeyError, TypeError, SinGANError):
            continue  # of a claim that has changed since: its notebook has to run again
        found.setdefault(verdict.claim.id, []).append(verdict)
    rows = [
        _claim_row(claim, found.get(claim.id, []))
        for claim in claims.values()
        if claim.id in found or claim.notebook in notebooks
    ]
    head = "<tr><th>Claim</th><th>Measured</th><th>Verdict</th></tr>"
    return f"<h2>Claims</h2><div class='wide'><table>{head}{''.join(rows)}</table></div>" if rows else ""


def _claim_row(claim: Claim, verdicts: list[Verdict]) -> str:
    measured = [
        f"{name} = {value:.4g}" + (f" (seed {verdict.seed})" if len(verdicts) > 1 else "")
        for verdict in verdicts
        for name, value in verdict.measured.items()
    ]
    outcomes = list(dict.fromkeys(verdict.outcome for verdict in verdicts))
    if claim.not_testable:
        outcomes = [f"{NOT_TESTABLE}: {claim.not_testable}"]
    return (
        f"<tr><td>{_escaped(claim.claim)}<br><small>{_escaped(f'{claim.report}, {claim.section}')}</small></td>"
        f"<td>{'<br>'.join(map(_escaped, measured))}</td>"
        f"<td>{'<br>'.join(map(_escaped, outcomes)) or 'not measured yet'}</td></tr>"
    )


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
