"""Images that stay on the device: where the whole uint8 cache fits, a batch is a gather there and no copy.

Shapes: N images of the manifest, n of a split, B batch, C channels, H = W = image_size.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vitlab.data.batches import Batch
from vitlab.data.shards import CachedPixels

_PIECE = 2**26  # bytes copied at a time: no second copy of the images in the machine's memory


class Residency:
    """Decides whether images stay on the device, and copies them there once.

    Args:
        share: Largest share of the device's free memory for them, other processes counted; 0 is never.
        workers: Loader processes that were asked for: they read the cache, and none can use the device.
    """

    def __init__(self, share: float, workers: int | None) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"data.resident is {share}; give a share of the GPU's free memory in [0, 1)")
        self.share = 0.0 if workers else share
        self._there: Tensor | None = None
        self._place: torch.device | None = None

    def images(self, images: CachedPixels, device: torch.device) -> Tensor | None:
        """Return images (N, C, H, W), uint8, on a GPU where they fit; None on a CPU, which maps the cache."""
        if device.type != "cuda" or not self.share:
            return None
        if self._place != device:
            free, _ = torch.cuda.mem_get_info(device)
            self._there = to_device(images, device) if images.nbytes <= self.share * free else None
            self._place = device
        return self._there


def to_device(images: CachedPixels, device: torch.device) -> Tensor:
    """Copy images (N, C, H, W) to a device piece by piece, uint8."""
    copied = torch.empty(images.shape, dtype=torch.uint8, device=device)
    step = max(1, _PIECE // max(1, images[0].nbytes))
    for start in range(0, len(images), step):
        copied[start : start + step] = torch.from_numpy(np.array(images[start : start + step]))
    return copied


class ResidentImages(Dataset[Batch]):
    """The rows of one split, gathered on the device a whole batch at a time; the same batches as `CachedImages`.

    Args:
        images: uint8 (N, C, H, W) on the device; all splits share it.
        targets: int64 (N,).
        rows: Those of the split, int64 (n,).
    """

    def __init__(self, images: Tensor, targets: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self.images = images
        self.targets, self.rows = (torch.from_numpy(values).to(images.device) for values in (targets, rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: NDArray[np.int64]) -> Batch:
        """Return the uint8 batch at `positions` (B,) within this split; -1 repeats the first row and is marked so."""
        # from pinned memory the copy waits for nothing, and the device can be steps behind
        wanted = torch.from_numpy(np.ascontiguousarray(positions, np.int64))
        if self.images.device.type == "cuda":
            wanted = wanted.pin_memory()
        wanted = wanted.to(self.images.device, non_blocking=True)
        rows = self.rows[wanted.clamp(min=0)]
        return Batch(self.images[rows], self.targets[rows], torch.where(wanted < 0, -1, rows))
