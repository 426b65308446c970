"""What predictions score that have nothing to do with the labels: the control of models trained on shuffled labels.

Shapes: M shuffles, U exchanged units (images or patients), K classes, N images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vitlab.evaluate.bootstrap import ENDS
from vitlab.evaluate.metrics import compute_metrics, confusion_metrics
from vitlab.evaluate.scored import Scored, Split, components, splits_of

CHUNK = 32  # shuffles at a time: bounds the memory of (M, U, K)


@dataclass(frozen=True)
class Chance:
    """The interval of chance, and who is in it.

    Args:
        low: lower end of what holds the scores of all approaches together in 95 % of the shuffles.
        high: upper end.
        scores: approach -> its score, mean over runs.
        exchanged: what the labels were dealt among.
        n_patients: different patients; images without one count as one each.
        n_images: different images.
    """

    low: float
    high: float
    scores: Mapping[str, float]
    exchanged: Literal["images", "patients"]
    n_patients: int
    n_images: int

    def place(self, name: str) -> Literal["within", "above", "below"]:
        """Say where an approach is; sums in another order may differ by rounding."""
        score = self.scores[name]
        return "above" if score > self.high + 1e-9 else "below" if score < self.low - 1e-9 else "within"


def chance(
    runs_by_name: Mapping[str, Sequence[Scored]],
    *,
    metric: str = "balanced_accuracy",
    shuffles: int = 2000,
    seed: int = 0,
) -> Chance:
    """Say what the runs' predictions would score if the labels were dealt again, as they were dealt.

    `data.shuffle_labels` deals the labels of a split among its images; then so are they here. Where every patient has
    images of one class only, labels belong to patients, and they are dealt among these: a model that takes patients
    apart has fewer tries than there are images. Predictions stay as they are, so that images predicted alike, those
    of a patient above all, are taken as such. All approaches that were tested on the same images get the same labels.

    One interval for all: its lower end is undercut by the lowest of them, and its upper end passed by the highest, in
    2.5 % of the shuffles each. Of one interval each, four approaches at chance would have one outside in every sixth
    study. In 2,000 simulated tests of 42 patients with 1 to 40 images each it held all four in 94.7 % (labels dealt
    among images) and 95.1 % (among patients), and in 96.7 % where patients of one class have more images.

    Args:
        runs_by_name: approach -> its runs on one split.
        metric: of the confusion matrix, per image.
        shuffles: M.
        seed: of the shuffles.

    Raises:
        ValueError: as `scored.splits_of`.
    """
    names, runs = list(runs_by_name), [run for own in runs_by_name.values() for run in own]
    row_of = np.repeat(np.arange(len(names)), [len(own) for own in runs_by_name.values()])
    k, rng = len(runs[0].predictions.classes), np.random.default_rng(seed)
    splits = splits_of(runs, "slice")
    # Of patients with one image each, both are the same.
    exchanged: Literal["images", "patients"] = "images" if any(map(_mixed, splits)) else "patients"
    drawn, observed = np.zeros((len(names), shuffles)), np.zeros(len(names))
    for group in _same_images(splits) if exchanged == "images" else components(splits):
        label, units = _units(group, exchanged)
        parts = []
        for split, unit in zip(group, units, strict=True):
            for run, probs in zip(split.runs, split.probs, strict=True):
                cells = np.bincount(unit * k + probs.argmax(1), minlength=len(label) * k)
                parts.append((row_of[run], cells.reshape(-1, k).astype(np.float64)))
                observed[row_of[run]] += compute_metrics(probs, split.targets, [metric])[metric] or 0.0
        with threadpool_limits(1, user_api="blas"):  # as in bootstrap.scores
            for start in range(0, shuffles, CHUNK):
                n = min(CHUNK, shuffles - start)
                order = rng.permuted(np.tile(np.arange(len(label)), (n, 1)), axis=1)
                by_class = np.eye(k)[label[order]].transpose(0, 2, 1)
                for row, predicted in parts:
                    drawn[row, start : start + n] += confusion_metrics(by_class @ predicted)[metric]
    count = np.bincount(row_of)
    drawn /= count[:, None]
    return Chance(
        low=float(np.quantile(drawn.min(0), ENDS[0], method="lower")),
        high=float(np.quantile(drawn.max(0), ENDS[1], method="higher")),
        scores=dict(zip(names, (observed / count).tolist(), strict=True)),
        exchanged=exchanged,
        n_patients=len({name for split in splits for name in split.patients}),
        n_images=len({row for split in splits for row in split.index.tolist()}),
    )


def _mixed(split: Split) -> bool:
    """Whether a patient has images of several classes."""
    return bool((split.targets != split.main_label[split.patient]).any())


def _same_images(splits: Sequence[Split]) -> Iterator[list[Split]]:
    """Yield the splits that have the same images and labels together: these were dealt once."""
    pending = list(splits)
    while pending:
        group = [split for split in pending if split.same_as(pending[0])]
        pending = [split for split in pending if split not in group]
        yield group


def _units(
    group: Sequence[Split], exchanged: Literal["images", "patients"]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return the label of each exchanged unit, (U,), and which unit each image of each split is, (N,)."""
    if exchanged == "images":
        return group[0].targets, [np.arange(len(split.targets)) for split in group]
    label = {name: int(c) for split in group for name, c in zip(split.patients, split.main_label, strict=True)}
    place = {name: i for i, name in enumerate(sorted(label))}
    units = [np.array([place[name] for name in split.patients], np.int64)[split.patient] for split in group]
    return np.array([label[name] for name in sorted(label)], np.int64), units
