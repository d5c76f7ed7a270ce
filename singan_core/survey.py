"""A survey on real and fake pictures, without a screen: trials, answers, files, and the share of confused raters.

Two kinds, as in the SinGAN paper: `paired`, a photograph and a sample side by side, which one is the photograph? And
`unpaired`, a single picture, is it a photograph? Showing the trials is the business of `widgets.SurveyPanel`. Nothing
about a rater is kept but a number that is drawn by lot.
"""

import csv
import dataclasses
import io
import itertools
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.special import ndtri
from torch import Tensor

from singan_core.arguments import checked_seed, is_number, is_whole, to_path
from singan_core.errors import SinGANError
from singan_core.files import check_writable, write_text
from singan_core.images import check_image
from singan_core.metrics import Interval, check_level

CHOICES = {"paired": ("left", "right"), "unpaired": ("real", "fake")}
"""What a rater can answer: on which side the photograph is, or whether the picture is one."""

PHOTOGRAPH = "photograph"
"""The condition of a trial that shows a photograph alone."""

_T = TypeVar("_T")

Pictures = Mapping[str, Tensor]
"""Pictures (n, 3, H, W) by the name of the photograph that they are of."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One question: the pictures (1, 3, H, W) from left to right, and the right answer, one of CHOICES[kind].

    picture: the photograph's name. condition: how the sample was made, PHOTOGRAPH for a photograph alone.
    """

    kind: str
    picture: str
    condition: str
    images: tuple[Tensor, ...]
    truth: str


@dataclass(frozen=True)
class Answer:
    """What one rater answered in one trial; the fields are the columns of the files.

    exposure: seconds for which the pictures were shown at most. seconds: from their appearance to the answer.
    """

    rater: str
    kind: str
    trial: int
    picture: str
    condition: str
    truth: str
    answer: str
    exposure: float
    seconds: float


