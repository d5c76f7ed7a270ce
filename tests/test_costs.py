"""What a training costs: the counts against what an iteration really computes and holds."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.levels import Climb
from benchmarks.work import OperationCounter
from singan_core import TrainConfig, convolution
from singan_core.costs import IMAGES, parts_in_view, training_costs, weights
from singan_core.forecast import peak_memory
from singan_core.networks import Discriminator, Generator
from singan_core.pyramid import pyramid_shape
from singan_core.views import RandomWindows

SMALL = TrainConfig.for_profile("smoke", max_size=32, penalty_every=2)
SETTINGS = {
    "smoke": SMALL,
    "as the authors": replace(SMALL, discriminator_steps=3, generator_steps=3, penalty_every=1),
    "without reconstruction": replace(SMALL, alpha=0.0, discriminator_steps=2),
    "growing width": replace(SMALL, double_kernels_every=1, max_kernels=16),
    "many layers": replace(SMALL, layers=7, kernels=16),
    "windows": replace(SMALL, max_size=64, crop=44),
    "windows from level 0 on": replace(SMALL, min_size=36, max_size=64, crop=44),
}


@pytest.fixture
def picture():
    return torch.rand(1, 3, 60, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def counted_by(kind, picture, config):
    """The costs of every level, and the total of a counter of this kind over an iteration of each."""
    climb = Climb(picture, config, torch.device("cpu"))
    counted = []
    while climb.up():
        climb.trainer.critic_steps = 0
        with kind() as counter:
            climb.cycle()
        counted.append(counter.total / climb.period)
    return training_costs(config, climb.shape), counted


@pytest.mark.parametrize("gradients", ["as for small maps", "as for large maps"])
@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_operations_are_those_of_an_iteration(picture, config, gradients, monkeypatch):
    if gradients == "as for large maps":
        monkeypatch.setattr(convolution, "SMALL", 0)
    costs, counted = counted_by(OperationCounter, picture, config)
    # resizing is a product of matrices, and windows are wider or narrower by a pixel
    assert [cost.operations for cost in costs] == pytest.approx(counted, rel=0.05 if config.crop else 0.02)


class PassCounter(TorchDispatchMode):
    """Counts the convolutions that run inside it, forward ones and both kinds of backward ones, in `total`."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            self.total += sum(args[-1][:2])
        elif func is torch.ops.aten.convolution.default:
            self.total += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_passes_are_the_convolutions_of_an_iteration(picture, config, monkeypatch):
    monkeypatch.setattr(convolution, "SMALL", 0)
    costs, counted = counted_by(PassCounter, picture, config)
    # one for each layer of a network: gradients of images, which the first layer does without, are counted, too
    assert [cost.passes for cost in costs] == pytest.approx(counted, rel=0.08)


@pytest.mark.parametrize(("name", "precision"), [*((name, "float32") for name in SETTINGS), ("many layers", "float64")])
def test_memory_is_that_of_the_tensors_at_the_peak(picture, name, precision):
    config = replace(SETTINGS[name], precision=precision, kernels=16, max_kernels=32)
    limits = {"min_size": config.min_size, "max_size": config.max_size}
    shape = pyramid_shape(tuple(picture.shape[-2:]), **limits)
    counted = max(cost.memory for cost in training_costs(config, shape))
    # small images, whose maps shrink from layer to layer, are where the count is least exact
    assert counted == pytest.approx(peak_memory(picture, config, device="cpu"), rel=0.2)


def test_the_memory_of_maps_follows_the_precision_and_that_of_weights_and_images_does_not():
    shape = pyramid_shape((60, 96), min_size=25, max_size=60)
    config = replace(SMALL, layers=2, kernels=1, max_kernels=1)  # one hidden map of each network
    single, half, double = (
        [cost.memory for cost in training_costs(replace(config, precision=precision), shape)]
        for precision in ("float32", "mixed", "float64")
    )
    height, width = shape.sizes[0]
    others = 4 * (4 * sum(weights(config, 0)) + IMAGES * 3 * height * width)
    assert single[0] - half[0] == pytest.approx(half[0] - others)
    assert double == pytest.approx([2 * each for each in single])


def test_finished_levels_stay_in_memory():
    config, size = replace(SMALL, kernels=32, max_kernels=32), (32, 32)
    shapes = [pyramid_shape(size, min_size=side, max_size=32) for side in (32, 11)]
    one, many = (training_costs(config, shape)[-1].memory for shape in shapes)
    generator, discriminator = weights(config, 0)
    assert many - one == (len(shapes[1]) - 1) * 4 * (2 * generator + discriminator)


@pytest.mark.parametrize(
    ("size", "crop", "layers"), [((60, 96), 48, 5), ((96, 60), 30, 3), ((40, 96), 44, 5), ((24, 96), 28, 3)]
)
def test_parts_in_view_are_the_windows_to_a_pixel_or_two(size, crop, layers):
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    config = TrainConfig.for_profile("smoke", max_size=96, crop=crop, layers=layers, kernels=2)
    climb = Climb(picture, config, torch.device("cpu"))
    windows = 0
    while climb.up():
        level = len(climb.model.levels)
        parts = parts_in_view(config, climb.shape, level)
        if isinstance(climb.trainer.view, RandomWindows):
            windows += 1
            assert [count for count, _ in parts] == climb.trainer.view.counts
            for axis, lengths in enumerate(zip(*(size for _, size in parts), strict=True)):
                assert lengths == pytest.approx(climb.trainer.view.axes[axis].lengths, abs=2)
        else:
            assert parts == [(1, size) for size in climb.shape.sizes[: level + 1]]
    assert windows


def test_a_level_with_as_many_pixels_as_the_windows_is_drawn_whole():
    config = replace(SMALL, min_size=44, max_size=44, crop=44)
    shape = pyramid_shape((60, 60), min_size=44, max_size=44)
    assert parts_in_view(config, shape, 0) == [(1, (44, 44))]


@pytest.mark.parametrize(("kernels", "layers"), [(8, 5), (5, 2), (16, 10)])
def test_weights_are_those_of_the_networks(kernels, layers):
    config = TrainConfig(kernels=kernels, layers=layers)

    def count(network: torch.nn.Module) -> int:
        return sum(each.numel() for each in network.parameters() if each.ndim == 4)

    assert weights(config, 0) == (count(Generator(kernels, layers)), count(Discriminator(kernels, layers)))


def test_levels_have_the_iterations_of_their_schedule():
    config = replace(SMALL, max_size=48, iterations=10, iteration_decay=0.3)
    shape = pyramid_shape((60, 96), min_size=config.min_size, max_size=config.max_size)
    expected = [config.iterations_at(level) for level in range(len(shape))]
    assert [cost.iterations for cost in training_costs(config, shape)] == expected
    assert len(set(expected)) == len(shape) > 2


def test_the_rules_networks_for_twice_the_size_take_eleven_times_the_arithmetic_at_one_size():
    base = TrainConfig(double_kernels_every=0)
    finest = [
        training_costs(config, pyramid_shape((config.max_size, config.max_size), min_size=config.min_size))[-1]
        for config in (base, replace(TrainConfig.for_size(500), max_size=250))
    ]
    assert finest[1].iterations == finest[0].iterations
    # at one size: kernels squared and eight hidden convolutions for three
    assert finest[1].operations / finest[0].operations == pytest.approx(4 * 8 / 3, rel=0.05)
