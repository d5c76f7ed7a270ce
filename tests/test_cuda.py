"""On CUDA the training is the same as everywhere: against the plain reference, and its graphs against no graphs.

Float32 and bfloat16 trainings that differ by rounding alone drift apart within a few iterations, so whole trainings are
compared in float64 and single iterations in the other precisions.
"""

import contextlib
import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.levels import Climb
from singan_core import SinGAN, TrainConfig, train
from singan_core.batchnorm import BatchNorm
from singan_core.convolution import Convolution
from singan_core.graphs import GraphedIterations
from singan_core.metrics import confidence_interval
from singan_core.pyramid import build_pyramid
from singan_core.training import LevelTrainer
from tests.reference import train_reference
from tests.test_convolution import features, layer_of, penalty_gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

DEVICE = torch.device("cuda")

ORDINARY = GraphedIterations.ORDINARY
"""Iterations of a kind before it becomes a graph; `without_graphs` changes the one of the class."""

PYRAMID = {"min_size": 12, "max_size": 24, "scale_factor": 0.75}
# Powers of two as learning rate, and no decay: Adam's fused kernel reads its rate as a float32, which would be another
# number than the reference's float64.
STEPS = {
    "kernels": 4, "double_kernels_every": 2, "max_kernels": 8,
    "iterations": 8, "decay_at": 1.0, "discriminator_steps": 3, "generator_steps": 3, "learning_rate": 2.0**-11,
    "penalty_weight": 0.1, "alpha": 10.0, "noise_amplitude": 0.1, "seed": 3,
}  # fmt: skip

# The CPU's agreement with the reference ends at 1e-13 after these iterations, and two trainings that begin 1e-15 apart
# end within 1e-12: the rest is room for the order of sums on other devices. A wrong iteration is off by 1e-3 at least.
TOLERANCE = 1e-8


@pytest.fixture(autouse=True, scope="module")
def exact_arithmetic() -> Iterator[None]:
    """Convolutions and products in full float32, not TF32, by kernels that give the same bits each time."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = False, False, True
    yield
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = before


def random_picture(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


SMALL, LARGE = random_picture(36, 42), random_picture(64, 72)


def settings(**changes: object) -> TrainConfig:
    return TrainConfig.from_dict(PYRAMID | STEPS | {"precision": "float64"} | changes)


def train_on_cuda(config: TrainConfig, picture: Tensor = SMALL, **options: object) -> SinGAN:
    return train(picture, config, progress=False, device=DEVICE, **options)


def reference_on_cuda(dtype: torch.dtype) -> tuple[list[dict], Tensor]:
    pyramid = build_pyramid(SMALL, **PYRAMID)
    return train_reference([image.to(DEVICE, dtype) for image in pyramid.images], pyramid.shape.factor, **STEPS)


@contextlib.contextmanager
def without_graphs() -> Iterator[None]:
    """Inside, every iteration runs as the first ones do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GraphedIterations, "ORDINARY", 10**9)
        yield


@contextlib.contextmanager
def counted_replays() -> Iterator[list[None]]:
    """Gives a list that grows by one with each replay of a graph inside."""
    replay, seen = torch.cuda.CUDAGraph.replay, []

    def counting(graph: torch.cuda.CUDAGraph) -> None:
        seen.append(None)
        replay(graph)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda.CUDAGraph, "replay", counting)
        yield seen


def assert_close(ours: SinGAN, theirs: SinGAN, tolerance: float = TOLERANCE) -> None:
    """The same losses in every iteration of every level."""
    assert len(ours.levels) == len(theirs.levels)
    for own, other in zip(ours.levels, theirs.levels, strict=True):
        np.testing.assert_allclose(own.history, other.history, atol=tolerance, rtol=tolerance)


# -- against the plain reference


@pytest.fixture(scope="module")
def by_reference() -> tuple[list[dict], Tensor]:
    return reference_on_cuda(torch.float64)


@pytest.fixture(scope="module")
def with_graphs() -> SinGAN:
    with counted_replays() as replays:
        model = train_on_cuda(settings())
    assert len(replays) == len(model.levels) * (STEPS["iterations"] - ORDINARY)
    return model


