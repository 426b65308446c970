"""Rows and tests of a table made side by side, each in a process of its own where this process can be forked."""

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from vitlab.cores import cores

Result = TypeVar("Result")


def side_by_side(function: Callable[..., Result], calls: Sequence[tuple[Any, ...]]) -> list[Result]:
    """Call a function several times; what it gives back is pickled.

    Ctrl-C, and whatever else ends this early, ends the processes too.

    Args:
        function: without effects.
        calls: the arguments of each call.

    Returns:
        What the calls return, in their order.

    Raises:
        Exception: what the first of the calls that fails raises.
        ChildProcessError: a process was killed, as for want of memory.
    """
    workers = min(len(calls), cores()) if sys.platform == "linux" else 1
    # A fork has none of the threads, and waits for ever for what they held: torch has some that Python does not see.
    if workers < 2 or threading.active_count() > 1 or "torch" in sys.modules:
        return [function(*arguments) for arguments in calls]
    context = get_context("fork")
    pipes: list[Connection] = []
    processes = []
    try:
        # Ctrl-C is for the process that collects: those that are started meanwhile never see it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(workers):
                ours, theirs = context.Pipe()
                pipes.append(ours)
                process = context.Process(target=_work, args=(function, calls, theirs, pipes), daemon=True)
                process.start()
                processes.append(process)
                theirs.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return _collect(pipes, len(calls))
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def _collect(pipes: Sequence[Connection], count: int) -> list[Any]:
    """Give each process the next call when it is done with its last one, and put what comes back in order."""
    found: dict[int, Any] = {}
    failed: dict[int, tuple[Exception, str]] = {}
    pending = iter(range(count))
    busy = dict(zip(pipes, pending, strict=False))
    for pipe, number in busy.items():
        pipe.send(number)
    while busy:
        ready = wait(list(busy))
        for pipe in [pipe for pipe in busy if pipe in ready]:
            number = busy.pop(pipe)
            try:
                found[number], failure = pipe.recv()
            except (EOFError, ConnectionResetError):
                raise ChildProcessError("a process that made rows was killed: is there enough memory?") from None
            if failure is not None:
                failed[number] = failure
            # Calls start in their order: behind one that failed only those that have started may come first.
            if not failed and (following := next(pending, None)) is not None:
                busy[pipe] = following
                pipe.send(following)
    if failed:
        error, where = failed[min(failed)]
        raise error from RuntimeError(where)  # as a traceback is not pickled
    return [found[number] for number in range(count)]


def _work(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], pipe: Connection, others: Sequence[Connection]
) -> None:
    """Make the calls whose numbers come through the pipe, until nobody is there to send any."""
    for other in others:
        other.close()
    with suppress(EOFError, BrokenPipeError):
        while True:
            number = pipe.recv()
            answer: tuple[Any, tuple[Exception, str] | None]
            try:
                answer = function(*calls[number]), None
            except Exception as error:
                answer = None, (error, traceback.format_exc())
            pipe.send(answer)
