"""Samples without training: the normalised score against a plain computation, folding, and what both methods reach."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from singan_core import SinGANError, build_pyramid, patch_sampling
from singan_core.metrics import diversity, sliced_wasserstein
from singan_core.model import seeded_noise
from singan_core.patch_sampling import (
    fold_patches,
    gpdm,
    gpnn,
    nearest_complete,
    replace_patches,
    sliced_distance,
)
from singan_core.patches import nearest_patch_distance
from singan_core.pyramid import Pyramid, resize, upsample

INF = float("inf")


def noise(height: int = 16, width: int = 20, seed: int = 0) -> Tensor:
    return 2 * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture(scope="module")
def pyramid(picture) -> Pyramid:
    return build_pyramid(picture, min_size=18, max_size=40)


# -- the normalised distance


@given(
    queries=st.integers(1, 12),
    keys=st.integers(1, 12),
    alpha=st.sampled_from([1e-3, 0.1, 10.0, INF]),
    at_once=st.sampled_from([1, 30, 2**22]),
    kept=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_the_number_is_that_of_a_plain_computation(queries, keys, alpha, at_once, kept, seed):
    rng = np.random.default_rng(seed)
    q, k = rng.uniform(-1, 1, (queries, 5)), rng.uniform(-1, 1, (keys, 5))
    apart = ((q[:, None] - k[None]) ** 2).mean(axis=2)
    score = apart / (alpha + apart.min(axis=0)) if alpha < INF else apart
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_sampling, "_PRODUCTS_AT_ONCE", at_once)
        patch.setattr(patch_sampling, "_PRODUCTS_KEPT", 2**27 if kept else 0)
        found = nearest_complete(torch.tensor(q), torch.tensor(k), alpha).numpy()
    chosen = score[np.arange(queries), found]
    assert chosen == pytest.approx(score.min(axis=1), rel=1e-6, abs=1e-9)  # two nearly equal ones may change places


def test_a_key_that_nobody_is_near_to_is_taken_with_a_small_alpha_only():
    queries = torch.tensor([[0.0], [0.1]])
    keys = torch.tensor([[0.0], [1.0]])
    assert nearest_complete(queries, keys, INF).tolist() == [0, 0]
    # query 1: 0.01 / alpha for key 0, 0.81 / (alpha + 0.81) for key 1
    assert nearest_complete(queries, keys, 0.001).tolist() == [0, 1]
    assert nearest_complete(queries, keys, 0.1).tolist() == [0, 0]


def test_the_brightness_of_all_patches_together_has_no_part_in_it():
    q, k = (torch.rand(9, 12, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(nearest_complete(q, k, 0.01), nearest_complete(q + 40, k + 40, 0.01))


def test_the_brightness_of_all_patches_together_has_no_part_in_it_even_where_it_is_large():
    q, k = (torch.rand(9, 12, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(nearest_complete(q, k, 0.01), nearest_complete(q + 1000, k + 1000, 0.01))


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_an_alpha_that_divides_by_zero_is_refused(alpha):
    with pytest.raises(SinGANError, match="alpha must be above 0"):
        nearest_complete(torch.zeros(2, 3), torch.zeros(2, 3), alpha)


# -- one pass


@given(height=st.integers(5, 12), width=st.integers(5, 12), side=st.integers(1, 5))
@settings(max_examples=15)
def test_folding_undoes_cutting(height, width, side):
    image = noise(height, width)
    assert torch.allclose(fold_patches(F.unfold(image, side)[0].T, image.shape, side), image, atol=1e-6)


def test_overlapping_patches_are_averaged():
    patches = torch.cat([torch.full((1, 12), value) for value in (0.0, 1.0)])  # two of 2x2 px in a row of three columns
    assert fold_patches(patches, (1, 3, 2, 3), 2)[0, 0, 0].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("alpha", [0.005, INF])
def test_the_photograph_stays_as_it_is(alpha):
    image = noise()
    # each patch is at distance 0 from itself alone
    assert torch.allclose(replace_patches(image, image, image, alpha=alpha), image, atol=1e-6)


def test_patches_are_found_by_the_key_and_taken_from_the_value():
    blurred, sharp = noise(seed=1), noise(seed=2)
    assert torch.allclose(replace_patches(blurred, blurred, sharp), sharp, atol=1e-6)


def test_a_picture_of_another_size_is_rebuilt_from_the_patches_of_the_photograph():
    image = noise(20, 24)
    part = image[..., 3:15, 4:20].contiguous()
    assert torch.allclose(replace_patches(part, image, image, patch_size=5), part, atol=1e-6)


def test_key_and_value_of_different_size_are_refused():
    with pytest.raises(SinGANError, match="one size"):
        replace_patches(noise(), noise(), noise(18, 20))


def test_a_patch_larger_than_the_picture_is_refused():
    with pytest.raises(SinGANError, match="smaller than a patch of 17x17"):
        replace_patches(noise(), noise(), noise(), patch_size=17)


# -- nearest neighbours from coarse to fine


def test_without_noise_gpnn_gives_the_photograph_back(pyramid):
    made = gpnn(pyramid, noise=0.0, passes=2)
    # the first pass of a level compares the level below, enlarged, with the same
    assert torch.allclose(made, pyramid.images[-1], atol=1e-5)


def test_gpnn_searches_with_blurred_keys_once_and_then_with_sharp_ones(pyramid):
    two = Pyramid(pyramid.images[:2], dataclasses.replace(pyramid.shape, sizes=pyramid.shape.sizes[:2]))
    coarse, fine = two.images
    size, factor = two.shape.sizes[1], two.shape.factor
    drawn = seeded_noise(3, range(1), like=coarse)(0, (1, 1, *coarse.shape[-2:]))
    options = {"alpha": 0.01, "patch_size": 5}
    wanted = upsample(replace_patches(coarse + 1.2 * drawn, coarse, coarse, **options), size, factor)
    for key in (upsample(coarse, size, factor), fine, fine):
        wanted = replace_patches(wanted, key, fine, **options)
    assert torch.allclose(gpnn(two, seed=3, noise=1.2, passes=3, **options), wanted, atol=1e-6)


def test_gpdm_is_adam_along_new_directions_in_every_step(pyramid):
    two = Pyramid(pyramid.images[:2], dataclasses.replace(pyramid.shape, sizes=pyramid.shape.sizes[:2]))
    drawn = seeded_noise(3, range(1), like=two.images[0])
    made, number = two.images[0] + 1.2 * drawn(0, (1, 1, *two.shape.sizes[0])), 0
    for level, target in enumerate(two.images):
        made = upsample(made, two.shape.sizes[1], two.shape.factor) if level else made
        made = made.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([made])
        for step in range(102):
            number += 1
            optimiser.param_groups[0]["lr"] = 0.02 if step < 100 else 0.018
            optimiser.zero_grad()
            sliced_distance(made, target, drawn(number, (4, 3, 5, 5))).backward()
            optimiser.step()
        made = made.detach().clamp(-1, 1)
    options = {"steps": 102, "projections": 4, "learning_rate": 0.02, "patch_size": 5}
    with torch.no_grad():
        assert torch.allclose(gpdm(two, seed=3, noise=1.2, **options), made, atol=1e-5)


def test_gpnn_gives_new_pictures_of_the_photographs_patches(pyramid):
    photograph = pyramid.images[-1]
    made = gpnn(pyramid, 3, passes=3, noise=1.5, patch_size=5)
    assert made.shape == (3, *photograph.shape[1:]) and made.abs().max() <= 1
    assert diversity(made, photograph) > 0.1
    other = resize(noise(9, 12, seed=5), tuple(photograph.shape[-2:]))  # a smooth picture of its own
    assert nearest_patch_distance(made, photograph).max() < 0.5 * nearest_patch_distance(other, photograph).item()


def test_without_much_noise_gpnn_finds_the_way_back(pyramid):
    little, much = (diversity(gpnn(pyramid, 3, passes=1, noise=sigma), pyramid.images[-1]) for sigma in (0.05, 1.5))
    assert little < 0.01 < 0.05 < much


# -- matching of distributions


def test_the_sliced_distance_ignores_where_the_patches_are():
    image = noise()
    directions = torch.randn(8, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(16 * 20, generator=torch.Generator().manual_seed(1))
    shuffled = image.flatten(2)[..., order].reshape(image.shape)
    assert sliced_distance(shuffled, image, directions).item() == pytest.approx(0, abs=1e-12)


def test_the_sliced_distance_is_that_of_sorted_projections():
    a, b = noise(8, 9, seed=1), noise(8, 9, seed=2)
    directions = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    wanted = []
    for direction in directions:
        unit = (direction / direction.norm()).flatten()
        rows = [np.sort((F.unfold(each, 3)[0].T @ unit).numpy()) for each in (a, b)]
        wanted.append(((rows[0] - rows[1]) ** 2).mean())
    assert sliced_distance(a, b, directions).item() == pytest.approx(np.mean(wanted), rel=1e-5)


def test_the_gradient_of_the_sliced_distance_is_that_of_finite_differences():
    a, b = noise(6, 7, seed=1).double().requires_grad_(True), noise(6, 7, seed=2).double()
    directions = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda image: sliced_distance(image, b, directions), (a,), eps=1e-6)


def test_images_of_different_size_are_refused():
    with pytest.raises(SinGANError, match="one size"):
        sliced_distance(noise(), noise(18, 20), torch.ones(1, 3, 3, 3))


def test_gpdm_matches_the_patches_of_the_photograph(pyramid):
    photograph = pyramid.images[-1]
    options = {"projections": 16, "patch_size": 5}
    short, long = (gpdm(pyramid, 2, steps=steps, **options) for steps in (1, 30))
    assert long.shape == (2, *photograph.shape[1:]) and long.abs().max() <= 1 and not long.requires_grad
    assert sliced_wasserstein(long, photograph) < 0.5 * sliced_wasserstein(short, photograph)
    assert diversity(long, photograph) > 0.1


# -- both


@pytest.mark.parametrize("method", [gpnn, gpdm])
def test_a_picture_depends_on_seed_and_number_alone(pyramid, method):
    options = {"passes": 1} if method is gpnn else {"steps": 2, "projections": 4}
    two, one, other = (method(pyramid, n, seed=seed, **options) for n, seed in ((2, 3), (1, 3), (1, 4)))
    assert torch.equal(two[:1], one)
    assert not torch.equal(two[1:], one) and not torch.equal(other, one)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", [gpnn, gpdm])
def test_pictures_are_made_also_where_gradients_are_switched_off(picture, method, mode):
    options = {"passes": 1} if method is gpnn else {"steps": 2, "projections": 4}
    outside = method(build_pyramid(picture, min_size=18, max_size=40), **options)
    with mode():
        assert torch.equal(method(build_pyramid(picture, min_size=18, max_size=40), **options), outside)


@pytest.mark.parametrize("method", [gpnn, gpdm])
def test_counts_of_numpy_are_taken(pyramid, method):
    options = {"passes": 1} if method is gpnn else {"steps": 1, "projections": 2}
    numpys = {name: np.int64(value) for name, value in options.items()}
    same = method(pyramid, np.int64(1), seed=np.int64(2), patch_size=np.int64(5), **numpys)
    assert torch.equal(same, method(pyramid, 1, seed=2, patch_size=5, **options))


@pytest.mark.parametrize("method", [gpnn, gpdm])
def test_a_patch_may_be_as_large_as_the_coarsest_level(pyramid, method):
    options = {"passes": 1} if method is gpnn else {"steps": 1, "projections": 1}
    assert method(pyramid, patch_size=18, **options).shape == pyramid.images[-1].shape


@pytest.mark.parametrize("method", [gpnn, gpdm])
@pytest.mark.parametrize("option", ["n", "patch_size"])
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_counts_that_are_none_are_refused(pyramid, method, option, value):
    with pytest.raises(SinGANError, match=f"{option} must be a whole number"):
        method(pyramid, **{option: value})


@pytest.mark.parametrize("method", [gpnn, gpdm])
@pytest.mark.parametrize("noise", [-0.1, float("nan"), INF])
def test_noise_that_is_none_is_refused(pyramid, method, noise):
    with pytest.raises(SinGANError, match="noise must be a number"):
        method(pyramid, noise=noise)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_goes_nowhere_is_refused(pyramid, rate):
    with pytest.raises(SinGANError, match="learning_rate"):
        gpdm(pyramid, learning_rate=rate)


def test_batches_are_refused(pyramid):
    image = pyramid.images[0]
    with pytest.raises(SinGANError, match="picture must be one image"):
        replace_patches(torch.cat([image, image]), image, image)
    with pytest.raises(SinGANError, match="Two images"):
        sliced_distance(torch.cat([image, image]), torch.cat([image, image]), torch.ones(2, 3, 3, 3))


@pytest.mark.parametrize("method", [gpnn, gpdm])
def test_a_level_smaller_than_a_patch_is_refused(pyramid, method):
    with pytest.raises(SinGANError, match="Level 0 has 18x24 px and no patch of 19 px"):
        method(pyramid, patch_size=19)


def test_one_level_is_enough(pyramid):
    last = dataclasses.replace(pyramid.shape, sizes=pyramid.shape.sizes[-1:])
    assert gpnn(Pyramid(pyramid.images[-1:], last)).shape == pyramid.images[-1].shape
