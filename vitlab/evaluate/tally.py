"""Sums per patient from which every metric of every resample follows, without a loop over images.

A resample gives each patient a weight. Accuracy, the confusion matrix, log loss and Brier score are sums over images,
so a resample's are one matrix product away. AUROC and average precision depend on the images of each class below and
above a score: counts per patient in bins of the score stand in for the order, and the calibration error's bins are
those of the whole sample.

Shapes: N units, P patients, K classes, Q score bins, E bins of confidence, B resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.metrics import (
    CLASS_METRICS,
    ECE_BINS,
    Figures,
    brier_scores,
    class_metrics,
    confusion_metrics,
    log_losses,
)
from vitlab.evaluate.patient_pairs import PatientPairs

SCORE_BINS = 64  # a resample then differs from the plain loop by less than a tenth of the spread of resamples (tests)
RANKING = ("auroc", "average_precision")
BEYOND_COUNTS = {"loss", "brier", "ece"}  # metrics that need more than the confusion matrix and ranks


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the units of each patient.

    Args:
        sums: (P, K * K + 2 + E) confusion counts (truth, prediction), log losses, Brier scores, and correct minus
            confidence per bin of confidence; without the bins, or the counts alone, where nobody asked for more.
        ranks: for each true class, the rows of the patients who have it and their (rows, K * Q) counts of units per
            class score and bin; empty where nobody asked for a ranking.
        k: classes.
    """

    sums: NDArray[np.float64]
    ranks: list[tuple[NDArray[np.int64], NDArray[np.float32]]]
    k: int

    def figures(self, weights: NDArray[Any], names: Sequence[str]) -> Figures:
        """Compute metrics of weighted patients.

        Args:
            weights: (B, P).
            names: of `METRICS` and `CLASS_METRICS`.

        Returns:
            (B,) for each metric, (B, K) for each metric of classes; nan where there is none.
        """
        step = chunk_of(ranked=bool(self.ranks) and not self._by_pairs(names))
        parts = [self._figures(weights[i : i + step], names) for i in range(0, len(weights), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _figures(self, weights: NDArray[Any], names: Sequence[str]) -> Figures:
        weights = weights.astype(np.float64, copy=False)
        totals = weights @ self.sums
        found = from_sums(totals, self.k, names)
        if self.ranks and self._by_pairs(names):
            found["auroc"] = self.pairs.auroc(weights)
        elif self.ranks and not set(RANKING).isdisjoint(names):
            found |= from_ranks(self.counts(weights), names)
        return found

    def _by_pairs(self, names: Sequence[str]) -> bool:
        """Say whether AUROC alone is asked for, of patients so few that their pairs are fewer than what bins hold."""
        if "auroc" not in names or "average_precision" in names:
            return False
        return self.k * len(self.sums) ** 2 <= sum(bins.size for _, bins in self.ranks)

    @cached_property
    def pairs(self) -> PatientPairs:
        """How each two patients rank."""
        return PatientPairs.of(self.ranks, len(self.sums))

    def counts(self, weights: NDArray[Any]) -> NDArray[np.float32]:
        """Count the units of each true class in the bins of each class score: (B, P) -> (K, B, K, Q)."""
        light = weights.astype(np.float32, copy=False)
        found = np.empty((self.k, len(light), self.ranks[0][1].shape[1]), np.float32)
        for of_class, (rows, bins) in zip(found, self.ranks, strict=True):
            np.matmul(light[:, rows], bins, out=of_class)
        return found.reshape(self.k, len(light), self.k, -1)


def chunk_of(*, ranked: bool) -> int:
    """Return how many resamples or exchanges to take at a time.

    With rankings as many as stay in a core's cache; for sums alone, which are few, what a call costs weighs more.
    """
    return 128 if ranked else 1024


def tally(
    patient: NDArray[np.int64],
    targets: NDArray[np.int64],
    probs: NDArray[np.float64],
    patients: int,
    names: Sequence[str],
    *,
    scores: NDArray[np.float64] | None = None,
    edges: Sequence[NDArray[np.float64]] | None = None,
) -> Tally:
    """Add up a run's predictions by patient.

    Args:
        patient: (N,) which patient each unit is of.
        targets: (N,) class indices.
        probs: (N, K) probabilities.
        patients: P.
        names: the metrics that will be asked for.
        scores: (N, K) to rank units by; the probabilities without them.
        edges: of the bins of each class score, from `score_edges`; those of the scores themselves without them.
    """
    k, n = probs.shape[1], len(targets)
    predicted = probs.argmax(1)
    columns = k * k + (2 + ECE_BINS if "ece" in names else 0 if BEYOND_COUNTS.isdisjoint(names) else 2)
    flat = np.bincount(patient * columns + targets * k + predicted, minlength=patients * columns).astype(np.float64)
    sums = flat.reshape(patients, columns)
    if columns > k * k:
        sums[:, k * k] = np.bincount(patient, log_losses(probs, targets), patients)
        sums[:, k * k + 1] = np.bincount(patient, brier_scores(probs, targets), patients)
    if "ece" in names:
        confidence = probs.max(1)
        # The bins of metrics.calibration_error: of equal mass, in the order of confidence.
        bin_of = np.empty(n, np.int64)
        order = np.argsort(confidence, kind="stable")
        parts = np.array_split(np.arange(n), min(ECE_BINS, n))
        bin_of[order] = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        gap = (predicted == targets) - confidence
        flat += np.bincount(patient * columns + k * k + 2 + bin_of, gap, flat.size)
    ranks = []
    if not set(RANKING).isdisjoint(names):
        scores = probs if scores is None else scores
        ranks = _ranks(patient, targets, scores, score_edges(scores, targets) if edges is None else edges)
    return Tally(sums, ranks, k)


def from_sums(totals: NDArray[np.float64], k: int, names: Sequence[str]) -> Figures:
    """Compute the metrics of sums over patients, `Tally.sums` of B resamples, but for those of ranks."""
    # Resample by resample in memory: numpy is ten times as slow at sums over a last axis of few classes.
    confusion = np.ascontiguousarray(totals[:, : k * k].T).reshape(k, k, -1).transpose(2, 0, 1)
    found = confusion_metrics(confusion, names)
    if not BEYOND_COUNTS.isdisjoint(names):
        n = confusion.sum((1, 2))
        found["loss"], found["brier"] = totals[:, k * k] / n, totals[:, k * k + 1] / n
    if "ece" in names:
        found["ece"] = np.abs(totals[:, k * k + 2 :]).sum(1) / n
    return found | (class_metrics(confusion) if not set(CLASS_METRICS).isdisjoint(names) else {})


def from_ranks(counts: NDArray[np.floating[Any]], names: Sequence[str] = RANKING) -> Figures:
    """Compute AUROC and average precision, one class against the rest, mean of the classes that are there.

    Args:
        counts: (K, B, K, Q) units of each true class, per class score and bin of it, bins ascending.
        names: the metrics that were asked for.

    Returns:
        (B,) each; nan where there is one class only.
    """
    positive, negative = np.zeros(counts.shape[1:]), np.zeros(counts.shape[1:])
    for c, of_class in enumerate(counts):
        positive[:, c] = of_class[:, c]
        negative += of_class
    negative -= positive
    n_positive, n_negative = positive.sum(-1), negative.sum(-1)
    below = negative.cumsum(-1)
    there = (n_positive > 0) & (n_negative > 0)
    n_classes = np.where(there.any(-1), there.sum(-1), np.nan)
    found = {}
    if "average_precision" in names:
        above = n_positive[..., None] + positive - positive.cumsum(-1)  # true positives, the bin itself included
        flagged = above + n_negative[..., None] + negative - below
        # Rounding leaves a little less than nothing where nothing is flagged.
        precision = above / np.where(flagged > 1e-6, flagged, 1)
        found["average_precision"] = np.einsum("bcq,bcq->bc", positive, precision) / np.where(there, n_positive, 1)
    if "auroc" in names:
        below -= negative / 2
        found["auroc"] = np.einsum("bcq,bcq->bc", positive, below) / np.where(there, n_positive * n_negative, 1)
    return {name: np.where(there, values, 0).sum(-1) / n_classes for name, values in found.items()}


def score_edges(
    scores: NDArray[np.float64], targets: NDArray[np.int64], bins: int = SCORE_BINS
) -> list[NDArray[np.float64]]:
    """Choose the upper edges of the bins of each class score, all but the last.

    Half of them are at quantiles of the class, half at those of the others: quantiles of all would put a rare class
    into a bin or two. Scores that take no more than Q values have a bin each, so that nothing is lost.

    Args:
        scores: (N, K).
        targets: (N,) class indices.
        bins: Q.
    """
    found = []
    for c, score in enumerate(scores.T):
        values = np.unique(score)
        if len(values) > bins:
            shares = np.linspace(0, 1, bins // 2 + 1)[1:]
            parts = [np.sort(part) for part in (score[targets == c], score[targets != c]) if len(part)]
            values = np.unique([part[np.floor((len(part) - 1) * shares).astype(np.int64)] for part in parts])
        found.append(values[:-1])
    return found


def score_bins(
    scores: NDArray[np.float64], edges: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.int64], int]:
    """Return the bin of each unit's class scores, (N, K), counted through all classes, and Q."""
    bins = 1 + max(map(len, edges))
    found = [c * bins + np.searchsorted(edges[c], scores[:, c]) for c in range(len(edges))]
    return np.stack(found, axis=1), bins


def _ranks(
    patient: NDArray[np.int64],
    targets: NDArray[np.int64],
    scores: NDArray[np.float64],
    edges: Sequence[NDArray[np.float64]],
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    k, (bin_of, bins) = len(edges), score_bins(scores, edges)
    found = []
    for c in range(k):
        own = targets == c
        rows, place = np.unique(patient[own], return_inverse=True)
        cells = place[:, None] * (k * bins) + bin_of[own]
        counts = np.bincount(cells.reshape(-1), minlength=len(rows) * k * bins)
        found.append((rows, counts.reshape(len(rows), k * bins).astype(np.float32)))
    return found
