"""A run in the queue of a cluster, as files that the study and the run's node both see, each whole or not there.

    order.json    what is to be run; the study writes it before it submits, and takes it away where nobody is to run it
    job           the scheduler's id, written by the study once it is submitted
    started.json  who is at it, written by the node each time that it begins
    answer.json   the worker's answer, written by the node

The study may be killed between any two of them: a job whose order is gone ends as soon as it begins. A file that
cannot be read now, as happens on a shared file system, is looked at again like one that is not there yet.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitlab.atomic import write_text


@dataclass(frozen=True)
class Ticket:
    """One run in the queue.

    Args:
        folder: Of its files.
    """

    folder: Path

    @classmethod
    def write(cls, below: Path, order: dict[str, Any]) -> "Ticket":
        """Make a ticket for an order.

        Args:
            below: Folder of all tickets.
            order: For `vitlab.study.worker`.
        """
        ticket = cls(below / f"{order['key'][:8]}-{uuid.uuid4().hex[:8]}")
        ticket.folder.mkdir(parents=True)
        write_text(ticket.folder / "order.json", json.dumps(order, default=str))
        return ticket

    @classmethod
    def all(cls, below: Path) -> "Iterator[Ticket]":
        """Yield the tickets of a folder."""
        for path in sorted(below.glob("*/order.json")):
            yield cls(path.parent)

    @property
    def order(self) -> dict[str, Any] | None:
        """What is to be run; None where it was taken away."""
        return self._read("order.json")

    @property
    def answer(self) -> dict[str, Any] | None:
        """What came of it, None so far."""
        return self._read("answer.json")

    @property
    def job(self) -> str | None:
        """The scheduler's id, from who submitted it or from the node; None where neither has come to write it."""
        try:
            return (self.folder / "job").read_text(encoding="utf-8")
        except OSError:
            return (self._read("started.json") or {}).get("job")

    def submitted(self, job: str) -> None:
        """Note the scheduler's id."""
        self._write("job", job)

    def begin(self, **who: Any) -> dict[str, Any] | None:
        """Say who is at it from now on, and return the order; None where nobody is to run it, or it has been run."""
        self._write("started.json", json.dumps(who))
        return None if self.answer else self.order

    def end(self, answer: dict[str, Any]) -> None:
        """Write the answer."""
        self._write("answer.json", json.dumps(answer))

    def withdraw(self) -> None:
        """Take it away: a job that begins with it ends at once."""
        with suppress(OSError):
            (self.folder / "order.json").unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        try:
            write_text(self.folder / name, text)
        except FileNotFoundError:  # withdrawn
            pass

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found
