"""What a run costs: seconds, images, memory, floating-point operations, and on which device."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vitlab.memory import peak_bytes


class CostMonitor(Callback):
    """Counts wall seconds, images seen and peak memory of `fit`; goes on counting after a resume."""

    def __init__(self) -> None:
        self.wall_seconds = self.training_seconds = 0.0
        self.images_seen = self.epochs = 0
        self._start = self._batch_start = 0.0
        self._resumed = 0.0
        self.totals: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the counts so far, for the checkpoint."""
        wall = self._resumed + time.perf_counter() - self._start if self._start else self.wall_seconds
        return {
            "wall_seconds": wall, "training_seconds": self.training_seconds,
            "images_seen": self.images_seen, "epochs": self.epochs,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the counts of a checkpoint."""
        self._resumed = self.wall_seconds = state_dict["wall_seconds"]
        self.training_seconds = state_dict["training_seconds"]
        self.images_seen, self.epochs = state_dict["images_seen"], state_dict["epochs"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock, which leaves validation out."""
        self._batch_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of all devices; two views of an image count once."""
        self.images_seen += len(batch.targets) * trainer.world_size
        if trainer.is_last_batch and trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.training_seconds += now - self._batch_start  # by batch: a run may stop within an epoch
        self._batch_start = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock again: a validation within the epoch is no training."""
        self._batch_start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch and log the speed."""
        self.epochs += 1
        pl_module.log("cost/images_per_second", self.images_per_second, rank_zero_only=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.close(trainer)

    def close(self, trainer: Trainer) -> None:
        """Keep the totals: loading a checkpoint for evaluation brings back older counts."""
        self.wall_seconds, self._start = self.state_dict()["wall_seconds"], 0.0
        self.totals = {
            "epochs": self.epochs,
            "images_seen": self.images_seen,
            "wall_seconds": round(self.wall_seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
            "peak_memory_bytes": peak_bytes(trainer.strategy.root_device),
        }

    @property
    def images_per_second(self) -> float:
        """Training images a second over all devices, validation left out."""
        return self.images_seen / self.training_seconds if self.training_seconds else 0.0


@torch.no_grad()
def flops_per_image(module: LightningModule, channels: int, image_size: int) -> int:
    """Count the floating-point operations of one evaluation forward pass of one image; a multiply-add counts two."""
    training = module.training
    module.eval()
    image = torch.zeros(1, channels, image_size, image_size, device=module.device)
    with counted_flops() as counter:
        module(image)
    module.train(training)
    return int(counter.get_total_flops())


@contextmanager
def counted_flops() -> Iterator[FlopCounterMode]:
    """Count the operations of what runs inside, also of what is compiled, which stays compiled behind it.

    Compiled functions run as they were written: torch 2.11 would never compile again what it once ran under a counter.
    The counter knows matrix products, not every fused attention kernel: attention takes the plain formula.
    """
    eagerly = torch.compiler.set_stance("force_eager")
    with eagerly, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def device_name(trainer: Trainer) -> str:
    """Return the devices of the run in words."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return f"{trainer.world_size} x {torch.cuda.get_device_name(device)}"
    threads = os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()
    return f"{trainer.world_size} x cpu ({threads} threads)"
