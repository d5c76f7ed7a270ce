"""Every notebook of the series has the parts that readers, the batch and the report rely on; a wrong one is caught."""

import ast
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from singan_core.__main__ import parse
from singan_core.claims import load_claims
from singan_core.notebooks import (
    PUBLISHED_BYTES,
    PUBLISHED_PROFILE,
    WIDGET_VIEW,
    Notebook,
    code_cells,
    title_and_question,
)
from singan_core.student import find_exercises
from tests.series import parameters_cell, save

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PICTURES = {"image/png", "image/jpeg"}
REQUIRED_ROWS = ("Time", "With a GPU", "You need")


class Lesson:
    """A notebook with what the tests ask of it."""

    def __init__(self, path: Path):
        self.path, self.name, self.number = path, path.stem, path.stem[:2]
        self.notebook: Notebook = nbformat.read(path, as_version=4)
        self.cells = self.notebook["cells"]
        self.code = code_cells(self.notebook)

    @cached_property
    def trees(self) -> list[ast.Module]:
        return [ast.parse(cell["source"]) for cell in self.code]

    @cached_property
    def parameters(self) -> Notebook:
        """The one cell tagged `parameters`."""
        tagged = [cell for cell in self.cells if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == 1, f"{self.name} has {len(tagged)} cells tagged parameters, and needs one"
        return tagged[0]

    @property
    def declared(self) -> dict[str, object]:
        """Parameters with their values. ValueError for what is no literal, AttributeError for what sets no name."""
        assignments = ast.parse(self.parameters["source"]).body
        return {target.id: ast.literal_eval(each.value) for each in assignments for target in each.targets}

    def calls(self, function: str) -> list[ast.Call]:
        """The calls of a function, by its own name, in all cells."""
        return [call for tree in self.trees for call in calls(tree, function)]


def calls(tree: ast.AST, function: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == function:
            yield node


def keywords(call: ast.Call) -> dict[str | None, str]:
    """Arguments given by name, as they are written."""
    return {each.arg: ast.unparse(each.value) for each in call.keywords}


def quantities(record: ast.Call) -> set[str | None]:
    """The names of the quantities in a call of `record`, also in `**{...}`; None for a `**` that cannot be read."""
    given: set[str | None] = set()
    for each in record.keywords:
        if each.arg is None and isinstance(each.value, ast.Dict):
            given |= {name.value if isinstance(name, ast.Constant) else None for name in each.value.keys}
        else:
            given.add(each.arg)
    return given - {"profile", "seed", "image"}


@cache
def lesson_at(path: Path) -> Lesson:
    return Lesson(path)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def lesson(request: pytest.FixtureRequest) -> Lesson:
    return lesson_at(request.param)


# -- how a notebook opens


def test_first_cell_has_the_title_and_one_question(lesson):
    first = lesson.cells[0]
    assert first["cell_type"] == "markdown", "the first cell has the title"
    title, question = title_and_question(lesson.notebook, "no title")
    assert re.match(rf"{lesson.number} \w", title)
    assert "**Question.**" in first["source"], "the first cell has a paragraph that begins with **Question.**"
    assert question.endswith("?") and question.count("?") == 1, "which is one question"


def test_first_cell_has_a_table_with_time_hardware_and_prerequisites(lesson):
    rows = dict(re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", lesson.cells[0]["source"], re.MULTILINE))
    assert list(rows) == list(REQUIRED_ROWS)
    assert re.search(r"minute|second", rows["Time"])


def test_second_cell_has_three_objectives_and_says_what_is_repeated(lesson):
    text = lesson.cells[1]["source"]
    assert text.startswith("After this notebook you can"), "the second cell has the objectives"
    assert re.findall(r"^(\d)\. ", text, re.MULTILINE) == ["1", "2", "3"], "three of them, numbered"
    assert re.search(r"\b(paper|reports?|slides)\b", text), "and which paper, report or slides are repeated"


# -- parameters


@pytest.mark.parametrize("number", [0, 2])
def test_a_notebook_without_its_one_parameters_cell_is_told_so(tmp_path, number):
    cells = [parameters_cell() for _ in range(number)]
    lesson = Lesson(save(tmp_path / "23_new.ipynb", *cells))
    with pytest.raises(AssertionError, match=f"23_new has {number} cells tagged parameters"):
        lesson.declared  # noqa: B018


def test_parameters_come_first_and_are_literals(lesson):
    assert lesson.parameters is lesson.code[0]
    assert lesson.declared["profile"] is None
    assert type(lesson.declared["seed"]) is int


def test_a_notebook_that_trains_can_be_told_to_train_again(lesson):
    trainings = lesson.calls("load_or_train")
    assert lesson.declared.get("retrain") is (False if trainings else None)
    assert all(keywords(call).get("retrain") == "retrain" for call in trainings)


def test_a_notebook_with_a_bundled_picture_can_be_given_another(lesson):
    if pictures := [ast.unparse(call) for call in lesson.calls("sample_image")]:
        assert isinstance(lesson.declared.get("image_name"), str)
        assert any("image_name" in picture for picture in pictures)


def test_every_parameter_is_used(lesson):
    used = {node.id for tree in lesson.trees[1:] for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(lesson.declared) <= used


# -- what a student does


def test_there_is_an_exercise_and_a_check_that_asserts(lesson):
    exercises = find_exercises(lesson.name, lesson.notebook)
    assert exercises
    for exercise in exercises:
        check = ast.parse(lesson.cells[exercise.check]["source"])
        assert any(isinstance(node, ast.Assert) for node in ast.walk(check))


def test_something_is_to_be_predicted_before_the_first_result(lesson):
    predictions = [number for number, cell in enumerate(lesson.cells) if "## Predict first" in cell["source"]]
    assert len(predictions) == 1, "there is one cell with the heading ## Predict first"
    before = [cell["outputs"] for cell in lesson.cells[: predictions[0]] if cell["cell_type"] == "code"]
    assert all(output["output_type"] == "stream" for outputs in before for output in outputs)


# -- claims


def recorded(lesson: Lesson) -> list[str]:
    """The ids that the notebook records, which are written out in the calls."""
    return [ast.literal_eval(call.args[0]) for call in lesson.calls("record")]


def test_all_claims_of_the_notebook_are_recorded_and_no_others(lesson):
    """None are where it has none: what its author expects is a question, and not a claim."""
    own = [claim.id for claim in load_claims().values() if claim.notebook == lesson.name]
    assert Counter(recorded(lesson)) == Counter(own)


def test_the_quantities_of_a_claim_are_recorded_and_no_others(lesson):
    for call in lesson.calls("record"):
        claim, given = load_claims()[ast.literal_eval(call.args[0])], quantities(call)
        missing = set() if None in given else claim.measured.keys() - given
        unknown = given - {None} - claim.measured.keys()
        assert not missing and not unknown, f"{claim.id}: data/claims.yaml says what is measured"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("", set()),
        ("image=image_name, low=1, high=2", {"low", "high"}),
        ("low=1, **{'high': 2}", {"low", "high"}),
        ("low=1, **found", {"low", None}),
        ("**{names.low: 1, **found}", {None}),
    ],
)
def test_quantities_are_read_from_a_call(arguments, names):
    (call,) = calls(ast.parse(f"record('a-claim', profile=profile, seed=seed, {arguments})"), "record")
    assert quantities(call) == names


def test_results_are_told_apart_by_profile_seed_and_picture(lesson):
    wanted = {"profile": "profile", "seed": "seed"}
    if "image_name" in lesson.declared:
        wanted["image"] = "image_name"
    for call in lesson.calls("record"):
        given = keywords(call)
        assert {name: given.get(name) for name in wanted} == wanted, ast.unparse(call.args[0])


# -- figures


def test_figures_are_called_by_the_number_of_the_notebook_and_each_by_a_name_of_its_own(lesson):
    names = [ast.unparse(call.args[1]).lstrip("f").strip("'\"") for call in lesson.calls("save_figure")]
    assert names, "at least one figure is saved"
    assert [name for name in names if not name.startswith(f"{lesson.number}_")] == []
    assert len(set(names)) == len(names)


def test_every_figure_that_a_cell_ends_with_is_saved(lesson):
    for cell, tree in zip(lesson.code, lesson.trees, strict=True):
        drawn = [each for each in cell["outputs"] if each["output_type"] == "execute_result"]
        if any(PICTURES & each["data"].keys() for each in drawn):
            assert list(calls(tree, "save_figure")), cell["source"]


# -- as it is committed


def test_committed_notebook_was_run_from_top_to_bottom(lesson):
    counts = [cell["execution_count"] for cell in lesson.code]
    assert counts == list(range(1, len(lesson.code) + 1)), "put the outputs into it with reproduce --publish"
    assert any(PICTURES & output.get("data", {}).keys() for cell in lesson.code for output in cell["outputs"])


def test_committed_notebook_was_run_at_the_published_profile(lesson):
    printed = "".join(output.get("text", "") for cell in lesson.code for output in cell["outputs"])
    profiles = re.findall(r"^singan_core \S+, torch \S+, profile (\w+)$", printed, re.MULTILINE)
    assert profiles == [PUBLISHED_PROFILE], "the cell with the imports prints it; run it with reproduce --publish"


def test_committed_notebook_has_no_errors_and_no_warnings(lesson):
    outputs = [output for cell in lesson.code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]


def test_committed_notebook_has_no_widget_state(lesson):
    assert "widgets" not in lesson.notebook["metadata"]
    assert WIDGET_VIEW not in lesson.path.read_text(encoding="utf-8")


def test_committed_notebook_is_small(lesson):
    assert lesson.path.stat().st_size <= PUBLISHED_BYTES


def test_there_is_no_plumbing(lesson):
    """No absolute path in code or printed text; no magics (they do not parse), no fumbling with the environment."""
    printed = [output.get("text", "") for cell in lesson.code for output in cell["outputs"]]
    for text in [*printed, *(ast.unparse(tree) for tree in lesson.trees)]:
        assert not re.search(r"(?<![\w.:/])/(home|Users|root|tmp|mnt|work|content|opt|usr|var)/|\b[A-Z]:\\", text)
    assert not [
        cell["source"] for cell in lesson.code if re.search(r"sys\.path|os\.environ|get_ipython", cell["source"])
    ]


# -- the series as a whole


GUIDE = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")


def plan() -> list[list[str]]:
    """The rows of the plan in docs/teaching.md, cell by cell; the first cell is the notebook, a link if it exists."""
    return [row.split(" | ") for row in re.findall(r"^\| (\[?\d\d_.*) \|$", GUIDE, re.MULTILINE)]


def test_teaching_plan_covers_the_series_in_order():
    numbers = [row[0].lstrip("[")[:2] for row in plan()]
    assert numbers == [path.name[:2] for path in PATHS], "docs/teaching.md has a row for each notebook, in their order"


def test_teaching_plan_links_exactly_the_notebooks_that_there_are():
    linked = [row for row in plan() if row[0].startswith("[")]
    links = [f"[{path.stem}](../notebooks/{path.name})" for path in PATHS]
    assert [row[0] for row in linked] == links, "docs/teaching.md links each notebook in its row, and no others"
    assert not [row[0] for row in linked if "–" in row], "times and trainings of these are missing"


def test_teaching_guide_answers_the_predictions_of_every_class_notebook():
    """A teacher with ten minutes needs them at hand: one answer for each question."""
    classes = [row[0].lstrip("[")[:2] for row in plan() if row[2] == "class"]
    answers = {row[:2]: row.split(" | ")[1:] for row in re.findall(r"^\| (\d\d \| .*) \|$", GUIDE, re.MULTILINE)}
    assert list(answers) == classes
    for lesson in map(lesson_at, PATHS):
        if lesson.number in classes:
            (predictions,) = (cell["source"] for cell in lesson.cells if "## Predict first" in cell["source"])
            questions = re.findall(r"^(\d)\. ", predictions, re.MULTILINE)
            assert len(answers[lesson.number]) == len(questions), lesson.name


def test_every_claim_belongs_to_a_notebook_of_the_plan():
    names = {re.search(r"\w+", row[0]).group() for row in plan()}
    assert [claim.id for claim in load_claims().values() if claim.notebook not in names] == []


@pytest.mark.parametrize("line", re.findall(r"^ +python -m singan_core (.+)$", GUIDE, re.MULTILINE))
def test_every_command_line_of_the_teaching_guide_is_understood(line):
    parse(shlex.split(line))


# -- the gate: what `make test-notebooks` does with a notebook that is wrong

SOUND = ["import ipywidgets", "print(1 + 1)"]
WRONG = {
    "cell": "1 / 0",
    "button": "button = ipywidgets.Button()\nbutton.on_click(lambda _: 1 / 0)\nbutton.click()",
    "slider": "slider = ipywidgets.IntSlider()\nslider.observe(lambda _: 1 / 0)\nslider.value = 3",
    "interact": "ipywidgets.interact(lambda x: 1 / x, x=[0]);",
}
"""Errors in a cell, and in the callbacks of widgets, which a kernel reports without stopping."""


def gate(folder: Path, notebooks: dict[str, list[str]]) -> tuple[int, str]:
    """Notebooks under pytest, with the options of the Makefile's target test-notebooks: exit code and output."""
    (options,) = re.findall(
        r"\$\(PYTEST\) (--nbval-lax .*) notebooks \|\|", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    for name, sources in notebooks.items():
        nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--color=no", "-p", "no:cacheprovider", *shlex.split(options)]
    done = subprocess.run([*command, str(folder)], cwd=folder, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout


@pytest.mark.system
def test_gate_lets_a_sound_notebook_pass(tmp_path):
    code, output = gate(tmp_path, {"sound": SOUND})
    assert code == pytest.ExitCode.OK
    assert "2 passed" in output


@pytest.fixture(scope="module")
def closed_gate(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """A notebook of the sound cells, then a wrong one and a sound one by turns."""
    folder = tmp_path_factory.mktemp("canary")
    return gate(folder, {"canary": [*SOUND, *(source for wrong in WRONG.values() for source in (wrong, SOUND[-1]))]})


@pytest.mark.parametrize("name", WRONG)
def test_gate_closes_on_an_error(closed_gate, name):
    code, output = closed_gate
    assert code == pytest.ExitCode.TESTS_FAILED
    assert f"FAILED canary.ipynb::Cell {len(SOUND) + 2 * list(WRONG).index(name)}" in output


def test_gate_blames_no_cell_but_the_wrong_ones(closed_gate):
    assert f"{len(WRONG)} failed, {len(WRONG) + len(SOUND)} passed" in closed_gate[1]
