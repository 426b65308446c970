"""robustness.csv: how many of each patient's images a run gets right, whole and corrupted.

Shapes: N images, U units (a patient's images of one class), C corruptions, S severities with 0 (as they are) the first,
B resamples.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.atomic import replacing
from vitlab.csv_text import row_writer
from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.scored import Scored, splits_of

FILE = "robustness.csv"
COLUMNS = ("corruption", "severity", "metric", "value", "patient_id", "index", "label", "images")
Metric = Literal["accuracy", "balanced_accuracy"]
METRICS: tuple[Metric, ...] = ("balanced_accuracy", "accuracy")
UNIT = "correct"  # "metric" of the rows that count a patient's correct images, at severities 0, 1, 2, ...


@dataclass(frozen=True, eq=False)
class Robustness:
    """How many images a run got right, by patient and class.

    Args:
        corruptions: C names.
        patient_id: (U,) "" where there is none; the image is then a unit of its own.
        index: (U,) row in the manifest of the first of the unit's images.
        label: (U,) class names.
        images: (U,) their number.
        correct: (C, S, U) images that were right.
    """

    corruptions: tuple[str, ...]
    patient_id: NDArray[np.object_]
    index: NDArray[np.int64]
    label: NDArray[np.object_]
    images: NDArray[np.int64]
    correct: NDArray[np.int64]

    def score(self, metric: Metric, weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Score every corruption and severity.

        Args:
            metric: accuracy, or the mean over the classes that are there.
            weights: (B, U) of resampled units; each once where there are none.

        Returns:
            (C, S), or (B, C, S) of weighted units.
        """
        w = np.ones((1, len(self.images))) if weights is None else np.asarray(weights, np.float64)
        names = np.unique(self.label) if metric == "balanced_accuracy" else [None]
        shares = []
        for name in names:
            own = np.ones(len(self.label), bool) if name is None else self.label == name
            right = np.einsum("csu,bu->bcs", self.correct[..., own], w[:, own], optimize=True)
            total = (w[:, own] @ self.images[own])[:, None, None]
            shares.append(np.where(total > 0, right, np.nan) / np.where(total > 0, total, 1))
        with np.errstate(invalid="ignore"):
            found = np.nanmean(shares, axis=0) if len(shares) > 1 else shares[0]
        return found if weights is not None else found[0]


def count(test: Predictions, predicted: Mapping[str, NDArray[np.int64]]) -> Robustness:
    """Count a run's correct images.

    Args:
        test: Of the labelled test images; the probabilities play no part.
        predicted: Corruption -> (S, N) class indices, severity 0 first, images in the order of `test`.
    """
    split = splits_of([Scored(0, None, test)], "patient")[0]
    order = np.argsort(test.index, kind="stable")
    units, first = np.unique(split.unit, return_index=True)
    right = np.stack([table[:, order] == test.targets[order] for table in predicted.values()])
    # By row: one product would take a table of images x units, the square of the test set.
    sums = [np.bincount(split.unit, row, len(units)) for row in right.reshape(-1, len(order))]
    correct = np.array(sums, np.int64).reshape(*right.shape[:2], len(units))
    chosen = test.where(order[first])
    images = np.bincount(split.unit)
    return Robustness(tuple(predicted), chosen.patient_id, chosen.index, chosen.label, images, correct)


def write_robustness(path: Path, found: Robustness) -> None:
    """Write robustness.csv so that a reader sees all of it or none.

    One row per corruption, severity (0 to 5) and metric, with its value over all images; then one row per corruption,
    patient and class with no severity, metric "correct" and as value the correct images at severities 0 to 5.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = row_writer(file)
        writer.writerow(COLUMNS)
        scores = {metric: found.score(metric) for metric in METRICS}
        for c, name in enumerate(found.corruptions):
            for severity in range(found.correct.shape[1]):
                for metric in METRICS:
                    value = f"{scores[metric][c, severity]:.9g}"
                    writer.writerow([name, severity, metric, value, "", "", "", int(found.images.sum())])
        units = [found.patient_id.tolist(), found.index.tolist(), found.label.tolist(), found.images.tolist()]
        for c, name in enumerate(found.corruptions):
            cells = [" ".join(map(str, counts)) for counts in found.correct[c].T.tolist()]
            writer.writerows([name, "", UNIT, cell, *unit] for cell, *unit in zip(cells, *units, strict=True))


def read_robustness(path: Path) -> Robustness:
    """Read the counts of a robustness.csv.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: In one line, when it is not what `write_robustness` writes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: train with --run.robustness=true, or run `test` with it on the checkpoint")
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == UNIT]
        names = tuple(dict.fromkeys(row["corruption"] for row in rows))
        tables = [[row for row in rows if row["corruption"] == name] for name in names]
        units = [[(row["patient_id"], row["index"], row["label"], row["images"]) for row in one] for one in tables]
        if not rows or any(one != units[0] for one in units):
            raise ValueError("there are no counts of patients, or not the same ones for every corruption")
        correct = np.array([[[int(n) for n in row["value"].split()] for row in one] for one in tables], np.int64)
        patient, index, label, images = zip(*units[0], strict=True)
        found = Robustness(
            names, np.array(patient, object), np.array(index, np.int64), np.array(label, object),
            np.array(images, np.int64), correct.transpose(0, 2, 1),
        )  # fmt: skip
        if (found.images < 1).any() or (found.correct < 0).any() or (found.correct > found.images).any():
            raise ValueError("a patient has more correct images than images")
        return found
    except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path} is no {FILE} ({error}): run `test --run.robustness=true` again") from None
