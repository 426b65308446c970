"""Batches: rows of a split gathered from the cache, in an order that depends on seed and epoch alone.

Shapes: B batch, C channels, H = W = image_size.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vitlab.data import shuffle
from vitlab.data.cache import ImageCache
from vitlab.data.shards import CachedPixels

_LOOKED_AT = 2**30  # bytes of very many images that mean and standard deviation are taken from


class Batch(NamedTuple):
    """What every model receives.

    Attributes:
        images: float32, normalised, (B, C, H, W); with two views (2, B, C, H, W). uint8 until it is on the device.
        targets: int64 (B,), the index into `ImageDataModule.classes`.
        indices: int64 (B,), the row in the manifest; -1 marks a repeat that evens out the ranks and counts nowhere.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor


class CachedImages(Dataset[Batch]):
    """The rows of one split, read from the cache a whole batch at a time."""

    def __init__(self, cache: ImageCache, targets: np.ndarray, rows: np.ndarray) -> None:
        self.images, self.targets, self.rows = cache.images, targets, rows

    def __getstate__(self) -> dict[str, Any]:
        """Name the file of a memory map, which would travel to a loader process as all that it maps."""
        images = self.images
        return self.__dict__ | {"images": images.filename if isinstance(images, np.memmap) else images}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open that file again."""
        self.__dict__.update(state)
        if isinstance(self.images, str | Path):
            self.images = np.load(self.images, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: np.ndarray) -> Batch:
        """Return the uint8 batch at `positions` (B,) within this split; -1 repeats the first row and is marked so."""
        rows = self.rows[np.maximum(positions, 0)]
        return Batch(
            torch.from_numpy(np.ascontiguousarray(self.images[rows])),
            torch.from_numpy(self.targets[rows]),
            torch.from_numpy(np.where(positions < 0, -1, rows)),
        )


class BatchSampler(Sampler[np.ndarray]):
    """Positions of one rank's batches; the permutation depends on (seed, epoch) alone.

    The global batch is cut into equal runs, one a rank, so that N ranks see together what one process with an N times
    larger batch sees. In evaluation every row comes once, and short ranks are filled with -1.

    Args:
        n: Rows in the split.
        batch_size: Rows a batch and rank.
        rank: This process.
        world_size: Number of processes.
        seed: None keeps the order and drops nothing; an int shuffles and drops the last incomplete batch. Of fewer rows
            than a global batch each rank takes as many.
        progress: Called at the start of an epoch, returns (epoch, batches already seen in it), so that a resumed run
            goes on where it stopped.
        image_bytes: Size of an image in the cache; `vitlab.data.shuffle` says what many large ones change.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int | None = None,
        progress: Callable[[], tuple[int, int]] = lambda: (0, 0),
        image_bytes: int = 1,
    ) -> None:
        self.n, self.batch_size, self.rank, self.world_size = n, batch_size, rank, world_size
        self.seed, self.progress, self.image_bytes = seed, progress, image_bytes

    def __len__(self) -> int:
        step = self.batch_size * self.world_size
        return max(1, self.n // step) if self.seed is not None else -(-self.n // step)

    def __iter__(self) -> Iterator[np.ndarray]:
        step = self.batch_size * self.world_size
        epoch, done = self.progress()
        if self.seed is None:
            order = np.arange(self.n)
        else:
            order = shuffle.shuffled(self.n, self.image_bytes, np.random.default_rng((self.seed, epoch)))
        for start in range(done % len(self) * step, len(self) * step, step):
            block = order[start : start + step]
            if self.seed is not None and len(block) < step:  # a repeat would be learned from twice
                block = block[: len(block) // self.world_size * self.world_size]
            size = self.batch_size if len(block) == step else -(-len(block) // self.world_size)
            block = np.pad(block, (0, size * self.world_size - len(block)), constant_values=-1)
            yield block[self.rank * size : (self.rank + 1) * size]


class BatchLoader(DataLoader[Batch]):
    """torch's loader, which begins when the first batch is asked for, also where it has processes of its own.

    Lightning makes the iterator before it has read from the checkpoint where a resumed run is: processes that begin at
    once would load the first epoch's order.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the sampler's batches."""
        yield from super().__iter__()


def mean_and_std(images: CachedPixels, rows: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of pixels in [0, 1], one figure a channel.

    Args:
        images: uint8 (N, C, H, W); read in pieces, as it may be larger than memory. Of more than `WHOLE` bytes about
            1 GiB is looked at, in runs of neighbours spread evenly.
        rows: Those to look at.
    """
    counts = np.zeros((images.shape[1], 256))
    size = len(rows) * int(np.prod(images.shape[1:], dtype=np.int64))
    large = size > shuffle.WHOLE
    pieces = np.array_split(rows, max(1, len(rows) // (64 if large else 1024)))
    for piece in pieces[:: max(1, size // _LOOKED_AT) if large else 1]:
        pixels = images[piece]
        for channel in range(len(counts)):
            values = pixels[:, channel].ravel()
            if values.size % 2:
                counts[channel] += np.bincount(values, minlength=256)
            else:  # two pixels at once: half the work
                pairs = np.bincount(values.view(np.uint16), minlength=2**16).reshape(256, 256)
                counts[channel] += pairs.sum(0) + pairs.sum(1)
    levels = np.arange(256) / 255
    mean = counts @ levels / counts.sum(1)
    # rounding leaves a little less than nothing of one gray level
    std = np.sqrt(np.maximum(counts @ levels**2 / counts.sum(1) - mean**2, 0))
    return mean.tolist(), np.maximum(std, 1 / 255).tolist()  # at least one gray level: blank images divide by it


class Normalise:
    """Subtracts a mean and divides by a standard deviation, one figure a channel each.

    Args:
        mean: Of pixels in [0, 1].
        std: Likewise.
    """

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self._values = torch.tensor([mean, std])

    def __call__(self, images: Tensor) -> Tensor:
        """Return normalised images, (B, C, H, W) float32 in [0, 1] before."""
        mean, std = self._on(images)
        normalised: Tensor = (images - mean) / std
        return normalised

    def in_place(self, images: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) that nobody else needs, and return them."""
        mean, std = self._on(images)
        return images.sub_(mean).div_(std)

    def _on(self, images: Tensor) -> Tensor:
        """Return mean and deviation on the device of the images, (2, 1, C, 1, 1)."""
        if self._values.device != images.device:  # once: a copy in every batch would wait for all that is queued
            self._values = self._values.to(images.device)
        return self._values.view(2, 1, -1, 1, 1)
