"""Rows of the input pipeline: images from disk to normalised, augmented batches on the device.

Shapes: B images, C = 1 channel, H = W = size pixels; two views (2, B, C, H, W).
"""

import time
from typing import Any, Literal

from vitlab.bench import plain
from vitlab.bench.conditions import Conditions
from vitlab.bench.measure import Spent, Target
from vitlab.bench.trainer import EpochClock, Looker, run, synchronise
from vitlab.data.augment import Augment
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import ImageFolder

BATCH = 128
_LEAST = {("cpu", 1, 64): 10.0, ("cpu", 1, 224): 4.0, ("cpu", 2, 64): 3.0, ("cpu", 2, 224): 3.0}
_SUPERVISED = Augment(
    crop_scale=plain.CROP_SCALE, rotation=plain.ROTATION, brightness=plain.JITTER, contrast=plain.JITTER, gamma=0.0
)
# lightly blurs the whole Gaussian: nine taps hold 95 % of the widest one.
_VIEWS = Augment(
    crop_scale=plain.VIEWS_SCALE, rotation=0.0, brightness=plain.VIEWS_JITTER, contrast=plain.VIEWS_JITTER, gamma=0.0,
    blur=plain.VIEWS_BLUR, blur_kernel=9,
)  # fmt: skip


class Pipeline:
    """The whole way of a batch, by Lightning's loop with a model that does nothing, against a plain DataLoader.

    Args:
        conditions: Shared by all rows.
        size: Side of the images in pixels.
        views: 1 for supervised training and MAE, 2 for SimCLR.
    """

    unit: Literal["images/s"] = "images/s"

    def __init__(self, conditions: Conditions, size: int, views: Literal[1, 2]) -> None:
        self.name = f"pipeline-{'supervised' if views == 1 else 'two-views'}-{size}"
        recipe = "torchvision v2" if views == 1 else "lightly's SimCLRTransform"
        self.against = f"ImageFolder, DataLoader with {conditions.loader_workers} workers, {recipe}"
        least = _LEAST.get((conditions.device, views, size), 10.0 if conditions.device == "cuda" else None)
        self.target = None if least is None else Target(least, "ratio", f">= {least:g}x")
        self.conditions, self.facts = conditions, dict[str, Any]()
        self.data = ImageDataModule(
            ImageFolder(str(conditions.images)), image_size=size, batch_size=BATCH, views=views,
            augment=_SUPERVISED if views == 1 else _VIEWS, cache_dir=str(conditions.work / "cache"),
        )  # fmt: skip
        transform = plain.train_transform(size) if views == 1 else plain.two_views(size)
        self.loader = plain.loader(conditions.images / "train", transform, conditions, BATCH, train=True)

    def ours(self) -> Spent:
        """Gather from the cache and augment by the batch, as `fit` does."""
        model, clock = Looker(), EpochClock(self.conditions.device, self.conditions.seconds)
        run(model, self.data, clock, device=self.conditions.device, precision="32-true")
        self.facts["shape"] = list(model.shape)
        return clock.spent

    def plain(self) -> Spent:
        """Decode and augment image by image in worker processes; a first pass when they have just started."""
        device, images, start = self.conditions.device, 0, 0.0
        if not self.facts.get("plain_shape"):
            self._epoch()
        start = time.perf_counter()
        while not images or time.perf_counter() - start < self.conditions.seconds:
            images += self._epoch()
        synchronise(device)
        return Spent(time.perf_counter() - start, images)

    def _epoch(self) -> int:
        count = 0
        for batch, targets in self.loader:
            views = batch if isinstance(batch, list) else [batch]
            views = [view.to(self.conditions.device, non_blocking=True) for view in views]
            count += len(targets)
            self.facts["plain_shape"] = [*([len(views)] if len(views) > 1 else []), *views[0].shape]
        return count
