"""How far a score falls when images get worse: what `robustness.csv` of each run says."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.corrupted import FILE
from vitlab.report.figures.lines import Line, draw_lines
from vitlab.report.kept import OVERALL, read_kept
from vitlab.report.markup import Markup, section, table
from vitlab.report.page.album import Album, each, nothing, panels
from vitlab.report.page.answer import stacked
from vitlab.report.rows import Row, Stat
from vitlab.report.summary import Table
from vitlab.report.words import LABELS

METRICS = ("balanced_accuracy", "accuracy")  # the first that all runs have
Scores = dict[tuple[str, str, int], float]  # metric, corruption, severity


def robustness_section(album: Album) -> Markup:
    """Show scores under corruptions of each severity."""
    return section(
        "robustness", "Robustness", "How far the score falls as test images are corrupted, at five severities. "
        "Severity 0 is the images as they are.",
        each(album.tables, lambda found: _robustness(found, album)),
    )  # fmt: skip


def read_robustness(folder: Path) -> Scores:
    """Read a run's robustness.csv: columns corruption, severity, metric, value, and others that are passed over.

    Returns:
        Empty where there is no such file, or it has none of these columns.
    """
    found: Scores = {}
    try:
        with (folder / FILE).open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                try:
                    key, value = (row["metric"], row["corruption"], int(row["severity"])), float(row["value"])
                except (KeyError, TypeError, ValueError):
                    continue
                if math.isfinite(value):
                    found[key] = value
    except (OSError, csv.Error):
        return {}
    return found


def _robustness(found: Table, album: Album) -> Iterable[Markup]:
    read = [(row, [read_robustness(run.folder) for run in row.runs]) for row in found.rows]
    known = [(row, own) for row, own in read if all(own)]
    metric = next((m for m in METRICS if all(any(key[0] == m for key in one) for _, own in known for one in own)), None)
    if not known or metric is None:
        yield nothing(f"There is no {FILE} in the folders of the runs: their robustness was not measured.")
        return
    corruptions = list(dict.fromkeys(key[1] for _, own in known for one in own for key in one if key[0] == metric))
    shared = [(name, lines) for name in corruptions if (lines := _lines(known, metric, name, album))]
    # One axis for all, so that a steep line is a steep line.
    low = min(float(np.min(_known(line.low))) for _, lines in shared for line in lines)
    high = max(float(np.max(_known(line.high))) for _, lines in shared for line in lines)
    room = 0.05 * max(high - low, 0.02)
    yield panels(
        [
            album.add(
                f"robustness {name}",
                lambda axes, name=name, lines=lines: draw_lines(  # type: ignore[misc]
                    axes, lines, title=name, x_label="severity", y_label=f"test {LABELS[metric]} (fraction)",
                    y_range=(low - room, high + room),
                ),
                words=f"Test {LABELS[metric]} under {name}: " + "; ".join(
                    f"{line.name} from {line.y[0]:.3f} at severity {line.x[0]:.0f} to {line.y[-1]:.3f} at "
                    f"severity {line.x[-1]:.0f}" for line in lines
                ) + ".",
                head=("approach", "severity", "mean", "lowest", "highest"),
                rows=[(line.name, *(v.item() for v in point)) for line in lines
                      for point in zip(line.x, line.y, _known(line.low), _known(line.high), strict=True)],
            )
            for name, lines in shared
        ],
        "Lines: mean over runs; bands: from the lowest to the highest run. All have one scale.",
    )  # fmt: skip
    kept = read_kept(found)
    if all(row.name in kept for row, _ in known):
        yield _with_intervals(
            kept,
            f"Test {LABELS['balanced_accuracy']} per image, mean over severities and runs, 95 % interval over patients "
            "and runs. Relative robustness: what is left of the score above chance, mean over corruptions (1 is all, 0 "
            "none; - where the score itself may be chance). Error: in shares of the first row's, mean over "
            f"corruptions, as mCE of ImageNet-C (less is better){_left_out(found, known)}",
        )
        return
    cells = []
    for row, own in known:
        clean = row.stat("slice", "test", metric).mean
        means = [_mean(own, metric, name) for name in corruptions]
        there = [value for value in means if value is not None]
        overall = float(np.mean(there)) if len(there) == len(means) else None
        share = "-" if overall is None or not clean else f"{100 * overall / clean:.1f} %"
        cells.append([row.name, *(_shown(value) for value in (clean, overall)), share, *map(_shown, means)])
    yield table(
        ("approach", "as they are", "mean under corruption", "kept", *corruptions), cells,
        caption=f"Test {LABELS[metric]} per image under each corruption: mean over severities and runs"
        + _left_out(found, known),
    )  # fmt: skip


def _with_intervals(kept: Mapping[str, Mapping[str, Stat]], caption: str) -> Markup:
    """Return the table with intervals: approaches across, for there are fewer of them than of figures."""
    names, first = list(kept), next(iter(kept))
    lines = {
        "as they are": "clean",
        "mean under corruption": "corrupted",
        "relative robustness": "relative",
        f"error, {first} = 1": "mce",
    } | {name: name for own in kept.values() for name in own if name not in OVERALL}
    cells = [
        [line, *(stacked(kept[name][key]) if key in kept[name] else "-" for name in names)]
        for line, key in lines.items()
    ]
    return table(("test images", *names), cells, caption=caption)


def _left_out(found: Table, known: Sequence[tuple[Row, list[Scores]]]) -> str:
    names = {row.name for row, _ in known}
    without = [row.name for row in found.rows if row.name not in names]
    return f"; not every run of {', '.join(without)} was measured" if without else ""


def _lines(known: Sequence[tuple[Row, list[Scores]]], metric: str, corruption: str, album: Album) -> list[Line]:
    lines = []
    for row, own in known:
        severities = sorted(set.intersection(*({k[2] for k in one if k[:2] == (metric, corruption)} for one in own)))
        if not severities:
            continue
        values = np.array([[one[metric, corruption, severity] for severity in severities] for one in own])
        clean = [run.metrics["test"].get(metric) for run in row.runs]
        start = [value for value in clean if value is not None]
        if severities[0] > 0 and len(start) == len(own):
            severities, values = [0, *severities], np.column_stack([start, values])
        x, style = np.array(severities, float), album.palette.style(row)
        lines.append(Line(row.name, x, values.mean(0), style, values.min(0), values.max(0), marked=True))
    return lines


def _mean(own: Sequence[Scores], metric: str, corruption: str) -> float | None:
    values = [[v for k, v in one.items() if k[:2] == (metric, corruption) and k[2] > 0] for one in own]
    return float(np.mean([np.mean(run) for run in values])) if all(values) else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _known(edge: NDArray[np.float64] | None) -> NDArray[np.float64]:
    assert edge is not None
    return edge
