"""Claims: what the file may hold, what a rule may say, verdicts from measurements, and results on disk."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from singan_core import claims as module
from singan_core.claims import (
    SCATTER,
    Claim,
    Summary,
    Verdict,
    current_commit,
    figure_text,
    load_claims,
    over_runs,
    parse_condition,
    read_results,
    record,
    results,
    verdict,
)
from singan_core.errors import SinGANError
from singan_core.images import sample_names
from singan_core.metrics import confidence_interval
from singan_core.trace import read_trace

ENTRY = {
    "id": "report-growth",
    "report": "Report",
    "section": "2",
    "notebook": "02_training_and_losses",
    "claim": "It <grows>.",
    "published": {"growth": 1.5, "setting": "250 px"},
    "test": "Ratio of late to early.",
    "measured": {"early": "value at the start", "late": "value at the end"},
    "rule": {"reproduced": "late / early >= 1.5 and late > 0", "partly": "late > early"},
}
UNTESTABLE = {
    **{name: ENTRY[name] for name in ("report", "section", "notebook", "claim")},
    "id": "report-users",
    "not_testable": "It needs a survey.",
}
NAMES = {"a": 0, "b": 0, "c": 0}
NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)


def written(folder: Path, *entries: Any) -> Path:
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump(list(entries), sort_keys=False), encoding="utf-8")
    return path


def claim(**changes: Any) -> Claim:
    fields = {"published": {}, "revised": "", "not_testable": ""} | ENTRY | changes
    return Claim(**fields)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two claims and an empty figures folder, which is returned."""
    (tmp_path / "data").mkdir()
    written(tmp_path / "data", ENTRY, UNTESTABLE)
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SINGAN_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


# the project's own file


def test_the_project_s_claims_are_valid():
    claims = load_claims()
    assert claims
    assert all(name == claim.id for name, claim in claims.items())


def test_no_two_results_of_the_project_s_claims_share_a_file():
    """The file of a claim's result on a picture is that of a claim whose id ends in the picture's name."""
    claims = set(load_claims())
    assert not claims & {f"{claim}-{image}" for claim in claims for image in sample_names()}


def test_every_outcome_of_a_rule_can_be_reached():
    """A rule that holds for everything, or whose `partly` is stricter than its `reproduced`, tests nothing."""
    rng = np.random.default_rng(0)
    for claim in load_claims().values():
        conditions = {outcome: parse_condition(text, claim.measured) for outcome, text in claim.rule.items()}
        thresholds = [float(number) for number in re.findall(r"[\d.]+", " ".join(claim.rule.values()))]
        reached = set()
        for _ in range(3000):
            # near a threshold of the rule, or from 0.01 to 1000 of either sign
            near = rng.choice(thresholds or [1.0], len(claim.measured)) * rng.uniform(0.8, 1.2, len(claim.measured))
            wide = 10 ** rng.uniform(-2, 3, len(claim.measured)) * rng.choice([-1, 1], len(claim.measured))
            drawn = np.where(rng.random(len(claim.measured)) < 0.5, near, wide).tolist()
            values = dict(zip(claim.measured, drawn, strict=True))
            reached.add(next((outcome for outcome, holds in conditions.items() if holds(values)), None))
            if len(reached) == len(claim.rule) + 1:
                break
        assert claim.not_testable or reached == {*claim.rule, None}, claim.id


# schema


def test_file_order_and_texts_are_kept(tmp_path: Path):
    claims = load_claims(written(tmp_path, UNTESTABLE, ENTRY))
    assert list(claims) == ["report-users", "report-growth"]
    found = claims["report-growth"]
    assert (found.claim, found.published, found.rule) == (ENTRY["claim"], ENTRY["published"], ENTRY["rule"])
    assert claims["report-users"].not_testable == "It needs a survey."


@pytest.mark.parametrize("field", ["report", "section", "notebook", "claim", "test", "measured", "rule"])
def test_missing_field_is_named_with_its_claim(tmp_path: Path, field: str):
    entry = {name: value for name, value in ENTRY.items() if name != field}
    with pytest.raises(SinGANError, match=f"report-growth.*'{field}'"):
        load_claims(written(tmp_path, entry))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("claim", ""),
        ("claim", 3),
        ("section", None),
        ("report", ["EECS"]),
        ("published", "1.5"),
        ("published", {"growth": None}),
        ("published", {"growth": True}),
        ("measured", {}),
        ("measured", ["late", "early"]),
        ("measured", {"late": ""}),
        ("measured", {"Late value": "x"}),
        ("measured", {"lambda": "x"}),
        ("measured", {"seed": "x"}),
        ("measured", {"image": "x"}),
        ("rule", {}),
        ("rule", "late > early"),
        ("rule", {"partly": "late > early"}),
        ("rule", {"partly": "late > early", "reproduced": "late > 2 * early"}),
        ("rule", {"reproduced": "late > early", "almost": "late > 0"}),
        ("rule", {"reproduced": "later > early"}),
        ("rule", {"reproduced": True}),
        ("rules", {"reproduced": "late > early"}),
        ("verdict", "reproduced"),
        ("revised", ""),
        ("revised", True),
        ("not_testable", "It needs a survey."),
    ],
)
def test_wrong_field_is_named_with_its_claim(tmp_path: Path, field: str, value: Any):
    # beside not_testable, it is the test that has no place
    named = "test" if field == "not_testable" else field
    with pytest.raises(SinGANError, match=f"report-growth.*'{named}'"):
        load_claims(written(tmp_path, ENTRY | {field: value}))


