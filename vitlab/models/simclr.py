"""SimCLR: a backbone learns that two views of one image are the same and all other images are not.

Shape legend: B images of this process, C channels, H, W height and width in pixels, F features, D projection width.
"""

from typing import Any, ClassVar, Literal

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.utils import dist
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from vitlab.models.backbones import create_backbone, feature_dim
from vitlab.models.base import BaseModule, Batch
from vitlab.models.optim import OptimConfig


class SimCLR(BaseModule):
    """Contrastive pretraining of any timm backbone, CNN or ViT.

    Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020,
    https://arxiv.org/abs/2002.05709, code https://github.com/google-research/simclr. Projection head and NT-Xent are
    lightly's; negatives are gathered from all processes. Needs two views of each image (`--data.views=2`).

    Args:
        num_classes: Classes of the data; not used in pretraining, linked from the data.
        image_size: Side of the square images in pixels.
        channels: Channels of the images.
        optim: Optimizer and schedule.
        backbone: A preset or any timm model name.
        backbone_kwargs: Settings for timm's `create_model`, over those of the preset.
        stem: `small` keeps the resolution of small images in a ResNet's stem; say the same when fine-tuning.
        hidden_dim: Width of the projection head's hidden layers; the backbone's feature width where it is not given, as
            in the paper.
        projection_dim: Width D of the projections that are compared.
        projection_layers: Layers of the projection head: 2 in SimCLR, 3 in SimCLR v2.
        temperature: Of the softmax over similarities; the paper's best at large batches is 0.1, at small ones 0.5.
    """

    pretraining: ClassVar[bool] = True
    views: ClassVar[int] = 2
    logged: ClassVar[tuple[str, ...]] = ("train/loss", "train/feature_std")

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        optim: OptimConfig,
        backbone: str = "resnet18_half",
        backbone_kwargs: dict[str, Any] | None = None,
        stem: Literal["standard", "small"] = "standard",
        hidden_dim: int | None = None,
        projection_dim: int = 128,
        projection_layers: int = 2,
        temperature: float = 0.2,
    ) -> None:
        if temperature <= 0:
            raise ValueError(f"model.temperature is {temperature}; give a number above 0, such as 0.2")
        super().__init__(num_classes=num_classes, image_size=image_size, channels=channels, optim=optim)
        self.save_hyperparameters()
        self.backbone_name = backbone
        self.backbone = create_backbone(
            backbone, image_size=image_size, channels=channels, kwargs=backbone_kwargs, stem=stem
        )
        is_vit = isinstance(self.backbone, VisionTransformer)
        # Convolutions are up to 1.8 times as fast on this memory format, on CPUs and GPUs.
        self.memory_format = torch.contiguous_format if is_vit else torch.channels_last
        self.backbone.to(memory_format=self.memory_format)
        features = feature_dim(self.backbone)
        self.projection = SimCLRProjectionHead(features, hidden_dim or features, projection_dim, projection_layers)
        # One process gathers nothing, so that the same setting serves both.
        self.criterion = NTXentLoss(temperature=temperature, gather_distributed=torch.distributed.is_available())

    def features(self, images: Tensor) -> Tensor:
        """Returns the backbone's pooled features (B, F) of images (B, C, H, W)."""
        return super().features(images.contiguous(memory_format=self.memory_format))

    def _step(self, batch: Batch, stage: str) -> Tensor:
        images = batch.images
        if images.ndim != 5 or len(images) != 2:
            raise ValueError("SimCLR compares two views of each image and the batch has one: set --data.views=2")
        if images.shape[1] * dist.world_size() < 2:
            raise ValueError("SimCLR needs other images to compare with: set --data.batch_size to at least 2")
        # One forward pass on both views: the batch norms see them together, as in the published code on one device.
        projections_2BD = self.projection(self.features(images.flatten(0, 1)))
        with torch.autocast(images.device.type, enabled=False):  # bf16 has 3 digits: too few for this softmax
            projections_2BD = projections_2BD.float()
            loss: Tensor = self.criterion(*projections_2BD.chunk(2))
            if dist.world_size() > 1:  # the views of all processes: collapse is measured over the global batch
                projections_2BD = torch.cat(dist.gather(projections_2BD.detach()))
        self.log(f"{stage}/feature_std", feature_std(projections_2BD.detach()), batch_size=images.shape[1])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Does nothing: validation images have one view; the online probe measures the features instead."""


def feature_std(projections_BD: Tensor) -> Tensor:
    """Measures collapse: standard deviation of the unit-length projections over the batch, times sqrt(D).

    Args:
        projections_BD: (B, D).

    Returns:
        A scalar near 1 where the projections fill the sphere and 0 where all are the same (Chen and He, 2020,
        https://arxiv.org/abs/2011.10566, section 4.1).
    """
    unit_BD = torch.nn.functional.normalize(projections_BD.float(), dim=1)
    std: Tensor = unit_BD.std(dim=0, correction=0).mean() * unit_BD.shape[1] ** 0.5
    return std
