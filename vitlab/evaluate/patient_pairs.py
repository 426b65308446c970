"""AUROC of resampled patients from how each two of them rank, instead of from every bin of every resample.

Shape legend: B resamples, P patients, K classes, Q bins of a class's score, ascending.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PatientPairs:
    """Pairs of a unit of a class and a unit of another, by the patients of the two.

    Attributes:
        won: (K, P, P) pairs that the class's score ranks rightly, ties half (Mann and Whitney 1947): the class's unit
            is the row's patient's.
        positive: (P, K) units of the class.
        negative: (P, K) units of the others.
    """

    won: NDArray[np.float64]
    positive: NDArray[np.float64]
    negative: NDArray[np.float64]

    @classmethod
    def of(cls, ranks: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]], patients: int) -> "PatientPairs":
        """Count the pairs.

        Args:
            ranks: For each true class the patients who have units of it, and the units (rows, K * Q) by score and bin.
            patients: P.
        """
        k = len(ranks)
        won, positive, negative = np.zeros((k, patients, patients)), np.zeros((patients, k)), np.zeros((patients, k))
        for c in range(k):
            own, others = np.zeros((2, patients, ranks[0][1].shape[1] // k))
            for true, (rows, bins) in enumerate(ranks):
                np.add.at(own if true == c else others, rows, bins.reshape(len(rows), k, -1)[:, c])
            won[c] = own @ (others.cumsum(1) - others / 2).T
            positive[:, c], negative[:, c] = own.sum(1), others.sum(1)
        return cls(won, positive, negative)

    def auroc(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean AUROC of the classes that are there, one against the rest: (B, P) -> (B,); nan for one class.

        Whole weights give the figures of `tally.from_ranks` to the digit: all sums are whole numbers and halves.
        """
        n_positive, n_negative = weights @ self.positive, weights @ self.negative
        there = (n_positive > 0) & (n_negative > 0)
        won = np.stack([((weights @ of_class) * weights).sum(1) for of_class in self.won], axis=1)
        values = np.where(there, won / np.where(there, n_positive * n_negative, 1), 0)
        found: NDArray[np.float64] = values.sum(1) / np.where(there.any(1), there.sum(1), np.nan)
        return found
