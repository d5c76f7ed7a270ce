"""What a batch of many pictures costs on more workers: its schedule, simulated with measured times of its tasks.

    python -m benchmarks.schedule --profile laptop --pictures 50

Measured are the run times of notebooks whose pyramids were there before (the executed copies of a results folder) and
the training times of pyramids (`benchmarks.quality`); on which device, the files say, and so does the result. Pictures
get training times drawn from these, with a seed.

Simulated is what `singan_core.reproduce` does: a task per notebook, picture and seed; a free worker takes the next one
in the order of `plan`; the first to ask for a pyramid trains it, and who asks meanwhile waits, its worker with it. A
task asks for its pyramids first, for those that other notebooks need as well before its own. Left out are the start of
the cluster, the page of an executed copy (some tenths of a second), and failures.
"""

import heapq
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import common
from singan_core import TrainConfig, plots
from singan_core.errors import SinGANError
from singan_core.images import data_folder
from singan_core.notebooks import Outcome, read_outcome
from singan_core.pretrained import read_manifest
from singan_core.store import MODEL, store_folder

QUICK = {"pictures": 3, "workers": [1, 2]}
HOUR = 3600.0


@dataclass(frozen=True)
class Notebook:
    """A notebook of the series. seconds: of a run with its pyramids there. fixed: pyramids of pictures that it names.

    shared, own: the other pyramids, of the picture that it is run with; the former are those that other notebooks ask
    for, too. with_pictures, with_seeds: whether there is a run for each of them.
    """

    name: str
    seconds: float
    fixed: tuple[str, ...]
    shared: tuple[str, ...]
    own: tuple[str, ...]
    with_pictures: bool
    with_seeds: bool


@dataclass(frozen=True)
class Task:
    """A run of a notebook: asks for pyramids in this order, then needs so many seconds of its own.

    picture, seed: 0 is the notebook's own one.
    """

    notebook: str
    picture: int
    seed: int
    pyramids: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Schedule:
    """A simulated batch. waits: seconds of each wait for a pyramid. ends: seconds after which each worker is done."""

    waits: list[float]
    ends: list[float]

    @property
    def makespan(self) -> float:
        """Seconds from the first task to the last."""
        return max(self.ends)

    @property
    def paid(self) -> float:
        """Seconds of all workers, which are there to the end."""
        return len(self.ends) * self.makespan

    @property
    def waiting(self) -> float:
        """Share of the workers' time in which they wait for a pyramid that another one trains."""
        return sum(self.waits) / self.paid

    @property
    def unused(self) -> float:
        """Share of the workers' time in which there is no task left for them."""
        return sum(self.makespan - end for end in self.ends) / self.paid


# -- the simulation


def simulate(tasks: Sequence[Task], training: Mapping[str, float], workers: int) -> Schedule:
    """The batch on so many workers. training: seconds of each pyramid."""
    left, trained, schedule = iter(tasks), {}, Schedule([], [])
    at_work = [_worker(left, training, trained, schedule.waits) for _ in range(workers)]
    events = [(0.0, number) for number in range(workers)]
    while events:
        now, number = heapq.heappop(events)
        then = next(at_work[number], None)
        if then is None:
            schedule.ends.append(now)
        else:
            heapq.heappush(events, (then, number))
    return schedule


def _worker(
    left: Iterator[Task], training: Mapping[str, float], trained: dict[str, float], waits: list[float]
) -> Iterator[float]:
    """Times at which a worker has something to decide. trained: when each pyramid that was begun is finished."""
    now = 0.0
    for task in left:
        for key in task.pyramids:
            if key not in trained:
                trained[key] = now + training[key]
            elif trained[key] > now:
                waits.append(trained[key] - now)
            now = max(now, trained[key])
            yield now
        now += task.seconds
        yield now


def work(tasks: Sequence[Task], training: Mapping[str, float]) -> float:
    """Seconds of all tasks one after the other, each pyramid trained once."""
    return sum(training[key] for key in _askers(tasks)) + sum(task.seconds for task in tasks)


def longest_chain(tasks: Sequence[Task], training: Mapping[str, float]) -> float:
    """Seconds that some task takes on any number of workers; another may train only what both ask for."""
    askers, longest = _askers(tasks), 0.0
    for task in tasks:
        now = 0.0
        for key in task.pyramids:
            now = max(now, training[key]) if askers[key] > 1 else now + training[key]
        longest = max(longest, now + task.seconds)
    return longest


def lower_bound(tasks: Sequence[Task], training: Mapping[str, float], workers: int) -> float:
    """Seconds below which no order of the tasks can bring the makespan."""
    return max(work(tasks, training) / workers, longest_chain(tasks, training))


