"""What stops a run in the middle: weights that are no numbers, too little memory, a full disk; each in one line.

And how one ends that ends by steps.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class FiniteWeights(Callback):
    """Ends a run whose weights are no finite numbers, before they are validated or kept.

    Looked at once an epoch, so that no step waits for the device: a loss that is no number makes the weights so too.

    Args:
        last: The checkpoint that a run goes on from.
    """

    def __init__(self, last: Path) -> None:
        self.last = last

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before the best checkpoint is chosen."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before the last checkpoint is written: those that write run behind all other callbacks."""
        self._check(trainer, pl_module)

    def _check(self, trainer: Trainer, module: LightningModule) -> None:
        """Raise where a weight or a running mean is no finite number.

        Raises:
            ValueError: One is; last.ckpt is that of the epoch before.
        """
        own = [getattr(value, "to_local", lambda value=value: value)() for value in module.state_dict().values()]
        state = [value.detach() for value in own if value.is_floating_point()]  # of this rank, where they are sharded
        finite = bool(torch.stack([value.float().sum() for value in state]).isfinite().all())
        finite = finite or all(bool(value.isfinite().all()) for value in state)  # only their sum is not
        if trainer.strategy.reduce_boolean_decision(finite, all=True):
            return
        kept = f"{self.last} is of the epoch before" if self.last.exists() else "no epoch was finished"
        raise ValueError(
            f"the loss or its gradient was no finite number in epoch {trainer.current_epoch + 1}, nor are the "
            f"weights: the run was stopped, {kept}; lower --model.optim.lr, or set --trainer.gradient_clip_val=1 or "
            "--trainer.precision=32-true"
        )


class LastStep(Callback):
    """Lets a run that ends by `max_steps` within an epoch validate its last weights, as one that stops early does.

    Lightning would end it without: the weights at the end of the schedule could not be the best ones, and a run shorter
    than an epoch had none to test.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop behind the last step."""
        if 0 <= trainer.max_steps <= trainer.global_step:  # -1 is no end
            trainer.should_stop = True


class Stage(Callback):
    """Remembers what a run was at when an error stopped it: Lightning forgets that on the way out.

    Attributes:
        evaluating: Whether it was validating, testing or predicting.
        views: Of an image in a batch; with two, a loss compares the images of a batch.
    """

    evaluating, views = False, 1

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Look while it is known."""
        self.evaluating, self.views = not trainer.training, getattr(pl_module, "views", 1)


@contextmanager
def memory_in_one_line(stage: Stage, batch_size: int, eval_batch_size: int, accumulate: int) -> Iterator[None]:
    """Turn too little memory into one line that names the batch that was in it.

    Args:
        stage: A callback of the trainer.
        batch_size: Images a batch and device in training.
        eval_batch_size: The same in evaluation.
        accumulate: Batches a step.

    Raises:
        ValueError: The memory is full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        if (eval_batch_size if stage.evaluating else batch_size) == 1:
            raise ValueError(
                "out of memory with a single image a batch: set a smaller --data.image_size or a smaller backbone"
            ) from error
        if stage.evaluating:
            raise ValueError(
                f"out of memory with data.eval_batch_size={eval_batch_size}: set "
                f"--data.eval_batch_size={eval_batch_size // 2}, which changes no result"
            ) from error
        half = batch_size // 2
        batches = accumulate * (batch_size // half)
        kept = "but each is compared with half as many others" if stage.views > 1 else "which keeps the images a step"
        raise ValueError(
            f"out of memory with data.batch_size={batch_size}: set --data.batch_size={half} and "
            f"--trainer.accumulate_grad_batches={batches}, {kept}"
        ) from error


@contextmanager
def in_one_line(folder: Path) -> Iterator[None]:
    """Turn a disk or a process that fails in the middle of a run into one line that says how to go on.

    Args:
        folder: The run's.

    Raises:
        ValueError: Another of the run's processes has gone.
        OSError: The disk is, or may not be written to.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        last = folder / "checkpoints" / "last.ckpt"
        go_on = f"go on with --ckpt_path {last}" if last.exists() else "no epoch was finished, start again"
        raise ValueError(f"another process of this run has ended, and with it the run; {go_on}") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        last = folder / "checkpoints" / "last.ckpt"
        go_on = f"go on with --ckpt_path {last}" if last.exists() else "start again"
        raise OSError(f"cannot write to {folder} ({error.strerror}): free some space, then {go_on}") from error


def _is_lost(error: Exception) -> bool:
    """Say whether a process of several has gone, while this one waited for it; gloo has no error of its own."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)


def _is_memory(error: Exception) -> bool:
    """Say whether a device or the machine has no memory left; torch's CPU allocator has no error of its own."""
    words = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "DefaultCPUAllocator" in words
        or "out of memory" in words
    )
