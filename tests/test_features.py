"""The feature extractors: the Inception stem against a direct computation, where its weights come from, random filters.

The weights are small random ones in torchvision's layout, in files named after their checksums as the published ones.
"""

import hashlib
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from singan_core.errors import SinGANError
from singan_core.features import WEIGHTS_VARIABLE, InceptionFeatures, RandomFilterBank, default_features

# The layout of torchvision's inception_v3 up to the second max pooling: (out, in, kernel, kernel) of each block.
STEM = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def make_state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights of the stem, and two of the many other entries of the published file."""
    generator = torch.Generator().manual_seed(seed)
    state = {"fc.weight": torch.zeros(10, 20), "AuxLogits.conv0.conv.weight": torch.zeros(1, 2, 1, 1)}
    for name, shape in STEM.items():
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{name}.conv.weight"] = torch.randn(shape, generator=generator) / fan_in**0.5
        state[f"{name}.bn.weight"] = 1 + 0.1 * torch.randn(shape[0], generator=generator)
        state[f"{name}.bn.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
        state[f"{name}.bn.running_mean"] = 0.1 * torch.randn(shape[0], generator=generator)
        state[f"{name}.bn.running_var"] = 0.001 + torch.rand(shape[0], generator=generator)
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(0)
    return state


def write_hashed(content: object, folder: Path) -> Path:
    """A torch file whose name ends in the first digits of its SHA-256."""
    draft = folder / "draft"
    torch.save(content, draft)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    return draft.rename(folder / f"weights-{digest[:8]}.pth")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def direct_maps(images: Tensor, state: dict[str, Tensor], layer: int) -> Tensor:
    """Conv2d_1a ... 4a in functional form, with the strides and paddings of the published network."""

    def block(x: Tensor, name: str, **geometry: int) -> Tensor:
        x = F.conv2d(x, state[f"{name}.conv.weight"], **geometry)
        norm = [state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *norm, eps=0.001).relu()

    x = block(images, "Conv2d_1a_3x3", stride=2)
    x = block(block(x, "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=1)
    if layer == 64:
        return x
    return block(block(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1"), "Conv2d_4a_3x3")


def random_images(n: int = 1, height: int = 32, width: int = 40, seed: int = 0) -> Tensor:
    return 2 * torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that downloads go to, empty; no weights named in the environment, and no proxy before 127.0.0.1."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def state() -> dict[str, Tensor]:
    return make_state()


@pytest.fixture
def published(tmp_path: Path, state: dict[str, Tensor]) -> Path:
    """The file that `server` offers."""
    folder = tmp_path / "published"
    folder.mkdir()
    return write_hashed(state, folder)


@pytest.fixture
def server(published: Path) -> Iterator[str]:
    """The URL of `published` on a local server."""
    handler = partial(QuietHandler, directory=str(published.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/{published.name}"
        web.shutdown()
        thread.join()


@pytest.mark.parametrize("layer", [64, 192])
def test_inception_maps_equal_the_published_architecture(published: Path, state: dict[str, Tensor], layer: int):
    images = random_images(n=2)
    maps = InceptionFeatures(layer, published, url=published.as_uri())(images)
    # float32 convolutions in two layouts differ by rounding only
    torch.testing.assert_close(maps, direct_maps(images, state, layer), rtol=1e-4, atol=1e-5)
    assert maps.shape[1] == layer


def test_inception_name_tells_the_layer_and_the_weights(published: Path):
    names = [InceptionFeatures(layer, published, url=published.as_uri()).name for layer in (64, 192)]
    checksum = published.stem.removeprefix("weights-")
    assert names == [f"inception-64-{checksum}", f"inception-192-{checksum}"]


def test_inception_has_no_gradients_and_no_training_mode(published: Path):
    features = InceptionFeatures(64, published, url=published.as_uri())
    assert not features.training
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_building_features_leaves_the_global_generator_alone(published: Path):
    before = torch.get_rng_state()
    InceptionFeatures(192, published, url=published.as_uri())
    RandomFilterBank()
    assert torch.equal(before, torch.get_rng_state())


def test_old_files_without_batch_counters_load(tmp_path: Path, state: dict[str, Tensor]):
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    path = write_hashed({key: value for key, value in state.items() if key not in counters}, tmp_path)
    InceptionFeatures(192, path, url=path.as_uri())


def test_unknown_layer_is_refused(published: Path):
    with pytest.raises(SinGANError, match="64 or 192, not 2048"):
        InceptionFeatures(2048, published, url=published.as_uri())
    with pytest.raises(SinGANError, match="64 or 192, not 2048"):
        default_features(2048)


@pytest.mark.parametrize(("layer", "side"), [(64, 7), (192, 19)])
def test_smallest_image_for_each_layer(published: Path, layer: int, side: int):
    features = InceptionFeatures(layer, published, url=published.as_uri())
    assert features(random_images(height=side, width=side)).numel() > 0
    with pytest.raises(SinGANError, match="at least"):
        features(random_images(height=side - 1, width=side))


def test_download_is_verified_and_kept(server: str, cache: Path, state: dict[str, Tensor]):
    features = InceptionFeatures(64, url=server)
    torch.testing.assert_close(features.Conv2d_1a_3x3.conv.weight, state["Conv2d_1a_3x3.conv.weight"], rtol=0, atol=0)
    assert [path.name for path in cache.iterdir()] == [server.rsplit("/", 1)[-1]]


def test_second_use_needs_no_network(server: str, published: Path):
    InceptionFeatures(64, url=server)
    published.unlink()
    assert isinstance(default_features(64, url=server), InceptionFeatures)


def test_what_is_in_the_cache_is_not_downloaded_again(server: str, published: Path):
    InceptionFeatures(64, url=server)
    published.unlink()
    InceptionFeatures(64, url=server)
    assert isinstance(default_features(64, allow_download=True, url=server), InceptionFeatures)


def test_download_from_a_file_url(published: Path):
    features = default_features(192, allow_download=True, url=published.as_uri())
    assert features.name.startswith("inception-192-")


def test_damaged_download_is_refused_and_not_kept(server: str, published: Path, cache: Path):
    damage(published)
    with pytest.raises(SinGANError, match="invalid hash"):
        InceptionFeatures(64, url=server)
    assert list(cache.iterdir()) == []


def test_damaged_download_falls_back_to_named_random_filters(server: str, published: Path):
    damage(published)
    with pytest.warns(UserWarning, match="random-filters-0.*not SIFID.*invalid hash"):
        features = default_features(allow_download=True, url=server)
    assert features.name == "random-filters-0"


def test_missing_file_on_the_server_falls_back(server: str, published: Path):
    published.unlink()
    with pytest.warns(UserWarning, match="random-filters-0.*404"):
        assert isinstance(default_features(allow_download=True, url=server), RandomFilterBank)


def test_no_network_falls_back_to_named_random_filters():
    closed = "http://127.0.0.1:1/weights-01234567.pth"  # nothing listens on port 1
    with pytest.warns(UserWarning, match=f"random-filters-0.*could not be downloaded.*{WEIGHTS_VARIABLE}"):
        features = default_features(allow_download=True, url=closed)
    assert features.name == "random-filters-0"


def test_nothing_is_downloaded_unless_allowed(server: str, cache: Path):
    with pytest.warns(UserWarning, match="random-filters-0.*not allowed"):
        default_features(url=server)
    assert not cache.exists()


def test_cached_file_that_was_damaged_later_is_refused(server: str, cache: Path):
    InceptionFeatures(64, url=server)
    (cached,) = cache.iterdir()
    damage(cached)
    with pytest.raises(SinGANError, match=f"{cached.name} is damaged.*Delete it"):
        default_features(64, url=server)


def test_environment_names_the_file(published: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(published))
    url = f"http://127.0.0.1:1/{published.name}"
    assert default_features(64, url=url).name.startswith("inception-64-")
    monkeypatch.setenv("HOME", str(published.parent))
    monkeypatch.setenv(WEIGHTS_VARIABLE, f"~/{published.name}")
    assert default_features(64, url=url).name.startswith("inception-64-")


def test_file_named_in_the_environment_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "nowhere.pth"))
    with pytest.raises(SinGANError, match=r"nowhere\.pth cannot be read"):
        default_features()


def test_local_file_with_another_checksum_is_refused(published: Path, tmp_path: Path):
    other = write_hashed(make_state(seed=1), tmp_path)
    with pytest.raises(SinGANError, match="another file"):
        InceptionFeatures(64, other, url=published.as_uri())


def test_url_without_checksum_is_refused(published: Path):
    with pytest.raises(SinGANError, match="digits of its SHA-256"):
        InceptionFeatures(64, published, url="https://127.0.0.1/inception.pth")


def test_all_digits_of_the_checksum_count(published: Path):
    digits = published.stem.removeprefix("weights-")
    with pytest.raises(SinGANError, match="another file"):
        InceptionFeatures(64, published, url=f"https://127.0.0.1/weights-{digits}{'0' * 24}.pth")


def test_missing_keys_are_refused(tmp_path: Path, state: dict[str, Tensor]):
    del state["Conv2d_3b_1x1.bn.bias"]
    path = write_hashed(state, tmp_path)
    with pytest.raises(SinGANError, match=r"Conv2d_3b_1x1\.bn\.bias"):
        InceptionFeatures(64, path, url=path.as_uri())


def test_wrong_shapes_are_refused(tmp_path: Path, state: dict[str, Tensor]):
    state["Conv2d_1a_3x3.conv.weight"] = torch.zeros(32, 1, 3, 3)
    path = write_hashed(state, tmp_path)
    with pytest.raises(SinGANError, match="size mismatch"):
        InceptionFeatures(64, path, url=path.as_uri())


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {0: torch.zeros(1)}])
def test_file_without_a_state_dict_is_refused(tmp_path: Path, content: object):
    path = write_hashed(content, tmp_path)
    with pytest.raises(SinGANError, match="does not hold the weights"):
        InceptionFeatures(64, path, url=path.as_uri())


class WritesAFile:
    """Runs code when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_code_in_a_weights_file_is_not_run(tmp_path: Path):
    target = tmp_path / "was_run"
    pickle.loads(pickle.dumps(WritesAFile(target)))
    assert target.exists()  # the trap works
    target.unlink()
    path = write_hashed({"fc.weight": WritesAFile(target)}, tmp_path)
    with pytest.raises(SinGANError, match="does not hold the weights"):
        InceptionFeatures(64, path, url=path.as_uri())
    assert not target.exists()


