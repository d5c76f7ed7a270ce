"""The batch: tiny notebooks, run for real in kernels of their own, and what is written about them."""

import base64
import contextlib
import copy
import io
import json
import os
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from singan_core import notebooks
from singan_core import reproduce as batch
from singan_core.errors import SinGANError
from singan_core.notebooks import (
    CHECKOUT,
    WIDGET_STATE,
    WIDGET_VIEW,
    publish,
    publishable,
    read_outcome,
    render,
    tidy,
    title_and_question,
)
from singan_core.progress import deferred_interrupt
from singan_core.report import minutes, write_index
from singan_core.reproduce import (
    find_notebooks,
    kernel_environment,
    reproduce,
    run_notebook,
)

ABOUT_THE_KERNEL = """
import json, os, sys
print(json.dumps({"executable": sys.executable, "folder": os.getcwd(), "profile": profile, "retrain": retrain,
                  "variables": dict(os.environ)}))
"""
SAVE_A_FIGURE = """
from pathlib import Path
folder = Path(os.environ["SINGAN_FIGURES"]) / profile
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


def parameters_cell(source: str = "profile = None\nretrain = False") -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": ["parameters"]})


def save(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), path)
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
    """Three notebooks after one run at the profile laptop: one dies, one fails, one passes."""

    def __init__(self, folder: Path):
        self.sources = [
            save(
                folder / "course" / "01_dies.ipynb",
                parameters_cell(),
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
            self.outcomes = reproduce(self.sources, "laptop", output=folder / "results")
        self.bar = bar.getvalue()

    def executed(self, number: int) -> Path:
        return self.folder / "notebooks" / self.sources[number].name

    def notebook(self, number: int) -> nbformat.NotebookNode:
        return nbformat.read(self.executed(number), as_version=4)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    folder = tmp_path_factory.mktemp("series")
    broken = folder / "jupyter" / "kernels" / "python3"
    broken.mkdir(parents=True)
    (broken / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))  # a python3 of somebody else, which cannot be started
        patch.chdir(folder)
        return Series(folder)


# -- running


def test_failing_notebooks_do_not_stop_the_others(series):
    dies, fails, passes = series.outcomes
    assert dies.error.startswith("DeadKernelError")
    assert fails.error == "cell [3]: ValueError: on purpose"
    assert passes.error is None


def test_kernel_is_the_running_interpreter_in_the_notebooks_folder(series):
    about = json.loads(outputs_of(series.notebook(2))[0].text)
    assert about["executable"] == sys.executable
    assert Path(about["folder"]) == series.sources[2].parent


def test_parameters_and_variables_reach_the_notebook(series):
    about = json.loads(outputs_of(series.notebook(2))[0].text)
    assert about["profile"] == about["variables"]["SINGAN_PROFILE"] == "laptop"
    assert about["retrain"] is False
    assert Path(about["variables"]["SINGAN_FIGURES"]) == series.folder.parent


def test_bar_shows_notebooks_and_cells_with_the_time_left(series):
    states = [state for state in series.bar.split("\r") if "03_passes (3/3)" in state]
    # 7 of 12 cells were before this notebook, those that injected parameters and those that failures left out included
    assert "58%" in states[0] and "100%" in states[-1]
    assert all("left]" in state for state in states)


def test_failing_notebook_leaves_a_copy_with_its_error(series):
    errors = [output for output in outputs_of(series.notebook(1)) if output.output_type == "error"]
    assert [error.ename for error in errors] == ["ValueError"]


def test_executed_copy_remembers_its_outcome(series):
    assert [read_outcome(series.executed(number)) for number in range(3)] == series.outcomes


def test_metadata_of_an_executed_copy_names_no_folder_of_this_machine(series):
    assert str(series.folder.parents[1]) not in json.dumps(series.notebook(2).metadata)


def test_what_is_no_executed_copy_has_no_outcome(series):
    with pytest.raises(SinGANError, match="no executed copy"):
        read_outcome(series.sources[2])


def test_sources_stay_as_they_were(series):
    source = nbformat.read(series.sources[2], as_version=4)
    assert not outputs_of(source) and "singan" not in source.metadata


def test_misspelt_parameter_is_refused_before_anything_starts(series, tmp_path):
    misspelt = save(tmp_path / "04_misspelt.ipynb", parameters_cell("profle = None"))
    with pytest.raises(SinGANError, match=r"04_misspelt.*'profile'.*'profle'"):
        reproduce([series.sources[2], misspelt], "smoke", output=tmp_path / "results", progress=False)
    assert not (tmp_path / "results").exists()


def test_one_notebook_refuses_undeclared_parameters(series, tmp_path):
    with pytest.raises(SinGANError, match=r"no parameter 'speed'.*profile"):
        run_notebook(series.sources[1], {"speed": 3}, tmp_path / "copy.ipynb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cells", [[], [parameters_cell("seed = 0")], [new_code_cell("profile = None")]])
def test_notebook_without_a_profile_is_refused(tmp_path, cells):
    path = save(tmp_path / "05_plain.ipynb", *cells)
    with pytest.raises(SinGANError, match=r"05_plain.ipynb declares no parameter 'profile'"):
        reproduce([path], "smoke", output=tmp_path, progress=False)


@pytest.fixture
def received(monkeypatch) -> dict[str, dict]:
    """The parameters with which notebooks would have been run, by name."""
    found: dict[str, dict] = {}
    monkeypatch.setattr(
        batch, "run_notebook", lambda path, parameters, *_, **__: found.__setitem__(path.stem, parameters)
    )
    return found


def test_retrain_goes_to_the_notebooks_that_train(series, received, tmp_path):
    reproduce(series.sources[1:], "smoke", retrain=True, output=tmp_path, progress=False)
    assert received == {"02_fails": {"profile": "smoke"}, "03_passes": {"profile": "smoke", "retrain": True}}


def test_retrain_where_nothing_trains_is_refused(series, received, tmp_path):
    with pytest.raises(SinGANError, match="no parameter 'retrain'"):
        reproduce(series.sources[1:2], "smoke", retrain=True, output=tmp_path, progress=False)


def test_misspelt_retrain_is_refused_though_another_notebook_has_it(series, received, tmp_path):
    misspelt = save(tmp_path / "04_misspelt.ipynb", parameters_cell("profile = None\nretran = False"))
    with pytest.raises(SinGANError, match=r"04_misspelt.*'retran'"):
        reproduce([series.sources[2], misspelt], "smoke", retrain=True, output=tmp_path, progress=False)


def test_unknown_profile_is_refused(series, tmp_path):
    with pytest.raises(SinGANError, match="no profile 'quick'"):
        reproduce(series.sources, "quick", output=tmp_path)


@pytest.mark.parametrize("content", [b"", b"no JSON", b'{"cells": 3}', b"\xff\xfe", b"[]"])
def test_unreadable_notebook_is_named(tmp_path, content):
    path = tmp_path / "06_damaged.ipynb"
    path.write_bytes(content)
    with pytest.raises(SinGANError, match="06_damaged"):
        reproduce([path], "smoke", output=tmp_path, progress=False)


def test_kernel_environment_keeps_folders_and_drops_the_plotting_backend(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SINGAN_RUNS", "my runs")
    monkeypatch.setenv("MPLBACKEND", "agg")
    environment = kernel_environment({"SINGAN_PROFILE": "smoke"})
    assert environment["SINGAN_RUNS"] == str(tmp_path / "my runs")
    assert environment["SINGAN_PROFILE"] == "smoke"
    assert "MPLBACKEND" not in environment
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(CHECKOUT)


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, also where the tests run as a shell's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_first_interrupt_goes_to_the_kernel_and_the_second_is_ours():
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nprint(flush=True)\ntime.sleep(60)"
    waits = [sys.executable, "-c", code]
    with subprocess.Popen(waits, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as kernel:
        kernel.stdout.readline()  # it has started
        with deferred_interrupt(then=lambda: os.kill(kernel.pid, signal.SIGINT)) as came:
            assert not came()
            signal.raise_signal(signal.SIGINT)
            assert came()
            assert kernel.wait(timeout=30) == -signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


# -- finding notebooks and reading what they are about


@pytest.fixture
def course(monkeypatch, tmp_path) -> Path:
    """A checkout whose series is 00_start, 01_one and 10_ten."""
    for name in ("10_ten", "00_start", "01_one"):
        save(tmp_path / "notebooks" / f"{name}.ipynb")
    save(tmp_path / "notebooks" / "draft.ipynb")
    monkeypatch.setattr(batch, "CHECKOUT", tmp_path)
    return tmp_path / "notebooks"


def test_series_is_all_numbered_notebooks_in_order(course):
    assert [path.stem for path in find_notebooks()] == ["00_start", "01_one", "10_ten"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["1"], ["01_one"]),
        (["01"], ["01_one"]),
        (["10", "00_st"], ["10_ten", "00_start"]),
        (["01", "01_one"], ["01_one"]),
    ],
)
def test_notebooks_are_found_by_number_or_beginning(course, names, found):
    assert [path.stem for path in find_notebooks(names)] == found


def test_notebook_is_found_by_path(course, monkeypatch):
    monkeypatch.chdir(course)
    assert find_notebooks(["draft.ipynb"]) == [course / "draft.ipynb"]


@pytest.mark.parametrize("name", ["7", "start", "missing.ipynb"])
def test_unknown_notebook_is_refused_with_the_known_ones(course, name):
    with pytest.raises(SinGANError, match="00_start, 01_one, 10_ten"):
        find_notebooks([name])


def test_without_notebooks_there_is_nothing_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(batch, "CHECKOUT", tmp_path)
    with pytest.raises(SinGANError, match="no notebooks"):
        find_notebooks()


@pytest.mark.parametrize(
    ("text", "title", "question"),
    [
        ("# 02 Losses\n\n**Question.** Who wins? And how?\n\nMore?", "02 Losses", "Who wins? And how?"),
        ("# Losses\nWho\nwins?", "Losses", "Who wins?"),
        ("# `D(x)` and [links](x.html)\n\nIt says this.\n\nThen that.", "D(x) and links", "It says this."),
        ("Only prose.", "name", "Only prose."),
        ("", "name", ""),
    ],
)
def test_title_and_question_are_read_from_the_first_cell(text, title, question):
    assert title_and_question(new_notebook(cells=[new_markdown_cell(text)]), "name") == (title, question)


def test_notebook_without_cells_is_called_by_its_file():
    assert title_and_question(new_notebook(), "name") == ("name", "")


# -- the page


def test_every_link_of_the_index_leads_to_a_file_of_the_folder(series):
    links = Links(series.folder / "index.html")
    files = [link for link in links.linked + links.loaded if not link.startswith("#")]
    assert all((series.folder / link).is_file() for link in files)
    assert "notebooks/03_passes.html" in files and "03_a_curve.png" in files


def test_index_tells_title_question_status_and_circumstances(series):
    page = (series.folder / "index.html").read_text(encoding="utf-8")
    assert "03 Passes &lt;well&gt;" in page
    assert "Does it run, with $x^2$?" in page
    assert "cell [3]: ValueError: on purpose" in page
    assert "1 of 3 notebooks passed" in page
    assert series.outcomes[2].torch in page and series.outcomes[2].device in page


def test_pages_need_the_network_for_formulas_only(series):
    assert Links(series.executed(1).with_suffix(".html")).loaded == []
    (formulas,) = Links(series.executed(2).with_suffix(".html")).loaded
    assert "mathjax" in formulas


def test_page_of_a_dead_kernel_says_so(series):
    assert "This run failed: DeadKernelError" in series.executed(0).with_suffix(".html").read_text(encoding="utf-8")


def test_index_keeps_notebooks_of_earlier_runs(series, received, tmp_path):
    folder = tmp_path / "laptop"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / "03_passes.ipynb").write_bytes(series.executed(2).read_bytes())
    reproduce(series.sources[:1], "laptop", output=tmp_path, progress=False)
    assert "03 Passes" in (folder / "index.html").read_text(encoding="utf-8")


def test_index_leaves_out_copies_that_it_cannot_read(tmp_path):
    save(tmp_path / "notebooks" / "01_foreign.ipynb")
    assert "01_foreign" not in write_index(tmp_path, "laptop").read_text(encoding="utf-8")


def test_smoke_results_are_called_no_evidence(tmp_path):
    assert "no evidence" in write_index(tmp_path, "smoke").read_text(encoding="utf-8")
    assert "no evidence" not in write_index(tmp_path, "laptop").read_text(encoding="utf-8")


CLAIMS = """
- {id: x-more, report: X, section: A, notebook: 03_passes, claim: More is <more>., test: t,
   measured: {ratio: one over the other}, rule: {reproduced: ratio > 2, partly: ratio > 1}}
