"""Verdicts on other pictures beside those of other seeds: what is compared, and how it is counted."""

import json

import pytest

from benchmarks import replication
from singan_core import SinGANError
from singan_core.claims import Claim, Summary, Verdict, load_claims

RULE = {"reproduced": "value > 2", "partly": "value > 1"}


def claim(name: str, notebook: str = "04_alpha_sweep") -> Claim:
    texts = dict.fromkeys(("report", "section", "claim", "test"), "text") | {"revised": "", "not_testable": ""}
    return Claim(id=name, notebook=notebook, published={}, measured={"value": "a number"}, rule=RULE, **texts)


def summary(of: Claim, *values: float, image: str = "mountains") -> Summary:
    runs = (Verdict(of, {"value": value}, "laptop", seed, image) for seed, value in enumerate(values))
    return Summary(of, tuple(runs))


def pair(own: tuple[float, ...], other: tuple[float, ...], notebook: str = "04_alpha_sweep") -> replication.Pair:
    of = claim("a-claim", notebook)
    return replication.Pair(summary(of, *own), summary(of, *other, image="peaks"))


def test_verdicts_are_compared_run_by_run():
    found = pair((3.0, 2.5, 1.5), (1.2,))  # reproduced, reproduced, partly; partly
    assert found.with_another_seed == pytest.approx(1 / 3)
    assert found.with_another_picture == pytest.approx(1 / 3)
    assert not found.unanimous and pair((3.0, 4.0), (0.0,)).unanimous


@pytest.mark.parametrize(
    ("own", "other"),
    [
        pytest.param((3.0,), (1.2,), id="one seed alone says nothing of other seeds"),
        pytest.param((3.0, 2.5), (), id="not measured on the other picture"),
        pytest.param((3.0, 2.5), (3.0,), id="the same number: the picture has no part in it"),
    ],
)
def test_claims_that_say_nothing_of_pictures_are_left_out(own, other):
    kept, of = claim("kept"), claim("left-out")
    published = {"kept": summary(kept, 3.0, 2.0), "left-out": summary(of, *own)}
    others = {"kept": summary(kept, 0.5, image="peaks"), "left-out": summary(of, *other, image="peaks")}
    assert [each.claim.id for each in replication.pairs_of(published, others)] == ["kept"]


def test_shares_count_claims_and_their_intervals_notebooks():
    same, changed = ((3.0, 3.5), (2.5,)), ((3.0, 3.5), (0.5,))
    found = replication.shares([pair(*same), pair(*same), pair(*changed), pair(*same, notebook="10_random_sampling")])
    assert found["another seed"] == {"share": 1.0, "low": 1.0, "high": 1.0}
    picture = found["another picture"]
    assert picture["share"] == pytest.approx(3 / 4)
    # only three draws of two notebooks are possible: the one with 2 of 3, the other with 1 of 1, or each once
    assert picture["low"] == pytest.approx(2 / 3) and picture["high"] == 1.0
    assert found["difference"]["share"] == pytest.approx(-1 / 4)


def test_each_picture_is_counted_alone_as_well():
    of = claim("a-claim")
    runs = (summary(of, value, image=name).runs[0] for name, value in (("peaks", 3.0), ("pagoda", 0.5), ("cat", 1.5)))
    found = replication.Pair(summary(of, 4.0, 2.5), Summary(of, tuple(runs)))
    assert found.keeping == ["peaks"] and found.with_another_picture == pytest.approx(1 / 3)
    single = replication.by_picture([found, pair((3.0, 4.0), (1.5,))])
    counted = {name: [each.with_another_picture for each in mine] for name, mine in single.items()}
    assert counted == {"peaks": [1.0, 0.0], "pagoda": [0.0], "cat": [0.0]}
    table = {row["same verdict with"]: row for row in replication.share_rows([found, pair((3.0, 4.0), (1.5,))])}
    assert table["another picture"]["claims"] == table["peaks"]["claims"] == "2" and table["cat"]["claims"] == "1"
    assert table["another picture"]["share of pairs"].startswith("0.17") and "0.50" in table["peaks"]["share of pairs"]
    assert sum(int(row[verdict]) for row in replication.crossed([found]) for verdict in replication.JUDGED) == 3


def test_the_page_groups_claims_by_how_many_pictures_keep_the_verdict():
    def of_pictures(name: str, own: tuple[float, ...], peaks: float, pagoda: float) -> replication.Pair:
        of = claim(name)
        runs = (summary(of, value, image=image).runs[0] for image, value in (("peaks", peaks), ("pagoda", pagoda)))
        return replication.Pair(summary(of, *own), Summary(of, tuple(runs)))

    page = replication.text_of(
        [
            of_pictures("everywhere", (3.0, 4.0), 5.0, 6.0),
            of_pictures("on-one", (3.0, 4.0), 5.0, 0.5),
            of_pictures("nowhere", (3.0, 4.0), 1.5, 0.5),
            of_pictures("seeds", (3.0, 1.5), 3.5, 0.5),
        ]
    )
    places = [page.index(f"| {name} |") for name in ("everywhere", "on-one", "nowhere", "seeds")]
    headings = [
        page.index(f"\n## {name}")
        for name in (
            "One verdict with all seeds, and the same on every other",
            "One verdict with all seeds, and the same on some",
            "One verdict with all seeds, and on no other",
            "Verdicts that differ",
        )
    ]
    assert sorted([*places, *headings]) == [each for two in zip(headings, places, strict=True) for each in two]
    assert page.count(": 1\n") == 4


@pytest.fixture
def other_results(tmp_path):
    """The published results of notebook 04 with seed 0, as if they were of another picture, a little changed."""
    folder = tmp_path / "other"
    folder.mkdir()
    for name, each in load_claims().items():
        published = replication.PUBLISHED / f"{name}-mountains-seed0.json"
        if each.notebook == "04_alpha_sweep" and published.exists():
            result = json.loads(published.read_text())
            result |= {"image": "peaks", "measured": {key: 1.001 * value for key, value in result["measured"].items()}}
            (folder / f"{name}-peaks-seed0.json").write_text(json.dumps(result))
    return folder


def test_the_page_has_every_claim_that_was_measured_on_both(other_results, tmp_path, capsys):
    replication.main([str(other_results), "--results", str(tmp_path)])
    found = json.loads((tmp_path / "replication.json").read_text())
    page = (tmp_path / "replication.md").read_text()
    assert len(found["claims"]) == len(list(other_results.iterdir())) >= 5
    assert all(page.count(f"| {name} |") == 1 for name in found["claims"])
    assert capsys.readouterr().out.strip() == page.strip()
    for runs in found["claims"].values():
        assert [run["picture"] for run in runs["others"]] == ["peaks"] and len(runs["own"]) == 3


def test_a_folder_without_such_results_is_refused(tmp_path):
    with pytest.raises(SinGANError, match="no results of profile laptop"):
        replication.main([str(tmp_path), "--results", str(tmp_path)])