def test_random_filters_are_the_same_each_time():
    images = random_images()
    assert torch.equal(RandomFilterBank()(images), RandomFilterBank()(images))


def test_random_filters_of_another_seed_have_another_name_and_other_maps():
    first, second = RandomFilterBank(seed=0), RandomFilterBank(seed=1)
    assert (first.name, second.name) == ("random-filters-0", "random-filters-1")
    assert not torch.allclose(first(random_images()), second(random_images()))


def test_random_filters_see_a_constant_image_in_the_mean_channel_only():
    maps = RandomFilterBank()(torch.full((1, 3, 24, 30), -0.5))
    assert maps.shape == (1, 64, 5, 11)
    # 75 equal weights of unit norm sum to sqrt(75); float32 rounding of 75 terms
    torch.testing.assert_close(maps[:, 0], torch.full((1, 5, 11), -0.5 * 75**0.5), rtol=1e-5, atol=0)
    assert maps[:, 1:].abs().max() < 1e-5


def test_random_filters_move_with_the_image():
    images = random_images(height=40, width=48)
    whole = RandomFilterBank()(images)
    part = RandomFilterBank()(images[..., 3:, 5:])
    # the same sums in another blocking
    torch.testing.assert_close(part, whole[..., 3:, 5:], rtol=1e-4, atol=1e-5)


