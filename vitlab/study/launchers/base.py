"""What the scheduler of a study needs of a worker, and of who makes workers. All else is one code for all of them."""

import queue
from typing import Any, Protocol

Event = tuple["StudyWorker", dict[str, Any]]


class StudyWorker(Protocol):
    """Runs one job after another, wherever it is.

    It says by the queue of events: {"event": "ready"} once; for each order the answer of `vitlab.study.worker`; and
    {"event": "gone", "signal": int, "code": int, "how": str, may be left out} when it has ended.
    """

    device: str | None

    def send(self, order: dict[str, Any]) -> None:
        """Give it something to do; one that has just died says so by its event."""

    def close(self) -> None:
        """Let it end, it has nothing to do."""

    def terminate(self) -> None:
        """Ask it to stop, or leave it to go on by itself where it can."""

    def running(self) -> bool:
        """Say whether it has to be waited for after `close` or `terminate`."""
        ...

    def kill(self) -> None:
        """End it now, if it ends with the study."""


class Launcher(Protocol):
    """Makes workers."""

    def start(self, events: "queue.Queue[Event]", device: str | None) -> StudyWorker:
        """Return a new worker at once; it says "ready" when it can be given orders.

        Args:
            events: Where its answers go.
            device: The GPU of this machine that it sees, None where that is not for the study to say.
        """
        ...

    def close(self) -> None:
        """Let go of what the launcher holds; the workers have been ended before."""