def test_claim_without_id_is_named_by_its_number(tmp_path: Path):
    unnamed = {name: value for name, value in ENTRY.items() if name != "id"}
    with pytest.raises(SinGANError, match=r"number 2.*'id'"):
        load_claims(written(tmp_path, UNTESTABLE, unnamed))


@pytest.mark.parametrize("name", ["Report growth", "../growth", "report_growth", "-growth", "growth-"])
def test_id_that_is_no_file_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(SinGANError, match="'id'"):
        load_claims(written(tmp_path, ENTRY | {"id": name}))


def test_id_used_twice_is_refused(tmp_path: Path):
    with pytest.raises(SinGANError, match=r"report-growth.*twice"):
        load_claims(written(tmp_path, ENTRY, ENTRY))


@pytest.mark.parametrize("text", ["", "claims: 3", "- 3", "- [a", "!!python/object/apply:os.getcwd []", "- id: \x00"])
def test_file_that_is_no_list_of_claims_is_refused(tmp_path: Path, text: str):
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SinGANError):
        load_claims(tmp_path / "claims.yaml")


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SinGANError, match=r"absent\.yaml"):
        load_claims(tmp_path / "absent.yaml")


# rules

SIDES = st.recursive(
    st.sampled_from(list(NAMES)) | st.floats(0, 1e3).map(str) | st.integers(0, 99).map(str),
    lambda side: (
        st.tuples(side, st.sampled_from("+-*"), side).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")
        | side.map(lambda inner: f"-{inner}")
    ),
    max_leaves=5,
)
COMPARISONS = st.tuples(SIDES, st.sampled_from(["<", "<=", ">", ">="]), SIDES).map(" ".join)
CONDITIONS = st.lists(COMPARISONS, min_size=1, max_size=3).map(" and ".join).filter(lambda text: len(text) <= 300)


@given(condition=CONDITIONS, values=st.fixed_dictionaries(dict.fromkeys(NAMES, NUMBERS)))
def test_condition_means_what_python_would_make_of_it(condition: str, values: dict[str, float]):
    as_floats = {name: float(value) for name, value in values.items()}
    # integers are read as floats, which sums and products of these small ones do not notice
    assert parse_condition(condition, NAMES)(as_floats) == eval(condition, {}, as_floats)


@pytest.mark.parametrize(
    ("text", "expected"), [("a / b >= 1.5", True), ("b / a >= 1.5", False), ("1 < b < a", True), ("1 < a < b", False)]
)
def test_ratios_and_chains_are_understood(text: str, expected: bool):
    assert parse_condition(text, NAMES)({"a": 3.0, "b": 2.0}) is expected


@given(
    condition=CONDITIONS,
    foreign=st.sampled_from(
        [
            "{}.__class__ > 0",
            "{}.real > 0",
            "abs({}) > 0",
            "{}() > 0",
            "__import__('os').getcwd() > a",
            "{}[0] > 0",
            "[{}] > 0",
            "{} ** 2 > 0",
            "{} // 2 > 0",
            "{} % 2 > 0",
            "{} == a",
            "{} != a",
            "{} is a",
            "{} in a",
            "not {} > 0",
            "a > 0 or {} > 0",
            "(a > {}) > 0",
            "(a > 0 and b > {}) and c > 0",
            "({} if a else b) > 0",
            "(x := {}) > 0",
            "(lambda: {}) > 0",
            "[x for x in {}] > 0",
            "f'{{{}}}' > 'a'",
            "{} > 'a'",
            "{} > True",
            "{} > None",
            "{} > 1j",
            "{} > 1e999",
            "~{} > 0",
            "unknown > {}",
            "{} > __builtins__",
            "{}",
            "{} >",
            "{} > 0; a > 0",
            "import os",
            "{} > 0\nb > 0",
        ]
    ),
    name=st.sampled_from(list(NAMES)),
    first=st.booleans(),
)
def test_everything_but_comparisons_of_quantities_is_refused(condition: str, foreign: str, name: str, first: bool):
    """Also where the rest of the condition is valid, and whatever its values would be."""
    alien = foreign.format(name)
    with pytest.raises(SinGANError):
        parse_condition(alien, NAMES)
    with pytest.raises(SinGANError):
        parse_condition(f"{alien} and {condition}" if first else f"{condition} and {alien}", NAMES)


@given(text=st.text(max_size=60) | st.text(alphabet="abc()[]{}.,:+-*/<>=! 0159eE'_\\\n", max_size=60))
def test_any_text_is_a_condition_or_refused(text: str):
    try:
        condition = parse_condition(text, NAMES)
    except SinGANError:
        return
    try:
        assert isinstance(condition({"a": 1.0, "b": 2.0, "c": 3.0}), bool)
    except ZeroDivisionError:
        assert "/" in text


