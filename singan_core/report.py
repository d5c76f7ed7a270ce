"""The pages over a batch of notebooks, to be read without a server: `report.html`, and in short `report.md`.

They show every claim with what was measured and the verdict, and of every notebook how its run went, its figures and
its tables. All of it is read from the files that the runs left behind, and equal files give equal pages.
"""

import contextlib
import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from singan_core.claims import OUTCOMES, SCATTER, Summary, figure_text, load_claims, read_results
from singan_core.errors import SinGANError
from singan_core.files import write_text
from singan_core.notebooks import (
    Outcome,
    code_cells,
    declared_parameters,
    read_notebook,
    read_outcome,
    title_and_question,
)

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined, Template
except ModuleNotFoundError as error:
    raise SinGANError(f"The report needs {error.name}: python -m pip install -e '.[course]'.") from error

SHORT = 170
"""Characters of a claim in the table of all claims; the notebook's section has the whole."""
LONG_TABLE = 12
"""Rows above which a notebook's table is folded."""


def write_report(folder: Path, profile: str) -> Path:
    """Write <folder>/report.html and report.md over all runs of a profile in a folder; give the path of the former.

    The folder holds executed copies in `notebooks`, figures NN_name.png, measurements in `results`, and a subfolder
    with copies and figures for each variant, a run with another seed or picture. Links are relative and nothing comes
    from the network, so the folder can be moved, zipped and read offline. What cannot be read is listed as left out.
    """
    report = _gather(folder, profile)
    page = _page().render(report=report, explanation=_EXPLANATION, outcomes=OUTCOMES, long_table=LONG_TABLE)
    write_text(folder / "report.html", page)
    write_text(folder / "report.md", "\n".join(_markdown(report)) + "\n")
    return folder / "report.html"


def minutes(seconds: float) -> str:
    """Seconds as minutes:seconds, or hours:minutes:seconds."""
    left, whole = divmod(round(seconds), 60)
    hours, left = divmod(left, 60)
    return f"{hours}:{left:02}:{whole:02}" if hours else f"{left}:{whole:02}"


# -- what the pages show


@dataclass(frozen=True)
class Run:
    """An executed copy. files: links to it by what they lead to, relative to the report.

    label: that of a variant; empty for the run with the notebook's own seed and picture, which alone has `cells`, those
    of the notebook, and `parameters`, its own.
    """

    outcome: Outcome
    label: str
    files: dict[str, str]
    cells: list[Any]
    parameters: dict[str, Any]

    @property
    def page(self) -> str:
        """Link to what is best read: the rendered copy, where it was written."""
        return next(iter(self.files.values()))


@dataclass(frozen=True)
class Picture:
    """A figure of a notebook. size: (width, height) in pixels, None where the file is damaged."""

    link: str
    caption: str
    size: tuple[int, int] | None

    @property
    def broad(self) -> bool:
        """Whether half of the page is too narrow for it."""
        return self.size is not None and self.size[0] > max(600, 2.4 * self.size[1])


@dataclass(frozen=True)
class Cells:
    """A table as texts. rows: the first one is the header. right: columns to set to the right, as numbers are."""

    rows: list[list[str]]
    right: list[bool]

    @property
    def broad(self) -> bool:
        """Whether half of the page is too narrow for it."""
        return sum(max(map(len, column)) for column in zip(*self.rows, strict=True)) > 55


@dataclass(frozen=True)
class Part:
    """What a notebook shows under one of its headings."""

    heading: str
    pictures: list[Picture]
    tables: list[Cells]


@dataclass(frozen=True)
class Section:
    """A notebook on the pages. own: the run with its own seed and picture, None where there are only others or none."""

    name: str
    title: str
    question: str
    own: Run | None
    variants: list[Run]
    parts: list[Part]
    claims: list[Summary]


