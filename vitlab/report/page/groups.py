"""Scores of parts of the test images: by hospital, plane, scanner, or whatever else the manifest tells apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.bootstrap import Estimate, estimate, estimate_classes
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored, by_group
from vitlab.report.figures.dots import Dot, draw_dots, height_of
from vitlab.report.markup import Markup, section, table
from vitlab.report.page.album import WIDTH, Album, each, nothing, panels
from vitlab.report.page.answer import stacked
from vitlab.report.page.classes import MANY, WITHOUT, tested
from vitlab.report.page.manifest import read_grouping
from vitlab.report.rows import Row, Stat
from vitlab.report.summary import Table
from vitlab.report.words import figure

RESAMPLES = 1000  # parts of the images, times approaches: half of the draws, whose ends are as good as the parts allow


def groups_section(album: Album) -> Markup:
    """Show the scores of each group of test images."""
    return section(
        "groups", "Groups", "A score that holds on average may not hold for each hospital, plane or scanner. "
        "Groups are small: read the intervals.",
        each(album.tables, lambda found: _groups(found, album)),
    )  # fmt: skip


def _groups(found: Table, album: Album) -> Iterable[Markup]:
    rows = tested(found)
    if not rows:
        yield nothing(WITHOUT)
        return
    if found.resampling is None:
        yield nothing("Compared without resamples: groups are not scored.")
        return
    grouping = read_grouping([run for row, _ in rows for run in row.runs], [run for _, runs in rows for run in runs])
    if grouping.reason:
        yield nothing(f"No columns of the manifest: {grouping.reason}.")
    elif not grouping.columns:
        yield nothing("The manifest has no column that parts the images into a few groups.")
    resampling = Resampling(min(RESAMPLES, found.resampling.resamples))
    for name, column in grouping.columns.items():
        yield from _column(name, column, rows, resampling, album)


def _column(
    name: str,
    column: Mapping[str, str],
    rows: Sequence[tuple[Row, Sequence[Scored]]],
    resampling: Resampling,
    album: Album,
) -> Iterable[Markup]:
    classes = rows[0][1][0].predictions.classes
    listed = classes if len(classes) <= MANY else []
    stats: dict[str, list[tuple[Row, Stat]]] = {}
    cells = []
    for row, runs in rows:
        for group, own in by_group(runs, _by_index(runs, column)).items():
            stat = _stat(estimate(own, resampling, metrics=("accuracy",))["accuracy"])
            of_classes = estimate_classes(own, resampling)
            stats.setdefault(group, []).append((row, stat))
            cells.append((group, row.name, [
                group, row.name, f"{stat.n_images:,}", f"{stat.n_patients:,}", stacked(stat),
                *(stacked(_stat(of_classes[known]["sensitivity"])) for known in listed),
            ]))  # fmt: skip
    groups = sorted(stats)
    lines = [
        (group, [Dot(stat.mean, stat.low, stat.high, album.palette.style(row)) for row, stat in stats[group]])
        for group in groups
    ]
    picture = album.add(
        f"groups {name}",
        lambda axes: draw_dots(axes, lines, label="test accuracy per image (fraction)"),
        words=f"Test accuracy by {name}: " + "; ".join(
            f"{group}: " + ", ".join(f"{row.name} {figure(stat)}" for row, stat in stats[group]) for group in groups
        ) + ".",
        head=("group", "approach", "accuracy", "low", "high", "images", "patients"),
        rows=[(group, row.name, stat.mean, stat.low, stat.high, stat.n_images, stat.n_patients)
              for group in groups for row, stat in stats[group]],
        size=(WIDTH, height_of(lines)),
    )  # fmt: skip
    order = [row.name for row, _ in rows]
    yield panels([picture], f"By {name}: accuracy per test image, mean over runs with 95 % interval; in each group, "
                 f"from above: {', '.join(order)}.")  # fmt: skip
    yield table(
        ("group", "approach", "images", "patients", "accuracy", *(f"sensitivity {known}" for known in listed)),
        [line for _, _, line in sorted(cells, key=lambda cell: (cell[0], order.index(cell[1])))], words=2,
        caption=f"By {name}: per test image, mean over runs, 95 % interval; a dash where a group has none of a class",
    )  # fmt: skip


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
