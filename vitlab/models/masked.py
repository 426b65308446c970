"""Encoder and decoder of a masked ViT that compute what is asked for alone: visible patches in, masked patches out.

Shape legend: B images, C channels, H, W pixels, N patches, P prefix tokens (class, registers), K visible and M masked
patches (N = K + M), D encoder width, E decoder width, Q values in a patch (its area times C).
"""

from typing import cast

import torch
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
from lightly.models.utils import patchify
from timm.layers import Attention, PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F


def take(rows_BNX: Tensor, indices_BM: Tensor) -> Tensor:
    """Return the rows (B, M, X) at indices, which each image has its own; copies whole rows, unlike `gather`."""
    b, n, x = rows_BNX.shape
    first = torch.arange(0, b * n, n, device=indices_BM.device)[:, None]
    return rows_BNX.reshape(b * n, x).index_select(0, (indices_BM + first).flatten()).view(b, -1, x)


def is_maskable(vit: nn.Module) -> bool:
    """Say whether a ViT makes each token of the pixels of one patch, so that others can be left out.

    Convolutions before the patches (hybrids) look at those beside them; a distillation token is unknown to lightly.
    """
    embed = getattr(vit, "patch_embed", None)
    return isinstance(embed, PatchEmbed) and isinstance(embed.proj, nn.Conv2d) and not hasattr(vit, "dist_token")


class VisibleEncoder(MaskedVisionTransformerTIMM):
    """lightly's masked ViT, which embeds the visible patches alone instead of all, of which it then drops most.

    Same numbers as the convolution over the whole image, whose stride is the patch: on a CPU that was 6 % of a step of
    MAE, and the visible patches cost an eighth of it.
    """

    def preprocess(
        self,
        images: Tensor,
        idx_mask: Tensor | None = None,
        idx_keep: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the tokens of prefix and visible patches, positions added.

        Args:
            images: (B, C, H, W).
            idx_mask: None: nothing is replaced by a mask token.
            idx_keep: (B, P + K), first those of all prefix tokens, then of visible patches, from P on.
            mask: None.

        Returns:
            (B, P + K, D), in the order of `idx_keep`.
        """
        assert idx_keep is not None and idx_mask is None and mask is None
        vit, p = self.vit, self.vit.num_prefix_tokens
        visible_BK = idx_keep[:, p:] - p
        proj = vit.patch_embed.proj
        weight_DQ = proj.weight.permute(0, 2, 3, 1).flatten(1)  # patchify has the channels last
        tokens = F.linear(take(patchify(images, proj.kernel_size[0]), visible_BK), weight_DQ, proj.bias)
        pos_embed = vit.pos_embed[0]  # (P + N, D), or (N, D) where the prefix has no position
        at = 0 if vit.no_embed_class else p
        tokens = vit.patch_embed.norm(tokens) + F.embedding(visible_BK + at, pos_embed)
        prefix = [token for token in (vit.cls_token, vit.reg_token) if token is not None]
        if prefix:
            first = torch.cat(prefix, dim=1)
            first = first + pos_embed[:at] if at else first
            tokens = torch.cat([first.expand(len(images), -1, -1).to(tokens.dtype), tokens], dim=1)
        dropped: Tensor = vit.pos_drop(tokens)
        return dropped


class MaskedDecoder(MaskedVisionTransformerDecoderTIMM):
    """lightly's decoder of MAE, which in its last block computes the masked tokens alone.

    What it says of visible patches is not asked for (He et al. 2021 leave them out of the loss), so that in the last
    block they are keys and values, nothing else. Attention does not know the order of its tokens, which carry their
    positions: they stay as they come, visible before masked, and are not scattered into the image's order and back.
    """

    def forward(self, embedded: Tensor, visible_BK: Tensor, masked_BM: Tensor) -> Tensor:
        """Return the decoded tokens (B, M, E) of the masked patches.

        Args:
            embedded: (B, P + K, E), of prefix and visible patches.
            visible_BK: Indices of the visible patches, in [0, N).
            masked_BM: Indices of the masked patches.
        """
        p, positions = self.num_prefix_tokens, self.pos_embed[0].type_as(embedded)
        seen = positions[:p].expand(len(embedded), -1, -1), F.embedding(visible_BK + p, positions)
        hidden = F.embedding(masked_BM + p, positions) + self.mask_token.type_as(embedded)
        tokens = torch.cat([embedded + torch.cat(seen, dim=1), hidden], dim=1)
        blocks: list[Block] = list(self.blocks)
        for block in blocks[:-1]:
            tokens = block(tokens)
        decoded: Tensor = self.norm(last_of(blocks[-1], tokens, masked_BM.shape[1]))
        return decoded


def last_of(block: Block, tokens: Tensor, count: int) -> Tensor:
    """Return what a plain block makes of the last tokens; the others are keys and values.

    Args:
        block: timm's, as lightly's decoder makes it: no layer scale, no dropout, no norm of queries and keys.
        tokens: (B, L, E).
        count: How many tokens M to return.

    Returns:
        (B, M, E), equal to `block(tokens)[:, -M:]`.
    """
    attn = cast("Attention", block.attn)
    b, length, _ = tokens.shape
    packed = attn.qkv(block.norm1(tokens)).view(b, length, 3, attn.num_heads, attn.head_dim)
    q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, L, E / heads)
    q = q[:, :, -count:]
    if attn.fused_attn:
        mixed = F.scaled_dot_product_attention(q, k, v)
    else:
        mixed = ((q * attn.scale) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    tokens = tokens[:, -count:] + attn.proj(mixed.transpose(1, 2).reshape(b, count, attn.attn_dim))
    changed: Tensor = tokens + block.mlp(block.norm2(tokens))
    return changed
