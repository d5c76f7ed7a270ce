"""Settings: profiles, checks, and what tells one training from another."""

import dataclasses
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from singan_core.config import _CHOICES, _RANGES, PROFILES, TrainConfig, resolve_profile
from singan_core.errors import SinGANError
from singan_core.model import pack
from singan_core.training import train
from tests.conftest import pytest_configure
from tests.settings import other_value

NAMES = [field.name for field in dataclasses.fields(TrainConfig)]
NUMBERS = [field.name for field in dataclasses.fields(TrainConfig) if field.type in (int, float)]
TEXTS = [field.name for field in dataclasses.fields(TrainConfig) if field.type is str]


def test_the_paper_profile_is_the_authors_code():
    config = TrainConfig.for_profile("paper")
    assert (config.min_size, config.max_size, config.scale_factor) == (25, 250, 0.75)
    assert (config.layers, config.kernels, config.max_kernels, config.double_kernels_every) == (5, 32, 128, 4)
    assert (config.alpha, config.penalty_weight, config.noise_amplitude) == (10.0, 0.1, 0.1)
    assert (config.iterations, config.discriminator_steps, config.generator_steps) == (2000, 3, 3)
    assert (config.learning_rate, config.decay_at * config.iterations) == (5e-4, 1600)
    assert config.penalty_every == 1 and config.residual and not config.noise_padding


def test_the_width_doubles_every_four_levels_up_to_128():
    config = TrainConfig()
    assert [config.kernels_at(level) for level in range(14)] == [32] * 4 + [64] * 4 + [128] * 6


def test_the_width_can_stay_constant():
    config = TrainConfig(double_kernels_every=0)
    assert {config.kernels_at(level) for level in range(20)} == {32}


def test_the_iterations_stay_or_fall_in_equal_steps_to_a_tenth():
    assert {TrainConfig().iterations_at(level) for level in range(20)} == {2000}
    config = TrainConfig(iteration_decay=0.1)
    assert [config.iterations_at(level) for level in range(12)] == [*range(2000, 0, -200), 200, 200]


@given(st.integers(1, 10**6), st.floats(0, 1), st.integers(0, 60))
def test_no_level_has_more_iterations_than_the_one_below_or_none(iterations, decay, level):
    config = TrainConfig(iterations=iterations, iteration_decay=decay)
    assert iterations >= config.iterations_at(level) >= config.iterations_at(level + 1) >= 1


def test_laptop_stays_at_128_pixels():
    assert TrainConfig.for_profile("laptop").max_size <= 128


def test_the_argument_wins_over_the_environment_and_that_over_the_machine(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert resolve_profile() == "laptop"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert resolve_profile() == "paper"
    monkeypatch.setenv("SINGAN_PROFILE", "smoke")
    assert resolve_profile() == "smoke"
    assert resolve_profile("laptop") == "laptop"


def test_an_unknown_profile_names_the_known_ones(monkeypatch):
    monkeypatch.setenv("SINGAN_PROFILE", "fast")
    with pytest.raises(SinGANError, match="smoke, laptop, paper"):
        resolve_profile()


def test_a_misspelt_setting_gets_a_suggestion():
    with pytest.raises(SinGANError, match="did you mean 'alpha'"):
        TrainConfig.for_profile("smoke", alpah=1.0)


def test_every_number_has_its_range_and_every_text_its_choices():
    """Settings that are True or False need neither; what is no setting has none."""
    assert _RANGES.keys() ^ NUMBERS == set(), "in _RANGES of singan_core/config.py alone, or missing there"
    assert _CHOICES.keys() ^ TEXTS == set(), "in _CHOICES of singan_core/config.py alone, or missing there"


@pytest.mark.parametrize(("table", "name"), [(_RANGES, "alpha"), (_CHOICES, "precision")])
def test_a_setting_without_range_or_choices_is_named_before_any_test_runs(monkeypatch, table, name):
    monkeypatch.delitem(table, name)
    with pytest.raises(pytest.UsageError, match=f"^{name}: .*_RANGES.*_CHOICES"):
        pytest_configure()


@given(name=st.sampled_from(NUMBERS), value=st.one_of(st.floats(), st.integers(), st.text(max_size=3), st.none()))
def test_any_value_is_taken_as_a_number_in_range_or_refused_by_name(name, value):
    try:
        config = TrainConfig.from_dict({name: value})
    except SinGANError as error:
        assert name in str(error)
    else:
        assert getattr(config, name) == value
        assert isinstance(getattr(config, name), (int, float))


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": -1},
        {"iterations": 0},
        {"iterations": 2.5},
        {"scale_factor": 1.0},
        {"learning_rate": float("nan")},
        {"layers": True},
        {"residual": 1},
        {"min_size": 300},
        {"max_kernels": 16},
        {"layers": 13},
        {"seed": -1},
        {"precision": "float16"},
        {"crop": 43},
        {"crop": 80, "layers": 10},
        {"texture_weight": -0.1},
        {"texture_features": "vgg19"},
        {"texture_weight": 0.01, "crop": 80},
    ],
)
def test_absurd_settings_are_refused(settings):
    with pytest.raises(SinGANError):
        TrainConfig.from_dict(settings)