@pytest.mark.parametrize("text", ["(" * 250 + "a > 0", "-" * 290 + "a > 0", "a > " + "1" * 400, "a" + " + a" * 5000])
def test_deep_and_long_texts_end_in_an_answer(text: str):
    """Nesting must not exhaust the stack: 290 signs are read, what is longer than 300 characters is refused."""
    try:
        assert parse_condition(text, NAMES)({"a": 1.0}) is True
    except SinGANError:
        assert len(text) > 250


# verdicts


@pytest.mark.parametrize(
    ("early", "late", "expected"),
    [
        (1.0, 1.5, "reproduced"),
        (1.0, 1.4999, "partly"),
        (1.0, 1.0, "not reproduced"),
        (-2.0, -4.0, "not reproduced"),
        (-2.0, -1.0, "partly"),
    ],
)
def test_first_condition_that_holds_is_the_verdict(early: float, late: float, expected: str):
    assert verdict(claim(), {"early": early, "late": late}) == expected


def test_without_partly_it_is_all_or_nothing():
    strict = claim(rule={"reproduced": "late > early"})
    assert verdict(strict, {"early": 1.0, "late": 0.5}) == "not reproduced"


def test_rule_that_divides_by_zero_names_claim_and_condition():
    with pytest.raises(SinGANError, match=r"report-growth.*late / early.*divides by zero"):
        verdict(claim(), {"early": 0.0, "late": 1.0})


def test_claim_without_test_is_never_judged():
    found = claim(test="", measured={}, rule={}, not_testable="It needs a survey.")
    assert verdict(found, {}) == "not testable here"


# results


def test_recorded_measurements_are_found_again_in_order_of_pictures_and_seeds(folders: Path):
    for image, seed in [("peaks", 0), ("mountains", 10), ("mountains", 2)]:
        record("report-growth", profile="laptop", seed=seed, image=image, early=1.0, late=1.0 + seed)
    found = results("report-growth", "laptop").runs
    assert [(run.image, run.seed) for run in found] == [("mountains", 2), ("mountains", 10), ("peaks", 0)]
    assert [run.measured["late"] for run in found] == [3.0, 11.0, 1.0]
    assert [run.outcome for run in found] == ["reproduced", "reproduced", "not reproduced"]
    assert results("report-growth", "paper").runs == ()


