"""Claims: what the file may hold, what a rule may say, verdicts from measurements, and results on disk."""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from singan_core.claims import Claim, load_claims, parse_condition, record, results, verdict
from singan_core.errors import SinGANError

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
    fields = {"published": {}, "not_testable": ""} | ENTRY | changes
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
        ("rule", {}),
        ("rule", "late > early"),
        ("rule", {"partly": "late > early"}),
        ("rule", {"partly": "late > early", "reproduced": "late > 2 * early"}),
        ("rule", {"reproduced": "late > early", "almost": "late > 0"}),
        ("rule", {"reproduced": "later > early"}),
        ("rule", {"reproduced": True}),
        ("rules", {"reproduced": "late > early"}),
        ("verdict", "reproduced"),
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


def test_recorded_measurements_are_found_again_in_order_of_seeds(folders: Path):
    for seed in (10, 2, 0):
        record("report-growth", profile="laptop", seed=seed, early=1.0, late=1.0 + seed)
    found = results("report-growth", "laptop")
    assert [result.seed for result in found] == [0, 2, 10]
    assert [result.measured["late"] for result in found] == [1.0, 3.0, 11.0]
    assert [result.outcome for result in found] == ["not reproduced", "reproduced", "reproduced"]
    assert results("report-growth", "paper") == []


def test_result_file_holds_measurement_and_circumstances_but_no_verdict(folders: Path):
    """A stored verdict would outlive a change of the rule."""
    record("report-growth", profile="smoke", seed=3, early=np.float32(0.5), late=2)
    text = (folders / "smoke" / "results" / "report-growth-seed3.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    assert stored["measured"] == {"early": 0.5, "late": 2.0}
    assert set(stored) == {"claim", "profile", "seed", "measured", "torch", "device", "time"}
    assert "reproduced" not in text


def test_profile_comes_from_the_environment_when_none_is_given(folders: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SINGAN_PROFILE", "smoke")
    assert record("report-growth", profile=None, seed=0, early=1, late=2).profile == "smoke"
    assert len(results("report-growth", None)) == 1


def test_second_result_of_a_seed_replaces_the_first(folders: Path):
    for late in (2.0, 3.0):
        record("report-growth", profile="smoke", seed=0, early=1.0, late=late)
    assert [result.measured["late"] for result in results("report-growth", "smoke")] == [3.0]


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        ({"early": 1.0}, "late"),
        ({}, "early"),
        ({"early": 1.0, "late": 2.0, "later": 3.0}, "later"),
        ({"early": 1.0, "late": math.nan}, "late"),
        ({"early": -math.inf, "late": 1.0}, "early"),
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


def test_unknown_claim_gets_a_suggestion(folders: Path):
    with pytest.raises(SinGANError, match="'report-growth'"):
        record("report-grwoth", profile="smoke", seed=0, early=1, late=2)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True, None])
def test_seed_that_is_no_count_is_refused(folders: Path, seed: Any):
    with pytest.raises(SinGANError, match="seed"):
        record("report-growth", profile="smoke", seed=seed, early=1, late=2)


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
    assert results("report-growth", "smoke")[0].measured["late"] == 2.0


def test_results_of_claims_with_longer_names_are_not_mixed_in(folders: Path, tmp_path: Path):
    written(tmp_path / "data", ENTRY, ENTRY | {"id": "report-growth-seed1"})
    record("report-growth-seed1", profile="smoke", seed=0, early=1, late=2)
    assert results("report-growth", "smoke") == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"measured": {"early": 1}}', '{"measured": {"early": 1, "late": "x"}}']
)
def test_damaged_or_outdated_result_is_named_with_what_to_do(folders: Path, text: str):
    record("report-growth", profile="smoke", seed=0, early=1, late=2)
    (folders / "smoke" / "results" / "report-growth-seed0.json").write_text(text, encoding="utf-8")
    with pytest.raises(SinGANError, match=r"report-growth-seed0\.json.*Run 02_training_and_losses again"):
        results("report-growth", "smoke")


def test_claim_without_test_takes_no_measurement(folders: Path):
    assert record("report-users", profile="smoke", seed=0).outcome == "not testable here"
    with pytest.raises(SinGANError, match="not testable"):
        record("report-users", profile="smoke", seed=0, share=0.5)


# display


def test_verdict_shows_claim_figures_measurement_rule_and_outcome(folders: Path):
    text = repr(record("report-growth", profile="laptop", seed=0, early=1.0, late=2.0))
    for part in ("It <grows>.", "Report, 2", "growth: 1.5", "250 px", "late = 2 (value at the end)", "late > early"):
        assert part in text
    assert text.splitlines()[-1] == "Verdict at profile laptop, seed 0: reproduced"


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
