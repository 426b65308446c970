"""How alike maps stay as a model loses what it learned, image by image: sanity.csv, and a few of the maps to look at.

Shapes: N images, S stages, H, W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitlab.atomic import replacing_all
from vitlab.explain.runs.loaded import Loaded
from vitlab.explain.saliency.maps import Method, methods_for, saliency_maps
from vitlab.explain.sanity.findings import OTHER_IMAGE, OTHER_SEED, SHUFFLED
from vitlab.explain.sanity.similarity import cascade, similarity
from vitlab.explain.scores.measured import IMAGE, RUN, StudyRun, chosen_rows, image_facts, write_rows

SANITY = "sanity.csv"
COLUMNS = (*RUN, "method", "stage", "number", *IMAGE, "ssim", "rank")
PATIENTS = 48  # one image each: a likeness hardly varies between images
DRAWN = 2  # images whose maps are kept


class Example(NamedTuple):
    """Maps of a few images as a model loses what it learned.

    Attributes:
        approach: Whose.
        seed: Of the run.
        fold: Of the run.
        method: Of the maps.
        rows: Of the images in the manifest, (N,).
        stages: What each map is of, (S,); the first is the trained model.
        maps: (S, N, H, W).
    """

    approach: str
    seed: int
    fold: int | None
    method: Method
    rows: NDArray[np.int64]
    stages: list[str]
    maps: NDArray[np.float32]


def measure_sanity(
    runs: Mapping[str, Sequence[StudyRun]],
    shuffled: Mapping[str, StudyRun],
    out: Path,
    *,
    methods: Sequence[str],
    patients: int = PATIENTS,
    seed: int = 0,
    tell: Callable[[str], None],
) -> list[Example]:
    """Compare the maps of the first run of each seed with those of models that know less, and write sanity.csv.

    Four things are compared with a run's own maps of a class that it predicts: maps of the same network, its weights
    drawn anew from the head downwards; of a run trained on shuffled labels, where there is one; of another seed, which
    is as much likeness as there can be; and the run's maps of other images, which is what chance gives.

    Args:
        runs: Approach -> its runs, by fold and seed.
        shuffled: Approach -> a run of it that was trained on shuffled labels, on the same images.
        out: Folder of the table.
        methods: Of `saliency.maps`; those that a network does not allow are passed over.
        patients: At most; one image of each.
        seed: Of the weights that are drawn, and of the choice of images.
        tell: Told of each run.

    Returns:
        Maps of a few images, of the first run of each approach and each method.
    """
    lines: list[tuple[Any, ...]] = []
    examples: list[Example] = []
    for approach, members in runs.items():
        firsts = list({run.seed: run for run in reversed(members)}.values())[::-1]
        for at, one in enumerate(firsts):
            run = one.load()
            rows = chosen_rows(run, run.rows("test"), 1, patients, seed, masked=True)
            if len(rows) < 2:
                continue
            allowed = [method for method in methods_for(run) if method in methods]
            tell(f"{run.folder}: {len(rows)} images with weights drawn anew, {', '.join(allowed) or 'no method'}")
            # Another seed was tested on the same images where its fold is the same.
            twin = next((other for other in members if (other.fold, other.seed != one.seed) == (one.fold, True)), None)
            others = [(OTHER_SEED, twin), (SHUFFLED, shuffled.get(approach))]
            loaded = [(stage, other.load()) for stage, other in others if other is not None]
            name = (approach, one.seed, "" if one.fold is None else one.fold)
            targets, facts = run.probabilities(run.images(rows)).argmax(1), image_facts(run, rows)
            for method in allowed:
                stages, maps = _maps(run, rows, method, targets, loaded, seed)
                for number, (stage, own) in enumerate(zip(stages[1:], maps[1:], strict=True)):
                    likeness = similarity(maps[0], own)
                    each = zip(facts, likeness.ssim, likeness.rank, strict=True)
                    lines += [
                        (*name, method, stage, number, *fact, f"{ssim:.6g}", f"{rank:.6g}") for fact, ssim, rank in each
                    ]
                if at == 0:
                    kept = [place for place, stage in enumerate(stages) if stage != OTHER_IMAGE]
                    examples.append(Example(approach, one.seed, one.fold, method, rows[:DRAWN],
                                            [stages[place] for place in kept], maps[kept, :DRAWN]))  # fmt: skip
    with replacing_all(out, (SANITY,), "--out") as (path,):
        write_rows(path, COLUMNS, lines)
    return examples


def _maps(
    run: Loaded,
    rows: NDArray[np.int64],
    method: Method,
    targets: NDArray[np.int64],
    others: Sequence[tuple[str, Loaded]],
    seed: int,
) -> tuple[list[str], NDArray[np.float32]]:
    """Return what there is to compare (S,), and its maps (S, N, H, W); the first is the run itself."""
    explain = partial(saliency_maps, rows=rows, method=method, targets=targets)
    seen: list[NDArray[np.float32]] = []

    def kept(model: Loaded) -> NDArray[np.float32]:
        seen.append(explain(model))
        return seen[-1]

    stages = ["trained", *cascade(run, kept, seed=seed).stages]
    for stage, other in others:
        stages.append(stage)
        kept(other)
    stages.append(OTHER_IMAGE)
    seen.append(np.roll(seen[0], 1, axis=0))
    return stages, np.stack(seen)
