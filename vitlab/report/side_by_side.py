"""Rows of a table made side by side, each in a process of its own where this process can be forked."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Result = TypeVar("Result")


def side_by_side(function: Callable[..., Result], calls: Sequence[tuple[Any, ...]]) -> list[Result]:
    """Call a function several times, with what it gets and gives back pickled.

    Args:
        function: of a module, without effects.
        calls: the arguments of each call.

    Returns:
        What the calls return, in their order.

    Raises:
        Exception: what the first of the calls that fails raises.
    """
    workers = min(len(calls), len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1
    # A fork has none of the threads, and waits for ever for what they held: torch has some that Python does not see.
    if workers < 2 or threading.active_count() > 1 or "torch" in sys.modules:
        return [function(*arguments) for arguments in calls]
    # Ctrl-C is for the process that collects.
    settings: dict[str, Any] = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
    with ProcessPoolExecutor(workers, get_context("fork"), **settings) as pool:
        return list(pool.map(function, *zip(*calls, strict=True)))
