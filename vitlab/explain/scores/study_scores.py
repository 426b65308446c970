"""All that is measured of a study's runs: scores of saliency, sanity, regions, what features tell; and their tables."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from vitlab.explain.features.ood_findings import ood_findings
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.runs.study_runs import StudyRuns, has_weights
from vitlab.explain.saliency.maps import METHODS, Method
from vitlab.explain.sanity.measured import Example, measure_sanity
from vitlab.explain.scores.faithfulness import insertion_deletion
from vitlab.explain.scores.measured import StudyRun, measure
from vitlab.explain.scores.tables import write_tables
from vitlab.report.runs import Run

Depth = Literal["none", "quick", "full"]
QUICK: tuple[Method, ...] = ("gradcam", "gradcam++", "rollout", "gradient_attention")  # one pass an image
IMAGES = 3  # of a patient, at most: more of them differ little


def score_study(
    study: StudyRuns, out: Path, *, depth: Depth, patients: int, seed: int, device: str, tell: Callable[[str], None]
) -> list[Example]:
    """Measure the runs that have their weights, and write saliency.csv, ..., explain.json and explain.md.

    Args:
        study: The runs.
        out: Folder of the tables.
        depth: "quick" takes the methods that need one pass; "full" integrated gradients and occlusion as well, and
            insertion and deletion curves, which is tens to hundreds of passes an image. "none" measures nothing.
        patients: Of the test set, at most.
        seed: Of all that is drawn.
        device: Where the models run.
        tell: Told of what is done.

    Returns:
        Maps of a few images as the models lose what they learned; nothing for "none".
    """
    if depth == "none":
        return []
    methods = METHODS if depth == "full" else QUICK

    def one(name: str, run: Run) -> StudyRun:
        return StudyRun(name, run.seed, run.fold, partial(load_run, run.folder, device))

    weighted = {name: [run for run in members if has_weights(run)] for name, members in study.runs.items()}
    weighted = {name: members for name, members in weighted.items() if members}
    runs = {name: [one(name, run) for run in members] for name, members in weighted.items()}
    faithfulness = insertion_deletion if depth == "full" else None
    measure([run for members in runs.values() for run in members], out, methods=methods, images_per_patient=IMAGES,
            patients=patients, faithfulness=faithfulness, seed=seed, tell=tell)  # fmt: skip
    dealt = {name: one(name, run) for name, run in study.shuffled.items()}
    examples = measure_sanity(runs, dealt, out, methods=methods, seed=seed, tell=tell)
    warned = ood_findings({name: members[0] for name, members in runs.items()}, seed=seed, tell=tell)
    write_tables(out, [run.folder for members in weighted.values() for run in members], [warned], seed=seed)
    return examples
