"""predictions.csv, a line an image, and volumes.csv, a line a volume, of what a model says of files.

Shapes: N images, K classes.
"""

import csv
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.data.manifest import Manifest
from vitlab.data.sources.volumes import split_member
from vitlab.spreadsheet import cell

UNLIKE = "unlike the training images"
IMAGE_FACTS = ("path", "slice", "volume", "patient_id")  # the first columns of each table
VOLUME_FACTS = ("volume", "patient_id", "slices", "slices_with_head")
SKIPPED = ("path", "reason")


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said of the images of a folder.

    Args:
        manifest: Of the N images, with the column volume.
        heads: (N,) whether a head is in the image.
        classes: K names.
        probs: (N, K).
        unlike: (N,) out-of-distribution score; None where there is none.
        threshold: Of that score, above which an image is warned of.
        saliency: (N,) picture of each, relative to the table; None where there are none.
    """

    manifest: Manifest
    heads: NDArray[np.bool_]
    classes: list[str]
    probs: NDArray[np.float64]
    unlike: NDArray[np.float64] | None
    threshold: float = np.inf
    saliency: list[str] | None = None


def write_images(answers: Answers, path: Path) -> None:
    """Write a line an image."""
    names = _names(answers, *IMAGE_FACTS)
    table = answers.manifest
    rows = []
    for row in range(len(table)):
        volume = table.column("volume")[row]
        facts = [table.path[row], split_member(table.path[row])[1] if volume else "", volume, table.patient_id[row]]
        warned = answers.unlike is not None and answers.unlike[row] > answers.threshold
        unlike = None if answers.unlike is None else answers.unlike[row]
        shown = [] if answers.saliency is None else [answers.saliency[row]]
        rows.append([*facts, *_said(answers, answers.probs[row], unlike, warned), *shown])
    _write(path, [names + ([] if answers.saliency is None else ["saliency"]), *rows])


def write_volumes(answers: Answers, path: Path) -> None:
    """Write a line a volume: the mean over its slices with a head in them, over all where none has.

    It is warned of where more than half of those slices are.
    """
    names = _names(answers, *VOLUME_FACTS)
    volume = answers.manifest.column("volume")
    rows = []
    for name in dict.fromkeys(volume[volume != ""]):
        inside = np.flatnonzero(volume == name)
        heads = answers.heads[inside]
        used = inside[heads] if heads.any() else inside
        unlike = None if answers.unlike is None else answers.unlike[used]
        warned = unlike is not None and (unlike > answers.threshold).mean() > 0.5
        facts = [name, answers.manifest.patient_id[inside[0]], len(inside), int(heads.sum())]
        mean = None if unlike is None else float(unlike.mean())
        rows.append([*facts, *_said(answers, answers.probs[used].mean(0), mean, bool(warned))])
    _write(path, [names, *rows])


def write_skipped(failures: Iterable[tuple[str, str]], path: Path) -> None:
    """Write a line for each image that cannot be read, and why."""
    _write(path, [SKIPPED, *failures])


def columns_of(path: Path) -> list[str]:
    """Return the names in the first row of a table, none where it is not there or no table."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):
        return next(csv.reader(file), [])
    return []


def _names(answers: Answers, *facts: str) -> list[str]:
    return [*facts, *(f"prob_{name}" for name in answers.classes), "predicted", "ood_score", "warning"]


def _said(answers: Answers, probs: NDArray[np.float64], unlike: float | None, warned: bool) -> list[Any]:
    score = "" if unlike is None else f"{unlike:.4f}"
    return [*(f"{p:.6f}" for p in probs), answers.classes[int(probs.argmax())], score, UNLIKE if warned else ""]


def _write(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in rows:
            csv.writer(file, lineterminator="\n").writerow([cell(value) for value in row])
