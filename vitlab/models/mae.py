"""MAE: a ViT sees a quarter of the patches, and a small decoder predicts the pixels of the others.

Shape legend: B images, C channels, H, W height and width in pixels, N patches, P prefix tokens (class, registers), K
visible and M masked patches (N = K + M), D encoder width, E decoder width, Q values in a patch (C times its area).
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from lightly.models.utils import (
    initialize_2d_sine_cosine_positional_embedding,
    patchify,
    set_at_index,
    unpatchify,
)
from lightly.utils import dist
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from vitlab.models.backbones import create_backbone
from vitlab.models.base import BaseModule, Batch
from vitlab.models.masked import MaskedDecoder, VisibleEncoder, is_maskable, take
from vitlab.models.optim import OptimConfig

# Added to the variance of a target patch. The published code has 1e-6, which turns the rounding of 8-bit images in flat
# (black) patches into targets; 1e-3 of the images' own variance is near the square of one gray level.
NORM_PIX_EPS = 1e-3


class MAE(BaseModule):
    """Masked autoencoder pretraining of a timm ViT.

    He et al., Masked Autoencoders Are Scalable Vision Learners, 2021, https://arxiv.org/abs/2111.06377, code
    https://github.com/facebookresearch/mae. Encoder and decoder are lightly's around a plain timm ViT (`backbone`),
    which runs on the visible patches only. Position embeddings are fixed sines and cosines, weights start as in
    the paper.

    Args:
        num_classes: Classes of the data; not used in pretraining, linked from the data.
        image_size: Side of the square images in pixels.
        channels: Channels of the images.
        optim: Optimizer and schedule.
        backbone: A preset or any timm VisionTransformer.
        backbone_kwargs: Settings for timm's `create_model`, over those of the preset.
        mask_ratio: Share of the patches that are hidden from the encoder.
        decoder_dim: Width E of the decoder, a multiple of 4.
        decoder_depth: Blocks of the decoder.
        decoder_heads: Attention heads of the decoder.
        norm_pix: Predict each patch normalised by its own mean and variance (better features in the paper) instead of
            plain pixels.

    Raises:
        ValueError: The backbone is not a ViT, or a setting is out of its range.
    """

    pretraining: ClassVar[bool] = True
    logged: ClassVar[tuple[str, ...]] = ("train/loss", "val/loss")
    hot: ClassVar[tuple[str, ...]] = ("features", "forward_masked")
    backbone: VisionTransformer

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        optim: OptimConfig,
        backbone: str = "vit_dim128_depth6_patch8",
        backbone_kwargs: dict[str, Any] | None = None,
        mask_ratio: float = 0.75,
        decoder_dim: int = 64,
        decoder_depth: int = 1,
        decoder_heads: int = 4,
        norm_pix: bool = True,
    ) -> None:
        if decoder_dim % 4 or decoder_dim % decoder_heads:
            raise ValueError(
                f"model.decoder_dim is {decoder_dim}; give a multiple of 4 and of model.decoder_heads ({decoder_heads})"
            )
        super().__init__(num_classes=num_classes, image_size=image_size, channels=channels, optim=optim)
        self.save_hyperparameters()
        self.mask_ratio, self.norm_pix = mask_ratio, norm_pix
        vit = create_backbone(backbone, image_size=image_size, channels=channels, kwargs=backbone_kwargs)
        if not isinstance(vit, VisionTransformer) or vit.pos_embed is None or not is_maskable(vit):
            raise ValueError(f"MAE needs a plain ViT and {backbone} is not one: set --model.backbone to a vit_...")
        self.backbone, self.backbone_name = vit, backbone
        self.patch_size: int = vit.patch_embed.patch_size[0]
        self.num_patches: int = vit.patch_embed.num_patches
        if not 0 < self.num_visible < self.num_patches:
            raise ValueError(
                f"model.mask_ratio {mask_ratio} leaves {self.num_visible} of {self.num_patches} patches visible; "
                "give a share between 0 and 1 that hides some and leaves some"
            )
        self.encoder = VisibleEncoder(vit=vit, pos_embed_initialization="skip")
        initialize_2d_sine_cosine_positional_embedding(  # the wrapper's own call cannot do `no_embed_class`
            vit.pos_embed, num_prefix_tokens=vit.pos_embed.shape[1] - self.num_patches
        )
        self.encoder.mask_token.requires_grad = False  # never used: the encoder sees no masked patch
        self.decoder_embed = nn.Linear(vit.embed_dim, decoder_dim)
        self.decoder = MaskedDecoder(
            num_patches=self.num_patches, embed_dim=decoder_dim, depth=decoder_depth, num_heads=decoder_heads,
            num_prefix_tokens=vit.num_prefix_tokens,
        )  # fmt: skip
        self.decoder_head = nn.Linear(decoder_dim, channels * self.patch_size**2)
        for layer in (self.decoder_embed, self.decoder_head):  # as all other linear layers of the paper's code
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def num_visible(self) -> int:
        """Number K of patches that the encoder sees."""
        return self.num_patches - round(self.num_patches * self.mask_ratio)

    def draw_mask(self, batch_size: int, seeds: Iterable[int] | None = None) -> tuple[Tensor, Tensor]:
        """Draws which patches are visible, for each image its own.

        Args:
            batch_size: Images B of this process.
            seeds: One for each image, of masks that stay the same; where None, torch's state decides, and the process
                takes its part of the global batch, so that two processes draw what one draws for the joined batch.

        Returns:
            Indices of visible (B, K) and masked (B, M) patches, in [0, N): without prefix tokens.
        """
        if seeds is None:
            rank, world_size = dist.rank(), dist.world_size()
            noise = torch.rand(world_size * batch_size, self.num_patches, device=self.device)
            noise = noise[rank * batch_size : (rank + 1) * batch_size]
        else:
            generator = torch.Generator()
            noise = torch.stack([torch.rand(self.num_patches, generator=generator.manual_seed(seed)) for seed in seeds])
        order_BN = noise.argsort(dim=1).to(self.device)
        return order_BN[:, : self.num_visible], order_BN[:, self.num_visible :]

    def forward_masked(self, images: Tensor, visible_BK: Tensor, masked_BM: Tensor) -> Tensor:
        """Predicts the masked patches from the visible ones.

        Args:
            images: (B, C, H, W).
            visible_BK: Indices of the patches that the encoder sees.
            masked_BM: Indices of the patches to predict.

        Returns:
            (B, M, Q) in the order of `masked_BM`, in units of `targets`.
        """
        b, p = len(images), self.backbone.num_prefix_tokens
        prefix_BP = torch.arange(p, device=images.device).expand(b, p)
        keep = torch.cat([prefix_BP, visible_BK + p], dim=1)
        # With average pooling timm keeps the last norm in `fc_norm`, outside of the encoder's forward pass.
        encoded = self.backbone.fc_norm(self.encoder.encode(images, idx_keep=keep))  # (B, P + K, D)
        decoded = self.decoder(self.decoder_embed(encoded), visible_BK, masked_BM)  # (B, M, E)
        predicted: Tensor = self.decoder_head(decoded)
        return predicted

    def targets(self, images: Tensor, masked_BM: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Cuts images into what the decoder should predict.

        Args:
            images: (B, C, H, W).
            masked_BM: Indices of the patches to predict; None is all N.

        Returns:
            Targets (B, M, Q) and the shift and the scale (B, M, 1) with patch = target * scale + shift.
        """
        patches = patchify(images.float(), self.patch_size)
        if masked_BM is not None:
            patches = take(patches, masked_BM)
        if not self.norm_pix:
            return patches, torch.zeros_like(patches[..., :1]), torch.ones_like(patches[..., :1])
        shift = patches.mean(dim=-1, keepdim=True)
        centred = patches - shift
        # torch.var goes through the values one by one on a CPU
        scale = (centred.square().sum(dim=-1, keepdim=True) / (patches.shape[-1] - 1) + NORM_PIX_EPS).sqrt()
        return centred / scale, shift, scale

    def loss(self, images: Tensor, visible_BK: Tensor, masked_BM: Tensor) -> Tensor:
        """Returns the mean squared error over the values of the masked patches, a float32 scalar."""
        predicted = self.forward_masked(images, visible_BK, masked_BM).float()
        return F.mse_loss(predicted, self.targets(images, masked_BM)[0])

    def _step(self, batch: Batch, stage: str) -> Tensor:
        images = batch.images
        if images.ndim != 4:
            raise ValueError("MAE takes one view of each image and the batch has more: set --data.views=1")
        if stage == "train":
            return self.loss(images, *self.draw_mask(len(images)))
        # Each image has the same mask in every evaluation, so that losses of different epochs compare; no repeats.
        real = batch.indices >= 0
        if not real.any():
            return images.new_zeros(())
        return self.loss(images[real], *self.draw_mask(int(real.sum()), batch.indices[real].tolist()))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs val/loss, the reconstruction error."""
        size = self.weight_in_mean(int((batch.indices >= 0).sum()))
        self.log("val/loss", self._step(batch, "val"), batch_size=size, sync_dist=True)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Returns what the encoder saw and what the decoder made of it, for looking at.

        Args:
            images: (B, C, H, W), normalised.
            seed: Of the first image's mask; the next image has the next.

        Returns:
            The images with masked patches set to 0 (the mean gray), and the images with the masked patches predicted,
            both (B, C, H, W) in the units of `images`. With `norm_pix` the model knows no patch's mean and contrast:
            those of the true patch are put back.
        """
        channels = images.shape[1]
        visible_BK, masked_BM = self.draw_mask(len(images), range(seed, seed + len(images)))
        _, shift, scale = self.targets(images, masked_BM)
        predicted = self.forward_masked(images, visible_BK, masked_BM).float() * scale + shift
        patches = patchify(images.float(), self.patch_size)
        masked = set_at_index(patches, masked_BM, torch.zeros_like(predicted))
        filled = set_at_index(patches, masked_BM, predicted)
        return unpatchify(masked, self.patch_size, channels), unpatchify(filled, self.patch_size, channels)
