"""What a resumed run would do otherwise than it began: what it would not take is refused, the rest is said."""

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vitlab.yaml_text import parse

# What changes weights from here on and that no other check refuses.
_MATERIAL = (
    "seed_everything", "data.batch_size", "data.augment", "trainer.accumulate_grad_batches", "trainer.precision",
    "trainer.gradient_clip_val", "trainer.max_epochs", "trainer.max_steps",
)  # fmt: skip


def check_resumed(path: Path, config: Any, state: dict[str, Any], *, linked: Collection[str]) -> None:
    """Refuse settings of the model that the run was not begun with, which Lightning passes over, and too few epochs.

    Args:
        path: The checkpoint.
        config: The settings of `fit`, parsed; of the model before the checkpoint's are laid over them.
        state: What the checkpoint holds.
        linked: Settings of the model that the data tell.

    Raises:
        ValueError: There are such settings; the message names the first.
    """
    asked, held = _plain(config.model.init_args), _plain(state["hyper_parameters"])
    for name in [name for name in asked if name in held and name not in linked]:
        now, then = asked[name], held[name]
        both = {name: (now, then)}
        if isinstance(now, dict) and isinstance(then, dict):
            both = {f"{name}.{key}": (now.get(key), then.get(key, now.get(key))) for key in {**now, **then}}
        for field, (value, kept) in both.items():
            if value != kept:
                raise ValueError(
                    f"{path} goes on with model.{field}={kept}, and it is {value} here: leave that out, or start anew "
                    "without --ckpt_path"
                )
    epochs = int(state.get("epoch", 0)) + 1
    if 0 < (config.trainer.max_epochs or 0) < epochs:
        raise ValueError(f"{path} has had {epochs} epochs: give as many or more as --trainer.max_epochs")


def warn_of_changes(file: Path, config: Any) -> None:
    """Warn of settings that differ from those in a run's folder.

    Args:
        file: The run's config.yaml; where it cannot be read, nothing is known.
        config: The settings of `fit`, parsed.
    """
    try:
        before = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(before, dict):
        return
    changes = []
    for name in _MATERIAL:
        then: Any = before
        for key in name.split("."):
            then = then.get(key) if isinstance(then, dict) else None
        if (now := _plain(config.get(name))) != then:
            changes.append(f"{name}={now} (it was {then})" if not isinstance(now, dict) else name)
    if changes:
        warnings.warn(
            f"this run goes on otherwise than it began, and its results are of neither alone: {', '.join(changes)}",
            stacklevel=2,
        )


def _plain(value: Any) -> Any:
    """Return a setting as YAML reads it."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value
