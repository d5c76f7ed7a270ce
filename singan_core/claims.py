"""The checkable claims of the reports, and verdicts that are computed from measurements, never typed in.

data/claims.yaml holds the claims, each with the quantities a notebook measures and a rule over them. A notebook calls
`record`; what it measured goes to figures/<profile>/results, and the verdict follows from it whenever it is asked for:
on one run as a `Verdict`, on several, with other seeds and pictures, as a `Summary`.
"""

import ast
import difflib
import html
import json
import keyword
import math
import numbers
import operator
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from singan_core.arguments import checked_seed
from singan_core.config import resolve_profile
from singan_core.errors import SinGANError
from singan_core.files import write_text
from singan_core.images import data_folder
from singan_core.metrics import Interval, confidence_interval
from singan_core.model import device_name
from singan_core.plots import Table, profile_folder, table
from singan_core.trace import note_written

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly", "not reproduced"
NOT_TESTABLE, NOT_MEASURED = "not testable here", "not measured yet"
OUTCOMES = (REPRODUCED, PARTLY, NOT_REPRODUCED, NOT_TESTABLE, NOT_MEASURED)

SCATTER = (
    "From three values on it is said whether the scatter could have made the verdict. A rule compares two numbers, and "
    "in each run or picture one lies above the other by some difference, which has a mean and its 95 % interval. If "
    "all differences within these intervals lead to the same verdict, it is beyond the scatter. Otherwise it is within "
    "the scatter, and further runs may change it. Without scatter means that all values are the same."
)
"""What `Summary.beyond_scatter` means, for readers."""

Values = Mapping[str, float]

_ALWAYS = ("id", "report", "section", "notebook", "claim")
_TESTABLE = ("test", "measured", "rule")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_QUANTITY = re.compile(r"[a-z][a-z0-9_]*")
_IMAGE = re.compile(r"[a-z0-9_-]+")
_NO_QUANTITY = ("profile", "seed", "image")
_RESULT = ("claim", "profile", "seed", "image", "commit", "measured")

ROUNDING = 1e-4
"""Share of a value by which it may differ where the same is computed by other code or on another processor."""

TIMES = "seconds"
"""Quantities whose names begin so are times: no two runs measure the same."""


@dataclass(frozen=True)
class Claim:
    """What a report claims, in our own words, and how it is tested.

    published: the report's figures by name. measured: the quantities to record, name to meaning. rule: conditions over
    them (see `parse_condition`) for `reproduced` and, if there is one, `partly`; the first that holds is the verdict.
    revised: what was changed of claim, test or rule once there were results, why, and the verdict until then; empty
    where nothing was. not_testable: why there is no test; `test`, `measured`, `rule` and `revised` are empty then.
    """

    id: str
    report: str
    section: str
    notebook: str
    claim: str
    published: dict[str, str | float]
    test: str
    measured: dict[str, str]
    rule: dict[str, str]
    revised: str
    not_testable: str


@dataclass(frozen=True, repr=False)
class Verdict:
    """A claim beside one notebook run's measurements of it; shows itself in a notebook and as text.

    image: the name of the picture, None where the notebook takes none. commit: see `current_commit`. edition: of the
    notebook, as the batch has it (see `planning.edition`); None for a measurement outside of a batch. confirms: earlier
    editions with which this very run had measured the same, times left out and up to ROUNDING, and had this verdict.
    """

    claim: Claim
    measured: dict[str, float]
    profile: str
    seed: int
    image: str | None = None
    commit: str | None = None
    edition: str | None = None
    confirms: frozenset[str] = frozenset()

    @property
    def outcome(self) -> str:
        """`reproduced`, `partly`, `not reproduced` or `not testable here`."""
        return verdict(self.claim, self.measured)

    @property
    def run(self) -> str:
        """Which run it was: `mountains, seed 0`, or `seed 0`."""
        return f"{self.image}, seed {self.seed}" if self.image else f"seed {self.seed}"

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self._rows())

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th style='text-align: left'>{html.escape(name)}</th>"
            f"<td style='text-align: left'>{html.escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        return f"<table>{''.join(rows)}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        claim = self.claim
        rows = [("Claim", claim.claim), ("Source", f"{claim.report}, {claim.section}")]
        rows += [("Published", f"{name}: {figure_text(value)}") for name, value in claim.published.items()]
        if claim.not_testable:
            return [*rows, ("Verdict", f"{NOT_TESTABLE}: {claim.not_testable}")]
        rows.append(("Test", claim.test))
        rows += [
            ("Measured", f"{name} = {figure_text(self.measured[name])} ({meaning})")
            for name, meaning in claim.measured.items()
        ]
        rows.append(("Rule", "; ".join(f"{outcome} if {condition}" for outcome, condition in claim.rule.items())))
        rows += [("Revised", claim.revised)] if claim.revised else []
        rows.append((f"Verdict at profile {self.profile}, {self.run}", self.outcome))
        if self.profile == "smoke":
            rows.append(("Note", "The profile smoke only tests the code: its verdicts are no evidence."))
        return rows


