"""Python's garbage collector looks at half a million objects of the libraries again and again; it need not."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Let nothing be collected while libraries are imported, and what they brought never be looked at again.

    An import makes objects that stay. Looking for dead ones took 1.8 of 10 CPU seconds of the start of `fit`
    (docs/performance.md). See `gc.freeze` in https://docs.python.org/3/library/gc.html.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # once a process: what a run has left is to be collected
            gc.freeze()
        if was_on:
            gc.enable()
