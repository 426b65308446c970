"""How much of a score generalises: the gap between splits, and whether a score is chance.

Shapes: M shuffles, P patients, K classes, Q score bins, N units, R runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vitlab.evaluate.bootstrap import ENDS, Estimate, scores, summary
from vitlab.evaluate.metrics import METRICS, RANGE, Figures, compute_metrics, confusion_metrics
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level, Scored, components, splits_of
from vitlab.evaluate.tally import RANKING, from_ranks, score_bins, score_edges

CHANCE_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision", "mcc")
CHUNK = 64  # shuffles at a time: bounds the memory of (M, P, K)


def gap(
    test: Sequence[Scored],
    other: Sequence[Scored],
    resampling: Resampling,
    *,
    level: Level = "slice",
    metrics: Sequence[str] = METRICS,
) -> dict[str, Estimate]:
    """Estimate how far the score on another split of the same runs is from that on test.

    Args:
        test: the runs on test.
        other: the same runs on train or val, in any order.
        resampling: of the draws; the patients of both splits are drawn independently.
        level: what a unit is.
        metrics: which.

    Returns:
        Metric -> other minus test (train accuracy 0.99, test accuracy 0.87: a gap of 0.12); patients and images are
        those of test.

    Raises:
        ValueError: the runs are not the same.
    """
    place = {(run.seed, run.fold): run for run in other}
    keys = [(run.seed, run.fold) for run in test]
    if len(place) != len(other) or len(set(keys)) != len(keys) or set(place) != set(keys):
        raise ValueError("the gap between two splits needs the same runs, each once, on both")
    other = [place[key] for key in keys]
    splits, other_splits = splits_of(test, level), splits_of(other, level)
    values, draws = scores(test, splits, resampling, metrics)
    other_values, other_draws = scores(other, other_splits, resampling, metrics)
    found = {}
    for name in metrics:
        low, high = RANGE.get(name, (0.0, 1.0))
        found[name] = summary(
            test,
            splits,
            resampling,
            other_values[name] - values[name],
            other_draws[name] - draws[name],
            limits=(low - high, high - low),
        )
    return found


@dataclass(frozen=True)
class Chance:
    """A score, and what the same predictions reach when they have nothing to do with the labels.

    Args:
        score: mean over runs.
        mean: what chance gives on average.
        low: lower end of the 95 % that chance gives.
        high: upper end.
        p: two-sided; how often chance is at least as far from its mean as the score is.
    """

    score: float
    mean: float
    low: float
    high: float
    p: float

    @property
    def inside(self) -> bool:
        """Whether the score is one that chance gives."""
        return self.low <= self.score <= self.high


def chance(
    runs: Sequence[Scored],
    *,
    level: Level = "slice",
    metrics: Sequence[str] = CHANCE_METRICS,
    shuffles: int = 2000,
    seed: int = 0,
) -> dict[str, Chance]:
    """Say what the runs' predictions would score if patients had each other's labels.

    For models that were trained on shuffled labels. All images of a patient keep to one label, the same for all runs:
    a model that takes patients apart has fewer tries than there are images. Where a patient has images of several
    classes, the shares of the classes are handed on.

    Args:
        runs: of one approach on one split.
        level: what a unit is.
        metrics: of `CHANCE_METRICS`.
        shuffles: M.
        seed: of the shuffles.

    Returns:
        Metric -> chance; a metric that a run does not have is not there.
    """
    k, rng = len(runs[0].predictions.classes), np.random.default_rng(seed)
    drawn: Figures = {name: np.zeros(shuffles) for name in metrics}
    observed = dict.fromkeys(metrics, 0.0)
    for together in components(splits_of(runs, level)):
        names = sorted({name for split in together for name in split.patients})
        place = {name: i for i, name in enumerate(names)}
        columns = [np.array([place[name] for name in split.patients]) for split in together]
        labels = np.zeros((len(names), k))
        for own, split in zip(columns, together, strict=True):
            np.add.at(labels, (own[split.patient], split.targets), 1)
        labels /= labels.sum(1, keepdims=True)
        parts = [
            (own, _predicted(split.patient, split.targets, probs, metrics))
            for own, split in zip(columns, together, strict=True)
            for probs in split.probs
        ]
        for split in together:
            for probs in split.probs:
                for name, value in compute_metrics(probs, split.targets, metrics).items():
                    observed[name] += np.nan if value is None else value / len(runs)
        with threadpool_limits(1, user_api="blas"):  # as in bootstrap.scores
            for start in range(0, shuffles, CHUNK):
                rows = slice(start, min(start + CHUNK, shuffles))
                order = rng.permuted(np.tile(np.arange(len(names)), (rows.stop - start, 1)), axis=1)
                for own, (predicted, ranks) in parts:
                    found = _shuffled(labels[order[:, own]], predicted, ranks)
                    for name in metrics:
                        drawn[name][rows] += found[name] / len(runs)
    return {name: _chance(observed[name], drawn[name]) for name in metrics if np.isfinite(observed[name])}


def _predicted(
    patient: NDArray[np.int64], targets: NDArray[np.int64], probs: NDArray[np.float64], metrics: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Count a run's predictions by patient, whatever the label: (P, K), and (P, K, Q) of scores for a ranking."""
    n, k = patient.max() + 1, probs.shape[1]
    predicted = np.bincount(patient * k + probs.argmax(1), minlength=n * k).reshape(n, k).astype(np.float64)
    if set(RANKING).isdisjoint(metrics):
        return predicted, None
    bin_of, bins = score_bins(probs, score_edges(probs, targets))
    cells = patient[:, None] * (k * bins) + bin_of
    return predicted, np.bincount(cells.reshape(-1), minlength=n * k * bins).reshape(n, k, bins).astype(np.float64)


def _shuffled(
    labels: NDArray[np.float64], predicted: NDArray[np.float64], ranks: NDArray[np.float64] | None
) -> Figures:
    """Score a run against shuffled labels: labels (M, P, K), predicted (P, K), ranks (P, K, Q)."""
    by_class = labels.transpose(0, 2, 1)
    found = confusion_metrics(by_class @ predicted)
    if ranks is not None:
        counts = by_class @ ranks.reshape(len(ranks), -1)
        found |= from_ranks(counts.reshape(*by_class.shape[:2], *ranks.shape[1:]))
    return found


def _chance(score: float, drawn: NDArray[np.float64]) -> Chance:
    mean, (low, high) = float(drawn.mean()), np.quantile(drawn, ENDS)
    far = np.abs(drawn - mean) >= abs(score - mean) - 1e-9
    return Chance(score, mean, float(low), float(high), float((far.sum() + 1) / (len(drawn) + 1)))