def test_result_file_holds_measurement_and_circumstances_but_no_verdict(folders: Path):
    """A stored verdict would outlive a change of the rule."""
    record("report-growth", profile="smoke", seed=3, image="peaks", early=np.float32(0.5), late=2)
    text = (folders / "smoke" / "results" / "report-growth-peaks-seed3.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    assert stored["measured"] == {"early": 0.5, "late": 2.0}
    assert (stored["image"], stored["commit"]) == ("peaks", current_commit())
    about = {"claim", "profile", "seed", "image", "torch", "device", "commit", "edition", "confirms", "time"}
    assert set(stored) == about | {"measured"}
    assert "reproduced" not in text


def test_a_result_remembers_the_edition_of_its_notebook(folders: Path, monkeypatch):
    record("report-growth", profile="smoke", seed=3, early=1, late=2)
    monkeypatch.setenv("SINGAN_EDITION", "abc")
    record("report-growth", profile="smoke", seed=4, early=1, late=2)
    assert [run.edition for run in results("report-growth", "smoke").runs] == [None, "abc"]


def confirmed(monkeypatch: pytest.MonkeyPatch, edition: str, late: float, **about: object) -> frozenset[str]:
    """What a run with this edition confirms by what it measures."""
    monkeypatch.setenv("SINGAN_EDITION", edition)
    return record("report-growth", profile="smoke", seed=3, early=1, late=late, **about).confirms


def test_a_result_confirms_the_editions_that_had_measured_the_same(folders: Path, monkeypatch):
    assert confirmed(monkeypatch, "a", 2.0) == set()
    assert confirmed(monkeypatch, "a", 2.0) == set()  # its own edition needs no confirmation
    assert confirmed(monkeypatch, "b", 2.0) == {"a"}
    assert confirmed(monkeypatch, "c", 2.0 * (1 + module.ROUNDING / 2)) == {"a", "b"}
    assert confirmed(monkeypatch, "a", 2.0) == {"b", "c"}
    (run,) = results("report-growth", "smoke").runs
    assert run.confirms == {"b", "c"}


@pytest.mark.parametrize("about", [{"image": "peaks"}, {"late": 2.001}], ids=["another picture", "another value"])
def test_a_result_that_differs_confirms_nothing(folders: Path, monkeypatch, about):
    confirmed(monkeypatch, "a", 2.0)
    assert confirmed(monkeypatch, "b", **{"late": 2.0} | about) == set()


def test_times_need_not_be_the_same_to_confirm_but_the_verdict_has_to(folders: Path, monkeypatch):
    times = {"id": "report-times", "measured": {"seconds": "training time"}, "rule": {"reproduced": "seconds > 10"}}
    written(folders.parent / "data", ENTRY | times)
    confirmed = {}
    for edition, seconds in (("a", 20.0), ("b", 11.0), ("c", 9.0)):
        monkeypatch.setenv("SINGAN_EDITION", edition)
        confirmed[edition] = record("report-times", profile="smoke", seed=3, seconds=seconds).confirms
    assert confirmed == {"a": set(), "b": {"a"}, "c": set()}


def test_a_result_confirms_none_that_it_cannot_read(folders: Path, monkeypatch):
    confirmed(monkeypatch, "a", 2.0)
    (path,) = (folders / "smoke" / "results").iterdir()
    path.write_text(path.read_text(encoding="utf-8").replace('"confirms": []', '"confirms": 7'), encoding="utf-8")
    assert confirmed(monkeypatch, "b", 2.0) == set()


def test_without_a_picture_the_file_is_named_by_the_seed_alone(folders: Path):
    record("report-growth", profile="smoke", seed=3, early=1, late=2)
    (path,) = (folders / "smoke" / "results").iterdir()
    assert path.name == "report-growth-seed3.json"
    assert json.loads(path.read_text(encoding="utf-8"))["image"] is None


def test_results_of_variants_lie_with_those_of_all_runs(folders: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SINGAN_VARIANT", "peaks-seed1")
    record("report-growth", profile="smoke", seed=1, image="peaks", early=1, late=2)
    assert (folders / "smoke" / "results" / "report-growth-peaks-seed1.json").is_file()
    assert len(results("report-growth", "smoke").runs) == 1


def test_profile_comes_from_the_environment_when_none_is_given(folders: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SINGAN_PROFILE", "smoke")
    assert record("report-growth", profile=None, seed=0, early=1, late=2).profile == "smoke"
    assert len(results("report-growth", None).runs) == 1


def test_second_result_of_a_run_replaces_the_first(folders: Path):
    for late in (2.0, 3.0):
        record("report-growth", profile="smoke", seed=0, early=1.0, late=late)
    assert [run.measured["late"] for run in results("report-growth", "smoke").runs] == [3.0]


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        ({"early": 1.0}, "late"),
        ({}, "early"),
        ({"early": 1.0, "late": 2.0, "later": 3.0}, "later"),
        ({"early": 1.0, "late": math.nan}, "late"),
        ({"early": -math.inf, "late": 1.0}, "early"),
        ({"early": 10**400, "late": 1.0}, "early"),
        ({"early": np.float64("nan"), "late": 1.0}, "early"),
        ({"early": "1.0", "late": 1.0}, "early"),
        ({"early": True, "late": 1.0}, "early"),
        ({"early": None, "late": 1.0}, "early"),
        ({"early": np.ones(1), "late": 1.0}, "early"),
    ],
)
def test_quantities_that_do_not_fit_are_named_and_nothing_is_written(folders: Path, measured: dict, named: str):
    with pytest.raises(SinGANError, match=rf"report-growth.*\b{named}\b"):
        record("report-growth", profile="smoke", seed=0, **measured)
    assert not folders.exists()


def test_measurement_for_which_the_rule_divides_by_zero_is_refused_and_not_written(folders: Path):
    with pytest.raises(SinGANError, match="divides by zero"):
        record("report-growth", profile="smoke", seed=0, early=0.0, late=1.0)
    assert not folders.exists()


def test_unknown_claim_gets_a_suggestion(folders: Path):
    with pytest.raises(SinGANError, match="'report-growth'"):
        record("report-grwoth", profile="smoke", seed=0, early=1, late=2)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True, None])
def test_seed_that_is_no_count_is_refused(folders: Path, seed: Any):
    with pytest.raises(SinGANError, match="seed"):
        record("report-growth", profile="smoke", seed=seed, early=1, late=2)


@pytest.mark.parametrize("image", ["", "../peaks", "my photo.jpg", "Peaks", 3, True])
def test_picture_that_is_no_plain_name_is_refused(folders: Path, image: Any):
    with pytest.raises(SinGANError, match="image must be a name"):
        record("report-growth", profile="smoke", seed=0, image=image, early=1, late=2)


def test_unknown_profile_is_refused(folders: Path):
    with pytest.raises(SinGANError, match="laptop"):
        record("report-growth", profile="labtop", seed=0, early=1, late=2)


def test_interrupted_writing_leaves_the_old_result(folders: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*paths: Path) -> None:
        raise KeyboardInterrupt

    record("report-growth", profile="smoke", seed=0, early=1.0, late=2.0)
    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        record("report-growth", profile="smoke", seed=0, early=1.0, late=3.0)
    assert [path.name for path in (folders / "smoke" / "results").iterdir()] == ["report-growth-seed0.json"]
    assert results("report-growth", "smoke").runs[0].measured["late"] == 2.0


