"""The student edition: the notebooks without solutions and outputs, and the proof that it can be handed out.

`python -m singan_core.student`, in a checkout. An exercise is a code cell with a solution: the lines between
`### BEGIN SOLUTION` and `### END SOLUTION`, at any indentation, inside a function that later cells may call. Its check
cell is the first code cell after it that holds no solution. In a cell reference the first cell is number 1. A cell
with the id "exercise" is one, too; without a solution between markers it was solved in place, and is refused.
"""

import argparse
import copy
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from singan_core.errors import SinGANError
from singan_core.execution import Log, OwnKernelClient, kernel_environment
from singan_core.notebooks import (
    CHECKOUT,
    Notebook,
    code_cells,
    first_line,
    publishable,
    read_notebook,
    title_and_question,
)
from singan_core.planning import find_notebooks

try:
    from nbconvert.preprocessors import ClearOutputPreprocessor
    from nbgrader.preprocessors import ClearSolutions
    from papermill.engines import NotebookExecutionManager
    from papermill.iorw import write_ipynb
except ModuleNotFoundError as error:
    raise SinGANError(f"The student edition needs {error.name}: python -m pip install -e '.[course,dev]'.") from error

BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"
STUB_MESSAGE = "This part is yours: replace these two lines, then run this cell and the check below it."
STUB = f'# Your code here.\nraise NotImplementedError("{STUB_MESSAGE}")'
CELL_SECONDS = 300
"""Limit for one cell at profile smoke."""

README_TITLE = "# SinGAN: the notebooks for students"
README = """{title}

| notebook | question |
|---|---|
{rows}

## Start

The notebooks need the package `singan_core` and its pictures, which are in a checkout of the course kit. Once, in the
checkout:

    python -m venv .venv && . .venv/bin/activate        # Windows, not tried yet: .venv\\Scripts\\activate
    pip install -c constraints.txt -e ".[course]"

On Linux this brings PyTorch with several GB of CUDA libraries. Without a GPU, install PyTorch's CPU build first.

Then, with this environment active, in the folder of this file, wherever it is:

    jupyter lab

Work from top to bottom, in the order of the numbers. A cell that ends in `NotImplementedError` is an exercise, or needs
one before it: write your code in place of the two lines of the stub, run the cell, then run the check below it, which
says what is wrong. The code of the check is folded, for it computes much of what you are asked for. Hand in the
notebook under its own name: it is run again from the top, with the check as it was.

The first run of a notebook may train pyramids, which takes minutes; later runs load them. Interrupting a training loses
nothing: run the cell again and it goes on.

## Settings

Environment variables, set before JupyterLab starts:

- `SINGAN_PROFILE`: `smoke` (seconds, only to see that everything runs), `laptop` (the default without a GPU) or `paper`
  (the authors' settings, the default with a GPU).
- `SINGAN_RUNS`: folder of the trained pyramids, by default `runs` in the checkout. A class can share one.
- `SINGAN_FIGURES`: folder of figures and measured results, by default `figures` in the checkout.
"""


def make_student_edition(
    notebooks: Sequence[str | Path] | None = None, output: str | Path | None = None, *, progress: bool = True
) -> Path:
    """Write the student edition, prove it (see `leaks` and `failures`), and give its folder.

    notebooks: see `planning.find_notebooks`. output: the folder, default build/student in the checkout; an earlier
    edition there is replaced, anything else is refused. progress: show a bar over the cells of the proof.

    Raises SinGANError that names every notebook and cell that is at fault; nothing is written then, and what stood in
    the folder stays.
    """
    sources = {path.stem: read_notebook(path) for path in find_notebooks(notebooks)}
    folder = Path(output or CHECKOUT / "build" / "student").resolve()
    editions = {name: without_solutions(name, source) for name, source in sources.items()}
    try:
        _check_replaceable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as workplace:
            unfinished = Path(workplace) / "edition"
            unfinished.mkdir()
            for name, edition in editions.items():
                write_ipynb(edition, str(unfinished / f"{name}.ipynb"))
            (unfinished / "README.md").write_text(_readme(editions), encoding="utf-8")
            written = {path.stem: read_notebook(path) for path in sorted(unfinished.glob("*.ipynb"))}
            problems = leaks(sources, written) or failures(sources, written, Path(workplace), progress=progress)
            if problems:
                raise SinGANError(f"There is no new student edition, correct this first: {'; '.join(problems)}.")
            if folder.exists():
                os.replace(folder, Path(workplace) / "before")
            os.replace(unfinished, folder)
    except OSError as error:
        raise SinGANError(f"Cannot write {folder}: {error.strerror or error}. Choose another --output.") from error
    return folder


