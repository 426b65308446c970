"""CSV files: their columns, with every wrong line named."""

import csv
from pathlib import Path
from typing import Literal

_BLOCK = 1024  # rows turned into columns at once: a million lists of rows cost more in garbage collection than to read


def read_columns(path: Path, root: Path) -> dict[str, list[str]]:
    """Read a file with a header, in UTF-8, with commas; names of files that are there may be of any bytes.

    Args:
        path: The file.
        root: Folder that relative names of files start from.

    Raises:
        ValueError: The file is no such table.
    """
    try:
        return _columns(path)
    except UnicodeDecodeError:
        return _of_any_names(path, root)


def line_of(path: Path, row: int) -> int:
    """Return the line of the file that a row begins in, both counted from 1; blank lines are no rows."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        count, begins = -1, 1  # the header is row 0
        for values in reader:
            count += bool(values) or count < 0
            if count == row:
                break
            begins = reader.line_num + 1
    return begins


def _of_any_names(path: Path, root: Path) -> dict[str, list[str]]:
    """Return the columns of a CSV file in which all that is not UTF-8 names a file that is there, as `write` does."""
    refusal = ValueError(f"the manifest {path} is not text in UTF-8: save it as CSV UTF-8")
    try:
        table = _columns(path, errors="surrogateescape")
        values = {value for values in (table, *table.values()) for value in values}
    except ValueError:
        raise refusal from None
    if not all((root / value).is_file() for value in values if value.encode(errors="ignore").decode() != value):
        raise refusal
    return table


def _columns(path: Path, errors: Literal["strict", "surrogateescape"] = "strict") -> dict[str, list[str]]:
    """Return the columns of a CSV file, with the lines that are wrong named."""
    try:
        with path.open(encoding="utf-8-sig", errors=errors, newline="") as file:  # -sig: spreadsheets write a mark
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise ValueError(f"the manifest {path} is empty: give a CSV file with the columns path and label")
            if len(header) == 1 and (separator := next((s for s in ";\t|" if s in header[0]), "")):
                raise ValueError(f"the manifest {path} is separated by {separator!r}: save it with commas")
            if repeated := {name for name in header if header.count(name) > 1}:
                raise ValueError(f"the manifest {path} has the column {min(repeated)!r} twice: rename one")
            columns: list[list[str]] = [[] for _ in header]
            rows = []
            for row in reader:
                if len(row) == len(header):
                    rows.append(row)
                    if len(rows) == _BLOCK:
                        _move(rows, columns)
                elif row:  # blank lines are no rows
                    raise ValueError(
                        f"the manifest {path} has {len(row)} values in line {reader.line_num}, but {len(header)} "
                        "columns: put values that hold a comma in double quotes"
                    )
    except csv.Error as error:
        raise ValueError(f"the manifest {path} is not a CSV file: {error} in line {reader.line_num}") from None
    _move(rows, columns)
    table = dict(zip(header, columns, strict=True))
    for name in set(header) - {"path", "mask_path"}:
        table[name] = [value.strip() for value in table[name]]  # "glioma " is no class of its own
    return table


def _move(rows: list[list[str]], columns: list[list[str]]) -> None:
    """Move rows to the ends of the columns."""
    for column, values in zip(columns, zip(*rows, strict=True), strict=bool(rows)):
        column.extend(values)
    rows.clear()