@dataclass(frozen=True)
class Summary:
    """A claim over its runs at one profile: each quantity's mean and interval, and the verdict that most runs reach.

    runs: one per picture and seed, in this order; none when nothing has been measured.
    """

    claim: Claim
    runs: tuple[Verdict, ...]

    @property
    def pictures(self) -> dict[str | None, "Summary"]:
        """The runs of each picture, by its name."""
        names = dict.fromkeys(run.image for run in self.runs)
        return {name: Summary(self.claim, tuple(run for run in self.runs if run.image == name)) for name in names}

    @property
    def units(self) -> list[dict[str, float]]:
        """The independent measurements, in the order of the runs: those of each run of a single picture.

        Several pictures count alike, however many seeds each has: with them a unit is a picture, as the means over its
        runs, and the scatter says how much a quantity depends on the picture.
        """
        if len(pictures := self.pictures) > 1:
            return [_means(picture.measured) for picture in pictures.values()]
        return [run.measured for run in self.runs]

    @property
    def measured(self) -> dict[str, Interval]:
        """Each quantity's mean with its 95 % interval over the n units; empty without runs.

        One value has an infinite interval.
        """
        units = self.units
        return {name: confidence_interval([unit[name] for unit in units]) for name in self.claim.measured if units}

    @property
    def judged(self) -> bool:
        """Whether there is something to judge: a claim that can be tested, and a run that did."""
        return bool(self.runs) and not self.claim.not_testable

    @property
    def outcome(self) -> str:
        """The strongest verdict that more than half of the runs reach, one of OUTCOMES.

        That is the one in the middle, from `reproduced` down, of two the weaker. Several pictures count alike: then it
        is that of the pictures' own outcomes.

        It is not the rule's verdict on means over the runs: a rule asks for ends of intervals within a run, whose mean
        is the end of no interval, and one run far off moves a mean, but not the middle.
        """
        if not self.judged:
            return NOT_TESTABLE if self.claim.not_testable else NOT_MEASURED
        pictures = self.pictures
        units = pictures.values() if len(pictures) > 1 else self.runs
        ranked = sorted((unit.outcome for unit in units), key=OUTCOMES.index)
        return ranked[len(ranked) // 2]

    @property
    def beyond_scatter(self) -> bool | None:
        """Whether the outcome is more than the scatter of the units can explain; None below three units.

        A comparison of the rule is decided where its answer is the same over the whole 95 % interval of its margin, the
        difference of its sides in each unit. Where a side divides by zero, nothing is decided. An outcome is beyond the
        scatter if all comparisons of its condition are decided to hold, and in each condition before it, or in every
        one for `not reproduced`, at least one is decided to fail.
        """
        units = self.units
        if not self.judged or len(units) < 3:
            return None
        outcome = self.outcome
        for name, condition in self.claim.rule.items():
            decided = [_decided(each, units) for each in _comparisons(condition, self.claim.measured)]
            if name == outcome:
                return all(decided)
            if False not in decided:
                return False
        return True

    @property
    def agreement(self) -> str:
        """How many single runs have this outcome, and whether it is beyond the scatter; empty where nothing is judged.

        `in 1 run`, `in 2 of 2 runs`, `in 3 of 3 runs, beyond the scatter`, `in 2 of 3 runs (1 partly), within the
        scatter`, `in 3 of 3 runs, without scatter` where all of them measured the same.
        """
        if not self.judged:
            return ""
        if len(self.runs) == 1:
            return "in 1 run"
        single = Counter(run.outcome for run in self.runs)
        others = [f"{single[outcome]} {outcome}" for outcome in OUTCOMES if single[outcome] and outcome != self.outcome]
        text = f"in {single[self.outcome]} of {len(self.runs)} runs" + (f" ({', '.join(others)})" if others else "")
        if self.beyond_scatter is None:
            return text
        if all(unit == self.units[0] for unit in self.units):
            return text + ", without scatter"
        return text + (", beyond the scatter" if self.beyond_scatter else ", within the scatter")

    @property
    def disagreeing(self) -> bool:
        """Whether a single run has another outcome than all together."""
        return self.judged and any(run.outcome != self.outcome for run in self.runs)


def _means(measured: Mapping[str, Interval]) -> dict[str, float]:
    return {name: value.mean for name, value in measured.items()}


def _decided(comparison: "Comparison", units: list[dict[str, float]]) -> bool | None:
    """Whether a comparison holds (True) or fails (False) beyond the scatter of the units, None where it is open."""
    try:
        margin = confidence_interval([comparison.margin(unit) for unit in units])
        answers = {comparison.holds_by(margin.low), comparison.holds_by(margin.high)}
    except (ZeroDivisionError, SinGANError):  # the latter for a margin that is not finite
        return None
    return answers.pop() if len(answers) == 1 else None


def load_claims(path: Path | None = None) -> dict[str, Claim]:
    """All claims by their id, in the order of the file; path: default data/claims.yaml.

    Raises SinGANError that names the claim and the field for anything that does not fit: an unknown or missing field, a
    text that is none, a rule that `parse_condition` refuses or that uses a quantity which is not measured.
    """
    path = path or data_folder() / "claims.yaml"
    try:
        import yaml  # here, because only the course needs it
    except ImportError as error:
        raise SinGANError("Claims need the package pyyaml: pip install 'singan-core[course]'.") from error
    try:
        # The loader in C takes a tenth of the time, but PyYAML does not have it everywhere.
        safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        entries = yaml.load(path.read_text(encoding="utf-8"), Loader=safe)
    except OSError as error:
        raise SinGANError(f"Cannot read the claims in {path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SinGANError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(entries, list):
        raise SinGANError(f"{path} must be a list of claims, each starting with `- id: ...`.")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        claim = _checked_claim(entry, number)
        if claim.id in claims:
            raise SinGANError(f"Claim {claim.id}: the id is used twice, choose another one.")
        claims[claim.id] = claim
    return claims


def find_claim(claim_id: str) -> Claim:
    """The claim of data/claims.yaml with this id. Raises SinGANError that suggests a similar one if unknown."""
    claims = load_claims()
    if claim_id in claims:
        return claims[claim_id]
    close = difflib.get_close_matches(str(claim_id), claims, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "data/claims.yaml lists them."
    raise SinGANError(f"There is no claim {claim_id!r}: {hint}")


def verdict(claim: Claim, measured: Values) -> str:
    """The first outcome of the claim's rule whose condition holds for the measured values, else `not reproduced`.

    `not testable here` for a claim without a rule. Raises SinGANError for quantities that are missing, not declared or
    not finite, and for a rule that divides by zero.
    """
    if claim.not_testable:
        return NOT_TESTABLE
    values = _checked_values(claim, measured)
    for outcome, condition in claim.rule.items():
        try:
            holds = parse_condition(condition, claim.measured)(values)
        except ZeroDivisionError as error:
            raise SinGANError(f"Claim {claim.id}: {condition!r} divides by zero at {values}.") from error
        if holds:
            return outcome
    return NOT_REPRODUCED


def record(claim_id: str, /, *, profile: str | None, seed: int, image: str | None = None, **measured: float) -> Verdict:
    """Write what a notebook measured for a claim to figures/<profile>/results, and give the verdict to show.

    image: the name of the picture, in a notebook that has the parameter `image_name`. measured: the quantities that the
    claim declares, all of them and no others, as finite numbers (none for a claim that is not testable). An earlier
    result of the same claim, profile, seed and picture is replaced; where it had the same verdict and values, times
    left out, its edition is kept as confirmed.

    Raises SinGANError for an unknown claim, profile or quantity, and for a place that cannot be written.
    """
    claim = find_claim(claim_id)
    profile = resolve_profile(profile)
    _check_run(seed, image)
    edition = os.environ.get("SINGAN_EDITION") or None
    commit = current_commit(edition)
    found = Verdict(claim, _checked_values(claim, measured), profile, int(seed), image, commit, edition)
    found.outcome  # noqa: B018, a rule that cannot be computed fails before anything is written
    path = profile_folder(profile) / "results" / _file_name(found)
    found = replace(found, confirms=_confirmed_by(found, path))
    result = {
        "claim": claim.id,
        "profile": profile,
        "seed": found.seed,
        "image": image,
        "measured": found.measured,
        "torch": str(torch.__version__),
        "device": device_name(),
        "commit": found.commit,
        "edition": edition,
        "confirms": sorted(found.confirms),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_text(path, json.dumps(result, indent=2) + "\n")
    note_written(path)
    return found


def _confirmed_by(run: Verdict, path: Path) -> frozenset[str]:
    """The editions whose values a run has measured again: that of the result in its place, and those which that has."""
    try:
        before = _read_result(path, {run.claim.id: run.claim})
    except SinGANError:
        return frozenset()
    values = {name: value for name, value in run.measured.items() if not name.startswith(TIMES)}
    same = all(math.isclose(value, before.measured[name], rel_tol=ROUNDING) for name, value in values.items())
    same = same and run.outcome == before.outcome
    return (before.confirms | {before.edition}) - {run.edition, None} if same else frozenset()


def results(claim_id: str, profile: str | None) -> Summary:
    """What has been recorded for a claim at a profile, over all seeds and pictures.

    Files that do not fit the claim as it is now are left out. Raises SinGANError for an unknown claim or profile.
    """
    claim, profile = find_claim(claim_id), resolve_profile(profile)
    summaries, _ = read_results(profile_folder(profile) / "results", profile, [claim])
    return summaries[claim.id]


def over_runs(verdicts: Iterable[Verdict]) -> Table:
    """A row for each claim over all runs that are recorded for it, and below what the words mean.

    verdicts: those of one run, as `record` gave them: of their claims, at their profiles. Raises SinGANError for none.
    """
    rows = []
    for found in verdicts:
        summary = results(found.claim.id, found.profile)
        rows.append({"claim": found.claim.id, "verdict": summary.outcome, "runs": summary.agreement})
    most = "The verdict is the strongest one that more than half of all runs so far reach or surpass"
    return table(rows, note=f"{most}; beside it, how many have just this one. {SCATTER}")


def read_results(folder: Path, profile: str, claims: Iterable[Claim]) -> tuple[dict[str, Summary], dict[str, str]]:
    """The claims over the results in a folder, by id; and the files left out, by name, each with the reason.

    Left out are files that are damaged, of another profile or claim, or have other quantities than their claim now.
    """
    known = {claim.id: claim for claim in claims}
    runs: dict[str, list[Verdict]] = {name: [] for name in known}
    left_out = {}
    for path in sorted(folder.glob("*.json")):
        try:
            run = _read_result(path, known)
            if (run.profile, _file_name(run)) != (profile, path.name):
                raise SinGANError("its name or its folder is that of another result")
        except SinGANError as error:
            left_out[path.name] = str(error)
        else:
            runs[run.claim.id].append(run)
    ordered = {name: sorted(found, key=lambda run: (run.image or "", run.seed)) for name, found in runs.items()}
    return {name: Summary(known[name], tuple(found)) for name, found in ordered.items()}, left_out


def _read_result(path: Path, claims: Mapping[str, Claim]) -> Verdict:
    """A result file as a Verdict that can be computed, or SinGANError."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        claim, profile, seed, image, commit, measured = (result[name] for name in _RESULT)
        if claim not in claims:
            raise SinGANError(f"there is no claim {claim!r}")
        _check_run(seed, image)
        values = _checked_values(claims[claim], measured)
        confirms = frozenset(map(str, result.get("confirms", [])))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:  # the last for endless brackets
        raise SinGANError(f"it is damaged or by another version ({error!r})") from error
    texts = (None if text is None else str(text) for text in (commit, result.get("edition")))
    found = Verdict(claims[claim], values, str(profile), seed, image, *texts, confirms)
    found.outcome  # noqa: B018, divides by zero
    return found


def _file_name(run: Verdict) -> str:
    return "-".join(filter(None, [run.claim.id, run.image, f"seed{run.seed}.json"]))


def current_commit(edition: str | None = None) -> str | None:
    """The commit of the checkout that this code runs from, short, with `-dirty` where tracked files differ from it.

    Those in figures/ do not count: the notebooks write them. edition: of the notebook that runs (`planning.edition`).
    Where it is known, it says which code of the notebook ran, and those in notebooks/ do not count either: a batch
    writes them. None outside of a checkout and without git.
    """
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():  # or git would take any repository around an installed package
        return None

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        # without its optional locks, so that a commit that is made meanwhile is not turned away
        return subprocess.run(["git", "--no-optional-locks", *words], cwd=checkout, capture_output=True, text=True)

    try:
        commit = git("rev-parse", "--short", "HEAD")
        written = [":(exclude)figures"] + ([":(exclude)notebooks"] if edition else [])
        changed = git("diff", "--quiet", "--no-ext-diff", "HEAD", "--", ".", *written)
    except OSError:
        return None
    return None if commit.returncode else commit.stdout.strip() + ("-dirty" if changed.returncode else "")


def figure_text(value: str | float) -> str:
    """A published or measured figure as text, numbers to at least four digits."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 9_999.5 else f"{value:.4g}"


# -- rules


def parse_condition(condition: str, names: Mapping[str, Any]) -> Callable[[Values], bool]:
    """A condition such as `growth >= 1.5 and late - early > 0`, as a function of the quantities' values.

    Comparisons (<, <=, >, >=, also chained) joined by `and`; each side is built from numbers, the quantities in
    `names`, + - * / and parentheses. Everything else, calls and attributes among it, raises SinGANError: the text is
    taken apart and checked piece by piece, it is never run as code.
    """
    comparisons = _comparisons(condition, names)
    return lambda values: all(comparison(values) for comparison in comparisons)


_RISING, _FALLING = (ast.Lt, ast.LtE), (ast.Gt, ast.GtE)
_COMBINE = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


@dataclass(frozen=True)
class Comparison:
    """One `greater > smaller` of a condition, or `greater >= smaller` where it is not strict; called with values."""

    greater: Callable[[Values], float]
    smaller: Callable[[Values], float]
    strict: bool

    def __call__(self, values: Values) -> bool:
        greater, smaller = self.greater(values), self.smaller(values)
        return greater > smaller if self.strict else greater >= smaller

    def margin(self, values: Values) -> float:
        """By how much it holds; negative where it fails."""
        return self.greater(values) - self.smaller(values)

    def holds_by(self, margin: float) -> bool:
        """Whether it holds with this margin."""
        return margin > 0 if self.strict else margin >= 0


def _comparisons(condition: str, names: Mapping[str, Any]) -> list[Comparison]:
    """The comparisons of a condition, a chain taken apart into those of neighbours. Raises as `parse_condition`."""
    if not isinstance(condition, str) or len(condition) > 300:
        raise SinGANError(f"A condition is a text of at most 300 characters, got {str(condition)[:40]!r}.")
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SinGANError(f"{condition!r} is not a condition: write it like `a >= 0.5 and b < c`.") from error
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    return [comparison for part in parts for comparison in _parse_chain(part, names)]


def _parse_chain(node: ast.expr, names: Mapping[str, Any]) -> Iterator[Comparison]:
    if not isinstance(node, ast.Compare) or any(type(op) not in (*_RISING, *_FALLING) for op in node.ops):
        raise SinGANError(f"{ast.unparse(node)!r} is not a comparison with <, <=, > or >=.")
    sides = [_parse_side(side, names) for side in (node.left, *node.comparators)]
    for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
        greater, smaller = (right, left) if type(op) in _RISING else (left, right)
        yield Comparison(greater, smaller, strict=isinstance(op, ast.Lt | ast.Gt))


def _parse_side(node: ast.expr, names: Mapping[str, Any]) -> Callable[[Values], float]:
    match node:
        case ast.Constant(value=int() | float() as number) if type(number) is not bool and math.isfinite(number):
            return lambda values: float(number)
        case ast.Name(id=name) if name in names:
            return lambda values: values[name]
        case ast.Name(id=name):
            raise SinGANError(f"{name!r} is no measured quantity; there are {', '.join(names)}.")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _parse_side(operand, names)
            return lambda values: -inner(values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMBINE:
            combine, first, second = _COMBINE[type(op)], _parse_side(left, names), _parse_side(right, names)
            return lambda values: combine(first(values), second(values))
    raise SinGANError(f"{ast.unparse(node)!r} has no place in a condition: only numbers, quantities and + - * /.")


# -- checks


def _checked_claim(entry: Any, number: int) -> Claim:
    """One entry of the file as a Claim, or SinGANError."""
    if not isinstance(entry, dict):
        raise SinGANError(f"Claim number {number} must have fields, starting with `- id: ...`, got {entry!r}.")
    name = f"Claim {entry.get('id', f'number {number}')}"
    testable = "not_testable" not in entry
    needed = (*_ALWAYS, *(_TESTABLE if testable else ("not_testable",)))
    for field in entry:
        if field not in (allowed := (*needed, "published", *(["revised"] if testable else []))):
            why = "has no place beside not_testable" if field in (*_TESTABLE, "revised") else "is unknown"
            raise SinGANError(f"{name}: the field {field!r} {why}; the fields are {', '.join(allowed)}.")
    for field in needed:
        if field not in entry:
            raise SinGANError(f"{name}: the field {field!r} is missing.")
        if field not in ("measured", "rule") and not _is_text(entry[field]):
            raise SinGANError(f"{name}: the field {field!r} must be a text that is not empty, got {entry[field]!r}.")
    if not _ID.fullmatch(entry["id"]):
        raise SinGANError(f"{name}: the field 'id' must be lower-case words joined by hyphens.")
    if "revised" in entry and not _is_text(entry["revised"]):
        raise SinGANError(f"{name}: the field 'revised' must be a text that is not empty, got {entry['revised']!r}.")
    published = entry.get("published", {})
    if not _is_table(published, (str, int, float)):
        raise SinGANError(f"{name}: the field 'published' must map names to the report's figures, got {published!r}.")
    measured = entry.get("measured", {})
    if testable and (not _is_table(measured, str) or not measured):
        raise SinGANError(f"{name}: the field 'measured' must map each quantity to its meaning, got {measured!r}.")
    for quantity in measured:
        if not _QUANTITY.fullmatch(quantity) or keyword.iskeyword(quantity) or quantity in _NO_QUANTITY:
            raise SinGANError(f"{name}: 'measured' has {quantity!r}; take a name like `late_over_early`, no keyword.")
    rule = entry.get("rule", {})
    if testable and (not _is_table(rule, str) or list(rule) not in ([REPRODUCED], [REPRODUCED, PARTLY])):
        raise SinGANError(f"{name}: the field 'rule' must have `reproduced: ...` and may then have `partly: ...`.")
    for outcome, condition in rule.items():
        try:
            parse_condition(condition, measured)
        except SinGANError as error:
            raise SinGANError(f"{name}: the field 'rule', {outcome}: {error}") from error
    texts = {field: " ".join(entry.get(field, "").split()) for field in (*_ALWAYS, "test", "revised", "not_testable")}
    return Claim(**texts, published=published, measured=measured, rule=rule)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_table(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, dict) and all(
        _is_text(name) and isinstance(each, kinds) and not isinstance(each, bool) and each != ""
        for name, each in value.items()
    )


def _check_run(seed: Any, image: Any) -> None:
    checked_seed(seed)
    if image is not None and not (isinstance(image, str) and _IMAGE.fullmatch(image)):
        raise SinGANError(f"image must be a name of lower-case letters, digits, _ and -, or None; got {image!r}.")


def _checked_values(claim: Claim, measured: Values) -> dict[str, float]:
    """The measured values as floats, in the claim's order, or SinGANError."""
    if unknown := [name for name in measured if name not in claim.measured]:
        known = ", ".join(claim.measured) or "none: it is not testable"
        raise SinGANError(f"Claim {claim.id} has no quantity {unknown[0]!r}; it declares {known}.")
    values = {}
    for name in claim.measured:
        if name not in measured:
            raise SinGANError(f"Claim {claim.id} also needs the quantity {name!r}: {claim.measured[name]}.")
        value = measured[name]
        try:
            finite = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)
        except OverflowError:  # a whole number beyond what a float holds
            finite = False
        if not finite:
            raise SinGANError(f"Claim {claim.id}: {name} must be a finite number, got {value!r}.")
        values[name] = float(value)
    return values
