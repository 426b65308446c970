"""Several devices: what Lightning's strategies need so that N of them train as one does, and leave the same files."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, ParallelStrategy, SingleDeviceStrategy

from vitlab.checkpoint import read_checkpoint
from vitlab.checkpoint_io import AtomicCheckpointIO
from vitlab.models.base import BaseModule
from vitlab.models.sharding import FullySharded


class StopTogether(Callback):
    """Ends all processes of a run at once on SIGTERM, by the way of Ctrl-C.

    Lightning lets them agree by a broadcast from within the signal's handler, which waits for ever where the processes
    are not at the same step. Nothing has to be agreed on: a run goes on from its last epoch, which is on disk.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handler, which is there from just before."""
        self._install(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for the test of the best checkpoint."""
        self._install(trainer)

    @staticmethod
    def _install(trainer: Any) -> None:
        def stop(number: int, frame: Any) -> None:
            if not trainer.is_global_zero:
                os._exit(128 + number)
            trainer._signal_connector.received_sigterm = True  # tells the exit code from that of Ctrl-C
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGKILL)
            raise KeyboardInterrupt

        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)


def _end_with_first(trainer: Any) -> None:
    """Let a process that the first one started end with it: a collective would wait for half an hour."""
    if trainer.local_rank == 0 or trainer.strategy.cluster_environment.creates_processes_externally:
        return
    first = os.getppid()

    def watch() -> None:
        while os.getppid() == first:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def check_strategy(config: Any) -> None:
    """Find strategies that leave shards where a run leaves whole files, and what sharding cannot do.

    Args:
        config: The verb's settings, parsed.

    Raises:
        ValueError: There is such.
    """
    strategy = config.trainer.strategy
    name = str(strategy if isinstance(strategy, str) else strategy.class_path).rpartition(".")[2]
    if name.lower().startswith(("fsdp", "deepspeed", "modelparallel")):
        raise ValueError(f"trainer.strategy={name} leaves shards of files: take --config configs/hardware/fsdp.yaml")
    if name != FullySharded.__name__:
        return
    if asked := [setting for setting in ("robustness", "features") if config.run[setting]]:
        raise ValueError(
            f"run.{asked[0]} needs the whole model in one process, and it is sharded here: run `vitlab test` on the "
            f"checkpoint afterwards, with --run.{asked[0]}=true --trainer.devices=1 --trainer.strategy=auto"
        )
    if config.compile:
        raise ValueError("compile does not go with a sharded model: leave out --compile, or take ddp.yaml")


def prepare(trainer: Trainer, module: BaseModule) -> None:
    """Let a trainer's strategy write checkpoints as `vitlab.atomic` writes, and the model have its own batch norms.

    Args:
        trainer: Just made.
        module: What it will train.
    """
    if isinstance(trainer.strategy, ParallelStrategy):
        # torch's, which `sync_batchnorm` asks for, know neither CPUs nor timm's activations
        trainer.callbacks.append(StopTogether())  # type: ignore[attr-defined]
        _end_with_first(trainer)
        module.sync_batchnorm, trainer.strategy._layer_sync = trainer.strategy._layer_sync is not None, None
    if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy | FullySharded):  # others write in other ways
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()


def whole(trainer: Any, module: BaseModule, kind: type[BaseModule], checkpoint: str) -> BaseModule:
    """Return a model with all of its weights in this process, for the files that a run leaves.

    Args:
        trainer: After its last loop.
        module: The model, as trained.
        kind: Its class, without what sharding mixes into it.
        checkpoint: What the run ends with; a sharded model is read back from it.
    """
    if not isinstance(trainer.strategy, ModelParallelStrategy):
        return module
    state = read_checkpoint(Path(checkpoint))
    settings = {name: value for name, value in state["hyper_parameters"].items() if not name.startswith("_")}
    if "weights" in settings:
        settings |= {"weights": None, "pretrained": False}  # the checkpoint has them
    read = kind(**settings)
    read.load_state_dict(state["state_dict"])
    return read.eval()
