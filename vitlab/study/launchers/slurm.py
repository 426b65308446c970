"""Workers as SLURM jobs, submitted by submitit: one job a run, those that can start together as one array.

One job a run rather than one a worker that takes run after run: a job then asks for what one run needs and no longer,
no node waits while a pretraining is under way elsewhere, a requeued job is the same run, and the queue shows the
study. It costs a start of Python and torch a run.

The jobs do not need the study: it may end or be killed, and one that is started again finds its jobs by their tickets
in the study's folder, which all nodes see.
"""

import os
import queue
import shlex
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitlab.study.launchers.base import Event
from vitlab.study.launchers.slurm_job import SlurmJob
from vitlab.study.launchers.ticket import Ticket

FOLDER = ".slurm"  # below the study's folder; compare and tensorboard's readers pass folders with a dot by
_POLL = 0.5  # seconds between looks at the answers; orders that come within it are one array
_LOOK = 10  # polls between questions to SLURM, which asks not to be asked often
_MISSES = 2  # looks at which a job was not in the queue, until it counts as gone
_ARRAY = 1000  # jobs of an array: SLURM's MaxArraySize is 1001 where nobody has changed it, and it refuses a larger one
_SIGNAL = "SUBMITIT_PREEMPT_SIGNAL"  # that SLURM sends before a job's time is up; submitit's own is USR2
_TIMEOUTS = 1000  # how often a job may be requeued for its time: submitit's 3 are few where --slurm_time is short
_ENDED = {
    "CANCELLED",
    "BOOT_FAIL",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}  # squeue(1), JOB STATE CODES