def without_solutions(name: str, source: Notebook) -> Notebook:
    """A copy of a notebook with stubs in place of its solutions, without outputs and other traces of a run.

    The code of checks is folded: to tell mistakes apart, a check has to compute much of what is asked for. Raises
    SinGANError as `find_exercises` does.
    """
    exercises = find_exercises(name, source)
    notebook = publishable(source)
    notebook, resources = ClearSolutions(enforce_metadata=False, code_stub={"python": STUB}).preprocess(notebook, {})
    notebook = ClearOutputPreprocessor().preprocess(notebook, resources)[0]
    for exercise in exercises:
        notebook["cells"][exercise.check]["metadata"]["jupyter"] = {"source_hidden": True}
    return notebook


def _check_replaceable(folder: Path) -> None:
    readme = folder / "README.md"
    ours = readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith(README_TITLE)
    if folder.exists() and not ours and not (folder.is_dir() and not any(folder.iterdir())):
        raise SinGANError(f"{folder} is no student edition and would be lost: choose another --output, or move it.")


def _readme(editions: Mapping[str, Notebook]) -> str:
    rows = (
        f"| [{name}]({name}.ipynb) | {title_and_question(edition, name)[1].replace('|', chr(92) + '|')} |"
        for name, edition in editions.items()
    )
    return README.format(title=README_TITLE, rows="\n".join(rows))


# -- exercises


@dataclass(frozen=True)
class Exercise:
    """Where the exercise and its check cell stand among the cells, from 0, and the lines of the solution."""

    cell: int
    check: int
    solution: list[str]


def find_exercises(name: str, notebook: Notebook) -> list[Exercise]:
    """The exercises of a notebook, in order; exercises that follow each other may share a check cell.

    Raises SinGANError for markers that do not pair, an exercise that no check cell follows, and one without a solution.
    """
    cells = notebook["cells"]
    solutions = [_split(where(name, notebook, number), cell["source"])[1] for number, cell in enumerate(cells)]
    code = _code_numbers(notebook)
    exercises = []
    for number in code:
        if solutions[number]:
            check = next((later for later in code if later > number and not solutions[later]), None)
            if check is None:
                raise SinGANError(
                    f"{where(name, notebook, number)} has a solution, but no check cell follows: add one."
                )
            exercises.append(Exercise(number, check, solutions[number]))
        elif cells[number].get("id") == "exercise":
            raise SinGANError(
                f"{where(name, notebook, number)} has no solution between `### {BEGIN}` and `### {END}`: was it solved "
                "in place? Bring the notebook's own cell back, `git diff` shows it."
            )
    return exercises


def _code_numbers(notebook: Notebook) -> list[int]:
    """Where the cells stand that a kernel runs, from 0."""
    runs = code_cells(notebook)
    return [number for number, cell in enumerate(notebook["cells"]) if any(cell is each for each in runs)]


def where(name: str, notebook: Notebook, number: int) -> str:
    """How a message calls a cell: notebook, number from 1 on, and the cell's id."""
    return f"{name} cell {number + 1} ({notebook['cells'][number].get('id', 'no id')})"


def _split(place: str, source: str) -> tuple[list[str], list[str]]:
    """The lines of a cell outside and inside of its solutions, the markers left out."""
    given: list[str] = []
    solution: list[str] = []
    inside = False
    for line in source.split("\n"):
        if BEGIN in line or END in line:
            if inside == (BEGIN in line):
                raise SinGANError(f"{place}: every `### {BEGIN}` needs one `### {END}` after it, and none in between.")
            inside = not inside
        else:
            (solution if inside else given).append(line)
    if inside:
        raise SinGANError(f"{place}: `### {END}` is missing.")
    if BEGIN in source and not "".join(solution).strip():
        raise SinGANError(f"{place}: there is nothing between `### {BEGIN}` and `### {END}`, write the solution there.")
    return given, solution


