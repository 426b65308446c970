"""What a study asks of a finished run beside its figures, and is not there yet: it is measured, and nothing is trained.

Asked for by settings `run.robustness` and `run.features`, which change no figure and so make no new run.
"""

from typing import Final

from vitlab.evaluate import corrupted, projection
from vitlab.study.folders import best_checkpoint, state_of
from vitlab.study.plan import Job
from vitlab.study.settings import get

FILES: Final = {"run.robustness": corrupted.FILE, "run.features": projection.FILE}


def to_measure(job: Job) -> list[str]:
    """Return the settings, e.g. run.robustness, whose file a finished run lacks; it needs its best checkpoint."""
    if state_of(job.folder, job.key) != "done" or not best_checkpoint(job.folder).exists():
        return []
    return [key for key, file in FILES.items() if get(job.settings, key) and not (job.folder / file).exists()]
