"""Several devices: what Lightning's strategies need so that N of them train as one does, and leave the same files."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, ParallelStrategy, SingleDeviceStrategy

from vitlab.checkpoint import read_checkpoint
from vitlab.checkpoint_io import AtomicCheckpointIO
from vitlab.models.base import BaseModule
from vitlab.models.sharding import FullySharded


def prepare(trainer: Trainer, module: BaseModule) -> None:
    """Let a trainer's strategy write checkpoints as `vitlab.atomic` writes, and the model have its own batch norms.

    Args:
        trainer: Just made.
        module: What it will train.
    """
    if isinstance(trainer.strategy, ParallelStrategy):
        # torch's, which `sync_batchnorm` asks for, know neither CPUs nor timm's activations
        module.sync_batchnorm, trainer.strategy._layer_sync = trainer.strategy._layer_sync is not None, None
    if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy | FullySharded):  # others write in other ways
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()


def whole(trainer: Any, module: BaseModule, kind: type[BaseModule]) -> BaseModule:
    """Return a model with all of its weights in this process, for the files that a run leaves.

    Args:
        trainer: After its last loop; a sharded model is read back from the checkpoint that it ends with.
        module: The model, as trained.
        kind: Its class, without what sharding mixes into it.
    """
    if not isinstance(trainer.strategy, ModelParallelStrategy):
        return module
    last = trainer.checkpoint_callback.best_model_path  # of a pretraining, which selects nothing
    state = read_checkpoint(Path(last if module.pretraining else trainer.ckpt_path))
    settings = {name: value for name, value in state["hyper_parameters"].items() if not name.startswith("_")}
    if "weights" in settings:
        settings |= {"weights": None, "pretrained": False}  # the checkpoint has them
    read = kind(**settings)
    read.load_state_dict(state["state_dict"])
    return read.eval()
