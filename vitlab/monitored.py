"""What checkpoints and early stopping may watch; Lightning says that a name is wrong when the first epoch is over."""

import difflib
from collections.abc import Iterator
from typing import Any

from vitlab.callbacks import OnlineProbe
from vitlab.models.base import BaseModule

_COUNTED = ("epoch", "step")  # by Lightning's checkpoints beside what is logged
_DIRECTIONS = {"loss": "min", "accuracy": "max"}


def check_monitored(config: Any, model_class: type[BaseModule]) -> None:
    """Find a metric that is watched and never logged, or watched the wrong way round.

    Classes and callbacks of a user's own may log what they like, and are not judged.

    Args:
        config: The settings of `fit`, parsed.
        model_class: The class that config.model names.

    Raises:
        ValueError: There is one; the message names the metrics there are.
    """
    stated = config.trainer.callbacks or []
    callbacks = stated if isinstance(stated, list) else [stated]
    classes = [f"{model_class.__module__}.", *(callback.class_path for callback in callbacks)]
    if not all(name.startswith(("vitlab.", "lightning.")) for name in classes):
        return
    every = config.probe.every_n_epochs
    probed = OnlineProbe.logged if model_class.pretraining and every else ()
    for key, settings in _watching(config, callbacks, model_class):
        name, stops = settings.monitor, key == "EarlyStopping"
        known = [*model_class.logged, *probed, *(() if stops else _COUNTED)]
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            meant = f", did you mean {near[0]}?" if near else ";"
            raise ValueError(
                f"{key}.monitor: {model_class.__name__} logs no {name}{meant} there are {', '.join(known)}"
            )
        if stops and name in probed and every != 1:
            raise ValueError(
                f"{key}.monitor: {name} is there after every {every} epochs only, and {key} asks for it after each: "
                "set --probe.every_n_epochs=1"
            )
        if settings.mode not in ("min", "max"):
            raise ValueError(f"{key}.mode: expected one of 'min', 'max', got {settings.mode!r}")
        better = next((mode for end, mode in _DIRECTIONS.items() if str(name).endswith(end)), settings.mode)
        if settings.mode != better:
            wrong = "stops when it gets better" if stops else "keeps the worst epoch"
            raise ValueError(f"{key}.monitor={name} with mode={settings.mode} {wrong}: set {key}'s mode to {better}")


def _watching(config: Any, callbacks: list[Any], model_class: type[BaseModule]) -> Iterator[tuple[str, Any]]:
    """Yield the key, and the settings with monitor and mode, of all that watch a metric."""
    if config.checkpoint.monitor is not None and not model_class.pretraining:  # a pretraining keeps its last epoch
        yield "checkpoint", config.checkpoint
    for callback in callbacks:
        settings = callback.get("init_args")
        if settings is not None and settings.get("monitor") is not None:
            yield callback.class_path.rpartition(".")[2], settings
