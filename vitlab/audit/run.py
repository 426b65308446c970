"""Runs whose accuracy is to be judged: their predictions, read and checked before any image is."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.data.manifest import Manifest
from vitlab.evaluate.predictions import Predictions, read_predictions

FILE = "predictions.csv"
TrainedOn = Literal["run", "audit"]


@dataclass(frozen=True)
class Run:
    """The predictions of a run on the images of a manifest.

    Attributes:
        file: predictions.csv.
        name: Of the run, as its folders say: data set, approach and seed.
        predictions: Of M images.
        rows: Row of each prediction in the manifest, (M,).
        split: What each image of the manifest was to the run, "" where it took no part, (N,).
        trained_on: Whose training split that is: the run's, or the audit's where the file has no training images.
    """

    file: Path
    name: str
    predictions: Predictions
    rows: NDArray[np.int64]
    split: NDArray[Any]
    trained_on: TrainedOn


def read_runs(files: Sequence[Path], manifest: Manifest) -> list[Run]:
    """Read predictions and check that they are of this data set.

    Args:
        files: predictions.csv of each run, or its folder.
        manifest: With the splits that are audited.

    Raises:
        ValueError: A file is missing, no predictions.csv, of other images or classes, or has nothing to judge.
    """
    runs = [_read(file / FILE if file.is_dir() else file, manifest) for file in files]
    names = [run.name for run in runs]
    return [replace(run, name=str(run.file)) if names.count(run.name) > 1 else run for run in runs]


def _read(file: Path, manifest: Manifest) -> Run:
    if not file.is_file():
        where = f"there is no {file}"
        if file.name == FILE and file.parent.is_dir():
            where = f"the folder {file.parent} has no {FILE}"
        raise ValueError(f"{where} for --predictions: give the {FILE} of a finished run, or its folder")
    try:
        predictions = read_predictions(file)
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror or error}") from None
    place = {path: row for row, path in enumerate(manifest.path.tolist())}
    if strange := [path for path in predictions.path if path not in place]:
        raise ValueError(
            f"{file} is of other images: {len(strange)} of its {len(predictions)} paths are not in the manifest, first "
            f"{strange[0]!r}; give the predictions of a run on this data set"
        )
    rows = np.array([place[path] for path in predictions.path], np.int64)
    if len(np.unique(rows)) < len(rows):
        raise ValueError(f"{file} has a path more than once: each image has one row")
    _check_labels(file, predictions, manifest, rows)
    if not (np.isin(predictions.split, ("val", "test")) & (predictions.targets >= 0)).any():
        raise ValueError(f"{file} has no validation or test images with a label: there is no accuracy to judge")
    split, trained_on = _splits(file, predictions, manifest, rows)
    return Run(file, _name(file), predictions, rows, split, trained_on)


def _check_labels(file: Path, predictions: Predictions, manifest: Manifest, rows: NDArray[np.int64]) -> None:
    known = manifest.classes
    if known and (strange := [name for name in predictions.classes if name not in known]):
        raise ValueError(
            f"{file} is of other classes: {strange[0]!r} is none of the data set's {', '.join(map(repr, known[:8]))}"
        )
    ours = manifest.label[rows]
    if differ := int(((ours != "") & (predictions.label != "") & (ours != predictions.label)).sum()):
        warnings.warn(f"{differ:,} labels in {file} are not the manifest's: its accuracy counts by its own",
                      stacklevel=2)  # fmt: skip


def _splits(
    file: Path, predictions: Predictions, manifest: Manifest, rows: NDArray[np.int64]
) -> tuple[NDArray[Any], TrainedOn]:
    """Return what each image was to the run, and whose training split that is."""
    split = np.full(len(manifest), "", object)
    if not (predictions.split == "train").any():
        split[manifest.split == "train"] = "train"
        if overlap := int(((split[rows] == "train") & (predictions.split == "test")).sum()):
            raise ValueError(
                f"{file} has no training images, and {overlap:,} of its test images are training images of this audit: "
                "the run had other splits, audit those, e.g. by --data.fold"
            )
        split[rows] = predictions.split  # the run cut its validation images from the training split
        if not (split == "train").any():
            raise ValueError(
                f"neither {file} nor the data set has training images: without them nothing is known of what the run "
                "has seen"
            )
        return split, "audit"
    split[rows] = predictions.split
    return split, "run"


def _name(file: Path) -> str:
    """Return the last three folders, wherever the command was given: predictions.csv alone says nothing."""
    whole = file.absolute()
    parts = (whole.parent if whole.name == FILE else whole).parts[1:]
    return "/".join(parts[-3:]) or str(file)
