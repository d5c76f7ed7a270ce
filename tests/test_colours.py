"""Pictures in few colours."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from singan_core import SinGANError, sample_image
from singan_core.colours import find_palette, quantise
from singan_core.pyramid import resize


def noise(height: int, width: int, seed: int) -> Tensor:
    return 2 * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) - 1


def error(image: Tensor, palette: Tensor) -> float:
    return (quantise(image, palette) - image).square().sum(dim=1).mean().item()


def test_the_colours_of_a_flat_painting_are_found_and_change_nothing():
    colours = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [0.5, -0.5, 0.1], [-0.2, 0.7, 0.9]])
    painting = colours[torch.arange(24 * 31).view(24, 31) // 200].movedim(-1, 0)[None]
    palette = find_palette(painting, 4)
    torch.testing.assert_close(torch.tensor(sorted(palette.tolist())), torch.tensor(sorted(colours.tolist())))
    torch.testing.assert_close(quantise(painting, palette), painting)


def test_a_picture_of_fewer_colours_has_a_smaller_palette():
    assert find_palette(torch.full((1, 3, 9, 9), 0.25), 5).tolist() == [[0.25, 0.25, 0.25]]
    assert find_palette(noise(1, 2, 0), 5).shape == (2, 3)


@given(height=st.integers(1, 20), width=st.integers(1, 20), colours=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_every_pixel_gets_the_nearest_colour(height, width, colours, seed):
    image = noise(height, width, seed)
    palette = find_palette(image, colours)
    assert 1 <= len(palette) <= colours
    reduced = quantise(image, palette)
    assert reduced.shape == image.shape
    own = (reduced - image).square().sum(dim=1)
    others = (palette.view(-1, 3, 1, 1) - image).square().sum(dim=1).amin(dim=0)
    torch.testing.assert_close(own[0], others)
    torch.testing.assert_close(quantise(reduced, palette), reduced)


def test_each_colour_is_the_mean_of_its_pixels():
    """What makes it k-means: neither step can lower the error."""
    image = resize(sample_image("mountains"), (40, 64))
    palette = find_palette(image, 5)
    reduced, pixels = quantise(image, palette).movedim(1, -1), image.movedim(1, -1)
    for colour in palette:
        # float32 palette; Lloyd's iterations stop at a change of 1e-5
        torch.testing.assert_close(pixels[(reduced == colour).all(dim=-1)].mean(dim=0), colour, atol=1e-4, rtol=0)


def test_more_colours_come_nearer_to_the_photograph():
    image = resize(sample_image("mountains"), (40, 64))
    errors = [error(image, find_palette(image, colours)) for colours in (2, 3, 5, 9, 20)]
    assert errors == sorted(errors, reverse=True)


def test_colours_are_triples_and_not_channels():
    """The authors' code groups values of one channel, which gives gray for a picture in red and green."""
    image = torch.full((1, 3, 8, 8), -1.0)
    image[:, 0, :, :4], image[:, 1, :, 4:] = 1, 1
    assert sorted(find_palette(image, 2).tolist()) == [[-1, 1, -1], [1, -1, -1]]


@pytest.mark.parametrize("colours", [0, -1, 2.5, True])
def test_a_number_of_colours_out_of_range_is_refused(colours):
    with pytest.raises(SinGANError, match="colours must be"):
        find_palette(torch.zeros(1, 3, 8, 8), colours)
