"""Neural style transfer: what one would use for a painting without a pyramid, on the features of the texture loss."""

import torch
from torch import Tensor

from singan_core.arguments import is_whole
from singan_core.errors import SinGANError
from singan_core.images import check_image
from singan_core.texture import FeatureStack, TextureLoss


@torch.inference_mode(False)
@torch.enable_grad()
def style_transfer(
    content: Tensor,
    style: Tensor,
    features: FeatureStack,
    *,
    iterations: int = 200,
    style_weight: float = 1.0,
    learning_rate: float = 0.02,
) -> Tensor:
    """The content image with the textures of the style image: (1, 3, H, W) in [-1, 1], of the size of the content.

    content, style: (1, 3, any size) in [-1, 1], both so large that the features have as many maps. The result starts
    as the content and minimises, by Adam over its pixels,

        |F - F_content|^2 / |F_content|^2 + style_weight * texture loss to the style,

    F being the coarsest map of `features` (see `texture.make_features`), and the texture loss that of all maps. Both
    terms are relative errors. Source: Gatys et al. 2016, who take one map of VGG19 for the content and L-BFGS.
    Nothing is random. Raises SinGANError for values out of range and sizes that do not fit.
    """
    for name, image in (("content", content), ("style", style)):
        check_image(image, name)
        if len(image) != 1:
            raise SinGANError(f"{name} must be one image, got a batch of {len(image)}.")
    if not is_whole(iterations) or iterations < 1:
        raise SinGANError(f"iterations must be a whole number from 1 on, got {iterations!r}.")
    if not (style_weight >= 0 and learning_rate > 0):
        raise SinGANError(f"Weights are from 0 on, rates above 0, got {style_weight=} and {learning_rate=}.")
    content = content.detach().clone()
    texture = TextureLoss(features, style.detach().to(content))
    with torch.no_grad():
        kept = features(content)[-1]
        norm = kept.square().sum().clamp_min(1e-8)  # as in the texture loss
    result = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([result], lr=learning_rate)
    for _ in range(iterations):
        loss = (features(result)[-1] - kept).square().sum() / norm + style_weight * texture(result)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            result.clamp_(-1, 1)
    return result.detach()