@pytest.fixture(scope="module", params=["ordinary iterations", "graphs"])
def ours(request: pytest.FixtureRequest) -> SinGAN:
    if request.param == "graphs":
        return request.getfixturevalue("with_graphs")
    with without_graphs(), counted_replays() as replays:
        model = train_on_cuda(settings())
    assert not replays
    return model


def test_losses_agree_with_the_reference_in_every_iteration_of_every_level(ours, by_reference):
    levels, _ = by_reference
    assert len(ours.levels) == len(levels) >= 3
    for own, reference in zip(ours.levels, levels, strict=True):
        np.testing.assert_allclose(own.history, reference["losses"], atol=TOLERANCE, rtol=TOLERANCE)


def test_weights_and_random_numbers_agree_with_the_reference_after_training(ours, by_reference):
    levels, z_star = by_reference
    assert torch.equal(ours.z_star, z_star)
    for own, reference in zip(ours.levels, levels, strict=True):
        assert own.amplitude == pytest.approx(reference["amplitude"], abs=TOLERANCE)
        for network, plain in ((own.generator, reference["netG"]), (own.discriminator, reference["netD"])):
            for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
                torch.testing.assert_close(mine, theirs, atol=TOLERANCE, rtol=0)


def test_float32_agrees_with_the_reference_over_the_first_iterations():
    levels, _ = reference_on_cuda(torch.float32)
    model = train_on_cuda(settings(precision="float32"))
    first = slice(0, 2)
    np.testing.assert_allclose(model.levels[0].history[first], levels[0]["losses"][first], atol=1e-5, rtol=1e-4)


# -- graphs against ordinary iterations

ONE_EACH = {"discriminator_steps": 1, "generator_steps": 1}


@pytest.mark.parametrize(
    ("changes", "patterns"),
    [
        pytest.param({"penalty_every": 4, "iterations": 18, **ONE_EACH}, 2, id="two patterns of penalties"),
        pytest.param({"penalty_every": 4, "iterations": 18}, 4, id="four patterns of penalties"),
        pytest.param({"decay_at": 0.5, "iterations": 10}, 1, id="learning rate decays while graphs run"),
        pytest.param({"noise_padding": True, "alpha": 0.0}, 1, id="padded noise, no reconstruction"),
        pytest.param({"texture_weight": 1.0}, 1, id="texture loss"),
    ],
)
def test_graphs_train_as_ordinary_iterations_do(changes, patterns):
    with counted_replays() as replays:
        model = train_on_cuda(settings(**changes))
    config = model.config
    assert len(replays) == len(model.levels) * (config.iterations - patterns * ORDINARY)
    with without_graphs():
        assert_close(model, train_on_cuda(config))


def test_the_learning_rate_of_a_graph_can_change():
    decayed, constant = (train_on_cuda(settings(decay_at=share, iterations=10)) for share in (0.5, 1.0))
    own, other = decayed.levels[0].history, constant.levels[0].history
    np.testing.assert_allclose(own[:5], other[:5], atol=TOLERANCE)
    assert np.abs(own[5:] - other[5:]).max() > 1e-4


def test_graphs_draw_new_windows_in_each_replay():
    """Trainings on windows drift faster: two that begin 1e-15 apart are 1e-10 apart at level 0 and 1e-7 at level 1."""
    config = settings(min_size=48, max_size=60, crop=44)
    with counted_replays() as replays:
        model = train_on_cuda(config, LARGE)
    assert replays
    with without_graphs():
        other = train_on_cuda(config, LARGE)
    for own, plain, tolerance in zip(model.levels, other.levels, (1e-6, 1e-3), strict=False):
        np.testing.assert_allclose(own.history, plain.history, atol=tolerance, rtol=tolerance)


def test_graphs_leave_the_random_generator_where_ordinary_iterations_do():
    """Exactly: a checkpoint stores it, and a resumed training begins with ordinary iterations."""

    def after_a_level() -> Tensor:
        climb = Climb(LARGE, settings(min_size=48, max_size=60, crop=44), DEVICE)
        climb.up()
        for _ in range(ORDINARY + 4):
            climb.trainer.step()
        climb.up()
        return climb.rng.get_state()

    with_graphs = after_a_level()
    with without_graphs():
        assert torch.equal(with_graphs, after_a_level())


