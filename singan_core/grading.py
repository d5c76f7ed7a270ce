"""Grading: every check of every submission, with the course's own checks in place of the students'.

`python -m singan_core.grading submissions`, in a checkout. A submission is a notebook of the course under its own name,
which may have more around it, in a folder of the student or beside the others. It runs at profile smoke, on past
errors, up to its last check. nbgrader does more, points and feedback files among it; this needs nothing marked first.
"""

import argparse
import copy
import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tqdm.auto import tqdm

from singan_core.errors import SinGANError
from singan_core.files import check_writable, replacing
from singan_core.notebooks import Notebook, read_notebook
from singan_core.planning import find_notebooks
from singan_core.student import STUB_MESSAGE, errors_of, find_exercises

CELL_SECONDS = 120
"""Limit for one cell of a submission, at profile smoke."""

PASSED = "passed"
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Grade:
    """What one check of one submission says.

    student: the name of the folder, or of a file that lies in none. notebook: of the course; or the file's name, where
    it is none of the course. check: the id of the check's cell, empty where nothing was run. result: `PASSED`,
    `LEFT_OUT`, or what went wrong.
    """

    student: str
    notebook: str
    check: str
    result: str


def grade(submissions: Path, *, cell_seconds: float = CELL_SECONDS) -> Iterator[Grade]:
    """The grades of all notebooks in a folder and the folders in it, by student; each is run when it is asked for.

    A folder without a notebook has a grade that says so. Raises SinGANError where there is nothing to grade.
    """
    sources = {path.stem: path for path in find_notebooks()}
    found = _submissions(submissions)
    with tempfile.TemporaryDirectory(prefix="singan-grading-") as workplace:
        for student, path in found:
            yield from _grades(student, path, sources, Path(workplace), cell_seconds)


def with_own_checks(name: str, source: Notebook, submission: Notebook) -> tuple[Notebook, dict[str, int]]:
    """A submission with the parameters and the checks of its source, up to the last check.

    Gives also where the checks stand: id to number, from 0. A check stands where the submission has the cell of its id,
    but below its exercise; right below that where it was deleted, and at the end where both were.
    """
    exercises = find_exercises(name, source)
    parameters = {cell["id"]: cell for cell in source["cells"] if "parameters" in cell["metadata"].get("tags", ())}
    cells = [copy.deepcopy(parameters.get(cell.get("id"), cell)) for cell in submission["cells"]]
    checks = [source["cells"][number] for number in sorted({each.check for each in exercises})]
    for check in checks:
        own = {source["cells"][each.cell]["id"] for each in exercises if source["cells"][each.check] is check}
        there = [number for number, cell in enumerate(cells) if cell.get("id") == check["id"]]
        cells = [cell for cell in cells if cell.get("id") != check["id"]]
        below = [number + 1 for number, cell in enumerate(cells) if cell.get("id") in own]
        cells.insert(max(there + below, default=len(cells)), copy.deepcopy(check))
    ids = [cell.get("id") for cell in cells]
    places = {check["id"]: ids.index(check["id"]) for check in checks}
    graded = copy.deepcopy(submission)
    graded["cells"] = cells[: max(places.values(), default=-1) + 1]
    return graded, places


def _submissions(folder: Path) -> list[tuple[str, Path]]:
    """Students and their notebooks; a folder without any stands for itself."""
    if not folder.is_dir():
        raise SinGANError(f"{folder} is no folder: give the one with the submissions.")
    found = []
    for place in sorted(folder.iterdir()):
        if _hidden(Path(place.name)):
            continue
        if place.is_dir():
            files = [each for each in sorted(place.rglob("*.ipynb")) if not _hidden(each.relative_to(folder))]
            found += [(place.name, each) for each in files or [place]]
        elif place.suffix == ".ipynb":
            found.append((place.stem, place))
    if not found:
        raise SinGANError(f"There is no submission in {folder}: it should hold a folder or a notebook of each student.")
    return found


def _hidden(path: Path) -> bool:
    """Whether a path below the submissions is nobody's: a checkpoint of Jupyter, or what macOS puts into archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _grades(
    student: str, path: Path, sources: dict[str, Path], workplace: Path, cell_seconds: float
) -> Iterator[Grade]:
    if path.is_dir():
        yield Grade(student, "", "", "there is no notebook in this folder")
        return
    name = next((each for each in sources if each in path.stem), None)
    if name is None:
        yield Grade(student, path.name, "", "no notebook of the course has this name: was it renamed?")
        return
    try:
        submission = read_notebook(path)
    except SinGANError as error:
        yield Grade(student, name, "", str(error))
        return
    notebook, checks = with_own_checks(name, read_notebook(sources[name]), submission)
    errors, ended = errors_of(notebook, workplace, lambda: None, cell_seconds)
    for check, number in checks.items():
        yield Grade(student, name, check, _result(notebook, errors, ended, number))


def _result(notebook: Notebook, errors: dict[int, str], ended: int | None, check: int) -> str:
    """What a check says; with an error that is not the check's own comes the first one above it."""

    def told(number: int) -> str:
        return f"cell {number + 1} ({notebook['cells'][number].get('id', 'no id')}): {errors[number]}"

    if ended is not None and ended <= check:
        return told(ended)
    error = errors.get(check, PASSED)
    if error == f"NotImplementedError: {STUB_MESSAGE}":
        return LEFT_OUT
    assertion = "AssertionError: "
    first = min(errors, default=check)
    if first >= check or error == PASSED or error.startswith(assertion):
        return error.removeprefix(assertion)
    return f"{error}; above it, {told(first)}"


# -- the command


def main(argv: Sequence[str] | None = None) -> int:
    """Grade and give the exit code: 0 when all were graded, 1 for a SinGANError, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m singan_core.grading",
        description="Run the checks of the exercises on submissions: notebooks of the course under their names, in a "
        "folder of each student or all in one. Submissions are programs: grade where they can do no harm.",
    )
    parser.add_argument("submissions", type=Path, help="the folder")
    parser.add_argument("--output", type=Path, default=Path("grades.csv"), help="the table (default: %(default)s)")
    parser.add_argument(
        "--cell-seconds", type=float, default=CELL_SECONDS, metavar="S", help="limit for a cell (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    graded: list[Grade] = []
    status = 0
    try:
        if arguments.output.is_dir():
            raise SinGANError(f"{arguments.output} is a folder: give the table a name.")
        check_writable(arguments.output.parent)
        try:
            for each in tqdm(grade(arguments.submissions, cell_seconds=arguments.cell_seconds), unit=" checks"):
                tqdm.write(f"{each.student:<20}  {each.notebook:<28}  {each.result}")
                graded.append(each)
        except KeyboardInterrupt:
            print("\nInterrupted.", file=sys.stderr)
            status = 130
        finally:
            if graded:
                _write_table(graded, arguments.output)
    except SinGANError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if graded:
        passed = sum(each.result == PASSED for each in graded)
        print(f"{passed} of {len(graded)} checks passed: {arguments.output}")
    return status


def _write_table(graded: Sequence[Grade], path: Path) -> None:
    # with the mark that spreadsheets know UTF-8 by
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([[field.name for field in fields(Grade)], *map(astuple, graded)])


if __name__ == "__main__":
    sys.exit(main())
