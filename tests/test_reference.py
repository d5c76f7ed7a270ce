"""The training loop does what the plain reference does, number by number."""

import numpy as np
import pytest
import torch

from singan_core import convolution, narrow
from singan_core.config import TrainConfig
from singan_core.pyramid import build_pyramid
from singan_core.training import train
from tests.reference import make_pyramid, train_reference

PYRAMID = {"min_size": 12, "max_size": 24, "scale_factor": 0.75}
SETTINGS = {
    "kernels": 4, "double_kernels_every": 2, "max_kernels": 8,
    "iterations": 5, "decay_at": 0.7, "discriminator_steps": 3, "generator_steps": 3, "learning_rate": 5e-4,
    "penalty_weight": 0.1, "alpha": 10.0, "noise_amplitude": 0.1, "seed": 3,
}  # fmt: skip

# Rounding alone separates the two, for the sums are taken in another order. It grows fast: gradient penalty and Adam's
# first steps, which are nearly the sign of the gradient, multiply a difference about tenfold in each iteration. So the
# whole comparison is in float64, where it ends at 1e-13, and float32 is compared over its first iterations.
TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def picture():
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 7, generator=rng) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (36, 42), mode="bilinear")


def train_ours(picture, precision, **changes):
    config = TrainConfig.from_dict(PYRAMID | SETTINGS | {"precision": precision} | changes)
    return train(picture, config, progress=False, device="cpu")


def train_reference_on(picture, precision, **changes):
    pyramid = build_pyramid(picture, **PYRAMID)
    reals = [image.to(getattr(torch, precision)) for image in pyramid.images]
    return train_reference(reals, pyramid.shape.factor, **SETTINGS | changes)


@pytest.fixture(scope="module", params=["convolutions of small maps", "of large maps"])
def both(picture, request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "of large maps":
            patch.setattr(convolution, "SMALL", 0)
            patch.setattr(convolution, "BAND", 20_000)  # of the largest maps here, two bands
            patch.setattr(narrow, "VALUES", 0)
            patch.setattr(narrow, "MANY", 0)
        return *train_reference_on(picture, "float64"), train_ours(picture, "float64")


def test_the_pyramid_is_the_reference_pyramid(picture):
    reals, factor = make_pyramid(picture, **PYRAMID)
    pyramid = build_pyramid(picture, **PYRAMID)
    assert pyramid.shape.factor == factor
    assert len(pyramid.images) == len(reals) >= 3
    for own, reference in zip(pyramid.images, reals, strict=True):
        torch.testing.assert_close(own, reference, atol=1e-6, rtol=0)


def test_losses_agree_in_every_iteration_of_every_level(both):
    levels, _, model = both
    assert len(model.levels) == len(levels) >= 3
    for own, reference in zip(model.levels, levels, strict=True):
        np.testing.assert_allclose(own.history, reference["losses"], atol=TOLERANCE, rtol=TOLERANCE)


def test_weights_and_batch_norm_statistics_agree_after_training(both):
    levels, z_star, model = both
    assert torch.equal(model.z_star, z_star)
    for own, reference in zip(model.levels, levels, strict=True):
        for network, plain in ((own.generator, reference["netG"]), (own.discriminator, reference["netD"])):
            states = zip(network.state_dict().items(), plain.state_dict().values(), strict=True)
            for (name, mine), theirs in states:
                if (network is own.discriminator and "running" in name) or "num_batches" in name:
                    continue  # of D they are never used, and the reference passes more images through it
                torch.testing.assert_close(mine, theirs, atol=TOLERANCE, rtol=0)


def test_noise_amplitudes_agree(both):
    levels, _, model = both
    for own, reference in zip(model.levels, levels, strict=True):
        assert own.amplitude == pytest.approx(reference["amplitude"], abs=TOLERANCE)


def test_the_comparison_would_notice_a_changed_algorithm(both, picture):
    levels, _, _ = both
    other = train_ours(picture, "float64", penalty_weight=0.1001)
    pairs = zip(other.levels, levels, strict=True)
    worst = max(np.abs(own.history - np.array(reference["losses"])).max() for own, reference in pairs)
    assert worst > 100 * TOLERANCE


def test_float32_agrees_over_the_first_iterations(picture):
    levels, _ = train_reference_on(picture, "float32", iterations=2)
    model = train_ours(picture, "float32", iterations=2)
    np.testing.assert_allclose(model.levels[0].history, levels[0]["losses"], atol=1e-5, rtol=1e-4)
