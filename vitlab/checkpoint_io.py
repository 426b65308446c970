"""Checkpoints that a kill, a full disk or a power cut leaves whole: written beside their place, synced, renamed.

Lightning writes into the system's temporary folder and moves the file; where that is another disk, moving is copying,
and a kill in the middle leaves half a checkpoint in the place of the last good one.
"""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

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
                try:
                    torch.save(checkpoint, target)
                except RuntimeError as error:  # of torch's writer, as it closes behind a write that has failed
                    if isinstance(error.__context__, OSError):
                        raise error.__context__ from None
                    raise
                target.flush()
                os.fsync(target.fileno())


class LastCheckpoint(ModelCheckpoint):
    """Keeps last.ckpt, after every epoch, to resume from; stands behind the callback that keeps the best in the list.

    An epoch that is the best one has just been written: last.ckpt is then a second name of that file (a hard link), not
    a second write, which took 5 % of a short epoch on a CPU. Each name is replaced, never written into.

    Args:
        folder: Where checkpoints lie.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, filename="last", monitor=None, enable_version_counter=False, save_on_train_epoch_end=True
        )

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        written = self._written(trainer)
        if written is None or not trainer.strategy.broadcast(self._linked(trainer, written, Path(filepath))):
            super()._save_checkpoint(trainer, filepath)
            return
        self._last_global_step_saved, self._last_checkpoint_saved = trainer.global_step, filepath

    def _written(self, trainer: Trainer) -> str | None:
        """Return the whole state that another callback has just written; the same on all ranks."""
        for other in trainer.checkpoint_callbacks:
            if (
                isinstance(other, ModelCheckpoint) and other is not self and not other.save_weights_only
                and other._every_n_epochs and other._should_save_on_train_epoch_end(trainer)
                and other._last_global_step_saved == trainer.global_step
            ):  # fmt: skip
                return other._last_checkpoint_saved
        return None

    def _linked(self, trainer: Trainer, written: str, file: Path) -> bool:
        """Give a file a second name, on the first rank; say whether that worked, which not every file system can."""
        if trainer.is_global_zero:
            try:
                with replacing(file) as temporary:
                    os.link(written, temporary)
            except OSError:
                return False
        return True


class MovedFolder(Callback):
    """Lets a run go on in a folder that was moved, or is seen under another name: its best checkpoint stays known.

    A checkpoint holds the absolute paths of those that are kept. Where they are others now, Lightning forgets which was
    the best and how good it was, and the next epoch would replace it, however bad.
    """

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Correct the paths in a checkpoint of the run's own folder, before they are read."""
        folder = os.path.realpath(Path(str(trainer.ckpt_path)).parent)
        for callback in trainer.checkpoint_callbacks:
            held = checkpoint["callbacks"].get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and held and callback.dirpath == folder != held["dirpath"]:
                _move(held, held["dirpath"], folder)


def _move(held: dict[str, Any], old: str, new: str) -> None:
    """Correct the state of a ModelCheckpoint, where all that it kept has come along."""

    def moved(path: str) -> str:
        return new + path.removeprefix(old) if path.startswith(old) else path

    best = {moved(path): score for path, score in held["best_k_models"].items()}
    if all(Path(path).is_file() for path in best):
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        held.update({name: moved(held[name]) for name in paths}, dirpath=new, best_k_models=best)
