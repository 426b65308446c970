"""BaseModule: what training shares, in one order of hooks: models, losses, metrics, steps, optimizer.

Shapes: B images, C channels, H, W pixels, D features, K classes.
"""

import math
import os
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import torch
from lightly.utils import dist
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from vitlab.models.compiled import compiled
from vitlab.models.norms import synchronise
from vitlab.models.optim import OptimConfig, build_optimizer
from vitlab.models.sharding import FullySharded, shard


class Batch(Protocol):
    """What a step takes; the data module's batches have it.

    Attributes:
        images: float32, normalised, (B, C, H, W); with two views (2, B, C, H, W).
        targets: int64 (B,).
        indices: int64 (B,), the manifest row; -1 for a repeat that counts nowhere.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor


class BaseModule(LightningModule):
    """A timm backbone and what is trained on it.

    A subclass sets `backbone` and `_step`, and overrides a hook only for what is special about it.

    Args:
        num_classes: Classes of the data set; linked from the data.
        image_size: Side of the square images in pixels; linked from the data.
        channels: Channels of the images; linked from the data.
        optim: Optimizer and schedule.
    """

    pretraining: ClassVar[bool] = False
    views: ClassVar[int] = 1
    logged: ClassVar[tuple[str, ...]] = ("train/loss",)  # after each epoch of `fit`; tests/test_monitored.py compares
    hot: ClassVar[tuple[str, ...]] = ("features",)  # methods that hold the work, for torch.compile
    backbone: nn.Module
    sync_batchnorm = False  # the trainer's setting, where there are several processes

    def __init__(self, *, num_classes: int, image_size: int, channels: int, optim: OptimConfig) -> None:
        super().__init__()
        self.num_classes, self.image_size, self.channels = num_classes, image_size, channels
        self.optim = optim if isinstance(optim, OptimConfig) else OptimConfig(**dict(optim))
        self.step_facts: dict[str, float] = {}  # what an optimizer step is made of, for results.json

    # Models.

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's pooled features (B, D) of images (B, C, H, W)."""
        features: Tensor = self.backbone(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return what evaluation needs: features here, logits (B, K) in a classifier."""
        return self.features(images)

    def compile_hot(self, chosen: bool | str) -> None:
        """Compile the methods that hold the work, as `compiled` does; names and weights stay as they are."""
        if chosen:
            torch.compiler.reset()  # the models of earlier runs: all approaches share code, and torch keeps eight of it
            for name in self.hot:
                setattr(self, name, compiled(getattr(self, name), chosen))

    def configure_model(self) -> None:
        """Let several processes train as one: batch norms over the global batch, weights sharded where asked for."""
        if self._trainer is None:  # `load_from_checkpoint` calls it too
            return
        if self.sync_batchnorm and self.trainer.world_size > 1:
            synchronise(self, self.trainer.strategy.root_device)
        if isinstance(self.trainer.strategy, FullySharded):
            shard(self, self.backbone, self.trainer.strategy.device_mesh["data_parallel"])

    # Steps.

    def _step(self, batch: Batch, stage: str) -> Tensor:
        """Return the loss of a batch and log what the approach measures on it.

        Args:
            batch: Images, targets, indices.
            stage: train, val or test.
        """
        raise NotImplementedError

    def weight_in_mean(self, size: int) -> int:
        """Return the weight of a batch of `size` images in a mean over all ranks.

        Lightning rounds the mean of the ranks' weights down to a whole number: 18 of 19 and 18. So it is made one.
        """
        weight: int = size * dist.world_size()
        return weight

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed torch by (seed, step), so that a resumed run draws what an unbroken one drew.

        All ranks are seeded alike: what differs by image (MAE's masks) is drawn for the global batch, of which a rank
        takes its part.
        """
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        # odd multipliers keep neighbouring seeds and steps apart; torch takes 64 bits
        seed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9) % 2**63
        if self.device.type == "cpu":  # the same draws; `torch.manual_seed` writes the stack out for absent devices
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the training loss."""
        loss = self._step(batch, "train")
        size = len(batch.targets)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=size)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a validation batch."""
        self._step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a test batch."""
        self._step(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return indices (B,) and logits (B, K)."""
        return {"indices": batch.indices, "logits": self(batch.images)}

    # Checkpoints and optimizer.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep settings as plain values: `torch.load(weights_only=True)` refuses classes."""
        settings = checkpoint.get("hyper_parameters", {})
        if isinstance(settings.get("optim"), OptimConfig):
            checkpoint["hyper_parameters"] = {**settings, "optim": asdict(settings["optim"])}

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule over the whole run."""
        trainer = self.trainer
        total = trainer.estimated_stepping_batches
        if math.isinf(total):
            raise ValueError("the schedule of the learning rate needs an end: set --trainer.max_epochs or max_steps")
        if math.isinf(trainer.num_training_batches):  # with max_steps alone Lightning has not looked at the data yet
            trainer.fit_loop.setup_data()
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        batch = getattr(data, "batch_size", self.optim.base_batch_size)
        at_once = batch * trainer.world_size
        images = sum(getattr(data, "class_counts", [at_once]))  # fewer than a batch are one
        at_once = min(at_once, images // trainer.world_size * trainer.world_size)
        global_batch = at_once * int(min(trainer.accumulate_grad_batches, trainer.num_training_batches))
        self.step_facts = {"global_batch": global_batch, "peak_lr": self.optim.scaled_lr(global_batch)}
        if trainer.world_size > 1:
            rank_zero_warn(self.optim.batch_words(batch, global_batch))
        return build_optimizer(
            self,
            self.backbone,
            self.optim,
            total_steps=int(total),
            steps_per_epoch=math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches),
            global_batch=global_batch,
        )
