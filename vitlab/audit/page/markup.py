"""Markup of the audit's page: escaped text, tables, and a value with its interval drawn to scale."""

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

CHART_WIDTH: Final = 260  # px; of every interval, so that the columns of two tables can be compared
_CHART_HEIGHT: Final = 20
_MARGIN: Final = 6  # px; a dot at the end of the scale is drawn whole


class Markup(str):
    """Text that is HTML already; everything else is escaped on its way into the page."""

    __slots__ = ()


def printable(value: Any) -> str:
    """Return text that can be shown and searched for: bytes of no encoding and invisible characters as escapes.

    A file name may hold any bytes; marks that turn the direction of writing would make it look like another one.
    """
    plain = str(value).encode("utf-8", "surrogateescape" if _from_bytes(str(value)) else "backslashreplace")
    known = plain.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in known)


def _from_bytes(value: str) -> bool:
    """Whether all lone surrogates of the text stand for bytes of a file name."""
    return all("\udc80" <= c <= "\udcff" for c in value if "\ud800" <= c <= "\udfff")


def text(value: Any) -> Markup:
    """Return a value as HTML, escaped unless it is markup already."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(value)))


def join(parts: Iterable[Any]) -> Markup:
    """Return parts, escaped where they are no markup, one after the other."""
    return Markup("".join(text(part) for part in parts))


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """Return an element; `class_` is the attribute class, `data_x` is data-x, None leaves an attribute out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    listed = "".join(f' {key}="{text(value)}"' for key, value in given.items())
    return Markup(f"<{name}{listed}>{join(content)}</{name}>")


def section(identity: str, title: str, meaning: str, *content: Any) -> Markup:
    """Return a section of the page: what it is called, what it means and what to do about it, what was found."""
    return tag("section", tag("h2", title), tag("p", meaning, class_="meaning"), *content, id=identity)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, caption: str, words: int = 1) -> Markup:
    """Return a table that scrolls in its own box.

    Args:
        head: Of each column.
        rows: Cells of each row; the first one names it.
        caption: What the table holds.
        words: How many columns hold words, from the left; the others hold figures and are set right.
    """
    body = []
    for row in rows:
        cells = [tag("th", row[0], scope="row")]
        cells += [tag("td", cell, class_=None if at < words else "n") for at, cell in enumerate(row[1:], 1)]
        body.append(tag("tr", *cells))
    headings = [tag("th", name, scope="col", class_=None if at < words else "n") for at, name in enumerate(head)]
    whole = tag("table", tag("caption", caption), tag("thead", tag("tr", *headings)), tag("tbody", *body))
    # A box that scrolls must be reachable by the keyboard.
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def share(number: int, whole: int) -> Markup:
    """Return a count with its share of the whole."""
    if not whole:
        return text(f"{number:,}")
    percent = 100 * number / whole
    return join([f"{number:,} ", tag("small", "<0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %")])


def interval(value: float, low: float | None, high: float | None) -> str:
    """Return a value with the ends of its interval in words."""
    if low is None or high is None:
        return f"{value:.3f} (too few groups for an interval)"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def dot(value: float, low: float | None, high: float | None, *, reference: float | None, strong: bool) -> Markup:
    """Draw a value from 0 to 1 with its interval; the figures stand in the cell beside it, for those who hear the page.

    Args:
        value: Where the dot is.
        low: Lower end of the interval, None where there is none.
        high: Upper end.
        reference: Where the line of chance is, None for no line.
        strong: Whether to draw it as a finding.
    """
    middle = _CHART_HEIGHT / 2
    parts = [f'<line class="axis" x1="{_x(0)}" x2="{_x(1)}" y1="{middle}" y2="{middle}"/>']
    if reference is not None:
        parts.append(f'<line class="chance" x1="{_x(reference)}" x2="{_x(reference)}" y1="0" y2="{_CHART_HEIGHT}"/>')
    if low is not None and high is not None:
        parts.append(f'<line class="range" x1="{_x(low)}" x2="{_x(high)}" y1="{middle}" y2="{middle}"/>')
        parts += [f'<line class="end" x1="{_x(at)}" x2="{_x(at)}" y1="5" y2="15"/>' for at in (low, high)]
    parts.append(f'<circle cx="{_x(value)}" cy="{middle}" r="3"/>')
    return _svg("dot strong" if strong else "dot", _CHART_HEIGHT, parts)


def scale(label: str) -> Markup:
    """Draw the scale of `dot` as the heading of its column."""
    ticks = [
        f'<text x="{_x(at)}" y="12" text-anchor="{anchor}">{at:g}</text>'
        for at, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    ]
    return join([tag("span", label, class_="unseen"), _svg("scale", 14, ticks)])


def bar(parts: Sequence[tuple[str, int]]) -> Markup:
    """Draw counts as one bar of their shares, each part of a class of style's own.

    Args:
        parts: Class of style and count of each part; the figures stand in the cells beside it.
    """
    whole = max(1, sum(number for _, number in parts))
    drawn, left = [], 0.0
    for style, number in parts:
        width = CHART_WIDTH * number / whole
        drawn.append(f'<rect class="{style}" x="{left:.2f}" y="3" width="{width:.2f}" height="{_CHART_HEIGHT - 6}"/>')
        left += width
    return _svg("bar", _CHART_HEIGHT, drawn)


def _x(value: float) -> str:
    return f"{_MARGIN + min(max(value, 0.0), 1.0) * (CHART_WIDTH - 2 * _MARGIN):.1f}"


def _svg(style: str, height: int, parts: list[str]) -> Markup:
    return Markup(
        f'<svg class="{style}" width="{CHART_WIDTH}" height="{height}" viewBox="0 0 {CHART_WIDTH} {height}" '
        f'aria-hidden="true">{"".join(parts)}</svg>'
    )
