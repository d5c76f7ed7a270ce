"""The checkable claims of the reports, and verdicts that are computed from measurements, never typed in.

data/claims.yaml holds the claims, each with the quantities a notebook measures and a rule over them. A notebook calls
`record`; what it measured goes to figures/<profile>/results, and the verdict follows from it whenever it is asked for.
"""

import ast
import difflib
import html
import json
import keyword
import math
import numbers
import operator
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from singan_core.config import resolve_profile
from singan_core.errors import SinGANError
from singan_core.files import write_text
from singan_core.images import data_folder
from singan_core.plots import figures_folder

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly", "not reproduced"
NOT_TESTABLE = "not testable here"

Values = Mapping[str, float]

_ALWAYS = ("id", "report", "section", "notebook", "claim")
_TESTABLE = ("test", "measured", "rule")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_QUANTITY = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Claim:
    """What a report claims, in our own words, and how it is tested.

    published: the report's figures by name. measured: the quantities to record, name to meaning. rule: conditions over
    them (see `parse_condition`) for `reproduced` and, if there is one, `partly`; the first that holds is the verdict.
    not_testable: why there is no test; `test`, `measured` and `rule` are empty then.
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
    not_testable: str


@dataclass(frozen=True, repr=False)
class Verdict:
    """A claim beside one notebook run's measurements of it; shows itself in a notebook and as text."""

    claim: Claim
    measured: dict[str, float]
    profile: str
    seed: int

    @property
    def outcome(self) -> str:
        """`reproduced`, `partly`, `not reproduced` or `not testable here`."""
        return verdict(self.claim, self.measured)

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
        rows += [("Published", f"{name}: {_figure(value)}") for name, value in claim.published.items()]
        if claim.not_testable:
            return [*rows, ("Verdict", f"{NOT_TESTABLE}: {claim.not_testable}")]
        rows.append(("Test", claim.test))
        rows += [
            ("Measured", f"{name} = {_figure(self.measured[name])} ({meaning})")
            for name, meaning in claim.measured.items()
        ]
        rows.append(("Rule", "; ".join(f"{outcome} if {condition}" for outcome, condition in claim.rule.items())))
        rows.append((f"Verdict at profile {self.profile}, seed {self.seed}", self.outcome))
        if self.profile == "smoke":
            rows.append(("Note", "The profile smoke only tests the code: its verdicts are no evidence."))
        return rows


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
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
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


