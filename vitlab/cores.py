"""How many cores this process may use, and how many threads it was told to."""

import os


def cores() -> int:
    """Return the number of cores that the process may run on: a job on a cluster has some of its node's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stated_threads() -> int | None:
    """Return $OMP_NUM_THREADS, of a list the first; None where it states no number of threads."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) or None if first.isascii() and first.isdigit() else None
