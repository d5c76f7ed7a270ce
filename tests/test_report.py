"""The report: what its two pages show of a folder of runs, that they show nothing else, and where their links lead."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from PIL import Image

from singan_core.notebooks import Outcome
from singan_core.plots import table
from singan_core.report import LONG_TABLE, minutes, read_table, write_report
from tests.series import leave_copy

CLAIMS = """
- {id: x-more, report: Report <X>, section: A, notebook: 03_sweep, claim: More is <more>., test: It is tested.,
   published: {ratio of both: 1.75}, measured: {the_ratio: one over the other},
   rule: {reproduced: the_ratio > 2, partly: the_ratio > 1}}
- {id: x-taste, report: Report <X>, section: B, notebook: 03_sweep, claim: It is pretty., not_testable: a taste}
- {id: y-open, report: Other report, section: C, notebook: 03_sweep, claim: Nobody has measured this., test: t,
   measured: {a: b}, rule: {reproduced: a > 0}}
- {id: y-other, report: Other report, section: D, notebook: 09_other, claim: Of a notebook without a run., test: t,
   measured: {a: b}, rule: {reproduced: a > 0}}
"""
HOSTILE = "<script>alert('x')</script>"
OUTCOME = Outcome(
    name="03_sweep",
    title="03 Sweep <wide>: and more",
    question="Does it *run*, with $x^2$?",
    error=None,
    seconds=61.0,
    finished="2026-01-02T03:04:05+00:00",
    profile="laptop",
    seed=None,
    image=None,
    device="CPU of a test",
    torch="2.9.9",
    commit="abc1234",
    pyramids={},
    retrained=False,
    files={},
    cells="",
    edition="e",
    fingerprint="f",
)
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a page loads, links to and names; fails where its tags are not balanced."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        assert tag not in ("script", "link", "iframe", "object") and not any(name.startswith("on") for name in values)
        self.linked += [values["href"]] if "href" in values else []
        self.loaded += [values["src"]] if "src" in values else []
        self.ids += [values["id"]] if "id" in values else []
        self.images += [values] if tag == "img" else []
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a profile's results, with four claims in the data folder."""
    (tmp_path / "claims.yaml").write_text(CLAIMS, encoding="utf-8")
    monkeypatch.setenv("SINGAN_DATA", str(tmp_path))
    (tmp_path / "laptop").mkdir()
    return tmp_path / "laptop"


def run(folder: Path, *cells: nbformat.NotebookNode, label: str = "", **changes: Any) -> Path:
    """Leave an executed copy and its page, as a run does."""
    outcome = replace(OUTCOME, **changes)
    path = leave_copy(folder / label / "notebooks" / f"{outcome.name}.ipynb", outcome, *cells)
    path.with_suffix(".html").write_text("page")
    return path


def measure(
    folder: Path,
    ratio: float,
    seed: int = 0,
    image: str | None = None,
    commit: str | None = "abc1234",
    claim: str = "x-more",
    edition: str | None = None,
    confirms: tuple[str, ...] = (),
) -> None:
    """Leave the measurement of one run for the claim x-more, or another one of the same quantity."""
    result = {"claim": claim, "profile": "laptop", "seed": seed, "image": image, "commit": commit, "edition": edition}
    result["confirms"] = confirms
    name = "-".join(filter(None, [claim, image, f"seed{seed}.json"]))
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / name).write_text(json.dumps(result | {"measured": {"the_ratio": ratio}}))


def figure(folder: Path, name: str, size: tuple[int, int] = (40, 30)) -> None:
    Image.new("RGB", size).save(folder / name)


def shown(markup: str) -> nbformat.NotebookNode:
    return new_code_cell("table(rows)", outputs=[new_output("display_data", {"text/html": markup})])


def pages(folder: Path, profile: str = "laptop") -> tuple[str, str]:
    """The texts of report.html and report.md, written anew."""
    path = write_report(folder, profile)
    return path.read_text(encoding="utf-8"), path.with_suffix(".md").read_text(encoding="utf-8")


