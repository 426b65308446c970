"""Workers as processes of this machine, which end with the study."""

import queue

from vitlab.study.launchers.base import Event
from vitlab.study.workers import Worker


class LocalLauncher:
    """Starts processes.

    Args:
        threads: CPU threads of each.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def start(self, events: "queue.Queue[Event]", device: str | None) -> Worker:
        """Start a process."""
        return Worker(events, self.threads, device)

    def close(self) -> None:
        """Hold nothing."""
