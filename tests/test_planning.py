"""The plan of a batch: which runs there are, how they are called, and which of them are due."""

import dataclasses
import json
import shutil
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from singan_core import imports, planning
from singan_core.errors import SinGANError
from singan_core.execution import run_notebook
from singan_core.notebooks import read_outcome
from singan_core.planning import Run, find_notebooks, plan, retraining
from tests.series import parameters_cell, save

# -- the plan


def planned(sources: list[Path], folder: Path, **options: object) -> list[tuple[str, dict]]:
    return [(run.label, run.parameters) for run in plan(sources, "smoke", folder, **options)]


def test_without_wishes_every_notebook_runs_once(sources, tmp_path):
    assert planned(sources, tmp_path) == [("03_all", {"profile": "smoke"}), ("04_none", {"profile": "smoke"})]


def test_seeds_and_pictures_multiply_where_they_are_declared(sources, tmp_path):
    runs = planned(sources, tmp_path, seeds=[0, 1], images=["mountains", "peaks"])
    assert runs == [
        ("03_all", {"profile": "smoke"}),
        ("04_none", {"profile": "smoke"}),
        ("03_all seed1", {"profile": "smoke", "seed": 1}),
        ("03_all peaks", {"profile": "smoke", "image_name": "peaks"}),
        ("03_all peaks-seed1", {"profile": "smoke", "image_name": "peaks", "seed": 1}),
    ]


def test_what_is_asked_for_twice_runs_once(sources, tmp_path):
    assert len(planned(sources, tmp_path, seeds=[1, 1], images=["peaks", "peaks"])) == 2


def test_a_seed_of_numpy_is_that_number(sources, tmp_path):
    assert planned(sources[:1], tmp_path, seeds=np.arange(2)) == planned(sources[:1], tmp_path, seeds=[0, 1])


def test_two_notebooks_of_one_name_are_refused(sources, tmp_path):
    other = save(tmp_path / "other" / "03_all.ipynb", parameters_cell())
    with pytest.raises(SinGANError, match="Two notebooks are called 03_all"):
        plan([*sources, other], "smoke", tmp_path)


def test_variants_have_folders_of_their_own(sources, tmp_path):
    base, variant = plan(sources[:1], "smoke", tmp_path, seeds=[0, 2])
    assert base.executed == tmp_path / "notebooks" / "03_all.ipynb"
    assert variant.executed == tmp_path / "seed2" / "notebooks" / "03_all.ipynb"


def test_retrain_goes_to_the_notebooks_that_train(sources, tmp_path):
    runs = plan(sources, "smoke", tmp_path, retrain=True)
    assert [run.parameters.get("retrain") for run in runs] == [True, None]


def test_retraining_does_not_change_what_a_run_is_known_by(sources, tmp_path):
    prints = [[run.fingerprint for run in plan(sources, "smoke", tmp_path, retrain=retrain)] for retrain in (0, 1)]
    assert prints[0] == prints[1] and len(set(prints[0])) == 2


@pytest.mark.parametrize("options", [{"seeds": [1]}, {"images": ["peaks"]}, {"retrain": True}])
def test_a_wish_that_no_notebook_can_fulfil_is_refused(sources, tmp_path, options):
    with pytest.raises(SinGANError, match=r"04_none.ipynb declares no parameter"):
        plan(sources[1:], "smoke", tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": ["peak"]}, "no bundled picture 'peak': did you mean 'peaks'"),
        ({"images": ["zebra"]}, "no bundled picture 'zebra': there are My Photo, peaks"),
        ({"images": ["my_photo"]}, "rename 'My Photo'. Copy a picture of your own"),
        ({"images": ["My Photo"]}, "cannot be run by this name. Copy a picture of your own"),
        ({"images": ["peaks"]}, "'peaks' has the name of a bundled one"),
        ({"images": ["my.jpg"]}, "Copy a picture of your own to .*own, under .*lower-case"),
        ({"seeds": [-1]}, "from 0 on, got -1"),
        ({"seeds": [0.5]}, "from 0 on, got 0.5"),
        ({"seeds": [2**30]}, "from 0 to .*, got 1073741824"),
    ],
)
def test_unknown_pictures_and_impossible_seeds_are_refused(sources, tmp_path, monkeypatch, options, message):
    for folder, name in (("images", "peaks"), ("own", "peaks"), ("own", "My Photo")):
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / folder / f"{name}.jpg").touch()
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    with pytest.raises(SinGANError, match=message):
        plan(sources, "smoke", tmp_path, **options)


