"""Batches copied to the GPU one ahead, on a stream of their own, while the batch before is trained on."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from vitlab.data.batches import Batch


class CopyAhead:
    """A loader's batches on the device, in the same order.

    The copy of a pinned batch waits for nothing, but on the stream that trains it would queue behind the step before,
    and the step after behind it. See https://docs.nvidia.com/cuda/cuda-c-best-practices-guide, "Asynchronous and
    Overlapping Transfers with Computation".

    Args:
        loader: Gives batches in pinned memory.
        device: A GPU.
    """

    def __init__(self, loader: DataLoader[Batch], device: torch.device) -> None:
        self.loader, self.device = loader, device
        self.dataset = loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches that the current stream may use."""
        copying = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        waiting: tuple[Batch, torch.cuda.Event] | None = None
        for batch in self.loader:
            with torch.cuda.stream(copying):
                copied = Batch(*(part.to(self.device, non_blocking=True) for part in batch))
                done = copying.record_event()
            if waiting is not None:
                yield self._handed_over(*waiting)
            waiting = copied, done
        if waiting is not None:
            yield self._handed_over(*waiting)

    def _handed_over(self, batch: Batch, done: torch.cuda.Event) -> Batch:
        """Let the current stream wait for this copy alone, and keep the memory until that stream has used it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(done)
        for part in batch:
            part.record_stream(current)
        return batch