@dataclass(frozen=True)
class Report:
    """Everything on the pages. problem: why there are no claims. left_out: files that cannot be read, and why."""

    profile: str
    sections: list[Section]
    claims: dict[str, list[Summary]]
    problem: str
    left_out: dict[str, str]

    @property
    def runs(self) -> list[Run]:
        return [run for section in self.sections for run in (section.own, *section.variants) if run]

    @property
    def outdated(self) -> dict[str, list[str]]:
        """Measurements that the last run of their notebook would not give again: notebook to the runs they are of.

        Since then that very run has failed, or the code of the notebook or of the package has become another edition,
        which has not measured the same for the claim with any seed and picture.
        """
        failed = {(each.name, each.seed, each.image) for each in (run.outcome for run in self.runs) if each.error}
        found: dict[str, list[str]] = {}
        for summary in self.summaries:
            name, editions = summary.claim.notebook, self._valid_editions(summary)
            for run in summary.runs:
                older = None not in (editions, run.edition) and run.edition not in editions
                if (older or (name, run.seed, run.image) in failed) and run.run not in found.setdefault(name, []):
                    found[name].append(run.run)
        return {name: runs for name, runs in found.items() if runs}

    @property
    def confirmed(self) -> int:
        """How many measurements are of an earlier edition, but stand: the latest one has measured the same."""
        stand = ((self._valid_editions(summary) or set(), summary) for summary in self.summaries)
        return sum(
            run.edition in editions and run.edition != self._latest_editions[summary.claim.notebook]
            for editions, summary in stand
            for run in summary.runs
        )

    @cached_property
    def _latest_editions(self) -> dict[str, str]:
        """That of the last run of each notebook."""
        runs = sorted(self.runs, key=lambda run: datetime.fromisoformat(run.outcome.finished))
        return {run.outcome.name: run.outcome.edition for run in runs}

    def _valid_editions(self, summary: Summary) -> set[str] | None:
        """Those whose measurements of a claim stand for the latest one: itself, and what a run with it has confirmed.

        None where there is no run of the notebook.
        """
        if (latest := self._latest_editions.get(summary.claim.notebook)) is None:
            return None
        return {latest}.union(*(run.confirms for run in summary.runs if run.edition == latest))

    @property
    def shown(self) -> list[str]:
        """Names of the notebooks that have a section."""
        return [section.name for section in self.sections]

    @property
    def summaries(self) -> list[Summary]:
        return [summary for group in self.claims.values() for summary in group]

    @property
    def judged(self) -> dict[str, list[Summary]]:
        """The claims of each report that have a verdict."""
        return {name: [each for each in group if each.judged] for name, group in self.claims.items()}

    @property
    def unjudged(self) -> dict[str, list[Summary]]:
        """The claims of each report that cannot be tested or are not measured yet."""
        return {name: [each for each in group if not each.judged] for name, group in self.claims.items()}

    @property
    def commits(self) -> list[str]:
        """The versions of the code that the runs and the measurements come from."""
        measured = [run.commit for summary in self.summaries for run in summary.runs]
        return sorted({commit or "unknown" for commit in [*(run.outcome.commit for run in self.runs), *measured]})

    @property
    def mixed(self) -> bool:
        """Whether a notebook's runs and measurements come from different code: commits differ, and editions may."""
        editions: dict[str, set[str]] = {}
        for run in self.runs:
            editions.setdefault(run.outcome.name, set()).add(run.outcome.edition)
        for summary in self.summaries:
            editions.setdefault(summary.claim.notebook, set()).update(run.edition or "" for run in summary.runs)
        return len(self.commits) > 1 and any(len(found) > 1 or "" in found for found in editions.values())

    def among(self, name: str) -> list[str]:
        """The different values of a field of the runs' outcomes."""
        return sorted({str(getattr(run.outcome, name)) for run in self.runs})


def _gather(folder: Path, profile: str) -> Report:
    left_out: dict[str, str] = {}
    own = {run.outcome.name: run for run in _runs(folder, "", left_out)}
    labels = sorted(path.parent.name for path in folder.glob("*/notebooks"))
    variants = [run for label in labels for run in _runs(folder, label, left_out)]
    variants.sort(key=lambda run: (run.outcome.image or "", run.outcome.seed or 0, run.label))
    try:
        claims, problem = load_claims(), ""
    except SinGANError as error:
        claims, problem = {}, str(error)
    summaries, unread = read_results(folder / "results", profile, claims.values())
    left_out |= {f"results/{name}": reason for name, reason in unread.items() if not problem}
    measured = {summary.claim.notebook for summary in summaries.values() if summary.runs}
    figures = sorted(path for path in folder.glob("*_*") if path.suffix in (".png", ".gif"))
    sections = [
        _section(
            name,
            own.get(name),
            [run for run in variants if run.outcome.name == name],
            [summary for summary in summaries.values() if summary.claim.notebook == name],
            [path for path in figures if path.name.startswith(f"{name[:2]}_")],
        )
        for name in sorted({*own, *(run.outcome.name for run in variants), *measured})
    ]
    groups: dict[str, list[Summary]] = {}
    for summary in summaries.values():
        groups.setdefault(summary.claim.report, []).append(summary)
    return Report(profile, sections, groups, problem, left_out)


