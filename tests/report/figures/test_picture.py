"""Pictures: what becomes of matplotlib's SVG on a page, and names that matplotlib would read as something else."""

import re
import warnings
from xml.etree import ElementTree

import pytest

from vitlab.report.figures.inline import inline
from vitlab.report.figures.lines import Line, draw_lines
from vitlab.report.figures.palette import CLASSES, SERIES, STYLES, Style, page_colors
from vitlab.report.figures.picture import draw_picture, short

NAMES = ["$\\frac{$", "_hidden", "<b>&\"'", "a\nb\x00", "\u202eright", "名前", "odd\udcff", "x" * 200]


def draw(names, name="curves"):
    import numpy as np

    x = np.arange(3.0)
    lines = [Line(n, x, x + i, Style(SERIES[i % 6], "o"), x, x + 1, True) for i, n in enumerate(names)]
    return draw_picture(
        name, (3.8, 3.2), lambda axes: draw_lines(axes, lines, title=names[0], x_label="x", y_label="y"),
        words=f"Of {names[0]}.", head=("a", "b"), rows=[(names[0], None)],
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw([name, "other"])
    picture.write(tmp_path)
    texts = [e.text for e in ElementTree.fromstring(picture.markup).iter() if e.tag.endswith("}text")]
    assert texts.count(short(name, 26)) == 1 + (len(name) < 26)  # the legend, and the title where it is not longer
    assert ElementTree.parse(tmp_path / "curves.svg")
    assert name.encode("utf-8", "surrogateescape") in (tmp_path / "curves.csv").read_bytes().replace(b'""', b'"')


def test_the_page_styles_the_picture():
    markup = draw(["a", "b"]).markup
    assert "style" not in markup and "#0077bb" not in markup and "<metadata" not in markup
    assert 's-c0"' in markup and "f-ink" in markup
    rules = page_colors()
    for used in set(" ".join(re.findall(r'class="([^"]+)"', markup)).split()) - {"picture"}:
        assert f".{used} " in rules
    assert not re.search(r"#[0-9a-f]{6}", markup)  # no color that the dark page does not know


def test_pictures_of_a_page_share_no_id():
    one, other = draw(["a"], "one").markup, draw(["a"], "other").markup
    ids = [set(re.findall(r' id="([^"]+)"', markup)) for markup in (one, other)]
    assert all(ids) and not ids[0] & ids[1]
    for markup, own in zip((one, other), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", markup)) <= {(i, "") for i in own} | {
            ("", i) for i in own
        }


def test_the_same_picture_is_the_same_file():
    assert draw(["a"]).markup == draw(["a"]).markup


def test_each_color_has_one_meaning():
    assert len(STYLES) == 4 + len(SERIES) + len(CLASSES)


def test_words_are_escaped():
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 3"><g style="fill: #0077bb; stroke-width: 2"/></svg>'
    made = inline(svg, "n", '"><script>')
    assert "<script>" not in made and 'class="f-c0"' in made and 'stroke-width="2"' in made
