"""Checkpoints that a kill, a full disk or a power cut leaves whole: written beside their place, synced, renamed.

Lightning writes into the system's temporary folder and moves the file; where that is another disk, moving is copying,
and a kill in the middle leaves half a checkpoint in the place of the last good one.
"""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from vitlab.atomic import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's, with `save_checkpoint` as `vitlab.atomic` writes."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint so that its name always stands for a whole one.

        Args:
            checkpoint: What Lightning keeps.
            path: The file.
            storage_options: None; Lightning's interface has it.

        Raises:
            OSError: The disk is full or not writable; what was there before is still there.
        """
        assert storage_options is None, storage_options
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            with temporary.open("wb") as target:
                torch.save(checkpoint, target)
                target.flush()
                os.fsync(target.fileno())
