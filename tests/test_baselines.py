"""What stands beside the pyramids: blending, histogram matching, style transfer, Deep Image Prior and ZSSR."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from singan_core import SinGANError
from singan_core.applications.classical import match_histograms, multiband_blend, poisson_blend, poisson_stitch
from singan_core.applications.deep_prior import Hourglass, deep_image_prior
from singan_core.applications.style import style_transfer
from singan_core.applications.zssr import Residual, back_projected, zero_shot_super_resolution
from singan_core.images import sample_image
from singan_core.metrics import psnr, rmse
from singan_core.pyramid import resize
from singan_core.texture import MultiscaleRandomFilters, TextureLoss


def noise(height: int = 20, width: int = 26, seed: int = 0, scale: float = 0.5) -> Tensor:
    return scale * (2 * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) - 1)


def blob(height: int = 20, width: int = 26) -> Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., 5:13, 6:18] = 1
    mask[..., 8:16, 10:14] = 1
    return mask


@pytest.fixture(scope="module")
def photograph() -> Tensor:
    return resize(sample_image("mountains"), (40, 64))


# -- Poisson blending


def dense_solution(known: np.ndarray, inside: np.ndarray, wish: Callable[[tuple, tuple], float]) -> np.ndarray:
    """Values inside whose differences come nearest to what is wished of all pairs of neighbours, dense, by numpy."""
    places = list(np.ndindex(known.shape))
    pairs = [((i, j), q) for i, j in places for q in ((i, j + 1), (i + 1, j)) if q in places]
    number = {place: k for k, place in enumerate(zip(*np.nonzero(inside), strict=True))}
    rows, goals = [], []
    for p, q in pairs:
        row, goal = np.zeros(len(number)), wish(p, q)
        for place, sign in ((p, 1), (q, -1)):
            if place in number:
                row[number[place]] += sign
            else:
                goal -= sign * known[place]
        rows.append(row), goals.append(goal)
    return np.linalg.lstsq(np.array(rows), np.array(goals), rcond=None)[0]


def test_the_blend_minimises_the_difference_of_gradients():
    background, source, mask = noise(7, 9, 0, 0.2), noise(7, 9, 1, 0.2), torch.zeros(1, 1, 7, 9)
    mask[..., 2:6, 0:6] = 1  # it touches the border of the image
    inside = mask[0, 0].numpy() > 0
    blended = poisson_blend(background, source, mask)[0].numpy()
    for channel in range(3):
        b, s = background[0, channel].double().numpy(), source[0, channel].double().numpy()
        expected = dense_solution(b, inside, lambda p, q, s=s: s[p] - s[q])
        np.testing.assert_allclose(blended[channel][inside], expected, atol=1e-6)  # float32 result


@given(shift=st.floats(-0.4, 0.4), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_a_source_that_differs_by_a_colour_alone_disappears(shift, seed):
    background = noise(seed=seed)
    blended = poisson_blend(background, background + shift, blob())
    torch.testing.assert_close(blended, background, atol=1e-6, rtol=0)


def test_outside_the_mask_the_background_is_returned_bit_for_bit():
    background = noise()
    blended = poisson_blend(background, noise(seed=1), blob())
    outside = (blob() == 0).expand_as(background)
    assert torch.equal(blended[outside], background[outside])
    assert not torch.equal(blended, background)


def test_a_blend_stays_in_range():
    blended = poisson_blend(torch.ones(1, 3, 20, 26), noise(scale=1), blob())
    assert blended.abs().max() <= 1


@pytest.mark.parametrize(
    ("source", "mask", "message"),
    [
        (noise(), torch.ones(1, 1, 20, 26), "covers everything"),
        (noise(), torch.zeros(1, 1, 20, 26), "mask is empty"),
        (noise(9, 9), blob(), "of one size"),
        (noise(), torch.ones(1, 1, 9, 9), "expected"),
        (None, blob(), "source must be"),
    ],
)
def test_what_cannot_be_blended_is_explained(source, mask, message):
    with pytest.raises(SinGANError, match=message):
        poisson_blend(noise(), source, mask)


# -- Poisson stitching


def left_half(height: int = 20, width: int = 26) -> Tensor:
    part = torch.zeros(1, 1, height, width)
    part[..., : width // 2] = 1
    return part


def test_a_stitch_minimises_the_change_of_the_differences_within_parts():
    """The differences of the picture are wished for, and none across the border of the parts."""
    picture, mask = noise(6, 8, 0, 0.2), torch.zeros(1, 1, 6, 8)
    mask[..., 0:5, 2:7] = 1  # it touches the border of the image
    inside, part = mask[0, 0].numpy() > 0, left_half(6, 8)[0, 0].numpy() > 0
    values = picture[0, 0].double().numpy()
    expected = dense_solution(values, inside, lambda p, q: 0.0 if part[p] != part[q] else values[p] - values[q])
    stitched = poisson_stitch(picture, left_half(6, 8), mask)[0, 0].numpy()
    np.testing.assert_allclose(stitched[inside], expected, atol=1e-6)  # float32 result
    assert np.array_equal(stitched[~inside], picture[0, 0].numpy()[~inside])


def test_a_mask_sets_the_pixels_where_it_is_a_half_or_more():
    def soft(mask: Tensor) -> Tensor:
        return 0.25 + 0.25 * mask

    around = torch.zeros(1, 1, 20, 26)
    around[..., 8:18] = 1
    assert torch.equal(
        poisson_blend(noise(), noise(seed=1), soft(blob())), poisson_blend(noise(), noise(seed=1), blob())
    )
    stitched = poisson_stitch(noise(), soft(left_half()), soft(around))
    assert torch.equal(stitched, poisson_stitch(noise(), left_half(), around))


def test_pictures_of_a_batch_are_stitched_each_for_itself():
    pictures, mask = torch.cat([noise(seed=seed) for seed in range(3)]), torch.zeros(1, 1, 20, 26)
    mask[..., 8:18] = 1
    together = poisson_stitch(pictures, left_half(), mask)
    alone = [poisson_stitch(each, left_half(), mask) for each in pictures.split(1)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


@given(step=st.floats(-0.8, 0.8))
@settings(max_examples=10)
def test_a_step_between_even_parts_becomes_a_slope_over_the_mask(step):
    picture, mask = (left_half() * step).expand(1, 3, 20, 26), torch.zeros(1, 1, 20, 26)
    mask[..., 8:18] = 1
    stitched = poisson_stitch(picture, left_half(), mask)
    # the step is shared by the eleven pairs that have a pixel inside
    assert stitched.diff(dim=3).abs().max().item() == pytest.approx(abs(step) / 11, abs=1e-6)


@pytest.mark.parametrize(
    ("parts", "mask", "message"),
    [
        (left_half(), torch.ones(1, 1, 20, 26), "leave others"),
        (left_half(), torch.zeros(1, 1, 20, 26), "around the seams"),
        (torch.ones(1, 1, 20, 26), blob(), "no border"),
        (left_half(9, 9), blob(), "expected"),
        (left_half(), torch.ones(1, 1, 9, 9), "expected"),
    ],
)
def test_what_cannot_be_stitched_is_explained(parts, mask, message):
    with pytest.raises(SinGANError, match=message):
        poisson_stitch(noise(), parts, mask)


# -- multi-band blending


@given(height=st.integers(1, 40), width=st.integers(1, 40), levels=st.integers(0, 8), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_equal_images_are_blended_to_themselves_at_any_size(height, width, levels, seed):
    image = noise(height, width, seed)
    share = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    blended = multiband_blend([image, image], [share, 1 - share], levels=levels)
    torch.testing.assert_close(blended, image, atol=1e-5, rtol=0)  # float32


def test_without_levels_the_masks_mix_the_images():
    a, b, share = noise(seed=0), noise(seed=1), torch.rand(1, 1, 20, 26, generator=torch.Generator().manual_seed(2))
    blended = multiband_blend([a, b], [share, 1 - share], levels=0)
    torch.testing.assert_close(blended, share * a + (1 - share) * b, atol=1e-6, rtol=0)


def test_a_blend_by_bands_stays_in_range():
    dark, bright = -torch.ones(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    dark[..., 28:32] = 1  # bands of different width meet at the seam
    share = left_half(64, 64)
    blended = multiband_blend([dark, bright], [share, 1 - share], levels=3)
    assert blended.abs().max() <= 1


def test_coarse_differences_are_blended_widely_and_fine_ones_narrowly():
    """Over the seam a difference in brightness fades slowly, and stripes end at once."""
    height, width = 64, 64
    even = torch.full((1, 3, height, width), -0.25), torch.full((1, 3, height, width), 0.25)
    stripes = 0.25 * (-1.0) ** torch.arange(width).expand(1, 3, height, width)
    share = left_half(height, width)
    slope = multiband_blend(even, [share, 1 - share], levels=3)[0, 0, 32]
    ending = multiband_blend([stripes, torch.zeros_like(stripes)], [share, 1 - share], levels=3)[0, 0, 32]
    beyond = torch.arange(width) >= 32
    assert slope[28] > -0.25 + 0.05 and slope[36] < 0.25 - 0.05
    assert ending[beyond].abs().max() < 0.05 < ending[~beyond].abs().min()


def test_pictures_of_a_batch_are_blended_each_for_itself():
    a, b = (torch.cat([noise(seed=seed + number) for number in range(2)]) for seed in (0, 10))
    together = multiband_blend([a, b], [left_half(), 1 - left_half()])
    alone = [multiband_blend([x[None], y[None]], [left_half(), 1 - left_half()]) for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize(
    ("images", "masks", "levels", "message"),
    [
        ([noise()], [], 4, "One mask for each"),
        ([], [], 4, "One mask for each"),
        ([noise()], [blob()], 4, "add up to 1"),
        ([noise(), noise(9, 9)], [left_half(), 1 - left_half()], 4, "one size"),
        ([noise(9, 9)], [torch.ones(1, 1, 20, 26)], 4, "expected"),
        ([noise()], [torch.ones(1, 1, 20, 26)], -1, "levels must be"),
        ([noise()], [torch.ones(1, 1, 20, 26)], 2.5, "levels must be"),
    ],
)
def test_what_cannot_be_blended_by_bands_is_explained(images, masks, levels, message):
    with pytest.raises(SinGANError, match=message):
        multiband_blend(images, masks, levels=levels)


@pytest.mark.parametrize("share", [0.49, 0.51])
def test_masks_that_add_up_to_a_little_more_or_less_are_refused(share):
    with pytest.raises(SinGANError, match="add up to 1"):
        multiband_blend([noise(), noise(seed=1)], [torch.full((1, 1, 20, 26), share)] * 2)


# -- histogram matching


def test_matched_to_itself_in_another_order_an_image_gets_its_values_back():
    image = noise()
    shuffled = image.flatten(2)[..., torch.randperm(520, generator=torch.Generator().manual_seed(0))]
    matched = match_histograms(0.3 * image - 0.2, shuffled.view_as(image))
    torch.testing.assert_close(matched, image, atol=1e-6, rtol=0)


@given(height=st.integers(8, 30), width=st.integers(8, 30), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_the_histogram_becomes_the_references_at_any_size(height, width, seed):
    reference = noise(height, width, seed, scale=0.9)
    matched = match_histograms(0.1 * noise(seed=seed + 1), reference)
    for channel in range(3):
        quantiles = [each[0, channel].quantile(torch.linspace(0.1, 0.9, 9)) for each in (matched, reference)]
        # 64 values at least: the quantiles of two sets of that size differ by a step of their sorted values
        torch.testing.assert_close(*quantiles, atol=0.15, rtol=0)


def test_with_a_mask_only_the_object_gets_the_histogram():
    image, reference = noise(scale=0.1), noise(seed=1, scale=0.2) + 0.6
    matched = match_histograms(image, reference, blob())
    inside = (blob() == 1).expand_as(image)
    assert torch.equal(matched[~inside], image[~inside])
    assert matched[inside].mean().item() == pytest.approx(reference.mean().item(), abs=0.02)


def test_each_colour_gets_the_histogram_of_its_own():
    reference = noise(scale=0.2) + torch.tensor([0.6, 0.0, -0.6]).view(1, 3, 1, 1)
    matched = match_histograms(noise(seed=1), reference)
    torch.testing.assert_close(matched.mean(dim=(2, 3)), reference.mean(dim=(2, 3)), atol=0.02, rtol=0)


def test_what_cannot_be_matched_is_explained():
    with pytest.raises(SinGANError, match="mask is empty"):
        match_histograms(noise(), noise(), torch.zeros(1, 1, 20, 26))
    with pytest.raises(SinGANError, match="reference must be"):
        match_histograms(noise(), None)
    with pytest.raises(SinGANError, match="One reference is needed"):
        match_histograms(noise(), torch.cat([noise(), noise(seed=1)]))
    with pytest.raises(SinGANError, match="image must be"):
        match_histograms(None, noise())


# -- style transfer


def test_the_textures_of_the_style_come_in_and_the_layout_stays(photograph):
    content, features = resize(sample_image("paint_mountains"), (40, 64)), MultiscaleRandomFilters()
    result = style_transfer(content, photograph, features, iterations=40)
    assert result.shape == content.shape and result.abs().max() <= 1
    texture = TextureLoss(features, photograph)
    assert texture(result) < 0.5 * texture(content)
    coarse = [resize(each, (5, 8)) for each in (result, content, content.flip(-1))]
    assert rmse(coarse[0], coarse[1]) < 0.5 * rmse(coarse[1], coarse[2])


def test_without_a_style_the_content_stays(photograph):
    content = noise(40, 64)
    result = style_transfer(content, photograph, MultiscaleRandomFilters(), iterations=3, style_weight=0)
    assert torch.equal(result, content)


def test_the_first_step_of_a_transfer_is_as_long_as_the_rate(photograph):
    content = noise(40, 64)
    result = style_transfer(content, photograph, MultiscaleRandomFilters(), iterations=1, learning_rate=0.05)
    assert (result - content).abs().median().item() == pytest.approx(0.05, rel=0.01)  # Adam's first step


def test_more_weight_brings_the_textures_nearer(photograph):
    content, features = noise(40, 64), MultiscaleRandomFilters()
    results = [style_transfer(content, photograph, features, iterations=30, style_weight=w) for w in (0.01, 10)]
    texture = TextureLoss(features, photograph)
    assert texture(results[1]) < texture(results[0])


def test_a_transfer_runs_where_gradients_are_off(photograph):
    features = MultiscaleRandomFilters()
    with torch.inference_mode():
        result = style_transfer(noise(40, 64), photograph, features, iterations=1)
    assert not result.requires_grad


@pytest.mark.parametrize("option", [{"iterations": 0}, {"iterations": 1.5}, {"style_weight": -1}, {"learning_rate": 0}])
def test_settings_of_a_transfer_out_of_range_are_refused(photograph, option):
    with pytest.raises(SinGANError):
        style_transfer(photograph, photograph, MultiscaleRandomFilters(), **option)


def test_images_of_too_different_sizes_have_no_common_textures(photograph):
    with pytest.raises(SinGANError, match="maps of"):
        style_transfer(photograph, noise(16, 16), MultiscaleRandomFilters(), iterations=1)


# -- Deep Image Prior and ZSSR

Enlarge = Callable[..., Tensor]
BOTH = [
    pytest.param(deep_image_prior, {"kernels": 8, "scales": 2}, id="deep image prior"),
    pytest.param(zero_shot_super_resolution, {"kernels": 8, "layers": 3, "crop": 24}, id="zssr"),
]


@pytest.mark.parametrize(("enlarge", "small"), BOTH)
@pytest.mark.parametrize("factor", [1, 1.7, 2, 3])
def test_any_factor_gives_the_size_it_says(enlarge: Enlarge, small, factor):
    result = enlarge(noise(13, 17), factor, iterations=1, **small)
    assert result.shape == (1, 3, round(13 * factor), round(17 * factor))
    assert result.dtype == torch.float32 and result.abs().max() <= 1 and not result.requires_grad


@pytest.mark.parametrize(("enlarge", "small"), BOTH)
def test_a_seed_gives_the_same_result_and_leaves_the_global_random_state_alone(enlarge: Enlarge, small):
    state = torch.get_rng_state()
    first = enlarge(noise(13, 17), 2, iterations=3, seed=1, **small)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, enlarge(noise(13, 17), 2, iterations=3, seed=1, **small))
    assert not torch.equal(first, enlarge(noise(13, 17), 2, iterations=3, seed=2, **small))


@pytest.mark.parametrize(("enlarge", "small"), BOTH)
def test_the_global_random_state_has_no_part_in_a_result(enlarge: Enlarge, small):
    results = []
    for state in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            results.append(enlarge(noise(13, 17), 2, iterations=3, **small))
    assert torch.equal(*results)


@pytest.mark.parametrize(("enlarge", "small"), BOTH)
@pytest.mark.parametrize("other", [{"learning_rate": 0.1}, {"iterations": 4}, {"kernels": 9}])
def test_every_setting_changes_the_result(enlarge: Enlarge, small, other):
    usual = {"iterations": 3} | small
    assert not torch.equal(enlarge(noise(13, 17), 2, **usual), enlarge(noise(13, 17), 2, **usual | other))


@pytest.mark.parametrize(("enlarge", "small"), BOTH)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_networks_are_trained_also_where_gradients_are_switched_off(enlarge: Enlarge, small, mode):
    outside = enlarge(noise(13, 17), 2, iterations=3, **small)
    with mode():
        inside = enlarge(noise(13, 17), 2, iterations=3, **small)
    assert torch.equal(inside, outside) and not inside.is_inference()


def test_the_prior_draws_a_picture_that_reduced_is_the_image(photograph):
    image = resize(photograph, (20, 32))
    errors = [
        rmse(resize(deep_image_prior(image, 2, iterations=iterations, kernels=16, scales=2), (20, 32)), image)
        for iterations in (1, 150)
    ]
    # measured: about 60 and 8 of 255
    assert errors[1] < 0.3 * errors[0]


def test_the_hourglass_is_an_hourglass_that_keeps_sizes():
    network = Hourglass(6, 3)
    sizes = []
    for part in network.down:
        part.register_forward_hook(lambda _module, _given, maps: sizes.append(tuple(maps.shape[-2:])))
    assert network(torch.zeros(1, 32, 16, 40)).shape == (1, 3, 16, 40)
    assert sizes == [(8, 20), (4, 10), (2, 5)]


@pytest.mark.parametrize(("side", "scales"), [(4, 1), (15, 1), (16, 2), (31, 2), (64, 4), (200, 4)])
def test_the_prior_halves_a_picture_down_to_4_pixels_at_most(monkeypatch, side, scales):
    def stop(kernels: int, chosen: int) -> None:
        raise RuntimeError(f"{chosen} scales")

    monkeypatch.setattr("singan_core.applications.deep_prior.Hourglass", stop)
    with pytest.raises(RuntimeError, match=f"^{scales} scales"):
        deep_image_prior(noise(side, 2 * side), 1)


def test_the_prior_is_adam_on_noise_that_is_disturbed_in_every_step():
    """The authors' loop, written out."""
    image, rng = noise(13, 17), torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = Hourglass(8, 1)
    z = 0.1 * torch.rand(1, 32, 26, 34, generator=rng)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(3):
        drawn = network(z + 0.03 * torch.randn(z.shape, generator=rng))
        optimizer.zero_grad()
        (resize(drawn, (13, 17)) - image).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        expected = network(z)
    result = deep_image_prior(image, 2, iterations=3, kernels=8, scales=1, learning_rate=0.02, seed=3)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)  # float32