- {id: x-taste, report: X, section: B, notebook: 03_passes, claim: It is pretty., not_testable: a matter of taste}
- {id: x-open, report: X, section: C, notebook: 03_passes, claim: Open., test: t,
   measured: {a: b}, rule: {reproduced: a > 0}}
- {id: x-other, report: X, section: D, notebook: 09_other, claim: Elsewhere., not_testable: because}
"""


def test_verdicts_on_the_page_are_computed_from_the_results(series, monkeypatch, tmp_path):
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "03_passes.ipynb").write_bytes(series.executed(2).read_bytes())
    (tmp_path / "results").mkdir()
    for name, content in {
        "x-more-seed0.json": {"claim": "x-more", "measured": {"ratio": 1.5}, "seed": 0},
        "x-more-seed1.json": {"claim": "x-more", "measured": {"ratio": 2.5}, "seed": 1},
        "x-open-seed0.json": {"claim": "x-open", "measured": {"renamed": 1.0}, "seed": 0},
    }.items():
        (tmp_path / "results" / name).write_text(json.dumps(content))
    rows = write_index(tmp_path, "laptop").read_text(encoding="utf-8").split("<tr>")
    (more,) = [row for row in rows if "More is &lt;more&gt;." in row]
    assert "ratio = 1.5 (seed 0)" in more and "<td>partly<br>reproduced</td>" in more
    assert any("It is pretty." in row and "not testable here: a matter of taste" in row for row in rows)
    assert any("Open." in row and "not measured yet" in row for row in rows)
    assert not any("Elsewhere." in row for row in rows)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3723, "1:02:03")])
def test_run_times_are_told_in_minutes(seconds, text):
    assert minutes(seconds) == text


# -- tidying and publishing


def widget(model: str, text: str = "x") -> nbformat.NotebookNode:
    return new_output("display_data", {WIDGET_VIEW: {"model_id": model}, "text/plain": text})


def with_widgets() -> nbformat.NotebookNode:
    """A progress bar of tqdm, a slider beside the output that it controls, and a picture."""
    shown = new_output("stream", name="stdout", text="k = 3\n")
    models = {
        "bar": ("HBoxModel", {"children": ["IPY_MODEL_progress"]}),
        "progress": ("FloatProgressModel", {}),
        "box": ("VBoxModel", {"children": ["IPY_MODEL_slider", "IPY_MODEL_output", "IPY_MODEL_picture"]}),
        "slider": ("IntSliderModel", {}),
        "output": ("OutputModel", {"outputs": [shown]}),
        "picture": ("ImageModel", {"format": "png"}),
    }
    state = {name: {"model_name": kind, "state": content} for name, (kind, content) in models.items()}
    state["picture"]["buffers"] = [{"data": png(), "path": ["value"]}]
    cell = new_code_cell("explore()", outputs=[widget("bar"), widget("box"), widget("unknown")])
    notebook = new_notebook(cells=[cell])
    notebook.metadata["widgets"] = {WIDGET_STATE: {"state": state}}
    return notebook


def test_widgets_become_a_note_and_a_still_and_bars_vanish():
    note, still, picture, unknown = outputs_of(tidy(with_widgets()))
    assert "run the notebook" in note.data["text/plain"] and note.data == unknown.data
    assert still.text == "k = 3\n"
    assert picture.data == {"image/png": png()}


def test_tidying_drops_the_widget_state_and_spares_the_original():
    notebook = with_widgets()
    before = copy.deepcopy(notebook)
    tidied = tidy(notebook)
    assert "widgets" not in tidied.metadata
    assert notebook == before
    nbformat.validate(tidied)


def test_rendered_page_shows_the_still_of_a_widget():
    page = render(with_widgets())
    assert png() in page and "widget-view" not in page


def test_text_bars_vanish_and_warnings_stay():
    pieces = ["\r  0%|   |", "\r100%|###|", "\n", "careful\n"]
    outputs = [new_output("stream", name="stderr", text=piece) for piece in pieces]
    outputs.insert(0, new_output("stream", name="stdout", text="a\rb\n"))
    first, second = outputs_of(tidy(new_notebook(cells=[new_code_cell("", outputs=outputs)])))
    assert first.text == "a\rb\n"
    assert second.text == "careful\n"


@pytest.fixture
def published(series, tmp_path) -> Path:
    """A copy of the passing notebook after its outputs were put back into it."""
    path = tmp_path / "03_passes.ipynb"
    path.write_bytes(series.sources[2].read_bytes())
    publish(path, series.executed(2))
    return path


def test_published_notebook_is_the_source_with_outputs(series, published):
    source, notebook = nbformat.read(series.sources[2], as_version=4), nbformat.read(published, as_version=4)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in source.cells]
    assert notebook.cells[4].outputs[1].data["text/plain"] == "42"
    nbformat.validate(notebook)


def test_published_notebook_tells_nothing_about_the_run(published):
    notebook = nbformat.read(published, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert not [output for output in outputs_of(notebook) if output.get("name") == "stderr"]
    assert notebook.cells[4].outputs[0].text == "data\n"


def test_published_cells_are_numbered_without_the_injected_one(published):
    cells = [cell for cell in nbformat.read(published, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4, None]
    assert cells[3].outputs[1].execution_count == 4


def test_publishing_again_changes_nothing(series, published):
    before = published.read_bytes()
    publish(published, series.executed(2))
    assert published.read_bytes() == before


def test_failed_run_is_not_published(series):
    before = series.sources[1].read_bytes()
    with pytest.raises(SinGANError, match=r"02_fails.ipynb is not published.*on purpose"):
        publish(series.sources[1], series.executed(1))
    assert series.sources[1].read_bytes() == before


def test_only_the_laptop_profile_is_published(series, tmp_path):
    notebook = series.notebook(2)
    notebook.metadata["singan"]["profile"] = "smoke"
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    with pytest.raises(SinGANError, match="ran at profile smoke"):
        publish(series.sources[2], tmp_path / "copy.ipynb")


def test_notebook_edited_after_its_run_is_not_overwritten(series, tmp_path):
    notebook = nbformat.read(series.sources[2], as_version=4)
    notebook.cells[2].source += "# edited"
    path = tmp_path / "03_passes.ipynb"
    nbformat.write(notebook, path)
    with pytest.raises(SinGANError, match="changed after its run"):
        publish(path, series.executed(2))
    assert "# edited" in path.read_text()


def test_large_notebook_is_not_published(series, monkeypatch, tmp_path):
    path = tmp_path / "03_passes.ipynb"
    path.write_bytes(series.sources[2].read_bytes())
    monkeypatch.setattr(notebooks, "PUBLISHED_BYTES", 1000)
    with pytest.raises(SinGANError, match="MB"):
        publish(path, series.executed(2))
    assert path.read_bytes() == series.sources[2].read_bytes()


def test_publishable_notebook_keeps_the_tags_of_its_cells(series):
    tags = [cell.metadata.get("tags") for cell in publishable(series.notebook(2)).cells]
    assert tags == [None, ["parameters"], None, None, None, None]