def at_second_level(config: TrainConfig) -> Climb:
    """A training with at least two replays of each pattern behind it, at level 1."""
    climb = Climb(LARGE, config, DEVICE)
    climb.up()
    climb.up()
    for _ in range(climb.period * (ORDINARY + 2)):
        climb.trainer.step()
    return climb


def state_of(trainer: LevelTrainer) -> list[Tensor]:
    """Every tensor that an iteration changes and a later one reads."""
    networks = (trainer.generator, trainer.discriminator)
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    for optimizer in (trainer.optimizer_g, trainer.optimizer_d):
        tensors += [tensor for state in optimizer.state.values() for tensor in state.values()]
    return tensors


@pytest.mark.parametrize(
    ("changes", "losses_within", "steps_within"),
    [
        # One iteration: rounding of float32 grows about tenfold in it. A step of Adam is compared as a whole vector.
        pytest.param({"precision": "float32"}, 1e-4, 0.02, id="float32"),
        # bfloat16 keeps 8 bits: pictures 1e-5 apart give losses 0.01 and steps 0.2 apart. Usually both are equal.
        pytest.param({"precision": "mixed"}, 2e-2, 0.3, id="mixed"),
        pytest.param({"precision": "mixed", "min_size": 48, "max_size": 60, "crop": 44}, 2e-2, 0.3, id="windows"),
        pytest.param({"precision": "mixed", "penalty_every": 4, **ONE_EACH}, 2e-2, 0.3, id="penalties"),
    ],
)
def test_a_replay_does_what_an_ordinary_iteration_does_from_the_same_state(changes, losses_within, steps_within):
    climb = at_second_level(settings(**changes))
    trainer = climb.trainer
    tensors = state_of(trainer)
    parameters = [*trainer.generator.parameters(), *trainer.discriminator.parameters()]
    before, random_state, critic_steps = [t.clone() for t in tensors], climb.rng.get_state(), trainer.critic_steps
    weights = torch.cat([p.detach().flatten() for p in parameters]).clone()

    def one_iteration() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
        climb.rng.set_state(random_state)
        trainer.critic_steps = critic_steps
        trainer.step()
        return trainer.losses.clone(), torch.cat([p.detach().flatten() for p in parameters]) - weights

    with counted_replays() as replays:
        losses, step = one_iteration()
        again, _ = one_iteration()
    assert len(replays) == 2
    with without_graphs():
        plain_losses, plain_step = one_iteration()
    torch.testing.assert_close(again, losses, atol=losses_within, rtol=losses_within)
    torch.testing.assert_close(losses, plain_losses, atol=losses_within, rtol=losses_within)
    assert step.norm() > 0
    assert (step - plain_step).norm() < steps_within * plain_step.norm()


# -- interrupted, moved, and drawn from


