"""Nearest patches: against a plain search, copies, shifts, masks, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from singan_core import SinGANError
from singan_core.patches import (
    border_centres,
    displacement_map,
    nearest_patch_distance,
    nearest_patches,
    patch_displacement,
    patch_repetition,
    shuffle_tiles,
)


def noise(height: int = 16, width: int = 20, seed: int = 0, n: int = 1) -> Tensor:
    return 2 * torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) - 1


def every_patch(image: Tensor, side: int) -> dict[tuple[int, int], np.ndarray]:
    array = image[0].double().numpy()
    rows, columns = array.shape[1] - side + 1, array.shape[2] - side + 1
    return {(i, j): array[:, i : i + side, j : j + side] for i in range(rows) for j in range(columns)}


@given(
    height=st.integers(7, 14),
    width=st.integers(7, 14),
    other=st.tuples(st.integers(7, 14), st.integers(7, 14)),
    side=st.integers(1, 7),
    seed=st.integers(0, 99),
)
@settings(max_examples=20)
def test_the_nearest_patch_is_that_of_a_plain_search(height, width, other, side, seed):
    image, source = noise(height, width, seed), noise(*other, seed=seed + 100)
    result = nearest_patches(image, source, patch_size=side)
    patches, others = every_patch(image, side), every_patch(source, side)
    assert [tuple(place) for place in result.place.tolist()] == list(patches)
    for patch, found, distance in zip(patches.values(), result.found.tolist(), result.distance.tolist(), strict=True):
        apart = {place: np.sqrt(((patch - each) ** 2).mean()) for place, each in others.items()}
        # float32 products may choose another one of two that are nearly equally near
        assert distance == pytest.approx(min(apart.values()), abs=1e-5)
        assert distance == pytest.approx(apart[tuple(found)], abs=1e-5)


@given(apart=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_what_is_too_near_to_the_own_place_is_left_out(apart, seed):
    image = noise(11, 12, seed)
    result = nearest_patches(image, image, patch_size=4, apart=apart)
    patches = every_patch(image, 4)
    for place, distance in zip(result.place.tolist(), result.distance.tolist(), strict=True):
        others = [at for at in patches if max(abs(at[0] - place[0]), abs(at[1] - place[1])) >= apart]
        nearest = min(np.sqrt(((patches[tuple(place)] - patches[at]) ** 2).mean()) for at in others)
        assert distance == pytest.approx(nearest, abs=1e-5)


def test_an_image_repeated_twice_is_found_in_its_other_half():
    half = noise(12, 10)
    result = nearest_patches(torch.cat([half, half], dim=3), torch.cat([half, half], dim=3), patch_size=5, apart=5)
    inside = (result.place[:, 1] + 5 <= 10) | (result.place[:, 1] >= 10)
    moved = (result.found - result.place).abs()[inside]
    assert (result.distance[inside] == 0).all() and (moved == torch.tensor([0, 10])).all()


def test_a_copy_has_all_its_patches_at_home():
    image = noise()
    assert nearest_patch_distance(image, image).item() == 0
    assert patch_displacement(image, image).item() == 0


def test_an_even_image_is_at_home_too_though_all_its_patches_are_alike():
    assert patch_displacement(torch.zeros(1, 3, 16, 20), torch.zeros(1, 3, 16, 20)).item() == 0


def test_a_part_of_the_source_is_not_foreign_and_found_where_it_was():
    source = noise(20, 30)
    result = nearest_patches(source[..., 4:16, 9:25].contiguous(), source)
    assert (result.distance == 0).all()
    assert torch.equal(result.found, result.place + torch.tensor([4, 9]))


def test_what_is_too_near_is_left_out_of_a_source_of_another_size_too():
    source = noise(12, 20)
    result = nearest_patches(source[..., :12].contiguous(), source, patch_size=4, apart=3)
    assert (result.distance > 0).all()
    assert ((result.found - result.place).abs().amax(dim=1) >= 3).all()


def test_the_displacement_of_a_shifted_image_is_the_shift():
    wide = noise(20, 40)
    image, source = wide[..., 3:23].contiguous(), wide[..., :20].contiguous()
    seen = torch.zeros(1, 1, 20, 20)
    seen[..., :14] = 1  # patches of the image that the source has, too
    assert patch_displacement(image, source, mask=seen).item() == pytest.approx(3)


def test_a_map_shows_where_patches_have_moved():
    source = noise(20, 24)
    image = source.clone()
    image[..., :8, :8] = source[..., 3:11, 4:12]  # moved by 3 rows and 4 columns, so by 5 px
    moved = displacement_map(image, source, patch_size=5)
    assert moved.shape == (1, 1, 16, 20)
    assert (moved[..., :4, :4] == 5).all()  # the patches inside
    assert (moved[..., 8:, :] == 0).all() and (moved[..., 8:] == 0).all()  # those that touch nothing that moved
    assert moved.mean().item() == pytest.approx(patch_displacement(image, source, patch_size=5).item())


def test_a_copy_repeats_no_patch_and_tiles_repeat_theirs():
    source = noise(12, 12)
    tile = source[..., :6]
    assert patch_repetition(source, source).item() == 1
    # the same column of patches in each of eight tiles
    tiled = torch.cat([tile] * 8, dim=3)
    inside = torch.zeros(1, 1, 12, 48)
    inside[..., 1::6] = 1
    assert patch_repetition(tiled, source, patch_size=3, mask=inside).tolist() == [8]


def test_images_are_measured_one_by_one():
    images, source = noise(n=2), noise(seed=5)
    together = nearest_patch_distance(images, source)
    assert together.dtype == torch.float64
    assert together.tolist() == [nearest_patch_distance(images[k : k + 1], source).item() for k in range(2)]


def test_another_image_is_the_more_foreign_the_more_noise_it_has():
    image = noise()
    distances = [nearest_patch_distance((1 - share) * image + share * noise(seed=1), image) for share in (0.1, 0.3, 1)]
    assert distances == sorted(distances) and distances[0] > 0


def test_the_distance_of_an_image_is_the_mean_over_its_patches():
    source = noise(16, 30)
    image = torch.cat([source[..., :24], noise(16, 6, seed=1)], dim=3)  # most of its patches are the source's own
    distances = nearest_patches(image, source).distance
    assert (distances == 0).float().mean() > 0.5
    assert nearest_patch_distance(image, source).item() == pytest.approx(distances.double().mean().item())


@pytest.mark.parametrize("side", [3, 4, 7])
def test_a_mask_chooses_patches_by_their_centre(side):
    mask = torch.zeros(1, 1, 16, 20)
    mask[..., 8, 10] = 1
    result = nearest_patches(noise(), noise(seed=1), patch_size=side, mask=mask)
    assert result.place.tolist() == [[8 - side // 2, 10 - side // 2]]


def test_a_patch_is_at_home_only_where_its_own_place_is_among_the_candidates():
    result = nearest_patches(noise(), noise(), candidates=1)
    assert (result.found == result.found[0]).all()
    assert (result.distance == 0).sum() == 1


def test_a_mask_of_everything_changes_nothing():
    image, source = noise(), noise(seed=1)
    masked = nearest_patches(image, source, mask=torch.ones(1, 1, 16, 20))
    assert all(torch.equal(one, other) for one, other in zip(masked, nearest_patches(image, source), strict=True))


def test_fewer_candidates_are_farther_away_and_drawn_from_the_seed():
    image, source = noise(), noise(30, 30, seed=1)
    few = [nearest_patch_distance(image, source, candidates=20, seed=seed) for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    assert min(few) > nearest_patch_distance(image, source)
    assert nearest_patch_distance(image, source, candidates=24 * 24) == nearest_patch_distance(image, source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 17}, "no patch of 17 px"),
        ({"patch_size": 0}, "no patch of 0 px"),
        ({"apart": 0}, "apart must be a number of pixels"),
        ({"apart": 9, "patch_size": 7}, "none that is 9 px or more away"),
        ({"apart": 9}, "none that is 9 px or more away"),
        ({"candidates": 0}, "candidates must be"),
        ({"candidates": 10**6}, "candidates must be"),
        ({"mask": torch.zeros(1, 1, 16, 20)}, "sets the centre of no patch"),
        ({"mask": torch.ones(1, 1, 8, 8)}, "expected"),
    ],
)
def test_what_does_not_fit_is_explained(options, message):
    with pytest.raises(SinGANError, match=message):
        nearest_patches(noise(), noise(seed=1), **options)


def test_batches_and_other_sizes_are_refused_where_they_mean_nothing():
    with pytest.raises(SinGANError, match="one image"):
        nearest_patches(noise(n=2), noise())
    for measure in (patch_displacement, displacement_map):
        with pytest.raises(SinGANError, match="size"):
            measure(noise(), noise(17, 20))


@given(height=st.integers(3, 12), width=st.integers(3, 12), side=st.sampled_from([1, 3, 5]), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_border_centres_are_those_of_patches_with_pixels_of_both_sides(height, width, side, seed):
    mask = (torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed)) > 0.8).float()
    inside, half = mask[0, 0].numpy(), side // 2
    expected = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        patch = inside[max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1]
        expected[i, j] = patch.min() < patch.max()
    np.testing.assert_array_equal(border_centres(mask, patch_size=side)[0, 0].numpy(), expected)


def test_a_mask_sets_the_pixels_where_it_is_a_half_or_more():
    mask = (noise(seed=3)[:, :1] > 0).float()
    soft = 0.25 + 0.25 * mask
    chosen, expected = (nearest_patches(noise(), noise(seed=1), mask=each).place for each in (soft, mask))
    assert torch.equal(chosen, expected)
    assert torch.equal(border_centres(soft, patch_size=3), border_centres(mask, patch_size=3))


@pytest.mark.parametrize("side", [0, 4, 3.0])
def test_only_odd_patches_have_a_centre(side):
    with pytest.raises(SinGANError, match="must be odd"):
        border_centres(torch.zeros(1, 1, 8, 8), patch_size=side)


# -- shuffled tiles


@given(height=st.integers(1, 17), width=st.integers(1, 17), tile=st.integers(1, 17), seed=st.integers(0, 99))
def test_tiles_are_permuted_and_the_rest_stays(height, width, tile, seed):
    tile = min(tile, height, width)
    image = noise(height, width, seed)
    shuffled = shuffle_tiles(image, tile, torch.Generator().manual_seed(seed))
    corners = [(i, j) for i in range(0, height - tile + 1, tile) for j in range(0, width - tile + 1, tile)]
    order = torch.randperm(len(corners), generator=torch.Generator().manual_seed(seed)).tolist()
    expected = image.clone()
    for (i, j), k in zip(corners, order, strict=True):
        row, column = corners[k]
        expected[..., i : i + tile, j : j + tile] = image[..., row : row + tile, column : column + tile]
    assert torch.equal(shuffled, expected)


@pytest.mark.parametrize("tile", [0, 17, 2.0, True])
def test_tiles_that_do_not_fit_are_refused(tile):
    with pytest.raises(SinGANError, match="tile must be a number of pixels from 1 to 16"):
        shuffle_tiles(noise(), tile, torch.Generator())


def test_tiles_of_one_image_at_a_time_are_shuffled():
    with pytest.raises(SinGANError, match="must be one image"):
        shuffle_tiles(noise(n=2), 4, torch.Generator())
