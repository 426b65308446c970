"""Where the time of an epoch goes: a profiler that adds up to the whole."""

import time
from collections import defaultdict
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.profilers import Profiler

from vitlab.bench.trainer import synchronise

STAGES = ("data", "forward", "backward", "optimizer", "logging", "validation", "checkpoint", "rest")
_BY_HOOK = {
    "train_dataloader_next": "data", "batch_to_device": "data", "transfer_batch_to_device": "data",
    "on_before_batch_transfer": "data", "on_after_batch_transfer": "data",
    "training_step": "forward", "backward": "backward",
    "optimizer_step": "optimizer", "lr_scheduler_step": "optimizer", "configure_gradient_clipping": "optimizer",
    "optimizer_zero_grad": "optimizer", "save_checkpoint": "checkpoint", "on_save_checkpoint": "checkpoint",
    "log_metrics": "logging",
}  # fmt: skip
_BY_CALLBACK = {"ModelCheckpoint": "checkpoint", "LearningRateMonitor": "logging", "EpochLines": "logging",
                "CostMonitor": "logging"}  # fmt: skip


class StageProfiler(Profiler):
    """Charges every moment between the first epoch's start and the end of training to one stage.

    Lightning's actions lie in one another; a moment belongs to the innermost that names a stage. What lies in none is
    `rest`, so that the stages add up to the whole by themselves.

    Args:
        device: cpu or cuda; there each border waits for the device, which makes the whole slower than without.
    """

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self.total = 0.0
        self._stack: list[tuple[str, str]] = []
        self._last = self._begun = 0.0
        self._validating = False

    def start(self, action_name: str) -> None:
        """Begin an action."""
        hook = action_name.rpartition(".")[2]
        if hook == "on_train_epoch_start" and not self._begun and not self.total:
            self._begun = self._last = time.perf_counter()
        self._charge()
        if hook == "on_train_end" and self._begun:
            self.total, self._begun = time.perf_counter() - self._begun, 0.0
        self._validating |= hook == "on_validation_start"
        self._stack.append((action_name, self._stage_of(action_name, hook)))

    def stop(self, action_name: str) -> None:
        """End an action, and those in it that an exception left open."""
        self._charge()
        while self._stack and self._stack.pop()[0] != action_name:
            pass
        if action_name.startswith("[LightningModule]") and action_name.endswith(".on_validation_end"):
            self._validating = False  # Lightning calls the callbacks' hook first

    def summary(self) -> str:
        """Return the stages in words."""
        return ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())

    @property
    def shares(self) -> dict[str, float]:
        """Share of each stage; they add up to 1."""
        return {name: self.seconds[name] / max(self.total, 1e-12) for name in STAGES}

    def watch_logging(self, trainer: Trainer) -> None:
        """Time what goes to the loggers, which is no action of Lightning's."""
        connector: Any = trainer._logger_connector
        write = connector.log_metrics

        def log_metrics(*args: Any, **keywords: Any) -> None:
            with self.profile("log_metrics"):
                write(*args, **keywords)

        connector.log_metrics = log_metrics

    def _stage_of(self, action: str, hook: str) -> str:
        if action.startswith("[Callback]"):
            for name, charged in _BY_CALLBACK.items():
                if action[len("[Callback]") :].startswith(name):
                    return charged
        stage = _BY_HOOK.get(hook)
        if self._validating and stage not in ("checkpoint", "logging"):
            return "validation"
        return stage or (self._stack[-1][1] if self._stack else "rest")

    def _charge(self) -> None:
        if not self._begun:
            return
        synchronise(self.device)
        now = time.perf_counter()
        stage = self._stack[-1][1] if self._stack else "rest"
        self.seconds["validation" if self._validating and stage == "rest" else stage] += now - self._last
        self._last = now
