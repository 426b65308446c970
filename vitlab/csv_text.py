"""Rows of CSV text: written so that every cell is read again as it was, and read column by column.

Imports nothing heavy: predictions are written and read by it, manifests written (vitlab.data.csv_file reads them).
"""

import csv
import io
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class _Text(Protocol):
    def write(self, text: str, /) -> int:
        """Take some text."""


class _LineFeeds:
    """Ends each row by a line feed alone."""

    def __init__(self, file: _Text) -> None:
        self.file = file

    def write(self, row: str) -> int:
        """Take a row, which ends in a carriage return and a line feed."""
        return self.file.write(row[:-2] + "\n")


def row_writer(file: _Text) -> Any:
    r"""Return a csv.writer whose rows end by a line feed alone.

    Before Python 3.13 csv quotes of \r and \n only what its own line ends have, and a cell with the other, unquoted,
    would end a row where it is read. So it is told of both, and the \r goes again.
    """
    return csv.writer(_LineFeeds(file), lineterminator="\r\n")


def read_text_columns(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read the cells of a file with a header, in UTF-8, with commas; bytes that are not UTF-8 as in file names.

    Returns:
        The names in the header, and the cells of each column.

    Raises:
        ValueError: A row has more or fewer cells than the header.
        csv.Error: A cell is longer than csv takes.
    """
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    uneven = next((i for i, row in enumerate(rows, 1) if len(row) != len(header)), None)
    if uneven:
        raise ValueError(f"row {uneven} has {len(rows[uneven - 1])} cells where the header has {len(header)}")
    return header, [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in header]


def plain_cells(data: bytes) -> NDArray[np.int64] | None:
    """Find the cells of a table without quotes, all of whose rows are as long as its header.

    Returns:
        (rows, columns) where each cell ends, the header's first; None of any other table, which is csv's to read.
    """
    if b'"' in data or b"\r" in data or not data.endswith(b"\n"):
        return None
    values = np.frombuffer(data, np.uint8)  # no byte of a longer UTF-8 character is a comma or a line feed
    ends = np.flatnonzero((values == ord(",")) | (values == ord("\n")))
    last = values[ends] == ord("\n")
    width = int(last.argmax()) + 1
    if width < 2 or len(ends) % width or not last[width - 1 :: width].all() or last.sum() * width != len(ends):
        return None
    return ends.reshape(-1, width)


def cut_rows(data: bytes, ends: NDArray[np.int64], column: int) -> tuple[bytes, bytes]:
    """Cut the rows of a plain table in two.

    Args:
        data: the table.
        ends: of its cells, from `plain_cells`.
        column: the first of the right part; at least 1.

    Returns:
        The cells on the left and those on the right, row by row, header left out, a comma behind each.
    """
    bounds = np.column_stack([ends[1:, column - 1], ends[1:, -1]]).reshape(-1)
    values = np.frombuffer(data, np.uint8)[ends[0, -1] + 1 :].copy()
    values[ends[1:, -1] - ends[0, -1] - 1] = ord(",")
    right = np.repeat(np.tile([False, True], len(ends) - 1), np.diff(bounds, prepend=ends[0, -1]))
    return values[~right].tobytes(), values[right].tobytes()


def parse_numbers(text: bytes) -> NDArray[np.float64] | None:
    """Read numbers with a comma behind each, as `cut_rows` gives them.

    Returns:
        (N,), those that Python's float gives, to the bit, in a third of the time; None where one of them is none, for
        Python to say which.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(text[:-1], np.float64, sep=",")
        except (DeprecationWarning, ValueError):
            return None
