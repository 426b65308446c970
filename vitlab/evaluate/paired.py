"""Pairs of approaches: how far apart they are, and whether chance explains it.

Two questions, two answers. The permutation test asks of these trained models whether the patients who tell them apart
favour one side by more than chance would: its null is that for each patient the two approaches' predictions could as
well have been exchanged. It conditions on the trained models, and says nothing of other seeds. The interval of the
difference holds other patients and other runs, see `bootstrap`. A difference is called one (`Pair.differs`) where both
say so.

Shapes: M exchanges, P patients, K classes, Q score bins.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vitlab.evaluate.bootstrap import ENDS, FLAT, Estimate
from vitlab.evaluate.holm import holm
from vitlab.evaluate.metrics import LOWER_IS_BETTER, METRICS, RANGE, Figures
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level, Scored, Split, splits_of
from vitlab.evaluate.tally import RANKING, Tally, chunk_of, from_ranks, from_sums, score_edges, tally

PERMUTATIONS = 5000
SIGNIFICANT = 0.05
POWER = 0.80


@dataclass(frozen=True)
class Pair:
    """The difference between two approaches in one metric.

    Args:
        a: name of the one.
        b: name of the other.
        metric: as in `METRICS`.
        level: what a unit is.
        difference: mean of a minus mean of b; None where one of them has no such figure.
        low: lower end of its 95 % interval; None where there is none.
        high: upper end.
        p_permutation: two-sided; None where they were not tested on the same images.
        p_holm: corrected for all pairs of this metric (Holm 1979).
        p_better: share of the draws in which a is better than b, ties half; with a metric of which less is better, in
            which it is lower.
        detectable: the smallest difference that a study of this size finds with 80 % power at 5 %.
        paired: whether both were tested on the same images of the same patients, so that what makes an image hard
            for both cancels out. Otherwise the interval is of independent draws.
        n_patients: whom both were tested on; the smaller number where they are not the same.
    """

    a: str
    b: str
    metric: str
    level: Level
    difference: float | None
    low: float | None
    high: float | None
    p_permutation: float | None
    p_holm: float | None
    p_better: float | None
    detectable: float | None
    paired: bool
    n_patients: int

    @property
    def differs(self) -> bool:
        """Whether the difference is larger than chance: the interval leaves out 0 and, if paired, p_holm is < 0.05.

        Where no draw differs from another, as between a model that is always right and one that always says the same
        class, there is no interval, and the test alone says so.
        """
        tested = self.p_holm is not None and self.p_holm < SIGNIFICANT
        if self.low is None or self.high is None:
            return tested and bool(self.difference)
        return not self.low <= 0 <= self.high and (tested or not self.paired)


def compare_pairs(
    runs_by_name: Mapping[str, Sequence[Scored]],
    estimates: Mapping[str, Mapping[str, Estimate]],
    resampling: Resampling,
    *,
    level: Level = "slice",
    metrics: Sequence[str] = METRICS,
    permutations: int = PERMUTATIONS,
) -> list[Pair]:
    """Compare every two approaches.

    Args:
        runs_by_name: approach -> its runs on one split.
        estimates: approach -> metric -> what `bootstrap.estimate` made of the same runs at the same level.
        resampling: that the estimates were made with.
        level: what a unit is.
        metrics: which.
        permutations: exchanges drawn, where all 2^P are more.

    Returns:
        For each metric, each pair in the order of the names, with Holm's correction over the pairs.
    """
    splits = {name: splits_of(runs, level) for name, runs in runs_by_name.items()}
    found: dict[str, list[Pair]] = {metric: [] for metric in metrics}
    for a, b in itertools.combinations(runs_by_name, 2):
        matched = _matched(splits[a], splits[b])
        p_values = {}
        if matched:
            rng = np.random.default_rng([resampling.seed, permutations])
            p_values = permutation_test(matched, metrics, permutations=permutations, rng=rng)
        for metric in metrics:
            pair = _pair(a, b, metric, level, estimates[a][metric], estimates[b][metric], p_values.get(metric), matched)
            found[metric].append(pair)
    return [pair for pairs in found.values() for pair in _corrected(pairs)]


def permutation_test(
    matched: Sequence[tuple[Split, Split]], metrics: Sequence[str], *, permutations: int, rng: np.random.Generator
) -> dict[str, float]:
    """Exchange the two approaches' predictions of random patients, all images and all runs of a patient together.

    The statistic is the difference of the means over runs. Ranking metrics exchange ranks within a run instead of
    probabilities (Bandos, Rockette & Gur 2005): approaches of equal AUROC need not have probabilities of one scale.
    Between equal approaches a test at 5 % of accuracy, balanced accuracy and AUROC found a difference in 4.5, 5.1 and
    5.4 % of 2,000 simulated studies of 60 patients (`tests/evaluate/test_coverage.py`); of AUROC in 5.7 % with 30.
    All 2^P exchanges are taken where they are no more than `permutations`; otherwise the p-value counts the exchange
    that was observed as one of them.

    Args:
        matched: the splits of both approaches, of the same images.
        metrics: which.
        permutations: M.
        rng: of the exchanges.

    Returns:
        Metric -> two-sided p-value; a metric that a run does not have is not there.
    """
    names = sorted({name for split, _ in matched for name in split.patients})
    place = {name: i for i, name in enumerate(names)}
    columns = [np.array([place[name] for name in split.patients]) for split, _ in matched]
    exact = len(names) < 60 and 2 ** len(names) <= permutations
    n = 2 ** len(names) if exact else permutations
    contrasts = [_contrasts(one, other, metrics) for one, other in matched]
    total = sum(len(one.runs) + len(other.runs) for one, other in matched)
    shares = [(len(one.runs) + len(other.runs)) / total for one, other in matched]

    def statistic(exchanged: NDArray[np.bool_]) -> Figures:
        found: Figures = {name: np.zeros(len(exchanged)) for name in metrics}
        for share, own, parts in zip(shares, columns, contrasts, strict=True):
            light = exchanged[:, own].astype(np.float32)
            for part in parts:
                for name, difference in part.after(light, metrics).items():
                    found[name] += share / len(parts) * difference
        return found

    extreme = dict.fromkeys(metrics, 0)
    # Thousands of small products: more than one thread each only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        observed = statistic(np.zeros((1, len(names)), np.bool_))
        step = chunk_of(ranked=not set(RANKING).isdisjoint(metrics))  # any multiple of 4 draws the same exchanges
        for start in range(0, n, step):
            rows = np.arange(start, min(start + step, n))
            if exact:
                exchanged = (rows[:, None] >> np.arange(len(names)) & 1).astype(np.bool_)
            else:
                exchanged = rng.integers(2, size=(len(rows), len(names)), dtype=np.int8).astype(np.bool_)
            for name, values in statistic(exchanged).items():
                # An exchange that gives the observed difference again may differ from it in rounding.
                extreme[name] += int((np.abs(values) >= abs(observed[name][0]) - 1e-9).sum())
    known = [name for name in metrics if np.isfinite(observed[name][0])]
    return {name: extreme[name] / n if exact else (extreme[name] + 1) / (n + 1) for name in known}


@dataclass(frozen=True, eq=False)
class _Contrast:
    """A run of each approach: the sums of both, and what a patient's exchange adds to one and takes from the other."""

    one: Tally
    other: Tally
    change: Tally

    def after(self, exchanged: NDArray[np.float32], metrics: Sequence[str]) -> Figures:
        """Return the differences (M,) after the exchanges (M, P)."""
        change = exchanged.astype(np.float64) @ self.change.sums
        k = self.one.k
        one, other = (
            from_sums(side.sums.sum(0) + sign * change, k, metrics) for side, sign in ((self.one, 1), (self.other, -1))
        )
        if self.change.ranks:
            all_patients = np.ones((1, exchanged.shape[1]), np.float32)
            moved = self.change.counts(exchanged)
            one |= from_ranks(self.one.counts(all_patients) + moved, metrics)
            other |= from_ranks(self.other.counts(all_patients) - moved, metrics)
        return {name: one[name] - other[name] for name in metrics}


