"""CSV files: the line that a row begins in; what else is read and refused is tested with the manifest."""

import pytest

from vitlab.data import csv_file
from vitlab.data.csv_file import line_of, read_columns


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_line_of_a_row_counts_blank_lines_and_values_of_several_lines(tmp_path, newline):
    lines = ["path,note", "", "a,x", 'b,"one', "", 'two"', "", "c,", ""]
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + newline.join(lines).encode())
    assert read_columns(tmp_path / "m.csv", tmp_path)["path"] == ["a", "b", "c"]
    assert [line_of(tmp_path / "m.csv", row) for row in (1, 2, 3)] == [3, 4, 8]


@pytest.mark.parametrize("rows", [0, 1, csv_file._BLOCK - 1, csv_file._BLOCK, 2 * csv_file._BLOCK + 1])
def test_rows_stay_in_order_over_blocks(tmp_path, rows):
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *(f"{row}.png,c{row % 7}" for row in range(rows))]))
    table = read_columns(tmp_path / "m.csv", tmp_path)
    assert table == {
        "path": [f"{row}.png" for row in range(rows)], "label": [f"c{row % 7}" for row in range(rows)],
    }  # fmt: skip
