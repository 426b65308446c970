"""What jobs will cost, by the runs already done."""

import argparse
import re
import statistics
from collections.abc import Iterable
from pathlib import Path

from vitlab.report.runs import find_runs, read_run
from vitlab.study.plan import Job

# approach -> seconds an image, and (approach, images) -> seconds
Rates = dict[str, float]


class Costs:
    """Seconds of a job: its images times the seconds an image that finished runs of its approach took.

    Args:
        root: Folder of all runs. The study's own runs count; where an approach has none there, those of other studies
            on the same data set.
        study: The study's folder.
        jobs: Of the study.
    """

    def __init__(self, root: Path, study: Path, jobs: Iterable[Job]) -> None:
        self._own: dict[str, list[float]] = {}
        self._elsewhere: dict[str, list[float]] = {}
        self._images: dict[str, float] = {}
        datasets = {job.dataset for job in jobs}
        for folder in find_runs([root])[0] if root.is_dir() else ():
            try:
                run = read_run(folder)
            except ValueError:
                continue  # compare names it
            if run.dataset in datasets:
                known = self._own if study in folder.parents else self._elsewhere
                seconds, images = (
                    (run.cost[name] or 0) - (run.cost[f"pretrain_{name}"] or 0) for name in ("seconds", "images_seen")
                )
                if seconds > 0 and images > 0:
                    known.setdefault(run.approach, []).append(seconds / images)

    def add(self, job: Job, seconds: float) -> None:
        """Learn from a job that has just finished, start and tests included."""
        if job.images_to_see:
            self._own.setdefault(job.approach, []).append(seconds / job.images_to_see)

    def seconds(self, job: Job) -> float | None:
        """Return what a job will take, None where no run of its approach has finished."""
        known = self._own.get(job.approach) or self._elsewhere.get(job.approach)
        if not known or not job.images_to_see:
            return None
        return statistics.median(known) * job.images_to_see


def in_words(seconds: float) -> str:
    """Return a time as 41 s, 12 min or 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def in_seconds(text: str) -> float:
    """Return the seconds of a time on the command line, such as 90m, 1h30m or 45s."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text)
    if not text or found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90m, 1h30m or 45s")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds
