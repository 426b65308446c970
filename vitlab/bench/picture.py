"""The picture of a bench: one ratio a row with its quartiles, on a logarithmic axis, and the targets."""

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vitlab.report.figures.palette import INK, PAPER, QUIET, SERIES
from vitlab.report.figures.picture import RC, short


def draw(rows: list[dict[str, Any]]) -> str:
    """Return the SVG of the rows of a record; hollow where the target was not reached."""
    settings: Any = {**RC, "svg.hashsalt": "bench", "figure.facecolor": PAPER, "axes.facecolor": PAPER,
                     "savefig.facecolor": PAPER}  # fmt: skip
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(6.4, 1.0 + 0.28 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for y, row in enumerate(rows):
            ratio, color = row["ratio"], SERIES[2] if row["reached"] is False else SERIES[0]
            axes.plot([ratio["low"], ratio["high"]], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
            axes.plot(ratio["median"], y, "o", color=color, zorder=3, markeredgewidth=1.4,
                      markerfacecolor=PAPER if row["reached"] is False else color)  # fmt: skip
            if row["target"] is not None and row["target"]["of"] == "ratio":
                axes.plot([row["target"]["bound"]] * 2, [y - 0.35, y + 0.35], color=INK, linewidth=1.2, zorder=1)
        axes.axvline(1, color=QUIET, linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        ends = [value for row in rows for value in row["ratio"].values()]
        axes.set_xlim(min([*ends, 1]) / 1.5, max([*ends, 1]) * 1.5)
        axes.set_yticks(range(len(rows)), [short(row["name"]) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("times as fast as the plain reference; black: target, hollow: not reached")
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()
