"""CSV text: every cell is read as it was written, and plain tables are read as csv reads them."""

import csv
import io
import random

import numpy as np
import pytest

from vitlab.csv_text import cut_rows, parse_numbers, plain_cells, read_text_columns, row_writer

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


def joined(cells):
    return "".join(f"{cell}," for cell in cells).encode()


@pytest.mark.parametrize("form", ["repr", "{:.9g}", "{:.3f}", "{:.18f}", "{:.19f}", "{:.20f}", "{:.17e}"])
def test_numbers_are_those_of_python(form):
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.random(20_000), rng.dirichlet(np.full(5, 0.2), 2_000).ravel(), [0.0, 1.0, 0.5]])
    cells = [repr(x) if form == "repr" else form.format(x) for x in numbers.tolist()]
    found = parse_numbers(joined(cells))
    assert np.array_equal(found.view(np.int64), np.array(list(map(float, cells))).view(np.int64))


def test_numbers_half_way_between_two_are_those_of_python():
    """Decimals of 19 digits as near as can be to the middle between neighbours, where rounding twice goes wrong."""
    rng, cells = random.Random(0), []
    for _ in range(20_000):
        x = rng.choice([rng.random(), rng.random() / 16, 2.0 ** -rng.randint(1, 9) * (1 + 2**-52 * rng.randint(-2, 2))])
        x = min(x, 1 - 2**-53)
        numerator, denominator = x.as_integer_ratio()
        ulp = int(np.spacing(x).as_integer_ratio()[1])
        scale = max(denominator, ulp) * 2
        middle = numerator * (scale // denominator) + scale // ulp // 2
        near = (2 * middle * 10**19 // scale + 1) // 2 + rng.randint(-1, 1)
        if near < 10**19:
            cells.append(f"0.{near:019d}")
    found = parse_numbers(joined(cells))
    expected = np.array(list(map(float, cells)))
    assert len(cells) > 19_000 and np.array_equal(found, expected)


NUMBERS = ["", "one", "0.", "0.1.2", "0.1 2", "0x1p3", "0.12a", "nan", "inf", "-0.5", "1e-5", " 0.5"]


@pytest.mark.parametrize("cell", NUMBERS)
def test_cells_of_other_forms(cell):
    """Read as Python reads them, or not at all."""
    cells = ["0.25"] * 10 + [cell] + ["0.125"] * 10
    found = parse_numbers(joined(cells))
    try:
        expected = np.array(list(map(float, cells)))
    except ValueError:
        assert found is None
    else:
        assert np.array_equal(found, expected, equal_nan=True)
