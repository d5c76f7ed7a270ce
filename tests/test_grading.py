"""Grading: submissions of a course of one tiny notebook, right, wrong, tampered with and broken."""

import csv
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from singan_core import grading
from singan_core.errors import SinGANError
from singan_core.grading import LEFT_OUT, PASSED, Grade, grade, main, with_own_checks
from singan_core.notebooks import read_notebook
from singan_core.student import errors_of, without_solutions

pytestmark = pytest.mark.system

NAME = "03_sums"
RIGHT = "def total(values):\n    return sum(values)"


def cell(name: str, source: str, **metadata: object) -> nbformat.NotebookNode:
    return new_code_cell(textwrap.dedent(source).strip(), id=name, metadata=metadata)


SOURCE = new_notebook(
    cells=[
        new_markdown_cell("# 03 Sums", id="title"),
        cell("parameters", "values = [1, 2]", tags=["parameters"]),
        cell(
            "exercise",
            """
            def total(values):
                ### BEGIN SOLUTION
                return sum(values)
                ### END SOLUTION
            """,
        ),
        cell("check", "assert total(values) == 3, 'Add them up.'"),
        cell("after", "raise RuntimeError('far too long')"),
    ]
)


@pytest.fixture
def submissions(monkeypatch, tmp_path) -> Path:
    """An empty folder of submissions, in a checkout with the course."""
    (tmp_path / "notebooks").mkdir()
    nbformat.write(SOURCE, tmp_path / "notebooks" / f"{NAME}.ipynb")
    monkeypatch.setattr("singan_core.planning.CHECKOUT", tmp_path)
    folder = tmp_path / "submissions"
    folder.mkdir()
    return folder


def edition(**sources: str | None) -> nbformat.NotebookNode:
    """The student edition, with other sources of the cells of these names; None: without the cell."""
    notebook = without_solutions(NAME, SOURCE)
    notebook.cells = [each for each in notebook.cells if sources.get(each.id, "") is not None]
    for each in notebook.cells:
        each.source = sources.get(each.id, each.source)
    return notebook


def hand_in(folder: Path, notebook: nbformat.NotebookNode, name: str = NAME) -> None:
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def result(submissions: Path, notebook: nbformat.NotebookNode, **options: float) -> str:
    hand_in(submissions / "kim", notebook)
    (found,) = grade(submissions, **options)
    assert (found.student, found.notebook, found.check) == ("kim", NAME, "check")
    return found.result


# -- the checks are the course's own


@pytest.mark.parametrize(
    "cells",
    [
        {},
        {"check": "print('passed')"},
        {"check": None},
        {"after": "x = 1"},
        {"parameters": "values = [1, 2, 3]"},
        {"title": None, "after": None},
    ],
)
def test_checks_and_parameters_are_put_back_and_what_follows_is_left_out(cells):
    submission = edition(exercise=RIGHT, **cells)
    graded, places = with_own_checks(NAME, SOURCE, submission)
    sources = [each.source for each in graded.cells if each.cell_type == "code"]
    assert sources == ["values = [1, 2]", RIGHT, SOURCE.cells[3].source]
    assert places == {"check": len(graded.cells) - 1}
    nbformat.validate(graded)


def test_check_stands_below_the_exercise_wherever_it_was():
    submission = edition(exercise=RIGHT)
    submission.cells = [submission.cells[number] for number in (0, 1, 3, 4, 2)]
    graded, _ = with_own_checks(NAME, SOURCE, submission)
    assert [each.id for each in graded.cells] == ["title", "parameters", "after", "exercise", "check"]


def test_a_solution_in_a_cell_of_its_own_counts():
    submission = edition(exercise=None)
    submission.cells.insert(2, cell("mine", RIGHT))
    graded, _ = with_own_checks(NAME, SOURCE, submission)
    assert [each.id for each in graded.cells] == ["title", "parameters", "mine", "check"]