def test_a_result_is_noted_as_written(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SINGAN_TRACE", str(tmp_path / "trace"))
    record("report-growth", profile="smoke", seed=0, early=1, late=2)
    assert folders / "smoke" / "results" / "report-growth-seed0.json" in read_trace(tmp_path / "trace").written


def test_an_empty_edition_is_none(folders: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SINGAN_EDITION", "")
    assert record("report-growth", profile="smoke", seed=3, early=1, late=2).edition is None


def test_results_of_claims_with_longer_names_are_not_mixed_in(folders: Path, tmp_path: Path):
    written(tmp_path / "data", ENTRY, ENTRY | {"id": "report-growth-seed1"})
    record("report-growth-seed1", profile="smoke", seed=0, early=1, late=2)
    assert results("report-growth", "smoke").runs == ()


GOOD = {
    "claim": "report-growth",
    "profile": "smoke",
    "seed": 0,
    "image": None,
    "commit": None,
    "measured": {"early": 1, "late": 2},
}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
        (json.dumps(GOOD | {"claim": "report-gone"}), "no claim 'report-gone'"),
        (json.dumps(GOOD | {"claim": []}), "damaged"),
        (json.dumps(GOOD | {"measured": {"early": 1}}), "'late'"),
        (json.dumps(GOOD | {"measured": {"early": 1, "late": "x"}}), "late"),
        (json.dumps(GOOD | {"measured": {"early": 0, "late": 1}}), "divides by zero"),
        (json.dumps(GOOD | {"measured": 3}), "damaged"),
        (json.dumps(GOOD | {"measured": {"early": 1, "late": 10**400}}), "late"),
        ("[" * 100_000, "damaged"),
        (json.dumps(GOOD | {"seed": "0"}), "seed"),
        (json.dumps(GOOD | {"image": "../x"}), "image"),
        (json.dumps(GOOD | {"seed": 1}), "another result"),
        (json.dumps(GOOD | {"profile": "paper"}), "another result"),
        (json.dumps({name: value for name, value in GOOD.items() if name != "image"}), "image"),
    ],
)
def test_results_that_do_not_fit_are_left_out_with_the_reason(folders: Path, text: str, reason: str):
    record("report-growth", profile="smoke", seed=7, early=1, late=2)
    folder = folders / "smoke" / "results"
    (folder / "report-growth-seed0.json").write_text(text, encoding="utf-8")
    summaries, left_out = read_results(folder, "smoke", load_claims().values())
    assert [run.seed for run in summaries["report-growth"].runs] == [7]
    assert list(left_out) == ["report-growth-seed0.json"] and reason in left_out["report-growth-seed0.json"]
    assert [run.seed for run in results("report-growth", "smoke").runs] == [7]


def test_fitting_result_of_the_cases_above_is_read(folders: Path):
    folder = folders / "smoke" / "results"
    folder.mkdir(parents=True)
    (folder / "report-growth-seed0.json").write_text(json.dumps(GOOD), encoding="utf-8")
    assert [run.measured for run in results("report-growth", "smoke").runs] == [{"early": 1.0, "late": 2.0}]


def test_claim_without_test_takes_no_measurement(folders: Path):
    assert record("report-users", profile="smoke", seed=0).outcome == "not testable here"
    with pytest.raises(SinGANError, match="not testable"):
        record("report-users", profile="smoke", seed=0, share=0.5)


# several runs


def summary(*runs: tuple[str | None, int, float], **changes: Any) -> Summary:
    """A summary of runs (picture, seed, late) whose `early` is 1: 1.5 and more is reproduced, more than 1 partly."""
    tested = claim(**changes)
    return Summary(tested, tuple(Verdict(tested, {"early": 1.0, "late": c}, "laptop", b, a) for a, b, c in runs))


def test_verdict_over_runs_is_that_of_most():
    found = summary((None, 0, 1.2), (None, 1, 1.9), (None, 2, 1.7))
    assert (found.outcome, found.agreement, found.disagreeing) == (
        "reproduced",
        "in 2 of 3 runs (1 partly), within the scatter",
        True,
    )


def test_one_run_far_off_does_not_make_the_verdict():
    """The mean is 1.6."""
    found = summary((None, 0, 0.9), (None, 1, 0.9), (None, 2, 3.0))
    assert (found.outcome, found.agreement) == (
        "not reproduced",
        "in 2 of 3 runs (1 reproduced), within the scatter",
    )


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ((0.5, 2.0), "not reproduced"),
        ((0.5, 1.2, 2.0), "partly"),
        ((0.5, 1.2, 1.2, 2.0), "partly"),
        ((0.5, 0.5, 2.0, 2.0), "not reproduced"),
        ((0.5, 1.2, 2.0, 2.0), "partly"),
        ((0.5, 2.0, 2.0, 2.0), "reproduced"),
    ],
)
def test_verdict_is_the_strongest_that_more_than_half_of_the_runs_reach(values: tuple[float, ...], outcome: str):
    assert summary(*[(None, seed, late) for seed, late in enumerate(values)]).outcome == outcome


@given(st.lists(st.floats(0, 3), min_size=1, max_size=9))
def test_more_than_half_of_the_runs_reach_the_verdict_and_none_stronger_is(values: list[float]):
    found = summary(*[(None, seed, late) for seed, late in enumerate(values)])
    order = ["reproduced", "partly", "not reproduced"]
    reached = {each: sum(order.index(run.outcome) <= order.index(each) for run in found.runs) for each in order}
    assert found.outcome == next(each for each in order if reached[each] > len(values) / 2)


@pytest.mark.parametrize(
    ("number", "text"), [(1, "in 1 run"), (2, "in 2 of 2 runs"), (3, "in 3 of 3 runs, without scatter")]
)
def test_runs_that_agree_are_counted(number: int, text: str):
    found = summary(*[(None, seed, 2.0) for seed in range(number)])
    assert (found.agreement, found.disagreeing) == (text, False)


