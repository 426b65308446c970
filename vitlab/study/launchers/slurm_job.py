"""What a SLURM job of a study does on its node: one run, by a worker as on any machine.

SLURM ends a job early in three ways. Before its time is up it sends SIGUSR1 (`--signal`), upon which submitit calls
`checkpoint` and requeues the job. When it preempts one it sends SIGTERM and requeues it by itself. When the node dies
it sends nothing and requeues it too. The requeued job goes on from the run's last epoch each time: last.ckpt is written
whole after each, and the lock of a run folder is not held by the dead.
"""

import os
import platform
import queue
import signal
import threading
import time
from pathlib import Path
from typing import Any

from vitlab.study.launchers.base import Event
from vitlab.study.launchers.ticket import Ticket
from vitlab.study.workers import Worker

_ENDS = ("done", "failed", "in_use", "gone")
_IN_USE = 5.0, 120.0  # seconds between tries at a run folder that is held, and until the study is told
_TO_STOP = 20.0  # seconds for the batch and the way out; SLURM's KillWait is 30 s by default


class SlurmJob:
    """Called by submitit, which stores it with pickle and calls `checkpoint` on SIGUSR1.

    Args:
        ticket: Folder of the order.
        threads: CPU threads.
    """

    def __init__(self, ticket: Path, threads: int) -> None:
        self.ticket, self.threads = Ticket(ticket), threads
        self._worker: Worker | None = None
        self._stopping = False

    def __call__(self) -> None:
        """Run the order, and leave the answer; leave none where the job is to be requeued or was cancelled."""
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self._stop).start())
        order = self.ticket.begin(job=_own_id(), host=platform.node(), pid=os.getpid())
        if order is None:
            return
        events: queue.Queue[Event] = queue.Queue()
        self._worker = Worker(events, self.threads, None)
        answer, deadline = _ask(self._worker, events, order), time.monotonic() + _IN_USE[1]
        while answer["event"] == "in_use" and not self._stopping and time.monotonic() < deadline:
            time.sleep(_IN_USE[0])  # by the job before this one, whose node SLURM has lost sight of
            if self.ticket.answer:
                return self._worker.kill()
            answer = _ask(self._worker, events, order)
        if answer["event"] == "done" or not self._stopping:
            self.ticket.end(answer)
        self._worker.kill()

    def checkpoint(self) -> Any:
        """Stop at the last epoch, and return what the requeued job is to do."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        return DelayedSubmission(SlurmJob(self.ticket.folder, self.threads))

    def _stop(self) -> None:
        self._stopping = True
        deadline = time.monotonic() + _TO_STOP
        if self._worker is not None:
            self._worker.terminate()
            while self._worker.running() and time.monotonic() < deadline:
                time.sleep(0.05)
            self._worker.kill()


def _ask(worker: Worker, events: "queue.Queue[Event]", order: dict[str, Any]) -> dict[str, Any]:
    worker.send(order)
    while True:
        _, event = events.get()
        if event["event"] in _ENDS:
            return event


def _own_id() -> str:
    """Return the id as submitit and squeue write it: of an element of an array, the array's and its number."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