def test_random_filters_rectify_all_but_the_mean():
    images = random_images()
    maps, negative = RandomFilterBank()(images), RandomFilterBank()(-images)
    assert torch.equal(maps[:, :1], -negative[:, :1])
    assert torch.equal(maps[:, 1:], negative[:, 1:])


@pytest.mark.parametrize(("channels", "width"), [((0, 1), 5), ((1, 22), 5), ((22, 43), 10), ((43, 64), 20)])
def test_random_filters_of_all_scales_look_at_the_same_place(channels: tuple[int, int], width: int):
    dot = torch.zeros(1, 3, 41, 41)
    dot[..., 20, 20] = 1
    seen = (RandomFilterBank()(dot)[0, channels[0] : channels[1]].amax(dim=0) > 0).nonzero()
    first, last = seen.amin(dim=0), seen.amax(dim=0)
    assert (last - first + 1).tolist() == [width, width]
    # the middle of the 22x22 maps is at 10.5; odd widths cannot lie nearer than half a pixel
    assert ((first + last) / 2 - 10.5).abs().max() <= 0.5


def test_random_filters_need_20_pixels():
    assert RandomFilterBank()(random_images(height=20, width=20)).shape == (1, 64, 1, 1)
    with pytest.raises(SinGANError, match="at least 20x20"):
        RandomFilterBank()(random_images(height=19, width=30))