def words(markup: str) -> str:
    """The text of a piece of HTML, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def row(page: str, text: str) -> str:
    """The words of the only row of a table of claims that has this text."""
    rows = [part.split("</tr>")[0] for part in page.split('<tr role="row">')]
    (found,) = [part for part in rows if text in part]
    return words(found)


# -- the page as a file


def test_links_lead_to_files_of_the_folder_and_to_places_on_the_page(folder):
    run(folder).with_suffix(".log").write_text("log")
    run(folder, label="peaks-seed1", image="peaks", seed=1)
    run(folder, name="04 odd #1 <name>", error="no")
    measure(folder, 3.0)
    figure(folder, "03_a_curve.png")
    figure(folder, "03_100%_#1.png")
    text, _ = pages(folder)
    page = Page(text)
    files = [unquote(link) for link in page.linked + page.loaded if not link.startswith("#")]
    assert all((folder / file).is_file() for file in files)
    assert {f"notebooks/03_sweep.{kind}" for kind in ("html", "ipynb", "log")} <= set(files)
    assert {"peaks-seed1/notebooks/03_sweep.html", "03_a_curve.png", "report.md"} <= set(files)
    places = [link[1:] for link in page.linked if link.startswith("#")]
    assert set(places) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_markdown_links_lead_to_files_of_the_folder(folder):
    run(folder)
    run(folder, label="seed1", seed=1)
    figure(folder, "03_a_curve.png")
    _, text = pages(folder)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {"notebooks/03_sweep.html", "seed1/notebooks/03_sweep.html", "03_a_curve.png"} == set(links)


def test_nothing_comes_from_the_network(folder):
    run(folder)
    figure(folder, "03_a_curve.png")
    text, _ = pages(folder)
    assert "://" not in text
    assert "@import" not in text and "url(" not in text


def test_wide_tables_scroll_in_a_box_of_their_own(folder):
    """But the lists of claims, whose rows become blocks on a narrow screen."""
    run(folder, shown(OWN))
    measure(folder, 3.0)
    text, _ = pages(folder)
    tables = re.findall(r'(<div class="wide">)?<table(?: class="(\w+)")?', text)
    assert {name for _, name in tables} >= {"claims", "counts", "measures", ""}
    assert all(bool(box) is (name != "claims") for box, name in tables)


def test_equal_files_give_equal_pages(folder):
    run(folder)
    run(folder, label="seed1", seed=1)
    measure(folder, 3.0)
    figure(folder, "03_a_curve.png")
    assert pages(folder) == pages(folder)


def test_empty_folder_gives_a_page_of_claims(folder):
    page, text = pages(folder)
    Page(page)
    assert "0 of 0 notebooks passed" in page and "0 of 0 notebooks passed" in text
    assert "not measured yet" in row(page, "More is &lt;more&gt;.")


def test_hostile_texts_are_shown_and_not_obeyed(folder, tmp_path):
    claims = CLAIMS.replace("Nobody has measured this.", HOSTILE).replace("section: A", f'section: "{HOSTILE}"')
    (tmp_path / "claims.yaml").write_text(claims, encoding="utf-8")
    run(folder, new_markdown_cell(f"# {HOSTILE}"), shown(HOSTILE), title=HOSTILE, question=HOSTILE, error=HOSTILE)
    run(folder, label="'><script>", seed=1, device=HOSTILE, commit=HOSTILE)
    measure(folder, 1.5, commit=HOSTILE)
    figure(folder, "03_'><script>.png")
    page, text = pages(folder)
    assert len(Page(page).images) == 1  # and no script: the reader would have failed
    assert "<script" not in text


# -- notebooks


def test_a_run_is_told_with_its_circumstances(folder):
    parameters = 'profile = None\nseed = 7\nimage_name = "peaks"'
    run(folder, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    page, text = pages(folder)
    assert "03 Sweep &lt;wide&gt;: and more" in page and "03 Sweep &lt;wide>: and more" in text
    for part in ("1:01 · picture peaks · seed 7 · CPU of a test · torch 2.9.9", "2026-01-02 03:04", "commit abc1234"):
        assert part in text and all(piece in page for piece in part.split(" · "))
    assert "1 of 1 notebooks passed" in page and "1 of 1 notebooks passed" in text
    assert "Does it *run*, with $x^2$?" in page


def test_a_failure_is_counted_marked_and_explained(folder):
    run(folder)
    run(folder, name="04_fails", title="04 Fails", error="cell [3]: ValueError: 1 < 2")
    page, text = pages(folder)
    assert "1 of 2 notebooks passed" in page and "1 of 2 notebooks passed" in text
    assert "cell [3]: ValueError: 1 &lt; 2" in page
    assert "**failed** with cell \\[3\\]: ValueError: 1 &lt; 2" in text
    assert "1 of the runs failed" in page
    assert page.count("may be of an earlier run") == 1


def test_runs_with_other_seeds_and_pictures_have_a_line_each(folder):
    run(folder)
    run(folder, label="seed10", seed=10)
    run(folder, label="seed2", seed=2, seconds=63.0, error="cell [1]: KeyError: 'x'")
    page, text = pages(folder)
    lines = [words(line) for line in re.findall(r"<li>(<p class=\"about\">.*?)</li>", page, re.DOTALL)]
    assert [line.split()[1] for line in lines] == ["seed2", "seed10"]
    assert lines[0].startswith("failed seed2 1:03 ") and "KeyError" in lines[0]
    assert lines[1] == "passed seed10 1:01 executed notebook as a file"  # all else is as in the own run
    assert "1 of 2 runs with other seeds and pictures passed" in page
    assert "- [seed10](seed10/notebooks/03_sweep.html): **passed** · 1:01\n" in text


def test_notebook_of_which_only_other_seeds_ran_is_there_too(folder):
    run(folder, label="seed1", seed=1)
    page, text = pages(folder)
    assert "not run here with its own seed and picture" in words(page)
    assert "### 03 Sweep" in text and "**not run here**" in text


def test_figures_stand_in_the_notebooks_order_under_its_headings(folder):
    for name in ("03_curve.png", "03_curve_long.png", "03_before.png", "03_unnamed.png", "04_other.png"):
        figure(folder, name)
    run(
        folder,
        new_markdown_cell("# 03 Sweep"),
        new_markdown_cell("Text.\n\n## The `long` one"),
        new_code_cell('save_figure(figure, "03_curve_long", profile)'),
        new_markdown_cell("No heading."),
        new_code_cell('save_figure(figure, "03_curve", profile)'),
        new_markdown_cell("## Before"),
        new_code_cell('save_figure(figure, "03_before", profile)'),
    )
    page, text = pages(folder)
    order = [
        "The long one",
        "03_curve_long.png",
        "03_curve.png",
        "<h5>Before",
        "03_before.png",
        "<h5>Further",
        "03_unn",
    ]
    assert [page.index(part) for part in order] == sorted(page.index(part) for part in order)
    assert "Figures: [Curve long](03_curve_long.png), [Curve](03_curve.png), [Before](03_before.png)" in text
    assert "04_other" not in page


def test_figures_are_described_sized_and_loaded_when_needed(folder):
    run(folder)
    figure(folder, "03_a_curve.png", size=(40, 30))
    (folder / "03_damaged.png").write_bytes(b"")
    curve, damaged = Page(pages(folder)[0]).images
    assert curve["alt"] == "Figure: A curve" and curve["loading"] == "lazy"
    assert (curve["width"], curve["height"]) == ("40", "30")
    assert "width" not in damaged


# -- tables out of executed copies


CELLS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@given(st.lists(st.tuples(CELLS, st.integers()), min_size=1, max_size=4))
def test_tables_of_the_notebooks_are_read_back(rows: list[tuple[str, int]]):
    made = table([{"<name> & co": text, "number": number} for text, number in rows])
    found = read_table(made._repr_html_())
    assert found.rows == [made.header, *made.cells]
    assert found.right == made.numeric


OWN = table([{"a": 1, "b": "cell"}])._repr_html_()


@pytest.mark.parametrize(
    "markup",
    [
        "",
        HOSTILE,
        f"{OWN}{HOSTILE}",
        f"{OWN}\n<p>",
        OWN.replace("cell", HOSTILE),
        OWN.replace("cell", "<img src=x onerror=alert(1)>"),
        OWN.replace("text-align: left", "background: url(//x)"),
        OWN.replace("<table>", "<table onclick='alert(1)'>"),
        OWN.replace("<tbody>", "<tbody><style>*{}</style>"),
        "<table><tr><th style='text-align: left'>Claim</th><td style='text-align: left'>It grows.</td></tr></table>",
        "<div><table border='1' class='dataframe'><thead><tr><th>a</th></tr></thead></table></div>",
    ],
)
def test_other_markup_is_no_table(markup: str):
    assert read_table(markup) is None


def test_tables_stand_in_the_notebooks_section_and_long_ones_are_folded(folder):
    long = table([{"step": number} for number in range(LONG_TABLE + 1)])._repr_html_()
    run(
        folder, new_markdown_cell("## In numbers"), shown(OWN.replace("cell", "&lt;x&gt;")), shown(HOSTILE), shown(long)
    )
    page, _ = pages(folder)
    section = page[page.index("In numbers</h5>") :]
    assert '<td class="number">1</td><td>&lt;x&gt;</td>' in section
    assert re.findall(r"<summary>(Table of.*?)</summary>", section, re.DOTALL) == [
        f"Table of {LONG_TABLE + 1} rows:\nstep"
    ]
    assert "alert" not in section


# -- claims


def test_every_claim_is_listed_with_what_is_known_of_it(folder):
    run(folder)
    measure(folder, 1.5)
    page, text = pages(folder)
    more = row(page, "More is &lt;more&gt;.")
    assert "ratio of both: 1.75" in more and "the ratio 1.5 1 run" in more and more.endswith("partly in 1 run")
    assert row(page, "It is pretty.").endswith("no figures not testable here a taste")
    assert row(page, "Nobody has measured this.").endswith("not measured yet")
    assert row(page, "Of a notebook without a run.").endswith("not measured yet")
    assert "| More is &lt;more>. (03) | ratio of both: 1.75 | the ratio 1.5 | **partly** in 1 run |" in text
    assert "- It is pretty. (03) **not testable here**: a taste\n" in text
    assert "- Of a notebook without a run. (09) **not measured yet**\n" in text


def test_a_revised_claim_says_so_beside_its_rule(folder, tmp_path):
    measure(folder, 3.0)
    assert "Revised" not in pages(folder)[0]
    revised = CLAIMS.replace("partly: the_ratio > 1}}", "partly: the_ratio > 1}, revised: It was <less>.}", 1)
    (tmp_path / "claims.yaml").write_text(revised, encoding="utf-8")
    claim = words(pages(folder)[0].split('id="claim-x-more"')[1].split("</article>")[0])
    assert "partly if the_ratio &gt; 1 ; else not reproduced Revised It was &lt;less&gt;." in claim


def test_claims_without_a_verdict_are_folded_below_those_with_one(folder, tmp_path):
    """In both parts the order is that of the file."""
    last = "- {id: y-last, report: Other report, section: E, notebook: 03_sweep, claim: The last one., test: t,\n"
    last += "   measured: {the_ratio: one over the other}, rule: {reproduced: the_ratio > 2}}\n"
    (tmp_path / "claims.yaml").write_text(CLAIMS + last, encoding="utf-8")
    measure(folder, 3.0, claim="y-last")
    page, text = pages(folder)
    claims = page.split('<section id="claims"')[1].split("</section>")[0]
    assert re.findall(r"<details><summary>(.*?)</summary>", claims) == [
        "2 claims without a verdict: 1 not testable here, 1 not measured yet",
        "2 claims without a verdict: 2 not measured yet",
    ]
    assert claims.count("<table") == 3  # none of the first report's claims has a verdict
    other = claims.split("Other report</h3>")[1]
    order = ["The last one.", "<details>", "Nobody has measured this.", "Of a notebook without a run.", "</details>"]
    assert [other.index(part) for part in order] == sorted(other.index(part) for part in order)
    lines = text.split("### Other report")[1].split("## Notebooks")[0].split("\n")
    assert [line.split(" (")[0] for line in lines if line] == [
        "| claim | published | measured | verdict |",
        "| --- | --- | --- | --- |",
        "| The last one.",
        "2 claims without a verdict: 2 not measured yet:",
        "- Nobody has measured this.",
        "- Of a notebook without a run.",
    ]


def test_verdicts_are_counted_by_report(folder):
    measure(folder, 3.0)
    page, text = pages(folder)
    header = "| report | reproduced | partly | not reproduced | not testable here | not measured yet |"
    rows = [
        "| Report &lt;X> | 1 | 0 | 0 | 1 | 0 |",
        "| Other report | 0 | 0 | 0 | 0 | 2 |",
        "| all | 1 | 0 | 0 | 1 | 2 |",
    ]
    assert "\n".join([header, "| --- | --- | --- | --- | --- | --- |", *rows]) in text
    counts = page[page.index('<table class="counts"') :].split("</table>")[0]
    assert [words(line) for line in counts.split("<tr")[-3:]][-1].endswith("all 1 0 0 1 2")


def test_runs_that_disagree_are_told_and_pictures_kept_apart(folder):
    run(folder)
    for image, seed, ratio in [("mountains", 0, 3.0), ("mountains", 1, 4.0), ("peaks", 0, 1.5)]:
        measure(folder, ratio, seed, image)
    page, text = pages(folder)
    # the mean of the pictures' means 3.5 and 1.5, and both of them
    over_all = "2.5 (3.5, 1.5)"
    assert f"the ratio {over_all} 3 runs, 2 pictures partly in 1 of 3 runs (2 reproduced)" in row(page, "More is")
    measured = words(page[page.index('<table class="measures"') :].split("</table>")[0])
    assert "mountains, 2 runs peaks, 1 run" in measured
    assert f"one over the other {over_all} 3.5 (3, 4) 1.5" in measured
    assert measured.endswith("reproduced in 2 of 2 runs partly in 1 run")
    assert "In 1 of the claims single runs have another verdict" in page
    assert "**partly** in 1 of 3 runs (2 reproduced)" in text


@pytest.mark.parametrize(
    ("ratios", "shown"),
    [
        ((3.0,), "3 1 run"),
        ((4.0, 3.0), "3.5 (4, 3) 2 runs"),  # in the order of the seeds
        ((3.0, 3.0), "3 2 runs"),
        ((3.0, 4.0, 5.0), "4 [1.516, 6.484] 3 runs"),  # 4 ± 4.3027 / sqrt(3)
        ((3.0, 3.0, 3.0), "3 3 runs"),
    ],
)
def test_an_interval_needs_three_values_that_differ(folder, ratios, shown):
    for seed, ratio in enumerate(ratios):
        measure(folder, ratio, seed)
    page, text = pages(folder)
    assert f"the ratio {shown} " in row(page, "More is")
    shown = shown.rsplit(" ", 2)[0]
    assert words(page.split('<table class="measures"')[1].split("</table>")[0]).endswith(f"one over the other {shown}")
    assert f"| the ratio {shown} |".replace("[", r"\[").replace("]", r"\]") in text


@pytest.mark.parametrize(
    ("ratios", "agreement", "warned"),
    [
        ((2.9, 3.0, 3.1), "in 3 of 3 runs, beyond the scatter", False),
        ((2.1, 3.0, 3.9), "in 3 of 3 runs, within the scatter", True),
        ((2.1, 3.9), "in 2 of 2 runs", False),
    ],
)
def test_a_verdict_over_runs_says_what_the_scatter_leaves_of_it(folder, ratios, agreement, warned):
    for seed, ratio in enumerate(ratios):
        measure(folder, ratio, seed)
    page, text = pages(folder)
    assert row(page, "More is").endswith(f"reproduced {agreement}")
    assert f"reproduced {agreement} Report" in words(page.split('id="claim-x-more"')[1])
    assert f"**reproduced** {agreement} |" in text
    assert all(("may change 1 of the verdicts" in each) is warned for each in (page, text))
    assert all("it is beyond the scatter" in each for each in (page, text))  # the explanation


def test_every_single_run_is_listed_with_its_verdict_and_commit(folder):
    measure(folder, 3.0, seed=0, image="peaks")
    measure(folder, 1.5, seed=1, image="peaks", commit=None)
    page, _ = pages(folder)
    runs = words(page[page.index("<summary>Single runs</summary>") :].split("</table>")[0])
    assert runs.endswith("peaks, seed 0 3 reproduced abc1234 peaks, seed 1 1.5 partly unknown")


def test_measurements_of_a_notebook_without_a_copy_have_a_section(folder):
    measure(folder, 3.0)
    page, _ = pages(folder)
    assert 'href="#claim-x-more"' in page and 'id="claim-x-more"' in page


def test_claim_of_a_notebook_without_a_section_is_given_whole(folder, tmp_path):
    long = "word " * 80
    claims = CLAIMS.replace("Of a notebook without a run.", long).replace("Nobody has measured this.", f"Long {long}")
    (tmp_path / "claims.yaml").write_text(claims, encoding="utf-8")
    run(folder)
    page, _ = pages(folder)
    whole, shortened = (
        words(part.split("<small>")[0])
        for part in page.split('<th role="rowheader" scope="row">')
        if "word word" in part
    )
    shortened, whole = sorted([whole, shortened], key=len)
    assert whole == long.strip()
    assert shortened.startswith("Long word") and shortened.endswith("word …") and len(shortened) <= 172


def test_unreadable_claims_leave_the_notebooks(folder, tmp_path):
    (tmp_path / "claims.yaml").write_text("- id: 3", encoding="utf-8")
    run(folder)
    measure(folder, 3.0)
    page, text = pages(folder)
    assert "The claims cannot be read: Claim 3" in page and "The claims cannot be read: Claim 3" in text
    assert "1 of 1 notebooks passed" in page


# -- what limits the worth of the numbers


@pytest.mark.parametrize(("profile", "warned"), [("smoke", True), ("laptop", False)])
def test_smoke_results_are_called_no_evidence(folder, profile, warned):
    assert all(("no evidence" in text) is warned for text in pages(folder, profile))


@pytest.mark.parametrize(
    ("prepare", "warning"),
    [
        (lambda folder: run(folder, label="s1", seed=1, commit="def5678", edition="f"), "several versions of the code"),
        (lambda folder: measure(folder, 3.0, commit="def5678"), "several versions of the code"),
        (lambda folder: run(folder, commit="abc1234-dirty"), "changes that are in no commit"),
    ],
)
def test_code_of_several_or_unknown_versions_is_told(folder, prepare: Callable[[Path], Any], warning: str):
    run(folder)
    assert not any(warning in text for text in pages(folder))
    prepare(folder)
    assert all(warning in text for text in pages(folder))


def test_files_that_cannot_be_read_are_named(folder):
    run(folder)
    (folder / "notebooks" / "05_foreign.ipynb").write_text("{}")
    measure(folder, 3.0)
    (folder / "results" / "x-more-seed1.json").write_text("{")
    page, text = pages(folder)
    for name in ("notebooks/05_foreign.ipynb", "results/x-more-seed1.json"):
        assert name in page.split('id="left-out"')[1]
        assert name.replace("_", r"\_") in text.split("## Left out")[1]
    assert str(folder) not in page and str(folder) not in text


# -- report.md as Markdown


def test_texts_stay_in_their_cells_and_show_as_they_are(folder, tmp_path):
    claims = CLAIMS.replace("claim: More is <more>.", 'claim: "a | b\\n* c_d_e [f](g) `h`"')
    (tmp_path / "claims.yaml").write_text(claims, encoding="utf-8")
    measure(folder, 3.0)
    _, text = pages(folder)
    (line,) = [line for line in text.splitlines() if "c\\_d\\_e" in line]
    assert line.startswith(r"| a \| b \* c\_d\_e \[f\](g) \`h\` (03) |")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (5, 7) for line in tables)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3723, "1:02:03")])
def test_run_times_are_told_in_minutes(seconds, text):
    assert minutes(seconds) == text


# -- out of date


def test_measurements_of_an_older_edition_are_named(folder):
    run(folder, seed=0, edition="new")
    run(folder, seed=1, label="seed1", finished="2026-01-01T00:00:00+00:00", edition="old")
    measure(folder, 2.0, seed=0, edition="new")
    measure(folder, 3.0, seed=1, edition="old")
    measure(folder, 4.0, seed=2)  # not by a batch: nothing is known of it
    for page in pages(folder):
        assert "Out of date, but counted: measurements of 03\\_sweep (seed 1)." in page.replace("03_s", "03\\_s")


def test_measurements_of_an_older_edition_stand_where_the_last_one_has_measured_the_same(folder):
    run(folder, seed=0, edition="new")
    measure(folder, 2.0, seed=0, edition="new", confirms=("old",))
    measure(folder, 3.0, seed=1, edition="old")
    for page in pages(folder):
        assert "Measurements by earlier code: 1. They stand" in page and "Out of date" not in page
    measure(folder, 4.0, seed=2, edition="older")
    for page in pages(folder):
        assert "Measurements by earlier code: 1." in page and "(seed 2)" in page


def test_only_the_last_edition_confirms(folder):
    run(folder, seed=0, edition="new")
    measure(folder, 2.0, seed=0, edition="older", confirms=("old",))
    measure(folder, 3.0, seed=1, edition="old")
    for page in pages(folder):
        assert "(seed 0; seed 1)" in page and "They stand" not in page


def test_measurements_of_a_run_that_has_failed_since_are_named(folder):
    run(folder, seed=0, error="cell [2]: ValueError: no")
    measure(folder, 2.0, seed=0, edition="e")
    assert all("Out of date, but counted" in page for page in pages(folder))


def test_measurements_of_the_last_edition_are_neither_out_of_date_nor_of_another_version(folder):
    run(folder, seed=0)
    measure(folder, 2.0, seed=0, edition="e", commit="def5678")
    assert not any("several versions" in page for page in pages(folder))
    assert not any("Out of date" in page for page in pages(folder))