def record(claim_id: str, /, *, profile: str | None, seed: int, **measured: float) -> Verdict:
    """Write what a notebook measured for a claim to figures/<profile>/results, and give the verdict to show.

    measured: the quantities that the claim declares, all of them and no others, as finite numbers (none for a claim
    that is not testable). An earlier result of the same claim, profile and seed is replaced.

    Raises SinGANError for an unknown claim, profile or quantity, and for a place that cannot be written.
    """
    claim = find_claim(claim_id)
    profile = resolve_profile(profile)
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise SinGANError(f"seed must be a whole number from 0 on, got {seed!r}.")
    found = Verdict(claim, _checked_values(claim, measured), profile, int(seed))
    found.outcome  # noqa: B018, a rule that cannot be computed fails before anything is written
    result = {
        "claim": claim.id,
        "profile": profile,
        "seed": found.seed,
        "measured": found.measured,
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_text(_results_folder(profile) / f"{claim.id}-seed{found.seed}.json", json.dumps(result, indent=2) + "\n")
    return found


def results(claim_id: str, profile: str | None) -> list[Verdict]:
    """What has been recorded for a claim at a profile, one entry per seed, in order of the seeds; may be empty.

    Raises SinGANError for an unknown claim or profile, for a damaged result, and for one whose quantities are not those
    that the claim declares now.
    """
    claim, profile = find_claim(claim_id), resolve_profile(profile)
    pattern = re.compile(re.escape(claim.id) + r"-seed(\d+)\.json")
    found = []
    for path in _results_folder(profile).glob(f"{claim.id}-seed*.json"):
        if not (match := pattern.fullmatch(path.name)):
            continue
        try:
            measured = json.loads(path.read_text(encoding="utf-8"))["measured"]
            found.append(Verdict(claim, _checked_values(claim, measured), profile, int(match[1])))
        except (OSError, ValueError, KeyError, TypeError, SinGANError) as error:
            raise SinGANError(f"{path} is no result of this claim ({error}). Run {claim.notebook} again.") from error
    return sorted(found, key=lambda result: result.seed)


# -- rules


def parse_condition(condition: str, names: Mapping[str, Any]) -> Callable[[Values], bool]:
    """A condition such as `growth >= 1.5 and late - early > 0`, as a function of the quantities' values.

    Comparisons (<, <=, >, >=, also chained) joined by `and`; each side is built from numbers, the quantities in
    `names`, + - * / and parentheses. Everything else, calls and attributes among it, raises SinGANError: the text is
    taken apart and checked piece by piece, it is never run as code.
    """
    if not isinstance(condition, str) or len(condition) > 300:
        raise SinGANError(f"A condition is a text of at most 300 characters, got {str(condition)[:40]!r}.")
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SinGANError(f"{condition!r} is not a condition: write it like `a >= 0.5 and b < c`.") from error
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    comparisons = [_parse_comparison(part, names) for part in parts]
    return lambda values: all(comparison(values) for comparison in comparisons)


_COMPARE = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_COMBINE = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def _parse_comparison(node: ast.expr, names: Mapping[str, Any]) -> Callable[[Values], bool]:
    if not isinstance(node, ast.Compare) or any(type(op) not in _COMPARE for op in node.ops):
        raise SinGANError(f"{ast.unparse(node)!r} is not a comparison with <, <=, > or >=.")
    compare = [_COMPARE[type(op)] for op in node.ops]
    sides = [_parse_side(side, names) for side in (node.left, *node.comparators)]

    def comparison(values: Values) -> bool:
        found = [side(values) for side in sides]
        return all(op(a, b) for op, a, b in zip(compare, found, found[1:], strict=False))

    return comparison


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
        if field not in (*needed, "published"):
            why = "has no place beside not_testable" if field in _TESTABLE else "is unknown"
            raise SinGANError(f"{name}: the field {field!r} {why}; the fields are {', '.join(needed)}, published.")
    for field in needed:
        if field not in entry:
            raise SinGANError(f"{name}: the field {field!r} is missing.")
        if field not in ("measured", "rule") and not _is_text(entry[field]):
            raise SinGANError(f"{name}: the field {field!r} must be a text that is not empty, got {entry[field]!r}.")
    if not _ID.fullmatch(entry["id"]):
        raise SinGANError(f"{name}: the field 'id' must be lower-case words joined by hyphens.")
    published = entry.get("published", {})
    if not _is_table(published, (str, int, float)):
        raise SinGANError(f"{name}: the field 'published' must map names to the report's figures, got {published!r}.")
    measured = entry.get("measured", {})
    if testable and (not _is_table(measured, str) or not measured):
        raise SinGANError(f"{name}: the field 'measured' must map each quantity to its meaning, got {measured!r}.")
    for quantity in measured:
        if not _QUANTITY.fullmatch(quantity) or keyword.iskeyword(quantity) or quantity in ("profile", "seed"):
            raise SinGANError(f"{name}: 'measured' has {quantity!r}; take a name like `late_over_early`, no keyword.")
    rule = entry.get("rule", {})
    if testable and (not _is_table(rule, str) or list(rule) not in ([REPRODUCED], [REPRODUCED, PARTLY])):
        raise SinGANError(f"{name}: the field 'rule' must have `reproduced: ...` and may then have `partly: ...`.")
    for outcome, condition in rule.items():
        try:
            parse_condition(condition, measured)
        except SinGANError as error:
            raise SinGANError(f"{name}: the field 'rule', {outcome}: {error}") from error
    texts = {field: " ".join(entry.get(field, "").split()) for field in (*_ALWAYS, "test", "not_testable")}
    return Claim(**texts, published=published, measured=measured, rule=rule)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_table(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, dict) and all(
        _is_text(name) and isinstance(each, kinds) and not isinstance(each, bool) and each != ""
        for name, each in value.items()
    )


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
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise SinGANError(f"Claim {claim.id}: {name} must be a finite number, got {value!r}.")
        values[name] = float(value)
    return values


def _results_folder(profile: str) -> Path:
    return figures_folder(profile) / "results"


def _figure(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
