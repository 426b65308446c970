"""Checks before anything runs: settings parse and build, chains fit together, runs made by hand are taken on."""

import json
import queue
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitlab.lock import hold
from vitlab.study.folders import State, agrees, foreign, record_of, state_after_return, state_of, write_record
from vitlab.study.launchers.base import Event
from vitlab.study.plan import Job
from vitlab.study.settings import Settings, get
from vitlab.study.workers import Worker

_STARTS = 3
_GROUPS = ("trainer", "model", "model.optim", "data", "data.source", "data.augment", "checkpoint", "probe")


class Checker:
    """Asks a worker, which is started when there is a first question, what `fit` would make of settings.

    Args:
        device: Of the worker.
        threads: Of the worker, which may run jobs afterwards.
        flags: Laid over what is built: runs may have devices that are not here.
    """

    def __init__(self, device: str | None, threads: int, flags: Sequence[str] = ()) -> None:
        self.device, self.threads, self.flags = device, threads, flags
        self.events: queue.Queue[Event] = queue.Queue()
        self.worker: Worker | None = None

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.kill()

    def ask(self, settings: Settings, flags: Sequence[str] = (), do: str = "check", **more: Any) -> dict[str, Any]:
        """Return the worker's answer; see `check` and `try_to_build` in `vitlab.study.worker`."""
        for _ in range(_STARTS):
            if self.worker is None:
                self.worker = Worker(self.events, self.threads, self.device)
            self.worker.send({"do": do, "settings": settings, "flags": list(flags), **more})
            event: dict[str, Any] = {}
            while event.get("event") not in ("checked", "gone"):
                _, event = self.events.get()
            if event["event"] == "checked":
                return event
            self.worker = None  # killed from outside, or it could not start: then again
        raise ValueError("the worker that checks settings ends before it begins: mend what it says above")


def check(jobs: Sequence[Job], folder: Path, checker: Checker, *, adopt: bool) -> None:
    """Check the jobs that are not done, and take on runs that were made by hand with the same settings.

    Args:
        jobs: Each behind the one that it needs.
        folder: The study's.
        checker: Is asked about one job of each kind, and of those that have begun none.
        adopt: Write job.json into the folders of runs that are taken on.

    Raises:
        ValueError: In one line, what is wrong with the study.
    """
    states = {job.key: state_after_return(job, folder) for job in jobs}
    checked = {_kind(job) for job in jobs if states[job.key] in ("done", "stopped")}
    with tempfile.TemporaryDirectory(prefix="vitlab-study-") as scratch:
        _check_new(jobs, states, checked, folder, checker, Path(scratch), adopt=adopt)


def _check_new(
    jobs: Sequence[Job], states: dict[str, State], checked: set[tuple[str, ...]], folder: Path, checker: Checker,
    scratch: Path, *, adopt: bool,
) -> None:  # fmt: skip
    """Check one job of each kind that is not checked, in a folder for untrained backbones."""
    by_key = {job.key: job for job in jobs}
    for job in jobs:
        state = states[job.key]
        if state in ("done", "stopped"):
            continue
        if _kind(job) not in checked:
            checked.add(_kind(job))
            _check(job, checker)
            _build(job, None if job.needs is None else by_key[job.needs], checker, scratch)
        if state == "new":
            continue
        if job.needs is None or states[job.needs] == "done":
            answer = checker.ask(job.settings)
            if "resolved" in answer and agrees(job, answer["resolved"]):
                states[job.key] = "done"
                if adopt:
                    with hold(job.folder):
                        write_record(job.folder, job.key, record_of(job))
                continue
        if state_of(job.folder, job.key) == "unknown":
            raise ValueError(foreign(job.folder))


def _flags(key: str, value: Any) -> list[str]:
    if isinstance(value, dict) and key.replace(".init_args", "") in _GROUPS and "class_path" not in value:
        return [flag for name, inner in value.items() for flag in _flags(f"{key}.{name}", inner)]
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}"]


def _kind(job: Job) -> tuple[str, ...]:
    """Return what jobs have in common that differ by seed and fold alone."""
    return job.chain, job.recipe, job.axes


def _stated(job: Job) -> list[str]:
    """Return what the study sets over the recipe, as flags: `fit` explains them best."""
    return [flag for key, value in job.stated for flag in _flags(key, value)]


def _check(job: Job, checker: Checker) -> None:
    answer = checker.ask(job.layer, _stated(job))
    if "error" in answer:
        raise ValueError(f"{job.recipe} of {job.chain}: {answer['error']}")
    if answer["pretraining"] == job.last:
        if job.last:
            raise ValueError(
                f"approaches.{job.chain} ends in {job.recipe}, a pretraining: end it in a recipe that trains on "
                "labels, e.g. [simclr_pretrain, cnn_simclr]"
            )
        raise ValueError(f"approaches.{job.chain}: {job.recipe} is no pretraining, and only the last may be none")
    if str(get(answer["resolved"], "trainer.devices")) not in ("1", "[0]"):
        raise ValueError(
            "trainer.devices must be 1: a study runs each job on one device and several side by side; see --workers"
        )
    if get(answer["resolved"], "trainer.fast_dev_run"):
        raise ValueError("trainer.fast_dev_run leaves no results: set trainer.max_epochs instead")


def _build(job: Job, needs: Job | None, checker: Checker, scratch: Path) -> None:
    """Build data, model and trainer of a job, on the backbone of the pretraining that it needs.

    Args:
        job: The job.
        needs: That pretraining; where it is not trained and was checked just now, its backbone is in `scratch`.
        checker: Is asked.
        scratch: Folder of untrained backbones.
    """
    weights = None
    if needs is not None:
        done = state_of(needs.folder, needs.key) == "done"
        trained, untrained = needs.folder / "backbone.safetensors", _untrained(needs, scratch)
        weights = "null" if not (done or untrained.exists()) else str(trained if done else untrained)
    answer = checker.ask(
        job.layer,
        [*_stated(job), *checker.flags],
        do="build",
        weights=weights,
        backbone=None if job.last else str(_untrained(job, scratch)),
    )
    if "error" in answer:
        error = str(answer["error"])
        if needs is not None:
            error = error.replace(str(_untrained(needs, scratch)), f"the backbone of {needs.recipe}")
        raise ValueError(f"{job.recipe} of {job.chain}: {error}")


def _untrained(job: Job, scratch: Path) -> Path:
    return scratch / f"{hash(_kind(job)):x}.safetensors"
