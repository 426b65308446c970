"""Files appear whole or not at all."""

import os

import pytest

from vitlab.atomic import check_writable, replacing, replacing_all, write_text


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


def test_files_of_a_folder_take_their_places_together(tmp_path):
    folder = tmp_path / "new/folder"
    with replacing_all(folder, ["a", "b"], "--out") as files:
        for file in files:
            file.write_text("old")
            assert not (folder / "a").exists() and not (folder / "b").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    message = r"^cannot write --out .*folder \(File too large\): nothing was changed there"
    with pytest.raises(OSError, match=message) as error:
        with replacing_all(folder, ["a", "b"], "--out") as (a, b):
            a.write_text("new")
            raise OSError(27, "File too large", str(b))
    assert "\n" not in str(error.value)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "old", "b": "old"}


def test_a_folder_made_for_nothing_goes_again(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing_all(tmp_path / "new/folder", ["a"], "--out"):
        raise KeyboardInterrupt
    check_writable(tmp_path / "other/folder", "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_known_before(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("/proc/x", "/proc", str(tmp_path / "file/below")):  # of which rights say that root may
        with pytest.raises(OSError, match=f"cannot write --out {folder} "):
            check_writable(type(tmp_path)(folder), "--out")