def test_numbers_of_the_wrong_kind_are_converted_when_nothing_is_lost():
    config = TrainConfig(alpha=1, iterations=5.0)
    assert isinstance(config.alpha, float) and isinstance(config.iterations, int)
    assert config == TrainConfig(alpha=1.0, iterations=5)


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_survive_the_way_through_a_dictionary(profile):
    config = TrainConfig.for_profile(profile, seed=3)
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert TrainConfig.from_dict(config.changes()) == config


def test_only_what_differs_from_the_defaults_counts_as_a_change():
    assert TrainConfig().changes() == {}
    assert TrainConfig(alpha=1.0).changes() == {"alpha": 1.0}


SMALL = {"min_size": 12, "max_size": 40, "layers": 3, "kernels": 2, "max_kernels": 4, "double_kernels_every": 1}
"""Five levels, the first of them narrower than the others."""
AT_WORK = {"quantised_colours": {"quantised_level": 1}, "texture_features": {"texture_weight": 0.5}}
"""What some settings need beside them to have a part in a training."""


@cache
def outcome(config: TrainConfig) -> dict[str, list] | str:
    """The numbers in a pyramid of a random picture, or why there is none."""
    image = torch.rand(1, 3, 36, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    base = None
    if config.quantised_level:
        base = train(image, config.unquantised(), progress=False, device="cpu")
    try:
        model = train(image, config, base=base, progress=False, device="cpu")
    except SinGANError as error:
        return str(error)
    return {name: values.tolist() for name, values in pack(model)[0].items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_part_in_the_training(name):
    """The texture features vgg16 may do so by being refused, for their weights are not everywhere at hand."""
    config = TrainConfig.for_profile("smoke", iterations=2, **SMALL | AT_WORK.get(name, {}))
    other = dataclasses.replace(config, **{name: other_value(config, name)})
    assert isinstance(outcome(config), dict), outcome(config)
    changed = outcome(other) != outcome(config)
    assert changed, f"a training with {name}={getattr(other, name)} gives the same pyramid"


# -- settings for another size


@pytest.mark.parametrize(
    ("size", "coarsest", "layers", "kernels"), [(250, 25, 5, 32), (400, 40, 8, 48), (500, 50, 10, 64)]
)
def test_the_rule_of_high_res_singans_code_gives_its_settings(size, coarsest, layers, kernels):
    config = TrainConfig.for_size(size)
    assert (config.min_size, config.max_size, config.layers) == (coarsest, size, layers)
    assert {config.kernels_at(level) for level in range(20)} == {kernels}


def test_the_rule_of_the_report_squares_the_kernels_where_the_size_doubles():
    base = TrainConfig(max_size=100, kernels=5)
    assert [TrainConfig.for_size(size, rule="report", base=base).kernels for size in (100, 200, 400)] == [5, 25, 625]
    assert TrainConfig.for_size(500, rule="report").kernels == 1024
    doubled, squared = (TrainConfig.for_size(200, rule=rule, base=base).to_dict() for rule in ("code", "report"))
    differing = {name for name in doubled if doubled[name] != squared[name]}
    assert differing <= {"kernels", "max_kernels"}


@given(st.integers(12, 64), st.integers(2, 5), st.integers(1, 16), st.floats(1.0, 8.0))
def test_a_patch_of_level_0_covers_about_the_same_share_at_every_size(coarsest, layers, eights, ratio):
    base = TrainConfig(min_size=coarsest, layers=layers, kernels=8 * eights, max_size=256)
    grown = TrainConfig.for_size(round(ratio * base.max_size), base=base)
    ratio = grown.max_size / base.max_size
    before, after = ((2 * each.layers + 1) / each.min_size for each in (base, grown))
    # the field is an odd number of pixels, rounded down: up to two of them are missing
    assert before - 2 / grown.min_size - 1e-9 <= after <= before + 1e-9
    assert grown.kernels % 8 == 0 and base.kernels * ratio - 8.1 <= grown.kernels <= base.kernels * ratio + 0.1


def test_the_rules_leave_the_base_as_it_is_at_its_own_size():
    base = TrainConfig.for_profile("laptop", seed=3, alpha=2.0)
    assert TrainConfig.for_size(base.max_size, base=base) == base
    assert TrainConfig.for_size(base.max_size, rule="report", base=base) == base


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 100}, "too few"),
        ({"size": 510, "rule": "report"}, "narrower base"),
        ({"size": 2501}, "54 layers, too many"),
        ({"size": 16_000, "rule": "report"}, "too many"),
        ({"size": 500, "base": {"kernels": 1024, "max_kernels": 1024}}, "take a narrower base"),
        ({"size": 500, "rule": "double"}, "choose code or report"),
        ({"size": 0}, "max_size"),
    ],
)
def test_sizes_and_rules_that_make_no_settings_are_refused(arguments, message):
    arguments = arguments | {"base": TrainConfig(**arguments.get("base", {}))}
    with pytest.raises(SinGANError, match=message):
        TrainConfig.for_size(**arguments)
