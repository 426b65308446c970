"""Whether a probability of 80 % is right four times in five, before and after temperature scaling."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.calibration import Bin, reliability, temperature_scaled
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored
from vitlab.report.figures.lines import Line, draw_lines
from vitlab.report.figures.palette import QUIET, Style
from vitlab.report.markup import Markup, section, table
from vitlab.report.page.album import WIDTH, Album, each, nothing, panels
from vitlab.report.page.answer import stacked
from vitlab.report.page.classes import WITHOUT, tested
from vitlab.report.rows import Row, Stat
from vitlab.report.summary import Table

METRICS = ("ece", "loss", "brier")
BINS = 10  # of the curve; 15, as for the ECE, are too many for the images of a few hundred patients


def reliability_section(album: Album) -> Markup:
    """Show how often predictions of each confidence are right."""
    return section(
        "reliability", "Reliability", "Of the images that a model is 80 % sure of, it should be right on 80 %: below "
        "the diagonal it is too sure of itself, above it not sure enough. One temperature, fitted on the validation "
        "images, may mend that; it changes no prediction.",
        each(album.tables, lambda found: _reliability(found, album)),
    )  # fmt: skip


def _reliability(found: Table, album: Album) -> Iterable[Markup]:
    rows = tested(found)
    if not rows:
        yield nothing(WITHOUT)
        return
    if found.resampling is None:
        yield nothing("Compared without resamples: there are no curves.")
        return
    pictures, cells = [], []
    for row, runs in rows:
        scaled, temperatures = _scaled(row, runs)
        pictures.append(_picture(row, runs, scaled, found.resampling, album))
        before = estimate(runs, found.resampling, metrics=METRICS)
        after = estimate(scaled, found.resampling, metrics=METRICS) if scaled else {}
        told = ", ".join(f"{t:.2f}" for t in temperatures) if len(temperatures) <= 5 else (
            f"{np.mean(temperatures):.2f} ({min(temperatures):.2f} to {max(temperatures):.2f})"
        )  # fmt: skip
        cells.append([row.name, told or "-", *(
            stacked(Stat.of_estimate(own[name])) if own else "-" for name in METRICS for own in (before, after)
        )])  # fmt: skip
    yield panels(pictures, "Points: images of about the same confidence (the largest probability), all runs together, "
                 f"at most {BINS} bins of equal size; bars: 95 % intervals over patients. Grey and dashed: after "
                 "temperature scaling. Dotted: what a calibrated model would show.")  # fmt: skip
    yield table(
        ("approach", "temperature (runs)", "ECE before", "after", "loss before", "after", "Brier before", "after"),
        cells, words=2, caption="Calibration per test image, before and after temperature scaling; less is better",
    )  # fmt: skip


def _scaled(row: Row, runs: Sequence[Scored]) -> tuple[list[Scored], list[float]]:
    """Rescale by val; nothing where there is no val."""
    try:
        return temperature_scaled(row.scored.get("val", ()), runs)
    except ValueError:
        return [], []


def _picture(
    row: Row, runs: Sequence[Scored], scaled: Sequence[Scored], resampling: Resampling, album: Album
) -> Markup:
    style = album.palette.style(row)
    after_style = Style(QUIET, "o", "--")
    parts = [("as trained", runs, replace(style, dash="-"))]
    parts += [("temperature", scaled, after_style)] if scaled else []
    found = [(name, reliability(own, resampling, bins=BINS), look) for name, own, look in parts]
    lines = [_line(name, bins, look) for name, bins, look in found]
    start = min(0.9, *(np.floor(10 * np.nanmin([line.x, line.y, line.low])) / 10 for line in lines))
    told = "; ".join(
        f"{name}, " + ", ".join(f"{100 * b.accuracy:.0f} % right at a confidence of {100 * b.confidence:.0f} %"
                                for b in (bins[0], bins[len(bins) // 2], bins[-1]))
        for name, bins, _ in found
    )  # fmt: skip
    return album.add(
        f"reliability {row.name}",
        lambda axes: draw_lines(axes, lines, title=row.name, x_label="confidence", y_label="share that is right",
                                ends="bars", diagonal=start),
        words=f"Reliability of {row.name}: {told}.",
        head=("probabilities", "confidence", "accuracy", "low", "high", "predictions"),
        rows=[(name, b.confidence, b.accuracy, b.low, b.high, b.count) for name, bins, _ in found for b in bins],
        size=(WIDTH, 3.7),
    )  # fmt: skip


def _line(name: str, bins: Sequence[Bin], style: Style) -> Line:
    columns = ([getattr(b, key) for b in bins] for key in ("confidence", "accuracy", "low", "high"))
    x, y, low, high = (np.array([np.nan if v is None else v for v in column], float) for column in columns)
    return Line(name, x, y, style, low, high, marked=True)
