"""A confusion matrix: truth down, prediction across, each row in shares of its class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from vitlab.report.figures.palette import INK, LINE, Style
from vitlab.report.figures.picture import short

WRITTEN = 12  # classes; with more, figures no longer fit their cells
DARKEST = 0.5  # ink stays legible on the fullest cell, on the light page and on the dark one


def draw_grid(axes: Axes, counts: NDArray[np.float64], classes: Sequence[str], style: Style, title: str) -> None:
    """Draw a confusion matrix.

    Args:
        axes: to draw into.
        counts: (K, K), truth down and prediction across.
        classes: K names.
        style: of the row.
        title: of the panel.
    """
    k = len(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for (i, j), share in np.ndenumerate(shares):
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=style.color, alpha=DARKEST * share, linewidth=0))
        if k <= WRITTEN:
            written = f"{100 * share:.0f} %" if k <= 6 else f"{100 * share:.0f}"
            axes.text(j + 0.5, i + 0.5, written, ha="center", va="center", color=INK,
                      fontsize=9 if k <= 6 else 7, fontweight="bold" if i == j else "normal")  # fmt: skip
    for at in range(k + 1):
        axes.plot([0, k], [at, at], color=LINE, linewidth=0.8)
        axes.plot([at, at], [0, k], color=LINE, linewidth=0.8)
    axes.set_xlim(0, k)
    axes.set_ylim(k, 0)
    size, longest = (8.5, 14) if k <= 6 else (6.5, 12)
    names = [short(name, longest) for name in classes]
    upright = k <= 4 and max(map(len, names)) <= 11
    axes.set_xticks(np.arange(k) + 0.5, names, fontsize=size, rotation=0 if upright else 90)
    axes.set_yticks(np.arange(k) + 0.5, names, fontsize=size)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(short(title, 44))
