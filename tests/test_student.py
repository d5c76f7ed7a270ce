"""The student edition: solutions taken out of tiny notebooks, and defects that must keep an edition from being made."""

import ast
import copy
import dis
import textwrap
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from singan_core import planning, student
from singan_core.errors import SinGANError
from singan_core.notebooks import code_cells, read_notebook
from singan_core.planning import find_notebooks
from singan_core.student import find_exercises, leaks, main, make_student_edition, without_solutions

pytestmark = pytest.mark.system

EXERCISE = '''
def total(values):
    """The sum."""
    ### BEGIN SOLUTION
    result = sum(value for value in values)  # a generator
    return result
    ### END SOLUTION
'''
CHECK = 'assert total([1, 2]) == 3, "Add them up."'
SOLUTION_LINE = "result = sum(value for value in values)"


def notebook_of(*cells: str | nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook under the title `# 03 Sums`; a text is the source of a code cell. Ids: `cell0`, `cell1`, ..."""
    title = new_markdown_cell("# 03 Sums\n\n**Question.** What is a|sum?")
    parts = [title, *(new_code_cell(cell.strip()) if isinstance(cell, str) else cell for cell in cells)]
    for number, part in enumerate(parts):
        part["id"] = f"cell{number}"
    return new_notebook(cells=parts)


def save(folder: Path, *cells: str | nbformat.NotebookNode, name: str = "03_sums") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook_of(*cells), path)
    return path


def edition_of(*cells: str | nbformat.NotebookNode) -> nbformat.NotebookNode:
    return without_solutions("03_sums", notebook_of(*cells))


def leaks_of(*cells: str | nbformat.NotebookNode) -> list[str]:
    return leaks({"03_sums": notebook_of(*cells)}, {"03_sums": edition_of(*cells)})


# -- taking solutions out


def test_stub_stands_where_the_solution_stood():
    assert edition_of(EXERCISE, CHECK).cells[1].source == textwrap.dedent(
        f'''\
        def total(values):
            """The sum."""
            # Your code here.
            raise NotImplementedError("{student.STUB_MESSAGE}")'''
    )


@settings(max_examples=40)
@given(depths=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_stubs_are_valid_code_at_any_indentation_in_any_number(depths):
    cells = []
    for number, depth in enumerate(depths):
        nested = [f"{'    ' * level}if levels > {level}:" for level in range(depth)]
        region = ["### BEGIN SOLUTION", f"secret = {number} + levels + 1", "### END SOLUTION"]
        body = [*nested, *("    " * depth + line for line in region)]
        cells += ["def work(levels):\n" + textwrap.indent("\n".join(body), "    "), "work(9)"]
    edition = edition_of(*cells)
    sources = [cell.source for cell in edition.cells[1:]]
    assert sum("NotImplementedError" in source for source in sources) == len(depths)
    assert not any("secret" in source for source in sources)
    for source in sources:
        ast.parse(source)


def test_outputs_counts_and_metadata_are_left_out_and_tags_kept():
    cell = new_code_cell("1 + 1", execution_count=4, metadata={"tags": ["parameters"], "ExecuteTime": {}})
    cell.outputs = [new_output("execute_result", {"text/plain": "2"}, execution_count=4)]
    edition = edition_of(cell)
    assert edition.cells[1].outputs == [] and edition.cells[1].execution_count is None
    assert edition.cells[1].metadata == {"tags": ["parameters"]}
    assert set(edition.metadata) == {"kernelspec", "language_info"}
    nbformat.validate(edition)


def test_source_stays_as_it_was():
    source = notebook_of(EXERCISE, CHECK)
    before = copy.deepcopy(source)
    without_solutions("03_sums", source)
    assert source == before


def test_check_is_the_first_code_cell_after_the_exercises_without_a_solution():
    notebook = notebook_of(EXERCISE, new_markdown_cell("Another:"), EXERCISE, "", new_markdown_cell("Now:"), CHECK, "1")
    assert [(each.cell, each.check) for each in find_exercises("03_sums", notebook)] == [(1, 6), (3, 6)]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("### BEGIN SOLUTION\na = 1", "END SOLUTION` is missing"),
        ("a = 1\n### END SOLUTION", "every `### BEGIN SOLUTION` needs one"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\na = 1\n### END SOLUTION", "every `### BEGIN SOLUTION` needs one"),
        ("### BEGIN SOLUTION\n\n### END SOLUTION", "there is nothing between"),
    ],
)
def test_markers_that_do_not_pair_are_refused_with_notebook_and_cell(source, what):
    with pytest.raises(SinGANError, match=rf"03_sums cell 2 \(cell1\): .*{what}"):
        edition_of(source, CHECK)


def test_an_exercise_that_was_solved_in_place_is_refused():
    solved = notebook_of("def total(values):\n    return sum(values)", CHECK)
    solved["cells"][1]["id"] = "exercise"
    with pytest.raises(SinGANError, match=r"cell 2 \(exercise\) has no solution.*solved in place"):
        without_solutions("03_sums", solved)


def test_code_of_checks_is_folded_and_no_other():
    _, *cells = edition_of("x = 1", EXERCISE, CHECK, "y = 2")["cells"]
    assert [cell["metadata"].get("jupyter") for cell in cells] == [None, None, {"source_hidden": True}, None]


def test_exercise_without_a_check_is_refused():
    with pytest.raises(SinGANError, match=r"03_sums cell 3 \(cell2\) has a solution, but no check cell follows"):
        edition_of(CHECK, EXERCISE, new_markdown_cell("The end."))


# -- no solution is left


def test_cleared_notebook_shows_no_solution():
    assert leaks_of(EXERCISE, CHECK) == []


def test_solution_that_was_not_taken_out_is_found():
    source = notebook_of(EXERCISE, CHECK)
    shown, marker = sorted(leaks({"03_sums": source}, {"03_sums": source}))
    assert "solution marker" in shown + marker and SOLUTION_LINE in shown + marker


@pytest.mark.parametrize("marker", ["BEGIN SOLUTION", "END SOLUTION"])
def test_a_single_marker_that_is_left_is_found(marker):
    written = notebook_of(f"total([1])\n### {marker}", CHECK)
    (leak,) = leaks({"03_sums": notebook_of(EXERCISE, CHECK)}, {"03_sums": written})
    assert leak == "03_sums cell 2 (cell1) has a solution marker"


@pytest.mark.parametrize(
    "cell",
    [
        new_markdown_cell(f"Hint: `{SOLUTION_LINE}`."),
        new_markdown_cell("Hint: `result  =  sum(value for\nvalue in values)`."),
        new_code_cell(f"1 + 1  # {SOLUTION_LINE}"),
        new_code_cell("# result = sum(value for\n# value in values)"),
    ],
    ids=["markdown", "another spacing", "comment", "wrapped comment"],
)
def test_line_of_a_solution_in_a_text_is_found(cell):
    (leak,) = leaks_of(EXERCISE, CHECK, cell)
    assert leak == f"03_sums cell 4 (cell3) shows {SOLUTION_LINE!r} of the solution in 03_sums cell 2 (cell1)"


def test_line_of_a_solution_in_metadata_is_found():
    (leak,) = leaks_of(EXERCISE, CHECK, new_code_cell("1 + 1", metadata={"hint": SOLUTION_LINE}))
    assert "cell 4 (cell3) shows" in leak


def test_line_of_a_solution_in_outputs_is_found():
    printed = new_code_cell("show()", outputs=[new_output("stream", name="stdout", text=f"{SOLUTION_LINE}\n")])
    source = notebook_of(EXERCISE, CHECK)
    (leak,) = leaks({"03_sums": source}, {"03_sums": notebook_of(CHECK, printed)})
    assert "cell 3 (cell2) shows" in leak


def test_line_of_a_solution_in_another_notebook_is_found():
    sources = {"03_sums": notebook_of(EXERCISE, CHECK), "04_more": notebook_of(new_markdown_cell(SOLUTION_LINE))}
    (leak,) = leaks(sources, {"04_more": sources["04_more"]})
    assert leak.startswith("04_more cell 2 (cell1) shows")


def test_lines_of_less_than_three_words_are_no_evidence():
    assert leaks_of(EXERCISE, CHECK, new_markdown_cell("In the end comes `return result`.")) == []


def test_lines_that_the_given_code_has_as_well_are_no_evidence():
    given_before = "for level in model.levels:\n    pass"
    exercise = "### BEGIN SOLUTION\nfor level in model.levels:\n    depth = level + depth + 1\n### END SOLUTION"
    assert leaks_of(given_before, exercise, "check()", new_markdown_cell("`for level in model.levels:`")) == []


def test_lines_of_three_words_are_evidence():
    exercise = "### BEGIN SOLUTION\nanswer = left + right\n### END SOLUTION"
    (leak,) = leaks_of(exercise, "check()", new_markdown_cell("So `answer = left + right`."))
    assert "shows 'answer = left + right'" in leak


def test_solution_that_stands_in_given_code_as_a_whole_is_found():
    repeated = "def expected(values):\n    result = sum(value for value in values)\n    return result"
    (leak,) = leaks_of(EXERCISE, CHECK, repeated)
    assert leak == "03_sums cell 2 (cell1): the solution stands in code outside of it as well"


def test_a_solution_may_stand_in_the_given_code_of_another_notebook():
    given_code = "def total(values):\n    result = sum(value for value in values)\n    return result"
    sources = {"03_sums": notebook_of(EXERCISE, CHECK), "04_more": notebook_of(given_code)}
    editions = {name: without_solutions(name, source) for name, source in sources.items()}
    assert leaks(sources, editions) == []


# -- the proof by running

AT_SMOKE_IN_AN_EMPTY_FOLDER = """
import os
assert os.environ["SINGAN_PROFILE"] == "smoke" and os.listdir() == []
"""
WRONG = """
def wrong(values):
    ### BEGIN SOLUTION
    return 2 * len(values)
    ### END SOLUTION
"""
NOT_IN_A_FUNCTION = """
answer = (
    ### BEGIN SOLUTION
    1 + 2 + 3
    ### END SOLUTION
)
"""


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student edition of a sound notebook, made in place of an earlier edition."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "edition").mkdir()
    (folder / "edition" / "README.md").write_text(student.README_TITLE)
    (folder / "edition" / "99_gone.ipynb").touch()
    path = save(folder / "source", AT_SMOKE_IN_AN_EMPTY_FOLDER, EXERCISE, CHECK, "total([0])", "print('unrelated')")
    return make_student_edition([path], folder / "edition", progress=False)


def test_edition_holds_the_cleared_notebooks_and_how_to_start(edition):
    assert sorted(path.name for path in edition.iterdir()) == ["03_sums.ipynb", "README.md"]
    assert "NotImplementedError" in read_notebook(edition / "03_sums.ipynb").cells[2].source
    assert "| [03_sums](03_sums.ipynb) | What is a\\|sum? |" in (edition / "README.md").read_text(encoding="utf-8")


def test_nothing_but_the_edition_is_left(edition):
    assert sorted(path.name for path in edition.parent.iterdir()) == ["edition", "source"]


def test_proof_keeps_its_pyramids_and_figures_to_itself(tmp_path):
    elsewhere = """
import os
for name in ("SINGAN_RUNS", "SINGAN_FIGURES"):
    assert os.path.dirname(os.environ[name]) == os.path.dirname(os.getcwd())
"""
    make_student_edition([save(tmp_path / "source", elsewhere)], tmp_path / "edition", progress=False)


@pytest.fixture(scope="module")
def refusal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Where an edition of a defective notebook was asked for, and the problems that the refusal named."""
    folder = tmp_path_factory.mktemp("defective")
    path = save(
        folder / "source",
        EXERCISE,
        "try:\n    total([])\nexcept NotImplementedError:\n    pass",
        WRONG,
        "early = 3\nassert wrong([1, 2]) == early, 'No.'\nlate = 4",
        NOT_IN_A_FUNCTION,
        "assert answer == 6",
        "early",
        "late",
        "raise NotImplementedError('of somebody else')",
    )
    with pytest.raises(SinGANError) as caught:
        make_student_edition([path], folder / "edition", progress=False)
    return folder, str(caught.value).removesuffix(".").split(": ", 1)[1].split("; ")


def test_check_that_passes_on_the_stub_is_named(refusal):
    assert "03_sums cell 3 (cell2) passes although the exercise above it is not done" in refusal[1]


def test_check_that_fails_on_the_solution_is_named(refusal):
    assert "03_sums cell 5 (cell4) fails with the solutions in place: AssertionError: No." in refusal[1]


def test_stub_with_another_error_is_named(refusal):
    assert any(problem.startswith("03_sums cell 6 (cell5) fails before") for problem in refusal[1])
    assert any("SyntaxError" in problem for problem in refusal[1])


def test_cell_that_needs_a_name_from_a_stopped_cell_is_named(refusal):
    late = "03_sums cell 9 (cell8) fails before the exercises are done: NameError: name 'late' is not defined"
    assert late in refusal[1]
    assert not any("cell7" in problem for problem in refusal[1])


def test_not_implemented_error_that_is_not_the_stubs_is_named(refusal):
    assert any("cell 10" in problem and "of somebody else" in problem for problem in refusal[1])


def test_check_with_another_error_is_not_said_to_pass(refusal):
    assert [problem for problem in refusal[1] if "passes although" in problem] == [
        "03_sums cell 3 (cell2) passes although the exercise above it is not done"
    ]


def test_refused_edition_leaves_nothing(refusal):
    assert [path.name for path in refusal[0].iterdir()] == ["source"]


def test_last_check_runs_with_the_solutions_in_place(tmp_path):
    path = save(tmp_path / "source", EXERCISE, "assert total([1, 2]) == 4, 'No.'")
    with pytest.raises(SinGANError, match=r"cell 3 \(cell2\) fails with the solutions in place: AssertionError: No"):
        make_student_edition([path], tmp_path / "edition", progress=False)


def test_dead_kernel_is_named_with_its_cell(tmp_path):
    path = save(tmp_path, "1 + 1", new_markdown_cell("Now:"), "import os\nos._exit(3)", "2 + 2")
    with pytest.raises(SinGANError, match=r"03_sums cell 4 \(cell3\) fails before.*DeadKernelError"):
        make_student_edition([path], tmp_path / "edition", progress=False)


# -- files and the command


@pytest.fixture
def unproved(monkeypatch) -> None:
    """The proof by running is left out."""
    monkeypatch.setattr(student, "failures", lambda *_, **__: [])


@pytest.mark.usefixtures("unproved")
def test_leak_keeps_the_earlier_edition(tmp_path):
    leaky = save(tmp_path / "source", EXERCISE, CHECK, new_markdown_cell(SOLUTION_LINE))
    sound = save(tmp_path / "source", EXERCISE, CHECK, name="02_sound")
    folder = make_student_edition([sound], tmp_path / "edition")
    with pytest.raises(SinGANError, match="cell 4"):
        make_student_edition([sound, leaky], folder)
    assert sorted(path.name for path in folder.iterdir()) == ["02_sound.ipynb", "README.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edition", "source"]


@pytest.mark.usefixtures("unproved")
def test_folder_that_is_no_edition_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    path = save(tmp_path / "source", EXERCISE, CHECK)
    with pytest.raises(SinGANError, match="is no student edition and would be lost"):
        make_student_edition([path], tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.usefixtures("unproved")
def test_empty_folder_is_taken_and_a_file_is_not(tmp_path):
    path = save(tmp_path / "source", EXERCISE, CHECK)
    (tmp_path / "empty").mkdir()
    assert (make_student_edition([path], tmp_path / "empty") / "03_sums.ipynb").exists()
    (tmp_path / "thesis.tex").write_text("all my work")
    with pytest.raises(SinGANError, match="is no student edition and would be lost"):
        make_student_edition([path], tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "all my work"


@pytest.mark.usefixtures("unproved")
def test_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SinGANError, match="Cannot write"):
        make_student_edition([save(tmp_path, EXERCISE, CHECK)], tmp_path / "file" / "edition")


@pytest.mark.usefixtures("unproved")
def test_command_prints_the_folder(tmp_path, capsys):
    path = save(tmp_path / "source", EXERCISE, CHECK)
    assert main(["--notebooks", str(path), "--output", str(tmp_path / "edition")]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'edition'}\n")


@pytest.mark.usefixtures("unproved")
def test_command_takes_the_notebooks_that_are_named(tmp_path):
    path = save(tmp_path / "source", EXERCISE, CHECK)
    assert main(["--notebooks", str(path), "--output", str(tmp_path / "edition")]) == 0
    assert sorted(each.name for each in (tmp_path / "edition").iterdir()) == ["03_sums.ipynb", "README.md"]


def test_command_tells_what_is_wrong(tmp_path, capsys):
    assert main(["--notebooks", str(save(tmp_path, EXERCISE))]) == 1
    assert capsys.readouterr().err.startswith("error: 03_sums cell 2 (cell1) has a solution")


def test_interrupt_leaves_nothing(tmp_path, monkeypatch, capsys):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(student, "failures", interrupt)
    path = save(tmp_path / "source", EXERCISE, CHECK)
    assert main(["--notebooks", str(path), "--output", str(tmp_path / "edition")]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


# -- the series


def test_series_has_no_solution_left_and_stubs_that_are_valid_code():
    """The part of the proof that runs nothing; `make student` does the rest."""
    sources = {path.stem: read_notebook(path) for path in find_notebooks()}
    editions = {name: without_solutions(name, source) for name, source in sources.items()}
    assert leaks(sources, editions) == []
    for name, edition in editions.items():
        for exercise in find_exercises(name, sources[name]):
            assert "NotImplementedError" in edition.cells[exercise.cell].source
            ast.parse(edition.cells[exercise.cell].source)


def names_used(code: types.CodeType, made: set[str]) -> Iterator[str]:
    """The names of the notebook that code reads, those left out that it has made before; adds to `made`."""
    for instruction in dis.get_instructions(code):
        if isinstance(instruction.argval, types.CodeType):  # a function: it reads when it is called, later
            yield from names_used(instruction.argval, made)
        elif instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL") and instruction.argval not in made:
            yield instruction.argval
        elif instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            made.add(instruction.argval)


def results_of_the_check(cells: Sequence[nbformat.NotebookNode]) -> set[str]:
    """The names that the check of an exercise makes and that later cells read before they make their own."""
    left, found = set(), set()
    for cell in cells:
        made: set[str] = set()
        found |= left & set(names_used(compile(cell.source, cell.id, "exec"), made))
        left = made if cell.id == planning.CHECK else left - made
    return found


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_nothing_that_a_check_makes_is_used_later(path):
    notebook = read_notebook(path)
    assert {notebook.cells[each.check].id for each in find_exercises(path.stem, notebook)} == {planning.CHECK}
    assert results_of_the_check(code_cells(notebook)) == set()


@pytest.mark.parametrize(
    ("check", "later", "found"),
    [
        ("x = 1", "y = x", {"x"}),
        ("x = 1", "def f():\n    return x", {"x"}),
        ("def f(): 1", "[f() for y in z]", {"f"}),
        ("x = 1", "x = 2\ny = x", set()),
        ("x = 1", "def f(x):\n    return x", set()),
        ("x = 1", "[x for x in y]", set()),
        ("for x in y: 1", "for x in y: x", set()),
    ],
)
def test_what_is_used_of_a_check_is_found(check, later, found):
    cells = [
        new_code_cell("x = 0", id="before"),
        new_code_cell(check, id=planning.CHECK),
        new_code_cell(later, id="later"),
    ]
    assert results_of_the_check(cells) == found
