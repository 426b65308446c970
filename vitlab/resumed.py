"""What a resumed run does otherwise than it began: its results are then of no single setting, and that is said."""

import warnings
from pathlib import Path
from typing import Any

from vitlab.yaml_text import parse

# What changes weights from here on and that no other check refuses.
_MATERIAL = (
    "seed_everything", "data.batch_size", "data.augment", "trainer.accumulate_grad_batches", "trainer.precision",
    "trainer.gradient_clip_val", "trainer.max_epochs", "trainer.max_steps",
)  # fmt: skip


def warn_of_changes(file: Path, config: Any) -> None:
    """Warn of settings that differ from those in a run's folder.

    Args:
        file: The run's config.yaml; where it cannot be read, nothing is known.
        config: The settings of `fit`, parsed.
    """
    try:
        before = parse(file.read_text(encoding="utf-8"))
        assert isinstance(before, dict), file
    except (OSError, ValueError, AssertionError):
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
