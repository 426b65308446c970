"""The order in which jobs are run."""

from collections.abc import Iterable, Sequence

from vitlab.study.costs import Costs
from vitlab.study.plan import Job


def unlocks(jobs: Iterable[Job]) -> dict[str, int]:
    """Return how many jobs wait for each, directly or not, by its key."""
    jobs = list(jobs)
    found = dict.fromkeys((job.key for job in jobs), 0)
    above = {job.key: job.needs for job in jobs}
    for key in above:
        needed = above[key]
        while needed is not None:
            found[needed] += 1
            needed = above[needed]
    return found


def in_order(jobs: Sequence[Job], costs: Costs, waiting: dict[str, int] | None = None) -> list[Job]:
    """Return jobs in the order of running: what unlocks most first, then the longest, and unknown ones before those.

    Args:
        jobs: Some jobs of a study.
        costs: What they take.
        waiting: How many wait for each, where `jobs` are not all.
    """
    waiting = unlocks(jobs) if waiting is None else waiting
    return sorted(jobs, key=lambda job: (-waiting[job.key], -(costs.seconds(job) or float("inf"))))
