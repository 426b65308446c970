"""Class activation maps: the channels of a layer, weighted by what the class's logit gains from them.

Shapes: B images, C channels, H, W pixels, D channels or token width, h, w cells of the layer, T tokens.
"""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitlab.explain.saliency.score import gradient, leaf_at, logits
from vitlab.models.base import BaseModule

# The last stage of a ResNet has 7 x 7 cells at 224 px, of which its published maps are made, but 2 x 2 at 64 px, which
# show no place: the last stage with at least 7 x 7 is taken, or the first where none has.
LEAST_CELLS = 7


def grad_cam(model: BaseModule, inputs: Tensor, targets: Tensor, *, plus_plus: bool = False) -> Tensor:
    """Return Grad-CAM or Grad-CAM++, (B, h, w), at least 0.

    Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391; Chattopadhay et al. 2018, "Grad-CAM++", arXiv:1710.11063, whose
    equation 19 is taken as https://github.com/jacobgil/pytorch-grad-cam has it.

    Args:
        model: A classifier.
        inputs: Normalised images (B, C, H, W).
        targets: Classes (B,).
        plus_plus: Weigh each place's positive gradients by their curvature, instead of all alike.
    """
    name = cam_layer(model, inputs[:1])
    with torch.enable_grad(), leaf_at(model.backbone.get_submodule(name)) as leaves:
        found = logits(model, inputs)
        (grads,) = gradient(found, targets, leaves)
    activations, grads = (channels_first(part, model.backbone) for part in (leaves[0].detach(), grads))
    weights = curvature_weights(activations, grads) if plus_plus else grads.mean((2, 3))
    return torch.einsum("bd,bdhw->bhw", weights, activations).relu()


def curvature_weights(activations: Tensor, grads: Tensor) -> Tensor:
    """Return Grad-CAM++'s weights of the channels, (B, D).

    Args:
        activations: Of the layer, (B, D, h, w).
        grads: Of the target logit, (B, D, h, w).
    """
    total = activations.sum((2, 3), keepdim=True)
    alpha = grads**2 / (2 * grads**2 + total * grads**3 + 1e-6)  # 1e-6 as the reference code
    return (grads.relu() * alpha).sum((2, 3))


def cam_layer(model: BaseModule, inputs: Tensor) -> str:
    """Return the name in the backbone of the layer whose output the maps are made of.

    Of a CNN it is the last stage with enough cells. Of a ViT it is the tokens that enter the last block: behind it, a
    class token has taken what it needs, and the patches have no gradient any more.

    Args:
        model: A classifier.
        inputs: Any images, normalised (B, C, H, W).

    Raises:
        ValueError: The backbone has no stages with cells.
    """
    backbone = model.backbone
    if isinstance(backbone, VisionTransformer):
        return f"blocks.{len(backbone.blocks) - 2}" if len(backbone.blocks) > 1 else "norm_pre"
    sides: dict[str, int] = {}
    for name in [str(info["module"]) for info in getattr(backbone, "feature_info", ()) if info.get("module")]:
        with torch.no_grad(), leaf_at(backbone.get_submodule(name)) as leaves:
            backbone(inputs)
        if leaves[0].ndim == 4:
            sides[name] = min(channels_first(leaves[0], backbone).shape[2:])
    if not sides:
        raise ValueError(f"Grad-CAM needs stages with cells and {type(backbone).__name__} has none: use occlusion")
    return [name for name in sides if sides[name] >= LEAST_CELLS or name == next(iter(sides))][-1]


def channels_first(found: Tensor, backbone: nn.Module) -> Tensor:
    """Return a layer's output as (B, D, h, w).

    Args:
        found: (B, D, h, w); of some backbones (B, h, w, D); of a ViT (B, T, D), whose prefix tokens have no place.
        backbone: Which one it is of.
    """
    if isinstance(backbone, VisionTransformer):
        height, width = backbone.patch_embed.grid_size
        patches = found[:, backbone.num_prefix_tokens :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], height, width)
    return found.permute(0, 3, 1, 2) if getattr(backbone, "output_fmt", "NCHW") == "NHWC" else found
