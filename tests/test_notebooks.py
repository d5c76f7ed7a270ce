"""Notebooks for readers: what they say about themselves, how they are tidied, and how they are published."""

import copy
import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from singan_core import notebooks
from singan_core.errors import SinGANError
from singan_core.notebooks import (
    KERNELSPEC,
    WIDGET_STATE,
    WIDGET_VIEW,
    declared_parameters,
    publish,
    publishable,
    read_notebook,
    read_outcome,
    render,
    tidy,
    title_and_question,
)
from tests.series import Links, outputs_of, parameters_cell, png


@pytest.mark.parametrize(("part", "value"), [("cell_type", None), ("source", None), ("source", 5), ("outputs", None)])
def test_a_cell_without_its_parts_is_no_notebook(tmp_path, part, value):
    notebook = json.loads(nbformat.writes(new_notebook(cells=[new_markdown_cell("text"), new_code_cell("x = 1")])))
    notebook["cells"][1][part] = value
    if value is None:
        del notebook["cells"][1][part]
    (tmp_path / "broken.ipynb").write_text(json.dumps(notebook))
    with pytest.raises(SinGANError, match=f"Cannot read the notebook .*cell 2 has no {part}"):
        read_notebook(tmp_path / "broken.ipynb")


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


def test_parameters_come_with_their_values():
    cell = parameters_cell("profile = None\nseed = 3\nname = 'a'\nother = seed + 1")
    notebook = new_notebook(cells=[cell], metadata={"kernelspec": dict(KERNELSPEC)})
    assert declared_parameters(notebook) == {"profile": None, "seed": 3, "name": "a", "other": None}


def test_what_is_no_executed_copy_has_no_outcome(series):
    with pytest.raises(SinGANError, match="no executed copy"):
        read_outcome(series.sources[2])


def test_pages_need_the_network_for_formulas_only(series):
    assert Links(series.executed(1).with_suffix(".html")).loaded == []
    (formulas,) = Links(series.executed(2).with_suffix(".html")).loaded
    assert "mathjax" in formulas


def test_page_of_a_dead_kernel_says_so(series):
    assert "This run failed: DeadKernelError" in series.executed(0).with_suffix(".html").read_text(encoding="utf-8")


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
    assert note.data["text/plain"] == "A widget: run the notebook to use it. What it shows at first:"
    assert unknown.data["text/plain"] == "A widget: run the notebook to use it."
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
