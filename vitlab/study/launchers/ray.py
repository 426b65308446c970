"""Workers as Ray actors, each with the CPUs and GPUs that a run needs; an actor keeps torch for one run after another.

An actor waits until a node has room for it. Ray does not retry: a node that dies is a worker that is gone, as on one
machine, and the scheduler gives the run to another, which goes on from its last epoch.
"""

import os
import queue
import socket
import threading
from pathlib import Path
from typing import Any

import ray

from vitlab.cores import cores
from vitlab.study.launchers.base import Event
from vitlab.study.workers import Worker

_ENDS = ("done", "failed", "in_use", "gone")
_GONE = {"event": "gone", "signal": 9, "code": -9, "how": "with its Ray actor or node"}


class RayLauncher:
    """Starts actors.

    Args:
        threads: CPUs of a run.
        gpus: GPUs of a run, or a part of one.
        address: Of a cluster; None starts one of this machine, which ends with the study.

    Raises:
        ValueError: There is no cluster at the address.
    """

    def __init__(self, *, threads: int, gpus: float, address: str | None) -> None:
        self.threads, self.gpus = threads, gpus
        here: dict[str, Any] = {} if address else {"num_cpus": cores(), "include_dashboard": False}
        try:
            if address and ":" in address and "://" not in address:  # Ray itself would try for minutes
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=10).close()
            # the driver's folder is not a node's: vitlab and relative paths are those of the study's machine
            paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]))
            own = {name: value for name, value in os.environ.items() if name.startswith(("VITLAB_", "OMP_", "THP_"))}
            ray.init(
                address=address, log_to_driver=False, logging_level="ERROR",
                runtime_env={"env_vars": {**own, "PYTHONPATH": paths}}, **here,
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"--ray_address {address}: no Ray cluster answers there ({said})") from None
        most = ray.cluster_resources()
        for what, wanted in (("CPU", threads), ("GPU", gpus)):
            if wanted > max((node["Resources"].get(what, 0) for node in ray.nodes() if node["Alive"]), default=0):
                ray.shutdown()
                raise ValueError(
                    f"no node of the Ray cluster has {wanted:g} {what}s for a run: it has {most.get(what, 0):g} in all"
                )

    def start(self, events: "queue.Queue[Event]", device: str | None) -> "RayWorker":
        """Ask for an actor."""
        return RayWorker(self, events, device)

    def close(self) -> None:
        """Leave the cluster, or end the one that was started."""
        ray.shutdown()


class RayWorker:
    """An actor, seen from the study.

    Args:
        launcher: Whose runs it takes.
        events: Where answers go.
        device: Not used, Ray gives GPUs to actors.
    """

    def __init__(self, launcher: RayLauncher, events: "queue.Queue[Event]", device: str | None) -> None:
        self.events, self.device = events, device
        make: Any = ray.remote(Agent)
        needs = {"num_cpus": launcher.threads, "num_gpus": launcher.gpus}
        self.actor: Any = make.options(**needs, max_restarts=0).remote(launcher.threads, os.getcwd())
        self._listen(self.actor.ready.remote())

    def send(self, order: dict[str, Any]) -> None:
        """Give it something to do."""
        self._listen(self.actor.run.remote(order))

    def close(self) -> None:
        """End it."""
        self.kill()

    def terminate(self) -> None:
        """End it: a worker that is asked to stop goes on from its last epoch too."""
        self.kill()

    def running(self) -> bool:
        """Say that there is nothing to wait for."""
        return False

    def kill(self) -> None:
        """End it now; its worker ends when it finds it gone."""
        ray.kill(self.actor)

    def _listen(self, answer: Any) -> None:
        threading.Thread(target=self._wait, args=(answer,), daemon=True).start()

    def _wait(self, answer: Any) -> None:
        try:
            event: dict[str, Any] = ray.get(answer)
        except Exception:  # of any kind: the actor or its node has died, or the study leaves the cluster
            event = _GONE
        self.events.put((self, event))
        if event["event"] == "gone":
            self.kill()


class Agent:
    """What an actor is on its node: a worker as on any machine.

    Args:
        threads: CPU threads.
        folder: Where the study was started: paths may be relative to it.
    """

    def __init__(self, threads: int, folder: str) -> None:
        os.chdir(folder)
        self.events: queue.Queue[Event] = queue.Queue()
        self.worker = Worker(self.events, threads, None)

    def ready(self) -> dict[str, Any]:
        """Return the event when orders can be given, or that the worker has ended."""
        return self._event("ready", "gone")

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the worker's answer."""
        self.worker.send(order)
        return self._event(*_ENDS)

    def _event(self, *kinds: str) -> dict[str, Any]:
        while True:
            _, event = self.events.get()
            if event["event"] in kinds:
                return event