def plan_trials(
    photographs: Pictures, samples: Mapping[str, Pictures], *, kind: str, count: int, seed: int = 0
) -> list[Trial]:
    """Trials in random order, with all conditions equally often, and all names within each: up to one trial.

    photographs: real pictures by name, one or more of each. samples: by condition, then by name, of the same names;
    where every condition has every name, the names come equally often over all conditions, too. kind: `paired`, where
    the photograph is on the left in half of the trials, or `unpaired`, where half of them show photographs. count: of
    trials. A picture is shown again only after all others of its name and condition. Raises SinGANError for an unknown
    kind, fewer than two trials, a sample without photograph, a condition called PHOTOGRAPH, what is no picture, and a
    seed below 0.
    """
    if kind not in CHOICES:
        raise SinGANError(f"A survey is {' or '.join(CHOICES)}, not {kind!r}.")
    if not is_whole(count) or count < 2:
        raise SinGANError(f"A survey needs 2 trials or more, got {count!r}.")
    if not all(isinstance(each, Mapping) for each in (photographs, samples)) or not all(
        isinstance(each, Mapping) for each in samples.values()
    ):
        raise SinGANError(
            "Photographs are given by name, {'hills': images}, and samples by condition and name, "
            "{'level 0': {'hills': images}}."
        )
    if PHOTOGRAPH in samples:
        raise SinGANError(f"Samples cannot have the condition {PHOTOGRAPH!r}, which is that of photographs: rename it.")
    rng = _generator(seed)
    real = [(name, PHOTOGRAPH, each) for name, batch in photographs.items() for each in _each(batch, name)]
    fake = [
        (name, condition, each)
        for condition, of_names in samples.items()
        for name, batch in of_names.items()
        for each in _each(batch, f"{condition}, {name}")
    ]
    if not real or not fake or {name for name, *_ in fake} - set(photographs):
        raise SinGANError("A survey needs photographs and samples, and a photograph of each name in the samples.")
    trials = []
    if kind == "paired":
        sides = _shuffled(["left", "right"] * math.ceil(count / 2), rng)[:count]
        beside = {
            name: itertools.cycle(_shuffled([each for of, _, each in real if of == name], rng)) for name in photographs
        }
        for (name, condition, sample), side in zip(_even(fake, count, rng), sides, strict=True):
            pair = (next(beside[name]), sample)
            trials.append(Trial(kind, name, condition, pair if side == "left" else pair[::-1], side))
    else:
        for pool, truth, number in ((real, "real", count // 2), (fake, "fake", count - count // 2)):
            for name, condition, picture in _even(pool, number, rng):
                trials.append(Trial(kind, name, condition, (picture,), truth))
    return _shuffled(trials, rng)


class Survey:
    """One rater's way through the trials: `show` the current one, `answer` it, go on to the next.

    exposure: seconds for which pictures are shown; inf: until the answer. rater: a name without meaning, which becomes
    a part of the file's name: 1 to 64 letters from a to z, digits, _ or -; default: drawn by lot. clock: seconds that
    only ever grow. Raises SinGANError for no trials, an exposure that is not above 0, and another name.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        *,
        exposure: float = 1.0,
        rater: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        if not trials or not is_number(exposure) or not exposure > 0:
            raise SinGANError("A survey needs trials, and an exposure of more than 0 seconds.")
        if rater is not None and not (isinstance(rater, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", rater)):
            raise SinGANError(f"The rater is a name of 1 to 64 letters from a to z, digits, _ or -, not {rater!r}.")
        self.trials, self.exposure, self.clock = list(trials), exposure, clock
        self.rater = secrets.token_hex(4) if rater is None else rater
        self.answers: list[Answer] = []
        self._shown_at: float | None = None

    @property
    def current(self) -> Trial | None:
        """The trial to be answered; None after the last one."""
        return self.trials[len(self.answers)] if len(self.answers) < len(self.trials) else None

    def show(self) -> Trial:
        """The current trial, whose pictures appear now. Raises SinGANError after the last one."""
        if self.current is None:
            raise SinGANError("All trials are answered: save them, or begin a new survey.")
        self._shown_at = self.clock()
        return self.current

    def answer(self, choice: str) -> Answer:
        """Take the answer to the trial that was shown. Raises SinGANError before it was, and for another choice."""
        if self._shown_at is None:
            raise SinGANError("No picture has been shown yet.")
        trial = self.current
        if choice not in CHOICES[trial.kind]:
            raise SinGANError(f"The answer is {' or '.join(CHOICES[trial.kind])}, not {choice!r}.")
        given = Answer(
            self.rater,
            trial.kind,
            len(self.answers),
            trial.picture,
            trial.condition,
            trial.truth,
            choice,
            self.exposure,
            round(self.clock() - self._shown_at, 3),
        )
        self.answers.append(given)
        self._shown_at = None
        return given

    def file(self, folder: str | Path) -> Path:
        """The path of the answers, survey-<kind>-<rater>.csv in a folder that is made where there is none.

        Raises SinGANError where one cannot write, and where a file of this name holds anything but the first of these
        answers.
        """
        folder = to_path(folder)
        check_writable(folder)
        path = folder / f"survey-{self.trials[0].kind}-{self.rater}.csv"
        if path.exists():
            before = read_answers([path])
            if self.answers[: len(before)] != before:
                raise SinGANError(f"{path} has the answers of another survey: name another rater, or move the file.")
        return path

    def save(self, folder: str | Path) -> Path:
        """Write the answers so far to `file(folder)` and return it. Raises SinGANError where that cannot be done."""
        path = self.file(folder)
        write_text(path, answers_csv(self.answers))
        return path


def answers_csv(answers: Sequence[Answer]) -> str:
    """Answers as CSV text, with a line of the columns' names."""
    text = io.StringIO()
    # all texts in quotes: by itself the writer leaves out those of a carriage return, and the name is cut there
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(_COLUMNS)
    writer.writerows(dataclasses.astuple(each) for each in answers)
    return text.getvalue()


def read_answers(paths: str | Path | Sequence[str | Path]) -> list[Answer]:
    """The answers in the file of one rater or those of several, together; the same answer in two files counts once.

    Raises SinGANError for a file that is no such file or was cut, naming the line, and for two different answers of one
    rater to the same trial.
    """
    answers: dict[tuple[str, str, int], Answer] = {}
    for path in map(to_path, [paths] if isinstance(paths, str | Path) else paths):
        for number, line in _lines(path)[1:]:
            given = _parsed(line, f"{path}, line {number}")
            if answers.setdefault((given.rater, given.kind, given.trial), given) != given:
                raise SinGANError(
                    f"{path}, line {number}: rater {given.rater} has answered this trial otherwise before."
                )
    return list(answers.values())


def confusion(answers: Sequence[Answer], *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> Interval:
    """The share of wrong answers, with a bootstrap interval: 0 for raters who are always right, 0.5 for guesses.

    Answers of one rater belong together. So whole raters are drawn with replacement, each with all their answers; the
    interval of two or three raters is too narrow. With one rater the answers are drawn, and the interval is about this
    person alone. Where all draws are equal, as when nobody is wrong, they tell nothing: then it is Wilson's interval,
    for independent answers. `n` of the result is the number of answers. Raises SinGANError for no answers, no draws, a
    level outside (0, 1) and a seed below 0.
    """
    check_level(level)
    if not is_whole(draws) or draws < 1:
        raise SinGANError(f"A bootstrap needs 1 draw or more, got {draws!r}.")
    rng = _generator(seed)
    by_rater: dict[str, list[bool]] = {}
    for each in answers:
        by_rater.setdefault(each.rater, []).append(each.answer != each.truth)
    if not by_rater:
        raise SinGANError("There are no answers to count.")
    wrong, given = (np.array([count(each) for each in by_rater.values()]) for count in (sum, len))
    share, *ends = _wilson(int(wrong.sum()), len(answers), level)
    if len(by_rater) == 1:
        shares = rng.binomial(len(answers), share, size=draws) / len(answers)
    else:
        drawn = rng.integers(len(by_rater), size=(draws, len(by_rater)))
        shares = wrong[drawn].sum(axis=1) / given[drawn].sum(axis=1)
    if shares.min() < shares.max():
        ends = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(share, *ends, len(answers))


def share_difference(a: tuple[int, int], b: tuple[int, int], *, level: float = 0.95) -> Interval:
    """The difference of two shares, each (hits, answers), with Newcombe's interval; `n` is the number of all answers.

    For independent answers. It comes from the Wilson intervals of both shares, so that it holds for few answers and for
    shares near 0 or 1, too. Raises SinGANError for no answers, more hits than answers, and a level outside (0, 1).
    Source: Newcombe 1998, method 10.
    """
    check_level(level)
    for hits, answers in (a, b):
        if not 0 <= hits <= answers or answers < 1:
            raise SinGANError(f"A share is a number of hits among one answer or more, not {hits} of {answers}.")
    (p, low_p, high_p), (q, low_q, high_q) = (_wilson(*each, level) for each in (a, b))
    low, high = math.hypot(p - low_p, high_q - q), math.hypot(high_p - p, q - low_q)
    return Interval(p - q, p - q - low, p - q + high, a[1] + b[1])


def discriminability(confusion_rate: float, kind: str) -> float:
    """How far apart real and fake pictures look to somebody with this share of wrong answers, in standard deviations.

    In signal detection theory a picture is seen as a normal deviate of variance 1, around d' for photographs and 0 for
    samples; an unbiased rater is wrong with probability Phi(-d' / 2) on single pictures and Phi(-d' / sqrt 2) on pairs.
    This is d', and 0 for guesses. Raises SinGANError for a rate that is not between 0 and 1, and an unknown kind.
    Source: Macmillan and Creelman 2005, Detection Theory.
    """
    if kind not in CHOICES:
        raise SinGANError(f"A survey is {' or '.join(CHOICES)}, not {kind!r}.")
    if not 0 < confusion_rate < 1:
        raise SinGANError(f"A rate between 0 and 1 gives a finite d', {confusion_rate!r} does not.")
    return 0.0 - float(ndtri(confusion_rate)) * (2 if kind == "unpaired" else 2**0.5)


class SimulatedRater:
    """No person: answers of the model in `discriminability`, for trying out a survey and its evaluation.

    strength: d' by condition; what is not named has 0 and is told from a photograph by chance only. seed: of all that
    is random, 0 or more. What it answers is no evidence about any picture.

    On single pictures there is one criterion for all: half of the mean strength m of those that are named. A photograph
    is taken for real with probability Phi(m / 2), a sample of strength d' with Phi(m / 2 - d'), and a sample that is
    not named as often as a photograph: in 93 of 100 trials for m = 3.
    """

    def __init__(self, strength: Mapping[str, float], seed: int = 0):
        self.strength, self.rng = dict(strength), _generator(seed)

    def __call__(self, trial: Trial) -> str:
        """The answer to a trial, one of CHOICES."""
        apart = self.strength.get(trial.condition, 0.0)
        if trial.kind == "paired":
            photograph, sample = self.rng.normal(apart), self.rng.normal(0.0)
            right = photograph > sample
            return trial.truth if right else next(each for each in CHOICES["paired"] if each != trial.truth)
        typical = float(np.mean(list(self.strength.values()))) if self.strength else 0.0
        seen = self.rng.normal(typical if trial.truth == "real" else typical - apart)
        return "real" if seen > typical / 2 else "fake"


def _wilson(hits: int, answers: int, level: float) -> tuple[float, float, float]:
    """A share and the ends of its Wilson interval, within [0, 1]."""
    z, share = float(ndtri((1 + level) / 2)), hits / answers
    middle = (share + z**2 / (2 * answers)) / (1 + z**2 / answers)
    half = z / (1 + z**2 / answers) * math.sqrt(share * (1 - share) / answers + z**2 / (4 * answers**2))
    # rounding may lead past 0 and 1, and past the share where that is 0 or 1
    return share, min(max(0.0, middle - half), share), max(min(1.0, middle + half), share)


_COLUMNS = [field.name for field in dataclasses.fields(Answer)]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a file of answers with their numbers, the columns' names first. SinGANError for another file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SinGANError(f"Cannot read {path}: {error}.") from error
    names = lines[0][1] if lines else []
    if names == [";".join(_COLUMNS)]:
        raise SinGANError(f"{path} has semicolons between its columns, as Excel writes them: save it with commas.")
    if names != _COLUMNS:
        raise SinGANError(f"{path} is no file of a survey: its first line must be {','.join(_COLUMNS)}.")
    if not text.endswith(("\n", "\r")):
        raise SinGANError(f"{path}, line {lines[-1][0]} has no end, so the file was cut: get it again from its rater.")
    while not lines[-1][1]:
        lines.pop()
    return lines


def _parsed(line: list[str], where: str) -> Answer:
    try:
        rater, kind, trial, picture, condition, truth, answer, exposure, seconds = line
        given = Answer(rater, kind, int(trial), picture, condition, truth, answer, float(exposure), float(seconds))
    except ValueError as error:
        raise SinGANError(f"{where} does not hold an answer ({error}): leave the file as it was written.") from error
    if not {given.truth, given.answer} <= set(CHOICES.get(given.kind, ())):
        raise SinGANError(f"{where}: {given.answer!r} is no answer to a {given.kind!r} trial.")
    if given.trial < 0 or not given.exposure > 0 or not 0 <= given.seconds < math.inf:
        raise SinGANError(
            f"{where} does not hold an answer (a trial and seconds of 0 or more and an exposure above 0 are needed): "
            "leave the file as it was written."
        )
    return given


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(checked_seed(seed))


def _each(batch: Tensor, name: str) -> tuple[Tensor, ...]:
    return check_image(batch, name).split(1)


def _shuffled(values: Sequence[_T], rng: np.random.Generator) -> list[_T]:
    return [values[k] for k in rng.permutation(len(values))]


def _even(pool: list[tuple[str, str, Tensor]], count: int, rng: np.random.Generator) -> list[tuple[str, str, Tensor]]:
    """So many of a pool of (name, condition, picture): conditions equally often, then the names within each.

    Next is always what was used least, by condition, then by name within it. Of equals the first in a random order by
    diagonals is taken, (a, 0), (b, 1), (c, 2), (a, 3) and so on. Where every condition has every name, that order is
    the choice itself, and names are even over all conditions, too.
    """
    kinds: dict[tuple[str, str], list[Tensor]] = {}
    for name, condition, picture in pool:
        kinds.setdefault((name, condition), []).append(picture)
    sources = {kind: itertools.cycle(_shuffled(pictures, rng)) for kind, pictures in kinds.items()}
    names, conditions = (_shuffled(list(dict.fromkeys(each)), rng) for each in zip(*kinds, strict=True))
    rows, columns = len(conditions), len(names)
    table = [(names[(k + k // math.lcm(rows, columns)) % columns], conditions[k % rows]) for k in range(rows * columns)]
    rank = {kind: k for k, kind in enumerate(table)}
    of_condition, of_kind = Counter(), Counter()
    chosen = []
    for _ in range(count):
        kind = min(kinds, key=lambda each: (of_condition[each[1]], of_kind[each], rank[each]))
        of_condition[kind[1]] += 1
        of_kind[kind] += 1
        chosen.append((*kind, next(sources[kind])))
    return chosen
