"""Curves with a band or with intervals: over epochs, label fractions, severities, false positives, confidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vitlab.report.figures.palette import QUIET, Style
from vitlab.report.figures.picture import name_below, short


@dataclass(frozen=True, eq=False)
class Line:
    """A curve.

    Args:
        name: in the legend.
        x: (N,).
        y: (N,).
        style: colour, marker and dash.
        low: (N,) lower edge of the band or ends of the intervals, nan where there is none; None for neither.
        high: (N,) upper edge.
        marked: whether each point has its marker.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    style: Style
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    marked: bool = False


def draw_lines(
    axes: Axes,
    lines: Sequence[Line],
    *,
    title: str = "",
    x_label: str,
    y_label: str,
    ends: Literal["band", "bars"] = "band",
    diagonal: float | None = None,
    y_range: tuple[float, float] | None = None,
) -> None:
    """Draw curves.

    Args:
        axes: to draw into.
        lines: curves.
        title: of the panel.
        x_label: with its unit.
        y_label: with its unit.
        ends: how `low` and `high` are drawn.
        diagonal: where y = x begins, drawn up to 1 for comparison; None for none.
        y_range: of the axis, for pictures that are compared; None for the curves' own.
    """
    if diagonal is not None:
        axes.plot([diagonal, 1], [diagonal, 1], color=QUIET, linewidth=0.9, linestyle=":", zorder=1)
    handles = []
    for line in lines:
        style = line.style
        marker = style.marker if line.marked else ""
        handles += axes.plot(line.x, line.y, color=style.color, linestyle=style.dash, marker=marker, zorder=3)
        if line.low is None or line.high is None:
            continue
        if ends == "band":
            axes.fill_between(line.x, line.low, line.high, color=style.color, alpha=0.18, linewidth=0, zorder=2)
        else:
            axes.vlines(line.x, line.low, line.high, color=style.color, linewidth=1.4, zorder=2)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if y_range is not None:
        axes.set_ylim(*y_range)
    if title:
        axes.set_title(short(title, 48))
    name_below(axes, handles, [line.name for line in lines])
