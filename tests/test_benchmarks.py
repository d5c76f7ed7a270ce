"""The benchmarks run, write what they print, and measure what they say."""

import inspect
import json
import os
import subprocess
import time
from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from benchmarks import (
    __main__,
    common,
    convergence,
    crop_quality,
    isolated,
    memory,
    quality,
    sampling,
    scaling,
    speed,
    work,
)
from benchmarks.levels import (
    Climb,
    as_model,
    imresize_by_matrix,
    matrix_resize,
    reference_settings,
    train_on_reference,
    untrained,
)
from singan_core import SinGANError, TrainConfig, sample_image
from singan_core.config import PROFILES
from singan_core.convolution import Convolution
from singan_core.model import seeded_noise
from tests import reference
from tests.settings import other_value

pytestmark = pytest.mark.system

CPU = torch.device("cpu")
QUICK = ["--quick", "--device", "cpu"]


@pytest.fixture
def in_this_process(monkeypatch):
    """No new processes, which take seconds to start; arguments and results go through JSON as they would."""

    def call(function, **arguments):
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)))))

    monkeypatch.setattr(isolated, "isolated", call)


@pytest.fixture
def run(tmp_path, capsys):
    """run(module, name, *options): a quick run; gives its JSON, having compared its table with what it printed."""

    def run(module, name, *options):
        module.main([*QUICK, "--results", str(tmp_path), *options])
        written = (tmp_path / f"{name}.md").read_text()
        assert written.strip() in capsys.readouterr().out
        return json.loads((tmp_path / f"{name}.json").read_text()), written

    return run


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


# -- each benchmark


def test_speed_writes_times_totals_and_where_the_time_goes(run, tmp_path):
    document, text = run(speed, "speed", "--more-repeats", "1")
    found = document["settings"]["smoke"]
    assert len(found["seconds"]) == len(found["sizes"]) > 1
    names = ["reference", "reference, fast resize", "ours, float32", "ours, mixed"]
    assert all(list(level) == names for level in found["seconds"])
    assert min(seconds for level in found["seconds"] for values in level.values() for seconds in values) > 0
    assert found["speedup"]["reference, fast resize"]["value"] == 1
    for name in names[2:]:
        assert 0 < found["utilisation"][name]["rate"] < found["utilisation"][name]["machine_peak"] * 10
        assert sum(found["profile"][name].values()) == pytest.approx(1)
        assert found["profile"][name]["convolution backward"] > 0
    assert "convolution's peak" in text and document["machine"]["torch"]
    assert (tmp_path / "speed.png").stat().st_size > 0


def test_memory_compares_the_reference_with_each_precision(run, in_this_process):
    document, text = run(memory, "memory", "--precisions", "float32")
    assert list(document["settings"]["smoke"]) == ["reference", "ours, float32"]
    assert "peak (MiB)" in text


def test_scaling_writes_both_curves(run, in_this_process, tmp_path):
    document, text = run(scaling, "scaling", "--budget", "0.01")
    whole, crops = document["points"].values()
    assert [point["max_size"] for point in whole] == [point["max_size"] for point in crops] == [30, 60]
    assert whole[0]["pixels"] == 30 * 30 and len(whole[0]["levels"]) < len(whole[1]["levels"])
    assert "crops of 44 px" in text and (tmp_path / "scaling.png").exists()


def test_sampling_compares_the_authors_loop_with_batches(run):
    document, _ = run(sampling, "sampling")
    found = document["profiles"]["smoke"]
    assert list(found["seconds_per_sample"]) == ["reference", "reference, fast resize", "ours, n = 1", "ours, n = 3"]
    assert found["largest_difference"] <= sampling.GRAY_LEVEL
    assert found["speedup"]["reference"]["reference"]["value"] == 1


def test_the_quality_benchmark_writes_table_numbers_and_sheets(run, tmp_path):
    document, text = run(quality, "quality-smoke", "--profile", "smoke")
    result = document["results"]["mountains"]
    assert result["levels"] > 1 and result["seconds"] > 0
    assert result["frechet_features"].startswith("random-filters")
    assert f"{result['sliced_wasserstein']:.3f}" in text
    assert document["machine"]["torch"]
    assert (tmp_path / "quality-smoke-mountains.png").exists()


