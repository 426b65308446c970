"""The Trainer under a clock: what `fit` does in its loops, without a run folder.

Shapes: B images, C channels, H, W pixels; two views (2, B, C, H, W).
"""

import time
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from vitlab.bench.measure import Spent
from vitlab.precision import fastest_precision


def synchronise(device: str) -> None:
    """Wait for the device: its work is only queued when Python goes on."""
    if device == "cuda":
        torch.cuda.synchronize()


def run(module: LightningModule, data: Any, clock: Callback, *, device: str, precision: str | None = None) -> None:
    """Train until the clock stops it, with Lightning's own loops and nothing that writes.

    Args:
        module: What to train.
        data: A LightningDataModule or a DataLoader.
        clock: Callback that sets `trainer.should_stop`.
        device: cpu or cuda.
        precision: As the Trainer takes it; None is what `fit` would choose.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_epochs=100_000, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[clock],
            precision=precision or fastest_precision("gpu" if device == "cuda" else "cpu"),  # type: ignore[arg-type]
            benchmark=device == "cuda", limit_val_batches=0, num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )  # fmt: skip
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if device == "cuda" else before)  # as `fit` does
        keywords = {"datamodule": data} if hasattr(data, "train_dataloader") else {"train_dataloaders": data}
        try:
            trainer.fit(module, **keywords)
        finally:
            torch.set_float32_matmul_precision(before)


class Looker(LightningModule):
    """Takes batches and does nothing with them: what is left is the input pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = nn.Parameter(torch.zeros(()))  # Lightning wants something to put on the device
        self.shape: tuple[int, ...] = ()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Note the shape of the images."""
        self.shape = tuple(batch.images.shape)

    def configure_optimizers(self) -> None:
        """Return none."""


class EpochClock(Callback):
    """Times whole epochs from the second one on, until there are enough seconds of them."""

    def __init__(self, device: str, seconds: float) -> None:
        self.device, self.seconds = device, seconds
        self.images = self.elapsed = self._start = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count images; two views of an image count once."""
        self.images += len(batch.targets)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock behind the first epoch, stop behind the last."""
        synchronise(self.device)
        if trainer.current_epoch == 0:
            self.images, self._start = 0, time.perf_counter()
            return
        self.elapsed = time.perf_counter() - self._start
        trainer.should_stop = self.elapsed >= self.seconds

    @property
    def spent(self) -> Spent:
        """The sample."""
        return Spent(self.elapsed, self.images)


# Steps before the clock starts; a GPU chooses kernels and records graphs in its first ones.
WARM_UP = {"cpu": 2, "cuda": 6}


class StepClock(Callback):
    """Times training steps behind a few that warm up, and keeps the loss of the first."""

    def __init__(self, device: str, steps: int) -> None:
        self.device, self.steps, self.warm_up = device, steps, WARM_UP[device]
        self.images = self.elapsed = self._start = 0.0
        self.seen, self.first_loss = 0, float("nan")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a step."""
        if self.seen == 0:
            self.first_loss = float(_loss(outputs))
        self.seen += 1
        if self.seen > self.warm_up:
            self.images += len(batch.targets)
        if self.seen == self.warm_up:
            synchronise(self.device)
            self._start = time.perf_counter()
        if self.seen == self.warm_up + self.steps:
            synchronise(self.device)
            self.elapsed = time.perf_counter() - self._start
            trainer.should_stop = True

    @property
    def spent(self) -> Spent:
        """The sample."""
        return Spent(self.elapsed, self.images)


def _loss(outputs: Any) -> Tensor:
    found: Tensor = outputs["loss"] if isinstance(outputs, dict) else outputs
    return found
