"""Rows of CSV text: written so that every cell is read again as it was, and read column by column.

Imports nothing heavy: predictions are written and read by it, manifests written (vitlab.data.csv_file reads them).
"""

import csv
import io
from pathlib import Path
from typing import Any, Protocol

import numpy as np


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
    data = path.read_bytes()
    text = data.decode("utf-8", "surrogateescape")
    if (table := _of_plain(data, text)) is not None:
        return table
    header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    uneven = next((i for i, row in enumerate(rows, 1) if len(row) != len(header)), None)
    if uneven:
        raise ValueError(f"row {uneven} has {len(rows[uneven - 1])} cells where the header has {len(header)}")
    return header, [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in header]


def _of_plain(data: bytes, text: str) -> tuple[list[str], list[list[str]]] | None:
    """Read a table without quotes, all of whose rows are as long as its header, in a third of csv's time; else None."""
    if b'"' in data or b"\r" in data or not data.endswith(b"\n"):
        return None
    values = np.frombuffer(data, np.uint8)  # no byte of a longer UTF-8 character is a comma or a line feed
    ends = values[(values == ord(",")) | (values == ord("\n"))] == ord("\n")
    width = int(ends.argmax()) + 1
    if width < 2 or len(ends) % width or not ends[width - 1 :: width].all() or ends.sum() * width != len(ends):
        return None
    cells = text[:-1].replace("\n", ",").split(",")
    return cells[:width], [cells[width + i :: width] for i in range(width)]
