"""The survey: which trials there are, what is kept of the answers, what files refuse, and rates with intervals."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

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


def spread(counts: Counter, of: list) -> int:
    """The difference between the largest and the smallest of these counts."""
    return max(counts[each] for each in of) - min(counts[each] for each in of)


@given(
    names=st.integers(1, 7),
    conditions=st.integers(1, 5),
    count=st.integers(2, 60),
    kind=st.sampled_from(sorted(CHOICES)),
)
@settings(max_examples=40)
def test_conditions_names_and_both_together_come_equally_often_up_to_one(names, conditions, count, kind):
    photographs = {str(k): pictures(2, 0.5) for k in range(names)}
    samples = {str(k): {name: pictures(2, -0.5) for name in photographs} for k in range(conditions)}  # names overlap
    trials = plan_trials(photographs, samples, kind=kind, count=count, seed=count)
    groups = [[trial for trial in trials if trial.condition != PHOTOGRAPH]]
    groups += [[trial for trial in trials if trial.condition == PHOTOGRAPH]] if kind == "unpaired" else []
    for group in groups:
        assert spread(Counter(trial.picture for trial in group), list(photographs)) <= 1
    assert spread(Counter(trial.condition for trial in groups[0]), list(samples)) <= 1
    both = [(name, condition) for name in photographs for condition in samples]
    assert spread(Counter((trial.picture, trial.condition) for trial in groups[0]), both) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_photographs_and_conditions_come_in_no_order(seed):
    half = [trial.truth for trial in plan_trials(PHOTOGRAPHS, SAMPLES, kind="unpaired", count=40, seed=seed)][:20]
    assert 2 <= half.count("real") <= 18  # others by chance once in some 10^6 seeds
    conditions = [trial.condition for trial in plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=40, seed=seed)]
    assert any(one == other for one, other in pairwise(conditions))


@given(count=st.integers(2, 40), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_conditions_come_equally_often_where_one_lacks_a_name(count, seed):
    trials = plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=count, seed=seed)
    assert spread(Counter(trial.condition for trial in trials), list(SAMPLES)) <= 1
    of_level_0 = Counter(trial.picture for trial in trials if trial.condition == "level 0")
    assert spread(of_level_0, list(PHOTOGRAPHS)) <= 1


def test_samples_of_one_kind_come_equally_often():
    trials = plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=24)
    shown = Counter(
        image[0, :, 0, 0].numpy().tobytes() for trial in trials for image in trial.images if not is_real(image)
    )
    assert sorted(shown.values()) == [2] * 6 + [4] * 3  # level 1 has only three samples for its half of the trials


def test_which_samples_are_shown_is_drawn_from_the_seed():
    shown = set()
    for seed in range(5):
        trials = plan_trials(PHOTOGRAPHS, {"level 0": {"hills": pictures(9, -0.5)}}, kind="paired", count=2, seed=seed)
        shown |= {image[0, 2, 0, 0].item() for trial in trials for image in trial.images if not is_real(image)}
    assert len(shown) > 2


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
        ({"samples": {"hills": pictures(2, -0.5)}}, "samples by condition and name"),
        ({"samples": pictures(2, -0.5)}, "samples by condition and name"),
        ({"photographs": pictures(2, 0.5)}, "Photographs are given by name"),
        ({"samples": {PHOTOGRAPH: SAMPLES["level 0"]}}, "cannot have the condition 'photograph'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"count": 4.0}, "2 trials or more"),
    ],
)
def test_what_makes_no_survey_is_refused(options, message):
    given = {"photographs": PHOTOGRAPHS, "samples": SAMPLES, "kind": "paired", "count": 4} | options
    with pytest.raises(SinGANError, match=message):
        plan_trials(given.pop("photographs"), given.pop("samples"), **given)


def test_numbers_of_numpy_are_numbers():
    trials = plan_trials(PHOTOGRAPHS, SAMPLES, kind="unpaired", count=np.int64(5), seed=np.int64(1))
    assert len(trials) == 5


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


@pytest.mark.parametrize("exposure", [0, -1.0, "1", None, float("nan")])
def test_an_exposure_that_is_none_is_refused(exposure):
    with pytest.raises(SinGANError, match="exposure of more than 0"):
        Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=4), exposure=exposure)


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
    for exposure in (0, -1.0, math.nan):
        with pytest.raises(SinGANError, match="exposure"):
            Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=2), exposure=exposure)


@pytest.mark.parametrize("rater", ["../../x", "a/b", "a b", "", "anna\n", "é", "a" * 65, 7])
def test_a_rater_whose_name_is_no_part_of_a_file_name_is_refused(rater):
    with pytest.raises(SinGANError, match="The rater is a name"):
        Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind="paired", count=2), rater=rater)


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


def test_a_rater_may_answer_surveys_of_both_kinds(tmp_path):
    paired = survey_of("anna", "lr")
    single = Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind="unpaired", count=2), rater="anna")
    while single.current is not None:
        single.show()
        single.answer("fake")
    assert read_answers([paired.save(tmp_path), single.save(tmp_path)]) == paired.answers + single.answers


def survey_of(rater: str, choices: str, kind: str = "paired") -> Survey:
    """A survey with these answers: l for left, r for right."""
    survey = Survey(plan_trials(PHOTOGRAPHS, SAMPLES, kind=kind, count=4), rater=rater, clock=lambda: 0.0)
    for choice in choices:
        survey.show()
        survey.answer({"l": "left", "r": "right"}[choice])
    return survey


def test_a_file_grows_with_its_survey(tmp_path):
    survey = survey_of("anna", "")
    for choice in ("left", "right", "left"):
        survey.show()
        survey.answer(choice)
        assert read_answers(survey.save(tmp_path)) == survey.answers
    assert survey.save(tmp_path) == tmp_path / "survey-paired-anna.csv"


def test_a_file_may_lie_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    survey = survey_of("anna", "lr")
    assert survey.save("~/here") == tmp_path / "here" / "survey-paired-anna.csv"
    assert read_answers("~/here/survey-paired-anna.csv") == survey.answers


@pytest.mark.parametrize("choices", ["", "r", "l", "lrrl"])
def test_the_answers_of_another_survey_are_not_overwritten(tmp_path, choices):
    path = survey_of("anna", "lrl").save(tmp_path)
    before = path.read_bytes()
    with pytest.raises(SinGANError, match="has the answers of another survey"):
        survey_of("anna", choices).save(tmp_path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_survey_is_not_overwritten(tmp_path):
    survey = survey_of("anna", "l")
    survey.file(tmp_path).write_text("my notes\n")
    with pytest.raises(SinGANError, match="no file of a survey"):
        survey.save(tmp_path)
    assert (tmp_path / "survey-paired-anna.csv").read_text() == "my notes\n"


def test_answers_cannot_be_saved_in_a_file(tmp_path):
    (tmp_path / "folder").write_text("")
    with pytest.raises(SinGANError, match="Cannot write to the folder"):
        survey_of("anna", "l").save(tmp_path / "folder")


text = st.text(st.characters(exclude_categories=["Cs"]))
seconds = st.floats(0, allow_infinity=False)


@example(rows=[("a", 'two\r\nlines, "quoted"; \r', "\n", 1.0, 0.5)])
@given(
    rows=st.lists(
        st.tuples(text, text, text, st.floats(0, exclude_min=True), seconds), max_size=3, unique_by=lambda row: row[0]
    )
)
def test_a_file_gives_back_what_was_written(rows, tmp_path_factory):
    written = [
        Answer(rater, "paired", k, name, condition, "left", "right", exposure, time)
        for k, (rater, name, condition, exposure, time) in enumerate(rows)
    ]
    path = tmp_path_factory.mktemp("answers") / "a.csv"
    path.write_bytes(answers_csv(written).encode())
    assert read_answers([path]) == written
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\n")
    assert read_answers([path]) == written, "with the mark of UTF-8 and empty lines at the end, as editors leave them"


def test_a_name_that_is_a_carriage_return_comes_back(tmp_path):
    written = [Answer("a", "paired", 0, "\r", "one\rtwo", "left", "right", 1.0, 0.5)]
    (tmp_path / "a.csv").write_bytes(answers_csv(written).encode())
    assert read_answers([tmp_path / "a.csv"]) == written


def test_one_path_is_a_file_of_one_rater(tmp_path):
    path = survey_of("anna", "lr").save(tmp_path)
    assert read_answers(path) == read_answers(str(path)) == read_answers([path])


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_is_refused_or_ends_with_a_whole_line(share, tmp_path_factory):
    whole = answers_csv(answers({"a": 1}, of=3))
    path = tmp_path_factory.mktemp("answers") / "cut.csv"
    path.write_text(whole[: int(share * len(whole))])
    try:
        read = read_answers([path])
    except SinGANError as error:
        assert "cut.csv" in str(error)
    else:
        assert path.read_text() == answers_csv(read)


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
        (answers_csv([]) + "a,paired,0,hills,level 0,left,left,1.0,0.5", "line 2 has no end"),
        (answers_csv([]) + '"a,paired,0,hills,level 0,left,left,1.0,0.5\n', "unexpected end of data"),
        (answers_csv([]) + "\na,paired,0,hills,level 0,left,left,1.0,0.5\n", "line 2 does not hold an answer"),
        (answers_csv([]).replace('"', "").replace(",", ";"), "has semicolons"),
        (answers_csv([]) + "a,paired,-1,hills,level 0,left,left,1.0,0.5\n", "a trial and seconds of 0 or more"),
        (answers_csv([]) + "a,paired,0,hills,level 0,left,left,1.0,nan\n", "a trial and seconds of 0 or more"),
        (answers_csv([]) + "a,paired,0,hills,level 0,left,left,1.0,inf\n", "a trial and seconds of 0 or more"),
        (answers_csv([]) + "a,paired,0,hills,level 0,left,left,1.0,-0.5\n", "a trial and seconds of 0 or more"),
        (answers_csv([]) + "a,paired,0,hills,level 0,left,left,0.0,0.5\n", "an exposure above 0"),
        (answers_csv([]) + "a,paired,0,hills,level 0,left,left,nan,0.5\n", "an exposure above 0"),
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


def wilson(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    return tuple(binomtest(hits, of).proportion_ci(level, "wilson"))


@given(raters=st.integers(1, 6), of=st.integers(1, 30), all_wrong=st.booleans(), level=st.floats(0.5, 0.99))
@settings(max_examples=20)
def test_where_nobody_or_everybody_is_wrong_the_interval_is_wilsons(raters, of, all_wrong, level):
    found = confusion(answers({str(k): of * all_wrong for k in range(raters)}, of=of), level=level, draws=50)
    n = raters * of
    assert (found.low, found.high) == pytest.approx(wilson(n * all_wrong, n, level))
    assert 0 <= found.low <= found.mean == all_wrong <= found.high <= 1 and found.low < found.high


@pytest.mark.parametrize("raters", [{"a": 12}, {"a": 5, "b": 15}])
def test_a_single_draw_tells_nothing_so_that_the_interval_is_wilsons(raters):
    found = confusion(answers(raters, of=40), draws=1)
    assert (found.low, found.high) == pytest.approx(wilson(sum(raters.values()), 40 * len(raters)))


def test_equal_raters_are_as_good_as_independent_answers():
    found = confusion(answers({str(k): 9 for k in range(20)}, of=30))
    assert (found.low, found.high) == pytest.approx(wilson(180, 600))


def test_the_interval_of_raters_who_guess_counts_their_scatter_once():
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(20):
        found = confusion(answers({str(k): int(rng.binomial(30, 0.3)) for k in range(20)}, of=30), draws=400)
        widths.append(found.high - found.low)
    binomial = 2 * 1.96 * np.sqrt(0.3 * 0.7 / 600)
    # 20 raters: narrower by sqrt(19 / 20), and their scatter is known to 1 / sqrt(2 * 20) in each of 20 surveys: 4 %
    assert np.mean(widths) == pytest.approx(binomial, rel=0.12)


def test_raters_with_more_answers_weigh_more():
    found = confusion([*answers({"a": 90}, of=90), *answers({"b": 0}, of=10)])
    assert (found.mean, found.low, found.high, found.n) == (0.9, 0.0, 1.0, 100)


def test_raters_with_more_answers_weigh_more_in_the_interval_too():
    # in half of the draws both are drawn, and 90 of 100 answers are wrong: the level leaves only these
    found = confusion([*answers({"a": 90}, of=90), *answers({"b": 0}, of=10)], level=0.3)
    assert (found.low, found.mean, found.high) == (0.9, 0.9, 0.9)


def test_no_answers_have_no_rate():
    with pytest.raises(SinGANError, match="no answers"):
        confusion([])


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, math.nan])
def test_levels_outside_0_to_1_are_refused(level):
    with pytest.raises(SinGANError, match="between 0 and 1"):
        confusion(answers({"a": 1}, of=3), level=level)
    with pytest.raises(SinGANError, match="between 0 and 1"):
        share_difference((1, 2), (1, 3), level=level)


@pytest.mark.parametrize(("options", "message"), [({"draws": 0}, "1 draw or more"), ({"seed": -1}, "seed must be")])
def test_a_bootstrap_that_is_none_is_refused(options, message):
    with pytest.raises(SinGANError, match=message):
        confusion(answers({"a": 1, "b": 2}, of=3), **options)


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


@pytest.mark.parametrize("kind", CHOICES)
def test_a_guess_has_a_discriminability_of_0_without_a_sign(kind):
    assert str(discriminability(0.5, kind)) == "0.0"


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


def wrong_by_condition(given: list[Answer]) -> dict[str, float]:
    of = Counter(each.condition for each in given)
    wrong = Counter(each.condition for each in given if each.answer != each.truth)
    return {condition: wrong[condition] / of[condition] for condition in of}


def test_the_simulated_rater_tells_unequal_conditions_apart_beside_their_photographs():
    found = wrong_by_condition(answered("paired", 3000, SimulatedRater({"level 0": 2.0}, seed=2)))
    wanted = {"level 0": norm.cdf(-(2**0.5)), "level 1": 0.5}
    assert found == pytest.approx(wanted, abs=0.04)  # three standard errors of 1500 answers


@pytest.mark.parametrize(("first", "second"), [(2.0, 0.5), (3.0, None)])
def test_the_simulated_rater_has_one_criterion_for_all_single_pictures(first, second):
    strength = {"level 0": first} | ({} if second is None else {"level 1": second})
    mean = sum(strength.values()) / len(strength)
    found = wrong_by_condition(answered("unpaired", 4000, SimulatedRater(strength, seed=3)))
    wanted = {
        PHOTOGRAPH: norm.cdf(-mean / 2),
        "level 0": norm.cdf(mean / 2 - first),
        "level 1": norm.cdf(mean / 2 - (second or 0.0)),
    }
    assert found == pytest.approx(wanted, abs=0.05)  # three standard errors of 1000 answers


def test_a_simulated_rater_has_a_seed_from_0_on():
    with pytest.raises(SinGANError, match="seed must be"):
        SimulatedRater({}, seed=-1)
