"""What is taken for what: confusion matrices, figures of each class, ROC curves."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.bootstrap import estimate_classes
from vitlab.evaluate.metrics import CLASS_METRICS, confusion_matrix
from vitlab.evaluate.scored import Scored
from vitlab.report.figures.grid import draw_grid
from vitlab.report.figures.lines import Line, draw_lines
from vitlab.report.markup import Markup, section, table
from vitlab.report.page.album import WIDTH, Album, each, nothing, panels
from vitlab.report.page.answer import stacked
from vitlab.report.rows import Row, Stat
from vitlab.report.summary import Table
from vitlab.report.words import figure

WITHOUT = "No run has a predictions.csv with labelled test images."
GRID = np.linspace(0, 1, 101)  # false positive rates; more are not seen at this size
MANY = 12  # classes, above which each one's figures are in the CSV only


def confusion_section(album: Album) -> Markup:
    """Show which class is taken for which."""
    return section(
        "confusion", "Confusion matrices", "Which class is taken for which, and how many of each class are found.",
        each(album.tables, lambda found: _confusion(found, album)),
    )  # fmt: skip


def roc_section(album: Album) -> Markup:
    """Show ROC curves."""
    return section(
        "roc", "ROC curves", "How many of a class are found at each share of false alarms, whatever the threshold.",
        each(album.tables, lambda found: _roc(found, album)),
    )  # fmt: skip


def tested(found: Table) -> list[tuple[Row, Sequence[Scored]]]:
    """Return the rows that have predictions on test, with those."""
    return [(row, row.scored["test"]) for row in found.rows if row.scored.get("test")]


def _confusion(found: Table, album: Album) -> Iterable[Markup]:
    rows = tested(found)
    if not rows:
        yield nothing(WITHOUT)
        return
    classes = rows[0][1][0].predictions.classes
    yield panels(
        [_matrix(row, runs, classes, album) for row, runs in rows],
        "Test images of all runs together: each row sums to 100 % of the images of a true class; the diagonal, in "
        "bold, is the sensitivity.",
    )
    if found.resampling is None or len(classes) > MANY:
        return
    cells = []
    for row, runs in rows:
        estimates = estimate_classes(runs, found.resampling)
        for name in classes:
            stats = [Stat.of_estimate(estimates[name][metric]) for metric in CLASS_METRICS]
            cells.append([row.name, name, *(stacked(stat) for stat in stats)])
    yield table(
        ("approach", "class", *CLASS_METRICS), cells, words=2,
        caption="Each class against the rest, per test image: mean over runs, 95 % interval",
    )  # fmt: skip


def _matrix(row: Row, runs: Sequence[Scored], classes: list[str], album: Album) -> Markup:
    known = [run.predictions.where(run.predictions.targets >= 0) for run in runs]
    counts = sum((confusion_matrix(own.probs, own.targets) for own in known), np.zeros((len(classes),) * 2))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    told = []
    for i, name in enumerate(classes[:MANY]):
        others = [(shares[i, j], other) for j, other in enumerate(classes) if j != i]
        most = max(others, default=(0, ""))
        told.append(f"{name}: {100 * shares[i, i]:.0f} % right"
                    + (f", {100 * most[0]:.0f} % taken for {most[1]}" if most[0] > 0 else ""))  # fmt: skip
    return album.add(
        f"confusion {row.name}",
        lambda axes: draw_grid(axes, counts, classes, album.palette.style(row), row.name),
        words=f"Confusion matrix of {row.name}. {'; '.join(told)}.",
        head=("true", "predicted", "images", "share"),
        rows=[(classes[i], classes[j], int(counts[i, j]), float(shares[i, j])) for i, j in np.ndindex(*counts.shape)],
        size=(WIDTH, 3.3) if len(classes) <= 6 else (4.8, 4.5),
    )  # fmt: skip


def _roc(found: Table, album: Album) -> Iterable[Markup]:
    lines = []
    for row, runs in tested(found):
        curves = [curve for run in runs if (curve := macro_roc(run)) is not None]
        if curves:
            values = np.stack(curves)
            style = album.palette.style(row)
            lines.append(Line(row.name, GRID, values.mean(0), style, values.min(0), values.max(0)))
    if not lines:
        yield nothing(WITHOUT)
        return
    areas = {row.name: row.stat("slice", "test", "auroc") for row in found.rows}
    told = "; ".join(f"{line.name} finds {100 * line.y[5]:.0f} % at 5 % false positives and {100 * line.y[10]:.0f} % "
                     f"at 10 %, AUROC {figure(areas[line.name])}" for line in lines)  # fmt: skip
    yield panels([album.add(
        "roc",
        lambda axes: draw_lines(axes, lines, x_label="false positive rate", y_label="true positive rate",
                                diagonal=0),
        words=f"ROC curves: {told}.",
        head=("approach", "false_positive_rate", "mean", "lowest", "highest"),
        rows=[(line.name, *point) for line in lines
              for point in zip(line.x.tolist(), line.y.tolist(), *_edges(line), strict=True)],
        size=(WIDTH, 3.9),
    )], "Each class against the rest, averaged over the classes at equal false positive rates (macro). Lines: mean "
        "over runs; bands: from the lowest to the highest run. Dotted: chance.")  # fmt: skip
    yield table(
        ("approach", "AUROC", "found at 5 % false positives", "found at 10 %"),
        [[line.name, stacked(areas[line.name]), f"{100 * line.y[5]:.1f} %", f"{100 * line.y[10]:.1f} %"]
         for line in lines],
        caption="Per test image, macro over classes: mean over runs; AUROC with its 95 % interval",
    )  # fmt: skip


def macro_roc(run: Scored) -> NDArray[np.float64] | None:
    """Average the ROC curves of each class against the rest at equal false positive rates.

    Args:
        run: on test.

    Returns:
        (101,) true positive rates at the rates of `GRID`; None where there is one class only.
    """
    from sklearn.metrics import roc_curve

    targets = run.predictions.targets
    known = targets >= 0
    targets, probs = targets[known], np.asarray(run.predictions.probs, float)[known]
    present = np.unique(targets)
    if len(present) < 2:
        return None
    curves = []
    for c in present:
        false, true, _ = roc_curve(targets == c, probs[:, c])
        curves.append(np.interp(GRID, false, true))  # at a step, numpy takes its upper end: what can be found there
    found: NDArray[np.float64] = np.mean(curves, 0)
    return found


def _edges(line: Line) -> tuple[list[float], list[float]]:
    assert line.low is not None and line.high is not None
    return line.low.tolist(), line.high.tolist()