def test_zssr_starts_as_the_bicubic_enlargement():
    image = noise(1, 1)
    assert torch.equal(Residual(4, 3)(image), image)


def test_the_rate_of_zssr_falls_by_ten_twice(monkeypatch):
    rates = []

    class Watched(torch.optim.Adam):
        def step(self, *arguments):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*arguments)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    zero_shot_super_resolution(noise(13, 17), 2, iterations=20, kernels=4, layers=2, crop=8, learning_rate=0.01)
    assert rates == pytest.approx([0.01] * 12 + [0.001] * 5 + [0.0001] * 3)


def test_zssr_gives_the_median_of_the_eight_ways(monkeypatch):
    """A network that brightens to the right: turned and mirrored, it does so to every side as often."""

    class Tilted(torch.nn.Module):
        def __init__(self, kernels: int, layers: int):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))

        def forward(self, enlarged: Tensor) -> Tensor:
            return enlarged + 0.1 * torch.linspace(-1, 1, enlarged.shape[-1]) + 0 * self.nothing

    monkeypatch.setattr("singan_core.applications.zssr.Residual", Tilted)
    image = noise(16, 16)
    result = zero_shot_super_resolution(image, 2, iterations=1)
    torch.testing.assert_close(result, back_projected(resize(image, (32, 32)), image), atol=1e-5, rtol=0)


