"""Pairs of rows: every two of a table, tested on the runs that both have."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from vitlab.evaluate.bootstrap import Estimate, estimate
from vitlab.evaluate.holm import enough_exchanges, holm
from vitlab.evaluate.paired import Pair, compare_pairs
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level, Scored
from vitlab.report.rows import Row
from vitlab.report.side_by_side import side_by_side

METRIC = "balanced_accuracy"  # that verdicts are from: a rare class counts as much as a frequent one
PAIR_METRICS = ("balanced_accuracy", "accuracy", "auroc")
Keys = frozenset[tuple[int, int | None]]  # seed and fold


def make_pairs(
    rows: Sequence[Row],
    resampling: Resampling,
    metrics: Sequence[str] = PAIR_METRICS,
    levels: Sequence[Level] = ("slice", "patient"),
) -> tuple[list[Pair], list[str]]:
    """Compare every two rows on test, at each level, by some metrics.

    Two rows that do not have the same runs are compared on the (seed, fold) that both have, so that neither is ahead
    for an easier fold.

    Args:
        rows: of one table.
        resampling: that their estimates were made with; there are as many exchanges in a test as resamples, or more
            where there are many pairs to correct for.
        metrics: of `PAIR_METRICS`; what a test takes is mostly AUROC.
        levels: in the order of the pairs.

    Returns:
        The pairs, the later row first (a pretrained approach minus that without), with Holm's correction over the
        pairs of a metric and level; and what a reader has to know of them.
    """
    known = [row for row in rows if row.test]
    notes = _notes(known)
    if any(one.leaks_beside(other) for one in known for other in known):
        notes.append("a split by image and one by patient have other test images: their difference is not paired, its "
                     "interval is of patients drawn for each by itself, and there is no p-value")  # fmt: skip
    calls: list[tuple[Any, ...]] = []
    for level in levels:
        estimates: dict[tuple[str, Keys], dict[str, Estimate]] = {}
        for other, one in itertools.combinations([row for row in known if level in row.test], 2):
            keys = _keys(one) & _keys(other)
            if not keys:
                continue
            runs = {row.name: _runs(row, keys) for row in (one, other)}
            for row in (one, other):
                if (row.name, keys) not in estimates:
                    whole = keys == _keys(row)
                    estimates[row.name, keys] = (
                        {name: row.test[level][name] for name in metrics}
                        if whole
                        else estimate(runs[row.name], resampling, level=level, metrics=metrics)
                    )
            calls.append((runs, {row.name: estimates[row.name, keys] for row in (one, other)}, level))
    most = max((sum(call[-1] == level for call in calls) for level in levels), default=0)
    exchanges = enough_exchanges(resampling.resamples, most)
    compared = side_by_side(partial(_compared, resampling, metrics, exchanges), calls)
    found: list[Pair] = []
    for level, metric in itertools.product(levels, metrics):
        pairs = [pair for own in compared for pair in own if (pair.level, pair.metric) == (level, metric)]
        found += _corrected(pairs)
    return found, notes


def _compared(
    resampling: Resampling,
    metrics: Sequence[str],
    exchanges: int,
    runs: Mapping[str, Sequence[Scored]],
    estimates: Mapping[str, Mapping[str, Estimate]],
    level: Level,
) -> list[Pair]:
    """Compare two rows."""
    return compare_pairs(runs, estimates, resampling, level=level, metrics=metrics, permutations=exchanges)


def _keys(row: Row) -> Keys:
    return frozenset((run.seed, run.fold) for run in row.runs)


def _runs(row: Row, keys: Keys) -> list[Scored]:
    return [run for run in row.scored["test"] if (run.seed, run.fold) in keys]


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    tested = [pair.p_permutation for pair in pairs if pair.p_permutation is not None]
    corrected = iter(holm(tested).tolist())
    return [replace(pair, p_holm=None if pair.p_permutation is None else next(corrected)) for pair in pairs]


def _notes(rows: Sequence[Row]) -> list[str]:
    unequal = [(a, b) for a, b in itertools.combinations(rows, 2) if _keys(a) != _keys(b)]
    apart = [f"{a.name} and {b.name}" for a, b in unequal if not _keys(a) & _keys(b)]
    notes = []
    if len(unequal) > len(apart):
        notes.append("pairs of unequal runs are compared on the seeds and folds that both have")
    if apart:
        notes.append(f"not compared, as they have no seed of the same fold in common: {'; '.join(apart)}")
    return notes
