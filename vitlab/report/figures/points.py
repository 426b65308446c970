"""Points in a plane: score against cost, features along their main axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from vitlab.report.figures.palette import CLASSES, MARKERS, PAPER, QUIET, Style
from vitlab.report.figures.picture import name_below, short

NAMED = 12  # classes below a picture; more are in the CSV
MANY = 200  # images, above which their marks are drawn smaller


@dataclass(frozen=True)
class Point:
    """A row by its cost and its score.

    Args:
        name: in the legend.
        x: cost.
        y: score.
        low: lower end of the score's interval; None where there is none.
        high: upper end.
        style: of the row.
        front: whether no other is both cheaper and better.
    """

    name: str
    x: float
    y: float
    low: float | None
    high: float | None
    style: Style
    front: bool


def draw_costs(axes: Axes, points: Sequence[Point], *, x_label: str, y_label: str) -> None:
    """Draw scores against costs on a logarithmic axis, with a line along the Pareto front."""
    front = sorted((point for point in points if point.front), key=lambda point: point.x)
    axes.plot([p.x for p in front], [p.y for p in front], color=QUIET, linewidth=1, drawstyle="steps-post", zorder=1)
    handles = []
    for point in points:
        color = point.style.color
        if point.low is not None and point.high is not None:
            axes.plot([point.x] * 2, [point.low, point.high], color=color, linewidth=1.6, zorder=2)
        handles += axes.plot(
            [point.x], [point.y], point.style.marker, linestyle="", color=color, markersize=8, markeredgewidth=1.5,
            markerfacecolor=color if point.front else PAPER, zorder=3,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))  # powers of ten are written as mathematics
    axes.xaxis.set_minor_formatter(NullFormatter())
    ends = [point.x for point in points]
    axes.set_xlim(min(ends) / 1.7, max(ends) * 1.7)  # one tick at least is seen where costs are alike
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    name_below(axes, handles, [point.name for point in points])


def _plain(value: float, _position: int | None) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def draw_map(
    axes: Axes, places: NDArray[np.float64], label: NDArray[np.object_], explained: Sequence[float], title: str
) -> None:
    """Draw images by their place along two main axes.

    Args:
        axes: to draw into.
        places: (N, 2).
        label: (N,) class names.
        explained: share of the variance along each axis.
        title: of the panel.
    """
    names, handles = sorted(set(label.tolist())), []
    size = 4.5 if len(label) <= MANY else 3
    for i, name in enumerate(names):
        own = places[label == name]
        handles += axes.plot(
            own[:, 0], own[:, 1], MARKERS[i % len(MARKERS)], linestyle="", color=CLASSES[i % len(CLASSES)],
            markersize=size, markeredgewidth=0, alpha=0.8,
        )  # fmt: skip
    axes.set_xlabel(f"first main axis ({100 * explained[0]:.0f} % of the variance)")
    axes.set_ylabel(f"second ({100 * explained[1]:.0f} %)")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(short(title, 44))
    if len(names) <= NAMED:
        name_below(axes, handles, names)