def test_zssr_learns_to_enlarge_edges_better_than_bicubic():
    """Stripes of slowly changing width: sharp edges everywhere, at which a bicubic enlargement is soft."""
    phase = torch.linspace(0, 1, 96) ** 1.3 * 25
    stripes = torch.where(phase.sin() > 0, 0.7, -0.7).expand(1, 3, 96, 96)
    truth = torch.where(torch.arange(96).view(-1, 1) % 48 < 24, stripes, stripes.mT).contiguous()
    image = resize(truth, (48, 48))
    result = zero_shot_super_resolution(image, 2, iterations=150, kernels=16, layers=4, crop=32, learning_rate=3e-3)
    # measured: 25.3 and 19.5 dB
    assert psnr(result, truth) > psnr(resize(image, (96, 96)), truth) + 3


def test_zssr_reduced_again_is_the_image(photograph):
    image = resize(photograph, (20, 32))
    result = zero_shot_super_resolution(image, 2, iterations=5, kernels=8, layers=3)
    assert rmse(resize(result, (20, 32)), image) < 1  # of 255: back-projection, before the clamp


def test_back_projection_brings_any_picture_into_line(photograph):
    image = resize(photograph, (20, 32)) / 2
    error = rmse(resize(back_projected(torch.zeros(1, 3, 40, 64), image), (20, 32)), image)
    assert error < 0.05  # of 255


