"""What two approaches differ by, and what two splits differ by: differences with their intervals."""

import itertools
from collections.abc import Iterable

from vitlab.evaluate.paired import Pair
from vitlab.evaluate.scored import Level
from vitlab.report.figures.dots import Dot, draw_dots, height_of
from vitlab.report.figures.palette import Style
from vitlab.report.markup import Markup, section, table, tag
from vitlab.report.page.album import WIDTH, Album, each, nothing, panels
from vitlab.report.page.answer import levels_of, stacked
from vitlab.report.pairs import METRIC, PAIR_METRICS
from vitlab.report.rows import GAP_SPLITS
from vitlab.report.summary import Table
from vitlab.report.words import LABELS, PER, figure, p_value, points

SHOWN = 30  # pairs in a picture, the largest differences; the table has all of them


def pairs_section(album: Album) -> Markup:
    """Show the difference of every two approaches, on the same patients."""
    return section(
        "pairs", "Paired differences", "Two approaches that were tested on the same patients are compared patient by "
        "patient: what makes a patient hard for both cancels out. Read the interval first; a p-value says only whether "
        "the difference may be chance.",
        each(album.tables, lambda found: _pairs(found, album)),
    )  # fmt: skip


def gaps_section(album: Album) -> Markup:
    """Show how far the scores on train and val are above that on test."""
    return section(
        "gaps", "Generalisation gaps", "How much of a score is lost on new patients. A large gap from train is "
        "memorisation; a large gap from val is a test set that differs, or choices made on val.",
        each(album.tables, lambda found: _gaps(found, album)),
    )  # fmt: skip


def _pairs(found: Table, album: Album) -> Iterable[Markup]:
    known = [pair for pair in found.pairs if pair.difference is not None]
    if not known:
        reason = "There is one approach only." if len(found.rows) < 2 else (
            "No two approaches could be compared: that needs predictions.csv of the same seeds and folds."
        )  # fmt: skip
        yield nothing(reason)
        return
    yield panels(
        [_forest(found, level, album) for level in levels_of(found)],
        "Difference in test balanced accuracy in points (hundredths). The dot is the mean over runs, the bar its 95 % "
        "interval over patients and runs. Full dots: larger than chance (the interval leaves out 0 and, where paired, "
        "p after Holm's correction is below .05). Hollow dots: may be chance. Colour: of the first-named approach.",
    )
    more = []
    for level, metric in itertools.product(levels_of(found), PAIR_METRICS):
        if own := [pair for pair in known if (pair.level, pair.metric) == (level, metric)]:
            made = _pairs_table(own, f"Test {LABELS[metric]} {PER[level]}")
            if metric == METRIC:
                yield made
            else:
                more.append(made)
    others = " and ".join(LABELS[name] for name in PAIR_METRICS if name != METRIC)
    yield tag("details", tag("summary", f"The same in {others}"), *more) if more else Markup()
    yield tag(
        "p", "p: two-sided, of a permutation test over patients. Holm: corrected for all pairs of the table. "
        "P(better): share of resamples in which the first is better. Detectable: the smallest difference that a study "
        "of this size finds with 80 % power at 5 %.", class_="note",
    )  # fmt: skip


def _pairs_table(pairs: list[Pair], title: str) -> Markup:
    return table(
        ("difference", "points [95 %]", "p", "Holm", "P(better)", "detectable", "larger than chance"),
        [
            [
                f"{pair.a} \u2212 {pair.b}" + ("" if pair.paired else " (not paired)"),
                points(pair.difference, pair.low, pair.high).replace(" points", ""),
                p_value(pair.p_permutation),
                p_value(pair.p_holm),
                "-" if pair.p_better is None else f"{pair.p_better:.2f}",
                "-" if pair.detectable is None else f"{100 * pair.detectable:.1f}",
                tag("strong", "yes") if pair.differs else "no",
            ]
            for pair in pairs
        ],
        caption=title,
    )