class SlurmLauncher:
    """Submits jobs and hears of them.

    Args:
        study: Name of the study.
        folder: Of the study.
        threads: CPUs of a run.
        gpus: GPUs of a run.
        minutes: A job's time limit, after which it is requeued.
        partition: Where it is submitted; None for the cluster's default.
        setup: Shell lines that the job begins with.
        options: Further options of sbatch, by name.
        parallel: How many run at once.

    Raises:
        ValueError: SLURM would not take such a job, in its words.
    """

    def __init__(
        self, study: str, folder: Path, *, threads: int, gpus: int, minutes: int, partition: str | None,
        setup: Sequence[str], options: dict[str, str], parallel: int,
    ) -> None:  # fmt: skip
        self.name, self.threads, self.parallel = f"vitlab-{study}", threads, parallel
        self.folder = folder.absolute() / FOLDER
        here = shlex.quote(str(Path(__file__).parents[3]))
        self.setup = [f"export PYTHONPATH={here}:$PYTHONPATH", f"export {_SIGNAL}=USR1", *setup]
        asked = {"cpus-per-task": threads, "time": minutes, "partition": partition, "gpus-per-node": gpus or None}
        self.options = {name: value for name, value in {**asked, **options}.items() if value is not None}
        self._orders: queue.Queue[tuple[SlurmWorker, dict[str, Any]]] = queue.Queue()
        self._waiting: dict[Ticket, SlurmWorker] = {}
        self._missing: dict[Ticket, int] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        for variable in [each for each in os.environ if each.startswith("SLURM_") and each != "SLURM_CONF"]:
            del os.environ[variable]  # of the job that the study itself may be: its jobs would take them for theirs
        self._try_out()

    def start(self, events: "queue.Queue[Event]", device: str | None) -> "SlurmWorker":
        """Return a place in the queue, which is ready at once."""
        if self._thread is None:
            for ticket in [ticket for ticket in Ticket.all(self.folder) if ticket.answer]:
                ticket.withdraw()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        worker = SlurmWorker(self, events, device)
        events.put((worker, {"event": "ready"}))
        return worker

    def close(self) -> None:
        """Stop watching, and say what goes on by itself."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        if self._waiting:
            print(
                f"{len(self._waiting)} runs go on in SLURM: the same command comes back to them, and "
                f"scancel --name={self.name} ends them", flush=True
            )  # fmt: skip

    def order(self, worker: "SlurmWorker", order: dict[str, Any]) -> None:
        """Take an order, to be submitted with others."""
        self._orders.put((worker, order))

    def _try_out(self) -> None:
        flags = [f"--{name}={value}" for name, value in self.options.items()]
        done = _call("sbatch", "--test-only", *flags, "--wrap=true")
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ValueError(f"SLURM does not take the runs ({' '.join(flags)}): {said}")

    # In the thread.

    def _watch(self) -> None:
        polls = 0
        while not self._closed.wait(_POLL):
            polls += 1
            try:
                self._poll(look=polls % _LOOK == 0)
            except Exception as error:  # of any kind: were the thread to die, the study would wait for ever
                for ticket in list(self._waiting):
                    self._tell(ticket, {"event": "failed", "error": f"its SLURM job was lost sight of: {error!r}"})

    def _poll(self, *, look: bool) -> None:
        self._take_orders()
        for ticket in list(self._waiting):
            if answer := ticket.answer:
                self._tell(ticket, answer)
        if look and self._waiting and (states := self._states()) is not None:
            self._look_for_lost(states)

    def _take_orders(self) -> None:
        new: list[Ticket] = []
        while not self._orders.empty():
            worker, order = self._orders.get()
            try:
                ticket = self._in_queue(order)
                if ticket is None:
                    ticket = Ticket.write(self.folder, order)
                    new.append(ticket)
            except Exception as error:  # of any kind, e.g. a quota is full
                worker.events.put((worker, {"event": "failed", "error": f"no SLURM job was made of it: {error}"}))
                continue
            self._waiting[ticket] = worker
        for start in range(0, len(new), _ARRAY):
            some = new[start : start + _ARRAY]
            try:
                for ticket, job in zip(some, self._submit(some), strict=True):
                    ticket.submitted(job)
            except Exception as error:  # of any kind: submitit passes on what sbatch says
                said = " ".join(str(getattr(error, "stderr", "") or error).split())
                for ticket in some:
                    self._tell(ticket, {"event": "failed", "error": f"sbatch: {said}"})
                    ticket.withdraw()

    def _in_queue(self, order: dict[str, Any]) -> Ticket | None:
        """Return the ticket by which a run is in the queue already, and end jobs of other settings for its folder."""
        for ticket in Ticket.all(self.folder):
            known = ticket.order
            if known is None or not self._same_run(known, order) or ticket.answer or ticket in self._waiting:
                continue
            job = ticket.job
            if job and (known["key"], known["measure"]) == (order["key"], order["measure"]):
                states = self._states()
                if states is None or states.get(job, "gone") not in {*_ENDED, "gone"}:
                    return ticket
            elif job:
                _call("scancel", job)
            ticket.withdraw()
        return None

    def _same_run(self, known: dict[str, Any], order: dict[str, Any]) -> bool:
        """Say whether two orders are of one run, in whatever way the study's --root was written."""
        own = Path(os.path.abspath(order["folder"])).relative_to(self.folder.parent).parts
        return Path(known["folder"]).parts[-len(own) - 1 :] == (self.folder.parent.name, *own)

    def _submit(self, tickets: Sequence[Ticket]) -> list[str]:
        """Submit jobs, as one array where there are several, and return their ids."""
        os.environ[_SIGNAL] = "USR1"  # read when it is imported, here and by the job
        from submitit import SlurmExecutor

        executor = SlurmExecutor(self.folder / "jobs", max_num_timeout=_TIMEOUTS)
        more = {name: value for name, value in self.options.items() if name not in ("time", "cpus-per-task")}
        executor.update_parameters(
            job_name=self.name,
            time=self.options["time"],
            cpus_per_task=self.options["cpus-per-task"],
            setup=self.setup,
            stderr_to_stdout=True,
            array_parallelism=self.parallel,
            srun_args=[f"--cpus-per-task={self.threads}"],  # from SLURM 22.05 on it is not the job's by default
            additional_parameters={"requeue": True, **more},
        )
        with executor.batch():  # the jobs have no id before its end
            jobs = [executor.submit(SlurmJob(ticket.folder, self.threads)) for ticket in tickets]
        return [job.job_id for job in jobs]

    def _states(self) -> dict[str, str] | None:
        """Return the state of each job of this study that SLURM knows; None where it does not answer."""
        done = _call("squeue", "--noheader", "--array", "--states=all", f"--name={self.name}", "--format=%i %T")
        lines = (line.split() for line in done.stdout.splitlines())
        return None if done.returncode else {words[0]: words[1] for words in lines if len(words) > 1}

    def _look_for_lost(self, states: dict[str, str]) -> None:
        """Tell of jobs that have ended without an answer."""
        for ticket in list(self._waiting):
            job = ticket.job or "unknown"
            state = states.get(job, "not known any more")
            if job in states and state not in _ENDED:
                self._missing.pop(ticket, None)
                continue
            self._missing[ticket] = self._missing.get(ticket, 0) + 1
            if self._missing[ticket] < _MISSES or ticket.answer:  # a job that is being requeued is between two states
                continue
            how = f"in SLURM job {job} ({state}); its log is in {self.folder / 'jobs'}"
            if state == "CANCELLED":
                self._tell(ticket, {"event": "failed", "error": f"its SLURM job {job} was cancelled"})
            elif state == "OUT_OF_MEMORY":
                more = "give more, e.g. --slurm_options mem=32G"
                self._tell(ticket, {"event": "failed", "error": f"its SLURM job {job} ran out of memory: {more}"})
            else:
                self._tell(ticket, {"event": "gone", "signal": 9, "code": -9, "how": how})
            ticket.withdraw()

    def _tell(self, ticket: Ticket, event: dict[str, Any]) -> None:
        worker = self._waiting.pop(ticket)
        self._missing.pop(ticket, None)
        worker.events.put((worker, event))


class SlurmWorker:
    """A place in the queue: one run at a time, by a job each.

    Args:
        launcher: Who submits.
        events: Where answers go.
        device: Not used, SLURM gives GPUs to jobs.
    """

    def __init__(self, launcher: SlurmLauncher, events: "queue.Queue[Event]", device: str | None) -> None:
        self.launcher, self.events, self.device = launcher, events, device

    def send(self, order: dict[str, Any]) -> None:
        """Submit a run, or come back to its job."""
        self.launcher.order(self, order)

    def close(self) -> None:
        """Nothing is under way."""

    def terminate(self) -> None:
        """Leave the job to go on."""

    def running(self) -> bool:
        """Say that there is nothing to wait for."""
        return False

    def kill(self) -> None:
        """Leave the job to go on."""


def _call(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of SLURM; one that is not there or hangs has failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def available() -> bool:
    """Say whether SLURM's commands are here."""
    return all(map(shutil.which, ("sbatch", "srun", "squeue", "scancel")))
