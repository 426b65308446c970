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
        won: For each class its patients (P',), the patients of other classes (P",), and (P', P") the pairs of these
            that the class's score ranks rightly, ties half (Mann and Whitney 1947).
        units: (P, 2 * K) units of each class, then units of all others.
    """

    won: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]
    units: NDArray[np.float64]

    @classmethod
    def of(cls, ranks: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]], patients: int) -> "PatientPairs":
        """Count the pairs.

        Args:
            ranks: For each true class the patients who have units of it, and the units (rows, K * Q) by score and bin.
            patients: P.
        """
        k = len(ranks)
        won, units = [], np.zeros((patients, 2, k))
        q = ranks[0][1].shape[1] // k
        for c in range(k):
            own, others = np.zeros((2, patients, q))
            for true, (rows, bins) in enumerate(ranks):
                (own if true == c else others)[rows] += bins[:, c * q : (c + 1) * q]
            units[:, 0, c], units[:, 1, c] = own.sum(1), others.sum(1)
            mine, theirs = (np.flatnonzero(units[:, side, c]) for side in (0, 1))
            below = others[theirs].cumsum(1) - others[theirs] / 2
            won.append((mine, theirs, own[mine] @ below.T))
        return cls(won, units.reshape(patients, 2 * k))

    def auroc(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean AUROC of the classes that are there, one against the rest: (B, P) -> (B,); nan for one class.

        Whole weights give the figures of `tally.from_ranks` to the digit: all sums are whole numbers and halves.
        """
        drawn = np.ascontiguousarray(weights.T)  # patient by patient in memory, so that some of them are a few rows
        counts = self.units.T @ drawn
        n_pairs = counts[: len(self.won)] * counts[len(self.won) :]
        there = n_pairs > 0
        won = [((pairs @ drawn[theirs]) * drawn[mine]).sum(0) for mine, theirs, pairs in self.won]
        values = np.where(there, np.stack(won) / np.where(there, n_pairs, 1), 0)
        found: NDArray[np.float64] = values.sum(0) / np.where(there.any(0), there.sum(0), np.nan)
        return found