def test_interval_over_seeds_is_students_t():
    interval = summary((None, 0, 1.0), (None, 1, 2.0), (None, 2, 3.0)).measured["late"]
    # t(0.975, 2 degrees of freedom) = 4.302653, standard error 1 / sqrt(3)
    assert (interval.low, interval.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)


def test_one_run_has_no_interval():
    interval = summary((None, 0, 2.0)).measured["late"]
    assert (interval.mean, interval.n, interval.high) == (2.0, 1, math.inf)


def test_pictures_are_kept_apart_and_count_alike():
    """Three seeds of one picture do not outvote one of another."""
    found = summary(("a", 0, 2.0), ("a", 1, 2.0), ("a", 2, 2.0), ("b", 0, 0.4))
    assert {name: each.outcome for name, each in found.pictures.items()} == {"a": "reproduced", "b": "not reproduced"}
    assert [each.measured["late"].n for each in found.pictures.values()] == [3, 1]
    assert (found.measured["late"].mean, found.measured["late"].n) == (pytest.approx(1.2), 2)
    assert (found.outcome, found.agreement) == ("not reproduced", "in 1 of 4 runs (3 reproduced)")
    assert summary(*[(name, seed, 2.0) for name in "ab" for seed in (0, 1)], ("c", 0, 0.4)).outcome == "reproduced"


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.floats(-100, 100)), min_size=1, max_size=6))
def test_mean_lies_among_the_runs_and_inside_its_interval(values: list[tuple[str | None, float]]):
    found = summary(*[(image, seed, late) for seed, (image, late) in enumerate(values)])
    interval, late = found.measured["late"], [value for _, value in values]
    # a mean of means may leave the range of the values by rounding
    assert min(late) - 1e-9 <= interval.mean <= max(late) + 1e-9
    assert interval.low <= interval.mean <= interval.high
    assert sum(len(each.runs) for each in found.pictures.values()) == len(values)


def test_nothing_measured_is_no_verdict():
    found = summary()
    assert (found.outcome, found.agreement, found.measured, found.disagreeing) == ("not measured yet", "", {}, False)


def test_claim_without_test_stays_untestable_however_often_it_is_recorded(folders: Path):
    assert results("report-users", "laptop").outcome == "not testable here"
    record("report-users", profile="laptop", seed=0)
    found = results("report-users", "laptop")
    assert (len(found.runs), found.outcome, found.agreement) == (1, "not testable here", "")


# a verdict and the scatter of the runs


def over(*runs: dict[str, float], **rule: str) -> Summary:
    """A summary over seeds of one picture, with a rule of its own over the quantities of the runs."""
    tested = claim(measured=dict.fromkeys(runs[0], "a quantity"), rule=rule)
    return Summary(tested, tuple(Verdict(tested, values, "laptop", seed) for seed, values in enumerate(runs)))


def lates(*values: float) -> Summary:
    """A summary of three or more seeds: 1.5 and more is reproduced, more than 1 partly."""
    return summary(*[(None, seed, late) for seed, late in enumerate(values)])


@pytest.mark.parametrize(
    ("values", "outcome", "beyond"),
    [
        ((1.9, 2.0, 2.1), "reproduced", True),
        ((1.2, 2.0, 2.8), "reproduced", False),  # the interval of the ratio begins at 0.01
        ((1.2, 1.2, 1.3, 9.0), "partly", False),  # most are below 1.5, the interval's end is not
        ((1.2, 1.21, 1.19), "partly", True),
        ((1.4, 1.45, 1.5), "partly", False),  # more than 1 for sure, but it might be 1.5
        ((0.9, 1.1, 1.3), "partly", False),  # it might be 1, and less
        ((0.5, 0.51, 0.49), "not reproduced", True),
        ((0.8, 1.0, 1.1), "not reproduced", False),  # not reproduced for sure, but it might be partly
        ((-9.0, 0.0, 9.0), "not reproduced", False),
    ],
)
def test_outcome_is_beyond_the_scatter_where_the_intervals_leave_no_other(
    values: tuple[float, ...], outcome: str, beyond: bool
):
    found = lates(*values)
    assert (found.outcome, found.beyond_scatter) == (outcome, beyond)
    assert found.agreement.endswith(", beyond the scatter" if beyond else ", within the scatter")


@settings(max_examples=40)
@given(
    reproduced=CONDITIONS,
    partly=CONDITIONS,
    values=st.fixed_dictionaries({name: st.integers(-1000, 1000).map(float) for name in NAMES}),
    runs=st.integers(3, 6),
)
def test_runs_without_scatter_leave_no_doubt(reproduced: str, partly: str, values: dict[str, float], runs: int):
    # whole numbers, whose mean is exact: that of other equal numbers may lie beside them, and beside a threshold
    found = over(*[values] * runs, reproduced=reproduced, partly=partly)
    assert found.beyond_scatter is True
    assert found.outcome == found.runs[0].outcome


@settings(max_examples=40)
@given(margin=st.floats(1e-6, 1e6), pairs=st.integers(2, 5), strict=st.booleans())
def test_equal_margins_of_both_signs_decide_nothing(margin: float, pairs: int, strict: bool):
    runs = [{"a": sign * margin} for sign in (1.0, -1.0) * pairs]
    assert over(*runs, reproduced="a > 0" if strict else "a >= 0").beyond_scatter is False


