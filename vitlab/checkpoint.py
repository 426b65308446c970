"""Reading a checkpoint that somebody names: whatever is wrong with the file is one line."""

from pathlib import Path
from typing import Any

import torch


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a checkpoint of a run holds, on the CPU; nothing in it is executed.

    Args:
        path: Such as RUN/checkpoints/best.ckpt.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It is damaged, or of something else.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}: a run keeps its own in checkpoints/best.ckpt and last.ckpt"
        )
    try:
        found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
        for key in ("hyper_parameters", "ImageDataModule", "state_dict"):
            found[key]
    except Exception as error:  # pickle, zip and key errors of every kind: all mean the same to a user
        what = f"{path} is not a checkpoint of vitlab, or damaged ({type(error).__name__})"
        raise ValueError(f"{what}: restore it or train the run again") from None
    return found