def test_misspelt_retrain_is_refused_though_another_notebook_has_it(sources, tmp_path):
    misspelt = save(tmp_path / "05_misspelt.ipynb", parameters_cell("profile = None\nretran = False"))
    with pytest.raises(SinGANError, match=r"05_misspelt.*'retran'"):
        plan([sources[0], misspelt], "smoke", tmp_path, retrain=True)


@pytest.mark.parametrize("cells", [[], [parameters_cell("seed = 0")], [new_code_cell("profile = None")]])
def test_notebook_without_a_profile_is_refused(tmp_path, cells):
    path = save(tmp_path / "05_plain.ipynb", *cells)
    with pytest.raises(SinGANError, match=r"05_plain.ipynb declares no parameter 'profile'"):
        plan([path], "smoke", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no JSON", b'{"cells": 3}', b"\xff\xfe", b"[]"])
def test_unreadable_notebook_is_named(tmp_path, content):
    path = tmp_path / "06_damaged.ipynb"
    path.write_bytes(content)
    with pytest.raises(SinGANError, match="06_damaged"):
        plan([path], "smoke", tmp_path)


@pytest.fixture
def course(monkeypatch, tmp_path) -> Path:
    """A checkout whose series is 00_start, 01_one and 10_ten."""
    for name in ("10_ten", "00_start", "01_one"):
        save(tmp_path / "notebooks" / f"{name}.ipynb")
    save(tmp_path / "notebooks" / "draft.ipynb")
    monkeypatch.setattr(planning, "CHECKOUT", tmp_path)
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
        ("01", ["01_one"]),  # one name is no sequence of letters
        (Path("10"), ["10_ten"]),
    ],
)
def test_notebooks_are_found_by_number_or_beginning(course, names, found):
    assert [path.stem for path in find_notebooks(names)] == found


def test_notebook_is_found_by_path(course, monkeypatch):
    monkeypatch.chdir(course)
    assert find_notebooks(["draft.ipynb"]) == [course / "draft.ipynb"]


def test_an_empty_name_does_not_stand_for_all_notebooks(course):
    with pytest.raises(SinGANError, match="is empty"):
        find_notebooks([""])


@pytest.mark.parametrize("name", ["7", "missing.ipynb"])
def test_unknown_notebook_is_refused_with_the_known_ones(course, name):
    with pytest.raises(SinGANError, match="00_start, 01_one, 10_ten"):
        find_notebooks([name])


@pytest.mark.parametrize("name", ["start", "strat", "00_strat", "0_Start"])
def test_misspelt_notebook_is_refused_with_the_one_that_was_meant(course, name):
    with pytest.raises(SinGANError, match=r"did you mean (00_)?start"):
        find_notebooks([name])


def test_without_notebooks_there_is_nothing_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "CHECKOUT", tmp_path)
    with pytest.raises(SinGANError, match="from a checkout"):
        find_notebooks()


# -- what need not run again


def replanned(series, number: int = 2) -> Run:
    return plan(series.sources[number : number + 1], "laptop", series.folder)[0]


def test_only_what_passed_and_has_not_changed_is_up_to_date(series):
    assert replanned(series).up_to_date()
    assert not replanned(series, 1).up_to_date()
    assert not dataclasses.replace(replanned(series), fingerprint="another").up_to_date()
    assert not dataclasses.replace(replanned(series), variant="seed9", folder=series.folder / "seed9").up_to_date()


def test_cells_and_parameters_are_part_of_the_fingerprint(series, tmp_path):
    before = replanned(series).fingerprint
    assert plan(series.sources[2:], "smoke", tmp_path)[0].fingerprint != before
    changed = save(tmp_path / "03_passes.ipynb", parameters_cell())
    assert plan([changed], "laptop", tmp_path)[0].fingerprint != before


def test_code_is_part_of_the_fingerprint_where_the_notebook_imports_it(tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "PACKAGE", copied_package(tmp_path))
    draws = save(tmp_path / "00_draws.ipynb", parameters_cell(), new_code_cell("import singan_core.pyramid"))
    counts = save(tmp_path / "01_counts.ipynb", parameters_cell(), new_code_cell("print(1)"))

    def fingerprints() -> list[str]:
        return [run.fingerprint for run in plan([draws, counts], "laptop", tmp_path)]

    before = fingerprints()
    for name in ("report.py", "applications/classical.py"):
        change(imports.PACKAGE / name)
    assert fingerprints() == before
    change(imports.PACKAGE / "images.py")  # pyramid imports it
    assert fingerprints()[0] != before[0] and fingerprints()[1] == before[1]


