"""Text put between the marks of a page: there, nowhere else, and whole or not at all."""

import pytest

from vitlab.report.insert import check_marks, insert, replace

PAGE = "# Ä\n\n<!-- one -->\nold\n<!-- /one -->\n\n<!-- two -->\nkept\n<!-- /two -->\nend"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_text_is_replaced_between_its_marks_only(page, capsys):
    insert("new ±\nlines\n", page, "one")
    assert page.read_text(encoding="utf-8") == PAGE.replace("old\n", "new ±\nlines\n")
    assert capsys.readouterr().err == f"wrote {page}\n"
    insert("", page, "one")
    insert("old\n", page, "one")
    assert page.read_text(encoding="utf-8") == PAGE
    insert("last\n", page, "two")
    assert page.read_text(encoding="utf-8") == PAGE.replace("kept", "last")


@pytest.mark.parametrize(
    "content",
    [
        "no marks",
        "<!-- one -->\nnever closed",
        "<!-- /one -->\n<!-- one -->\nclosed before",
        "<!-- one --> not a line of its own\n<!-- /one -->",
        "<!-- ones -->\n<!-- /ones -->",
    ],
)
def test_a_page_without_the_marks_is_refused_and_left(page, content):
    page.write_text(content)
    for act in (lambda: insert("new", page, "one"), lambda: check_marks(page, "one")):
        with pytest.raises(ValueError) as error:
            act()
        message = str(error.value)
        assert "<!-- one -->" in message and "README.md" in message and "\n" not in message
    assert page.read_text() == content


def test_a_page_that_is_not_there_is_refused_and_not_made(tmp_path):
    for act in (lambda: insert("new", tmp_path / "no.md", "one"), lambda: check_marks(tmp_path / "no.md", "one")):
        with pytest.raises(FileNotFoundError, match=r"no page .*no\.md"):
            act()
    assert list(tmp_path.iterdir()) == []


def test_marks_are_checked_without_writing(page, capsys):
    before = page.stat().st_mtime_ns
    check_marks(page, "two")
    assert page.stat().st_mtime_ns == before and capsys.readouterr().err == ""


def test_what_cannot_be_written_leaves_the_page_and_nothing_beside_it(page, capsys):
    with pytest.raises(UnicodeEncodeError):
        insert("new \udce9", page, "one")
    assert page.read_text(encoding="utf-8") == PAGE and list(page.parent.iterdir()) == [page]
    assert capsys.readouterr().err == ""


def test_a_file_is_replaced_by_another_never_written_into(page, tmp_path):
    with page.open(encoding="utf-8") as reader:  # it opened the page before and reads on
        replace(page, "all new\n")
        assert reader.read() == PAGE
    assert page.read_text() == "all new\n" and list(tmp_path.iterdir()) == [page]
