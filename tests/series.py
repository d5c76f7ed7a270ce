"""Tiny notebooks, and a series of them run for real by a local cluster, for the tests about notebooks."""

import base64
import contextlib
import dataclasses
import io
import json
import logging
import os
import pickle
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import dask
import nbformat
import pytest
from distributed import LocalCluster
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from singan_core.notebooks import CHECKOUT, Outcome, digest_of_cells
from singan_core.reproduce import LOCAL_SETTINGS, reproduce

ABOUT_THE_KERNEL = """
import json, os, sys
print(json.dumps({"executable": sys.executable, "folder": os.getcwd(), "profile": profile, "retrain": retrain,
                  "seed": seed, "variables": dict(os.environ)}))
"""
SAVE_A_FIGURE = """
from pathlib import Path
folder = Path(os.environ["SINGAN_FIGURES"], profile, os.environ.get("SINGAN_VARIANT", ""))
folder.mkdir(parents=True, exist_ok=True)
(folder / "03_a_curve.png").write_bytes(b"")
"""
PROGRESS_AND_WARNING = r"""
sys.stderr.write("\r 50%|#####     |"); sys.stderr.write("\r100%|##########|\n"); sys.stderr.write("a warning\n")
"""


def png(size: int = 4) -> str:
    data = io.BytesIO()
    Image.new("RGB", (size, size)).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def parameters_cell(source: str = "profile = None\nseed = 0\nretrain = False") -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": ["parameters"]})


def save(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def leave_copy(path: Path, outcome: Outcome, *cells: nbformat.NotebookNode) -> Path:
    """An executed copy with this outcome, as a run leaves it; gives the path."""
    save(path, *cells)
    digest = digest_of_cells(json.loads(path.read_text(encoding="utf-8"))["cells"])
    metadata = {"singan": dataclasses.asdict(dataclasses.replace(outcome, cells=digest))}
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), path)
    return path


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


class Links(HTMLParser):
    """What a page loads or links to."""

    def __init__(self, page: Path):
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if "href" in values:
            (self.loaded if tag == "link" else self.linked).append(values["href"])
        if "src" in values and not values["src"].startswith("data:"):
            self.loaded.append(values["src"])


class Series:
    """Three notebooks after a run at the profile laptop with seeds 0 and 1: one dies, one fails, one passes."""

    def __init__(self, folder: Path):
        self.sources = [
            save(
                folder / "course" / "01_dies.ipynb",
                parameters_cell("profile = None"),
                new_code_cell("os = __import__('os')\nos._exit(3)"),
            ),
            save(
                folder / "course" / "02_fails.ipynb",
                new_markdown_cell("# 02 Fails"),
                parameters_cell("profile = None"),
                new_code_cell("raise ValueError('on purpose\\nand so on')"),
                new_code_cell("print('never reached')"),
            ),
            save(
                folder / "course" / "03_passes.ipynb",
                new_markdown_cell("# 03 Passes <well>\n\n**Question.** Does it *run*, with $x^2$?\n\n| Time | short |"),
                parameters_cell(),
                new_code_cell(ABOUT_THE_KERNEL),
                new_code_cell(SAVE_A_FIGURE + PROGRESS_AND_WARNING),
                new_code_cell(f"print({str(CHECKOUT / 'data')!r})\n6 * 7"),
                new_code_cell(""),
            ),
        ]
        self.folder = folder / "results" / "laptop"
        with contextlib.redirect_stderr(io.StringIO()) as bar:
            self.outcomes = reproduce(self.sources, "laptop", seeds=[0, 1], output=folder / "results")
        self.bar = bar.getvalue()

    def executed(self, number: int) -> Path:
        return self.folder / "notebooks" / self.sources[number].name

    def notebook(self, number: int) -> nbformat.NotebookNode:
        return nbformat.read(self.executed(number), as_version=4)


@pytest.fixture
def sources(tmp_path) -> list[Path]:
    """A notebook with all parameters, and one with a profile alone."""
    every = "profile = None\nseed = 0\nretrain = False\nimage_name = 'mountains'"
    return [
        save(tmp_path / "course" / "03_all.ipynb", parameters_cell(every)),
        save(tmp_path / "course" / "04_none.ipynb", parameters_cell("profile = None")),
    ]


LATE = "distributed.deploy.lost-worker-timeout"


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """One worker, to share among tests: starting one takes seconds."""
    with (
        dask.config.set({LATE: LOCAL_SETTINGS[LATE]}),
        LocalCluster(n_workers=1, dashboard_address=":0", silence_logs=logging.CRITICAL) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """The series, run once: of several test processes one does so, and the others take what it has left."""
    run_of_tests = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run_of_tests is None:
        return run_series(tmp_path_factory.mktemp("series"))
    shared = tmp_path_factory.getbasetemp().parent / f"series-{run_of_tests}.pickle"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            shared.write_bytes(pickle.dumps(run_series(tmp_path_factory.mktemp("series"))))
        return pickle.loads(shared.read_bytes())


def run_series(folder: Path) -> Series:
    broken = folder / "jupyter" / "kernels" / "python3"
    broken.mkdir(parents=True)
    (broken / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))  # a python3 of somebody else, which cannot be started
        patch.chdir(folder)
        return Series(folder)
