"""Windows: the same pixels as the whole image has, at places that leave none out, for a cost that stays."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singan_core.config import TrainConfig
from singan_core.model import Level, SinGAN, finish, noise_shape, pad_noise
from singan_core.networks import Generator, initialise, measure_statistics, pad
from singan_core.pyramid import pyramid_shape, upsample
from singan_core.views import RandomWindows, WholeImage, make_view

ROUNDING = 1e-12  # float64; the same sums in another order


def pyramid_of(size, levels, **settings):
    """A model whose first `levels` levels are random networks that do something visible."""
    config = TrainConfig(
        min_size=25, max_size=max(size), kernels=3, max_kernels=3, precision="float64", crop=44, **settings
    )
    shape = pyramid_shape(size, min_size=25, max_size=max(size), scale_factor=0.7)
    rng = torch.Generator().manual_seed(5)
    z_star = torch.randn(noise_shape(0, shape.sizes[0], config), generator=rng, dtype=torch.float64)
    model = SinGAN(config, shape, z_star)
    for index in range(levels):
        generator = Generator(3).double()
        initialise(generator, rng)
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.mul_(4)
        level = Level(generator, None, 1.0 if index == 0 else 0.1)
        finish(level, z_star)
        model.levels.append(level)
    return model


class KnownNoise:
    """Full noise maps, of which windows get their part: what a view draws becomes comparable with whole images."""

    def __init__(self, model):
        self.model = model
        self.rng = torch.Generator().manual_seed(9)
        self.maps = [
            torch.randn(noise_shape(n, size, model.config), generator=self.rng, dtype=torch.float64)
            for n, size in enumerate(model.shape.sizes)
        ]

    def whole(self, level, shape=None):
        return self.maps[level]

    def windows(self, view):
        def noise(level):
            rows, columns = view._spans(level, view.margin)
            padded = pad_noise(self.maps[level], self.model.config)
            return padded[0][:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)

        return noise


@given(
    height=st.integers(60, 110), width=st.integers(60, 150), count=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99), noise_padding=st.booleans(),
)  # fmt: skip
@settings(max_examples=25)
def test_windows_of_a_random_image_from_below_have_its_very_pixels(height, width, count, seed, noise_padding):
    model = pyramid_of((height, width), levels=0, noise_padding=noise_padding)
    last = len(model.shape) - 1
    model = pyramid_of((height, width), levels=last, noise_padding=noise_padding)
    known = KnownNoise(model)
    image = model.generate(model.folded(), known.whole, model.shape, 0, last - 1)
    whole = pad(upsample(image, model.shape.sizes[last], model.shape.factor), 5)

    view = RandomWindows(model, torch.Generator().manual_seed(seed), count)
    view._noise = known.windows(view)
    torch.testing.assert_close(view.previous(), view.cut(whole, 5), atol=ROUNDING, rtol=0)


def test_noise_is_zero_on_the_padding_and_normal_inside():
    model = pyramid_of((80, 120), levels=0)
    last = len(model.shape) - 1
    view = RandomWindows(pyramid_of((80, 120), levels=last), torch.Generator().manual_seed(0))
    inside = pad(torch.ones(1, 1, *model.shape.sizes[last], dtype=torch.float64), 5)
    values = []
    for _ in range(50):
        view.move()
        mask, noise = view.cut(inside, 5).expand(-1, 3, -1, -1), view.noise()
        assert (noise[mask == 0] == 0).all()
        values.append(noise[mask == 1])
    values = torch.cat(values)
    assert abs(values.mean()) < 0.01 and abs(values.std() - 1) < 0.01  # 250,000 draws


@pytest.mark.parametrize("size", [(70, 90), (50, 130)])
def test_border_pixels_are_seen_at_least_as_often_as_those_inside(size):
    model = pyramid_of(size, levels=0)
    view = RandomWindows(pyramid_of(size, levels=len(model.shape) - 1), torch.Generator().manual_seed(0))
    seen = torch.zeros(size)
    places = torch.arange(size[0] * size[1]).view(1, 1, *size)
    for _ in range(2000):
        view.move()
        seen += torch.bincount(view.cut(places).flatten(), minlength=seen.numel()).view(size)
    edges = torch.cat([seen[0], seen[-1], seen[:, 0], seen[:, -1]]).mean()
    middle = seen[size[0] // 2 - 3 : size[0] // 2 + 3, size[1] // 2 - 3 : size[1] // 2 + 3].mean()
    assert seen.min() > 0
    assert 0.8 < edges / middle < 1.5
    assert seen.max() < 5 * middle  # towards a corner both axes gather the windows moved in from outside


@pytest.mark.parametrize("margin", [0, 5])
def test_windows_of_an_image_are_parts_of_it(margin):
    model = pyramid_of((80, 120), levels=0)
    view = RandomWindows(pyramid_of((80, 120), levels=len(model.shape) - 1), torch.Generator().manual_seed(3))
    image = torch.rand(1, 3, 80 + 2 * margin, 120 + 2 * margin)
    parts = view.cut(image, margin)
    side = 22 + 2 * margin
    assert parts.shape == (4, 3, side, side)
    windows = image[0].unfold(1, side, 1).unfold(2, side, 1)  # (3, rows, columns, side, side)
    for part in parts:
        assert (windows == part[:, None, None]).all(dim=(0, 3, 4)).any()


def test_the_cost_of_a_window_does_not_grow_with_the_picture():
    pixels = []
    for side in (200, 400, 800):
        model = pyramid_of((side, side), levels=0)
        model = SinGAN(model.config, model.shape, model.z_star, [None] * (len(model.shape) - 1))
        model.folded = lambda dtype: []
        view = RandomWindows(model, torch.Generator().manual_seed(0))
        rows, columns = view.axes
        pixels.append([h * w * n for h, w, n in zip(rows.lengths, columns.lengths, view.counts, strict=True)])
    for levels in pixels:
        assert levels[-1] == 44 * 44
        assert max(levels) < 4 * 60**2  # a window of 22 and its margins
    # each further level adds the same, at most the margins' own pixels
    assert max(pixels[1][-2], pixels[2][-2]) <= 1.1 * pixels[0][-2]


def test_small_levels_are_seen_whole():
    model = pyramid_of((100, 100), levels=0)
    for index, size in enumerate(model.shape.sizes):
        partial = SinGAN(model.config, model.shape, model.z_star, pyramid_of((100, 100), levels=index).levels)
        kind = RandomWindows if size[0] * size[1] > 44 * 44 else WholeImage
        assert type(make_view(partial, torch.Generator())) is kind


def test_the_same_random_state_gives_the_same_windows():
    model = pyramid_of((80, 80), levels=0)
    model = pyramid_of((80, 80), levels=len(model.shape) - 1)
    first, second = (RandomWindows(model, torch.Generator().manual_seed(4)) for _ in range(2))
    for view in (first, second):
        view.move()
    assert torch.equal(first.previous(), second.previous())
    assert torch.equal(first.noise(), second.noise())


@pytest.mark.parametrize("side", [16, 1000])
def test_measured_statistics_are_those_of_a_training_pass_over_the_whole_image(side):
    generator, expected = Generator(4).double(), Generator(4).double()
    initialise(generator, torch.Generator().manual_seed(0))
    expected.load_state_dict(generator.state_dict())
    for block in (expected.head, *expected.body):
        block[1].momentum = 1.0
    image = torch.rand(1, 3, 50, 61, dtype=torch.float64)
    expected(image, torch.zeros_like(image))

    measure_statistics(generator, [image], side)
    for ours, theirs in zip((generator.head, *generator.body), (expected.head, *expected.body), strict=True):
        torch.testing.assert_close(ours[1].running_mean, theirs[1].running_mean, atol=ROUNDING, rtol=0)
        torch.testing.assert_close(ours[1].running_var, theirs[1].running_var, atol=ROUNDING, rtol=0)


def test_statistics_of_several_images_are_averaged():
    generator = Generator(4)
    initialise(generator, torch.Generator().manual_seed(0))
    images = [torch.rand(1, 3, 40, 40), torch.rand(1, 3, 50, 40) * 2]
    means = []
    for inputs in ([images[0]], [images[1]], images):
        measure_statistics(generator, inputs)
        means.append(generator.body[2][1].running_mean.clone())
    torch.testing.assert_close(means[2], (means[0] + means[1]) / 2)
