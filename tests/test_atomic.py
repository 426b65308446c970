"""Files appear whole or not at all."""

import os

import pytest

from vitlab.atomic import replacing, write_text


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "page", "Ä\r\nb\n")
    assert (tmp_path / "page").read_bytes() == "Ä\r\nb\n".encode()
    name = os.fsdecode(b"caf\xe9")
    write_text(tmp_path / "page", name, errors="surrogateescape")
    assert (tmp_path / "page").read_bytes() == b"caf\xe9"
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as temporary, temporary.open("w") as file:
        file.write("ne")
        file.flush()
        assert path.read_text() == "old" and temporary.parent == tmp_path and temporary.suffix == ".tmp"
        file.write("w")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "page"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \udce9")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
