"""Grouped cross-validation: what features alone say of the classes, by a classifier cheap enough to permute its labels.

Patients, not images, are the independent units: a group stands on one side of each fold, its labels move together in a
permutation, and intervals resample groups. Shapes: N images, G groups, D features, K classes, P permutations.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

FOLDS = 5
PERMUTATIONS = 499  # the smallest p-value is then 0.002
LIMIT = 6000  # images that a classifier sees; intervals are a few points wide by then, and 100,000 images stay feasible
FEWEST_GROUPS = 5  # a class or a value that fewer groups have says who it is, not what
_GROUP_LIMIT = 20  # a group fills at most this part of LIMIT, so that one chain of copies is not the sample
_BLOCK = 50  # permutations in memory at once
_ROUNDING = 1e-7  # relative; far above that of float64, far below what tells two images apart


def testable(targets: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the targets (N,) with -1 where the class has fewer than FEWEST_GROUPS groups."""
    kept: NDArray[np.int64] = targets.copy()
    for name in np.unique(targets):
        if len(np.unique(groups[targets == name])) < FEWEST_GROUPS:
            kept[targets == name] = -1
    return kept


def sample_groups(targets: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return labelled rows to work on, sorted: all, or whole groups of every class in turn up to LIMIT.

    Args:
        targets: Class of each row, below 0 where unknown, (N,).
        groups: Group of each row, (N,).
        rng: Chooses.
    """
    rows = np.flatnonzero(targets >= 0)
    if len(rows) <= LIMIT:
        return rows
    rows = rng.permutation(rows)
    rows = rows[rank_within(groups[rows]) < LIMIT // _GROUP_LIMIT]
    names, first, code = np.unique(groups[rows], return_index=True, return_inverse=True)
    shuffled = rng.permutation(len(names))
    turn = np.empty(len(names), np.int64)
    turn[shuffled] = rank_within(targets[rows[first]][shuffled])  # the first groups of all classes, then the second
    order = np.lexsort((code, turn[code]))
    return np.sort(rows[order[:LIMIT]])


def rank_within(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many earlier rows have each row's code, (N,)."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0]) if len(codes) else order
    rank = np.empty(len(codes), np.int64)
    rank[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return rank


def group_folds(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each row, 0 to FOLDS - 1, (N,): whole groups, folds of like size, blind to the labels.

    Blind, because folds made with the labels in sight would fit these and not the permuted ones.
    """
    _, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(size))
    fold, filled = np.empty(len(size), np.int64), np.zeros(FOLDS)
    for group in shuffled[np.argsort(-size[shuffled], kind="stable")]:
        fold[group] = filled.argmin()
        filled[fold[group]] += size[group]
    return np.asarray(fold[code])


