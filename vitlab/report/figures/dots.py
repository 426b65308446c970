"""Figures with their intervals, one below the other: a forest plot."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from vitlab.report.figures.palette import INK, PAPER, QUIET, Style
from vitlab.report.figures.picture import short


@dataclass(frozen=True)
class Dot:
    """A figure with its interval.

    Args:
        value: None where there is none; nothing is drawn then.
        low: lower end; None where there is no interval.
        high: upper end.
        style: colour and marker.
        hollow: drawn as an outline: what is not larger than chance, or the lesser of two series.
    """

    value: float | None
    low: float | None
    high: float | None
    style: Style
    hollow: bool = False


def height_of(lines: Sequence[tuple[str, Sequence[Dot]]]) -> float:
    """Return the height in inches that `draw_dots` needs."""
    return 0.65 + sum(0.27 + 0.17 * len(dots) for _, dots in lines)


def draw_dots(
    axes: Axes,
    lines: Sequence[tuple[str, Sequence[Dot]]],
    *,
    label: str,
    zero: str | None = None,
    band: tuple[float, float] | None = None,
) -> None:
    """Draw dots, with the name of each line above it, so that names of any length fit a phone.

    Args:
        axes: to draw into.
        lines: name -> one dot or several.
        label: of the axis, with its unit.
        zero: what stands at 0; None where 0 means nothing.
        band: a range to judge the dots by, in grey behind them.
    """
    y = 0.0
    if band is not None:
        axes.axvspan(*band, color=QUIET, alpha=0.18, linewidth=0, zorder=0)
    if zero is not None:
        axes.axvline(0, color=INK, linewidth=0.8)
    for name, dots in lines:
        axes.text(0, y, short(name, 48), transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, color=INK)
        y += 0.27
        for dot in dots:
            if dot.value is not None:
                if dot.low is not None and dot.high is not None:
                    axes.plot([dot.low, dot.high], [y - 0.03] * 2, color=dot.style.color, linewidth=2.2, zorder=2,
                              solid_capstyle="butt")  # fmt: skip
                axes.plot([dot.value], [y - 0.03], dot.style.marker, color=dot.style.color, markersize=6, zorder=3,
                          markerfacecolor=PAPER if dot.hollow else dot.style.color, markeredgewidth=1.4)  # fmt: skip
            y += 0.17
    axes.set_ylim(y - 0.1, -0.2)
    axes.set_yticks([])
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    axes.set_xlabel(label)
    if zero is not None:
        axes.annotate(zero, (0, 1), (3, 2), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8,
                      color=QUIET, annotation_clip=False)  # fmt: skip
