"""The texture loss: Gram matrices of feature maps, those of a generated image against those of the real one.

The maps come from a stack, fine ones first: VGG16's, as in the report CS7015 and in Gatys et al., or random filters
that need no download. Losses of two stacks do not compare: every result says the `name` of its stack.
"""

from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singan_core.arguments import to_path
from singan_core.errors import SinGANError
from singan_core.features import PublishedWeights, check_side, orthonormal_filters

VGG_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
VGG_VARIABLE = "SINGAN_VGG_WEIGHTS"

SMALLEST_MAP = 4
"""Shorter side of the smallest map of a stack; only the first may be smaller. Statistics over fewer positions would be
those of a few pixels, and not of a texture."""


class FeatureStack(Protocol):
    """What the texture loss needs: a name, and several maps (N, C, h, w) of images (N, 3, H, W) in [-1, 1]."""

    name: str

    def __call__(self, images: Tensor, /) -> list[Tensor]: ...


class VGG16Features(nn.Module):
    """Maps of VGG16, trained on ImageNet (torchvision's published weights): relu1_2, relu2_2, relu3_3 and relu4_3.

    64, 128, 256 and 512 maps at full, half, a quarter and an eighth of the image's size. A map enters where its shorter
    side has SMALLEST_MAP pixels, so that images of 32 px have all four, of 16 px three, of 8 px two. Images in [-1, 1]
    are brought to ImageNet's mean and standard deviation first.

    The weights are the file `weights`, else the one that the environment variable SINGAN_VGG_WEIGHTS names, else the
    one in torch's cache, else (with `allow_download`) 528 MB from `url` into that cache. Every file must have the
    SHA-256 that the file name in `url` begins. Raises SinGANError if there are no weights, or if they do not fit.
    """

    name = "vgg16"
    _BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))

    def __init__(self, weights: str | Path | None = None, *, allow_download: bool = False, url: str = VGG_URL):
        super().__init__()
        published = PublishedWeights("vgg16", url, VGG_VARIABLE)
        layers: list[nn.Module] = []
        before = 3
        for block in self._BLOCKS:
            for channels in block:
                layers += [nn.utils.skip_init(nn.Conv2d, before, channels, 3, padding=1), nn.ReLU()]
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])  # numbers its layers as the published file does
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("deviation", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        published.load_into(self, to_path(weights) if weights is not None else published.find(allow_download))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        self.to(images)
        maps = ((images + 1) / 2 - self.mean) / self.deviation
        found = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(maps)
                if min(maps.shape[-2:]) < 2 * SMALLEST_MAP:
                    return found
            maps = layer(maps)
        return [*found, maps]


class MultiscaleRandomFilters(nn.Module):
    """63 maps of random filters at each of up to four scales, for use without downloads; not VGG16.

    The filters of 5x5x3 are orthonormal with zero mean and rectified by ReLU; they are always the same. The scales are
    those of a Laplacian pyramid: what the image has over its half, the half over its quarter and so on, and at last all
    that is left. Without these differences the coarse would be nearly all of the Gram matrices at every scale, and
    whether an image is sharp would not matter. A scale enters where the shorter side of its maps has SMALLEST_MAP
    pixels, so that images of 64 px have all four, of 32 px three, of 16 px two. Images of less than 5 px raise
    SinGANError.

    Source: Gram matrices of one layer of random filters of several sizes describe textures nearly as well as those of
    VGG (Ustyuzhaninov et al. 2016). Here one size meets several scales.
    """

    name = "random-filters-multiscale"
    _SCALES = 4

    def __init__(self):
        super().__init__()
        # without the constant filter, for the same reason as above
        self.register_buffer("filters", orthonormal_filters(seed=0)[1:], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        side = self.filters.shape[-1]
        check_side(images, side, self.name)
        self.to(images.device)  # for good; of another dtype for this call alone, since half of the bits would be lost
        filters = self.filters.to(images.dtype)
        bands = []
        while len(bands) < self._SCALES - 1 and min(images.shape[-2:]) // 2 >= side - 1 + SMALLEST_MAP:
            half = F.avg_pool2d(images, 2)
            bands.append(images - F.interpolate(half, images.shape[-2:], mode="bilinear"))
            images = half
        return [F.conv2d(band, filters).relu() for band in (*bands, images)]


def make_features(name: str) -> FeatureStack:
    """The stack of that name (see TrainConfig.texture_features); nothing is downloaded.

    Raises SinGANError for an unknown name, and for vgg16 without its weights.
    """
    for kind in (MultiscaleRandomFilters, VGG16Features):
        if name == kind.name:
            return kind()
    raise SinGANError(
        f"There are no texture features {name!r}: choose {MultiscaleRandomFilters.name} or {VGG16Features.name}."
    )


def gram_matrix(maps: Tensor) -> Tensor:
    """The Gram matrices (N, C, C) of feature maps (N, C, h, w): mean over the positions of each product of two maps.

    G_ij = 1 / (hw) sum_p F_ip F_jp. Divided by the positions alone, so that images of another size compare. Where in
    the image the features are is lost, which of them come together is kept. Source: Gatys et al. 2015, who do not
    divide.
    """
    features = maps.flatten(2)
    return features @ features.transpose(1, 2) / features.shape[2]


class TextureLoss:
    """How far the Gram matrices of images are from those of one real image (1, 3, H, W), as a relative error.

    Called with images (N, 3, H, W), it gives |G - G_real|^2 / |G_real|^2 (Frobenius norms), the mean over the images
    and over the maps of the stack: a scalar that can be differentiated, 0 for equal Gram matrices, 1 for images in
    which the features find nothing. Raises SinGANError for images at whose size the stack has another number of maps.

    The report CS7015 leaves the matrices as they are and multiplies by R * 1e-6, so that R = 1 puts the loss in the
    order of magnitude of the others. A relative error needs no such number: with the weight 1 and the random filters,
    its gradient with respect to the generator's weights was 0.2 to 2.5 times as long as those of both other terms
    together, at all levels of trainings of profile smoke and of a finished pyramid of profile laptop.
    """

    def __init__(self, features: FeatureStack, real: Tensor):
        self.features = features
        with torch.no_grad():
            self.targets = [gram_matrix(maps) for maps in features(real)]

    def __call__(self, images: Tensor) -> Tensor:
        stack = self.features(images)
        if len(stack) != len(self.targets):
            raise SinGANError(
                f"Images of this size have {len(stack)} maps of {self.features.name}, the real one has "
                f"{len(self.targets)}: bring them to its size."
            )
        errors = [_relative_error(gram_matrix(maps), target) for maps, target in zip(stack, self.targets, strict=True)]
        return torch.stack(errors).mean()


def _relative_error(grams: Tensor, target: Tensor) -> Tensor:
    # in an image of one colour the features find nothing but rounding: no division by that
    norm = target.square().sum().clamp_min(1e-8)
    return (grams - target).square().sum((1, 2)).mean() / norm
