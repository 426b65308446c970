"""A job's run folder: what is in it, setting an earlier run aside, and taking it back. Nothing is ever deleted."""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from vitlab.atomic import write_text
from vitlab.evaluate.results import read_results
from vitlab.lock import InUse, hold
from vitlab.study.plan import Job
from vitlab.study.settings import Settings, differences, get, material, without
from vitlab.yaml_text import parse

RECORD = "job.json"
LOG = "train.log"  # what the run prints
REPLACED = ".replaced"  # below the study's folder; compare and tensorboard's readers pass folders with a dot by
# done: finished. stopped: goes on from its last epoch. new: not begun. other: the folder has a run with other settings.
# unknown: the folder has a run that no study has made.
State = Literal["done", "stopped", "new", "other", "unknown"]
# Set by `fit` itself from what it finds; config.yaml has them, settings do not.
_DERIVED = ("seed_everything", "trainer.precision", "model.init_args.weights", "checkpoint")


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return what job.json says of the run in a folder; None where there is none.

    Raises:
        ValueError: It is not what `write_record` writes.
    """
    path = folder / RECORD
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as JSON ({error}): delete the folder and go on") from None
    key = found.get("key") if isinstance(found, dict) else None
    if not isinstance(key, str) or not isinstance(found.get("settings", {}), dict):
        raise ValueError(f"{path} is not what a study writes there: delete the folder and go on")
    return found


def write_record(folder: Path, key: str, record: dict[str, Any]) -> None:
    """Write job.json: whose run is in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RECORD, json.dumps({"key": key, **record}, indent=1, default=str) + "\n")


def record_of(job: Job) -> dict[str, Any]:
    """Return what job.json keeps of a job beside its key: to say later what has changed."""
    return {"recipe": job.recipe, "needs": job.needs, "settings": job.matters}


def begun(folder: Path) -> bool:
    """Say whether a run has left anything that is worth keeping."""
    return any((folder / name).exists() for name in ("results.json", "config.yaml", "checkpoints"))


def last_checkpoint(folder: Path) -> Path:
    """Return where a run keeps its last epoch."""
    return folder / "checkpoints" / "last.ckpt"


def best_checkpoint(folder: Path) -> Path:
    """Return where a run keeps the epoch that it was tested at."""
    return folder / "checkpoints" / "best.ckpt"


def state_of(folder: Path, key: str) -> State:
    """Say how far the run with a key is in its folder."""
    record = read_record(folder)
    if record is None or record["key"] != key:
        if begun(folder):
            return "other" if record else "unknown"
        return "new"
    if (folder / "results.json").exists():
        return "done"
    return "stopped" if last_checkpoint(folder).exists() else "new"


def state_after_return(job: Job, study: Path) -> State:
    """Say how far a job is, where an earlier run of it that was set aside counts as if it were back."""
    state = state_of(job.folder, job.key)
    if state in ("other", "new") and (kept := kept_folder(job.folder, job.key, study)).exists():
        return state_of(kept, job.key)
    return state


def kept_folder(folder: Path, key: str, study: Path) -> Path:
    """Return where a run is kept while its folder has another one."""
    return study / REPLACED / folder.relative_to(study) / key[:8]


def make_room(folder: Path, key: str, study: Path) -> State:
    """Leave the run with a key in its folder, or room for it; to be called while the folder is held.

    Args:
        folder: The run folder.
        key: Of the job.
        study: The study's folder.

    Returns:
        How far the run is: done, stopped or new.

    Raises:
        ValueError: The folder has a run that no study has made.
    """
    state = state_of(folder, key)
    if state == "unknown":
        raise ValueError(foreign(folder))
    record = read_record(folder)
    if state == "other" and record is not None:
        set_aside(folder, record["key"], study)
    if state in ("other", "new") and (kept := kept_folder(folder, key, study)).exists():
        if folder.exists():  # a log of a run that failed before it began
            set_aside(folder, (record or {"key": "none"})["key"], study)
        _move(kept, folder)
    return state_of(folder, key)


def set_aside(folder: Path, key: str, study: Path) -> None:
    """Keep what is in a run folder where a later run does not meet it."""
    _move(folder, kept_folder(folder, key, study))


def bring_back(jobs: Iterable[Job], study: Path) -> None:
    """Put finished runs that were set aside back into their folders; one that is in use there waits for its turn."""
    for job in jobs:
        if state_of(job.folder, job.key) != "done" and state_after_return(job, study) == "done":
            with suppress(InUse), hold(job.folder):
                make_room(job.folder, job.key, study)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free, number = target, 1
    while free.exists():
        number += 1
        free = target.with_name(f"{target.name}-{number}")
    os.rename(source, free)


def foreign(folder: Path) -> str:
    """Return what to say of a run that no study has made and that does not agree with the job."""
    return (
        f"{folder} holds a run that no study has made, with other settings: move it away, or give the study another "
        "name"
    )


def changes(job: Job) -> list[str]:
    """Return what differs between a job and the run that is in its folder."""
    record = read_record(job.folder) or {}
    found = differences(record.get("settings", {}), job.matters)
    return found or ["its pretraining" if record.get("needs") != job.needs else "its images"]


def agrees(job: Job, resolved: Settings) -> bool:
    """Say whether the run in a job's folder is the one that the job would make, whoever has made it.

    Args:
        job: The pretraining that it needs has finished.
        resolved: The job's settings with every default, as `fit --print_config` gives them.
    """
    try:
        config = parse((job.folder / "config.yaml").read_text(encoding="utf-8"))
        results = read_results(job.folder)
    except (OSError, ValueError):
        return False
    if not isinstance(config, dict) or results is None:
        return False
    if config.get("seed_everything") != job.seed or _comparable(config) != _comparable(resolved):
        return False
    stated = get(resolved, "trainer.precision")
    if stated is not None and stated != results.get("precision"):
        return False
    facts = {"manifest_sha256": get(results, "manifest_sha256"), "train": get(results, "split_sha256.train")}
    if facts != {"manifest_sha256": job.manifest_sha256, "train": job.train_sha256}:
        return False
    own = hashlib.sha256(job.weights.read_bytes()).hexdigest() if job.weights else None
    return bool(own == get(results, "pretrain.sha256"))


def _comparable(config: Settings) -> Settings:
    return material(_without_nulls(without(config, _DERIVED)))


def _without_nulls(settings: Settings) -> Settings:
    plain = {key: _without_nulls(value) if isinstance(value, dict) else value for key, value in settings.items()}
    return {key: value for key, value in plain.items() if value is not None}
