"""The page over a batch of notebooks: figures, run times, measured claims and verdicts, readable without a server."""

import contextlib
import html
import json
from pathlib import Path

from singan_core.claims import NOT_TESTABLE, Claim, Verdict, load_claims
from singan_core.errors import SinGANError
from singan_core.files import write_text
from singan_core.notebooks import Outcome, read_outcome

STYLE = """
:root { color-scheme: light dark;
  --ink: #222; --soft: #666; --line: #ddd; --paper: #fdfdfb; --bad: #a3241d; --good: #1d6b3a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --soft: #999; --line: #444; --paper: #1b1b1b; --bad: #f08a80; --good: #7cc796; }
}
body { margin: 0 auto; max-width: 46rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1.05rem/1.55 Georgia, "Times New Roman", serif; overflow-wrap: break-word; }
h1, h2 { line-height: 1.2; font-weight: normal; }
h1 { font-size: 1.9rem; } h2 { font-size: 1.35rem; margin: 3rem 0 0.3rem; }
a { color: inherit; }
.about, footer, table, nav { font-family: system-ui, sans-serif; font-size: 0.85rem; }
.about, footer { color: var(--soft); }
.question { font-style: italic; margin: 0.3rem 0; }
.passed { color: var(--good); } .failed { color: var(--bad); }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; }
figcaption { font-family: system-ui, sans-serif; font-size: 0.8rem; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.8rem 0.35rem 0;
  border-bottom: 1px solid var(--line); }
td.time { text-align: right; white-space: nowrap; }
footer { margin-top: 4rem; border-top: 1px solid var(--line); padding-top: 1rem; }
"""


def write_index(folder: Path, profile: str) -> Path:
    """Write <folder>/index.html over all executed copies, figures and measured results in a folder; give its path.

    Links are relative and nothing comes from the network, so the folder can be moved, zipped and read offline.
    """
    outcomes = []
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        with contextlib.suppress(SinGANError):  # a copy by another version is left out until it is run again
            outcomes.append(read_outcome(path))
    figures = sorted(path.name for path in folder.glob("*") if path.suffix in (".png", ".gif"))
    failed = sum(outcome.error is not None for outcome in outcomes)
    total = sum(outcome.seconds for outcome in outcomes)
    parts = [
        f"<h1>SinGAN: results at profile {html.escape(profile)}</h1>",
        f"<p class='about'>{len(outcomes) - failed} of {len(outcomes)} notebooks passed, {minutes(total)} in all.</p>",
    ]
    if profile == "smoke":
        parts.append("<p>The profile smoke only tests the code: its pictures and numbers are no evidence.</p>")
    rows = "".join(
        f"<tr><td><a href='#{_escaped(outcome.name)}'>{_escaped(outcome.title)}</a></td><td>{_status(outcome)}</td>"
        f"<td class='time'>{minutes(outcome.seconds)}</td></tr>"
        for outcome in outcomes
    )
    parts.append(f"<nav><table>{rows}</table></nav>")
    parts += [_section(outcome, figures) for outcome in outcomes]
    parts.append(_claims_table(folder / "results", profile, [outcome.name for outcome in outcomes]))
    parts.append(
        "<footer>This page and the figures work offline. The notebooks' pages load MathJax from the network to set "
        "formulas; without it formulas stand there as LaTeX.</footer>"
    )
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>SinGAN: {html.escape(profile)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def minutes(seconds: float) -> str:
    """Seconds as minutes:seconds, or hours:minutes:seconds."""
    left, whole = divmod(round(seconds), 60)
    hours, left = divmod(left, 60)
    return f"{hours}:{left:02}:{whole:02}" if hours else f"{left}:{whole:02}"


def _section(outcome: Outcome, figures: list[str]) -> str:
    """A notebook on the page: title, question, how the run went, its figures."""
    name = _escaped(outcome.name)
    own = [figure for figure in figures if figure.startswith(f"{outcome.name[:2]}_")]
    when = outcome.finished.replace("T", " ")[:16]
    where = (minutes(outcome.seconds), outcome.device, f"profile {outcome.profile}", f"torch {outcome.torch}", when)
    about = (_status(outcome), *map(_escaped, where), f"<a href='notebooks/{name}.ipynb'>notebook file</a>")
    question = f"<p class='question'>{_escaped(outcome.question)}</p>" if outcome.question else ""
    error = f"<p class='failed'>{_escaped(outcome.error)}</p>" if outcome.error else ""
    return (
        f"<section id='{name}'><h2><a href='notebooks/{name}.html'>{_escaped(outcome.title)}</a></h2>"
        f"{question}<p class='about'>{' · '.join(about)}</p>{error}{''.join(map(_figure, own))}</section>"
    )


def _figure(name: str) -> str:
    caption = _escaped(Path(name).stem[3:].replace("_", " "))
    return (
        f"<figure><a href='{_escaped(name)}'><img src='{_escaped(name)}' alt='Figure: {caption}' loading='lazy'></a>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _status(outcome: Outcome) -> str:
    word = "passed" if outcome.error is None else "failed"
    return f"<span class='{word}'>{word}</span>"


def _claims_table(results: Path, profile: str, notebooks: list[str]) -> str:
    """The claims of these notebooks, and all that were measured, with the verdicts as the rules give them now."""
    try:
        claims = load_claims()
    except SinGANError as error:
        return f"<h2>Claims</h2><p class='failed'>{_escaped(str(error))}</p>" if results.is_dir() else ""
    found: dict[str, list[Verdict]] = {}
    for path in sorted(results.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            verdict = Verdict(claims[result["claim"]], result["measured"], profile, result["seed"])
            verdict.outcome  # noqa: B018, raises for quantities that do not fit the claim any more
        except (OSError, ValueError, KeyError, TypeError, SinGANError):
            continue  # of a claim that has changed since: its notebook has to run again
        found.setdefault(verdict.claim.id, []).append(verdict)
    rows = [
        _claim_row(claim, found.get(claim.id, []))
        for claim in claims.values()
        if claim.id in found or claim.notebook in notebooks
    ]
    head = "<tr><th>Claim</th><th>Measured</th><th>Verdict</th></tr>"
    return f"<h2>Claims</h2><div class='wide'><table>{head}{''.join(rows)}</table></div>" if rows else ""


def _claim_row(claim: Claim, verdicts: list[Verdict]) -> str:
    measured = [
        f"{name} = {value:.4g}" + (f" (seed {verdict.seed})" if len(verdicts) > 1 else "")
        for verdict in verdicts
        for name, value in verdict.measured.items()
    ]
    outcomes = list(dict.fromkeys(verdict.outcome for verdict in verdicts))
    if claim.not_testable:
        outcomes = [f"{NOT_TESTABLE}: {claim.not_testable}"]
    return (
        f"<tr><td>{_escaped(claim.claim)}<br><small>{_escaped(f'{claim.report}, {claim.section}')}</small></td>"
        f"<td>{'<br>'.join(map(_escaped, measured))}</td>"
        f"<td>{'<br>'.join(map(_escaped, outcomes)) or 'not measured yet'}</td></tr>"
    )


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