@pytest.mark.parametrize(
    ("image", "factor", "options"),
    [
        (noise(), 0.5, {}),
        (noise(), "two", {}),
        (noise().expand(2, -1, -1, -1), 2, {}),
        (noise(), 2, {"iterations": 0}),
        (noise(), 2, {"kernels": 1.5}),
        (noise(), 2, {"seed": -1}),
        (noise(), 2, {"seed": 0.5}),
        (noise(2, 2), 1, {}),
    ],
)
@pytest.mark.parametrize("enlarge", [deep_image_prior, zero_shot_super_resolution])
def test_what_cannot_be_enlarged_is_explained(enlarge: Enlarge, image, factor, options):
    with pytest.raises(SinGANError):
        enlarge(image, factor, **{"iterations": 1} | options)


@pytest.mark.parametrize(("enlarge", "small"), BOTH)
def test_numbers_of_numpy_are_taken(enlarge: Enlarge, small):
    numpys = {name: np.int64(value) for name, value in small.items()}
    same = enlarge(noise(13, 17), np.float32(2), iterations=np.int64(2), seed=np.int64(1), **numpys)
    assert torch.equal(same, enlarge(noise(13, 17), 2, iterations=2, seed=1, **small))


def test_zssr_needs_something_to_learn_from():
    with pytest.raises(SinGANError, match="nothing to learn from"):
        zero_shot_super_resolution(noise(9, 9), 4)


def test_a_single_layer_is_no_network():
    with pytest.raises(SinGANError, match="layers must be a whole number from 2 on"):
        zero_shot_super_resolution(noise(), 2, iterations=1, layers=1)