def test_an_interrupted_training_ends_as_an_undisturbed_one(with_graphs, tmp_path, monkeypatch):
    """Up to rounding: the resumed one begins with ordinary iterations where the other had graphs."""
    checkpoint, step = tmp_path / "checkpoint.safetensors", LevelTrainer.step

    def interrupted(trainer: LevelTrainer) -> None:
        if (trainer.index, trainer.iteration) == (1, ORDINARY + 2):
            raise KeyboardInterrupt
        step(trainer)

    options = {"checkpoint": checkpoint, "checkpoint_seconds": 0}
    with monkeypatch.context() as patch:
        patch.setattr(LevelTrainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_on_cuda(settings(), **options)
    assert checkpoint.exists()
    assert_close(train_on_cuda(settings(), **options), with_graphs)


def test_a_model_trained_on_cuda_draws_the_same_pictures_on_the_cpu(tmp_path, monkeypatch):
    """The noise of a seed is drawn on the CPU in any case; the rest differs by rounding of float32, and not of TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as PyTorch comes
    config = TrainConfig.for_profile("smoke", iterations=ORDINARY + 2)
    train_on_cuda(config, LARGE).save(tmp_path / "model.safetensors")
    there, here = (SinGAN.load(tmp_path / "model.safetensors", device) for device in (DEVICE, "cpu"))
    assert there.device.type == DEVICE.type and here.device.type == "cpu"
    for draw in (
        lambda model: model.sample(2, seed=5),
        lambda model: model.sample(1, seed=5, size=(70, 50), start_scale=1),
        lambda model: model.reconstruct(),
        lambda model: model.inject(SMALL, 1, seed=2),
    ):
        torch.testing.assert_close(draw(there).cpu(), draw(here), atol=1e-4, rtol=0)


# -- speed and memory


@pytest.mark.parametrize("graphs", [False, True], ids=["ordinary iterations", "graphs"])
@pytest.mark.parametrize(
    "changes", [{}, {"precision": "mixed", "min_size": 48, "max_size": 60, "crop": 44}], ids=["whole image", "windows"]
)
def test_an_iteration_never_waits_for_the_device(graphs, changes):
    with contextlib.nullcontext() if graphs else without_graphs():
        climb = at_second_level(settings(**changes))
        torch.cuda.set_sync_debug_mode("error")  # raises at the operations that would wait
        try:
            for _ in range(3):
                climb.trainer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is freed by Python's cycle collector, which may run late or in the middle of a recording."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_graphs_of_a_finished_level_are_freed_at_once(no_collector, monkeypatch):
    graphs: list[weakref.ref] = []
    alive: list[int] = []
    make = GraphedIterations.__init__

    def noted(self: GraphedIterations, *arguments: object) -> None:
        alive.append(sum(graph() is not None for graph in graphs))
        graphs.append(weakref.ref(self))
        make(self, *arguments)

    monkeypatch.setattr(GraphedIterations, "__init__", noted)
    train_on_cuda(settings())
    assert max(alive) <= 1  # those of the level below, while the next is made
    assert not any(graph() is not None for graph in graphs)


def test_the_memory_of_graphs_does_not_add_up_over_the_levels(no_collector):
    config = settings(
        precision="float32", kernels=32, max_kernels=32, min_size=60, max_size=160, scale_factor=0.8, **ONE_EACH
    )
    climb = Climb(random_picture(160, 160), config, DEVICE)
    inside, after = [], []
    while climb.up():
        after.append(reserved_mib())
        for _ in range(ORDINARY + 2):
            climb.trainer.step()
        inside.append(reserved_mib())
    after.append(reserved_mib())
    assert len(inside) >= 4
    # what stays are weights and histories, well below 1 MiB a level, in segments of 2 or 20 MiB
    assert after[-1] - after[1] < max(24, (max(inside) - after[0]) / 4), (after, inside)


def reserved_mib() -> float:
    """Memory that PyTorch's allocator holds and cannot give back."""
    torch.cuda.synchronize()
    torch._C._cuda_clearCublasWorkspaces()  # the libraries' own, of one size for each stream; it is made anew
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved() / 2**20


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norm_keeps_the_memory_layout(dtype):
    """Or each convolution would first bring its input back to channels-last."""
    layer = BatchNorm(8).to(DEVICE)
    image = torch.randn(1, 8, 20, 24, generator=torch.Generator(DEVICE).manual_seed(0), device=DEVICE).to(dtype)
    image = image.contiguous(memory_format=torch.channels_last).requires_grad_()
    features = layer(image)
    (gradient,) = torch.autograd.grad(features.square().sum(), image)
    for tensor in (features, gradient):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_convolution_gives_the_numbers_of_pytorch_and_the_layout_of_its_input(layout):
    x = features(height=20, width=24, layout=layout).detach().to(DEVICE).requires_grad_()
    ours = penalty_gradients(layer_of(Convolution, torch.float64).to(DEVICE), x)
    theirs = penalty_gradients(layer_of(torch.nn.Conv2d, torch.float64).to(DEVICE), x)
    for own, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, expected, atol=1e-9, rtol=1e-9)
    x = x.detach().float().requires_grad_()  # cuDNN has no channels last for float64
    _, slope, to_x, *_ = penalty_gradients(layer_of(Convolution, torch.float32).to(DEVICE), x)
    assert slope.is_contiguous(memory_format=layout) and to_x.is_contiguous(memory_format=layout)


def test_intervals_take_what_was_measured_on_the_device():
    values = torch.tensor([1.0, 2.0, 4.0], device=DEVICE)
    assert confidence_interval(values) == confidence_interval([1.0, 2.0, 4.0])
