"""Scores of parts of the test images: by hospital, plane, scanner, or whatever else the manifest tells apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.bootstrap import Estimate, estimate, estimate_classes
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored, by_group
from vitlab.report.grouping import Grouping, read_grouping
from vitlab.report.rows import Row, Stat

RESAMPLES = 1000  # parts of the images, times approaches: half of the draws, whose ends are as good as the parts allow


@dataclass(frozen=True)
class GroupScore:
    """What an approach reaches on the test images of one group.

    Args:
        column: of the manifest.
        group: its value.
        name: of the row.
        accuracy: per image, mean over runs.
        sensitivity: of each class, per image, mean over the runs that were tested on it; a figure without a mean where
            the group has none of it.
    """

    column: str
    group: str
    name: str
    accuracy: Stat
    sensitivity: dict[str, Stat]


def grouping_of(rows: Sequence[Row]) -> Grouping:
    """Return the columns that part the test images of rows with predictions; see `read_grouping`."""
    known = [row for row in rows if row.scored.get("test")]
    tested = [run for row in known for run in row.scored["test"]]
    return read_grouping([run for row in known for run in row.runs], tested)


def score_groups(
    rows: Sequence[Row], columns: Mapping[str, Mapping[str, str]], resampling: Resampling
) -> list[GroupScore]:
    """Score every approach on each group of the test images.

    Args:
        rows: of one table; those without predictions are left out.
        columns: name -> group of each image by its path.
        resampling: of the table; at most 1,000 of its resamples are drawn.

    Returns:
        By column, then group, then row.
    """
    resampling = Resampling(min(RESAMPLES, resampling.resamples))
    found = []
    for name, column in columns.items():
        scores: dict[str, list[GroupScore]] = {}
        for row in rows:
            runs = row.scored.get("test")
            for group, own in by_group(runs, _by_index(runs, column)).items() if runs else ():
                accuracy = _stat(estimate(own, resampling, metrics=("accuracy",))["accuracy"])
                sensitivity = _sensitivity(own, resampling)
                scores.setdefault(group, []).append(GroupScore(name, group, row.name, accuracy, sensitivity))
        found += [score for group in sorted(scores) for score in scores[group]]
    return found


def _sensitivity(runs: Sequence[Scored], resampling: Resampling) -> dict[str, Stat]:
    """Estimate the sensitivity of each class from the runs, often the folds, whose part of the group has some of it."""
    found: dict[str, Stat] = {}
    known: dict[tuple[int, ...], dict[str, dict[str, Estimate]]] = {}
    for name in runs[0].predictions.classes:
        there = tuple(place for place, run in enumerate(runs) if (run.predictions.label == name).any())
        if there not in known:
            known[there] = estimate_classes([runs[place] for place in there] or runs, resampling)
        found[name] = _stat(known[there][name]["sensitivity"])
    return found


def _stat(found: Estimate) -> Stat:
    """Return a figure; of one patient without an interval, which would say nothing of others."""
    stat = Stat.of_estimate(found)
    return replace(stat, low=None, high=None) if found.n_patients < 2 else stat


def _by_index(runs: Sequence[Scored], column: Mapping[str, str]) -> NDArray[np.object_]:
    """Put a column into the order of the manifest: what `by_group` takes."""
    groups = np.full(1 + max(int(run.predictions.index.max()) for run in runs), "", object)
    for run in runs:
        groups[run.predictions.index] = [column.get(path, "") for path in run.predictions.path]
    return groups