def _runs(folder: Path, label: str, left_out: dict[str, str]) -> list[Run]:
    """The executed copies of the notebooks' own runs, or of the variant with this label."""
    runs = []
    for path in sorted((folder / label / "notebooks").glob("[!.]*.ipynb")):  # hidden ones are being written
        try:
            outcome, notebook = read_outcome(path), None if label else read_notebook(path)
        except SinGANError as error:
            left_out[path.relative_to(folder).as_posix()] = str(error).replace(f"{path} ", "it ")
            continue
        kinds = {"executed notebook": ".html", "as a file": ".ipynb", "log": ".log"}
        files = {kind: path.with_suffix(suffix) for kind, suffix in kinds.items()}
        links = {kind: _link(file.relative_to(folder)) for kind, file in files.items() if file.exists()}
        about = (notebook["cells"], declared_parameters(notebook)) if notebook else ([], {})
        runs.append(Run(outcome, label, links, *about))
    return runs


def _section(name: str, own: Run | None, variants: list[Run], claims: list[Summary], figures: list[Path]) -> Section:
    about = own or (variants[0] if variants else None)
    title, question = (about.outcome.title, about.outcome.question) if about else (name, "")
    parts = _parts(own.cells if own else [], figures)
    return Section(name, title, question, own, variants, parts, claims)


def _parts(cells: list[Any], figures: list[Path]) -> list[Part]:
    """Figures and tables in the notebook's order, under its headings; figures that it does not name come last."""
    parts, left = [Part("", [], [])], list(figures)
    for cell in cells:
        if cell["cell_type"] == "markdown" and (heading := title_and_question({"cells": [cell]}, "")[0]):
            parts.append(Part(heading, [], []))
        for runnable in code_cells({"cells": [cell]}):
            here = [path for path in left if re.search(rf"\b{re.escape(path.stem)}\b", runnable["source"])]
            left = [path for path in left if path not in here]
            parts[-1].pictures.extend(map(_picture, here))
            shown = [output.get("data", {}).get("text/html", "") for output in runnable["outputs"]]
            parts[-1].tables.extend(filter(None, map(read_table, shown)))
    parts.append(Part("Further figures" if len(left) < len(figures) else "", list(map(_picture, left)), []))
    return [part for part in parts if part.pictures or part.tables]


def _picture(path: Path) -> Picture:
    size = None
    with contextlib.suppress(OSError), Image.open(path) as image:
        size = image.size
    caption = path.stem[3:].replace("_", " ")
    return Picture(_link(Path(path.name)), caption[:1].upper() + caption[1:], size)


_CELL = r'<t{} style="text-align: (?:left|right)">[^<>]*</t{}>'
_TABLE = re.compile(
    rf"<table><thead><tr>(?:{_CELL.format('h', 'h')})+</tr></thead>"
    rf"<tbody>(?:<tr>(?:{_CELL.format('d', 'd')})+</tr>)*</tbody></table>"
)


def read_table(markup: str) -> Cells | None:
    """A table that `plots.table` wrote, taken out of its markup; None for any other markup."""
    if not _TABLE.fullmatch(markup):
        return None
    rows = re.findall(r"<tr>(.*?)</tr>", markup, re.DOTALL)
    texts = [[html.unescape(text) for text in re.findall(r">([^<>]*)</t[hd]>", row)] for row in rows]
    return Cells(texts, [side == "right" for side in re.findall(r"text-align: (\w+)", rows[0])])


# -- as text


def _link(path: Path) -> str:
    return quote(path.as_posix())


def _anchor(name: str, kind: str) -> str:
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"


def _measured_texts(summary: Summary) -> dict[str, str]:
    """Each quantity's mean with its interval, `0.5 [0.4, 0.6]`; with two values both of them, `0.5 (0.6, 0.4)`.

    One value, and equal values, stand alone.
    """
    units, texts = summary.units, {}
    for name, value in summary.measured.items():
        texts[name] = figure_text(value.mean)
        if value.n == 2 and value.low < value.high:  # Student's interval would be 13 times as wide as they are apart
            texts[name] += f" ({', '.join(figure_text(unit[name]) for unit in units)})"
        elif value.low < value.high and value.n > 2:
            texts[name] += f" [{figure_text(value.low)}, {figure_text(value.high)}]"
    return texts


def _words(quantity: str) -> str:
    return quantity.replace("_", " ")


def _shortened(text: str, characters: int = SHORT) -> str:
    if len(text) <= characters:
        return text
    return text[: characters - 1].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def _counts(summaries: Iterable[Summary]) -> dict[str, int]:
    """How many claims have each outcome, in the order of OUTCOMES."""
    found = Counter(summary.outcome for summary in summaries)
    return {outcome: found[outcome] for outcome in OUTCOMES}


