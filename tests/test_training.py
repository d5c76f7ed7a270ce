"""Training: what each level learns from, what it reports, and how it fails."""

import copy
import gc
import signal
import threading
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singan_core import SinGAN, SinGANError, TrainConfig, train
from singan_core.files import read_tensors
from singan_core.graphs import can_record
from singan_core.losses import gradient_penalty
from singan_core.model import HISTORY_COLUMNS, pack
from singan_core.networks import trained_parameters
from singan_core.progress import iteration_costs
from singan_core.pyramid import build_pyramid, upsample
from singan_core.training import LevelTrainer, training_images
from singan_core.views import WholeImage


def train_tiny(picture, tiny, **changes):
    return train(picture, TrainConfig.from_dict(tiny.to_dict() | changes), progress=False, device="cpu")


def same_bits(one, other):
    left, right = pack(one)[0], pack(other)[0]
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_the_same_seed_gives_the_same_bits(picture, tiny, model):
    assert same_bits(train_tiny(picture, tiny), model)


def test_another_seed_gives_another_model(picture, tiny, model):
    assert not same_bits(train_tiny(picture, tiny, seed=1), model)


def test_training_does_not_touch_the_global_random_state(picture, tiny):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    train_tiny(picture, tiny, iterations=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_noise_amplitude_is_a_tenth_of_the_rmse_to_the_reconstruction_below(picture, tiny, model):
    reals = build_pyramid(picture, min_size=tiny.min_size, max_size=tiny.max_size).images
    assert model.levels[0].amplitude == 1.0
    for n in range(1, len(model.levels)):
        rebuilt = upsample(model.reconstruct(n - 1), model.shape.sizes[n], model.shape.factor)
        rmse = (rebuilt - reals[n]).square().mean().sqrt().item()
        assert model.levels[n].amplitude == pytest.approx(0.1 * rmse, rel=1e-4)


def test_widths_follow_the_schedule(model):
    assert [level.generator.tail[0].in_channels for level in model.levels] == [4, 4, 8, 8]


def test_a_level_starts_from_the_weights_below_when_the_width_is_the_same(picture, tiny):
    inherited = {}

    class Watching(LevelTrainer):
        def __init__(self, model, real, rng):
            super().__init__(model, real, rng)
            inherited[self.index] = bool(model.levels) and all(
                own.shape == old.shape and torch.equal(own, old)
                for part in ("generator", "discriminator")
                for own, old in zip(
                    getattr(self, part).state_dict().values(),
                    getattr(model.levels[-1], part).state_dict().values(),
                    strict=True,
                )
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("singan_core.training.LevelTrainer", Watching)
        train_tiny(picture, tiny, iterations=1)
    assert inherited == {0: False, 1: True, 2: False, 3: True}


def test_finished_levels_are_not_changed_by_the_levels_above(picture, tiny, model):
    snapshots = []

    def keep(progress):
        if progress.iteration == progress.iterations and progress.model.levels:
            snapshots.append({name: value.clone() for name, value in pack(progress.model)[0].items()})

    train(picture, tiny, callback=keep, progress=False, device="cpu")
    final = pack(model)[0]
    assert snapshots
    for snapshot in snapshots:
        assert all(torch.equal(value, final[name]) for name, value in snapshot.items())


def test_without_reconstruction_loss_nothing_is_reconstructed(picture, tiny):
    model = train_tiny(picture, tiny, alpha=0.0)
    assert all((level.history[:, HISTORY_COLUMNS.index("reconstruction")] == 0).all() for level in model.levels)


def test_the_reconstruction_loss_falls(picture, tiny):
    model = train_tiny(picture, tiny, iterations=40, min_size=36)
    losses = model.levels[0].history[:, HISTORY_COLUMNS.index("reconstruction")]
    assert losses[-5:].mean() < 0.8 * losses[:5].mean()


def test_decayed_levels_train_shorter_and_a_resume_knows_it(picture, tiny, tmp_path):
    config = TrainConfig.from_dict(tiny.to_dict() | {"iterations": 10, "iteration_decay": 0.3})
    seen = []
    whole = train(picture, config, progress=False, device="cpu", callback=seen.append)
    assert [len(level.history) for level in whole.levels] == [10, 7, 4, 1]
    # without repetition: on a slow machine a level's last iteration is reported by the clock as well
    assert list(dict.fromkeys(each.iterations for each in seen if each.iteration == each.iterations)) == [10, 7, 4, 1]

    def stop(progress):
        if progress.level == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(picture, config, progress=False, device="cpu", callback=stop, checkpoint=tmp_path / "checkpoint")
    resumed = train(picture, config, progress=False, device="cpu", checkpoint=tmp_path / "checkpoint")
    assert same_bits(resumed, whole)


def test_the_learning_rate_drops_to_a_tenth_after_four_fifths(picture, tiny):
    rates = []

    class Watching(LevelTrainer):
        def step(self):
            super().step()
            rates.append(self.optimizer_g.param_groups[0]["lr"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("singan_core.training.LevelTrainer", Watching)
        train_tiny(picture, tiny, iterations=10, min_size=36)
    assert rates == [5e-4] * 8 + [5e-5] * 2


def test_a_penalty_every_fourth_step_is_computed_twice_in_eight(picture, tiny, monkeypatch):
    computed = []

    def counting(*arguments):
        computed.append(1)
        return gradient_penalty(*arguments)

    monkeypatch.setattr("singan_core.training.gradient_penalty", counting)
    train_tiny(picture, tiny, iterations=8, min_size=36, penalty_every=4)
    assert len(computed) == 2


def test_a_penalty_every_fourth_step_weighs_four_times(picture, tiny, monkeypatch):
    """Over four steps the critic's loss holds the same total weight, so a lazy penalty is no weaker one."""

    def sum_of_weights(critic, *images):  # its gradient is 1 for each of the critic's weights
        return sum(weights.sum() for weights in critic.parameters())

    def gradients(penalty_every):
        """The critic's in a first step, which has a penalty."""
        found = []

        class Watching(LevelTrainer):
            def step(self):
                super().step()
                found.extend(weights.grad for weights in trained_parameters(self.discriminator))

        monkeypatch.setattr("singan_core.training.LevelTrainer", Watching)
        train_tiny(picture, tiny, iterations=1, min_size=36, penalty_every=penalty_every, penalty_weight=0.5)
        return found

    monkeypatch.setattr("singan_core.training.gradient_penalty", sum_of_weights)
    for lazy, usual in zip(gradients(4), gradients(1), strict=True):
        torch.testing.assert_close(lazy - usual, torch.full_like(usual, 0.5 * (4 - 1)), atol=1e-5, rtol=0)


def test_the_gradient_penalty_is_zero_for_a_critic_of_slope_one():
    class Slope(torch.nn.Module):
        def forward(self, image):  # the gradient at each pixel is (2/3, 2/3, 1/3): a vector of length 1
            weights = torch.tensor([2 / 3, 2 / 3, 1 / 3]).view(1, 3, 1, 1)
            return (image * weights).sum(1, keepdim=True)

    real, fake = torch.rand(1, 3, 9, 9), torch.rand(1, 3, 9, 9)
    assert gradient_penalty(Slope(), real, fake, torch.tensor(0.3)).item() == pytest.approx(0, abs=1e-12)


@given(slope=st.floats(0, 5), mix=st.floats(0, 1))
def test_the_gradient_penalty_is_the_squared_distance_of_the_slope_from_one(slope, mix):
    critic = lambda image: slope * image[:, :1]  # noqa: E731
    real, fake = torch.zeros(1, 3, 5, 5), torch.ones(1, 3, 5, 5)
    penalty = gradient_penalty(critic, real, fake, torch.tensor(mix))
    assert penalty.item() == pytest.approx((slope - 1) ** 2, abs=1e-4)


def test_callbacks_see_every_level_finish_and_do_not_change_the_result(picture, tiny, model):
    reports = []

    def watch(progress):
        reports.append((progress.level, progress.iteration))
        assert progress.levels == 4 and progress.iterations == 3
        assert progress.history.shape == (progress.iteration, len(HISTORY_COLUMNS))
        assert np.isfinite(progress.history).all() and progress.seconds_left >= 0
        if progress.model.levels:
            progress.model.sample(1, stop_scale=len(progress.model.levels) - 1)

    watched = train(picture, tiny, callback=watch, progress=False, device="cpu")
    assert {(level, 3) for level in range(4)} <= set(reports)
    assert same_bits(watched, model)


def test_a_failing_callback_ends_the_training_with_its_own_error(picture, tiny):
    def broken(progress):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(picture, tiny, callback=broken, progress=False, device="cpu")


class Diverging(LevelTrainer):
    """A training in which the last of three iterations at level 1 meets a weight that is no number."""

    def step(self):
        if self.index == 1 and self.iteration == 2:
            with torch.no_grad():
                self.generator.tail[0].weight.fill_(float("nan"))
        super().step()


def test_a_diverged_training_names_level_and_iteration(picture, tiny, monkeypatch):
    monkeypatch.setattr("singan_core.training.LevelTrainer", Diverging)
    with pytest.raises(SinGANError, match="level 1, iteration 2"):
        train_tiny(picture, tiny)


def test_a_diverged_training_leaves_the_checkpoint_from_before(picture, tiny, model, tmp_path):
    """What comes after each iteration is written, but for the one that diverged: the training can go on from there."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SinGANError, match="diverged"):
        patch.setattr("singan_core.training.LevelTrainer", Diverging)
        train(picture, tiny, checkpoint=tmp_path / "c", checkpoint_seconds=0, progress=False, device="cpu")
    tensors, settings = read_tensors(tmp_path / "c")
    assert (len(settings["kernels"]), settings["iteration"]) == (1, 2)  # one finished level, two iterations of the next
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert same_bits(train(picture, tiny, checkpoint=tmp_path / "c", progress=False, device="cpu"), model)


def test_the_progress_bar_shows_level_iteration_losses_and_time_left(picture, tiny, capsys):
    train(picture, tiny, progress=True, device="cpu")
    shown = capsys.readouterr().err
    assert "level 3 (4 of 4), iteration 3/3" in shown
    assert "rec " in shown and "left" in shown and "100%" in shown


def test_a_finer_level_is_expected_to_take_longer(tiny, model):
    costs = iteration_costs(tiny, model.shape)
    assert all(coarse < fine for coarse, fine in pairwise(costs))


def test_a_float64_training_gives_float32_images(picture, tiny):
    model = train_tiny(picture, tiny, iterations=1, precision="float64")
    assert model.levels[0].generator.tail[0].weight.dtype == torch.float64
    assert model.sample(1).dtype == torch.float32


@pytest.mark.parametrize("changes", [{"crop": 44, "max_size": 110}, {"precision": "mixed"}])
def test_an_interrupted_training_ends_with_the_same_bits_in_every_mode(changes, tiny, tmp_path):
    image = torch.rand(1, 3, 90, 110, generator=torch.Generator().manual_seed(1)) * 2 - 1
    config = TrainConfig.from_dict(tiny.to_dict() | changes)
    undisturbed = train(image, config, progress=False, device="cpu")

    def interrupt(progress):
        raise KeyboardInterrupt

    for _ in range(len(undisturbed.levels)):  # one level further each time
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
            patch.setattr("singan_core.progress.REPORT_SECONDS", 0)
            train(image, config, checkpoint=tmp_path / "c", callback=interrupt, progress=False, device="cpu")
    resumed = train(image, config, checkpoint=tmp_path / "c", progress=False, device="cpu")
    assert same_bits(resumed, undisturbed)


def test_an_interrupted_training_resumes_where_the_processor_rounds_otherwise(picture, tiny, tmp_path, monkeypatch):
    """The reduced images, which products of matrices make, have other last bits there."""

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(picture, tiny, checkpoint=tmp_path / "c", callback=interrupt, progress=False, device="cpu")

    def rounded_otherwise(*arguments):
        shape, reals = training_images(*arguments)
        return shape, [real * (1 + 1e-6) for real in reals]

    monkeypatch.setattr("singan_core.training.training_images", rounded_otherwise)
    resumed = train(picture, tiny, checkpoint=tmp_path / "c", progress=False, device="cpu")
    assert len(resumed.levels) == len(resumed.shape.sizes)


def test_a_ctrl_c_at_the_very_end_stops_the_program_and_loses_nothing(picture, tiny, model, tmp_path):
    def interrupt(progress):
        if progress.level == progress.levels - 1 and len(progress.model.levels) == progress.levels:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(picture, tiny, checkpoint=tmp_path / "c", callback=interrupt, progress=False, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(LevelTrainer, "step")  # none is left to do
        resumed = train(picture, tiny, checkpoint=tmp_path / "c", progress=False, device="cpu")
    assert same_bits(resumed, model)


def test_a_finished_level_leaves_nothing_of_its_training_in_memory(picture, tiny, monkeypatch):
    """Optimizers, gradients and recorded graphs go at once, not when Python's collector comes around."""
    trainers = []

    class Watched(LevelTrainer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            trainers.append(weakref.ref(self))

    monkeypatch.setattr("singan_core.training.LevelTrainer", Watched)
    gc.disable()
    try:
        model = train_tiny(picture, tiny)
        assert len(trainers) == len(model.levels)
        assert not any(trainer() for trainer in trainers)
    finally:
        gc.enable()
    networks = [network for level in model.levels for network in (level.generator, level.discriminator)]
    assert all(parameter.grad is None for network in networks for parameter in network.parameters())


def test_levels_above_the_crop_train_on_windows_and_the_others_as_ever(tiny):
    image = torch.rand(1, 3, 90, 110, generator=torch.Generator().manual_seed(1)) * 2 - 1
    whole, windows = (train_tiny(image, tiny, max_size=110, crop=crop) for crop in (0, 44))
    areas = [height * width for height, width in whole.shape.sizes]
    small = sum(area <= 44 * 44 for area in areas)
    assert 1 <= small < len(areas) - 1
    for level, (a, b) in enumerate(zip(whole.levels, windows.levels, strict=True)):
        same = torch.equal(a.generator.tail[0].weight, b.generator.tail[0].weight)
        assert same == (level < small)
    assert windows.sample(2, seed=1).shape == (2, 3, *whole.size)


def test_a_crop_larger_than_the_picture_changes_nothing(picture, tiny):
    whole, windows = (train_tiny(picture, tiny, crop=crop) for crop in (0, 200))
    assert torch.equal(whole.sample(1), windows.sample(1))


def test_a_level_on_windows_ends_with_the_statistics_of_the_whole_image(tiny):
    """A generator drawn with the windows' own scattered statistics would be off by a share of each feature."""
    image = torch.rand(1, 3, 90, 110, generator=torch.Generator().manual_seed(1)) * 2 - 1
    model = train_tiny(image, tiny, max_size=110, crop=44, alpha=10.0, iterations=4)
    index = len(model.shape) - 1
    generator = copy.deepcopy(model.levels[-1].generator)
    below = SinGAN(model.config, model.shape, model.z_star, model.levels[:-1])
    view = WholeImage(below, torch.Generator().manual_seed(3))
    generator.train()
    for block in (generator.head, *generator.body):
        block[1].momentum = 1.0
    generator(model.levels[-1].amplitude * view.noise(), view.previous())
    for kept, block in zip(model.levels[index].generator.body, generator.body, strict=True):
        # random pictures differ; what the windows of four iterations leave is off by a factor of twenty
        assert ((kept[1].running_mean - block[1].running_mean).abs() < block[1].running_var.sqrt()).all()
        assert ((kept[1].running_var / block[1].running_var).log().abs() < 1.1).all()


def test_without_reconstruction_loss_a_level_on_windows_takes_nothing_from_the_reconstruction(tiny, monkeypatch):
    """Nor do its final statistics, which with the loss are an average over images and the reconstruction."""
    image = torch.rand(1, 3, 90, 110, generator=torch.Generator().manual_seed(1)) * 2 - 1
    changes = {"max_size": 110, "crop": 44, "alpha": 0.0, "iterations": 1}
    plain = train_tiny(image, tiny, **changes)

    class Elsewhere(LevelTrainer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.reconstruction_below.add_(1)

    monkeypatch.setattr("singan_core.training.LevelTrainer", Elsewhere)
    assert same_bits(train_tiny(image, tiny, **changes), plain)


def test_mixed_precision_keeps_weights_losses_and_images_in_float32(picture, tiny):
    model = train_tiny(picture, tiny, precision="mixed")
    assert {value.dtype for level in model.levels for value in level.generator.parameters()} == {torch.float32}
    assert model.sample(1).dtype == torch.float32
    exact = train_tiny(picture, tiny)
    first, expected = (m.levels[0].history[0] for m in (model, exact))
    np.testing.assert_allclose(first, expected, rtol=0.05, atol=0.02)  # eight bits, through five layers


def test_mixed_precision_is_float32_where_bfloat16_is_slow(picture, tiny, monkeypatch):
    monkeypatch.setattr("singan_core.views.fast_bfloat16", lambda device: False)
    slow = train_tiny(picture, tiny, precision="mixed")
    assert torch.equal(slow.sample(1), train_tiny(picture, tiny).sample(1))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    layers=st.integers(2, 6),
    residual=st.booleans(),
    noise_padding=st.booleans(),
)
def test_any_picture_trains_and_samples_or_is_refused(height, width, layers, residual, noise_padding):
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    config = TrainConfig.for_profile(
        "smoke", iterations=1, kernels=2, layers=layers, residual=residual, noise_padding=noise_padding
    )
    try:
        model = train(image, config, progress=False, device="cpu")
    except SinGANError as error:
        assert min(height, width) < 15 or min(height, width) * 48 < 15 * max(height, width), error
        return
    assert model.sample(1).shape == (1, 3, *model.size)


@pytest.mark.parametrize(
    "image",
    [
        torch.full((1, 3, 40, 40), float("nan")),
        torch.full((1, 3, 40, 40), 200.0),
        torch.zeros(3, 40, 40),
        torch.zeros(1, 1, 40, 40),
        torch.zeros(2, 3, 40, 40),
        np.zeros((40, 40, 3), dtype=np.uint8),
        "photo.jpg",
        None,
    ],
)
def test_what_is_no_image_is_refused(image, tiny):
    with pytest.raises(SinGANError):
        train(image, tiny, progress=False, device="cpu")


def test_a_constant_picture_trains_without_dividing_by_zero(tiny):
    model = train(torch.zeros(1, 3, 36, 48), tiny, progress=False, device="cpu")
    assert torch.isfinite(model.sample(2)).all()


# -- levels that are trained on another picture


def test_a_level_with_a_target_reconstructs_the_target(picture, tiny):
    config = TrainConfig.from_dict(tiny.to_dict() | {"iterations": 80, "min_size": 36})
    rebuilt = train(picture, config, targets={0: -picture}, progress=False, device="cpu").reconstruct()
    # A ratio of 0.3 here, after a short training; of 3.4 where the level is trained on the photograph.
    assert (rebuilt + picture).square().mean() < 0.5 * (rebuilt - picture).square().mean()


def test_only_the_levels_with_a_target_see_another_picture(picture, tiny):
    _, plain = training_images(picture, tiny, torch.device("cpu"))
    _, other = training_images(-picture, tiny, torch.device("cpu"))
    _, mixed = training_images(picture, tiny, torch.device("cpu"), {1: -picture, 3: -picture})
    assert [torch.equal(a, b) for a, b in zip(mixed, plain, strict=True)] == [True, False, True, False]
    assert [torch.equal(a, b) for a, b in zip(mixed, other, strict=True)] == [False, True, False, True]


@pytest.mark.parametrize("targets", [None, {}, "the photograph"])
def test_the_photograph_as_its_own_target_changes_nothing(targets, picture, tiny, model):
    targets = {0: picture, 2: picture} if targets == "the photograph" else targets
    assert same_bits(train(picture, tiny, targets=targets, progress=False, device="cpu"), model)


def test_a_target_of_its_levels_size_is_taken_as_it_is(picture, tiny):
    shape, _ = training_images(picture, tiny, torch.device("cpu"))
    target = torch.rand(1, 3, *shape.sizes[1], generator=torch.Generator().manual_seed(2)) * 2 - 1
    _, reals = training_images(picture, tiny, torch.device("cpu"), {np.int64(1): target})
    assert torch.equal(reals[1], target)


@given(height=st.integers(40, 300), width=st.integers(40, 300), scale=st.floats(0.2, 3), level=st.integers(0, 1))
def test_a_target_may_have_any_size_of_the_photographs_proportions(height, width, scale, level):
    config = TrainConfig.for_profile("smoke", max_size=48)
    photograph = torch.linspace(-1, 1, width).expand(1, 3, height, width)
    try:
        shape, plain = training_images(photograph, config, torch.device("cpu"))
    except SinGANError:  # too long and narrow
        return
    level = min(level, len(shape) - 1)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    target = torch.linspace(-1, 1, size[1]).expand(1, 3, *size)
    _, reals = training_images(photograph, config, torch.device("cpu"), {level: target})
    # A gradient looks the same at every size, up to the shift of a pixel of the smallest of the three.
    step = 2 / (min(size[1], width, shape.sizes[level][1]) - 1)
    assert reals[level].shape == plain[level].shape
    assert (reals[level] - plain[level]).abs().max() < 2 * step


@pytest.mark.parametrize(
    "targets, message",
    [
        (torch.zeros(1, 3, 36, 48), "must be a dictionary"),
        ([torch.zeros(1, 3, 36, 48)], "must be a dictionary"),
        ({4: torch.zeros(1, 3, 36, 48)}, "level 4: the levels are 0 to 3"),
        ({-1: torch.zeros(1, 3, 36, 48)}, "level -1"),
        ({True: torch.zeros(1, 3, 36, 48)}, "level True"),
        ({"0": torch.zeros(1, 3, 36, 48)}, "level '0'"),
        ({2: "sketch.png"}, r"targets\[2\] must be a tensor"),
        ({2: torch.zeros(3, 36, 48)}, r"targets\[2\] must be \(N, 3, H, W\)"),
        ({2: torch.zeros(1, 1, 36, 48)}, r"targets\[2\] must be \(N, 3, H, W\)"),
        ({2: torch.full((1, 3, 36, 48), 255.0)}, r"targets\[2\] must be within"),
        ({2: torch.zeros(2, 3, 36, 48)}, "a batch of 2"),
        ({2: torch.zeros(1, 3, 48, 36)}, "36x48 px, other proportions than the photograph, which has 48x36"),
        ({2: torch.zeros(1, 3, 36, 51)}, "other proportions"),
    ],
)
def test_targets_that_do_not_fit_are_refused_in_one_sentence(targets, message, picture, tiny):
    with pytest.raises(SinGANError, match=message):
        train(picture, tiny, targets=targets, progress=False, device="cpu")


def test_a_target_may_come_from_inference_or_carry_a_gradient(picture, tiny, model):
    with torch.inference_mode():
        inferred = build_pyramid(picture, min_size=tiny.min_size, max_size=tiny.max_size).images[0]
    targets = {0: inferred, 1: picture.clone().requires_grad_()}
    assert same_bits(train(picture, tiny, targets=targets, progress=False, device="cpu"), model)


def test_iterations_are_recorded_on_cuda_and_in_the_main_thread_only():
    found = []
    thread = threading.Thread(target=lambda: found.append(can_record(torch.device("cuda"))))
    thread.start()
    thread.join()
    assert [can_record(torch.device("cpu")), can_record(torch.device("cuda")), *found] == [False, True, False]
