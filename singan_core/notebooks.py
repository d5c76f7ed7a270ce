"""What is done with executed notebooks: they say how their run went, are shown as pages, and are published.

Running them is the business of `execution`, the page over all of them that of `report`.
"""

import ast
import copy
import difflib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from singan_core.errors import SinGANError
from singan_core.files import replacing
from singan_core.trace import digest_of

try:
    import papermill
    from nbconvert import HTMLExporter
    from papermill.iorw import load_notebook_node, write_ipynb
except ModuleNotFoundError as error:
    raise SinGANError(f"Working with notebooks needs {error.name}: python -m pip install -e '.[course]'.") from error

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
    time with the start of the kernel. finished: local date and time. profile, seed, image: its parameters, None where
    it has no such. device, torch, commit: where, and with which versions. pyramids: the runs that it asked for, by key:
    whether the pyramid was shipped, and whether it needed the discriminators. retrained: whether it was asked to train
    them again. files: pictures and shipped pyramids that it read, and figures, results and the page that it wrote,
    relative to the executed copy's folder, each with a digest of its content. cells: a digest of the copy's cells.
    edition, fingerprint: of the code, and of all else that the run depended on, see `planning`.
    """

    name: str
    title: str
    question: str
    error: str | None
    seconds: float
    finished: str
    profile: str
    seed: int | None
    image: str | None
    device: str
    torch: str
    commit: str | None
    pyramids: dict[str, dict[str, bool]]
    retrained: bool
    files: dict[str, str]
    cells: str
    edition: str
    fingerprint: str


def read_notebook(path: Path) -> Notebook:
    """A notebook for execution, its kernel set to the one that will run it."""
    try:
        notebook = load_notebook_node(str(path))
        _check_cells(notebook)
    except Exception as error:  # by kind of damage: no JSON, no notebook, no UTF-8, no permission
        raise SinGANError(f"Cannot read the notebook {path} ({first_line(str(error))}).") from error
    notebook.metadata["kernelspec"] = dict(KERNELSPEC)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _check_cells(notebook: Notebook) -> None:
    """ValueError for a cell without its parts: nbformat only warns of that."""
    for number, cell in enumerate(notebook["cells"], start=1):
        parts = {"cell_type": str, "source": str, "metadata": dict}
        if cell.get("cell_type") == "code":
            parts["outputs"] = list
        for part, kind in parts.items():
            if not isinstance(cell.get(part), kind):
                raise ValueError(f"cell {number} has no {part} that is a {kind.__name__}")


def read_outcome(executed: Path) -> Outcome:
    """What is recorded in an executed copy. Raises SinGANError for any other file, and for an edited copy."""
    try:
        copy = json.loads(executed.read_text(encoding="utf-8"))
        outcome = Outcome(**copy["metadata"]["singan"])
        datetime.fromisoformat(outcome.finished)
        for field in fields(Outcome):
            value = getattr(outcome, field.name)
            if not isinstance(value, _KINDS.get(field.name, field.type)):
                raise TypeError(f"{field.name} is {value!r}")
        if any(set(note) != {"shipped", "discriminators"} for note in outcome.pyramids.values()):
            raise TypeError(f"pyramids is {outcome.pyramids!r}")
        cells = digest_of_cells(copy["cells"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SinGANError(f"{executed} is no executed copy of a notebook ({error!r}): run the notebook.") from error
    if cells != outcome.cells:
        raise SinGANError(f"{executed} was edited after its run: run the notebook again.")
    return outcome


_KINDS = {"seconds": (int, float), "pyramids": dict, "files": dict}
"""Types of the fields of an outcome in JSON where their annotation is another."""


def digest_of_cells(cells: Any) -> str:
    """A hash of a notebook's cells, as they are in its file."""
    return digest_of(json.dumps(cells, sort_keys=True).encode())


# -- what a notebook says about itself


def declared_parameters(notebook: Notebook) -> dict[str, Any]:
    """Names that the cell tagged `parameters` sets, with their values; None for a value that is no literal."""
    found = {}
    for name, parameter in papermill.inspect_notebook(notebook).items():
        try:
            found[name] = ast.literal_eval(parameter["default"])
        except (ValueError, SyntaxError):
            found[name] = None
    return found


def check_declared(path: Path, notebook: Notebook, parameters: Iterable[str]) -> None:
    """SinGANError for a name that the notebook does not declare; papermill would set it and nobody would read it."""
    declared = declared_parameters(notebook)
    for name in parameters:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"it has {close[0]!r}, correct that" if close else f"it has {', '.join(declared) or 'none'}"
            raise SinGANError(f"{path.name} declares no parameter {name!r} in its cell tagged `parameters`: {hint}.")


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


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def code_cells(notebook: Notebook) -> list[Notebook]:
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
    still = list(_still(model, state))
    note = f"{WIDGET_NOTE} What it shows at first:" if still else WIDGET_NOTE
    yield _display({"text/markdown": f"*{note}*", "text/plain": note}, output)
    yield from still


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
<p><a href="../report.html">All notebooks</a></p>
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
    published = publishable(read_notebook(executed))
    if [cell["source"] for cell in published["cells"]] != [cell["source"] for cell in read_notebook(source)["cells"]]:
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
    for count, cell in enumerate(code_cells(notebook), start=1):
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
