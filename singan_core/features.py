"""Feature maps for the single-image Fréchet distance: the stem of Inception v3, and random filters without downloads.

An extractor is any callable with a `name`; a distance is comparable only with one that was made with the same name.
The distance itself is in metrics.py. The published weights and the random filters serve the texture loss, too.
"""

import hashlib
import http.client
import os
import re
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singan_core.arguments import checked_seed, to_path
from singan_core.errors import SinGANError

INCEPTION_URL = "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth"
WEIGHTS_VARIABLE = "SINGAN_INCEPTION_WEIGHTS"


class FeatureExtractor(Protocol):
    """What the Fréchet distance needs: a name, and maps (N, C, h, w) of images (N, 3, H, W) in [-1, 1]."""

    name: str

    def __call__(self, images: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class PublishedWeights:
    """The weights that are published for one of torchvision's networks: where they are, and that they are unharmed.

    network: torchvision's name. url: of the file, whose name ends in a hyphen and the first digits of its SHA-256.
    variable: the environment variable that may name a local copy.
    """

    network: str
    url: str
    variable: str

    @property
    def checksum(self) -> str:
        """The first digits of the SHA-256, which torch's published files carry in their names."""
        match = re.search(r"-([0-9a-f]{8,64})\.\w+$", self.url)
        if match is None:
            raise SinGANError(
                f"The file name in {self.url} does not end in a hyphen and 8 or more digits of its SHA-256."
            )
        return match.group(1)

    def find(self, allow_download: bool) -> Path:
        """The file that the environment names, else the one in torch's cache, after a download if needed and allowed.

        Raises SinGANError if there is none.
        """
        named = os.environ.get(self.variable)
        if named:
            return to_path(named)
        cached = Path(torch.hub.get_dir(), "checkpoints", self.url.rsplit("/", 1)[-1])
        if cached.exists():
            return cached
        by_hand = f"Download {self.url} by hand and set {self.variable} to the file."
        if not allow_download:
            raise SinGANError(
                f"The weights of {self.network} are not at hand and downloading was not allowed. {by_hand}"
            )
        try:
            # torch's download has no time limit; a network that swallows packets fails here, within seconds
            urllib.request.urlopen(self.url, timeout=10).close()
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(self.url, str(cached), hash_prefix=self.checksum)
        except (OSError, ValueError, RuntimeError, http.client.HTTPException) as error:
            raise SinGANError(f"The weights of {self.network} could not be downloaded ({error}). {by_hand}") from error
        return cached

    def load_into(self, module: nn.Module, path: Path) -> None:
        """Give a module with torchvision's names of parameters the weights in `path`; others in the file are ignored.

        Raises SinGANError for a file with another checksum, and for one that lacks a weight or has it in another shape.
        """
        self._verify(path)
        wanted = module.state_dict().keys()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            module.load_state_dict({name: value for name, value in state.items() if name in wanted})
        except Exception as error:  # torch.load alone raises half a dozen unrelated types
            raise SinGANError(f"{path} does not hold the weights of torchvision's {self.network}: {error}") from error

    def _verify(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SinGANError(f"The weights {path} cannot be read: {error.strerror}.") from error
        if not digest.startswith(self.checksum):
            raise SinGANError(
                f"{path} is damaged or another file: its SHA-256 begins with {digest[:8]}, not {self.checksum}. "
                f"Delete it and download {self.url} again."
            )


class _ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU, under the state-dict names of torchvision's `BasicConv2d`."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__()
        # initial weights would be drawn from the global random generator, and are overwritten anyway
        self.conv = nn.utils.skip_init(nn.Conv2d, channels_in, channels_out, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class InceptionFeatures(nn.Module):
    """Maps of the first layers of Inception v3, trained on ImageNet (torchvision's published weights).

    `layer` 192: the channels just before the second max pooling, as in the SinGAN paper (section 3, SIFID); one vector
    per 4x4 px. `layer` 64: before the first one, which the authors' script was released with; one vector per 2x2 px.
    The two give different numbers, so the layer is part of `name`: "inception-192-0cc3c7bd" (ends in the checksum).

    Input normalisation: images in [-1, 1] enter as they are. The weights come from TensorFlow and were trained on that
    range (ImageNet mean and std are only a wrapper of torchvision's full network), and the authors' script feeds
    2x - 1 for x in [0, 1] as well. But it divides by 255 whatever it has read, and its reader gives PNG files already
    in [0, 1]: its values for PNG files are those of nearly black images, far too small. Compare with its values for
    JPEG files only.

    The weights are the file `weights`, else the one that the environment variable SINGAN_INCEPTION_WEIGHTS names, else
    the one in torch's cache, else (with `allow_download`) 104 MB from `url` into that cache. Every file must have the
    SHA-256 that the file name in `url` begins; the rest of the full network in it is ignored.
    Raises SinGANError if there are no weights, or if they do not fit.
    """

    def __init__(
        self,
        layer: int = 192,
        weights: str | Path | None = None,
        *,
        allow_download: bool = True,
        url: str = INCEPTION_URL,
    ):
        _check_layer(layer)
        super().__init__()
        self.layer = layer
        published = PublishedWeights("inception_v3", url, WEIGHTS_VARIABLE)
        self.name = f"inception-{layer}-{published.checksum}"
        self.Conv2d_1a_3x3 = _ConvBlock(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = _ConvBlock(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = _ConvBlock(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = _ConvBlock(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = _ConvBlock(80, 192, kernel_size=3)
        published.load_into(self, to_path(weights) if weights is not None else published.find(allow_download))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        check_side(images, {64: 7, 192: 19}[self.layer], self.name)
        self.to(images.device)
        maps = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        if self.layer == 64:
            return maps
        return self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(maps, kernel_size=3, stride=2)))


class RandomFilterBank:
    """64 maps of random filters, for use without downloads; not Inception, and its distances are not SIFID values.

    The 64 filters of 5x5x3 are orthonormal. One is constant (the local mean of all channels); the other 63 have zero
    mean, are shared out over three scales (dilation and box blur 1, 2, 4) and are rectified by the absolute value.
    One vector per pixel, without the border that the coarsest scale needs. `name` tells the seed: "random-filters-0".
    """

    _DILATIONS = (1, 2, 4)

    def __init__(self, seed: int = 0):
        self.name = f"random-filters-{seed}"
        filters = orthonormal_filters(seed)
        self._mean_filter = filters[:1]
        self._filters = filters[1:].chunk(len(self._DILATIONS))

    def __call__(self, images: Tensor) -> Tensor:
        check_side(images, 20, self.name)
        maps = [F.conv2d(images, self._mean_filter.to(images))]
        for dilation, filters in zip(self._DILATIONS, self._filters, strict=True):
            blurred = F.avg_pool2d(images, dilation, stride=1)
            maps.append(F.conv2d(blurred, filters.to(images), dilation=dilation).abs())
        return torch.cat([_crop(each, maps[-1].shape) for each in maps], dim=1)


def orthonormal_filters(seed: int) -> Tensor:
    """64 random orthonormal filters (64, 3, 5, 5); the first is constant, so that the others have zero mean."""
    generator = torch.Generator().manual_seed(checked_seed(seed))
    directions = torch.randn(75, 64, generator=generator, dtype=torch.float64)
    directions[:, 0] = 1  # the other 63 become orthogonal to it
    basis, triangle = torch.linalg.qr(directions)
    basis = basis * triangle.diagonal().sign()  # the sign of a column would be the choice of the library
    return basis.T.reshape(64, 3, 5, 5).float()


def default_features(
    layer: int = 192, *, allow_download: bool = False, url: str = INCEPTION_URL
) -> InceptionFeatures | RandomFilterBank:
    """Inception features if their weights are at hand (or can be downloaded, where allowed), else the random filters.

    The fallback warns and says why; the `name` of what comes back says which it is. Weights that are there but damaged,
    or a file that SINGAN_INCEPTION_WEIGHTS names and that is not there, raise SinGANError instead.
    """
    _check_layer(layer)  # also where the random filters stand in
    try:
        weights = PublishedWeights("inception_v3", url, WEIGHTS_VARIABLE).find(allow_download)
    except SinGANError as error:
        features = RandomFilterBank()
        warnings.warn(
            f'Single-image Fréchet distances use "{features.name}", not Inception, and are not SIFID values. {error}',
            stacklevel=2,
        )
        return features
    return InceptionFeatures(layer, weights, url=url)


def _check_layer(layer: int) -> None:
    if layer not in (64, 192):
        raise SinGANError(f"Inception features have layer 64 or 192, not {layer!r}.")


def check_side(images: Tensor, side: int, name: str) -> None:
    """Raise SinGANError for images (N, C, H, W) with a side of less than `side` pixels; name: what needs them."""
    if min(images.shape[-2:]) < side:
        height, width = images.shape[-2:]
        raise SinGANError(f"{name} needs images of at least {side}x{side} px, these have {height}x{width}.")


def _crop(maps: Tensor, shape: torch.Size) -> Tensor:
    """The centre of `maps`, of the height and width of `shape`."""
    top, left = ((have - want) // 2 for have, want in zip(maps.shape[-2:], shape[-2:], strict=True))
    return maps[..., top : top + shape[-2], left : left + shape[-1]]
