"""What an audit leaves on disk beside its page: audit.json, pairs.csv, planted.csv, the changes of a repair."""

import csv
import io
import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import worst_first
from vitlab.audit.findings import Audit


def write_json(audit: Audit, path: Path) -> None:
    """Write what was found, as audit.schema.json describes it."""
    _replace(path, json.dumps(audit.report, indent=1, ensure_ascii=False, default=_plain) + "\n")


def write_pairs(audit: Audit, path: Path) -> None:
    """Write every pair, worst first: across splits, then across labels, then the surest."""
    manifest, pairs = audit.manifest, audit.pairs
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow("kind score path_a path_b split_a split_b label_a label_b patient_a patient_b".split())
    for at in worst_first(pairs, manifest.split, manifest.label):
        rows = pairs.first[at], pairs.second[at]
        facts = [column[row] for column in _columns(audit) for row in rows]
        writer.writerow([pairs.kind[at], f"{pairs.score[at]:.4f}", *facts])
    _replace(path, buffer.getvalue())


def write_planted(rows: list[dict[str, Any]], path: Path) -> None:
    """Write how many planted copies were found, a line a fault."""
    names = ["kind", "strength", "n", "found", "recall", "pairs", "strangers", "precision", "named"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([f"{row[name]:.4f}" if isinstance(row[name], float) else row[name] for name in names])
    _replace(path, buffer.getvalue())


def write_changes(changes: list[tuple[str, str, str]], path: Path) -> None:
    """Write what a repair did to which image and why."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([("path", "change", "reason"), *changes])
    _replace(path, buffer.getvalue())


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


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
