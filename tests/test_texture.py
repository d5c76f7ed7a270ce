"""The texture loss: Gram matrices, the stacks of feature maps, and what a training does with them.

VGG16's weights are random ones in torchvision's layout, in a file named after its checksum as the published one.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from singan_core import SinGAN, SinGANError, TrainConfig, train
from singan_core.config import _CHOICES
from singan_core.model import HISTORY_COLUMNS, pack
from singan_core.texture import (
    VGG_VARIABLE,
    MultiscaleRandomFilters,
    TextureLoss,
    VGG16Features,
    gram_matrix,
    make_features,
)
from tests import test_features
from tests.test_features import random_images, write_hashed

server, cache = test_features.server, test_features.cache  # fixtures; `server` offers the file `published`

# The layout of torchvision's vgg16 up to relu4_3: place of each convolution, and its channels (out, in).
CONVOLUTIONS = {
    0: (64, 3), 2: (64, 64),
    5: (128, 64), 7: (128, 128),
    10: (256, 128), 12: (256, 256), 14: (256, 256),
    17: (512, 256), 19: (512, 512), 21: (512, 512),
}  # fmt: skip
POOLINGS = (4, 9, 16)
LAST_OF_BLOCK = (2, 7, 14, 21)


@pytest.fixture(autouse=True)
def no_weights_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VGG_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights, and one of the other entries of the published file."""
    generator = torch.Generator().manual_seed(0)
    state = {"classifier.6.bias": torch.zeros(10)}
    for place, (out, into) in CONVOLUTIONS.items():
        state[f"features.{place}.weight"] = torch.randn(out, into, 3, 3, generator=generator) * (2 / (9 * into)) ** 0.5
        state[f"features.{place}.bias"] = 0.1 * torch.randn(out, generator=generator)
    return state


