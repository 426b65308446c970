"""What a reported accuracy is worth: on the images that training has shown, and on those that it has not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.intervals import mean_recall_interval
from vitlab.audit.copies.pairs import Pairs
from vitlab.audit.images import Images
from vitlab.audit.leaks import seen_in_training
from vitlab.audit.run import Run, TrainedOn
from vitlab.data.manifest import SPLITS


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
        name: Of the run.
        split: Of the run.
        trained_on: Whose training split it was judged by.
        all: All labelled images, as the run reports it.
        seen: Those whose pixels equal those of a training image.
        near: Not seen, but a near copy or another slice of the same scan is in training.
        unseen: Those whose pixels are not in training, each picture once.
        new: Those that are neither seen nor near, each picture once: what the accuracy is worth.
    """

    name: str
    split: str
    trained_on: TrainedOn
    all: Score
    seen: Score | None
    near: Score | None
    unseen: Score | None
    new: Score | None


def worth(run: Run, *, images: Images, pairs: Pairs, groups: NDArray[np.int64]) -> list[Worth]:
    """Take a run's accuracy apart, for every split but train.

    What training has shown is taken from the splits of the run, which need not be those of the audit: a run cuts its
    own validation images from a published training split, or has another fold.

    Args:
        run: What it predicted.
        images: All images.
        pairs: All pairs.
        groups: Patients or copy groups, (N,).
    """
    predictions, rows = run.predictions, run.rows
    seen = seen_in_training(images, pairs, run.split)
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
            found.append(Worth(run.name, part, run.trained_on, everything, *parts))
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
