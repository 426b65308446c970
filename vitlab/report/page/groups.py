"""Scores of parts of the test images, drawn and tabled by each column that parts them."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from vitlab.report.figures.dots import Dot, draw_dots, height_of
from vitlab.report.grouping import MEANING
from vitlab.report.groups import GroupScore, grouping_of, score_groups
from vitlab.report.markup import Markup, section, table
from vitlab.report.page.album import WIDTH, Album, each, nothing, panels
from vitlab.report.page.answer import stacked
from vitlab.report.page.classes import MANY, WITHOUT, tested
from vitlab.report.summary import Table
from vitlab.report.words import figure


def groups_section(album: Album) -> Markup:
    """Show the scores of each group of test images."""
    return section(
        "groups", "Groups", "A score that holds on average may not hold for each hospital, plane or scanner. "
        "Groups are small: read the intervals.",
        each(album.tables, lambda found: _groups(found, album)),
    )  # fmt: skip


def _groups(found: Table, album: Album) -> Iterable[Markup]:
    if not tested(found):
        yield nothing(WITHOUT)
        return
    if found.resampling is None:
        yield nothing("Compared without resamples: groups are not scored.")
        return
    grouping = grouping_of(found.rows)
    if grouping.reason:
        yield nothing(f"No columns of the manifest: {grouping.reason}.")
    elif not grouping.columns:
        yield nothing("The manifest has no column that parts the images into a few groups.")
    scores = score_groups(found.rows, grouping.columns, found.resampling)
    for name, own in groupby(scores, key=lambda score: score.column):
        yield from _column(name, list(own), found, album)


def _column(name: str, scores: Sequence[GroupScore], found: Table, album: Album) -> Iterable[Markup]:
    classes = list(scores[0].sensitivity) if len(scores[0].sensitivity) <= MANY else []
    styles = {row.name: album.palette.style(row) for row in found.rows}
    groups = {group: list(own) for group, own in groupby(scores, key=lambda score: score.group)}
    lines = [
        (group, [Dot(s.accuracy.mean, s.accuracy.low, s.accuracy.high, styles[s.name]) for s in own])
        for group, own in groups.items()
    ]
    title = MEANING.get(name, name)
    picture = album.add(
        f"groups {name}",
        lambda axes: draw_dots(axes, lines, label="test accuracy per image (fraction)"),
        words=f"Test accuracy by {title}: " + "; ".join(
            f"{group}: " + ", ".join(f"{s.name} {figure(s.accuracy)}" for s in own) for group, own in groups.items()
        ) + ".",
        head=("group", "approach", "accuracy", "low", "high", "images", "patients"),
        rows=[(s.group, s.name, s.accuracy.mean, s.accuracy.low, s.accuracy.high, s.accuracy.n_images,
               s.accuracy.n_patients) for s in scores],
        size=(WIDTH, height_of(lines)),
    )  # fmt: skip
    order = list(dict.fromkeys(score.name for score in scores))
    yield panels([picture], f"By {title}: accuracy per test image, mean over runs with 95 % interval; in each group, "
                 f"from above: {', '.join(order)}.")  # fmt: skip
    yield table(
        ("group", "approach", "images", "patients", "accuracy", *(f"sensitivity {known}" for known in classes)),
        [
            [s.group, s.name, f"{s.accuracy.n_images:,}", f"{s.accuracy.n_patients:,}", stacked(s.accuracy),
             *(stacked(s.sensitivity[known]) for known in classes)]
            for s in scores
        ], words=2,
        caption=f"By {title}: per test image, mean over runs, 95 % interval; a dash where a group has none of a class",
    )  # fmt: skip
