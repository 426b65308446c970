"""CNNClassifier and ViTClassifier: fine-tuning and linear probe of any timm backbone.

Shapes: B images, C channels, H, W pixels, D features, K classes.
"""

import warnings
from typing import Any, ClassVar, Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy, MulticlassStatScores
from torchvision.transforms import v2

from vitlab.models.backbones import create_backbone, feature_dim
from vitlab.models.base import BaseModule, Batch
from vitlab.models.optim import OptimConfig


class BalancedAccuracy(MulticlassStatScores):
    """Mean recall of the classes that are there, as scikit-learn's and that of results.json.

    torchmetrics' macro average takes a class that is predicted and not there for one of recall 0: the best epoch would
    be chosen by another figure than is reported.
    """

    def __init__(self, num_classes: int) -> None:
        # arguments are not validated: the check waits for the device in every batch
        super().__init__(num_classes, average=None, validate_args=False)

    def compute(self) -> Tensor:
        """Return the mean, 0 without images."""
        hits, images = super().compute()[:, [0, -1]].T
        mean: Tensor = (hits / images.clamp_min(1)).sum() / (images > 0).sum().clamp_min(1)
        return mean


class _Classifier(BaseModule):
    """What both classifiers share: head, loss, metrics, steps."""

    logged: ClassVar[tuple[str, ...]] = ("train/loss", "val/loss", "val/accuracy", "val/balanced_accuracy")
    loss_weights: Tensor

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        optim: OptimConfig,
        backbone_name: str,
        backbone: nn.Module,
        weights: str | None,
        mode: Literal["finetune", "linear"],
        label_smoothing: float,
        mixup: float,
        cutmix: float,
        class_weights: Literal["none", "balanced"],
        regularised: bool,
    ) -> None:
        super().__init__(num_classes=num_classes, image_size=image_size, channels=channels, optim=optim)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"model.label_smoothing is {label_smoothing}; give a share in [0, 1), such as 0.1")
        for setting, alpha in (("mixup", mixup), ("cutmix", cutmix)):
            if alpha < 0:
                raise ValueError(f"model.{setting} is {alpha}; give an alpha of at least 0, such as 0.2 (0 is off)")
        if mode == "linear" and (regularised or self.optim.layer_decay < 1):
            ignored = "drop_path, patch_drop and layer_decay do nothing"
            warnings.warn(f"model.mode=linear freezes the backbone: {ignored}", stacklevel=3)
        self.backbone_name, self.weights, self.mode = backbone_name, weights, mode
        # Models.
        self.backbone = backbone
        features = feature_dim(backbone)
        # A probe's features differ in scale: normalise them without affine weights first (MAE, arXiv:2111.06377, A.1)
        norm = nn.BatchNorm1d(features, affine=False) if mode == "linear" else nn.Identity()
        linear = nn.Linear(features, num_classes)
        nn.init.trunc_normal_(linear.weight, std=0.01)  # as MAE's linear probe; its fine-tuning starts from 2e-5
        nn.init.zeros_(linear.bias)
        self.head = nn.Sequential(norm, linear)
        if mode == "linear":
            self.backbone.requires_grad_(False).eval()  # Lightning keeps the modes that it finds, and calls no train()
        # Losses.
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self.register_buffer("loss_weights", torch.ones(num_classes))
        self.mixers = [v2.MixUp(alpha=mixup, num_classes=num_classes)] if mixup else []
        self.mixers += [v2.CutMix(alpha=cutmix, num_classes=num_classes)] if cutmix else []
        # Metrics.
        for stage in ("val", "test"):
            setattr(self, f"{stage}_accuracy", MulticlassAccuracy(num_classes, average="micro", validate_args=False))
            setattr(self, f"{stage}_balanced_accuracy", BalancedAccuracy(num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 logits (B, K) of images (B, C, H, W)."""
        features = self.features(images)
        with torch.autocast(images.device.type, enabled=False):  # bf16 logits tie, and ties are accuracy by luck
            logits: Tensor = self.head(features.float())
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's pooled features (B, D)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.mode == "finetune"):
            return super().features(images)

    def train(self, mode: bool = True) -> "_Classifier":
        """Set training mode; a frozen backbone stays in evaluation mode, its batch norms and dropout with it."""
        super().train(mode)
        if self.mode == "linear":
            self.backbone.eval()
        return self

    def setup(self, stage: str) -> None:
        """Take the class weights from the training split: inversely proportional to the class's images, mean 1."""
        if self.class_weights == "balanced" and stage == "fit":
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            counts = torch.tensor(data.class_counts, dtype=torch.float).clamp_min(1)
            self.loss_weights.copy_(counts.sum() / counts / len(counts))

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the training loss: cross-entropy with class weights and label smoothing, in float32.

        Args:
            logits: (B, K).
            targets: Class indices (B,) or, after mixing, probabilities (B, K).
        """
        return F.cross_entropy(logits.float(), targets, self.loss_weights, label_smoothing=self.label_smoothing)

    def _step(self, batch: Batch, stage: str) -> Tensor:
        images, targets = batch.images, batch.targets
        if images.ndim != 4:
            raise ValueError("a classifier takes one view of each image and the batch has two: set --data.views=1")
        if stage == "train":
            if self.mixers:
                images, targets = self.mixers[int(torch.randint(len(self.mixers), ()))](images, targets)
            return self.loss(self(images), targets)
        own = batch.indices >= 0  # the others only even out the ranks
        logits, targets = self(images)[own], targets[own]
        # plain, whatever training weighs and smooths: comparable between runs
        loss = F.cross_entropy(logits, targets, reduction="sum") / max(1, len(targets))
        size = len(targets)  # 0 where a rank has repeats alone
        self.log(f"{stage}/loss", loss, on_epoch=True, sync_dist=True, batch_size=self.weight_in_mean(size))
        for name in ("accuracy", "balanced_accuracy"):
            metric = getattr(self, f"{stage}_{name}")
            if len(targets):
                metric.update(logits, targets)
            self.log(f"{stage}/{name}", metric, on_epoch=True, batch_size=size, prog_bar=name == "balanced_accuracy")
        return loss


class CNNClassifier(_Classifier):
    """A convolutional timm backbone and a linear classifier, e.g. ResNet (arXiv:1512.03385).

    Args:
        num_classes: Classes of the data; linked from the data.
        image_size: Side of the square images in pixels; linked.
        channels: Channels of the images; linked.
        optim: Optimizer and schedule.
        backbone: `resnet18_half` or any convolutional timm model.
        backbone_kwargs: Settings for `timm.create_model`.
        weights: backbone.safetensors of a pretraining.
        pretrained: Start from timm's published weights.
        mode: Train everything, or only the classifier on a frozen backbone.
        stem: `small` keeps the resolution of small images in a ResNet's stem (four times the work).
        drop_path: Stochastic depth rate.
        label_smoothing: Share of the target spread over all classes.
        mixup: Alpha of mixup (arXiv:1710.09412); 0 is off.
        cutmix: Alpha of CutMix (arXiv:1905.04899); 0 is off. With both on, each batch draws one.
        class_weights: `balanced` weighs the loss inversely to the class's training images.
        channels_last: Keep images and weights in that memory format: 1.1 to 1.8 times as fast on CPUs and GPUs.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        optim: OptimConfig,
        backbone: str = "resnet18_half",
        backbone_kwargs: dict[str, Any] | None = None,
        weights: str | None = None,
        pretrained: bool = False,
        mode: Literal["finetune", "linear"] = "finetune",
        stem: Literal["standard", "small"] = "standard",
        drop_path: float = 0.0,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        class_weights: Literal["none", "balanced"] = "none",
        channels_last: bool = True,
    ) -> None:
        model = create_backbone(
            backbone, image_size=image_size, channels=channels, kwargs=backbone_kwargs, weights=weights,
            pretrained=pretrained, drop_path=drop_path, stem=stem,
        )  # fmt: skip
        if isinstance(model, VisionTransformer):
            raise ValueError(f"{backbone} is a ViT: use --model ViTClassifier, or a CNN such as resnet18")
        super().__init__(
            num_classes=num_classes, image_size=image_size, channels=channels, optim=optim, backbone_name=backbone,
            backbone=model, weights=weights, mode=mode, label_smoothing=label_smoothing, mixup=mixup, cutmix=cutmix,
            class_weights=class_weights, regularised=drop_path > 0,
        )  # fmt: skip
        self.save_hyperparameters()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's pooled features (B, D)."""
        return super().features(images.contiguous(memory_format=self.memory_format))


class ViTClassifier(_Classifier):
    """A timm Vision Transformer (arXiv:2010.11929) and a linear classifier.

    Args:
        num_classes: Classes of the data; linked from the data.
        image_size: Side of the square images in pixels, a multiple of the patch; linked.
        channels: Channels of the images; linked.
        optim: Optimizer and schedule; `layer_decay` below 1 when fine-tuning a pretraining.
        backbone: `vit_dim128_depth6_patch8` or any timm ViT.
        backbone_kwargs: Settings for `timm.create_model`.
        weights: backbone.safetensors of a pretraining; position embeddings are resampled to the image size.
        pretrained: Start from timm's published weights.
        mode: Train everything, or only the classifier on a frozen backbone.
        drop_path: Stochastic depth rate.
        patch_drop: Share of the patches left out of each training image: faster, and a regulariser.
        label_smoothing: Share of the target spread over all classes.
        mixup: Alpha of mixup (arXiv:1710.09412); 0 is off.
        cutmix: Alpha of CutMix (arXiv:1905.04899); 0 is off. With both on, each batch draws one.
        class_weights: `balanced` weighs the loss inversely to the class's training images.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int,
        channels: int,
        optim: OptimConfig,
        backbone: str = "vit_dim128_depth6_patch8",
        backbone_kwargs: dict[str, Any] | None = None,
        weights: str | None = None,
        pretrained: bool = False,
        mode: Literal["finetune", "linear"] = "finetune",
        drop_path: float = 0.0,
        patch_drop: float = 0.0,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        class_weights: Literal["none", "balanced"] = "none",
    ) -> None:
        model = create_backbone(
            backbone, image_size=image_size, channels=channels, kwargs=backbone_kwargs, weights=weights,
            pretrained=pretrained, drop_path=drop_path, patch_drop=patch_drop,
        )  # fmt: skip
        if not isinstance(model, VisionTransformer):
            raise ValueError(f"{backbone} is not a ViT: use --model CNNClassifier, or a ViT as vit_tiny_patch16_224")
        super().__init__(
            num_classes=num_classes, image_size=image_size, channels=channels, optim=optim, backbone_name=backbone,
            backbone=model, weights=weights, mode=mode, label_smoothing=label_smoothing, mixup=mixup, cutmix=cutmix,
            class_weights=class_weights, regularised=drop_path + patch_drop > 0,
        )  # fmt: skip
        self.save_hyperparameters()
