"""Run folders: where they are, which are finished, and what their results.json says."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitlab.evaluate.predictions import SPLITS

SCHEMA = 1
RESULTS = "results.json"
NOT_SEARCHED = ("checkpoints", "published")  # published runs are compared when they are named, not with one's own
REQUIRED: dict[str, type] = {"approach": str, "manifest_sha256": str, "seed": int, "metrics": dict}


@dataclass(frozen=True)
class Run:
    """One finished run as its results.json tells it. What a run could not measure is None."""

    folder: Path
    approach: str
    dataset: str
    study: str
    manifest_sha256: str
    seed: int
    fold: int | None
    label_fraction: float
    axes: str
    backbone: str
    task: str
    finished: bool
    device: str
    epochs: int | None
    n_folds: int | None
    group_by: str
    """What splits were cut by, "image" or "patient"; "" where results.json does not say."""
    shuffle_labels: bool
    """Whether the labels of every split were dealt anew among its images."""
    test_sha256: str
    """Digest of the images that it was tested on; "" where results.json does not say."""
    metrics: Mapping[str, Mapping[str, float | None]]
    cost: Mapping[str, float | None]
    """seconds and images_seen with pretraining included, pretrain_seconds, parameters, ... as in `_cost`."""


def find_runs(dirs: Iterable[str | os.PathLike[str]]) -> tuple[list[Path], list[Path]]:
    """Search folders at any depth for run folders.

    A folder is a finished run when it holds a results.json. It is an unfinished one when it holds a config.yaml,
    metrics.csv, checkpoints or event files instead, unless it lies inside another run or other runs lie inside it.
    Folders named `checkpoints`, `published` or with a leading dot are not entered, except when they are in `dirs`.

    Args:
        dirs: folders; one that is inside another is searched once.

    Returns:
        The finished and the unfinished run folders, each in the order of `dirs` and sorted below that.

    Raises:
        FileNotFoundError: when one of `dirs` is not a folder.
    """
    finished: list[Path] = []
    unfinished: list[Path] = []
    searched: dict[str, bool] = {}
    for top in map(Path, dirs):
        if not top.is_dir():
            raise FileNotFoundError(f"{top} is not a folder: name a folder of runs, such as lightning_logs/phantom")
        _search(top, False, finished, unfinished, searched)
    return finished, unfinished


def _search(
    folder: Path, inside: bool, finished: list[Path], unfinished: list[Path], searched: dict[str, bool]
) -> bool:
    """Search `folder`, which may lie `inside` a run; say whether there is a run in it.

    `searched` has the answer for each real path, so that links may be followed and a loop of them ends.
    """
    real = os.path.realpath(folder)
    if real in searched:
        return searched[real]
    searched[real] = False
    with os.scandir(folder) as entries:
        is_folder = {entry.name: entry.is_dir() for entry in entries}
    done = RESULTS in is_folder
    marked = "config.yaml" in is_folder or "metrics.csv" in is_folder or is_folder.get("checkpoints", False)
    events = any(name.startswith("events.out.tfevents") for name in is_folder)
    if done:
        finished.append(folder)
    below = False
    for name in sorted(name for name, is_dir in is_folder.items() if is_dir):
        if name not in NOT_SEARCHED and not name.startswith("."):
            below |= _search(folder / name, inside or done or marked or events, finished, unfinished, searched)
    if not done and not below and (marked or (events and not inside)):
        unfinished.append(folder)
    searched[real] = done or marked or below or (events and not inside)
    return searched[real]


def read_run(folder: Path) -> Run:
    """Read the results.json of a run folder.

    Raises:
        ValueError: naming the file, when it is not JSON or not the results of a run.
    """
    file = folder / RESULTS
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("it is not a JSON object")
        if record.get("schema", SCHEMA) != SCHEMA:
            raise ValueError(f"its schema is {record['schema']!r}, and this vitlab reads {SCHEMA}")
        return _run(folder, record)
    except (ValueError, OverflowError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot read {file}: {reason}; delete that file or run it again") from None


def _run(folder: Path, record: dict[str, Any]) -> Run:
    for key, kind in REQUIRED.items():
        if type(record.get(key)) is not kind:  # not isinstance: true is no seed
            raise ValueError(f"{key} is {'missing' if key not in record else 'not of type ' + kind.__name__}")
    fold = record.get("fold")
    if not (fold is None or type(fold) is int):
        raise ValueError("fold is neither a number nor null")
    fraction = _number(record, "label_fraction")
    metrics: dict[str, dict[str, float | None]] = {}
    for split in SPLITS:
        values = record["metrics"].get(split) or {}
        if not isinstance(values, dict):
            raise ValueError(f"metrics.{split} is not an object")
        metrics[split] = {name: _number(values, name, f"metrics.{split}.") for name in values}
    epochs = _number(record, "epochs")
    n_folds = _number(_object(record, "split"), "n_folds", "split.")
    return Run(
        folder=folder,
        approach=record["approach"],
        manifest_sha256=record["manifest_sha256"],
        seed=record["seed"],
        fold=fold,
        label_fraction=1.0 if fraction is None else fraction,
        epochs=None if epochs is None else int(epochs),
        finished=record.get("status", "finished") == "finished",
        task=str(record.get("task", "supervised")),
        dataset=str(record.get("dataset") or ""),
        study=str(record.get("study") or record.get("dataset") or ""),
        axes=str(record.get("axes") or ""),
        backbone=str(record.get("backbone") or ""),
        device=str(record.get("device") or ""),
        n_folds=None if n_folds is None else int(n_folds),
        group_by=str(_object(record, "split").get("group_by") or ""),
        shuffle_labels=record.get("shuffle_labels") is True,
        test_sha256=str(_object(record, "split_sha256").get("test") or ""),
        metrics=metrics,
        cost=_cost(record),
    )


def _cost(record: dict[str, Any]) -> dict[str, float | None]:
    """What the run cost: a pretraining counts in full in every run that uses it."""
    own = {"seconds": _number(record, "wall_seconds"), "images_seen": _number(record, "images_seen")}
    before: dict[str, float | None] = {"seconds": 0.0, "images_seen": 0.0}
    pretrain = record.get("pretrain")
    if isinstance(pretrain, dict):
        before = {
            "seconds": _number(pretrain, "wall_seconds", "pretrain."),
            "images_seen": _number(pretrain, "images_seen", "pretrain."),
        }
    elif pretrain is not None:
        raise ValueError("pretrain is neither an object nor null")
    cost: dict[str, float | None] = {}
    for name, value in own.items():
        earlier = before[name]
        cost[name] = None if value is None or earlier is None else value + earlier
        cost[f"pretrain_{name}"] = earlier
    for name in ("parameters", "flops_per_image", "peak_memory_bytes", "images_per_second"):
        cost[name] = _number(record, name)
    return cost


def _object(record: dict[str, Any], key: str) -> dict[str, Any]:
    """An object, empty where it is missing or null."""
    value = record.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not an object")
    return value


def _number(record: dict[str, Any], key: str, prefix: str = "") -> float | None:
    """A number, or None where it is missing, null, or not finite."""
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{prefix}{key} is not a number")
    return float(value) if math.isfinite(value) else None