def _contrasts(one: Split, other: Split, metrics: Sequence[str]) -> list[_Contrast]:
    """Pair the runs of a fold, each as often as the others of its side where one side has more."""
    n = math.lcm(len(one.runs), len(other.runs))
    return [
        _contrast(one, one.probs[i % len(one.runs)], other.probs[i % len(other.runs)], metrics) for i in range(n)
    ]


def _contrast(split: Split, a: NDArray[np.float64], b: NDArray[np.float64], metrics: Sequence[str]) -> _Contrast:
    ranks, edges = (a, b), None
    if not set(RANKING).isdisjoint(metrics):
        ranks = _ranks(a), _ranks(b)
        edges = score_edges(np.concatenate(ranks), np.tile(split.targets, 2))
    one, other = (
        tally(split.patient, split.targets, probs, len(split.patients), metrics, scores=scores, edges=edges)
        for probs, scores in zip((a, b), ranks, strict=True)
    )
    moves = [(rows, theirs - mine) for (rows, mine), (_, theirs) in zip(one.ranks, other.ranks, strict=True)]
    return _Contrast(one, other, Tally(other.sums - one.sums, moves, one.k))


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank each column, ties by their mean (scipy.stats.rankdata, whose import takes longer than the rest)."""
    found = np.empty(scores.shape)
    for c, column in enumerate(scores.T):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        found[:, c] = (counts.cumsum() - (counts - 1) / 2)[place]
    return found


def _matched(one: Sequence[Split], other: Sequence[Split]) -> list[tuple[Split, Split]]:
    """Match the splits of two approaches in their order; none where one of either has no partner of the same images.

    Several folds may be tested on the same images, where only their training and validation differ.
    """
    found, left = [], list(other)
    for mine in one:
        partner = next((theirs for theirs in left if mine.same_as(theirs)), None)
        if partner is None:
            return []
        found.append((mine, partner))
        left = [theirs for theirs in left if theirs is not partner]
    return [] if left else found


def _pair(
    a: str,
    b: str,
    metric: str,
    level: Level,
    one: Estimate,
    other: Estimate,
    p_value: float | None,
    matched: Sequence[tuple[Split, Split]],
) -> Pair:
    n_patients, paired = min(one.n_patients, other.n_patients), bool(matched)
    if one.mean is None or other.mean is None:
        return Pair(a, b, metric, level, None, None, None, None, None, None, None, paired, n_patients)
    draws = one.draws - other.draws
    draws = draws[np.isfinite(draws)]
    widest = float(np.subtract(*RANGE.get(metric, (0.0, 1.0))[::-1]))  # of few runs draws may leave what is possible
    low, high = np.quantile(draws, ENDS).clip(-widest, widest)
    better = -draws if metric in LOWER_IS_BETTER else draws
    flat = np.ptp(draws) < FLAT
    # From the half width, not from the deviation of the draws, which the tails of few runs would blow up.
    detectable = (high - low) / 2 * (1 + NormalDist().inv_cdf(POWER) / NormalDist().inv_cdf(ENDS[1]))
    return Pair(
        a=a,
        b=b,
        metric=metric,
        level=level,
        difference=one.mean - other.mean,
        low=None if flat else float(low),
        high=None if flat else float(high),
        p_permutation=p_value,
        p_holm=None,
        p_better=float((better > 0).mean() + (better == 0).mean() / 2),
        detectable=None if flat or detectable >= widest else float(detectable),
        paired=paired,
        n_patients=n_patients,
    )


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    tested = [i for i, pair in enumerate(pairs) if pair.p_permutation is not None]
    corrected = dict(zip(tested, holm([pairs[i].p_permutation or 0.0 for i in tested]), strict=True))
    return [replace(pair, p_holm=float(corrected[i]) if i in corrected else None) for i, pair in enumerate(pairs)]