def _askers(tasks: Sequence[Task]) -> Counter[str]:
    """How many tasks ask for each pyramid."""
    return Counter(key for task in tasks for key in task.pyramids)


# -- the tasks


def measured_outcomes(folder: Path, profile: str) -> list[Outcome]:
    """The outcomes of the executed copies in a folder.

    Raises SinGANError where there is none, and for a run that failed, had another profile, or may have trained.
    """
    outcomes = [read_outcome(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    if not outcomes:
        raise SinGANError(f"There are no executed notebooks in {folder}: run `python -m singan_core reproduce` first.")
    for outcome in outcomes:
        if outcome.error is not None or outcome.profile != profile:
            state = f"failed: {outcome.error}" if outcome.error else f"is of profile {outcome.profile}, not {profile}"
            raise SinGANError(f"The run of {outcome.name} in {folder} {state}.")
        if late := [key for key, note in outcome.pyramids.items() if not (note["shipped"] or _older(key, outcome))]:
            raise SinGANError(
                f"The run of {outcome.name} in {folder} may have trained {late[0]}, or waited for it, as the run store "
                "has no pyramid that is older: delete the executed copy and run the notebook again."
            )
    return outcomes


def measured_trainings(path: Path, profile: str) -> dict[str, Any]:
    """What `benchmarks.quality` measured. Raises SinGANError where it did so at other settings than the profile's."""
    quality = json.loads(path.read_text(encoding="utf-8"))
    if TrainConfig.from_dict(quality["config"]) != TrainConfig.for_profile(profile):
        raise SinGANError(
            f"The trainings in {path} have other settings than profile {profile}: measure them again with "
            f"`python -m benchmarks.quality --profile {profile}`."
        )
    return quality


def _older(key: str, outcome: Outcome) -> bool:
    """Whether a pyramid of the run store was there when this run began."""
    model = store_folder() / key / MODEL
    begun = datetime.fromisoformat(outcome.finished).timestamp() - outcome.seconds
    return model.exists() and model.stat().st_mtime < begun


def measured_notebooks(outcomes: Sequence[Outcome], pictures: Mapping[str, str]) -> list[Notebook]:
    """The notebooks of these runs. pictures: what pyramids were trained on, by key, as far as it is known."""
    askers = Counter(key for outcome in outcomes for key in outcome.pyramids)
    found = []
    for outcome in outcomes:
        fixed = [key for key in outcome.pyramids if pictures.get(key, outcome.image) != outcome.image]
        others = [key for key in outcome.pyramids if key not in fixed]
        found.append(
            Notebook(
                outcome.name,
                outcome.seconds,
                tuple(fixed),
                tuple(key for key in others if askers[key] > 1),
                tuple(key for key in others if askers[key] == 1),
                outcome.image is not None,
                outcome.seed is not None,
            )
        )
    return found


def batch(notebooks: Sequence[Notebook], trainings: Sequence[float], seeds: int) -> tuple[list[Task], dict[str, float]]:
    """The tasks in the order of `planning.plan`, and the training time of each pyramid that they ask for.

    trainings: seconds of a pyramid of each picture, of which the first is the notebooks' own, and stands for those that
    they name.
    """
    tasks, training = [], {}
    for notebook in notebooks:
        for picture in range(len(trainings) if notebook.with_pictures else 1):
            for seed in range(seeds if notebook.with_seeds else 1):
                fixed = [f"{key} {seed}" for key in notebook.fixed]
                keys = [f"{key} {picture} {seed}" for key in (*notebook.shared, *notebook.own)]
                training |= dict.fromkeys(fixed, trainings[0]) | dict.fromkeys(keys, trainings[picture])
                tasks.append(Task(notebook.name, picture, seed, (*fixed, *keys), notebook.seconds))
    return sorted(tasks, key=lambda task: task.picture > 0 or task.seed > 0), training


# -- tables


def rows(schedules: Sequence[Schedule], bounds: Sequence[float]) -> list[dict[str, Any]]:
    """A row per number of workers."""
    return [
        {
            "workers": len(schedule.ends),
            "makespan (h)": schedule.makespan / HOUR,
            "lower bound (h)": bound / HOUR,
            "worker-hours": schedule.paid / HOUR,
            "waiting for a pyramid (%)": 100 * schedule.waiting,
            "without a task (%)": 100 * schedule.unused,
        }
        for schedule, bound in zip(schedules, bounds, strict=True)
    ]


def draw_figure(schedules: Sequence[Schedule], bounds: Sequence[float]) -> plots.Figure:
    """Makespan over workers with its lower bound, and what the workers' time goes to."""
    figure, (times, shares) = plots.new_figure(height=3.2, columns=2)
    counts = [len(schedule.ends) for schedule in schedules]
    times.loglog(counts, [schedule.makespan / HOUR for schedule in schedules], "o-", label="simulated")
    times.loglog(counts, [bound / HOUR for bound in bounds], "--", label="lower bound")
    times.set_ylabel("makespan (h)")
    shares.semilogx(counts, [100 * schedule.waiting for schedule in schedules], "o-", label="waiting for a pyramid")
    shares.semilogx(counts, [100 * schedule.unused for schedule in schedules], "o-", label="without a task")
    shares.set_ylabel("workers' time (%)")
    for axes in (times, shares):
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("workers")
        axes.legend(fontsize=8, frameon=False)
    return figure


def inputs_text(outcomes: Sequence[Outcome], quality: Mapping[str, Any], pictures: int, draw: int) -> str:
    """What was measured and what was drawn."""
    notebooks = ", ".join(f"{outcome.name[:2]} {outcome.seconds:.0f} s" for outcome in outcomes)
    measured = ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in quality["results"].items())
    devices = " / ".join(dict.fromkeys(f"{outcome.device}, torch {outcome.torch}" for outcome in outcomes))
    return f"""- Measured: runs of notebooks with their pyramids there ({devices}): {notebooks}.
- Measured: trainings of a pyramid: {measured}.
- Drawn from these (seed {draw}): the training time of each of the {pictures} pictures."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = common.options(__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--copies", type=Path, help="executed copies (default: the profile's in figures/)")
    parser.add_argument("--quality", type=Path, help="training times (default: quality-<profile>.json of the results)")
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=1, help="seeds for each picture (default: %(default)s)")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--draw", type=int, default=0, help="seed of the draws (default: %(default)s)")
    arguments = common.parsed(parser, argv, QUICK)

    copies = arguments.copies or plots.profile_folder(arguments.profile) / "notebooks"
    results = arguments.quality or common.RESULTS / f"quality-{arguments.profile}.json"
    quality = measured_trainings(results, arguments.profile)
    outcomes, draw = measured_outcomes(copies, arguments.profile), random.Random(arguments.draw)
    shipped = read_manifest(data_folder() / "pretrained")
    notebooks = measured_notebooks(outcomes, {entry["key"]: entry["image"] for entry in shipped})
    measured = [result["seconds"] for result in quality["results"].values()]
    trainings = [draw.choice(measured) for _ in range(arguments.pictures)]
    tasks, training = batch(notebooks, trainings, arguments.seeds)
    schedules = [simulate(tasks, training, workers) for workers in arguments.workers]
    bounds = [lower_bound(tasks, training, workers) for workers in arguments.workers]

    document = {
        "profile": arguments.profile,
        "pictures": arguments.pictures,
        "seeds": arguments.seeds,
        "draw": arguments.draw,
        "measured": {
            "notebooks": {outcome.name: outcome.seconds for outcome in outcomes},
            "trainings": {name: result["seconds"] for name, result in quality["results"].items()},
            "machine": quality["machine"],
        },
        "notebooks": [asdict(notebook) for notebook in notebooks],
        "tasks": len(tasks),
        "trained": len(training),
        "work_s": work(tasks, training),
        "training_s": sum(training.values()),
        "longest_chain_s": longest_chain(tasks, training),
        "schedules": [
            {
                "workers": len(schedule.ends),
                "makespan_s": schedule.makespan,
                "lower_bound_s": bound,
                "waiting": schedule.waiting,
                "waits": len(schedule.waits),
                "unused": schedule.unused,
            }
            for schedule, bound in zip(schedules, bounds, strict=True)
        ],
    }
    text = f"""# What a batch costs: {arguments.pictures} pictures x {len(notebooks)} notebooks, simulated

Profile `{arguments.profile}`, {arguments.seeds} seed{"s" * (arguments.seeds > 1)}: {len(tasks):,} tasks, which train
{len(training):,} pyramids. All of it is {document["work_s"] / HOUR:.0f} hours of one worker,
{100 * document["training_s"] / document["work_s"]:.0f} % of them training, {fmean(trainings):.0f} s for a pyramid. No
task takes more than {document["longest_chain_s"] / 60:.0f} minutes, waiting left out.

{inputs_text(outcomes, quality, arguments.pictures, arguments.draw)}

{common.markdown(rows(schedules, bounds))}

A worker has cores of its own and is as fast as the measured trainings and runs were, however many workers there are.
The trainings were measured on: {common.described(quality["machine"]).removeprefix("Measured on: ")}
"""
    common.write(arguments.results, "schedule", document, text, draw_figure(schedules, bounds))


if __name__ == "__main__":
    main()
