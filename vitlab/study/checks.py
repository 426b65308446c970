"""Checks before anything runs: every setting parses, chains end in a classifier, runs made by hand are taken on."""

import json
import queue
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vitlab.lock import hold
from vitlab.study.folders import agrees, foreign, record_of, state_after_return, state_of, write_record
from vitlab.study.plan import Job
from vitlab.study.settings import get
from vitlab.study.workers import Event, Worker


class Checker:
    """Asks a worker, which is started when there is a first question, what `fit` would make of settings."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.worker: Worker | None = None

    def __enter__(self) -> "Checker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker is not None:
            self.worker.kill()

    def ask(self, job: Job, flags: Sequence[str]) -> dict[str, Any]:
        """Return the worker's answer; see `vitlab.study.worker.check`."""
        if self.worker is None:
            self.worker = Worker(self.events, 1, None)
        self.worker.send({"do": "check", "settings": job.settings, "flags": list(flags)})
        while True:
            _, event = self.events.get()
            if event["event"] == "gone":
                raise RuntimeError("a worker of the study ended before it began: what it says stands above")
            if event["event"] == "checked":
                return event


def check(jobs: Iterable[Job], folder: Path, *, adopt: bool) -> None:
    """Check the jobs that are not done, and take on runs that were made by hand with the same settings.

    Args:
        jobs: Each behind the one that it needs.
        folder: The study's.
        adopt: Write job.json into the folders of runs that are taken on.

    Raises:
        ValueError: In one line, what is wrong with the study.
    """
    done: set[str] = set()
    checked: set[str] = set()
    with Checker() as checker:
        for job in jobs:
            state = state_after_return(job, folder)
            if state == "done":
                done.add(job.key)
                continue
            kind = json.dumps([job.recipe, job.chain if job.last else "", job.axes, job.last])
            if kind not in checked:
                checked.add(kind)
                _check(job, checker)
            if state not in ("other", "unknown"):
                continue
            if job.needs is None or job.needs in done:
                answer = checker.ask(job, [])
                if "resolved" in answer and agrees(job, answer["resolved"]):
                    done.add(job.key)
                    if adopt:
                        with hold(job.folder):
                            write_record(job.folder, job.key, record_of(job))
                    continue
            if state_of(job.folder, job.key) == "unknown":
                raise ValueError(foreign(job.folder))


def _check(job: Job, checker: Checker) -> None:
    flags = [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in job.stated
        if not key.startswith("data.") or job.last  # said once
    ]
    answer = checker.ask(job, flags)
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
