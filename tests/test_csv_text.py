"""CSV text: every cell is read as it was written, and plain tables are read as csv reads them."""

import csv
import io
import random

import pytest

from vitlab.csv_text import cut_rows, plain_cells, read_text_columns, row_writer

CELLS = [
    "",
    "a",
    "a,b",
    '"',
    'say "x"',
    "\n",
    "\r",
    "a\r\nb",
    "\ra",
    "b\n",
    "\t",
    "=1+1",
    "ü",
    "not-utf8-\udcff",
    "0.25",
]
PARTS = [b"a", b"1", b",", b",", b",", b"\n", b"\n", b"\r", b'"', b"\xc3\xbc", b"\xff", b" ", b"\0"]


@pytest.mark.parametrize("seed", range(20))
def test_every_cell_is_read_as_it_was(tmp_path, seed):
    rng = random.Random(seed)
    width = rng.randint(2, 5)
    rows = [[rng.choice(CELLS) for _ in range(width)] for _ in range(rng.randint(1, 9))]
    text = io.StringIO(newline="")
    row_writer(text).writerows(rows)
    (tmp_path / "t.csv").write_bytes(text.getvalue().encode("utf-8", "surrogateescape"))
    header, columns = read_text_columns(tmp_path / "t.csv")
    assert [header, *map(list, zip(*columns, strict=True))] == rows


def test_what_holds_no_line_end_is_written_as_ever():
    rows = [[cell for cell in CELLS if "\r" not in cell], [1, 0.5, None, True]]
    ours, theirs = io.StringIO(newline=""), io.StringIO(newline="")
    row_writer(ours).writerows(rows)
    csv.writer(theirs, lineterminator="\n").writerows(rows)
    assert ours.getvalue() == theirs.getvalue()


def test_any_bytes_are_read_as_csv_reads_them(tmp_path):
    """Most of them are no tables: then both say so."""
    rng, tables = random.Random(0), 0
    for number in range(3000):
        parts = PARTS if number % 3 else PARTS[:7]
        data = b"".join(rng.choice(parts) for _ in range(rng.randint(0, 12)))
        if number % 2:
            data = b"".join(b"%d,%d\n" % (rng.randrange(9), rng.randrange(9)) for _ in range(3)) + data
        (tmp_path / "t.csv").write_bytes(data)
        with (tmp_path / "t.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if all(len(row) == len(header) for row in rows) and header:
            found, columns = read_text_columns(tmp_path / "t.csv")
            assert (found, list(map(list, zip(*columns, strict=True)))) == (header, rows), data
            if (ends := plain_cells(data)) is not None and rows:
                tables += 1
                column = rng.randint(1, len(header) - 1)
                parts = (part.decode("utf-8", "surrogateescape") for part in cut_rows(data, ends, column))
                left, right = ([c for row in rows for c in row[:column]], [c for row in rows for c in row[column:]])
                assert [part[:-1].split(",") for part in parts] == [left, right], data
        elif header:
            assert plain_cells(data) is None, data
            with pytest.raises(ValueError, match="cells where the header has"):
                read_text_columns(tmp_path / "t.csv")
        else:
            assert plain_cells(data) is None
    assert tables > 100
