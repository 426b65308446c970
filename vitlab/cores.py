"""How many cores this process may use."""

import os


def cores() -> int:
    """Return the number of cores that the process may run on: a job on a cluster has some of its node's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
