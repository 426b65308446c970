import re

import pytest

from vitlab.audit.page.marks import bar, dot, interval
from vitlab.report.markup import Markup, join, printable, share, table, tag, text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Gehirn/größe ✓.png", "Gehirn/größe ✓.png"),
        (b"\xff\xfe.png".decode("utf-8", "surrogateescape"), "\\xff\\xfe.png"),
        ("a\ud800b", "a\\ud800b"),
        ("two\nlines\tand\x00", "two\\nlines\\tand\\x00"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
    ],
)
def test_every_name_can_be_shown(name, expected):
    assert printable(name) == expected
    expected.encode("utf-8")


def test_text_is_escaped_once_and_markup_never():
    assert text("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert text(text("<b>")) == "&lt;b&gt;"
    assert tag("p", "<i>", tag("b", "&"), title='"') == '<p title="&quot;">&lt;i&gt;<b>&amp;</b></p>'
    assert not isinstance(Markup("<b>") + "<i>", Markup)  # what was glued together is escaped
    assert join([Markup("<b>") + "<i>"]) == "&lt;b&gt;&lt;i&gt;"


def test_a_table_names_its_rows_and_columns():
    made = table(("class", "images"), [["<glioma>", "12"]], caption="Balance")
    assert '<th scope="col">class</th><th scope="col" class="n">images</th>' in made
    assert '<th scope="row">&lt;glioma&gt;</th><td class="n">12</td>' in made
    assert "<caption>Balance</caption>" in made


def test_shares():
    assert "63.7 %" in share(251, 394)
    assert "&lt;0.1 %" in share(1, 30000)
    assert share(0, 0) == "0"
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
