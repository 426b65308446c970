"""A value with its interval drawn to scale, and shares as a bar."""

from collections.abc import Sequence
from typing import Final

from vitlab.report.markup import Markup, join, tag

CHART_WIDTH: Final = 260  # px; of every interval, so that the columns of two tables can be compared
_CHART_HEIGHT: Final = 20
_MARGIN: Final = 6  # px; a dot at the end of the scale is drawn whole


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