def test_the_quality_table_is_headed_by_the_features_it_was_measured_with():
    result = {
        "size": [80, 128], "levels": 6, "seconds": 190.0, "sliced_wasserstein": 0.01, "frechet": 0.1,
        "frechet_features": "inception-192-0cc3c7bd", "diversity": 0.2, "reconstruction_psnr": 31.0,
    }  # fmt: skip
    assert "inception-192-0cc3c7bd" in quality.table({"mountains": result})
    with pytest.raises(ValueError, match="different features"):
        quality.table({"a": result, "b": result | {"frechet_features": "random-filters-0"}})


ONE_ITERATION = ["--iterations", "1", "--paper-iterations", "1", "--laptop-iterations", "1"]


def test_convergence_writes_curves_and_does_not_train_again_what_it_has(run, tmp_path, monkeypatch):
    options = [*ONE_ITERATION, "2", "--points", str(tmp_path / "points")]
    document, text = run(convergence, "convergence", *options)
    counts = [(method, point["iterations"]) for method, means in document["means"].items() for point in means]
    assert counts == [("reference", 1), ("paper", 1), ("laptop", 1), ("laptop", 2)]
    assert all(point["seconds"] > 0 and point["sliced_wasserstein"] > 0 for point in document["points"])
    assert (tmp_path / "convergence.png").exists()

    monkeypatch.setattr(convergence, "trained", lambda *_: pytest.fail("trained again"))
    assert run(convergence, "convergence", *options) == (document, text)


def test_convergence_in_one_thread_counts_its_processor_time(run, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: threads)  # other tests go on with theirs
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    real = convergence.train

    def slow(*arguments, **options):
        time.sleep(1.0)  # takes no processor time
        return real(*arguments, **options)

    monkeypatch.setattr(convergence, "train", slow)
    options = [*ONE_ITERATION, "--points", str(tmp_path / "points")]
    document, text = run(convergence, "convergence", *options, "--one-thread")
    paper = next(point for point in document["points"] if point["method"] == "paper")
    assert 0 < paper["seconds"] < 1.0
    assert "processor time of one thread" in text


def test_crop_quality_writes_ratios_and_sheets(run, tmp_path):
    options = ["--images", "bricks", "--seeds", "0", "--points", str(tmp_path / "points")]
    document, _ = run(crop_quality, "crop_quality", *options)
    (both,), (ratios,) = document["pairs"], document["ratios"]
    expected = both["crop"]["sliced_wasserstein"] / both["whole"]["sliced_wasserstein"]
    assert ratios["sliced Wasserstein"] == pytest.approx(expected)
    assert (tmp_path / "crop_quality-bricks.png").exists() and (tmp_path / "crop_quality.png").exists()


def test_the_names_given_choose_the_benchmarks_and_failures_are_counted(monkeypatch):
    called = []
    monkeypatch.setattr(__main__.subprocess, "call", lambda command, cwd: called.append(command[2:]) or len(called) % 2)
    assert __main__.main(["memory", "speed", "--quick"]) == 1
    assert called == [["benchmarks.memory", "--quick"], ["benchmarks.speed", "--quick"]]
    with pytest.raises(SystemExit):
        __main__.main(["sped"])


# -- timing


def test_machines_of_a_long_measurement_are_all_named():
    machines = [{"device": "a", "load": 0.1}, {"device": "b", "load": 0.7}, {"device": "a", "load": None}]
    assert common.described(common.merged(machines)) == "Measured on: device a / b, load up to 0.7."


def test_timed_actions_take_turns_and_warm_ups_do_not_count():
    clock, order = Clock(), []
    durations = {"a": iter([100, 1, 2, 6]), "b": iter([50, 4, 4, 3])}

    def action(name):
        order.append(name)
        clock.wait(next(durations[name]))

    actions = {name: lambda name=name: action(name) for name in "ab"}
    times = common.interleaved(actions, 3, CPU, clock=clock)
    assert order == list("abababab")
    assert times == {"a": [1, 2, 6], "b": [4, 4, 3]}