def test_without_exercise_and_check_the_check_comes_last():
    graded, places = with_own_checks(NAME, SOURCE, edition(exercise=None, check=None))
    assert [each.id for each in graded.cells] == ["title", "parameters", "after", "check"] and places == {"check": 3}


def test_submission_stays_as_it_was():
    submission = edition(check="print('passed')")
    with_own_checks(NAME, SOURCE, submission)
    assert submission == edition(check="print('passed')")


def test_every_exercise_has_its_own_check():
    second = [
        cell("exercise2", SOURCE.cells[2].source.replace("total", "more")),
        cell("check2", "assert more([1]) == 1"),
    ]
    source = new_notebook(cells=[*SOURCE.cells[:4], *second])
    graded, places = with_own_checks(NAME, source, new_notebook(cells=[*source.cells[:3], second[0]]))
    assert [each.id for each in graded.cells] == ["title", "parameters", "exercise", "check", "exercise2", "check2"]
    assert places == {"check": 3, "check2": 5}


# -- what the checks say


def test_right_and_wrong_answers_are_told_apart(submissions):
    assert result(submissions, edition(exercise=RIGHT)) == PASSED
    assert result(submissions, edition(exercise=RIGHT.replace("sum", "max"))) == "Add them up."
    assert result(submissions, edition()) == LEFT_OUT


def test_an_error_elsewhere_is_no_wrong_answer(submissions):
    assert result(submissions, edition(title="", exercise=f"{RIGHT}\nrealx")) == PASSED


def test_what_stopped_the_exercise_is_told_with_the_error_of_the_check(submissions):
    told = result(submissions, edition(exercise="def total(values):\n    return sum(values"))
    assert told.startswith("NameError: name 'total' is not defined; above it, cell 3 (exercise): SyntaxError: ")


def test_an_endless_loop_ends(submissions):
    told = result(submissions, edition(exercise="def total(values):\n    while True:\n        pass"), cell_seconds=2)
    assert told.startswith("cell 4 (check): CellTimeoutError") and "2 seconds" in told


def test_a_cell_that_ends_its_kernel_is_named(submissions):
    told = result(submissions, edition(exercise="import os\nos._exit(1)"))
    assert told.startswith("cell 3 (exercise): DeadKernelError")


def test_a_cell_that_is_skipped_shifts_no_result(submissions):
    wrong = edition(exercise=RIGHT.replace("sum", "max"))
    wrong.cells[0] = cell("skipped", "x = 1", tags=["skip-execution"])
    assert result(submissions, wrong) == "Add them up."


@pytest.mark.parametrize(("answer", "told"), [(RIGHT, PASSED), (RIGHT.replace("sum", "max"), "Add them up.")])
def test_a_cell_with_quit_ends_neither_the_grading_nor_the_check(submissions, answer, told):
    assert result(submissions, edition(exercise=f"{answer}\nquit()")) == told


def test_what_ends_a_run_between_two_cells_is_laid_to_the_next_one(tmp_path):
    """Or a check that was never run would count as passed."""

    def broken() -> None:
        raise RuntimeError("between two cells")

    notebook = new_notebook(cells=[cell("skipped", "1", tags=["skip-execution"]), cell("a", "1"), cell("check", "2")])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    found = errors_of(read_notebook(tmp_path / "a.ipynb"), tmp_path, broken)
    assert found == ({2: "RuntimeError: between two cells"}, 2)


def test_a_submission_does_not_find_the_files_of_another(submissions):
    leaves = "open('answer', 'w').write('3')"
    hand_in(submissions / "ada", edition(exercise=f"{RIGHT}\n{leaves}"))
    hand_in(submissions / "bo", edition(exercise="def total(values):\n    return int(open('answer').read())"))
    ada, bo = grade(submissions)
    assert ada.result == PASSED and bo.result.startswith("FileNotFoundError")


# -- who has handed in what


