"""Progress of the audit's stages: a bar on a terminal, one plain line elsewhere."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_BLOCK = 16  # rows a task


def stage(items: Iterable[T], total: int, name: str) -> Iterator[T]:
    """Yield the items of a stage, counted on a terminal, else announced in one line.

    Args:
        items: What the stage goes through.
        total: How many there are.
        name: Of the stage, shown to the user.
    """
    if not sys.stderr.isatty():
        print(f"{name} ({total})", file=sys.stderr, flush=True)
        yield from items
        return
    with tqdm(items, total=total, desc=name, leave=False) as bar:
        yield from bar


def announce(name: str) -> None:
    """Say that a stage without a count begins."""
    print(name, file=sys.stderr, flush=True)


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[int], None], total: int, name: str) -> None:
    """Call work(row) for each row below total, in threads; decoders and numpy work outside the interpreter's lock.

    Args:
        work: What to do for a row.
        total: Number of rows.
        name: Of the stage, shown to the user.
    """

    def block(start: int) -> None:
        for row in range(start, min(start + _BLOCK, total)):
            work(row)

    starts = range(0, total, _BLOCK)
    with ThreadPoolExecutor(cores()) as pool:
        for _ in stage(pool.map(block, starts), len(starts), name):
            pass