def _without_verdict(summaries: list[Summary]) -> str:
    """`3 claims without a verdict: 1 not testable here, 2 not measured yet`."""
    counts = [f"{number} {outcome}" for outcome, number in _counts(summaries).items() if number]
    return f"{len(summaries)} claim{'s' * (len(summaries) != 1)} without a verdict: {', '.join(counts)}"


def _extent(summary: Summary) -> str:
    """`1 run`, `3 runs`, `6 runs, 2 pictures`."""
    runs, pictures = len(summary.runs), len(summary.pictures)
    return f"{runs} run{'s' * (runs != 1)}" + (f", {pictures} pictures" if pictures > 1 else "")


def _status(run: Run | None) -> str:
    if run is None:
        return "not run here"
    return "passed" if run.outcome.error is None else "failed"


def _moment(time: str) -> str:
    return time.replace("T", " ")[:16]


def _about(run: Run) -> list[str]:
    """The circumstances of a run, in short pieces; those of a variant begin with its label."""
    outcome = run.outcome
    pieces = [
        run.label,
        minutes(outcome.seconds),
        "image_name" in run.parameters and f"picture {run.parameters['image_name']}",
        "seed" in run.parameters and f"seed {run.parameters['seed']}",
        outcome.device,
        f"torch {outcome.torch}",
        outcome.commit and f"commit {outcome.commit}",
        _moment(outcome.finished),
    ]
    return [str(piece) for piece in pieces if piece]


def _differing(run: Run, section: Section) -> list[str]:
    """Label and time of a variant, and what else is not as in the notebook's own run."""
    label, time, *pieces = _about(run)
    own = _about(section.own) if section.own else []
    return [label, time, *(piece for piece in pieces if piece not in own)]


def _passed(runs: list[Run], what: str) -> str:
    return " ".join(f"{sum(run.outcome.error is None for run in runs)} of {len(runs)} {what} passed".split())


def _totals(report: Report) -> list[str]:
    """How the runs went, and where and when they were made."""
    own, variants = [run for run in report.runs if not run.label], [run for run in report.runs if run.label]
    times, commits = [_moment(time) for time in report.among("finished")], report.commits
    pieces = [
        _passed(own, "notebooks"),
        variants and _passed(variants, "runs with other seeds and pictures"),
        report.runs and f"{minutes(sum(run.outcome.seconds for run in report.runs))} of run time",
        " to ".join(dict.fromkeys([*times[:1], *times[-1:]])),
        *report.among("device"),
        *(f"torch {version}" for version in report.among("torch")),
        f"{len(commits)} commits" if len(commits) > 3 else commits and f"commit {', '.join(commits)}",
    ]
    return [str(piece) for piece in pieces if piece]


def _warnings(report: Report) -> list[str]:
    """What limits the worth of the numbers on the pages."""
    disagreeing = sum(summary.disagreeing for summary in report.summaries)
    open_ = sum(summary.beyond_scatter is False for summary in report.summaries)
    failed = sum(run.outcome.error is not None for run in report.runs)
    found = {
        "The profile smoke only tests the code: its pictures and numbers are no evidence.": report.profile == "smoke",
        "Runs and measurements come from several versions of the code.": report.mixed,
        "A commit with -dirty had changes that are in no commit.": any("-dirty" in name for name in report.commits),
        f"{failed} of the runs failed: their errors stand in the sections of the notebooks.": failed > 0,
        f"In {disagreeing} of the claims single runs have another verdict than all together.": disagreeing > 0,
        f"Further runs may change {open_} of the verdicts: those within the scatter.": open_ > 0,
        f"Measurements by earlier code: {report.confirmed}. They stand, for the latest has measured the same for their "
        "claims with another seed or picture.": report.confirmed > 0,
        f"Out of date, but counted: measurements of {_listed(report.outdated)}. The code behind them has changed "
        "since, or the run has failed. Run these again.": bool(report.outdated),
        f"The claims cannot be read: {report.problem}": bool(report.problem),
    }
    return [warning for warning, holds in found.items() if holds]


def _listed(outdated: dict[str, list[str]]) -> str:
    """`02_training_and_losses (mountains, seed 1; mountains, seed 2)`."""
    return ", ".join(f"{name} ({'; '.join(runs)})" for name, runs in outdated.items())


_EXPLANATION = (
    "A verdict is computed: the claim's rule is applied to the measured quantities of a run. The verdict over several "
    "runs is the strongest one that more than half of them reach or surpass, and beside it stands how many have just "
    "this one. Where claim, test or rule were changed once there were results, the claim says what and why.",
    "The values of several runs scatter: over the seeds of a picture, or, where there are several pictures, over the "
    "pictures' means. Square brackets hold the 95 % interval of the mean. Two values are too few for an interval: "
    "round brackets hold both of them, in the order of the runs. A single value stands alone.",
    SCATTER,
)