def test_a_ratio_is_of_medians_with_the_spread_of_single_repeats():
    assert common.ratio([4, 4, 3], [1, 2, 6]) == (4 / 2, 3 / 6, 4 / 1)
    assert str(common.ratio([4, 4, 3], [1, 2, 6])) == "2.00 (0.50 to 4.00)"


@pytest.mark.parametrize("name", ["speed", "sampling"])
def test_in_one_thread_waiting_does_not_count(name, run, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: threads)  # other tests go on with theirs
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    document, text = run({"speed": speed, "sampling": sampling}[name], name, "--one-thread")
    assert document["time"] == "processor time of one thread" and document["time"] in text
    assert common.seconds(lambda: time.sleep(0.5), CPU) < 0.4
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert common.seconds(lambda: time.sleep(0.5), CPU) > 0.4
    assert common.kind_of_time(CPU) == "wall time"


def test_in_a_race_each_method_gets_its_own_time_alone():
    """Reference: 5 s with its resize and 3 s with the fast one; ours: 10 s for a period of two iterations."""
    clock = Clock()

    class Ours:
        period = 2

        def up(self):
            clock.wait(1000)

        def warm_up(self):
            clock.wait(70)

        def cycle(self):
            clock.wait(10)

    race = speed.Race({"ours": Ours()}, 3, 2, CPU, clock)
    own = reference.imresize
    with matrix_resize(), pytest.raises(speed.Enough):  # matrix_resize for putting back what the race switches
        for level in range(2):
            for _ in range(race.iterations):
                clock.wait(5 if reference.imresize is own else 3)
                race(level)
    assert race.times == 2 * [{speed.SLOW: [5.0] * 3, speed.FAIR: [3.0] * 3, "ours": [5.0] * 3}]
    assert reference.imresize is own


def test_totals_add_up_the_medians_of_the_levels():
    times = [
        {speed.FAIR: [2.0, 2.0, 4.0], "ours": [1.0, 1.0, 1.0]},
        {speed.FAIR: [6.0, 9.0, 6.0, 6.0], "ours": [3.0] * 4},
    ]
    assert speed.whole(times, speed.FAIR, 100) == 800
    assert speed.against_reference(times, "ours") == (8 / 4, 8 / 4, 11 / 4)


def test_a_busy_machine_is_told(monkeypatch, capsys):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9, 9), raising=False)
    common.warn_if_busy()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0, 0), raising=False)
    common.warn_if_busy()
    assert "the last minute is 1.5" in capsys.readouterr().err


# -- operations


def test_operations_are_counted_forward_backward_and_in_the_double_backward():
    first, second = nn.Conv2d(4, 6, 3, bias=False), nn.Conv2d(6, 1, 3, bias=False)
    image = torch.randn(1, 4, 12, 14, requires_grad=True)
    large, small = 2 * 6 * 4 * 9 * (10 * 12), 2 * 1 * 6 * 9 * (8 * 10)
    with work.OperationCounter() as counter:
        score = second(torch.tanh(first(image))).sum()
    assert counter.total == large + small
    with work.OperationCounter() as counter:
        (slope,) = torch.autograd.grad(score, image, create_graph=True)
    assert counter.total == large + small  # towards the input alone
    with work.OperationCounter() as counter:
        slope.square().mean().backward()
    # back through the slope: towards its inputs and the weights, for both; then through tanh and the first
    assert counter.total == 2 * (large + small) + 2 * large


