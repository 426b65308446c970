"""Runs and what they were scored on: images or patients, in an order that all runs of one split share.

Shapes: N units (images, or patients' classes), P patients, K classes, R runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitlab.evaluate.predictions import Predictions

Level = Literal["slice", "patient"]


@dataclass(frozen=True, eq=False)
class Scored:
    """What one run said of one split.

    Args:
        seed: of the run.
        fold: of the run; None where there is one split only.
        predictions: of one split, such as `predictions.where(predictions.split == "test")`.
    """

    seed: int
    fold: int | None
    predictions: Predictions


@dataclass(frozen=True, eq=False)
class Split:
    """The same images, scored by some of the runs: those of one fold.

    Args:
        runs: position of each run among those that were given.
        patients: (P,) sorted; an image without a patient is one of its own.
        main_label: (P,) the most frequent class of each patient's images.
        patient: (N,) position of each unit's patient.
        targets: (N,) class indices.
        probs: of each run, (N, K).
        index: (images,) row of each image in the manifest, sorted.
        unit: (images,) the unit that each image is in: itself, or its patient.
    """

    runs: list[int]
    patients: NDArray[np.object_]
    main_label: NDArray[np.int64]
    patient: NDArray[np.int64]
    targets: NDArray[np.int64]
    probs: list[NDArray[np.float64]] = field(repr=False)
    index: NDArray[np.int64]
    unit: NDArray[np.int64]

    def same_as(self, other: "Split") -> bool:
        """Say whether both are of the same images, patients and labels."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("index", "unit", "targets", "patients", "patient")
        )


def splits_of(runs: Sequence[Scored], level: Level) -> list[Split]:
    """Sort runs by the images that they were tested on.

    Images without a label are left out. At level "patient" a unit is a patient, with the mean of its images'
    probabilities; where a patient has images of several classes, a patient's class: (patient, label).

    Raises:
        ValueError: there is no run, no labelled image, or the runs do not have the same classes.
    """
    if not runs:
        raise ValueError("there are no runs to score")
    classes = runs[0].predictions.classes
    found: dict[tuple[int | None, bytes], Split] = {}
    for position, run in enumerate(runs):
        table = run.predictions
        if table.classes != classes:
            raise ValueError(f"runs of different classes: {', '.join(classes)} and {', '.join(table.classes)}")
        rows = np.argsort(table.index, kind="stable")
        rows = rows[table.targets[rows] >= 0]
        if not len(rows):
            raise ValueError(f"seed {run.seed}{_of(run.fold)}: no image has a label; only labelled ones can be scored")
        index, targets = table.index[rows], table.targets[rows]
        key = (run.fold, index.tobytes() + targets.tobytes())
        if key not in found:
            found[key] = _split(table.patient_id[rows], index, targets, len(classes), level)
        found[key].runs.append(position)
        found[key].probs.append(_means(np.asarray(table.probs[rows], np.float64), found[key].unit))
    return list(found.values())


def per_patient(predictions: Predictions) -> Predictions:
    """Average the probabilities of each patient's images.

    Args:
        predictions: of one split; an image without a patient stays as it is, one without a label is left out.

    Returns:
        A row per patient and label, with the index and the path of the first of its images.
    """
    known = predictions.where(predictions.targets >= 0)
    split = splits_of([Scored(0, None, known)], "patient")[0]
    _, first = np.unique(split.unit, return_index=True)
    chosen = known.where(np.argsort(known.index, kind="stable")[first])
    columns = {name: getattr(chosen, name) for name in ("label", "index", "split", "path", "patient_id")}
    return Predictions(classes=known.classes, probs=split.probs[0], **columns)


def shared_patients(scored: Mapping[str, Sequence[Scored]]) -> int | None:
    """Return the most patients of a run's test who are in its train or val too; None where no patient is known.

    Args:
        scored: split -> the runs, in the same order.
    """
    most: int | None = None
    for position, test in enumerate(scored.get("test", ())):
        own = set(test.predictions.patient_id.tolist()) - {""}
        for split in ("train", "val"):
            others = set(scored[split][position].predictions.patient_id.tolist()) if split in scored else set()
            if own and others - {""}:
                most = max(most or 0, len(own & others))
    return most


def by_group(runs: Sequence[Scored], groups: ArrayLike) -> dict[str, list[Scored]]:
    """Part runs by a column of the manifest, such as the hospital, the plane or the scanner.

    Args:
        runs: of one approach.
        groups: (rows of the manifest,) the column; "" is left out.

    Returns:
        Group -> the runs with only its images, in the order of the names. A run without images of the group is
        not among them.
    """
    column = np.array([str(value) for value in np.asarray(groups, object)], object)
    found: dict[str, list[Scored]] = {name: [] for name in sorted(set(column)) if name}
    for run in runs:
        own = column[run.predictions.index]
        for name in found:
            if (rows := own == name).any():
                found[name].append(Scored(run.seed, run.fold, run.predictions.where(rows)))
    return {name: members for name, members in found.items() if members}


def components(splits: Sequence[Split]) -> Iterator[list[Split]]:
    """Yield the splits that share patients, directly or through others, together.

    Folds by patient are each alone; random splits of slices are all one, and so are the training splits of folds.
    """
    pending = [(split, set(split.patients)) for split in splits]
    while pending:
        split, patients = pending.pop(0)
        together, grown = [split], True
        while grown:
            near = [item for item in pending if not patients.isdisjoint(item[1])]
            pending = [item for item in pending if patients.isdisjoint(item[1])]
            grown = bool(near)
            for other, more in near:
                together.append(other)
                patients |= more
        yield together


def _split(
    ids: NDArray[np.object_], index: NDArray[np.int64], targets: NDArray[np.int64], k: int, level: Level
) -> Split:
    keys = [name or f"\0{row}" for name, row in zip(ids.tolist(), index.tolist(), strict=True)]
    patients = np.array(sorted(set(keys)), object)
    place = {name: i for i, name in enumerate(patients)}
    patient = np.array([place[key] for key in keys], np.int64)
    counts = np.bincount(patient * k + targets, minlength=len(patients) * k).reshape(-1, k)
    unit = np.arange(len(index))
    if level == "patient":
        code, unit = np.unique(patient * k + targets, return_inverse=True)
        patient, targets = code // k, code % k
    return Split([], patients, counts.argmax(1), patient, targets, [], index, unit)


def _means(probs: NDArray[np.float64], unit: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average the images' probabilities over each unit: (images, K) -> (N, K)."""
    size = np.bincount(unit)
    if len(size) == len(unit):
        return probs
    return np.stack([np.bincount(unit, weights=column) for column in probs.T], axis=1) / size[:, None]


def _of(fold: int | None) -> str:
    return "" if fold is None else f" of fold {fold}"
