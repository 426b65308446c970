"""Settings as nested mappings: read, laid over one another, set by dotted key, and compared by what matters.

The same rules as those of `fit`: later files over earlier ones, lists replaced, `model.lr` short for
`model.init_args.lr`.
"""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vitlab.yaml_text import parse

Settings = dict[str, Any]
# A class with settings of its own stands here, as class_path and init_args.
_CLASSES = (("model",), ("data", "source"))
_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
# What changes no figure of a run: where it is written, what is shown, how fast it is.
IMMATERIAL = (
    "run", "reconstructions", "ckpt_path", "weights_only", "data.num_workers", "data.resident", "data.cache_dir",
    "data.checkpoint", "trainer.accelerator", "trainer.log_every_n_steps", "trainer.enable_progress_bar",
    "trainer.enable_model_summary", "trainer.logger", "trainer.profiler", "trainer.default_root_dir",
    "trainer.barebones", "checkpoint.dirpath", "checkpoint.verbose",
)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as `fit` does; YAML 1.1 wants 1.0e-3."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> Settings:
    """Return the mapping that a YAML file holds.

    Raises:
        ValueError: It is not YAML, or no mapping.
    """
    try:
        found = parse(path.read_text(encoding="utf-8"), _Loader)
    except ValueError as error:
        raise ValueError(f"{path} is not YAML of settings: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, not keys and values")
    return found


def merge(base: Settings, over: Settings, place: tuple[str, ...] = ()) -> Settings:
    """Return settings with others laid over them; a class of another name takes none of the old one's settings."""
    base, over = _class_node(base, place), _class_node(over, place)
    names = [short(node["class_path"]) for node in (base, over) if "class_path" in node]
    if len(set(names)) > 1:
        return copy.deepcopy(over)
    merged = copy.deepcopy(base)
    for key, value in over.items():
        inside = (*place, str(key))
        if isinstance(value, dict) or inside in _CLASSES:
            before = merged.get(key)
            value = merge(before if isinstance(before, dict | str) else {}, value, inside)  # type: ignore[arg-type]
        merged[key] = copy.deepcopy(value)
    return merged


def assign(settings: Settings, key: str, value: Any) -> Settings:
    """Return settings with the value at a dotted key set; a mapping is laid over what is there."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return merge(settings, value)


def _class_node(node: Any, place: tuple[str, ...]) -> Settings:
    """Write a class in full: `Phantom`, and `root: x` beside the class, are short forms."""
    if place not in _CLASSES:
        return node if isinstance(node, dict) else {}
    if isinstance(node, str):
        return {"class_path": node}
    full = {key: value for key, value in node.items() if key in _CLASS_KEYS}
    short_form = {key: value for key, value in node.items() if key not in _CLASS_KEYS}
    return {**full, "init_args": {**(full.get("init_args") or {}), **short_form}} if short_form else full


def short(class_path: str) -> str:
    """Return the name of one of vitlab's own classes without its module: both name the same."""
    return class_path.rpartition(".")[2] if class_path.startswith("vitlab.") else class_path


def get(settings: Settings, key: str, default: Any = None) -> Any:
    """Return the value at a dotted key."""
    node: Any = settings
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return default
        node = node[part]
    return node


def without(settings: Settings, keys: tuple[str, ...]) -> Settings:
    """Return settings without what lies at some dotted keys."""
    left = copy.deepcopy(settings)
    for key in keys:
        above, _, last = key.rpartition(".")
        node = get(left, above) if above else left
        if isinstance(node, dict):
            node.pop(last, None)
    return left


def material(settings: Settings) -> Settings:
    """Return what a run's figures depend on, in one form whatever way it was written."""
    found: Settings = _plain(without(settings, IMMATERIAL))
    return found


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        plain = {str(name): _plain(inner, str(name)) for name, inner in value.items()}
        return {name: inner for name, inner in plain.items() if inner != {}}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if key == "class_path" and isinstance(value, str):
        return short(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def differences(old: Settings, new: Settings) -> list[str]:
    """Return what differs, as `model.optim.lr 0.001 -> 0.0003`."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    keys = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    shown = [key.replace(".init_args", "") for key in keys]
    return [
        f"{name} {before.get(key, 'default')} -> {after.get(key, 'default')}"
        for name, key in zip(shown, keys, strict=True)
    ]


def _leaves(settings: Settings, above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
