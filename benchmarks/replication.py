"""Whether verdicts hold on other pictures: the results of such a batch beside the published ones.

    python -m singan_core reproduce --images peaks pagoda --output build/replication
    python -m benchmarks.replication build/replication/laptop/results

Verdicts change from one training to the next on the same picture, too. So the share of claims whose verdict is the same
on another picture stands beside the share that is the same with another seed, both over pairs of single runs. Left out
are claims that have not been measured on both, and those whose quantities do not depend on the picture.
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
    """A claim measured on its notebook's own picture, with several seeds, and on one or more other pictures."""

    published: Summary
    others: Summary

    @property
    def claim(self) -> Claim:
        return self.published.claim

    @property
    def unanimous(self) -> bool:
        """Whether all seeds have one verdict on the notebook's own picture."""
        return len({run.outcome for run in self.published.runs}) == 1

    @property
    def keeping(self) -> list[str | None]:
        """The other pictures with the verdict of the own one."""
        return [name for name, each in self.others.pictures.items() if each.outcome == self.published.outcome]

    @property
    def with_another_seed(self) -> float:
        """Share of the pairs of published runs that have the same verdict."""
        return fmean(a.outcome == b.outcome for a, b in combinations(self.published.runs, 2))

    @property
    def with_another_picture(self) -> float:
        """Share of the pairs of a published run and one on another picture that have the same verdict."""
        return fmean(a.outcome == b.outcome for a in self.published.runs for b in self.others.runs)


def pairs_of(published: Mapping[str, Summary], others: Mapping[str, Summary]) -> list[Pair]:
    """The claims that have verdicts of at least two seeds on the one and of a run on another picture.

    Without those for which a run on another picture gave the very numbers of a published one.
    """
    found = []
    for name, summary in published.items():
        if not summary.judged or len(summary.runs) < 2 or name not in others or not others[name].runs:
            continue
        values = [run.measured for run in summary.runs]
        if not any(run.measured in values for run in others[name].runs):
            found.append(Pair(summary, others[name]))
    return found


def by_picture(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each other picture alone, by its name."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        for name, alone in pair.others.pictures.items():
            found.setdefault(str(name), []).append(Pair(pair.published, alone))
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


def share_rows(pairs: Sequence[Pair]) -> list[dict[str, str]]:
    """A row per share, those of each other picture last."""
    found = {name: (len(pairs), each) for name, each in shares(pairs).items()}
    if len(single := by_picture(pairs)) > 1:
        found |= {name: (len(mine), shares(mine)["another picture"]) for name, mine in single.items()}
    return [
        {
            "same verdict with": name,
            "claims": str(count),
            "share of pairs": f"{each['share']:.2f} [{each['low']:.2f}, {each['high']:.2f}]",
        }
        for name, (count, each) in found.items()
    ]


def crossed(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """How often claims have which verdict on the own picture (rows) and on another one (columns)."""
    counts = Counter((pair.published.outcome, each.outcome) for pair in pairs for each in pair.others.pictures.values())
    return [{"": own} | {other: str(counts[own, other]) for other in JUDGED} for own in JUDGED]


def rows(pairs: Iterable[Pair]) -> list[dict[str, str]]:
    """A row per claim: all verdicts, and what was measured, the means over the seeds first."""
    return [
        {
            "notebook": pair.claim.notebook[:2],
            "claim": pair.claim.id,
            "own picture": f"{pair.published.outcome}, {pair.published.agreement}",
            "other pictures": "<br>".join(f"{name}: {each.outcome}" for name, each in pair.others.pictures.items()),
            "measured, own; others": "<br>".join(
                f"{quantity} {figure_text(value.mean)}; "
                + "; ".join(figure_text(each.measured[quantity].mean) for each in pair.others.pictures.values())
                for quantity, value in pair.published.measured.items()
            ),
        }
        for pair in pairs
    ]


def document(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Everything that the tables show, and every run."""
    return {
        "shares": shares(pairs),
        "pictures": {name: shares(mine) for name, mine in by_picture(pairs).items()},
        "claims": {
            pair.claim.id: {
                kind: [
                    {"picture": run.image, "seed": run.seed, "commit": run.commit, "verdict": run.outcome}
                    | {"measured": run.measured}
                    for run in summary.runs
                ]
                for kind, summary in (("own", pair.published), ("others", pair.others))
            }
            for pair in pairs
        },
    }


def text_of(pairs: Sequence[Pair]) -> str:
    """The page."""
    own, others = ({run.run for pair in pairs for run in getattr(pair, kind).runs} for kind in ("published", "others"))
    commits = sorted({run.commit or "unknown" for pair in pairs for run in pair.others.runs})
    unanimous = [pair for pair in pairs if pair.unanimous]
    groups = {
        "One verdict with all seeds, and the same on every other picture": [
            pair for pair in unanimous if len(pair.keeping) == len(pair.others.pictures)
        ],
        "One verdict with all seeds, and the same on some other pictures": [
            pair for pair in unanimous if 0 < len(pair.keeping) < len(pair.others.pictures)
        ],
        "One verdict with all seeds, and on no other picture the same": [
            pair for pair in unanimous if not pair.keeping
        ],
        "Verdicts that differ among seeds already": [pair for pair in pairs if not pair.unanimous],
    }
    counted = "\n".join(f"- {name}: {len(group)}" for name, group in groups.items() if group)
    tables = "\n\n".join(f"## {name}\n\n{common.markdown(rows(group))}" for name, group in groups.items() if group)
    notebooks = sorted({pair.claim.notebook[:2] for pair in pairs})
    return f"""# Verdicts on other pictures

{len(pairs)} claims of notebooks {", ".join(notebooks)} at profile `{PROFILE}`: on the notebooks' own picture
({"; ".join(sorted(own))}) and on others ({"; ".join(sorted(others))}). Intervals of 95 % over notebooks.

{common.markdown(share_rows(pairs))}

Where a rule was revised, that was after results on the own picture (`revised` in data/claims.yaml). Claims by how far
their verdicts carry:

{counted}

How often a claim has which verdict, on the own picture (rows) and on another one (columns):

{common.markdown(crossed(pairs))}

{tables}

Runs on other pictures: commits {", ".join(commits)}.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("others", type=Path, help="results of a batch with --images: <output>/laptop/results")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="results to compare with")
    parser.add_argument("--results", type=Path, default=common.RESULTS, help="folder to write to")
    arguments = parser.parse_args(argv)
    claims = load_claims()
    published, others = (
        read_results(folder, PROFILE, claims.values())[0] for folder in (arguments.published, arguments.others)
    )
    pairs = pairs_of(published, others)
    if not pairs:
        raise SinGANError(f"{arguments.others} has no results of profile {PROFILE} for another picture.")
    common.write(arguments.results, "replication", document(pairs), text_of(pairs))


if __name__ == "__main__":
    main()
