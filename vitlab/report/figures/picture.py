"""One picture: drawn by matplotlib once, kept as markup for the page, PNG and SVG for papers, and its data as CSV."""

import csv
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from vitlab.atomic import replacing, write_text
from vitlab.report.figures.inline import inline
from vitlab.report.figures.palette import INK, LINE, PAPER, QUIET
from vitlab.report.markup import Markup, printable
from vitlab.spreadsheet import cell

DPI: Final = 200  # of the PNG: a column of 85 mm in print at 300 dpi is about as wide
LONGEST: Final = 34  # characters of a name in a picture; tables have it whole
# Colours by name: `palette.STYLES` finds them again. Text is never mathematics, whatever a class is called.
RC: Final[dict[str, Any]] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "font.family": ["DejaVu Sans"],
    "axes.edgecolor": QUIET, "axes.labelcolor": INK, "axes.titlecolor": INK, "text.color": INK,
    "xtick.color": QUIET, "ytick.color": QUIET, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlesize": 9.5,
    "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.grid": True, "grid.color": LINE,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 8.5,
    "lines.linewidth": 1.6, "lines.markersize": 5, "figure.facecolor": "none", "axes.facecolor": "none",
    "savefig.facecolor": "none", "axes.unicode_minus": True,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture.

    Args:
        name: of its files, without a suffix.
        markup: for the page.
        head: names of the columns of its data.
        rows: its data.
    """

    name: str
    markup: Markup
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    _svg: str = field(repr=False)
    _png: bytes = field(repr=False)

    def write(self, folder: Path) -> None:
        """Write NAME.png, NAME.svg and NAME.csv."""
        write_text(folder / f"{self.name}.svg", self._svg)
        with replacing(folder / f"{self.name}.png") as temporary:
            temporary.write_bytes(self._png)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows([["" if value is None else cell(value) for value in row] for row in self.rows])
        write_text(folder / f"{self.name}.csv", text.getvalue(), errors="surrogateescape")


def draw_picture(
    name: str,
    size: tuple[float, float],
    draw: Callable[[Axes], None],
    *,
    words: str,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> Picture:
    """Draw a picture of one panel.

    Args:
        name: of its files, without a suffix.
        size: width and height in inches; 4 are 384 px, which a phone shows at nearly full size.
        draw: draws into the axes.
        words: what is to be seen, with the figures.
        head: names of the columns of its data.
        rows: its data.
    """
    settings: Any = {**RC, "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's own fonts have it
        figure = Figure(figsize=size)
        draw(figure.add_subplot())
        # Laid out once for both, and by hand: a figure with a layout is drawn twice for each file.
        ConstrainedLayoutEngine().execute(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=DPI, facecolor=PAPER)
    return Picture(name, inline(svg.getvalue(), name, words), head, rows, svg.getvalue(), png.getvalue())


def name_below(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Name what is drawn below the axes, where it hides nothing."""
    shown = [short(name, 26) for name in names]
    columns = 2 if max(map(len, shown)) > 12 else min(len(shown), 3)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(handles, shown, loc="outside lower left", ncols=columns, handlelength=1.8, columnspacing=1.2)


def short(name: str, longest: int = LONGEST) -> str:
    """Return a name as it stands in a picture: printable, not too long, and shown even where it starts with _."""
    plain = printable(name)
    plain = plain if len(plain) <= longest else plain[: longest - 1] + "\u2026"
    return f"\u200a{plain}" if plain.startswith("_") else plain
