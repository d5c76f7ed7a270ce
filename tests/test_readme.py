"""The README says what is so: its commands exist, its files are there, its Python runs."""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from singan_core import TrainConfig, sample_image, save_image
from singan_core.__main__ import parse
from singan_core.claims import NOT_MEASURED, load_claims, read_results

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_lines(program: str) -> list[str]:
    lines = [line.strip() for line in README.splitlines() if line.startswith("    ")]
    return [line.split("  #")[0].removeprefix(program).strip() for line in lines if line.startswith(program)]


def test_every_make_target_named_exists():
    named = set(re.findall(r"`make ([a-z-]+)`|^ +make ([a-z-]+)", README, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {one or other for one, other in named} <= targets
    assert {("reproduce", ""), ("test", ""), ("lab", "")} <= named


@pytest.mark.parametrize("line", command_lines("python -m singan_core "))
def test_every_command_line_is_understood(line):
    parse(shlex.split(line))


def test_every_linked_file_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_the_python_example_runs(tmp_path, monkeypatch):
    """With the smallest profile in place of the one shown."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    save_image(sample_image("mountains"), tmp_path / "my_photo.jpg")
    exec(compile(example.replace('"laptop"', '"smoke"'), "README.md", "exec"), {})
    assert (tmp_path / "wide.png").stat().st_size > 0


def test_the_profiles_are_described_as_they_are():
    for name in ("smoke", "laptop", "paper"):
        config = TrainConfig.for_profile(name)
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `{name}` |")]
        steps = f"{config.iterations} x ({config.discriminator_steps} + {config.generator_steps})"
        assert f"| {config.max_size} px | {steps}" in row


def test_the_verdicts_are_those_of_the_published_results():
    summaries, unread = read_results(ROOT / "figures" / "laptop" / "results", "laptop", load_claims().values())
    assert not unread
    reports = dict.fromkeys(summary.claim.report for summary in summaries.values())
    expected = []
    for report in reports:
        found = [summary for summary in summaries.values() if summary.claim.report == report]
        outcomes = Counter(summary.outcome for summary in found)
        doubtful = sum(summary.beyond_scatter is False for summary in found)
        counts = [outcomes["reproduced"], outcomes["partly"], outcomes["not reproduced"], doubtful]
        expected.append(f"| {report} | {' | '.join(map(str, counts))} | {outcomes['not testable here']} |")
        missing = [summary.claim.id for summary in found if summary.outcome == NOT_MEASURED]
        assert not missing, f"not measured at laptop: {', '.join(missing)}"
        few = [summary.claim.id for summary in found if summary.judged and summary.beyond_scatter is None]
        assert not few, (
            f"README says that all verdicts are over three seeds: measure {', '.join(few)} with seeds 0 to 2"
        )
    _, _, table = README.partition("| student report |")
    assert table.split("\n\n")[0].splitlines()[2:] == expected, "the table should be:\n" + "\n".join(expected)


def test_the_revised_claims_are_counted():
    revised = sum(bool(claim.revised) for claim in load_claims().values())
    assert f"{revised} claims were revised later" in README


def test_the_course_is_listed_notebook_by_notebook():
    listed = re.findall(r"^\| \[(\w+)\]\(notebooks/(\w+)\.ipynb\) \| .+\? ?.* \|$", README, re.MULTILINE)
    paths = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert listed == [(path.stem, path.stem) for path in paths], "README.md has a row for each notebook"