@settings(max_examples=40)
@given(st.lists(st.floats(-100, 100), min_size=3, max_size=8))
def test_one_comparison_is_decided_as_by_students_t_test(values: list[float]):
    assume(np.std(values) > 1e-3)
    level = ttest_1samp(values, 1).pvalue
    assume(abs(level - 0.05) > 1e-9)
    assert over(*[{"a": value} for value in values], reproduced="a > 1").beyond_scatter is bool(level < 0.05)


@settings(max_examples=40)
@given(
    values=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(-4, 4)), min_size=1, max_size=8),
    data=st.data(),
)
def test_order_of_runs_does_not_matter(values: list[tuple[str, int]], data: st.DataObject):
    runs = [(image, seed, float(late)) for seed, (image, late) in enumerate(values)]
    found, other = summary(*runs), summary(*data.draw(st.permutations(runs)))
    assert (found.outcome, found.agreement) == (other.outcome, other.agreement)


@pytest.mark.parametrize(
    "runs",
    [
        [("a", 0, 2.0)],
        [("a", 0, 2.0), ("a", 1, 2.0)],
        [("a", 0, 2.0), ("a", 1, 2.0), ("a", 2, 2.0), ("b", 0, 2.0), ("b", 1, 2.0)],
    ],
    ids=["one run", "two runs", "five runs of two pictures"],
)
def test_scatter_of_fewer_than_three_is_not_known(runs: list[tuple[str, int, float]]):
    found = summary(*runs)
    assert found.beyond_scatter is None
    assert "scatter" not in found.agreement


def test_scatter_over_pictures_is_that_of_their_means():
    """Seeds of one picture that differ widely do not count, three pictures that agree do; and the other way round."""
    seeds_differ = summary(*[(image, seed, late) for image in "abc" for seed, late in enumerate([0.1, 4.0, 4.0])])
    assert (seeds_differ.outcome, seeds_differ.beyond_scatter) == ("reproduced", True)
    pictures_differ = summary(*[(image, seed, 2.0 * number) for number, image in enumerate("abc") for seed in (0, 1)])
    assert (pictures_differ.outcome, pictures_differ.beyond_scatter) == ("reproduced", False)


@pytest.mark.parametrize(("rule", "outcome"), [("a >= 4", "reproduced"), ("a > 4", "not reproduced")])
def test_margin_of_zero_in_every_run_is_decided_by_the_sign_of_the_comparison(rule: str, outcome: str):
    found = over(*[{"a": 4.0}] * 3, reproduced=rule)
    assert (found.outcome, found.beyond_scatter) == (outcome, True)


def test_each_comparison_of_a_chain_has_its_own_margin():
    runs = [{"a": a} for a in (1.9, 2.0, 2.1)]
    assert over(*runs, reproduced="1 < a < 3").beyond_scatter is True
    assert over(*runs, reproduced="1 < a < 2.2").beyond_scatter is False
    assert over(*runs, reproduced="3 > a > 1.8").beyond_scatter is False
    assert over(*runs, reproduced="2.5 < a < 3").beyond_scatter is True  # one side that fails is enough


@pytest.mark.filterwarnings("ignore:overflow")
def test_margin_that_is_not_finite_decides_nothing():
    runs = [{"a": a} for a in (1e200, 2e200, 1.5e200)]
    found = over(*runs, reproduced="a * a > 1")
    assert (found.outcome, found.beyond_scatter) == ("reproduced", False)


def test_ratios_are_those_of_the_runs():
    """1.2, 1.3 and 1.25, though the means have a ratio of 0.78: the denominators differ in sign."""
    runs = [{"a": 12.0, "b": 10.0}, {"a": -11.7, "b": -9.0}, {"a": 1.25, "b": 1.0}]
    found = over(*runs, reproduced="a / b > 1")
    assert (found.outcome, found.beyond_scatter) == ("reproduced", True)


def test_a_mean_that_most_runs_contradict_decides_nothing():
    """Most values are below 0, and yet their mean is above it beyond the scatter."""
    found = over(*[{"a": -0.01}] * 21, *[{"a": 1.0 + 0.01 * number} for number in range(20)], reproduced="a > 0")
    assert confidence_interval([run.measured["a"] for run in found.runs]).low > 0
    assert (found.outcome, found.beyond_scatter) == ("not reproduced", False)


@pytest.mark.parametrize(
    ("rule", "beyond"), [("a / b > 1", False), ("a / b > 9", False), ("a > 9 and a / b > 9", True)]
)
def test_margin_that_divides_by_zero_decides_nothing(rule: str, beyond: bool):
    """As that of a picture may, whose seeds have a mean of zero."""
    tested = claim(measured={"a": "one", "b": "another"}, rule={"reproduced": rule})
    values = [("mountains", 0, 1.0), ("pagoda", 0, 1.0), ("pagoda", 1, -1.0), ("peaks", 0, 1.0)]
    runs = (Verdict(tested, {"a": 2.0, "b": b}, "laptop", seed, image) for image, seed, b in values)
    assert Summary(tested, tuple(runs)).beyond_scatter is beyond


