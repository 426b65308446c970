"""What an audit leaves on disk beside its page: audit.json, pairs.csv, planted.csv, the changes of a repair."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.atomic import write_text
from vitlab.audit.checks import Audit
from vitlab.audit.copies.pairs import worst_first
from vitlab.spreadsheet import cell


def write_json(audit: Audit, path: Path) -> None:
    """Write what was found, as audit.schema.json describes it.

    In ASCII, since a file's name may be no UTF-8: its bytes are escaped, and reading JSON gives back the same name.
    """
    write_text(path, json.dumps(audit.report, indent=1, default=_plain) + "\n")


def write_pairs(audit: Audit, path: Path) -> None:
    """Write every pair, worst first: across splits, then across labels, then the surest."""
    manifest, pairs = audit.manifest, audit.pairs
    rows = ["kind score path_a path_b split_a split_b label_a label_b patient_a patient_b".split()]
    for at in worst_first(pairs, manifest.split, manifest.label):
        facts = [column[row] for column in _columns(audit) for row in (pairs.first[at], pairs.second[at])]
        rows.append([pairs.kind[at], f"{pairs.score[at]:.4f}", *facts])
    _write_rows(path, rows)


def write_planted(rows: list[dict[str, Any]], path: Path) -> None:
    """Write how many planted copies were found, a line a fault."""
    names = list(rows[0])
    lines = [[f"{row[name]:.4f}" if isinstance(row[name], float) else row[name] for name in names] for row in rows]
    _write_rows(path, [names, *lines])


def write_changes(changes: list[tuple[str, str, str]], path: Path) -> None:
    """Write what a repair did to which image and why."""
    _write_rows(path, [("path", "change", "reason"), *changes])


def _columns(audit: Audit) -> tuple[NDArray[Any], ...]:
    manifest = audit.manifest
    return manifest.path, manifest.split, manifest.label, manifest.patient_id


def _plain(value: Any) -> Any:
    """Turn numpy's scalars and arrays into what JSON knows."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in audit.json")


def _write_rows(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([cell(value) for value in row] for row in rows)
    write_text(path, buffer.getvalue(), errors="surrogateescape")  # so that a name in it opens the file