def test_operations_are_those_of_direct_convolutions_on_every_processor(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    image, layer = torch.randn(1, 64, 102, 102), Convolution(64, 64, 3)
    with work.OperationCounter() as counter:
        layer(image).sum().backward()
    assert counter.total == 2 * (2 * 64 * 64 * 9 * 100 * 100)  # forward, and of the weights
    with work.OperationCounter() as again:
        layer(image)
    assert again.total == counter.total / 2 and torch._C._get_nnpack_enabled()


def test_operations_of_an_iteration_are_a_mean_over_steps_with_and_without_penalty():
    image = sample_image("bricks")
    configs = {n: TrainConfig.for_profile("smoke", max_size=20, penalty_every=n) for n in (1, 2, 4)}
    counted = {n: work.operations(image, config) for n, config in configs.items()}
    penalty = 2 * (counted[1] - counted[2])
    assert 0 < penalty < counted[1]
    assert counted[1] - counted[4] == pytest.approx(0.75 * penalty)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("aten::convolution_backward", "convolution backward"),
        ("aten::mkldnn_convolution", "convolution forward"),
        ("sm90_xmma_wgrad_implicit_gemm_bf16", "convolution backward"),
        ("aten::native_batch_norm", "batch norm"),
        ("aten::leaky_relu_", "activation"),
        ("aten::_fused_adam_", "optimizer"),
        ("aten::mul", "other"),
    ],
)
def test_operators_and_kernels_are_grouped_by_name(name, group):
    assert work.group_of(name) == group


# -- scaling


def test_what_comes_next_is_predicted_as_a_power_of_the_pixels():
    points = [{"pixels": 100, "peak_mib": 10.0}, {"pixels": 400, "peak_mib": 80.0}]
    assert scaling.predicted(points, "peak_mib", 1600) == pytest.approx(640)
    assert scaling.predicted(points[:1], "peak_mib", 300) == pytest.approx(30)


def test_points_that_are_too_large_or_take_too_long_are_left_out():
    points = [{"pixels": 100, "peak_mib": 10.0, "measured_s": 6.0}]
    assert scaling.reason_to_skip([], 1e9, 1, 1) is None
    assert scaling.reason_to_skip(points, 1000, limit=100, memory=200) is None
    assert "GiB of memory" in scaling.reason_to_skip(points, 10_000, limit=100, memory=200)
    assert "min to measure" in scaling.reason_to_skip(points, 10_000, limit=100, memory=2000)
    row = scaling.rows({}, {"whole image": {2000: "would need about 70 GiB of memory"}})[0]
    assert row["longer side (px)"] == "2000" and row["note"] == "left out: would need about 70 GiB of memory"


def test_pictures_are_enlarged_only_where_they_are_too_small(picture):
    assert scaling.enlarged(picture, 48) is picture
    assert scaling.enlarged(picture, 96).shape == (1, 3, 72, 96)


# -- memory, in a real process


def of_64_mib() -> float:
    """The measured peak of a tensor of 64 MiB that is gone at the end."""
    return isolated.peak_memory(lambda: float(torch.ones(2**24).sum()), CPU)[1]["peak_mib"]


def test_a_process_of_its_own_measures_its_peak():
    assert 60 < isolated.isolated(of_64_mib) < 75  # a few MiB are the interpreter's


@pytest.mark.parametrize(
    ("status", "errors", "message"),
    [(1, "Traceback\nValueError: nothing to measure\n", "nothing to measure"), (-9, "", "ended by signal 9")],
)
def test_a_process_without_a_result_is_told(monkeypatch, status, errors, message):
    ended = subprocess.CompletedProcess([], status, stdout="", stderr=errors)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(isolated.Failed, match=message):
        isolated.isolated(of_64_mib)


# -- the reference beside the package


@pytest.fixture(scope="module")
def small():
    return sample_image("bricks"), TrainConfig.for_profile("smoke", max_size=24, kernels=4, iterations=3)


@pytest.fixture(scope="module")
def by_reference(small):
    calls = []
    return *train_on_reference(*small, CPU, calls.append), calls


def test_the_reference_reports_each_iteration_with_its_level(by_reference, small):
    levels, _, _, calls = by_reference
    assert calls == [level for level in range(len(levels)) for _ in range(small[1].iterations)]


ARGUMENTS = inspect.signature(reference.train_reference).parameters
NO_MATTER = ("min_size", "max_size", "scale_factor", "penalty_every", "precision")
"""Settings of the pyramid, which the reference is given, and those in which the two may differ."""
NAMES = [field.name for field in fields(TrainConfig) if field.name not in NO_MATTER]


