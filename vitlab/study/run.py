"""Runs the jobs of a plan on workers: what unlocks most first, each once, whatever dies on the way."""

import queue
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from vitlab.evaluate.results import read_results
from vitlab.study.costs import Costs, in_words
from vitlab.study.folders import LOG, last_checkpoint, record_of, state_of
from vitlab.study.launchers.base import Event, Launcher, StudyWorker
from vitlab.study.measure import to_measure
from vitlab.study.order import in_order, unlocks
from vitlab.study.plan import Job
from vitlab.study.workers import FROM_OUTSIDE

_DEATHS = 3  # of one job without an epoch between them: something about the job kills, e.g. too little memory
_POLL = 1.0  # seconds between looks at a job that another study is at
_GRACE = 20.0  # seconds for a worker to end its batch when it is asked to stop
Status = Literal["todo", "running", "done", "failed", "skipped"]


@dataclass
class Progress:
    """How far a job is in this session."""

    job: Job
    status: Status = "todo"
    measure: Sequence[str] = ()  # it is trained, and this is asked of it yet
    tries: int = 0
    deaths: int = 0
    epoch: float | None = None  # time of the last checkpoint when a worker took the job
    started: float = 0.0
    not_before: float = 0.0


class Runner:
    """Gives jobs to workers until none is left.

    Args:
        jobs: In an order in which each stands behind the one that it needs.
        folder: The study's.
        costs: What jobs take.
        retries: How often a job that failed is tried again.
        launcher: Makes the workers.
        devices: One entry a worker: the GPU that it sees, or None.
        max_seconds: Stop after this time; None never.
        first: A worker that has started already, with the first device, and whose events come by `events`.
        events: What workers say.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        folder: Path,
        costs: Costs,
        *,
        retries: int,
        launcher: Launcher,
        devices: Sequence[str | None],
        max_seconds: float | None = None,
        first: StudyWorker | None,
        events: "queue.Queue[Event]",
    ) -> None:
        self.folder, self.costs, self.retries = folder, costs, retries
        self.launcher, self.devices = launcher, devices
        self.all = {job.key: Progress(job) for job in jobs}
        self.unlocks = unlocks(jobs)
        self.deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self.events = events
        self.workers: dict[StudyWorker, Progress | None] = {first: None} if first else {}  # the job that it is at
        self.ready: set[StudyWorker] = {first} if first else set()
        self.failed_starts = 0
        for progress in self.all.values():
            if state_of(progress.job.folder, progress.job.key) == "done":
                progress.measure = to_measure(progress.job)
                progress.status = "todo" if progress.measure else "done"
        for progress in self.all.values():  # its backbone may have been deleted since: nobody needs it any more
            users = self._users(progress.job)
            if not progress.job.last and users and all(user.status == "done" or user.measure for user in users):
                progress.status = "done"
        self.bar: tqdm[Any] = tqdm(disable=True)  # from `run` on

    def count(self, *statuses: Status) -> int:
        """Return how many jobs are done, failed, ..."""
        return sum(progress.status in statuses for progress in self.all.values())

    def run(self) -> bool:
        """Run until no job is left, or time is up.

        Returns:
            Whether time was up first.
        """
        self.bar = tqdm(
            total=len(self.all), initial=self.count("done"), leave=False, disable=not sys.stderr.isatty(),
            dynamic_ncols=True, bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} runs, {elapsed}{postfix}",
        )  # fmt: skip
        try:
            while self.count("todo", "running"):
                if self.deadline is not None and time.monotonic() > self.deadline:
                    return True
                self._assign()
                try:
                    worker, event = self.events.get(timeout=_POLL)
                except queue.Empty:
                    self._show_time_left()
                    continue
                self._handle(worker, event)
            return False
        finally:
            self.stop()
            self.bar.close()

    def stop(self) -> None:
        """End the workers; a run that is under way stops at its last epoch."""
        for worker in self.workers:
            worker.close() if self.workers[worker] is None else worker.terminate()
        deadline = time.monotonic() + _GRACE
        try:
            while any(worker.running() for worker in self.workers) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:  # also when Ctrl-C comes again
            for worker in self.workers:
                worker.kill()
            self.workers.clear()

    # Giving out.

    def _assign(self) -> None:
        now = time.monotonic()
        open_jobs = [p for p in self.all.values() if p.status == "todo" and (p.measure or self._can_start(p.job))]
        waiting = [p for p in open_jobs if p.not_before <= now]
        first = in_order([p.job for p in waiting], self.costs, self.unlocks)
        waiting = [self.all[job.key] for job in first]
        for worker in [worker for worker in self.workers if worker in self.ready and self.workers[worker] is None]:
            if waiting:
                self._give(worker, waiting.pop(0))
        wanted = min(len(self.devices), self.count("todo", "running"))
        while len(self.workers) < wanted:
            used = [worker.device for worker in self.workers]
            free = list(self.devices)
            for device in used:
                free.remove(device)
            self.workers[self.launcher.start(self.events, free[0])] = None

    def _give(self, worker: StudyWorker, progress: Progress) -> None:
        job = progress.job
        progress.status, progress.started, progress.epoch = "running", time.monotonic(), _time_of(job.folder)
        self.workers[worker] = progress
        worker.send(
            {
                "do": "run",
                "folder": str(job.folder),
                "study": str(self.folder),
                "key": job.key,
                "record": record_of(job),
                "settings": job.settings,
                "weights": str(job.weights) if job.weights else None,
                "measure": list(progress.measure),
            }
        )

    def _can_start(self, job: Job) -> bool:
        return job.needs is None or self.all[job.needs].status == "done"

    def _users(self, job: Job) -> list[Progress]:
        direct = [progress for progress in self.all.values() if progress.job.needs == job.key]
        return direct + [user for progress in direct for user in self._users(progress.job)]

    # Taking back.

    def _handle(self, worker: StudyWorker, event: dict[str, Any]) -> None:
        kind, progress = event["event"], self.workers.get(worker)
        if kind == "ready":
            self.ready.add(worker)
            self.failed_starts = 0
        elif kind == "gone":
            self._gone(worker, progress, event)
        elif progress is not None and kind in ("done", "failed", "in_use"):
            self.workers[worker] = None
            if kind == "done":
                self._done(progress, event)
            elif kind == "in_use":  # another study is at it: look again, its result is ours
                if not progress.not_before:
                    self._say(f"{progress.job.name} waits: another process is at it")
                progress.status, progress.not_before = "todo", time.monotonic() + _POLL
            else:
                self._failed(progress, event["error"])

    def _gone(self, worker: StudyWorker, progress: Progress | None, event: dict[str, Any]) -> None:
        self.workers.pop(worker, None)
        if worker not in self.ready:
            self.failed_starts += 1
            if self.failed_starts > _DEATHS:
                raise ValueError("the workers of the study end before they begin: mend what they say above")
        self.ready.discard(worker)
        if progress is None:
            return
        how = f"by signal {event['signal']}" if event["signal"] else f"with exit code {event['code']}"
        how = event.get("how", how)
        if event["signal"] not in FROM_OUTSIDE:
            self._failed(progress, f"its process ended {how}")
            return
        progress.deaths = 1 if _time_of(progress.job.folder) != progress.epoch else progress.deaths + 1
        if progress.deaths >= _DEATHS:
            self._failed(progress, f"its process was ended {how} {_DEATHS} times before an epoch was done (memory?)")
            return
        progress.status = "todo"
        self._say(f"{progress.job.name}: its process was ended {how}; it goes on from its last epoch")

    def _done(self, progress: Progress, event: dict[str, Any]) -> None:
        job, seconds = progress.job, float(event["seconds"])
        progress.status = "done"
        self.bar.update()
        if progress.measure:
            what = " and ".join(key.removeprefix("run.") for key in progress.measure)
            self._say(f"{self._place()} {job.name}  {what} measured  {in_words(seconds)}")
            return
        if event["found"]:
            self._say(f"{self._place()} {job.name}  done by another process")
            return
        if not progress.deaths:
            self.costs.add(job, seconds)
        left = self._time_left()
        about = f"   about {in_words(left)} left" if left and left > 1 else ""
        self._say(f"{self._place()} {job.name}  {reached(job.folder)}  {in_words(seconds)}{about}")
        self._show_time_left()

    def _failed(self, progress: Progress, error: str) -> None:
        job = progress.job
        if progress.tries < self.retries:
            progress.tries, progress.status = progress.tries + 1, "todo"
            self._say(f"{job.name} failed, try {progress.tries} of {self.retries} follows: {error}")
            return
        progress.status = "failed"
        self.bar.update()
        self._say(f"{self._place()} {job.name} failed: {error}; log: {job.folder / LOG}")
        for user in self._users(job):
            if user.status == "todo":
                user.status = "skipped"
                self.bar.update()
                self._say(f"{self._place()} {user.job.name} skipped: it needs {job.name}, which failed")

    # Showing.

    def _place(self) -> str:
        total = len(self.all)
        return f"[{self.count('done', 'failed', 'skipped'):>{len(str(total))}}/{total}]"

    def _say(self, text: str) -> None:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def _time_left(self) -> float | None:
        """Return seconds, None where a kind of job has not run yet."""
        now, total, longest = time.monotonic(), 0.0, 0.0
        for progress in self.all.values():
            if progress.status in ("todo", "running") and not progress.measure:
                seconds = self.costs.seconds(progress.job)
                if seconds is None:
                    return None
                left = max(0.0, seconds - (now - progress.started)) if progress.status == "running" else seconds
                total, longest = total + left, max(longest, left)
        return max(longest, total / len(self.devices))

    def _show_time_left(self) -> None:
        if not self.bar.disable:
            left = self._time_left()
            running = ", ".join(progress.job.name for progress in self.workers.values() if progress)
            about = f", about {in_words(left)} left" if left and left > 1 else ""
            at = running or "workers start" * bool(self.count("todo"))
            self.bar.set_postfix_str(": ".join(part for part in (about.removeprefix(", "), at) if part))


def reached(folder: Path) -> str:
    """Return the figure of a finished run for its line."""
    results = read_results(folder) or {}
    test = (results.get("metrics") or {}).get("test") or {}
    for name, of in (("test balanced accuracy", test.get("balanced_accuracy")),
                     ("val linear probe", (results.get("probe") or {}).get("linear_accuracy"))):  # fmt: skip
        if of is not None:
            return f"{name} " + f"{of:.3f}".removeprefix("0")
    return "finished"


def _time_of(folder: Path) -> float | None:
    try:
        return last_checkpoint(folder).stat().st_mtime
    except FileNotFoundError:
        return None
