"""The survey: which trials there are, what is kept of the answers, what files refuse, and rates with intervals."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from singan_core import SinGANError
from singan_core.survey import (
    CHOICES,
    PHOTOGRAPH,
    Answer,
    SimulatedRater,
    Survey,
    answers_csv,
    confusion,
    discriminability,
    plan_trials,
    read_answers,
    share_difference,
)


def pictures(n: int, value: float) -> torch.Tensor:
    """n even pictures, told from each other by their blue."""
    made = torch.full((n, 3, 4, 5), value)
    made[:, 2] = torch.linspace(-1, 1, n).view(-1, 1, 1)
    return made


PHOTOGRAPHS = {"hills": pictures(1, 0.5), "lake": pictures(1, 0.6)}
SAMPLES = {
    "level 0": {"hills": pictures(3, -0.5), "lake": pictures(3, -0.6)},
    "level 1": {"hills": pictures(3, -0.7)},
}


def is_real(image: torch.Tensor) -> bool:
    return image[0, 0, 0, 0].item() > 0


def answers(wrong: dict[str, int], of: int) -> list[Answer]:
    """So many answers of each rater, the first ones wrong."""
    return [
        Answer(rater, "paired", number, "hills", "level 0", "left", "right" if number < count else "left", 1.0, 0.5)
        for rater, count in wrong.items()
        for number in range(of)
    ]


def answered(kind: str, count: int, rater: SimulatedRater, name: str = "simulated", seed: int = 0) -> list[Answer]:
    survey = Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind=kind, count=count, seed=seed), rater=name)
    while survey.current is not None:
        survey.answer(rater(survey.show()))
    return survey.answers


# -- trials


@given(count=st.integers(2, 40), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_pair_is_a_sample_beside_its_photograph_on_either_side_in_half_of_the_trials(count, seed):
    trials = plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=count, seed=seed)
    assert len(trials) == count
    for trial in trials:
        left, right = trial.images
        assert is_real(left) != is_real(right) and is_real(left) == (trial.truth == "left")
        real = left if is_real(left) else right
        assert torch.equal(real, PHOTOGRAPHS[trial.picture])
    sides = Counter(trial.truth for trial in trials)
    assert abs(sides["left"] - sides["right"]) <= 1 + count % 2


@given(count=st.integers(2, 40), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_half_of_the_single_pictures_are_photographs(count, seed):
    trials = plan_trials(PHOTOGRAPHS, SAMPLES, kind="unpaired", count=count, seed=seed)
    assert Counter(trial.truth for trial in trials) == {"real": count // 2, "fake": count - count // 2}
    for trial in trials:
        (image,) = trial.images
        assert is_real(image) == (trial.truth == "real") == (trial.condition == PHOTOGRAPH)


def test_conditions_and_samples_come_equally_often():
    trials = plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=18)
    assert set(Counter((trial.picture, trial.condition) for trial in trials).values()) == {6}
    shown = Counter(
        image[0, :, 0, 0].numpy().tobytes() for trial in trials for image in trial.images if not is_real(image)
    )
    assert len(shown) == 9 and set(shown.values()) == {2}


def test_the_order_depends_on_the_seed_alone():
    def order(seed):
        return [
            (t.picture, t.condition, t.truth)
            for t in plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=20, seed=seed)
        ]

    assert order(0) == order(0) != order(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "triple"}, "paired or unpaired, not 'triple'"),
        ({"count": 1}, "2 trials or more"),
        ({"photographs": {"hills": PHOTOGRAPHS["hills"]}}, "a photograph of each name"),
        ({"samples": {}}, "needs photographs and samples"),
        ({"samples": {"level 0": {"hills": torch.zeros(3, 4, 5)}}}, "level 0, hills"),
    ],
)
def test_what_makes_no_survey_is_refused(options, message):
    given = {"photographs": PHOTOGRAPHS, "samples": SAMPLES, "kind": "paired", "count": 4} | options
    with pytest.raises(SinGANError, match=message):
        plan_trials(given.pop("photographs"), given.pop("samples"), **given)


# -- one rater


def test_an_answer_holds_the_trial_and_the_time_but_no_person():
    now = iter([10.0, 10.75])
    trials = plan_trials(PHOTOGRAPHS, SAMPLES, kind="unpaired", count=2)
    survey = Survey(trials, exposure=0.5, clock=lambda: next(now))
    assert survey.show() is trials[0]
    given = survey.answer("fake")
    assert (given.seconds, given.exposure, given.trial, given.answer) == (0.75, 0.5, 0, "fake")
    assert (given.picture, given.condition, given.truth) == (trials[0].picture, trials[0].condition, trials[0].truth)
    assert survey.current is trials[1]
    assert len(survey.rater) == 8 and Survey(trials).rater != survey.rater


def test_answers_without_a_question_are_refused():
    survey = Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=2))
    with pytest.raises(SinGANError, match="No picture has been shown"):
        survey.answer("left")
    survey.show()
    with pytest.raises(SinGANError, match="left or right, not 'real'"):
        survey.answer("real")
    survey.answer("left")
    with pytest.raises(SinGANError, match="No picture has been shown"):
        survey.answer("left")
    survey.show()
    survey.answer("right")
    with pytest.raises(SinGANError, match="All trials are answered"):
        survey.show()


def test_a_survey_needs_trials_and_a_time():
    with pytest.raises(SinGANError, match="needs trials"):
        Survey([])
    with pytest.raises(SinGANError, match="exposure"):
        Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=2), exposure=0)


# -- files


def test_files_of_several_raters_are_merged_and_a_copy_counts_once(tmp_path):
    paths = []
    for name in ("a1", "b2"):
        survey = Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=4), rater=name)
        while survey.current:
            survey.show()
            survey.answer("left")
        paths.append(survey.save(tmp_path))
    assert [path.name for path in paths] == ["survey-paired-a1.csv", "survey-paired-b2.csv"]
    copy = tmp_path / "copy.csv"
    copy.write_bytes(paths[0].read_bytes())
    merged = read_answers([*paths, copy])
    assert Counter(each.rater for each in merged) == {"a1": 4, "b2": 4}
    assert merged[4:] == survey.answers


def test_a_rater_cannot_answer_a_trial_twice(tmp_path):
    first, second = (tmp_path / name for name in ("first.csv", "second.csv"))
    first.write_text(answers_csv(answers({"a": 0}, of=2)))
    second.write_text(answers_csv(answers({"a": 1}, of=2)))
    with pytest.raises(SinGANError, match=r"second.csv, line 2: rater a has answered this trial otherwise"):
        read_answers([first, second])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line must be rater,kind"),
        ("a,b\n", "its first line must be rater,kind"),
        (answers_csv([]) + "a,paired,0,hills\n", "line 2 does not hold an answer"),
        (answers_csv([]) + "a,paired,first,hills,level 0,left,right,1.0,0.5\n", "line 2 does not hold an answer"),
        (answers_csv([]) + "a,paired,0,hills,level 0,left,perhaps,1.0,0.5\n", "'perhaps' is no answer"),
        (answers_csv([]) + "a,tasted,0,hills,level 0,left,left,1.0,0.5\n", "no answer to a 'tasted' trial"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, text, message):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(SinGANError, match=f"own.csv.*{message}"):
        read_answers([path])


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(SinGANError, match=r"Cannot read .*none\.csv"):
        read_answers([tmp_path / "none.csv"])


# -- rates


def test_the_rate_is_the_share_of_wrong_answers():
    found = confusion(answers({"a": 5, "b": 15}, of=40))
    assert found.mean == 0.25 and found.n == 80
    assert found.low < 0.25 < found.high


def test_the_interval_of_one_rater_is_that_of_a_binomial_share():
    found = confusion(answers({"a": 30}, of=100), draws=4000)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 100)
    assert found.low == pytest.approx(0.3 - half, abs=0.015) and found.high == pytest.approx(0.3 + half, abs=0.015)


def test_raters_who_differ_widen_the_interval():
    alike = confusion(answers(dict.fromkeys("abcdef", 20), of=40))
    apart = confusion(answers({"a": 0, "b": 40, "c": 0, "d": 40, "e": 0, "f": 40}, of=40))
    assert alike.mean == apart.mean == 0.5
    assert apart.high - apart.low > 3 * (alike.high - alike.low)


def test_no_answers_have_no_rate():
    with pytest.raises(SinGANError, match="no answers"):
        confusion([])


def test_the_interval_of_a_difference_is_that_of_newcombes_examples():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/20
    for a, b, low, high in (
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ):
        found = share_difference(a, b)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
        assert found.mean == a[0] / a[1] - b[0] / b[1]
        assert share_difference(b, a).low == pytest.approx(-found.high)


@pytest.mark.parametrize("share", [(0, 0), (3, 2), (-1, 2)])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(SinGANError, match="A share is a number of hits"):
        share_difference((1, 2), share)


@given(apart=st.floats(0.05, 3))
@settings(max_examples=20)
def test_discriminability_undoes_the_model(apart):
    assert discriminability(norm.cdf(-apart / 2), "unpaired") == pytest.approx(apart)
    assert discriminability(norm.cdf(-apart / 2**0.5), "paired") == pytest.approx(apart)


def test_discriminability_of_no_rate_is_refused():
    with pytest.raises(SinGANError, match="between 0 and 1"):
        discriminability(0.0, "paired")
    with pytest.raises(SinGANError, match="paired or unpaired"):
        discriminability(0.3, "both")


@pytest.mark.parametrize("kind", CHOICES)
@pytest.mark.parametrize("apart", [0.0, 1.5])
def test_the_simulated_rater_follows_the_model(kind, apart):
    rater = SimulatedRater({"level 0": apart, "level 1": apart}, seed=1)
    found = confusion(answered(kind, 2000, rater), draws=10).mean
    wanted = norm.cdf(-apart / (2 if kind == "unpaired" else 2**0.5))
    assert found == pytest.approx(wanted, abs=0.035)  # three standard errors of 2000 answers