# circumstances


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, from which the module seems to run."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # a hook that runs the tests names its own repository
    (tmp_path / "singan_core").mkdir()
    (tmp_path / "figures").mkdir()
    for name in ("singan_core/claims.py", "figures/a.png"):
        (tmp_path / name).write_text("before")
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "singan_core" / "claims.py"))
    return tmp_path


def test_commit_is_short_and_unmarked_while_nothing_has_changed(checkout: Path):
    (checkout / "notes.txt").write_text("not tracked")
    assert re.fullmatch(r"[0-9a-f]{7,}", current_commit())


def test_changed_code_is_marked_and_changed_figures_are_not(checkout: Path):
    clean = current_commit()
    (checkout / "figures" / "a.png").write_text("after")
    assert current_commit() == clean
    (checkout / "singan_core" / "claims.py").write_text("after")
    assert current_commit() == f"{clean}-dirty"


def test_package_inside_a_foreign_repository_has_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "__file__", str(checkout / "site-packages" / "singan_core" / "claims.py"))
    assert current_commit() is None


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert current_commit() is None


def test_repository_without_a_commit_has_none(tmp_path: Path, checkout: Path):
    shutil.rmtree(checkout / ".git")
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    assert current_commit() is None


# display


def test_claims_over_runs_have_a_row_each_from_all_that_is_recorded(folders: Path):
    for seed, late in enumerate([3.0, 3.5, 3.2]):
        grows = record("report-growth", profile="laptop", seed=seed, early=1.0, late=late)
    untested = record("report-users", profile="laptop", seed=0)
    record("report-growth", profile="paper", seed=0, early=1.0, late=0.0)
    shown = over_runs([grows, untested])
    assert shown.cells == [
        ["report-growth", "reproduced", "in 3 of 3 runs, beyond the scatter"],
        ["report-users", "not testable here", ""],
    ]
    assert SCATTER in shown.note
    with pytest.raises(SinGANError, match="row"):
        over_runs([])


def test_claims_over_runs_have_the_verdict_of_most_at_the_profile_of_their_run(folders: Path):
    for seed, late in enumerate([2.4, 1.9, 1.1]):
        last = record("report-growth", profile="paper", seed=seed, early=1.0, late=late)
    assert last.outcome == "partly"
    assert over_runs([last]).cells == [["report-growth", "reproduced", "in 2 of 3 runs (1 partly), within the scatter"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [("about 1/2", "about 1/2"), (22.28, "22.28"), (2000, "2000"), (29763.4, "29,763"), (1e-5, "1e-05")],
)
def test_figures_are_written_to_four_digits(value: str | float, text: str):
    assert figure_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(9999.4, "9999"), (9999.6, "10,000"), (10_000, "10,000"), (-29763.4, "-29,763")]
)
def test_large_figures_have_commas_on_both_sides_of_zero(value: float, text: str):
    assert figure_text(value) == text


def test_verdict_names_the_picture_it_was_measured_on(folders: Path):
    text = repr(record("report-growth", profile="laptop", seed=1, image="peaks", early=1.0, late=2.0))
    assert text.splitlines()[-1] == "Verdict at profile laptop, peaks, seed 1: reproduced"


def test_verdict_shows_claim_figures_measurement_rule_and_outcome(folders: Path):
    text = repr(record("report-growth", profile="laptop", seed=0, early=1.0, late=2.0))
    for part in ("It <grows>.", "Report, 2", "growth: 1.5", "250 px", "late = 2 (value at the end)", "late > early"):
        assert part in text
    assert text.splitlines()[-1] == "Verdict at profile laptop, seed 0: reproduced"


def test_a_claim_that_was_revised_shows_how(folders: Path):
    assert "Revised" not in repr(record("report-growth", profile="laptop", seed=0, early=1.0, late=2.0))
    written(folders.parent / "data", ENTRY | {"revised": "The line was  2;\nthen not reproduced."})
    found = record("report-growth", profile="laptop", seed=0, early=1.0, late=2.0)
    assert repr(found).splitlines()[-2] == "Revised: The line was 2; then not reproduced."
    assert "The line was 2" in found._repr_html_()


def test_only_a_test_is_revised(tmp_path: Path):
    with pytest.raises(SinGANError, match=r"report-users.*'revised' has no place beside not_testable"):
        load_claims(written(tmp_path, UNTESTABLE | {"revised": "It had a test."}))


def test_html_shows_the_same_with_markup_escaped(folders: Path):
    shown = record("report-growth", profile="laptop", seed=0, early=1.0, late=2.0)._repr_html_()
    assert "It &lt;grows&gt;." in shown and "<grows>" not in shown
    assert "reproduced</td>" in shown


@pytest.mark.parametrize(("profile", "warned"), [("smoke", True), ("laptop", False)])
def test_only_smoke_is_said_to_be_no_evidence(folders: Path, profile: str, warned: bool):
    found = record("report-growth", profile=profile, seed=0, early=1.0, late=2.0)
    assert ("no evidence" in repr(found)) is ("no evidence" in found._repr_html_()) is warned


def test_untestable_claim_shows_why(folders: Path):
    assert "not testable here: It needs a survey." in repr(record("report-users", profile="laptop", seed=0))


def test_without_yaml_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SinGANError, match="pyyaml"):
        load_claims()
