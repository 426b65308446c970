"""Learning curves over epochs, and what more labels bring."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vitlab.report.figures.lines import Line, draw_lines
from vitlab.report.labels import HOLM_OF_SHARES, Efficiency, efficiencies, grid, sentences
from vitlab.report.markup import Markup, join, section, table, tag
from vitlab.report.page.album import Album, each, nothing, panels
from vitlab.report.page.answer import stacked
from vitlab.report.page.history import FILE, History, read_history, together
from vitlab.report.pairs import METRIC
from vitlab.report.rows import Row
from vitlab.report.summary import Table
from vitlab.report.words import PER

SCORE = f"val/{METRIC}"


def curves_section(album: Album) -> Markup:
    """Show how loss and score went over the epochs."""
    return section(
        "curves", "Learning curves", "Whether training was long enough, and where it began to memorise: a validation "
        "loss that rises while the training loss falls.",
        each(album.tables, lambda found: _curves(found, album)),
    )  # fmt: skip


def labels_section(album: Album) -> Markup:
    """Show scores over the share of labels, for tables that differ by nothing else."""
    body = [_efficiency(found, album) for found in efficiencies(album.tables)] or [
        nothing("All runs used the same share of the training labels: there is no curve. A study with label_fractions "
                "has one.")
    ]  # fmt: skip
    return section(
        "labels", "Label efficiency", "What pretraining is worth shows where labels are few: how many of them one "
        "approach needs to do as well as another with all.", *body,
    )  # fmt: skip


def _curves(found: Table, album: Album) -> Iterable[Markup]:
    known = [(row, own) for row in found.rows if (own := [read_history(run.folder) for run in row.runs]) and all(own)]
    if not known:
        yield nothing(f"Not every run of an approach has its {FILE} (published runs are kept without): there are no "
                      "curves.")  # fmt: skip
        return
    pictures = [picture for row, own in known if (picture := _losses(row, own, album)) is not None]
    score = _scores(known, album)
    yield panels(
        [*([score] if score is not None else []), *pictures],
        "Lines: mean over runs; bands: from the lowest to the highest run, at the epochs that all runs of an approach "
        "have. Training loss is of augmented images, as it was minimised; validation is of plain ones.",
    )
    without = [row.name for row in found.rows if row not in [row for row, _ in known]]
    rows = [[row.name, *_best(own)] for row, own in known]
    yield table(
        ("approach", "epoch of best val (runs)", "best val balanced accuracy", "val at the last epoch"), rows,
        caption="Best epoch by validation balanced accuracy, of each run"
        + (f"; no curves of {', '.join(without)}" if without else ""),
    )  # fmt: skip


def _line(name: str, row: Row, metric: str, histories: Sequence[History], album: Album, dash: str) -> Line | None:
    epochs, values = together(list(histories), metric)
    if not len(epochs):
        return None
    style = replace(album.palette.style(row), dash=dash)
    return Line(name, epochs, values.mean(0), style, values.min(0), values.max(0), marked=len(epochs) == 1)


def _losses(row: Row, own: list[History], album: Album) -> Markup | None:
    made = [_line(split, row, f"{split}/loss", own, album, dash) for split, dash in (("train", "--"), ("val", "-"))]
    lines = [line for line in made if line is not None]
    if not lines:
        return None
    return album.add(
        f"learning curves {row.name}",
        lambda axes: draw_lines(axes, lines, title=row.name, x_label="epoch", y_label="loss (nats)"),
        words=f"Loss of {row.name} over epochs: " + "; ".join(_told(line) for line in lines) + ".",
        head=("split", "epoch", "mean", "lowest", "highest"), rows=_data(lines),
    )  # fmt: skip


def _scores(known: Sequence[tuple[Row, list[History]]], album: Album) -> Markup | None:
    made = [_line(row.name, row, SCORE, own, album, album.palette.style(row).dash) for row, own in known]
    lines = [line for line in made if line is not None]
    if not lines:
        return None
    return album.add(
        "learning curves val",
        lambda axes: draw_lines(axes, lines, title="Validation", x_label="epoch",
                                y_label="balanced accuracy (fraction)"),
        words="Validation balanced accuracy over epochs: " + "; ".join(_told(line) for line in lines) + ".",
        head=("approach", "epoch", "mean", "lowest", "highest"), rows=_data(lines),
    )  # fmt: skip


def _told(line: Line) -> str:
    return f"{line.name} from {line.y[0]:.3f} at epoch {line.x[0]:.0f} to {line.y[-1]:.3f} at epoch {line.x[-1]:.0f}"


def _data(lines: Iterable[Line]) -> Iterable[Sequence[object]]:
    for line in lines:
        assert line.low is not None and line.high is not None
        for point in zip(line.x.astype(int), line.y, line.low, line.high, strict=True):
            yield [line.name, *(value.item() for value in point)]


def _best(own: Sequence[History]) -> tuple[str, str, str]:
    curves = [history[SCORE] for history in own if SCORE in history]
    if not curves:
        return "-", "-", "-"
    best = [max(curve, key=lambda epoch: curve[epoch]) for curve in curves]
    scores = [curve[epoch] for curve, epoch in zip(curves, best, strict=True)]
    last = [curve[max(curve)] for curve in curves]
    of = max(max(curve) for curve in curves)
    return f"{', '.join(map(str, best))} of {of}", f"{np.mean(scores):.3f}", f"{np.mean(last):.3f}"


def _efficiency(efficiency: Efficiency, album: Album) -> Markup:
    tables, level = efficiency.tables, efficiency.level
    names = list(dict.fromkeys(row.name for found in tables for row in found.rows))
    lines: list[Line] = []
    data = []
    for name in names:
        own = [(found.label_fraction, row) for found in tables for row in found.rows if row.name == name]
        stats = [(100 * share, row.stat(level, "test", METRIC)) for share, row in own]
        stats = [(share, stat) for share, stat in stats if stat.mean is not None]
        if stats:
            style = album.palette.style(own[0][1])
            columns = ([getattr(stat, end) for _, stat in stats] for end in ("mean", "low", "high"))
            mean, low, high = (_array(column) for column in columns)
            beside = 1.035 ** (len(lines) - 1.5)  # so that intervals do not hide each other
            lines.append(Line(name, beside * _array([s for s, _ in stats]), mean, style, low, high, marked=True))
            data += [(name, share / 100, stat.mean, stat.low, stat.high, stat.n_runs) for share, stat in stats]

    def draw(axes: Axes) -> None:
        draw_lines(axes, lines, x_label="training labels used (%)", ends="bars",
                   y_label=f"test balanced accuracy {PER[level]}")  # fmt: skip
        shares = [100 * found.label_fraction for found in tables]
        axes.set_xscale("log")
        axes.set_xticks(shares, [f"{share:g}" for share in shares])
        axes.set_xticks([], minor=True)

    picture = album.add(
        f"label efficiency {tables[0].dataset}", draw,
        words=f"Test balanced accuracy {PER[level]} by the share of training labels: " + "; ".join(
            f"{line.name} " + ", ".join(f"{mean:.3f} at {100 * share:g} %" for own, share, mean, *_ in data
                                        if own == line.name)
            for line in lines
        ) + ".",
        head=("approach", "label_fraction", "mean", "low", "high", "runs"), rows=data, size=(4.2, 3.7),
    )  # fmt: skip
    cells = [
        [name, *(next((stacked(row.stat(level, "test", METRIC)) for row in found.rows if row.name == name), "-")
                 for found in tables)]
        for name in names
    ]  # fmt: skip
    caption = f"Test balanced accuracy {PER[level]}, mean over runs and 95 % interval"
    shares = [f"{100 * found.label_fraction:g} % of the labels" for found in tables]
    return join([
        panels([picture], f"{tables[0].dataset}: mean over runs, bars are 95 % intervals over patients and runs. The "
               "axis of labels is logarithmic."),
        table(["approach", *shares], cells, caption=caption),
        *_worth(efficiency),
    ])  # fmt: skip


def _worth(efficiency: Efficiency) -> Iterable[Markup]:
    """What pretraining adds at each share, tested."""
    if efficiency.shares:
        yield tag("div", *(tag("p", line) for line in sentences(efficiency)), class_="verdict")
        header, rows = grid(efficiency)
        yield table(header, rows, caption=f"What pretraining adds at each share. {HOLM_OF_SHARES}")


def _array(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], float)