# -- proof: no solution is left


def leaks(sources: Mapping[str, Notebook], written: Mapping[str, Notebook]) -> list[str]:
    """Where a student could read a solution: markers, and lines of solutions, left in any of the written notebooks.

    A line of a solution is evidence when it has three words or more, comments left out, and when the notebooks do not
    have it in the code that they give to students. It is looked for among the lines of code, and anywhere in
    comments, markdown, outputs and metadata, whatever the spacing. Where the code that a notebook gives holds every
    such line of one of its own solutions, that is a leak too.
    """
    given = {name: _given_code(name, source) for name, source in sources.items()}
    all_given = set().union(*given.values())
    evidence: dict[str, str] = {}
    problems = []
    for name, source in sources.items():
        for number, cell in enumerate(source["cells"]):
            place = where(name, source, number)
            lines = [line for line in map(_code, _split(place, cell["source"])[1]) if len(re.findall(r"\w+", line)) > 2]
            if lines and set(lines) <= given[name]:
                problems.append(f"{place}: the solution stands in code outside of it as well")
            evidence |= {line: place for line in lines if line not in all_given}
    for name, notebook in written.items():
        for number, cell in enumerate(notebook["cells"]):
            code, text = _code_and_text(cell)
            found = {line for line in evidence if line in code or line in text}
            problems += [
                f"{where(name, notebook, number)} shows {line!r} of the solution in {evidence[line]}" for line in found
            ]
            if any(marker in part for marker in (BEGIN, END) for part in (*code, text)):
                problems.append(f"{where(name, notebook, number)} has a solution marker")
    return problems


def _given_code(name: str, source: Notebook) -> set[str]:
    """The lines of code that students get."""
    return {
        _code(line)
        for number, cell in enumerate(source["cells"])
        if cell["cell_type"] == "code"
        for line in _split(where(name, source, number), cell["source"])[0]
    }


def _code_and_text(cell: Notebook) -> tuple[set[str], str]:
    """The lines of code of a cell, and everything else in it as one text."""
    lines = cell["source"].split("\n") if cell["cell_type"] == "code" else []
    comments = [line.partition("#")[2] for line in lines]
    others = [text for key, part in cell.items() if key != "source" or not lines for text in _texts(part)]
    return {_code(line) for line in lines}, " ".join(" ".join([*comments, *others]).split())


def _code(line: str) -> str:
    """A line without comment, its spaces single."""
    return " ".join(line.partition("#")[0].split())


