import numpy as np
import pytest
import timm
import torch
from torch import nn

from vitlab.explain.saliency.attention import gradient_attention, rollout, shows_attention


def classifier(seed=0, **kwargs):
    torch.manual_seed(seed)
    model = nn.Module()
    model.backbone = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, in_chans=1, num_classes=0, patch_size=8, embed_dim=16, depth=3,
        num_heads=2, qk_norm=True, **kwargs
    )  # fmt: skip
    for part in model.backbone.modules():
        if isinstance(part, nn.Linear):
            part.weight.data.mul_(20)  # attention that is not all even
    model.head = nn.Linear(16, 3)
    return model.eval().requires_grad_(False)


IMAGES = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 2, 1])
KINDS = {"class token": {}, "mean": {"global_pool": "avg"}, "registers": {"reg_tokens": 2},
         "registers, mean": {"reg_tokens": 2, "global_pool": "avg"},
         "no class token": {"class_token": False, "global_pool": "avg"}}  # fmt: skip


def forward(model, image):
    """Return one image's attention (blocks of (M, T, T)) and logits, block by block without hooks."""
    vit, kept = model.backbone, []
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(image[None])))
    for block in vit.blocks:
        x, attention = block.norm1(tokens), block.attn
        q, k, v = attention.qkv(x).reshape(1, -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
        weights = (attention.q_norm(q) * 8**-0.5 @ attention.k_norm(k).transpose(-1, -2)).softmax(-1)
        weights.requires_grad_()
        kept.append(weights)
        tokens = tokens + attention.proj((weights @ v).transpose(1, 2).reshape(1, -1, 16))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return kept, model.head(vit.forward_head(vit.norm(tokens)))[0]


def shares(model, tokens):
    """Return which rows of the product are the pooled features, (T,)."""
    first = model.backbone.num_prefix_tokens
    if model.backbone.global_pool == "token":
        return torch.eye(tokens)[0]
    return torch.cat([torch.zeros(first), torch.ones(tokens - first) / (tokens - first)])


@pytest.mark.parametrize("kind", KINDS)
def test_rollout_is_the_product_of_the_blocks(kind):
    model = classifier(**KINDS[kind])
    found = rollout(model, IMAGES)
    assert shows_attention(model.backbone) and found.shape == (3, 4, 4)
    for image, ours in zip(IMAGES, found, strict=True):
        kept = [weights.detach() for weights in forward(model, image)[0]]
        product = torch.eye(kept[0].shape[-1])
        for weights in kept:
            product = (0.5 * weights[0].mean(0) + 0.5 * torch.eye(len(product))) @ product
        residual = 0.5**3 * torch.eye(len(product))  # each patch's own share of a mean; of a class token nothing
        expected = (shares(model, len(product)) @ (product - residual))[model.backbone.num_prefix_tokens :]
        np.testing.assert_allclose(ours.flatten(), expected, atol=1e-6)
        if kind == "class token":
            np.testing.assert_allclose(ours.flatten(), product[0, 1:], atol=1e-6)  # the paper's own
        assert expected.std() / expected.mean() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_attention_is_the_papers_update(kind):
    model = classifier(**KINDS[kind])
    found = gradient_attention(model, IMAGES, TARGETS)
    for image, target, ours in zip(IMAGES, TARGETS, found, strict=True):
        kept, logits = forward(model, image)
        grads = torch.autograd.grad(logits[target], kept)
        relevance = torch.eye(kept[0].shape[-1])
        for weights, grad in zip(kept, grads, strict=True):
            relevance = relevance + (weights * grad)[0].clamp(min=0).mean(0).detach() @ relevance
        relevance -= torch.eye(len(relevance))
        expected = (shares(model, len(relevance)) @ relevance)[model.backbone.num_prefix_tokens :]
        np.testing.assert_allclose(ours.flatten(), expected, rtol=1e-3, atol=1e-6)
        assert expected.std() > 0


def test_what_pools_otherwise_is_not_followed():
    assert not shows_attention(classifier(global_pool="map").backbone)
    assert not shows_attention(classifier(global_pool="max").backbone)
    assert not shows_attention(timm.create_model("resnet18"))