@pytest.fixture(scope="module")
def published(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hashed(state, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def vgg(published: Path) -> VGG16Features:
    return VGG16Features(published, url=published.as_uri())


@pytest.fixture(scope="module")
def random_filters() -> MultiscaleRandomFilters:
    return MultiscaleRandomFilters()


def train_tiny(picture: Tensor, tiny: TrainConfig, **changes: object) -> SinGAN:
    config = TrainConfig.from_dict(tiny.to_dict() | changes)
    return train(picture, config, progress=False, device="cpu")


def same_bits(one: SinGAN, other: SinGAN) -> bool:
    left, right = pack(one)[0], pack(other)[0]
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# -- Gram matrices


@settings(max_examples=20)
@given(n=st.integers(1, 3), c=st.integers(1, 4), h=st.integers(1, 4), w=st.integers(1, 4), seed=st.integers(0, 99))
def test_gram_matrix_is_the_mean_of_products_over_positions(n, c, h, w, seed):
    maps = torch.randn(n, c, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values, grams = maps.numpy(), np.zeros((n, c, c))
    for image, i, j, y, x in np.ndindex(n, c, c, h, w):
        grams[image, i, j] += values[image, i, y, x] * values[image, j, y, x] / (h * w)
    np.testing.assert_allclose(gram_matrix(maps), grams, rtol=1e-9, atol=1e-12)


def test_gram_matrix_does_not_know_where_a_feature_is():
    maps = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    places = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = maps.flatten(2)[:, :, places].view(2, 4, 5, 6)
    # the same sums in another order
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(maps), rtol=1e-5, atol=1e-5)


def test_gram_matrices_of_a_repeated_image_are_the_same_size_by_size():
    maps = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gram_matrix(maps.repeat(1, 1, 2, 3)), gram_matrix(maps), rtol=1e-5, atol=1e-5)


# -- the loss


def test_half_precision_leaves_the_filters_as_they_are():
    features, images = MultiscaleRandomFilters(), random_images(1)
    before = features(images)
    features(images.half())
    for a, b in zip(before, features(images), strict=True):
        assert torch.equal(a, b)


def test_loss_of_the_real_image_is_zero(random_filters):
    real = random_images()
    assert TextureLoss(random_filters, real)(real).item() == 0


def test_loss_is_a_mean_over_images_and_maps_of_relative_errors(random_filters):
    real, images = random_images(), random_images(n=2, seed=1)
    errors = []
    for maps, target in zip(random_filters(images), random_filters(real), strict=True):
        for image in maps:
            gram, wanted = (each.flatten(1) @ each.flatten(1).T / each[0].numel() for each in (image, target[0]))
            errors.append(((gram - wanted).norm() / wanted.norm()) ** 2)
    expected = torch.stack(errors).mean()
    torch.testing.assert_close(TextureLoss(random_filters, real)(images), expected, rtol=1e-4, atol=0)


def test_the_real_image_is_looked_at_without_gradients(random_filters):
    real = random_images().requires_grad_()
    assert not any(target.requires_grad for target in TextureLoss(random_filters, real).targets)


@settings(max_examples=20)
@given(contrast=st.floats(0, 1))
def test_loss_of_the_real_image_with_less_contrast_follows_from_its_scale(contrast):
    """Random filters without bias and ReLU scale with the image, Gram matrices with its square."""
    real = random_images()
    loss = TextureLoss(MultiscaleRandomFilters(), real)(contrast * real).item()
    assert loss == pytest.approx((contrast**2 - 1) ** 2, rel=1e-3, abs=1e-5)


def test_gradient_of_the_loss_is_that_of_finite_differences():
    real, images = (random_images(n, 16, 17, seed=n).double() for n in (1, 2))
    loss = TextureLoss(MultiscaleRandomFilters(), real)
    assert len(loss.targets) == 2
    # ReLU bends where a response is 0, but steps of 1e-6 hardly ever cross that; fast: along random directions
    assert torch.autograd.gradcheck(loss, images.requires_grad_(), fast_mode=True)


def test_an_image_of_one_colour_as_the_real_one_leaves_the_loss_finite(random_filters):
    images = random_images().requires_grad_()
    loss = TextureLoss(random_filters, torch.full((1, 3, 32, 40), 0.5))(images)
    (gradient,) = torch.autograd.grad(loss, images)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all()


def test_images_of_another_size_compare_while_the_stack_has_as_many_maps(random_filters):
    loss = TextureLoss(random_filters, random_images(height=32, width=40))
    assert torch.isfinite(loss(random_images(height=40, width=63)))
    with pytest.raises(SinGANError, match="have 4 maps of random-filters-multiscale, the real one has 3"):
        loss(random_images(height=64, width=80))


def test_smaller_images_with_fewer_maps_are_refused(random_filters):
    loss = TextureLoss(random_filters, random_images(height=32, width=40))
    with pytest.raises(SinGANError, match="have 2 maps of random-filters-multiscale, the real one has 3"):
        loss(random_images(height=16, width=20))


# -- stacks of maps


@pytest.mark.parametrize(("side", "count"), [(5, 1), (15, 1), (16, 2), (31, 2), (32, 3), (63, 3), (64, 4), (200, 4)])
def test_random_filters_have_a_scale_where_it_has_four_pixels(random_filters, side: int, count: int):
    stack = random_filters(random_images(height=side, width=2 * side))
    assert [tuple(maps.shape[1:3]) for maps in stack] == [(63, side // 2**n - 4) for n in range(count)]


def test_random_filters_need_five_pixels(random_filters):
    with pytest.raises(SinGANError, match="random-filters-multiscale needs images of at least 5x5 px"):
        random_filters(random_images(height=4))


def test_random_filters_are_always_the_same_and_draw_nothing_from_the_global_generator():
    before, images = torch.get_rng_state(), random_images()
    first, second = (MultiscaleRandomFilters()(images) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_random_filters_have_unit_norm_and_are_orthogonal_to_each_other_and_to_gray(random_filters):
    filters = random_filters.filters.flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(63), rtol=0, atol=1e-6)  # float32 rounding of 75 terms
    assert filters.sum(1).abs().max() < 1e-5


def test_random_filters_of_the_last_scale_see_the_image_reduced(random_filters):
    images = random_images(height=20, width=24)
    torch.testing.assert_close(random_filters(images)[1], random_filters(F.avg_pool2d(images, 2))[0])


def test_random_filters_of_the_first_scale_see_only_what_a_reduced_image_lacks(random_filters):
    images, brighter = random_images(), torch.tensor([0.5, -0.3, 0.2]).view(1, 3, 1, 1)
    first, other = random_filters(images)[0], random_filters(images + brighter)[0]
    torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-5)  # rounding of sums of 75 terms


def test_loss_with_random_filters_notices_missing_detail(random_filters):
    real = random_images()
    blurred = F.interpolate(F.avg_pool2d(real, 2), real.shape[-2:], mode="bilinear")
    assert TextureLoss(random_filters, real)(blurred).item() > 0.2


def test_random_filters_can_tell_a_colour_from_its_opposite(random_filters):
    orange = torch.tensor([1.0, 0.2, -1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 40)
    assert TextureLoss(random_filters, orange)(-orange).item() > 0.1


def direct_maps(images: Tensor, state: dict[str, Tensor]) -> list[Tensor]:
    """The maps of VGG16 in functional form, with ImageNet's normalisation."""
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    x, found = ((images + 1) / 2 - mean) / deviation, []
    for place in CONVOLUTIONS:
        if place - 1 in POOLINGS:
            x = F.max_pool2d(x, 2)
        x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1).relu()
        if place in LAST_OF_BLOCK:
            found.append(x)
    return found


def test_vgg_maps_equal_the_published_architecture(vgg, state):
    images = random_images(n=2, height=36)
    maps, expected = vgg(images), direct_maps(images, state)
    assert [each.shape[1] for each in maps] == [64, 128, 256, 512]
    for ours, direct in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, direct, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("side", "count"), [(5, 1), (7, 1), (8, 2), (15, 2), (16, 3), (31, 3), (32, 4), (50, 4)])
def test_vgg_has_a_map_where_it_has_four_pixels(vgg, side: int, count: int):
    stack = vgg(random_images(height=side, width=side + 9))
    assert [maps.shape[-2] for maps in stack] == [side // 2**n for n in range(count)]


def test_vgg_has_no_gradients_and_draws_nothing_from_the_global_generator(published):
    before = torch.get_rng_state()
    features = VGG16Features(published, url=published.as_uri())
    assert not features.training and not any(parameter.requires_grad for parameter in features.parameters())
    assert torch.equal(before, torch.get_rng_state())


def test_vgg_takes_the_type_of_the_images(published):
    features = VGG16Features(published, url=published.as_uri())
    assert [maps.dtype for maps in features(random_images(height=16).double())] == [torch.float64] * 3


def test_gradient_goes_through_vgg_to_the_images(vgg):
    images = random_images(seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(TextureLoss(vgg, random_images())(images), images)
    assert torch.isfinite(gradient).all() and (gradient != 0).any()


# -- where the weights come from


def test_downloaded_weights_are_verified_and_kept(server: str, cache: Path, state):
    features = VGG16Features(allow_download=True, url=server)
    assert torch.equal(features.features[21].weight, state["features.21.weight"])
    assert [path.name for path in cache.iterdir()] == [server.rsplit("/", 1)[-1]]
    VGG16Features(url=server)  # now from the cache


def test_nothing_is_downloaded_unless_allowed(server: str, cache: Path):
    with pytest.raises(SinGANError, match=f"vgg16 are not at hand.*not allowed.*{VGG_VARIABLE}"):
        VGG16Features(url=server)
    assert not cache.exists()


def test_a_setting_downloads_nothing(monkeypatch, server: str, cache: Path):
    monkeypatch.setitem(VGG16Features.__init__.__kwdefaults__, "url", server)
    with pytest.raises(SinGANError, match="downloading was not allowed"):
        make_features("vgg16")
    assert not cache.exists()


def test_environment_names_the_file(published, monkeypatch):
    monkeypatch.setenv(VGG_VARIABLE, str(published))
    VGG16Features(url=f"http://127.0.0.1:1/{published.name}")  # nothing listens on port 1


def test_file_with_another_checksum_is_refused(published):
    with pytest.raises(SinGANError, match="damaged or another file"):
        VGG16Features(published)


def test_file_that_lacks_a_layer_is_refused(state, tmp_path):
    path = write_hashed({name: value for name, value in state.items() if "21" not in name}, tmp_path)
    with pytest.raises(SinGANError, match=r"(?s)torchvision's vgg16.*features\.21\.weight"):
        VGG16Features(path, url=path.as_uri())


def test_every_setting_names_a_stack(monkeypatch, published):
    monkeypatch.setitem(VGG16Features.__init__.__kwdefaults__, "url", published.as_uri())
    monkeypatch.setenv(VGG_VARIABLE, str(published))
    for name in _CHOICES["texture_features"]:
        assert make_features(name).name == name


def test_unknown_features_are_refused():
    with pytest.raises(SinGANError, match=r"'vgg19'.*random-filters-multiscale or vgg16"):
        make_features("vgg19")


# -- training


def test_training_with_the_loss_lowers_it_more_than_training_without(picture, tiny, random_filters):
    settings = {"min_size": 36, "iterations": 40, "learning_rate": 5e-3, "kernels": 8}
    loss_of = TextureLoss(random_filters, picture)
    with_it, without = (
        loss_of(train_tiny(picture, tiny, texture_weight=weight, **settings).sample(8)) for weight in (1.0, 0.0)
    )
    assert with_it < 0.5 * without


def test_without_a_weight_the_features_change_nothing(picture, tiny, model):
    assert same_bits(train_tiny(picture, tiny, texture_features="vgg16"), model)


def test_histories_have_the_columns_that_they_always_had(picture, tiny):
    level = train_tiny(picture, tiny, texture_weight=1.0).levels[-1]
    assert level.history.shape == (tiny.iterations, len(HISTORY_COLUMNS))


class Watched(MultiscaleRandomFilters):
    """Notes what it is given."""

    def __init__(self):
        super().__init__()
        self.seen: list[tuple[torch.Size, torch.dtype]] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen.append((images.shape, images.dtype))
        return super().forward(images)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """The stacks of a training, one for each level."""
    stacks: list[Watched] = []

    def make(name: str) -> Watched:
        stacks.append(Watched())
        return stacks[-1]

    monkeypatch.setattr("singan_core.training.make_features", make)
    return stacks


def test_each_level_looks_at_its_real_image_once_and_at_a_fake_in_every_step_of_the_generator(picture, tiny, watched):
    model = train_tiny(picture, tiny, texture_weight=1.0, generator_steps=2)
    assert [len(stack.seen) for stack in watched] == [1 + 2 * tiny.iterations] * len(model.levels)
    for stack, size in zip(watched, model.shape.sizes, strict=True):
        assert {shape for shape, _ in stack.seen} == {(1, 3, *size)}


@pytest.mark.parametrize(("precision", "dtype"), [("mixed", torch.float32), ("float64", torch.float64)])
def test_the_loss_keeps_the_type_of_the_images(picture, tiny, watched, precision: str, dtype: torch.dtype):
    train_tiny(picture, tiny, texture_weight=1.0, precision=precision)
    assert {seen for stack in watched for _, seen in stack.seen} == {dtype}


def test_an_interrupted_training_with_the_loss_ends_with_the_same_bits(picture, tiny, tmp_path, stop_at):
    config = TrainConfig.from_dict(tiny.to_dict() | {"texture_weight": 1.0})
    undisturbed = train(picture, config, progress=False, device="cpu")
    options = {"checkpoint": tmp_path / "checkpoint", "progress": False, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        train(picture, config, callback=stop_at(2), **options)
    assert same_bits(train(picture, config, **options), undisturbed)


def test_a_training_can_use_vgg(picture, tiny, published, monkeypatch):
    monkeypatch.setitem(VGG16Features.__init__.__kwdefaults__, "url", published.as_uri())
    monkeypatch.setenv(VGG_VARIABLE, str(published))
    settings = {"min_size": 36, "iterations": 2, "texture_features": "vgg16"}
    with_it, without = (train_tiny(picture, tiny, texture_weight=weight, **settings) for weight in (1.0, 0.0))
    assert torch.isfinite(with_it.sample(1)).all() and not torch.equal(with_it.sample(1), without.sample(1))


def test_a_training_without_weights_of_vgg_says_what_to_do(picture, tiny):
    with pytest.raises(SinGANError, match=f"set {VGG_VARIABLE}"):
        train_tiny(picture, tiny, texture_weight=1.0, texture_features="vgg16")


def test_a_constant_picture_trains_without_dividing_by_zero(tiny):
    model = train_tiny(torch.zeros(1, 3, 36, 48), tiny, texture_weight=1.0)
    assert torch.isfinite(model.sample(2)).all()