def test_students_and_notebooks_are_known_by_folders_and_names(submissions, monkeypatch):
    monkeypatch.setattr(grading, "errors_of", lambda notebook, *_: ({}, None))
    hand_in(submissions / "ada b", edition(), f"12345_{NAME} (2)")
    hand_in(submissions / "ada b" / ".ipynb_checkpoints", edition())
    hand_in(submissions / "bo", edition(), "homework")
    (submissions / "chris").mkdir()
    (submissions / "dana").mkdir()
    (submissions / "dana" / f"{NAME}.ipynb").write_text("no JSON")
    hand_in(submissions, edition(), f"eli_{NAME}")
    for archived in ("__MACOSX", "bo/__MACOSX"):  # what macOS adds to archives
        (submissions / archived).mkdir()
        hand_in(submissions / archived, edition(), f"._{NAME}")
    hand_in(submissions, edition(), f"._eli_{NAME}")
    found = list(grade(submissions))
    assert [(each.student, each.notebook, each.check) for each in found] == [
        ("ada b", NAME, "check"),
        ("bo", "homework.ipynb", ""),
        ("chris", "", ""),
        ("dana", NAME, ""),
        (f"eli_{NAME}", NAME, "check"),
    ]
    assert "was it renamed?" in found[1].result and "no notebook in this folder" in found[2].result
    assert "Cannot read the notebook" in found[3].result


def test_nothing_to_grade_is_an_error(submissions):
    for folder in (submissions, submissions / "nowhere"):
        with pytest.raises(SinGANError, match=r"give the one with|no submission"):
            list(grade(folder))


# -- the command


def test_command_prints_and_writes_the_grades(submissions, tmp_path, capsys):
    hand_in(submissions / "kim", edition(exercise=RIGHT))
    hand_in(submissions / "léa", edition())
    assert main([str(submissions), "--output", str(tmp_path / "grades.csv")]) == 0
    with open(tmp_path / "grades.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["student", "notebook", "check", "result"],
        ["kim", NAME, "check", PASSED],
        ["léa", NAME, "check", LEFT_OUT],
    ]
    shown = capsys.readouterr().out
    assert "kim" in shown and "1 of 2 checks passed" in shown


def test_what_was_graded_until_an_interruption_is_written(submissions, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        yield Grade("kim", NAME, "check", PASSED)
        raise KeyboardInterrupt

    monkeypatch.setattr(grading, "grade", interrupted)
    assert main([str(submissions), "--output", str(tmp_path / "grades.csv")]) == 130
    assert "kim" in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")
    assert "Interrupted" in capsys.readouterr().err


def test_what_was_graded_until_an_unforeseen_error_is_written(submissions, tmp_path, monkeypatch):
    def broken(*_, **__):
        yield Grade("kim", NAME, "check", PASSED)
        raise ZeroDivisionError

    monkeypatch.setattr(grading, "grade", broken)
    with pytest.raises(ZeroDivisionError):
        main([str(submissions), "--output", str(tmp_path / "grades.csv")])
    assert "kim" in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")


def test_nothing_to_grade_leaves_an_earlier_table_alone(submissions, tmp_path, capsys):
    (tmp_path / "grades.csv").write_text("earlier")
    assert main([str(submissions), "--output", str(tmp_path / "grades.csv")]) == 1
    assert "no submission" in capsys.readouterr().err
    assert (tmp_path / "grades.csv").read_text() == "earlier"


@pytest.mark.parametrize(("place", "told"), [(".", "is a folder"), (f"{NAME}.ipynb/grades.csv", "Cannot write")])
def test_a_table_that_cannot_be_written_is_told_before_anything_is_graded(
    submissions, monkeypatch, capsys, place, told
):
    hand_in(submissions, edition())
    monkeypatch.setattr(grading, "grade", lambda *_, **__: pytest.fail("graded"))
    assert main([str(submissions), "--output", str(submissions / place)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and told in error