@pytest.mark.parametrize("name", [name for name in NAMES if name in ARGUMENTS])
def test_settings_that_the_reference_has_are_passed_on(small, name):
    value = other_value(small[1], name)
    assert reference_settings(replace(small[1], **{name: value}))[name] == value


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ARGUMENTS])
def test_settings_that_the_reference_does_not_have_are_refused(small, name):
    image, config = small
    config = replace(config, **{name: other_value(config, name)})
    with pytest.raises(SinGANError, match=f"does not have {name}:"):
        train_on_reference(image, config, CPU)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_reference_is_not_refused_the_settings_of_a_profile(profile):
    assert reference_settings(TrainConfig.for_profile(profile)).keys() <= ARGUMENTS.keys()


def test_the_references_networks_make_a_model_with_its_reconstruction(by_reference, small):
    levels, z_star, shape, _ = by_reference
    model = as_model(levels, z_star, small[1], shape)

    def reconstruction_noise(size):
        return z_star if size[1] == 1 else torch.zeros(size)

    own = sampling.draw_by_reference(model, [level["netG"] for level in levels], reconstruction_noise)
    # rounding alone: the resize sums in another order
    torch.testing.assert_close(model.reconstruct(), own, atol=1e-5, rtol=0)


def test_the_authors_loop_draws_the_packages_sample(small):
    model = untrained(*small, CPU)
    levels = iter(range(len(model.levels)))
    noise = seeded_noise(5, range(1), model.z_star)
    plain = sampling.draw_by_reference(
        model, sampling.reference_networks(model), lambda size: noise(next(levels), size)
    )
    torch.testing.assert_close(model.sample(1, seed=5), plain, atol=1e-5, rtol=0)


def test_the_fast_resize_gives_the_references_numbers(picture):
    with matrix_resize():
        assert reference.imresize is imresize_by_matrix
        fast = reference.imresize(picture, 1.3)
    torch.testing.assert_close(fast, reference.imresize(picture, 1.3), atol=1e-5, rtol=0)


def test_a_climb_trains_at_every_level_and_a_period_holds_whole_penalties(small):
    image, config = small
    climb = Climb(image, TrainConfig.from_dict(config.to_dict() | {"penalty_every": 6, "discriminator_steps": 4}), CPU)
    assert climb.period == 3  # 12 discriminator steps, two of them with a penalty
    sizes = []
    while climb.up():
        climb.cycle()
        sizes.append(tuple(climb.trainer.real.shape[-2:]))
    assert tuple(sizes) == climb.shape.sizes and len(climb.model.levels) == len(sizes)


# -- points


def test_a_finished_point_is_not_computed_again(tmp_path):
    path = tmp_path / "a" / "point.json"
    assert common.point(path, lambda: {"value": 1}) == {"value": 1}
    assert common.point(path, lambda: pytest.fail("computed again")) == {"value": 1}


def test_points_of_other_settings_have_other_names():
    names = {
        common.point_name("a", 1, config=TrainConfig(**settings)) for settings in ({}, {"alpha": 1.0}, {"seed": 1})
    }
    assert len(names) == 3


def test_quality_reached_is_the_shortest_training_that_is_as_near():
    curve = [{"seconds": 1, "frechet": 3.0}, {"seconds": 2, "frechet": 1.0}, {"seconds": 4, "frechet": 0.5}]
    assert convergence.time_to_reach(curve, "frechet", 1.0) == 2
    assert convergence.time_to_reach(curve, "frechet", 0.1) is None


def test_ratios_of_pictures_are_averaged_geometrically_over_seeds_first():
    def point(value):
        return {name: value for name in crop_quality.MEASURES} | {"reconstruction_psnr": 20 + value}

    both = {"whole": point(1.0), "crop": point(2.0)}
    pairs = {("a", 0): both, ("a", 1): both | {"crop": point(0.5)}, ("b", 0): both | {"crop": point(4.0)}}
    found = crop_quality.per_picture(pairs)
    assert found["a"]["diversity"] == pytest.approx(1.0) and found["b"]["diversity"] == pytest.approx(4.0)
    last = crop_quality.ratio_rows(pairs)[-1]
    assert last["diversity"].mean == pytest.approx(2.0) and last["diversity"].n == 2
