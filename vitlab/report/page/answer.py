"""What is said first: the answer in words, and the table that it is from."""

from collections.abc import Iterable, Sequence

from vitlab.evaluate.metrics import LOWER_IS_BETTER, METRICS
from vitlab.evaluate.scored import Level
from vitlab.report.figures.dots import Dot, draw_dots, height_of
from vitlab.report.formats import legend
from vitlab.report.markup import Markup, join, section, table, tag
from vitlab.report.page.album import WIDTH, Album, each, panels
from vitlab.report.pairs import METRIC
from vitlab.report.rows import Row, Stat
from vitlab.report.summary import Table
from vitlab.report.verdict import verdict
from vitlab.report.words import LABELS, PER, ends, figure

LEVELS: tuple[Level, ...] = ("slice", "patient")


def answer_section(album: Album) -> Markup:
    """Say what the study found, from its tests."""
    return section(
        "answer", "The answer", "Made from the tests below, not by hand.",
        each(album.tables, lambda found: [tag("div", *(tag("p", line) for line in verdict(found)), class_="verdict")]),
    )  # fmt: skip


def scores_section(album: Album) -> Markup:
    """Show every score with its interval, on images and on patients."""
    return section(
        "scores", "Scores", "How well each approach does on images and patients that it has not seen. Intervals that "
        "overlap do not mean that two approaches are equal: what they differ by is tested below, on the same patients.",
        each(album.tables, lambda found: _scores(found, album)),
    )  # fmt: skip


def levels_of(found: Table) -> list[Level]:
    """Return the levels that a table has figures of."""
    return [level for level in LEVELS if any(level in row.metrics for row in found.rows)]


def stacked(stat: Stat, *, signed: bool = False) -> Markup:
    """Return a figure with its interval below."""
    whole = figure(stat, signed=signed)
    mean, _, interval = whole.partition(" ")
    return join([mean, tag("small", interval)]) if interval else join([mean])


def _scores(found: Table, album: Album) -> Iterable[Markup]:
    levels = levels_of(found)
    for level in levels:
        yield table(
            ["approach", "runs", *(LABELS[name] for name in METRICS)],
            [[row.name, str(row.n), *(stacked(row.stat(level, "test", name)) for name in METRICS)]
             for row in found.rows],
            caption=f"Test scores {PER[level]}: mean over runs, 95 % interval{_counts(found.rows, level)}. "
            f"{', '.join(LABELS[name] for name in LOWER_IS_BETTER)}: less is better.",
        )  # fmt: skip
    grey = "" if found.chance is None else (
        " Grey: chance, the interval that holds all of them 95 times in 100 when labels are dealt among "
        f"{found.chance.exchanged} again."
    )  # fmt: skip
    yield panels([_picture(found, level, album) for level in levels], f"{LABELS[METRIC].capitalize()} on test: the dot "
                 f"is the mean over runs, the bar its 95 % interval.{grey}")  # fmt: skip
    yield table(
        ["approach", *(f"{split} {LABELS[METRIC]}" for split in ("train", "val", "test"))],
        [[row.name, *(stacked(row.stat("slice", split, METRIC)) for split in ("train", "val", "test"))]
         for row in found.rows],
        caption="Balanced accuracy per image on all splits, on the same evaluation transform"
        + ("; labels were shuffled: on train it is memorisation" if found.shuffled else ""),
    )  # fmt: skip
    yield tag("p", legend(found)[:1].upper() + legend(found)[1:] + ".", class_="note")
    if found.notes:
        yield tag("ul", *(tag("li", note) for note in found.notes), class_="note")


def _counts(rows: Sequence[Row], level: Level) -> str:
    known = [row.stat(level, "test", METRIC) for row in rows]
    images = {stat.n_images for stat in known if stat.n_images is not None}
    patients = {stat.n_patients for stat in known if stat.n_patients is not None}
    if len(images) != 1 or len(patients) != 1:
        return ""
    return f"; {images.pop():,} images of {patients.pop():,} patients"


def _picture(found: Table, level: Level, album: Album) -> Markup:
    stats = [(row, row.stat(level, "test", METRIC)) for row in found.rows]
    lines = [(row.name, [Dot(stat.mean, stat.low, stat.high, album.palette.style(row))]) for row, stat in stats]
    band = (found.chance.low, found.chance.high) if found.chance is not None and level == "slice" else None
    data = [(row.name, stat.mean, stat.low, stat.high, stat.n_runs) for row, stat in stats]
    return album.add(
        f"test scores {PER[level]}",
        lambda axes: draw_dots(axes, lines, label=f"test balanced accuracy {PER[level]} (fraction)", band=band),
        words=f"Test balanced accuracy {PER[level]}: " + "; ".join(
            f"{row.name} {'-' if stat.mean is None else f'{stat.mean:.3f}'}{ends(stat.low, stat.high)}"
            for row, stat in stats
        ) + ("" if band is None else f"; chance{ends(*band)}") + ".",
        head=("approach", "mean", "low", "high", "runs"),
        rows=data if band is None else [*data, ("chance", None, *band, None)],
        size=(WIDTH, height_of(lines)),
    )  # fmt: skip