@pytest.mark.parametrize(
    ("cell", "changed"),
    [
        # only widgets import the second
        ("from singan_core.widgets import SketchPad\nfrom singan_core import drawing", "widgets explorer drawing"),
        # the last imports the second
        ("from singan_core.claims import record\nfrom singan_core.training import train", "claims progress training"),
    ],
)
def test_what_shows_judges_and_tells_is_part_of_the_fingerprint_and_not_of_the_edition(
    tmp_path, monkeypatch, cell, changed
):
    monkeypatch.setattr(imports, "PACKAGE", copied_package(tmp_path))
    path = save(tmp_path / "00_draws.ipynb", parameters_cell(), new_code_cell(cell))
    runs = [plan([path], "laptop", tmp_path)[0]]
    for name in changed.split():
        change(imports.PACKAGE / f"{name}.py")
        runs += plan([path], "laptop", tmp_path)
    assert len({run.fingerprint for run in runs}) == 4
    assert [run.edition == runs[0].edition for run in runs] == [True, True, True, False]


def test_what_is_no_code_is_part_of_the_fingerprint_and_not_of_the_edition(tmp_path):
    def planned(*cells) -> Run:
        return plan([save(tmp_path / "00_draws.ipynb", parameters_cell(), *cells)], "laptop", tmp_path)[0]

    runs = [
        planned(new_code_cell("x = 1  # one")),
        planned(new_code_cell("x = 1  # still one")),
        planned(new_code_cell("x = (\n    1\n)")),
        planned(new_markdown_cell("Now:"), new_code_cell("x = 1  # one")),
        planned(new_code_cell("x = 2  # one")),
    ]
    assert len({run.fingerprint for run in runs}) == 5
    assert [run.edition == runs[0].edition for run in runs] == [True, True, True, True, False]


def test_the_check_of_an_exercise_is_part_of_the_fingerprint_and_not_of_the_edition(tmp_path):
    def planned(**sources) -> Run:
        cells = [new_code_cell(source, id=name) for name, source in sources.items()]
        return plan([save(tmp_path / "00_draws.ipynb", parameters_cell(), *cells)], "laptop", tmp_path)[0]

    runs = [planned(x="x = 1", check="assert x"), planned(x="x = 1", check="assert x == 1"), planned(x="x = 2")]
    assert len({run.fingerprint for run in runs}) == 3
    assert [run.edition == runs[0].edition for run in runs] == [True, True, False]


def change(path: Path) -> None:
    with path.open("a") as file:
        file.write("another_version = True\n")


