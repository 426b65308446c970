"""Shortcuts: how well features that are not the object tell the classes apart, each kind alone, against chance."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.bootstrap import mean_recall_interval
from vitlab.audit.baselines.grouped_cv import (
    PERMUTATIONS,
    Floats,
    GroupedRidge,
    balanced_accuracy,
    group_folds,
    permuted,
    sample_groups,
    testable,
)
from vitlab.audit.baselines.metadata import metadata_features
from vitlab.audit.baselines.trivial import file_features, pixel_features
from vitlab.audit.images import Images

_P_VALUE = 0.05  # of the whole audit: a clean set is named in at most one of twenty
_EFFECT = 0.1  # of the way from chance to certainty; below it no reader would call it a shortcut, however sure it is
# These may show the object after all, and a reader has to say.
ANATOMY: Final = ("intensity", "border pixels", "corner pixels", "picture without its centre")


@dataclass(frozen=True)
class Shortcut:
    """What one kind of trivial feature is worth alone.

    Attributes:
        name: Of the kind, e.g. file size.
        sentence: What was found, in words.
        named: Whether it beats chance clearly: corrected p-value of at most 0.05, interval above chance, and at least a
            tenth of the way from chance to certainty.
        balanced_accuracy: Mean recall of the classes, by group folds.
        low: Low end of its 95 % interval, over groups.
        high: High end.
        p_value: Share of permutations of the labels over groups in which any kind beat chance by as much: corrected for
            the number of kinds (Westfall and Young 1993).
        chance: 1 / number of classes.
        n: Images used.
        n_groups: Groups used.
    """

    name: str
    sentence: str
    named: bool
    balanced_accuracy: float
    low: float
    high: float
    p_value: float
    chance: float
    n: int
    n_groups: int


def find_shortcuts(
    images: Images,
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    columns: dict[str, NDArray[Any]],
    *,
    n_classes: int,
    seed: int,
) -> list[Shortcut]:
    """Test each kind of trivial feature, best first; kinds that are the same in all images are left out.

    Classes of fewer than 5 groups are left out: who and what cannot be told apart there.

    Args:
        images: All images.
        targets: Class of each, below 0 where unknown, (N,).
        groups: Patients or copy groups, (N,).
        columns: Metadata by name, (N,) each.
        n_classes: K.
        seed: Of sample, folds, permutations and resampling.
    """
    rng = np.random.default_rng(seed)
    usable = testable(np.where(images.ok, targets, -1), groups)
    rows = sample_groups(usable, groups, rng)
    classes, y = np.unique(usable[rows], return_inverse=True)
    if len(classes) < 2:
        return []
    of = groups[rows]
    kinds = file_features(images, rows, of) | pixel_features(images, rows, rng)
    kinds |= dict(metadata_features({name: values[rows] for name, values in columns.items()}, y, of))
    kinds = {name: features for name, features in kinds.items() if features.shape[1]}
    if not kinds:
        return []
    fold = group_folds(of, rng)
    labels = permuted(y, of, PERMUTATIONS, rng)
    tested = [_test(features, labels, fold, len(classes)) for features in kinds.values()]
    p_values = corrected([scores for scores, _ in tested])
    found = []
    for name, (scores, correct), p_value in zip(kinds, tested, p_values, strict=True):
        low, high = mean_recall_interval(correct, y, of, rng)
        found.append(_judge(name, float(scores[0]), low, high, float(p_value), len(classes), of))
    return sorted(found, key=lambda shortcut: (not shortcut.named, -shortcut.balanced_accuracy))


def corrected(scores: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return p-values corrected for the number of tests, one for each vector (P + 1,) of observed and permuted scores.

    Each score counts in standard deviations of its own permutations, each test is compared with the largest of all
    tests under the same permutation (Westfall and Young 1993, single step): kinds that say the same cost nothing.
    """
    z = np.stack(scores)
    spread = z.std(1, keepdims=True)
    z = np.where(spread > 1e-9, (z - z.mean(1, keepdims=True)) / np.where(spread > 1e-9, spread, 1), 0.0)
    p_values: NDArray[np.float64] = (z.max(0) >= z[:, :1] - 1e-9).mean(1)
    return p_values


def _test(
    features: Floats, labels: NDArray[np.int64], fold: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the balanced accuracy of each label vector (P + 1,), and where the first is predicted rightly, (N,)."""
    scores, start = [], 0
    correct = np.zeros(len(fold), bool)
    for predicted in GroupedRidge(features, fold).classify(labels, n_classes):
        scores.append(balanced_accuracy(labels[start : start + len(predicted)], predicted, n_classes))
        if start == 0:
            correct = predicted[0] == labels[0]
        start += len(predicted)
    return np.concatenate(scores), correct


def _judge(
    name: str, accuracy: float, low: float, high: float, p_value: float, n_classes: int, groups: NDArray[np.int64]
) -> Shortcut:
    chance = 1 / n_classes
    named = p_value <= _P_VALUE and low > chance and accuracy >= chance + _EFFECT * (1 - chance)
    verb = "give" if name.endswith(("pixels", "tables")) else "gives"
    sentence = (
        f"{name} alone {verb} {100 * accuracy:.0f} % balanced accuracy ({100 * low:.0f} to {100 * high:.0f}, "
        f"chance {100 * chance:.0f} %, p {p_value:.3f})"
    )
    if named and name in ANATOMY:
        sentence += ": look whether that is anatomy or acquisition"
    if not named:
        sentence += ", not clearly above chance"
    n_groups = len(np.unique(groups))
    return Shortcut(name, sentence, named, accuracy, low, high, p_value, chance, len(groups), n_groups)
