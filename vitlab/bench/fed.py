"""Rows of training steps that are fed by the input pipeline, against the same steps on tensors that are there already.

Shapes: B images, C = 1 channel, H = W = size pixels, K classes.
"""

import os
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from vitlab.bench.conditions import Conditions
from vitlab.bench.measure import Spent, Target
from vitlab.bench.steps import IMAGES, Same, Supervised, backbone_of, fixed_batch, make_module, on_device
from vitlab.bench.trainer import EpochClock, run
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import ImageFolder

LONG = 50  # batches an epoch of images that a device cannot hold: with fewer, the start of an epoch is what is measured


class Fed:
    """Epochs of a classifier with the data module, its augmentation included, against epochs on one fixed batch.

    Args:
        conditions: Shared by all rows.
        size: Side of the images in pixels.
        kind: cnn or vit.
        resident: Whether images may stay on the device; else each batch is copied there, in epochs of `LONG` batches.
    """

    unit: Literal["images/s"] = "images/s"

    def __init__(self, conditions: Conditions, size: int, kind: Supervised, resident: bool = True) -> None:
        self.name = f"fed-{kind}-{size}" + ("" if resident else "-copied")
        self.conditions, self.facts = conditions, dict[str, Any]()
        self.against = "the same epochs on one batch that stays on the device"
        self.target = Target(0.95, "ratio", ">= 0.95x") if conditions.device == "cuda" else None
        batch_size = IMAGES[conditions.device][kind]
        folder = conditions.images if resident else repeated(conditions, LONG * batch_size)
        self.data = ImageDataModule(
            ImageFolder(str(folder)), image_size=size, batch_size=batch_size,
            cache_dir=str(conditions.work / "cache"), resident=0.25 if resident else 0.0,
        )  # fmt: skip
        images = len(self.data.rows("train"))
        self.batch_size = min(self.data.batch_size, images)
        self.batches = images // self.batch_size
        self.batch = fixed_batch(self.batch_size, size, views=1, device=conditions.device)
        self.batch = self.batch._replace(targets=self.batch.targets % len(self.data.classes))
        module = make_module(kind, backbone_of(kind, conditions.device), size, len(self.data.classes))
        self.module = on_device(module, conditions.device)
        self.module.compile_hot(conditions.compile)

    def ours(self) -> Spent:
        """Train on the images."""
        return self._train(self.data)

    def plain(self) -> Spent:
        """Train on the batch."""
        return self._train(DataLoader(Same(self.batch, self.batches), batch_size=None))

    def _train(self, data: Any) -> Spent:
        clock = EpochClock(self.conditions.device, self.conditions.seconds)
        with torch.random.fork_rng(devices=[]):
            run(self.module, data, clock, device=self.conditions.device)
        self.facts["images_an_epoch"] = self.batches * self.batch_size
        return clock.spent


def repeated(conditions: Conditions, least: int) -> Path:
    """Return a folder that holds each training image as often as it takes to have `least` of them; links, no copies."""
    files = sorted(path for path in conditions.images.rglob("*") if path.is_file())
    training = sum(path.relative_to(conditions.images).parts[0] == "train" for path in files)
    folder = conditions.work / f"repeated-{least}"
    for path in files if not folder.exists() else []:
        inside = path.relative_to(conditions.images)
        times = -(-least // training) if inside.parts[0] == "train" else 1
        (folder / inside.parent).mkdir(parents=True, exist_ok=True)
        for number in range(times):
            os.link(path, folder / inside.parent / f"{number}-{path.name}")
    return folder
