"""Which patients and runs each resample has, the same for all approaches that were tested on the same ones.

n - 1 of n are drawn with replacement and weighted by n / (n - 1). A bootstrap of n of n gives a mean (n - 1) / n of its
variance, which matters for three seeds or a class of five patients; drawing one less gives all of it (Rao & Wu 1988;
Rao, Wu & Yue 1992).

Shapes: B resamples, P patients.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.scored import Split


@dataclass(frozen=True, eq=False)
class Resampling:
    """Which patients and runs each resample has: the same for all who were tested on the same ones.

    Two approaches that share one are compared on the same draws; those of other patients are drawn independently.

    Args:
        resamples: B.
        seed: of the draws.
    """

    resamples: int = 2000
    seed: int = 0
    _patients: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)
    _runs: dict[bytes, NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False)

    def patients(self, splits: Sequence[Split]) -> list[NDArray[np.float32] | None]:
        """Draw the weight of each patient.

        Args:
            splits: of one component, see `scored.components`.

        Returns:
            (B, P) for each split; None where all have one patient.
        """
        label = {name: int(c) for split in splits for name, c in zip(split.patients, split.main_label, strict=True)}
        names = sorted(label)
        if len(names) < 2:
            return [None] * len(splits)
        stratum = _merged(np.array([label[name] for name in names]))
        key = hashlib.blake2b("\n".join(names).encode("utf-8", "surrogateescape") + stratum.tobytes()).digest()
        if key not in self._patients:
            rng = self._rng(key)
            weights = np.empty((self.resamples, len(names)), np.float32)
            for one in np.unique(stratum):
                columns = np.flatnonzero(stratum == one)
                weights[:, columns] = _drawn(rng, self.resamples, len(columns))
            self._patients[key] = weights
        if len(splits) == 1:
            return [self._patients[key]]
        place = {name: i for i, name in enumerate(names)}
        return [self._patients[key][:, [place[name] for name in split.patients]] for split in splits]

    def folds(self, alone: Sequence[Split], values: NDArray[np.float64], draws: NDArray[np.float64]) -> None:
        """Resample folds of one patient each: within such a fold nothing varies, so that the folds are the patients.

        Args:
            alone: their splits, two or more.
            values: (R, ...) of one metric.
            draws: (R, B, ...) of the resamples, which deviate afterwards as other patients in those folds would.
        """
        weights = self.patients(alone)
        centre = values[[run for split in alone for run in split.runs]].mean(0)
        for split, drawn in zip(alone, weights, strict=True):
            if drawn is not None:  # by the mean over seeds: what these differ by is no patient's
                draws[split.runs] += np.multiply.outer(drawn[:, 0] - 1.0, values[split.runs].mean(0) - centre)

    def runs(self, members: Sequence[tuple[int, int | None]]) -> NDArray[np.float64]:
        """Draw the weight of each run of a fold, less its share: (B, n), rows sum to 0."""
        key = repr(members).encode()
        if key not in self._runs:
            self._runs[key] = (_drawn(self._rng(key), self.resamples, len(members)) - 1) / len(members)
        return self._runs[key]

    def widening(self, freedom: int) -> NDArray[np.float64]:
        """Draw (B,) factors that make Student's t of a normal deviate."""
        return np.sqrt(freedom / self._rng(f"t{freedom}".encode()).chisquare(freedom, self.resamples))

    def _rng(self, key: bytes) -> np.random.Generator:
        return np.random.default_rng([self.seed, *hashlib.blake2b(key, digest_size=16).digest()])


def _drawn(rng: np.random.Generator, resamples: int, n: int) -> NDArray[np.float64]:
    """Draw n - 1 of n with replacement and weight them to n in all: (B, n)."""
    found: NDArray[np.float64] = rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples) * np.float64(n / (n - 1))
    return found


def _merged(stratum: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put strata of one patient together, or with the smallest other one: one of one cannot be resampled."""
    names, counts = np.unique(stratum, return_counts=True)
    single = np.isin(stratum, names[counts < 2])
    if single.sum() == 1 and len(names) > 1:
        others = names[counts > 1]
        single |= stratum == others[np.argmin(counts[counts > 1])]
    return np.where(single, -1, stratum)
