"""Attention as saliency: what the pooled token has taken from each patch, over all blocks.

Shapes: B images, M heads, T tokens (prefix tokens first), h, w patches.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from timm.layers import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitlab.explain.saliency.score import gradient, logits
from vitlab.models.base import BaseModule


def shows_attention(backbone: nn.Module) -> bool:
    """Say whether a backbone's attention can be followed: a plain ViT that pools its class token or the mean."""
    return (
        isinstance(backbone, VisionTransformer)
        and backbone.attn_pool is None
        and backbone.global_pool in ("token", "avg")
        and all(type(getattr(block, "attn", None)) is Attention for block in backbone.blocks)
    )


def rollout(model: BaseModule, inputs: Tensor) -> Tensor:
    """Return attention rollout, (B, h, w): attention multiplied through the blocks, the same for every class.

    Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", arXiv:2005.00928: heads are averaged and the
    residual connection counts as half. The way along residuals alone is left out. It gives each patch its own share of
    the mean, a constant that says nothing of the image; a class token's map is the paper's.

    Args:
        model: A ViT classifier.
        inputs: Normalised images (B, C, H, W).
    """
    with torch.no_grad(), kept_attention(model.backbone, lambda weights: weights.mean(1)) as kept:
        logits(model, inputs)
    pooled = pooling(model.backbone, kept[0])
    flow = pooled
    for weights_BTT in reversed(kept):
        flow = (flow + flow @ weights_BTT) / 2
    return on_grid(flow - pooled / 2 ** len(kept), model.backbone)


def gradient_attention(model: BaseModule, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return gradient-weighted attention, (B, h, w): attention counts as far as it raises the target logit.

    Chefer et al. 2021, "Generic Attention-model Explainability", arXiv:2103.15679, equations 5 and 6 (code:
    https://github.com/hila-chefer/Transformer-MM-Explainability); as in rollout, less the way along residuals alone.

    Args:
        model: A ViT classifier.
        inputs: Normalised images (B, C, H, W).
        targets: Classes (B,).
    """
    with torch.enable_grad(), kept_attention(model.backbone, asking) as kept:
        found = logits(model, inputs)
        grads = gradient(found, targets, kept)
    pooled = pooling(model.backbone, kept[0].mean(1))
    flow = pooled
    for weights_BMTT, grad_BMTT in zip(reversed(kept), reversed(grads), strict=True):
        flow = flow + flow @ (grad_BMTT * weights_BMTT.detach()).relu().mean(1)
    return on_grid(flow - pooled, model.backbone)


def asking(weights: Tensor) -> Tensor:
    """Return attention weights that ask for a gradient: no weight or image does, so the first block's start a graph."""
    return weights if weights.requires_grad else weights.requires_grad_()


@contextmanager
def kept_attention(backbone: nn.Module, keep: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Keep the attention weights of a forward.

    Args:
        backbone: A ViT that `shows_attention`.
        keep: What is kept of weights (B, M, T, T).

    Yields:
        What will hold it, a block each. Hooks and the setting of fused attention, which would hide the weights, are as
        before afterwards, also after an error.
    """
    assert isinstance(backbone, VisionTransformer)
    kept: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, weights: Tensor) -> None:
        kept.append(keep(weights))

    attentions = [block.attn for block in backbone.blocks]
    fused = [attention.fused_attn for attention in attentions]
    handles = [attention.attn_drop.register_forward_hook(note) for attention in attentions]
    try:
        for attention in attentions:
            attention.fused_attn = False
        yield kept
    finally:
        for attention, handle, before in zip(attentions, handles, fused, strict=True):
            handle.remove()
            attention.fused_attn = before


def pooling(backbone: nn.Module, like: Tensor) -> Tensor:
    """Return each token's share of the pooled features, (B, 1, T).

    Args:
        backbone: A ViT that `shows_attention`.
        like: Attention weights (B, T, T).
    """
    assert isinstance(backbone, VisionTransformer)
    shares = like.new_zeros(len(like), 1, like.shape[-1])
    if backbone.global_pool == "token":
        shares[..., 0] = 1
    else:
        first = 0 if backbone.pool_include_prefix else backbone.num_prefix_tokens
        shares[..., first:] = 1 / (like.shape[-1] - first)
    return shares


def on_grid(flow: Tensor, backbone: nn.Module) -> Tensor:
    """Return the patches' part of (B, 1, T) as (B, h, w); rounding may have left a hair below 0."""
    assert isinstance(backbone, VisionTransformer)
    return flow[:, 0, backbone.num_prefix_tokens :].reshape(-1, *backbone.patch_embed.grid_size).relu()
