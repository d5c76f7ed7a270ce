"""The set of measures that says how good a pyramid is."""

import pytest
import torch

from singan_core.config import TrainConfig
from singan_core.errors import SinGANError
from singan_core.images import sample_image
from singan_core.metrics import diversity, psnr, sliced_wasserstein, sliced_wasserstein_levels
from singan_core.pyramid import resize
from singan_core.quality import high_pass_distances, measure, patch_distances
from singan_core.training import train, training_images


@pytest.fixture(scope="module")
def pyramid():
    image, config = sample_image("bricks"), TrainConfig.for_profile("smoke", iterations=2)
    return train(image, config, progress=False), training_images(image, config, torch.device("cpu"))[1][-1]


def test_quality_is_what_the_measures_say_of_the_same_samples(pyramid):
    model, real = pyramid
    found, samples = measure(model, real, samples=3, seed=5), model.sample(3, seed=5)
    assert found.sliced_wasserstein == sliced_wasserstein(samples, real)
    assert found.diversity == diversity(samples, real)
    assert found.reconstruction_psnr == psnr(model.reconstruct(), real)
    assert found.frechet > 0 and found.frechet_features == "random-filters-0"


def test_quality_depends_on_the_samples_seed_alone(pyramid):
    model, real = pyramid
    assert measure(model, real, samples=3) == measure(model, real.double(), samples=3)
    assert measure(model, real, samples=3) != measure(model, real, samples=3, seed=2)


def test_a_photograph_of_another_size_is_refused(pyramid):
    model, real = pyramid
    with pytest.raises(SinGANError, match="make them equal"):
        measure(model, real[..., :-1], samples=3)


def test_patch_distances_are_those_of_the_levels_for_every_batch(pyramid):
    model, real = pyramid
    batches = [model.sample(2, seed=seed) for seed in (0, 1)]
    found = patch_distances(batches, real)
    for number, batch in enumerate(batches):
        levels = sliced_wasserstein_levels(batch, real)
        assert found["patch distance"][number] == sliced_wasserstein(batch, real)
        assert (found["structure distance"][number], found["texture distance"][number]) == (levels[0], levels[-1])


@pytest.mark.parametrize("side", [1, 3, 6])
def test_pictures_smaller_than_a_patch_are_refused(side):
    with pytest.raises(SinGANError, match="hold no patch of 7x7 px"):
        high_pass_distances([torch.zeros(1, 3, side, 20)], torch.zeros(1, 3, 20, 20))


def test_a_blurred_picture_is_farther_in_texture_than_in_structure():
    real = sample_image("bricks")[..., :96, :96]
    blurred = resize(resize(real, (48, 48)), (96, 96))
    found = patch_distances([blurred], real)
    assert found["texture distance"][0] > 2 * found["structure distance"][0]


def test_high_pass_distances_tell_texture_and_not_which_part_of_the_photograph_it_is():
    photograph = resize(sample_image("mountains"), (80, 128))
    part, blurred = photograph[..., 27:, :], resize(resize(photograph, (20, 32)), (80, 128))
    near, far = high_pass_distances([part, blurred], photograph)
    of_part, of_blurred = patch_distances([part, blurred], photograph)["texture distance"]
    assert near < 0.2 * far and of_part > 5 * of_blurred
    assert high_pass_distances([photograph], photograph) == [0.0]


def test_high_pass_distances_ignore_a_constant_and_grow_with_the_contrast():
    picture = 0.4 * sample_image("bricks")
    same, stronger = high_pass_distances([picture + 0.3, 2 * picture], picture)
    assert same == pytest.approx(0.0, abs=1e-6) and stronger > 0.01
    (quick,) = high_pass_distances([2 * picture], picture, projections=32)
    assert quick == pytest.approx(stronger, rel=0.25) and quick != stronger
    with pytest.raises(SinGANError, match="hold no patch"):
        high_pass_distances([picture[..., :6, :6]], picture)
