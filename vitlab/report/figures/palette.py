"""Colours: those of the page by their part, and one for each approach, the same in every picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vitlab.report.rows import Row
from vitlab.report.summary import Table

INK: Final = "#1b1f24"
QUIET: Final = "#57606a"
LINE: Final = "#d4d9e0"
PAPER: Final = "#ffffff"
# "Vibrant" of P. Tol, Colour Schemes, SRON/EPS/TN/09-002 (2021): told apart by colour-blind eyes. The first four have a
# contrast of 3 and more on white and on the dark page. Cool is a CNN, warm a ViT.
SERIES: Final = ("#0077bb", "#009988", "#cc3311", "#ee3377", "#ee7733", "#33bbee")
# "Bright" of the same note, for classes, so that no class is taken for an approach.
CLASSES: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
DASHES: Final = ("-", "--", "-.", ":")
OWN: Final = ("cnn", "cnn_simclr", "vit", "vit_mae")

# Colour -> the class of style that has it on the page.
STYLES: Final = {
    INK: "ink",
    QUIET: "quiet",
    LINE: "line",
    PAPER: "paper",
    **{color: f"c{i}" for i, color in enumerate(SERIES)},
    **{color: f"k{i}" for i, color in enumerate(CLASSES)},
}


def page_colors() -> str:
    """Return the rules by which pictures take the colours of the page, light or dark."""
    named = {INK: "var(--ink)", QUIET: "var(--quiet)", LINE: "var(--line)", PAPER: "var(--paper)"}
    rules = []
    for color, name in STYLES.items():
        value = named.get(color, color)
        rules.append(f".f-{name} {{ fill: {value}; }} .s-{name} {{ stroke: {value}; }}")
    return "\n".join(rules) + "\n"


@dataclass(frozen=True)
class Style:
    """How the lines and points of a row are drawn.

    Args:
        color: of the approach.
        marker: as matplotlib calls it.
        dash: as matplotlib calls it; rows of one approach differ by it.
    """

    color: str
    marker: str
    dash: str = "-"


class Palette:
    """The style of every row.

    Args:
        tables: all that the page shows.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        keys = sorted({_key(row) for table in tables for row in table.rows})
        others = sorted({key[0] for key in keys}.difference(OWN))
        place = {approach: i for i, approach in enumerate([*OWN, *others])}
        self._styles: dict[tuple[str, str, str], Style] = {}
        for approach, i in place.items():
            for variant, key in enumerate(key for key in keys if key[0] == approach):
                self._styles[key] = Style(
                    SERIES[i % len(SERIES)], MARKERS[(i + variant) % len(MARKERS)], DASHES[variant % len(DASHES)]
                )

    def style(self, row: Row) -> Style:
        """Return the style of a row."""
        return self._styles[_key(row)]


def _key(row: Row) -> tuple[str, str, str]:
    return row.approach, row.axes, row.backbone
