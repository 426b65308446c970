"""Split shift: whether a classifier can tell the images of another split from those of training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.appearance import Appearance
from vitlab.audit.baselines.grouped_cv import (
    FEWEST_GROUPS,
    FOLDS,
    PERMUTATIONS,
    GroupedRidge,
    group_folds,
    permuted,
    sample_groups,
    stratified_auroc,
)
from vitlab.audit.baselines.intervals import UNKNOWN, Interval, auroc_interval, in_words
from vitlab.audit.baselines.threads import one_thread
from vitlab.audit.baselines.trivial import curved, file_features, most_components
from vitlab.audit.images import Images
from vitlab.data.manifest import SPLITS

_P_VALUE = 0.05  # of all splits together; shortcuts have 5 % of their own
# Area under the curve of a small effect, two normal distributions a fifth of their spread apart (Cohen 1988), is 0.556:
# a smaller one is found in any two of several thousand images, and changes no score.
_EFFECT = 0.55


@dataclass(frozen=True)
class Shift:
    """How well one split can be told from training.

    Attributes:
        split: The other split.
        sentence: What was found, in words.
        named: Whether they differ clearly: p-value at most 0.05, and an area of at least 0.55 with its interval, if
            any, above 0.5.
        auroc: Area under the curve of the domain classifier, by group folds, over pairs of one class where both sides
            have one; 0.5 is no difference.
        low: Low end of its 95 % interval, over groups; None below 10 groups.
        high: High end.
        p_value: Share of permutations of the splits over groups that were told apart as well, times the splits tested.
        n: Images used.
        n_groups: Groups used.
    """

    split: str
    sentence: str
    named: bool
    auroc: float
    low: float | None
    high: float | None
    p_value: float
    n: int
    n_groups: int


@one_thread
def split_shift(
    images: Images,
    split: NDArray[Any],
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    patients_known: bool,
    seed: int,
) -> list[Shift]:
    """Compare every other split with training, by what images look like and how they are stored.

    A split of fewer than 5 groups is left out: a difference of a few patients is no shift.

    Args:
        images: All images.
        split: Of each, (N,).
        targets: Class of each, below 0 where unknown, (N,).
        groups: Patients or copy groups, (N,).
        patients_known: Whether every group is a patient's; if not, the sentences say what that does to the figures.
        seed: Of sample, folds and permutations.
    """
    sides = {part: np.unique(groups[(split == part) & images.ok]) for part in SPLITS}
    others = [part for part in SPLITS[1:] if min(len(sides[part]), len(sides["train"])) >= FEWEST_GROUPS]
    return [_compare(images, split, targets, groups, part, len(others), patients_known, seed) for part in others]


def _compare(
    images: Images,
    split: NDArray[Any],
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    part: str,
    tests: int,
    patients_known: bool,
    seed: int,
) -> Shift:
    rng = np.random.default_rng(seed)
    sides = np.select([~images.ok, split == "train", split == part], [-1, 0, 1], -1)
    rows = sample_groups(sides, groups, rng)
    y, of = sides[rows], groups[rows]
    stored = [features for features in file_features(images, rows, of).values() if features.shape[1]]
    # No more than `curved` keeps: it makes them equally strong, and could not choose.
    looks = Appearance(images, rows)(rows)[:, : most_components(len(np.unique(of)))]
    features = np.concatenate([*stored, curved(looks, rng)], 1)
    fold = group_folds(of, rng)
    labels = permuted(y, of, PERMUTATIONS, rng)
    scores = GroupedRidge(features, fold).predict(labels.T).round(9)  # copies tie
    alike = comparable(fold, targets[rows], y)
    areas = stratified_auroc(scores, labels.T, alike)
    ends = auroc_interval(scores[:, 0], y, alike, of, float(areas[1:].var()))
    area = float(areas[0])
    p_value = min(1.0, tests * float((areas >= area - 1e-12).mean()))
    named = p_value <= _P_VALUE and (ends is None or ends[0] > 0.5) and area >= _EFFECT
    sentence = (
        f"{told_apart(part, named, ends)}: AUROC {area:.2f} "
        f"({in_words(ends)}, none is 0.50, p {p_value:.3f}){'' if patients_known else UNKNOWN}"
    )
    low, high = ends or (None, None)
    return Shift(part, sentence, named, area, low, high, p_value, len(rows), len(np.unique(of)))


def comparable(fold: NDArray[np.int64], targets: NDArray[np.int64], sides: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which images compare, by number: those of one fold and, if any class is on both sides, of one class.

    Most splits are even in their classes. Then a fold with more of a class on one side leaves less of it on that side
    for training, and a classifier that sees the class is wrong more often than right: an area below 0.5 by design.

    Args:
        fold: Of each image, (N,).
        targets: Class of each, below 0 where unknown, (N,).
        sides: 0 or 1, (N,).
    """
    if not np.intersect1d(targets[sides == 0], targets[sides == 1]).size:
        return fold
    return np.asarray(fold + FOLDS * (targets - targets.min()))


def told_apart(part: str, named: bool, ends: Interval) -> str:
    """Say what the interval allows; wholly below 0.50 is no shift, as a shift makes a classifier right more often."""
    if named:
        return f"{part} can be told from train"
    if ends is not None and ends[0] > 0.5:
        return f"{part} differs from train by little, if at all"
    if ends is not None and ends[1] < 0.5:
        return f"{part} shows no shift from train (below 0.50: more like it than parts at random are)"
    return f"{part} cannot clearly be told from train"
