"""Shortcuts: how well features that are not the object tell the classes apart, each kind alone, against chance."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

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
from vitlab.audit.baselines.intervals import UNKNOWN, Interval, in_words, mean_recall_interval
from vitlab.audit.baselines.metadata import Kind, Untested, metadata_features
from vitlab.audit.baselines.threads import one_thread
from vitlab.audit.baselines.trivial import file_features, pixel_features
from vitlab.audit.images import Images

# Of all kinds here together: of a set without shortcuts one of twenty gets any named. Shift spends 5 % of its own.
_P_VALUE = 0.05
# Of the way from chance to certainty, for two classes 55 %: two normal distributions a quarter of their spread apart, a
# small effect to Cohen (1988). Of 6000 independent images 51.3 % would be significant, and no reader's concern.
_EFFECT = 0.1
# These may show the object after all, and a reader has to say.
ANATOMY: Final = ("intensity", "border pixels", "corner pixels", "picture without its centre")


@dataclass(frozen=True)
class Shortcut:
    """What one kind of trivial feature is worth alone.

    Attributes:
        name: Of the kind, e.g. file size.
        sentence: What was found, in words.
        named: Whether it beats chance clearly: corrected p-value of at most 0.05, interval, if any, above chance, and
            at least a tenth of the way from chance to certainty.
        balanced_accuracy: Mean recall of the classes, by group folds.
        low: Low end of its 95 % interval, over groups; None below 10 groups.
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
    low: float | None
    high: float | None
    p_value: float
    chance: float
    n: int
    n_groups: int


@dataclass(frozen=True)
class _Sample:
    """The rows that a test is about, with what is drawn for them once: folds, and permuted labels.

    Attributes:
        rows: As places among the rows sampled, (N,).
        n_classes: K.
        groups: Of each row, (N,).
        fold: Of each row, (N,).
        labels: Observed and permuted, (P + 1, N).
    """

    rows: NDArray[np.int64]
    n_classes: int
    groups: NDArray[np.int64]
    fold: NDArray[np.int64]
    labels: NDArray[np.int64]


@one_thread
def find_shortcuts(
    images: Images,
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    columns: dict[str, NDArray[Any]],
    *,
    patients_known: bool,
    seed: int,
) -> tuple[list[Shortcut], list[Untested]]:
    """Test each kind of trivial feature, best first; kinds that are the same in all images are left out.

    Classes of fewer than 5 groups are left out: who and what cannot be told apart there.

    Args:
        images: All images.
        targets: Class of each, below 0 where unknown, (N,).
        groups: Patients or copy groups, (N,).
        columns: Metadata by name, (N,) each.
        patients_known: Whether every group is a patient's; if not, the sentences say what that does to the figures.
        seed: Of sample, folds and permutations.

    Returns:
        What each kind is worth, and the columns that were not tested.
    """
    rng = np.random.default_rng(seed)
    usable = testable(np.where(images.ok, targets, -1), groups)
    rows = sample_groups(usable, groups, rng)
    if len(np.unique(usable[rows])) < 2:
        return [], [Untested(name, "there are no two classes of enough groups") for name in columns]
    of = groups[rows]
    everywhere = np.ones(len(rows), bool)
    kinds = file_features(images, rows, of) | pixel_features(images, rows, rng)
    tests = [Kind(name, features, everywhere) for name, features in kinds.items() if features.shape[1]]
    described, untested = metadata_features(columns, usable, groups, rows)
    return judge(tests + described, usable[rows], of, untested, patients_known=patients_known, rng=rng)


def judge(
    tests: list[Kind],
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    untested: list[Untested],
    *,
    patients_known: bool,
    rng: np.random.Generator,
) -> tuple[list[Shortcut], list[Untested]]:
    """Test each kind, given its features.

    Args:
        tests: The kinds.
        targets: Class of each row, (N,).
        groups: Group of each row, (N,).
        untested: Columns left out so far; those whose rows have no two classes are added.
        patients_known: As above.
        rng: Of folds and permutations.
    """
    samples: dict[bytes, _Sample | None] = {}
    done: list[tuple[Kind, _Sample]] = []
    left = list(untested)
    for test in tests:
        key = test.known.tobytes()
        if key not in samples:
            samples[key] = _sample(test.known, targets, groups, rng)
        sample = samples[key]
        if sample is None:
            left.append(Untested(test.column, "too few groups of two classes have a value"))
        else:
            done.append((test, sample))
    if not done:
        return [], left
    results = [_test(test.features[sample.rows], sample) for test, sample in done]
    p_values = corrected([scores for scores, _ in results])
    found = []
    for (test, sample), (scores, correct), p_value in zip(done, results, p_values, strict=True):
        ends = mean_recall_interval(correct, sample.labels[0], sample.groups)
        found.append(_judge(test.name, float(scores[0]), ends, float(p_value), sample, patients_known))
    return sorted(found, key=lambda shortcut: (not shortcut.named, -shortcut.balanced_accuracy)), left


def _sample(
    known: NDArray[np.bool_], targets: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator
) -> _Sample | None:
    usable = testable(np.where(known, targets, -1), groups)
    rows = np.flatnonzero(usable >= 0)
    classes, y = np.unique(usable[rows], return_inverse=True)
    if len(classes) < 2:
        return None
    of = groups[rows]
    fold = group_folds(of, rng)
    return _Sample(rows, len(classes), of, fold, permuted(y, of, PERMUTATIONS, rng))


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


def _test(features: Floats, sample: _Sample) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the balanced accuracy of each label vector (P + 1,), and where the first is predicted rightly, (N,)."""
    scores, start, labels = [], 0, sample.labels
    correct = np.zeros(len(sample.rows), bool)
    for predicted in GroupedRidge(features, sample.fold).classify(labels, sample.n_classes):
        scores.append(balanced_accuracy(labels[start : start + len(predicted)], predicted, sample.n_classes))
        if start == 0:
            correct = predicted[0] == labels[0]
        start += len(predicted)
    return np.concatenate(scores), correct


def _judge(
    name: str, accuracy: float, ends: Interval, p_value: float, sample: _Sample, patients_known: bool
) -> Shortcut:
    chance = 1 / sample.n_classes
    clear = ends is None or ends[0] > chance  # below 10 groups the permutations alone decide
    named = p_value <= _P_VALUE and clear and accuracy >= chance + _EFFECT * (1 - chance)
    verb = "give" if name.endswith(("pixels", "tables")) else "gives"
    sentence = (
        f"{name} alone {verb} {100 * accuracy:.0f} % balanced accuracy ({in_words(ends, percent=True)}, "
        f"chance {100 * chance:.0f} %, p {p_value:.3f})"
    )
    if named and name in ANATOMY:
        sentence += ": look whether that is anatomy or acquisition"
    if not named:
        sentence += ", not clearly above chance"
    if not patients_known:
        sentence += UNKNOWN
    low, high = ends or (None, None)
    n_groups = len(np.unique(sample.groups))
    return Shortcut(name, sentence, named, accuracy, low, high, p_value, chance, len(sample.rows), n_groups)
