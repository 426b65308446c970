"""CSV files: the line that a row begins in; what else is read and refused is tested with the manifest."""

import pytest

from vitlab.data.csv_file import line_of, read_columns


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_line_of_a_row_counts_blank_lines_and_values_of_several_lines(tmp_path, newline):
    lines = ["path,note", "", "a,x", 'b,"one', "", 'two"', "", "c,", ""]
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + newline.join(lines).encode())
    assert read_columns(tmp_path / "m.csv", tmp_path)["path"] == ["a", "b", "c"]
    assert [line_of(tmp_path / "m.csv", row) for row in (1, 2, 3)] == [3, 4, 8]
