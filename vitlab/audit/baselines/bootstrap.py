"""Bootstrap over groups: intervals of shares where the images of a patient are no independent observations."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_LEVEL = (2.5, 97.5)  # per cent
_BLOCK = 100  # resamples in memory at once


def resampled(n_groups: int, rng: np.random.Generator, count: int = RESAMPLES) -> Iterator[NDArray[np.int64]]:
    """Yield how often each group was drawn, in blocks of resamples, (block, G).

    Args:
        n_groups: G.
        rng: Draws.
        count: How many resamples.
    """
    for start in range(0, count, _BLOCK):
        yield rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), min(_BLOCK, count - start))


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of resampled values; those that are not a number do not count."""
    low, high = np.nanpercentile(values, _LEVEL)
    return float(low), float(high)


def mean_recall_interval(
    correct: NDArray[np.bool_],
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of the mean recall of the classes; of the accuracy where all have one class.

    Args:
        correct: Whether each image was classified rightly, (N,).
        targets: Class of each image, (N,).
        groups: Group of each image, (N,).
        rng: Draws groups.
        weights: How much each image counts, (N,).

    Returns:
        Low and high. Where all are right or all wrong resampling says nothing, and the exact binomial bound of as many
        observations as there are groups stands in.
    """
    names, code = np.unique(groups, return_inverse=True)
    weights = np.ones(len(correct)) if weights is None else weights
    if correct.all() or not correct.any():
        bound = 0.025 ** (1 / len(names))  # Clopper and Pearson 1934
        return (float(bound), 1.0) if correct.all() else (0.0, float(1 - bound))
    present, column = np.unique(targets, return_inverse=True)
    count, right = np.zeros((2, len(names), len(present)))
    np.add.at(count, (code, column), weights)
    np.add.at(right, (code, column), weights * correct)
    values = []
    for drawn in resampled(len(names), rng):
        total = drawn @ count
        recall = np.where(total > 0, (drawn @ right) / np.where(total > 0, total, 1), np.nan)
        values.append(np.nanmean(recall, 1))
    return interval(np.concatenate(values))
