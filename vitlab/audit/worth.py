"""What a reported accuracy is worth: on the images that training has shown, and on those that it has not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.intervals import mean_recall_interval
from vitlab.audit.copies.pairs import Pairs
from vitlab.audit.images import Images
from vitlab.audit.leaks import seen_in_training
from vitlab.data.manifest import SPLITS
from vitlab.evaluate.predictions import read_predictions


@dataclass(frozen=True)
class Score:
    """An accuracy with its 95 % interval over groups.

    Attributes:
        accuracy: Share of images, or of pictures, that were classified rightly.
        low: Low end of the interval; None below 10 groups.
        high: High end.
        n: Images, or pictures.
        n_groups: Groups that they come from.
    """

    accuracy: float
    low: float | None
    high: float | None
    n: int
    n_groups: int


@dataclass(frozen=True)
class Worth:
    """The accuracy of a run on one split, in parts; a part without images is None.

    Attributes:
        split: Of the run.
        all: All labelled images, as the run reports it.
        seen: Those whose pixels equal those of a training image.
        near: Not seen, but a near copy or another slice of the same scan is in training.
        unseen: Those whose pixels are not in training, each picture once.
        new: Those that are neither seen nor near, each picture once: what the accuracy is worth.
    """

    split: str
    all: Score
    seen: Score | None
    near: Score | None
    unseen: Score | None
    new: Score | None


def worth(
    file: Path, *, paths: NDArray[Any], images: Images, pairs: Pairs, groups: NDArray[np.int64]
) -> list[Worth]:
    """Take a run's accuracy apart, for every split but train.

    What training has shown is taken from the splits of the run, which need not be those of the audit: a run cuts its
    own validation images from a published training split, or has another fold.

    Args:
        file: predictions.csv of the run.
        paths: Path of each image of the manifest, (N,).
        images: All images.
        pairs: All pairs.
        groups: Patients or copy groups, (N,).

    Raises:
        ValueError: The file is missing, no predictions.csv, or of other images.
    """
    try:
        predictions = read_predictions(file)
    except OSError as error:
        raise ValueError(str(error)) from None
    place = {path: row for row, path in enumerate(paths.tolist())}
    if strange := [path for path in predictions.path if path not in place]:
        raise ValueError(
            f"{file} is of other images: {len(strange)} of its {len(predictions)} paths are not in the manifest, first "
            f"{strange[0]!r}; give the predictions of a run on this data set"
        )
    rows = np.array([place[path] for path in predictions.path], np.int64)
    if len(np.unique(rows)) < len(rows):
        raise ValueError(f"{file} has a path more than once: each image has one row")
    split = np.full(len(paths), "", object)
    split[rows] = predictions.split
    if not (split == "train").any():
        raise ValueError(f"{file} has no training images: without them nothing is known of what the run has seen")
    seen = seen_in_training(images, pairs, split)
    correct = predictions.probs.argmax(1) == predictions.targets
    identical, near, picture, of = seen.identical[rows], seen.near[rows], seen.picture[rows], groups[rows]

    def score(kept: NDArray[np.bool_], once: bool = False) -> Score | None:
        return _score(correct[kept], picture[kept] if once else None, of[kept])

    found = []
    for part in SPLITS[1:]:
        chosen = (predictions.split == part) & (predictions.targets >= 0)
        if (everything := score(chosen)) is not None:
            unseen = chosen & ~identical
            parts = score(chosen & identical), score(chosen & near), score(unseen, True), score(unseen & ~near, True)
            found.append(Worth(part, everything, *parts))
    return found


def _score(
    correct: NDArray[np.bool_], picture: NDArray[np.int64] | None, groups: NDArray[np.int64]
) -> Score | None:
    """Return the accuracy; where pictures are given, the copies of one share its weight, whatever their labels."""
    if not len(correct):
        return None
    weights = np.ones(len(correct))
    if picture is not None:
        _, code, count = np.unique(picture, return_inverse=True, return_counts=True)
        weights = 1 / count[code]
    n = round(weights.sum())
    accuracy = float((correct * weights).sum() / n)
    low, high = mean_recall_interval(correct, np.zeros(len(correct), np.int64), groups, weights) or (None, None)
    return Score(accuracy, low, high, n, len(np.unique(groups)))