# -- report.md


def _markdown(report: Report) -> list[str]:
    """The lines of report.md: all verdicts with their numbers, then how each notebook's run went."""
    lines = [
        f"# SinGAN at profile {_md(report.profile)}: claims and measurements",
        "",
        _md(" · ".join(_totals(report))),
    ]
    for warning in _warnings(report):
        lines += ["", f"**{_md(warning)}**"]
    lines += ["", "## Verdicts", ""]
    for paragraph in _EXPLANATION:
        lines += [_md(paragraph), ""]
    counts = [[_md(name), *map(str, _counts(group).values())] for name, group in report.claims.items()]
    lines += _md_table(["report", *OUTCOMES], [*counts, ["all", *map(str, _counts(report.summaries).values())]])
    for name in report.claims:
        lines += [f"### {_md(name)}", ""]
        if judged := report.judged[name]:
            lines += _md_table(["claim", "published", "measured", "verdict"], map(_md_claim, judged))
        if unjudged := report.unjudged[name]:
            lines += [f"{_without_verdict(unjudged)}:", "", *map(_md_unjudged, unjudged), ""]
    lines += ["## Notebooks", ""]
    for section in report.sections:
        lines += _md_section(section)
    if report.left_out:
        lines += ["## Left out", "", *(f"- {_md(f'{name}: {why}')}" for name, why in report.left_out.items()), ""]
    return lines[:-1]


def _md_claim(summary: Summary) -> list[str]:
    claim = summary.claim
    return [
        _md(f"{_shortened(claim.claim)} ({claim.notebook[:2]})"),
        "<br>".join(_md(f"{name}: {figure_text(value)}") for name, value in claim.published.items()),
        "<br>".join(_md(f"{_words(name)} {text}") for name, text in _measured_texts(summary).items()),
        f"**{summary.outcome}** {summary.agreement}",
    ]


def _md_unjudged(summary: Summary) -> str:
    claim, why = summary.claim, f"**{summary.outcome}**"
    if claim.not_testable:
        why += f": {_md(claim.not_testable)}"
    return f"- {_md(f'{_shortened(claim.claim)} ({claim.notebook[:2]})')} {why}"


def _md_section(section: Section) -> list[str]:
    title = _md(section.title)
    lines = [f"### {f'[{title}]({section.own.page})' if section.own else title}", ""]
    if section.question:
        lines += [_md(section.question), ""]
    lines += [_md_run(section.own, _about(section.own)) if section.own else f"**{_status(None)}**", ""]
    figures = [f"[{_md(picture.caption)}]({picture.link})" for part in section.parts for picture in part.pictures]
    if figures:
        lines += [f"Figures: {', '.join(figures)}", ""]
    for run in section.variants:
        lines.append(f"- [{_md(run.label)}]({run.page}): {_md_run(run, _differing(run, section)[1:])}")
    return [*lines, ""] if section.variants else lines


def _md_run(run: Run, pieces: list[str]) -> str:
    status = f"**{_status(run)}**" + (f" with {_md(run.outcome.error)}" if run.outcome.error else "")
    return " · ".join([status, *map(_md, pieces)])


def _md(text: str) -> str:
    """A text on one line that Markdown shows as it is, also in a cell of a table."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def _md_table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


# -- report.html


def _single_runs(summary: Summary) -> Cells:
    """The measurements of every run, as a table."""
    quantities = list(summary.claim.measured)
    rows = [
        [run.run, *(figure_text(run.measured[name]) for name in quantities), run.outcome, run.commit or "unknown"]
        for run in summary.runs
    ]
    header = ["run", *map(_words, quantities), "verdict", "commit"]
    return Cells([header, *rows], [False, *(True for _ in quantities), False, False])


def _page() -> Template:
    """The template of report.html, with the functions of this module as its filters."""
    environment = Environment(
        loader=PackageLoader("singan_core"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "about": _about,
        "anchor": _anchor,
        "counts": _counts,
        "differing": _differing,
        "extent": _extent,
        "figure": figure_text,
        "measured": _measured_texts,
        "minutes": minutes,
        "passed": _passed,
        "shortened": _shortened,
        "single_runs": _single_runs,
        "status": _status,
        "totals": _totals,
        "warnings": _warnings,
        "without_verdict": _without_verdict,
        "words": _words,
    }
    return environment.get_template("report.html")