def permuted(
    targets: NDArray[np.int64], groups: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the labels, then `count` permutations of them over groups, (count + 1, N).

    Each group takes the sequence of labels of another, stretched to its size and turned to start anywhere: the labels
    of a group move together, runs of one label within it (slices with a tumour) stay runs.

    Args:
        targets: Class of each row, (N,).
        groups: Group of each row, (N,).
        count: How many.
        rng: Permutes.
    """
    _, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    start = np.r_[0, np.cumsum(size)[:-1]]
    within = rank_within(code)
    moved = np.empty((count + 1, len(targets)), np.int64)
    moved[0] = targets
    for number in range(1, count + 1):
        giver = rng.permutation(len(size))
        shift = rng.random(len(size)) * size[giver]
        place = within * size[giver][code] // size[code] + shift[code].astype(np.int64)
        moved[number] = targets[order[start[giver][code] + place % size[giver][code]]]
    return moved


class GroupedRidge:
    """Ridge regression fitted on all folds but one, for each; its solution serves any number of label vectors.

    Args:
        features: float (N, D); standardised here, without the labels.
        fold: Fold of each row, (N,).
    """

    def __init__(self, features: NDArray[Any], fold: NDArray[np.int64]) -> None:
        x = np.asarray(features, np.float64)
        x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
        self.x = np.concatenate([np.ones((len(x), 1)), x], 1)
        self.rows = [np.flatnonzero(fold == number) for number in range(FOLDS)]
        # As if each of D standardised features told 1/D of the label: the more of them, the less each is believed.
        penalty = np.diag(np.r_[1e-6, np.full(x.shape[1], max(1.0, float(x.shape[1])))])
        grams = [self.x[rows].T @ self.x[rows] for rows in self.rows]
        total = sum(grams, penalty)
        self.inverse = [np.linalg.inv(total - gram) for gram in grams]

    def predict(self, values: NDArray[Any]) -> Floats:
        """Return the out-of-fold estimates of values (N, M), of the same shape."""
        estimates = np.empty(values.shape)
        for rows, _, weights in self._fits(values):
            estimates[rows] = self.x[rows] @ weights
        return estimates

    def classify(self, labels: NDArray[np.int64], n_classes: int) -> Iterator[NDArray[np.int64]]:
        """Yield the predicted classes in blocks of label vectors, (block, N).

        Linear discriminants with equal priors, which is what balanced accuracy asks for, from the regression on class
        indicators (Hastie, Tibshirani and Buja 1994).

        Args:
            labels: Label vectors, (P, N).
            n_classes: K.
        """
        for start in range(0, len(labels), _BLOCK):
            block = labels[start : start + _BLOCK]
            hot = (block[:, None, :] == np.arange(n_classes)[:, None]).astype(np.float64)  # (block, K, N)
            predicted = np.empty(block.shape, np.int64)
            for rows, sums, weights in self._fits(hot.reshape(-1, hot.shape[2]).T):
                shape = (-1, *hot.shape[:2])
                estimates = (self.x[rows] @ weights).reshape(shape).transpose(1, 0, 2)  # (block, rows, K)
                slopes, centred = _discriminants(sums.reshape(shape), weights.reshape(shape))
                predicted[:, rows] = _first_largest(estimates @ slopes + centred[:, None])
            yield predicted

    def _fits(self, values: NDArray[Any]) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
        """Yield for each fold its rows, and of the other folds the sums of features times values, and the weights."""
        sums = [self.x[rows].T @ values[rows] for rows in self.rows]
        total = sum(sums[1:], sums[0])
        for rows, part, inverse in zip(self.rows, sums, self.inverse, strict=True):
            yield rows, total - part, inverse @ (total - part)


def _first_largest(scores: Floats) -> NDArray[np.int64]:
    """Return the first of the largest scores on the last axis: what is equal but for rounding is equal."""
    largest = scores.max(-1, keepdims=True)
    return np.asarray((scores >= largest - _ROUNDING * (1 + np.abs(largest))).argmax(-1))


def _discriminants(sums: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return what turns K estimates into K discriminants: slopes (P, K, K) and constants (P, K).

    Args:
        sums: Features times class indicators, summed over images, (D, P, K); the first feature is 1.
        weights: Of the regression, (D, P, K).
    """
    count = sums[0]  # (P, K)
    joint = np.einsum("dpe,dpk->pek", weights, sums)  # estimate e summed over the images of class k
    centre = joint / np.maximum(count, 1)[:, None]
    size = count.sum(1)[:, None, None]
    within = (joint - (centre * count[:, None]) @ centre.transpose(0, 2, 1)) / size
    scale = np.trace(within, axis1=1, axis2=2)[:, None, None]
    within += (1e-3 * scale + 1e-9) * np.eye(count.shape[1])  # estimates sum to 1, so that one direction has no spread
    slopes = np.linalg.solve(within, centre)
    constant = np.where(count > 0, -(slopes * centre).sum(1) / 2, -np.inf)
    return slopes, constant


def balanced_accuracy(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Return the mean recall of the classes for each label vector, (P,).

    Args:
        labels: Label vectors, (P, N).
        predicted: Their predictions, (P, N).
        n_classes: K.
    """
    recalls = []
    for name in range(n_classes):
        of_class = labels == name
        count = of_class.sum(1)
        recalls.append(np.where(count > 0, (of_class & (predicted == name)).sum(1) / np.maximum(count, 1), np.nan))
    return np.asarray(np.nanmean(recalls, 0))


def stratified_auroc(scores: NDArray[Any], labels: NDArray[np.int64], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of pairs (a 0, a 1) of one fold whose scores stand in that order, (M,); 0.5 where there is none.

    Pairs of one fold only, since scores of two classifiers do not compare.

    Args:
        scores: Out-of-fold scores, (N, M).
        labels: 0 or 1, (N, M).
        fold: Fold of each row, (N,).
    """
    from scipy.stats import rankdata

    right, pairs = np.zeros((2, scores.shape[1]))
    for number in np.unique(fold):
        rows = fold == number
        ones = labels[rows] == 1
        n_ones = ones.sum(0)
        right += (rankdata(scores[rows], axis=0) * ones).sum(0) - n_ones * (n_ones + 1) / 2
        pairs += n_ones * (len(ones) - n_ones)
    return np.where(pairs > 0, right / np.where(pairs > 0, pairs, 1), 0.5)
