import pytest

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
    assert "<caption><span>Balance</span></caption>" in made


def test_shares():
    assert "63.7 %" in share(251, 394)
    assert "&lt;0.1 %" in share(1, 30000)
    assert share(0, 0) == "0"
