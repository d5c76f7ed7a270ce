"""Whether verdicts hold on another picture: the results of such a batch beside the published ones.

    python -m singan_core reproduce --images peaks --output build/replication
    python -m benchmarks.replication build/replication/laptop/results

Verdicts change from one training to the next on the same picture, too. So the share of claims whose verdict is the same
on the other picture stands beside the share that is the same with another seed, both over pairs of single runs. Left
out are claims that have not been measured on both, and those whose quantities do not depend on the picture.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import common
from singan_core.claims import OUTCOMES, Claim, Summary, figure_text, load_claims, read_results
from singan_core.errors import SinGANError

PUBLISHED = common.ROOT / "figures" / "laptop" / "results"
PROFILE = "laptop"
JUDGED = OUTCOMES[:3]
RESAMPLINGS = 10_000


@dataclass(frozen=True)
class Pair:
    """A claim measured on its notebook's own picture, with several seeds, and on another picture."""

    published: Summary
    other: Summary

    @property
    def claim(self) -> Claim:
        return self.published.claim

    @property
    def unanimous(self) -> bool:
        """Whether all seeds have one verdict on the notebook's own picture."""
        return len({run.outcome for run in self.published.runs}) == 1

    @property
    def with_another_seed(self) -> float:
        """Share of the pairs of published runs that have the same verdict."""
        return fmean(a.outcome == b.outcome for a, b in combinations(self.published.runs, 2))

    @property
    def with_another_picture(self) -> float:
        """Share of the pairs of a published run and one on the other picture that have the same verdict."""
        return fmean(a.outcome == b.outcome for a in self.published.runs for b in self.other.runs)


def pairs_of(published: Mapping[str, Summary], other: Mapping[str, Summary]) -> list[Pair]:
    """The claims that have verdicts of at least two seeds on the one and of a run on the other picture.

    Without those for which a run on the other picture gave the very numbers of a published one.
    """
    found = []
    for name, summary in published.items():
        if not summary.judged or len(summary.runs) < 2 or name not in other or not other[name].runs:
            continue
        values = [run.measured for run in summary.runs]
        if not any(run.measured in values for run in other[name].runs):
            found.append(Pair(summary, other[name]))
    return found


def shares(pairs: Sequence[Pair], seed: int = 0) -> dict[str, dict[str, float]]:
    """The shares of equal verdicts with another seed and another picture, and their difference, with 95 % intervals.

    The intervals are over notebooks, drawn with replacement: claims of a notebook share their pyramids.
    """
    names = sorted({pair.claim.notebook for pair in pairs})
    sums = np.zeros((len(names), 3))  # of a notebook's claims: same with another seed, with another picture, how many
    for pair in pairs:
        sums[names.index(pair.claim.notebook)] += pair.with_another_seed, pair.with_another_picture, 1
    drawn = np.random.default_rng(seed).integers(len(names), size=(RESAMPLINGS, len(names)))
    totals = np.vstack([sums.sum(0), sums[drawn].sum(1)])  # the first row is all of them, once
    seeds, pictures = totals[:, 0] / totals[:, 2], totals[:, 1] / totals[:, 2]
    measures = {"another seed": seeds, "another picture": pictures, "difference": pictures - seeds}
    return {
        name: dict(zip(("share", "low", "high"), (values[0], *np.percentile(values[1:], (2.5, 97.5))), strict=True))
        for name, values in measures.items()
    }


def crossed(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """How many claims have which verdict on the own picture (rows) and on the other one (columns)."""
    counts = Counter((pair.published.outcome, pair.other.outcome) for pair in pairs)
    return [{"": own} | {other: str(counts[own, other]) for other in JUDGED} for own in JUDGED]


def rows(pairs: Iterable[Pair]) -> list[dict[str, str]]:
    """A row per claim: both verdicts, and what was measured, the means over the seeds first."""
    return [
        {
            "notebook": pair.claim.notebook[:2],
            "claim": pair.claim.id,
            "own picture": f"{pair.published.outcome}, {pair.published.agreement}",
            "other picture": pair.other.outcome,
            "measured, own; other picture": "<br>".join(
                f"{quantity} {figure_text(value.mean)}; {figure_text(pair.other.measured[quantity].mean)}"
                for quantity, value in pair.published.measured.items()
            ),
        }
        for pair in pairs
    ]


def document(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Everything that the tables show, and every run."""
    return {
        "shares": shares(pairs),
        "claims": {
            pair.claim.id: {
                kind: [
                    {"picture": run.image, "seed": run.seed, "commit": run.commit, "verdict": run.outcome}
                    | {"measured": run.measured}
                    for run in summary.runs
                ]
                for kind, summary in (("own", pair.published), ("other", pair.other))
            }
            for pair in pairs
        },
    }


def text_of(pairs: Sequence[Pair]) -> str:
    """The page."""
    found = shares(pairs)
    own, other = ({run.run for pair in pairs for run in getattr(pair, kind).runs} for kind in ("published", "other"))
    commits = sorted({run.commit or "unknown" for pair in pairs for run in pair.other.runs})
    kept = [pair for pair in pairs if pair.unanimous and pair.other.outcome == pair.published.outcome]
    lost = [pair for pair in pairs if pair.unanimous and pair.other.outcome != pair.published.outcome]
    open_ = [pair for pair in pairs if not pair.unanimous]
    notebooks = sorted({pair.claim.notebook[:2] for pair in pairs})
    share_rows = [
        {"same verdict with": name, "share of pairs": f"{each['share']:.2f} [{each['low']:.2f}, {each['high']:.2f}]"}
        for name, each in found.items()
    ]
    return f"""# Verdicts on another picture

{len(pairs)} claims of notebooks {", ".join(notebooks)} at profile `{PROFILE}`: on the notebooks' own picture
({"; ".join(sorted(own))}) and on another one ({"; ".join(sorted(other))}). Intervals of 95 % over notebooks.

{common.markdown(share_rows)}

{len(kept)} of {len(kept) + len(lost)} claims that have one verdict with all seeds have it on the other picture, too.
Where a rule was revised, that was after results on the own picture (`revised` in data/claims.yaml).

Claims by verdict, on the own picture (rows) and on the other one (columns):

{common.markdown(crossed(pairs))}

## One verdict with all seeds, another one on the other picture

{common.markdown(rows(lost)) if lost else "None."}

## The same verdict with all seeds and on the other picture

{common.markdown(rows(kept)) if kept else "None."}

## Verdicts that differ among seeds already

{common.markdown(rows(open_)) if open_ else "None."}

Runs on the other picture: commit {", ".join(commits)}.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="results of a batch with --images: <output>/laptop/results")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="results to compare with")
    parser.add_argument("--results", type=Path, default=common.RESULTS, help="folder to write to")
    arguments = parser.parse_args(argv)
    claims = load_claims()
    published, other = (
        read_results(folder, PROFILE, claims.values())[0] for folder in (arguments.published, arguments.other)
    )
    pairs = pairs_of(published, other)
    if not pairs:
        raise SinGANError(f"{arguments.other} has no results of profile {PROFILE} for another picture.")
    common.write(arguments.results, "replication", document(pairs), text_of(pairs))


if __name__ == "__main__":
    main()
