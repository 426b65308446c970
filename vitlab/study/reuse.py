"""Runs of other studies below the same root that are a job's own: the same key, so the same figures, taken over."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vitlab.atomic import write_text
from vitlab.evaluate.results import read_results
from vitlab.lock import InUse, hold
from vitlab.report.runs import find_runs
from vitlab.study.folders import (
    best_checkpoint,
    make_room,
    read_record,
    record_of,
    set_aside,
    state_after_return,
    write_record,
)
from vitlab.study.plan import Job
from vitlab.study.settings import get


def finished_elsewhere(jobs: Iterable[Job], root: Path, study: Path) -> dict[str, Path]:
    """Return the finished runs of other studies that jobs may take over.

    Args:
        jobs: Of the study.
        root: Folder of all runs; what lies in `published` has no weights, and counts for nothing.
        study: The study's folder.

    Returns:
        Key of a job that is not done -> run folder with the same key, with its results and its weights.
    """
    wanted = {job.key: job for job in jobs if state_after_return(job, study) != "done"}
    found: dict[str, Path] = {}
    for folder in find_runs([root])[0] if wanted and root.is_dir() else ():
        with suppress(ValueError, OSError):  # an unreadable job.json: whoever needs that run names it
            key = (read_record(folder) or {}).get("key")
            if key in wanted and study not in folder.parents and _weights(wanted[key], folder).exists():
                found.setdefault(key, folder)
    return found


def take_over(jobs: Iterable[Job], elsewhere: dict[str, Path], study: Path) -> list[Job]:
    """Link finished runs of other studies into this one; a run that is in use here stays as it is.

    Args:
        jobs: Of the study.
        elsewhere: From `finished_elsewhere`.
        study: The study's folder.

    Returns:
        The jobs that are done by it.
    """
    taken = []
    for job in jobs:
        if job.key in elsewhere:
            with suppress(InUse), hold(job.folder):
                if make_room(job.folder, job.key, study) == "new":
                    _take(job, elsewhere[job.key], study)
                    taken.append(job)
    return taken


def _weights(job: Job, folder: Path) -> Path:
    """Return the file of a run without which it is of no use to its study."""
    return folder / "backbone.safetensors" if not job.last else best_checkpoint(folder)


def _take(job: Job, source: Path, study: Path) -> None:
    """Put a run into a job's folder; what says where it stands in its study says so for this one."""
    with tempfile.TemporaryDirectory(dir=job.folder.parent, prefix=f".{job.folder.name}.") as temporary:
        copy = Path(temporary) / "run"
        shutil.copytree(source, copy, copy_function=_link)
        results = read_results(copy) or {}
        place = {
            "approach": job.approach, "study": study.name, "axes": get(job.settings, "run.axes") or "", "fold": job.fold
        }  # fmt: skip
        write_text(copy / "results.json", json.dumps({**results, **place}, indent=2) + "\n")
        write_record(copy, job.key, {**record_of(job), "taken_from": os.path.relpath(source, job.folder)})
        if job.folder.exists():  # a log of a run that failed before it began
            set_aside(job.folder, job.key, study)
        os.rename(copy, job.folder)


def _link(source: str, target: str) -> None:
    """Link weights, which are large and never written to; copy the rest."""
    if source.endswith((".ckpt", ".safetensors")):
        with suppress(OSError):  # another file system, or one without links
            os.link(source, target)
            return
    shutil.copy2(source, target)