def _texts(part: Any) -> Iterator[str]:
    """All texts in a part of a notebook."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)


# -- proof: stubs stop the checks, solutions pass them, and nothing else fails


def failures(
    sources: Mapping[str, Notebook], written: Mapping[str, Notebook], workplace: Path, *, progress: bool = True
) -> list[str]:
    """What goes wrong when the notebooks run at profile smoke, each in a kernel of its own, in an empty folder.

    The source runs as far as its last check cell, without an error. The written notebook runs whole, on past errors:
    every check cell must end in the stub's NotImplementedError, and no cell in another error. Trained pyramids,
    figures and results go to `workplace`.
    """
    exercises = {name: find_exercises(name, source) for name, source in sources.items()}
    ends = {name: max((each.check for each in found), default=-1) + 1 for name, found in exercises.items()}
    solved = {name: _up_to(source, ends[name]) for name, source in sources.items()}
    total = sum(len(code_cells(notebook)) for notebook in (*solved.values(), *written.values()))
    problems = []
    with tqdm(total=total, disable=not progress, bar_format="{desc} |{bar}| {percentage:3.0f}% [{elapsed}]") as bar:
        for name, notebook in written.items():
            bar.set_description_str(name)
            for number, error in errors_of(solved[name], workplace, bar.update)[0].items():
                problems.append(f"{where(name, notebook, number)} fails with the solutions in place: {error}")
            found, _ = errors_of(notebook, workplace, bar.update)
            stopped = {number for number, error in found.items() if error == f"NotImplementedError: {STUB_MESSAGE}"}
            problems += [
                f"{where(name, notebook, number)} fails before the exercises are done: {error}"
                for number, error in found.items()
                if number not in stopped
            ]
            problems += [
                f"{where(name, notebook, each.check)} passes although the exercise above it is not done"
                for each in exercises[name]
                if each.check not in found
            ]
    return problems


def _up_to(notebook: Notebook, end: int) -> Notebook:
    """A copy of a notebook with its first cells."""
    notebook = copy.deepcopy(notebook)
    notebook["cells"] = notebook["cells"][:end]
    return notebook


def errors_of(
    notebook: Notebook, workplace: Path, on_cell: Callable[[], Any], cell_seconds: float = CELL_SECONDS
) -> tuple[dict[int, str], int | None]:
    """Run all cells at profile smoke, on past errors; gives the numbers of those that failed, from 0, and how.

    The kernel begins in an empty folder, so that no notebook finds another's files. A cell that takes longer than
    `cell_seconds` ends the run, as one does whose kernel dies: then its number comes second, else None. workplace: see
    `failures`. on_cell: called after each cell that a kernel runs.
    """
    numbers = _code_numbers(notebook)
    if not numbers:
        return {}, None
    runs, figures = str(workplace / "runs"), str(workplace / "figures")
    environment = {"SINGAN_PROFILE": "smoke", "SINGAN_RUNS": runs, "SINGAN_FIGURES": figures}
    begun: list[int] = []
    ran: dict[int, Notebook] = {}  # by number, for cells with the tag skip-execution are not run

    def before(cell_index: int, **_: Any) -> None:
        begun.append(cell_index)

    def after(cell: Notebook, cell_index: int, **_: Any) -> None:
        ran[cell_index] = cell
        on_cell()

    manager = NotebookExecutionManager(copy.deepcopy(notebook), progress_bar=False)
    manager.notebook_start()
    ended, crash = None, {}
    try:
        desk_of_its_own = tempfile.TemporaryDirectory(dir=workplace, prefix="desk-", ignore_cleanup_errors=True)
        with Log(workplace / "log") as log, desk_of_its_own as desk:
            client = OwnKernelClient(
                manager,
                live=log,
                kernel_name="python3",
                timeout=cell_seconds,
                startup_timeout=60,
                allow_errors=True,
                on_cell_execute=before,
                on_cell_executed=after,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],  # its warnings would run into the progress bar
            )
            client.execute(env=kernel_environment(environment), cwd=desk)
    except Exception as error:  # the kernel died, did not start, or took too long
        last = max(begun, default=-1)
        left = [number for number in numbers if number not in ran and (number in begun or number > last)]
        ended = next(iter(left), None)  # None: a cell with quit() ends the kernel when all have been run
        crash = {} if ended is None else {ended: f"{type(error).__name__}: {first_line(str(error))}"}
    errors = {
        number: f"{output['ename']}: {first_line(output['evalue'])}"
        for number, cell in ran.items()
        for output in cell["outputs"]
        if output["output_type"] == "error"
    }
    return errors | crash, ended


# -- the command


def main(argv: Sequence[str] | None = None) -> int:
    """Make the student edition and give the exit code: 0, 1 for a SinGANError, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m singan_core.student",
        description="Write the notebooks without solutions, and prove that no solution is left, that every check stops "
        "at its stub and passes with the solution, and that nothing else fails.",
    )
    parser.add_argument("--notebooks", nargs="+", metavar="NN", help="numbers or beginnings of names (default: all)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the folder (default: build/student)")
    arguments = parser.parse_args(argv)
    try:
        folder = make_student_edition(arguments.notebooks, arguments.output)
    except SinGANError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing was written.", file=sys.stderr)
        return 130
    print(f"No solution is left, every check stops at its stub and passes with the solution.\n{folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