def _forest(found: Table, level: Level, album: Album) -> Markup:
    rows = {row.name: row for row in found.rows}
    pairs = [p for p in found.pairs if (p.level, p.metric) == (level, METRIC) and p.difference is not None]
    largest = sorted(pairs, key=lambda pair: -abs(pair.difference or 0))[:SHOWN]
    pairs = [pair for pair in pairs if pair in largest]
    lines = [
        (f"{pair.a} \u2212 {pair.b}", [_scaled(pair.difference, pair.low, pair.high, album.palette.style(rows[pair.a]),
                                           hollow=not pair.differs)])
        for pair in pairs
    ]  # fmt: skip
    return album.add(
        f"paired differences {PER[level]}",
        lambda axes: draw_dots(axes, lines, label=f"difference in balanced accuracy {PER[level]} (points)",
                               zero="first is better \u2192"),
        words=f"Differences in test balanced accuracy {PER[level]}: " + "; ".join(
            f"{pair.a} minus {pair.b} {points(pair.difference, pair.low, pair.high)}, "
            f"{'larger than chance' if pair.differs else 'may be chance'}" for pair in pairs
        ) + ".",
        head=("a", "b", "difference", "low", "high", "p_permutation", "p_holm", "p_better", "detectable", "paired"),
        rows=[(p.a, p.b, p.difference, p.low, p.high, p.p_permutation, p.p_holm, p.p_better, p.detectable, p.paired)
              for p in pairs],
        size=(WIDTH, height_of(lines)),
    )  # fmt: skip


def _gaps(found: Table, album: Album) -> Iterable[Markup]:
    rows = [row for row in found.rows if row.gaps]
    if not rows:
        yield nothing("No gap is known: that needs a predictions.csv of every run, with train or val beside test.")
        return
    levels: list[Level] = [level for level in levels_of(found) if any(level in row.gaps for row in rows)]
    pictures = []
    for level in levels:
        stats = [(row, [row.gap(level, split, METRIC) for split in GAP_SPLITS]) for row in rows]
        lines = [
            (row.name, [_scaled(stat.mean, stat.low, stat.high, album.palette.style(row), hollow=split == "val")
                        for split, stat in zip(GAP_SPLITS, own, strict=True)])
            for row, own in stats
        ]
        pictures.append(album.add(
            f"generalisation gaps {PER[level]}",
            lambda axes, lines=lines, level=level: draw_dots(  # type: ignore[misc]
                axes, lines, label=f"gap in balanced accuracy {PER[level]} (points)", zero="worse on test \u2192"
            ),
            words=f"Gap to test in balanced accuracy {PER[level]}: " + "; ".join(
                f"{row.name} train minus test {figure(own[0], signed=True)}, val minus test "
                f"{figure(own[1], signed=True)}"
                for row, own in stats
            ) + ".",
            head=("approach", "gap", "mean", "low", "high"),
            rows=[(row.name, f"{split} - test", stat.mean, stat.low, stat.high)
                  for row, own in stats for split, stat in zip(GAP_SPLITS, own, strict=True)],
            size=(WIDTH, height_of(lines)),
        ))  # fmt: skip
    yield panels(pictures, "Full dots: train minus test; hollow dots: val minus test, in balanced accuracy. The bars "
                 "are 95 % intervals over patients and runs.")  # fmt: skip
    for level in levels:
        yield table(
            ("approach", *(f"{split} \u2212 test, {LABELS[name]}" for name in ("balanced_accuracy", "auroc", "loss")
                           for split in GAP_SPLITS)),
            [[row.name, *(stacked(row.gap(level, split, name), signed=True)
                          for name in ("balanced_accuracy", "auroc", "loss") for split in GAP_SPLITS)]
             for row in rows],
            caption=f"Gaps {PER[level]}: mean over runs, 95 % interval",
        )  # fmt: skip


def _scaled(value: float | None, low: float | None, high: float | None, style: Style, *, hollow: bool) -> Dot:
    """Return fractions as a dot in points."""
    value, low, high = (None if part is None else 100 * part for part in (value, low, high))
    return Dot(value, low, high, style, hollow)
