import re

import pytest

from vitlab.audit.page.marks import bar, dot, interval


def test_intervals_in_words():
    assert interval(0.5, None, None) == "0.500 (too few groups for an interval)"
    assert interval(0.5, 0.41, 0.6) == "0.500 (0.410 to 0.600)"


def test_dots_are_drawn_to_scale():
    drawn = dot(0.75, 0.5, 1.0, reference=0.25, strong=True)
    centre = float(re.search(r'cx="([\d.]+)"', drawn).group(1))
    axis, chance, ends, low, high = (
        [float(x) for x in found] for found in re.findall(r'x1="([\d.]+)" x2="([\d.]+)"', drawn)
    )
    whole = axis[1] - axis[0]
    assert centre == pytest.approx(axis[0] + 0.75 * whole, abs=0.06)
    assert chance[0] == chance[1] == pytest.approx(axis[0] + 0.25 * whole, abs=0.06)
    assert ends == pytest.approx([axis[0] + 0.5 * whole, axis[1]], abs=0.06)
    assert (low[0], high[0]) == tuple(ends)
    assert "range" not in dot(0.5, None, None, reference=None, strong=False)


def test_bars_are_drawn_to_scale():
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', bar([("a", 3), ("b", 1), ("c", 0)]))]
    assert widths == pytest.approx([195, 65, 0])
    assert re.findall(r'width="([\d.]+)"', bar([("a", 0)]))[1:] == ["0.00"]  # nothing of nothing: an empty bar