def copied_package(folder: Path) -> Path:
    return Path(shutil.copytree(imports.PACKAGE, folder / "singan_core", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture(scope="module")
def left_files(tmp_path_factory) -> tuple[Path, Run]:
    """A folder with data and figures, and the run that has read a picture there, and written a figure and a result."""
    folder, real = tmp_path_factory.mktemp("left"), planning.data_folder()
    (folder / "data" / "images").mkdir(parents=True)
    for name in ("images/bricks.jpg", "claims.yaml"):
        shutil.copy(real / name, folder / "data" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINGAN_DATA", str(folder / "data"))
        patch.setenv("SINGAN_FIGURES", str(folder / "figures"))
        path = save(folder / "02_leaves.ipynb", parameters_cell("profile = None"), new_code_cell(LEAVE_FILES))
        (run,) = plan([path], "smoke", folder / "figures" / "smoke")
        outcome = run_notebook(path, run.parameters, run.executed, fingerprint=run.fingerprint)
    assert outcome.error is None
    return folder, run


@pytest.fixture
def leaves_files(left_files, tmp_path) -> Run:
    """The same run with files of its own."""
    folder, run = left_files
    for name in ("data", "figures"):
        shutil.copytree(folder / name, tmp_path / name)
    return dataclasses.replace(run, folder=tmp_path / "figures" / "smoke")


LEAVE_FILES = """
from singan_core import sample_image
from singan_core.claims import load_claims, record
from singan_core.plots import save_figure, show_images
save_figure(show_images(sample_image("bricks")), "02_bricks", profile)
print(2 * 3, "bricks")
claim = next(claim for claim in load_claims().values() if claim.measured)
verdict = record(claim.id, profile=profile, seed=0, **dict.fromkeys(claim.measured, 1.0))
"""


@pytest.mark.parametrize("change", ["removed", "damaged"])
@pytest.mark.parametrize(
    "lost",
    [
        "data/images/bricks.jpg",
        "figures/smoke/02_bricks.png",
        "figures/smoke/results/*.json",
        "figures/smoke/notebooks/02_leaves.ipynb",
        "figures/smoke/notebooks/02_leaves.html",
    ],
)
def test_a_file_that_is_lost_or_changed_makes_the_run_due(leaves_files, tmp_path, lost, change):
    assert leaves_files.up_to_date(), "though data and figures have been moved together"
    (path,) = tmp_path.glob(lost)
    if change == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    assert not leaves_files.up_to_date()


def test_an_edited_output_makes_the_run_due(leaves_files):
    text = leaves_files.executed.read_text(encoding="utf-8")
    assert text.count("6 bricks\\n") == 1
    leaves_files.executed.write_text(text.replace("6 bricks\\n", "7 bricks\\n"))
    assert not leaves_files.up_to_date()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("files", None),
        ("seconds", "x"),
        ("finished", None),
        ("finished", "x"),
        ("pyramids", [1]),
        ("pyramids", {"a": 1}),
    ],
)
def test_a_copy_with_odd_notes_makes_the_run_due(leaves_files, name, value):
    copy = json.loads(leaves_files.executed.read_text(encoding="utf-8"))
    copy["metadata"]["singan"][name] = value
    leaves_files.executed.write_text(json.dumps(copy))
    assert not leaves_files.up_to_date()
    with pytest.raises(SinGANError, match="no executed copy"):
        read_outcome(leaves_files.executed)


def test_a_retraining_that_was_interrupted_goes_on_and_then_ends(sources, tmp_path):
    runs, other = (plan([path], "smoke", tmp_path) for path in sources)
    with pytest.raises(KeyboardInterrupt), retraining(tmp_path, runs) as first:
        raise KeyboardInterrupt
    with retraining(tmp_path, other) as another:
        pass
    with retraining(tmp_path, runs) as second:
        pass
    with retraining(tmp_path, runs) as third:
        pass
    assert first == second < another < third


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "9e99", "yesterday"])
def test_a_damaged_mark_of_a_retraining_begins_it_anew(sources, tmp_path, text):
    runs = plan(sources, "smoke", tmp_path)
    with pytest.raises(KeyboardInterrupt), retraining(tmp_path, runs):
        (mark,) = tmp_path.glob(".retraining-*")
        mark.write_text(text)
        raise KeyboardInterrupt
    before = time.time()
    with retraining(tmp_path, runs) as begun:
        assert before <= begun <= time.time()


def test_to_retrain_what_counts_is_that_a_run_was_made_later_and_trained(series, monkeypatch):
    (run,) = plan(series.sources[2:], "laptop", series.folder, retrain=True)
    outcome = read_outcome(run.executed)
    finished = datetime.fromisoformat(outcome.finished).timestamp()
    assert not run.up_to_date(retraining_since=finished), "a run that took the pyramids as they were"
    retrained = dataclasses.replace(outcome, retrained=True)
    monkeypatch.setattr(planning, "read_outcome", lambda path: retrained)
    assert run.up_to_date(retraining_since=finished)
    assert not run.up_to_date(retraining_since=finished + 1)


def test_a_pyramid_that_is_shipped_now_makes_a_run_due(series, monkeypatch):
    outcome = dataclasses.replace(
        read_outcome(series.executed(2)), pyramids={"abc": {"shipped": False, "discriminators": True}}
    )
    monkeypatch.setattr(planning, "read_outcome", lambda path: outcome)
    assert replanned(series).up_to_date()
    monkeypatch.setattr(planning, "shipped_file", lambda key, discriminators: Path(key))
    assert not replanned(series).up_to_date()


def test_expected_time_is_that_of_the_last_run(series):
    assert replanned(series).seconds == max(1.0, read_outcome(series.executed(2)).seconds)
    assert plan(series.sources[2:], "smoke", series.folder / "elsewhere")[0].seconds is None
