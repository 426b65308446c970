"""Worker processes: how many, on which devices, and how they are started, heard and stopped."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from vitlab.study.launchers.base import Event

# From outside, not the run's own doing: the terminal, the system's memory, an operator.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def gpus() -> list[str]:
    """Return the CUDA devices by number or id, without importing torch."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return [device for device in stated.split(",") if device.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU ")]


class Worker:
    """One process that runs jobs; see `vitlab.study.worker`.

    Args:
        events: Where its answers go, and {"event": "gone", "signal": int, "code": int} when it has ended.
        threads: CPU threads that it computes with.
        device: The GPU that it sees; None for all, or for the CPU.
    """

    def __init__(self, events: "queue.Queue[Event]", threads: int, device: str | None) -> None:
        self.device, self.threads, self.alive = device, threads, True
        # In an allocation of SLURM Lightning would take the worker for one of the allocation's tasks, and requeue it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        for library in ("OMP", "OPENBLAS", "MKL"):
            environment[f"{library}_NUM_THREADS"] = str(threads)
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        here = str(Path(__file__).parents[2])  # the vitlab that was started, from wherever
        paths = [here, *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vitlab.study"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the study alone, which stops its workers
        )
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def _listen(self, events: "queue.Queue[Event]") -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # a line that a library has printed when it was imported
                answer = json.loads(line)
                if isinstance(answer, dict) and "event" in answer:
                    events.put((self, answer))
        code = self.process.wait()
        events.put((self, {"event": "gone", "signal": max(0, -code), "code": code}))

    def send(self, order: dict[str, Any]) -> None:
        """Give it something to do; one that has just died says so by its event."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order, default=str) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def close(self) -> None:
        """Let it end; a run that is under way stops at its last epoch."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def terminate(self) -> None:
        """Ask it to stop after the batch that it is at."""
        if self.process.poll() is None:
            self.process.terminate()

    def running(self) -> bool:
        """Say whether the process is there."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it now."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
