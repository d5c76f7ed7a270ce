"""The forecast of a training's time and memory: its arithmetic, and what it says about a real training."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from singan_core import SinGANError, TrainConfig, pyramid_shape, train
from singan_core import forecast as module
from singan_core.costs import training_costs
from singan_core.forecast import Forecast, Pace, forecast, iteration_times, measure_pace, peak_memory, training_seconds

CPU = torch.device("cpu")
SMALL = TrainConfig.for_profile("smoke", max_size=40)
RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
SLOW = Pace(CPU, {8: (1e-9, 1e-3)})
"""1 ns for an operation and 1 ms for a pass, where none has to be measured."""


def test_the_time_is_that_of_all_iterations_of_all_levels():
    shape = pyramid_shape((60, 96), min_size=SMALL.min_size, max_size=SMALL.max_size)
    costs = training_costs(SMALL, shape)
    seconds = sum(8 * (1e-9 * cost.operations + 1e-3 * cost.passes) for cost in costs)
    found = forecast((60, 96), SMALL, SLOW)
    assert found.seconds == pytest.approx(seconds)
    assert found.operations == pytest.approx(sum(8 * cost.operations for cost in costs))


def test_the_memory_is_that_of_the_largest_level_and_of_what_a_process_takes_besides():
    shape = pyramid_shape((60, 96), min_size=SMALL.min_size, max_size=SMALL.max_size)
    costs = training_costs(SMALL, shape)
    expected = 45e6 + max(2.05 * cost.maps + cost.kept for cost in costs)
    assert forecast((60, 96), SMALL, SLOW).memory == pytest.approx(expected)
    on_gpu = Pace(torch.device("cuda"), SLOW.seconds)
    assert forecast((60, 96), SMALL, on_gpu).memory == max(cost.maps + cost.kept for cost in costs)


def test_a_width_that_was_not_timed_has_the_pace_of_the_nearest():
    (cost,) = training_costs(SMALL, pyramid_shape((15, 15), min_size=15))
    pace = Pace(CPU, {8: (1e-9, 0.0), 64: (1e-10, 0.0)})
    assert [pace.of_iteration(cost, kernels) / cost.operations for kernels in (4, 16, 30, 128)] == pytest.approx(
        [1e-9, 1e-9, 1e-10, 1e-10]
    )


def test_each_level_has_the_pace_of_its_width():
    config = replace(SMALL, double_kernels_every=1, max_kernels=16)
    costs = training_costs(config, pyramid_shape((60, 96), min_size=config.min_size, max_size=config.max_size))
    seconds = {8: 1e-3, 16: 5e-3}
    pace = Pace(CPU, {kernels: (0.0, each) for kernels, each in seconds.items()})
    expected = sum(
        cost.iterations * cost.passes * seconds[config.kernels_at(level)] for level, cost in enumerate(costs)
    )
    assert len({config.kernels_at(level) for level in range(len(costs))}) == 2
    assert forecast((60, 96), config, pace).seconds == pytest.approx(expected)


def test_the_pace_is_that_of_the_precision_and_of_how_often_there_is_a_penalty(monkeypatch):
    timed = []
    monkeypatch.setattr(module, "_timed", lambda config, *_: timed.append(config) or 1.0)
    measure_pace(replace(SMALL, precision="float64", penalty_every=3), levels=1, device="cpu")
    assert {(each.precision, each.penalty_every, each.kernels) for each in timed} == {("float64", 3, SMALL.kernels)}


def test_iterations_that_share_a_penalty_are_timed_together(monkeypatch):
    class Trainer:
        config, graphs, seconds = replace(SMALL, penalty_every=4, discriminator_steps=1), None, 0.0
        steps = 0

        def step(self) -> None:
            self.steps += 1
            Trainer.seconds += 5.0 if self.steps % 4 == 0 else 1.0

    monkeypatch.setattr(module.time, "perf_counter", lambda: Trainer.seconds)
    assert module._median(Trainer(), 20.0, CPU) == 2.0  # (1 + 1 + 1 + 5) / 4


def test_the_pace_is_measured_for_every_width_and_explains_both_timings(monkeypatch):
    times = {}

    def timed(config, side, seconds, device):
        (cost,) = training_costs(config, pyramid_shape((side, side), min_size=side, max_size=side))
        times[config.kernels, side] = 2e-9 * cost.operations + 3e-4 * cost.passes
        return times[config.kernels, side]

    monkeypatch.setattr(module, "_timed", timed)
    pace = measure_pace(TrainConfig(), device="cpu")
    assert pace.seconds.keys() == {32, 64, 128} and len(times) == 6
    for operation, each_pass in pace.seconds.values():
        assert (operation, each_pass) == pytest.approx((2e-9, 3e-4))
    assert measure_pace(TrainConfig(), levels=4, device="cpu").seconds.keys() == {32}


def test_settings_that_take_hours_are_timed_in_moments(monkeypatch):
    timed = []
    monkeypatch.setattr(module, "_timed", lambda config, side, *_: timed.append((config, side)) or 1.0)
    huge = TrainConfig.for_size(2000, base=TrainConfig(kernels=64, penalty_every=1000))
    assert huge.layers > 40 and huge.kernels > 500
    measure_pace(huge, device="cpu")
    for config, side in timed:
        (cost,) = training_costs(config, pyramid_shape((side, side), min_size=side, max_size=side))
        assert cost.operations < 5e11


def test_networks_wider_than_the_widest_are_not_timed(monkeypatch):
    monkeypatch.setattr(module, "_timed", lambda *_: 1.0)
    wide = TrainConfig(kernels=64, max_kernels=512, double_kernels_every=1)
    assert measure_pace(wide, device="cpu").seconds.keys() == {64, 128}


def test_a_disturbed_timing_never_makes_operations_free(monkeypatch):
    monkeypatch.setattr(module, "_timed", lambda config, side, *_: 1.0 if side == module.SMALL else 0.5)
    ((operation, each_pass),) = measure_pace(SMALL, levels=1, device="cpu").seconds.values()
    assert operation > 0 and each_pass >= 0


@pytest.fixture
def processor_time(monkeypatch):
    """Timings of `forecast` in processor time: other programs may have the cores."""
    monkeypatch.setattr(module.time, "perf_counter", time.process_time)


@pytest.mark.system
def test_forecast_and_measured_times_of_the_levels_are_right_within_a_factor(processor_time):
    picture = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    config = TrainConfig.for_profile("smoke", max_size=64, iterations=40)
    expected = forecast((48, 64), config, measure_pace(config, seconds=0.4, device="cpu")).seconds
    times = iteration_times(picture, config, seconds=0.1, device="cpu")
    assert len(times) == len(pyramid_shape((48, 64), min_size=config.min_size, max_size=64))
    started = time.process_time()
    train(picture, config, progress=False, device="cpu")
    taken = time.process_time() - started
    assert expected / 3 < taken < 3 * expected
    assert training_seconds(config, times) / 2 < taken < 2 * training_seconds(config, times)


def test_a_schedule_does_not_change_the_time_of_an_iteration(processor_time):
    picture = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    config = TrainConfig.for_profile("smoke", max_size=64)
    usual = iteration_times(picture, config, seconds=0.1, device="cpu")
    shorter = iteration_times(
        picture, replace(config, iterations=2, iteration_decay=0.5), seconds=0.1, device="cpu"
    )  # of which the finest has one
    assert len(usual) == len(shorter) and sum(usual) / 2 < sum(shorter) < 2 * sum(usual)


def test_a_training_takes_the_iterations_that_its_schedule_leaves_each_level():
    config = replace(TrainConfig(), iterations=100, iteration_decay=0.25)
    assert training_seconds(replace(config, iteration_decay=0.0), [1.0, 2.0, 4.0]) == 700.0
    assert training_seconds(config, [1.0, 2.0, 4.0]) == pytest.approx(100 * 1.0 + 75 * 2.0 + 50 * 4.0)


def test_mixed_precision_counts_as_float32_where_the_device_has_none(monkeypatch):
    mixed, single = (replace(SMALL, precision=precision) for precision in ("mixed", "float32"))
    monkeypatch.setattr(module, "fast_bfloat16", lambda device: False)
    assert forecast((60, 96), mixed, SLOW) == forecast((60, 96), single, SLOW)
    monkeypatch.setattr(module, "fast_bfloat16", lambda device: True)
    assert forecast((60, 96), mixed, SLOW).memory < forecast((60, 96), single, SLOW).memory


def test_the_forecast_is_about_the_levels_of_these_settings():
    few, many = (forecast((60, 96), replace(SMALL, scale_factor=factor), SLOW) for factor in (0.5, 0.9))
    assert many.operations > 1.5 * few.operations


@pytest.mark.parametrize("training", ["whole image", "crops of 160 px"])
@pytest.mark.parametrize(
    ("results", "pace"),  # of the machine of that measurement
    [("scaling.json", (1 / 248e9, 2.08e-4)), ("avx512/scaling.json", (1 / 410e9, 1.3e-4))],
)
def test_the_form_of_the_forecast_fits_the_measured_curves_of_time_and_memory(results, pace, training, monkeypatch):
    measured = json.loads((RESULTS / results).read_text())
    monkeypatch.setattr(module, "fast_bfloat16", lambda device: True)
    for point in measured["points"][training]:
        config = TrainConfig.from_dict(measured["configs"][training] | {"max_size": point["max_size"]})
        found = forecast((1246, 2000), config, Pace(CPU, {32: pace}))
        assert found.seconds == pytest.approx(point["training_s"], rel=0.16)
        assert found.memory / 2**20 == pytest.approx(point["peak_mib"], rel=0.18)


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_the_form_of_the_forecast_fits_the_measured_memory_of_wide_networks(precision, monkeypatch):
    measured = json.loads((RESULTS / "memory.json").read_text())
    monkeypatch.setattr(module, "fast_bfloat16", lambda device: True)
    found = forecast((640, 1024), TrainConfig.for_profile("paper", precision=precision), SLOW)
    assert found.memory / 2**20 == pytest.approx(
        measured["settings"]["paper"][f"ours, {precision}"]["peak_mib"], rel=0.16
    )


def test_peak_memory_grows_with_the_size_and_says_the_same_again():
    picture = torch.rand(1, 3, 60, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    small, large, again = (
        peak_memory(picture, TrainConfig.for_profile("smoke", max_size=size), device="cpu") for size in (32, 64, 32)
    )
    assert large > 4 * small  # as many pixels, and fewer of them are lost to the borders
    assert again == small


def test_a_picture_that_cannot_be_trained_has_no_forecast():
    with pytest.raises(SinGANError, match="below min_size"):
        forecast((20, 20), TrainConfig(), SLOW)


@pytest.mark.parametrize(
    ("seconds", "memory", "text"),
    [
        (0.2, 3e6, "about 1 s and 1 MB of memory"),
        (52, 83e6, "about 52 s and 80 MB of memory"),
        (2400, 9.1e9, "about 40 min and 9.1 GB of memory"),
        (30000, 1.26e9, "about 8.3 h and 1.3 GB of memory"),
        (400_000, 63e9, "about 4.6 days and 63 GB of memory"),
        (17e6, 630e9, "about 200 days and 630 GB of memory"),
    ],
)
def test_a_forecast_reads_as_a_sentence(seconds, memory, text):
    assert str(Forecast(seconds, memory, 0.0)) == text


@pytest.mark.parametrize(("seconds", "text"), [(89, "89 s"), (91, "1.5 min"), (5300, "88 min"), (129_000, "36 h")])
def test_a_unit_begins_with_one_and_a_half(seconds, text):
    assert str(Forecast(seconds, 1e6, 0.0)) == f"about {text} and 1 MB of memory"
