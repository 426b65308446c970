"""What an audit leaves: audit.json, pairs.csv, and the summary on the terminal."""

import csv
import io
import json
import os
import textwrap
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.findings import Audit
from vitlab.audit.pairs import worst_first

_LINE = 110  # characters; a terminal of the usual width folds no more than a line or two


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


def write_planted(rows: list[dict[str, Any]], path: Path) -> str:
    """Write how many planted copies were found, a line a fault, and return it as a table for the terminal."""
    names = ["kind", "strength", "n", "found", "recall", "pairs", "strangers", "precision", "named"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([f"{row[name]:.4f}" if isinstance(row[name], float) else row[name] for name in names])
    _replace(path, buffer.getvalue())
    lines = [f"{'kind':<15}{'strength':<15}{'n':>7}{'recall':>9}{'precision':>11}{'named':>8}"]
    for row in rows:
        figures = f"{row['n']:>7,}{row['recall']:>9.3f}{row['precision']:>11.4f}{row['named']:>8.2f}"
        lines.append(f"{row['kind']:<15}{row['strength']:<15}{figures}")
    return "\n".join(lines)


def write_changes(changes: list[tuple[str, str, str]], path: Path) -> None:
    """Write what a repair did to which image and why."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([("path", "change", "reason"), *changes])
    _replace(path, buffer.getvalue())


def summary(report: dict[str, Any]) -> str:
    """Return what fits one screen, from what audit.json holds."""
    patients, labels = report["patients"], report["labels"]
    lines = [f"{report['data']}: {report['n']:,} images, {patients['groups']:,} groups"]
    lines += [*textwrap.wrap(report["verdict"], _LINE), ""]
    lines.append(f"{'':<8}{'n':>8}{'identical':>11}{'near':>8}{'unseen':>8}{'distinct':>10}")
    for split, found in report["splits"].items():
        numbers = (found["n"], found["identical_in_train"], found["near_in_train"], found["unseen"])
        widths = (8, 11, 8, 8)
        cells = "".join(f"{number:>{width},}" for number, width in zip(numbers, widths, strict=True))
        lines.append(f"{split:<8}{cells}{found['unseen_distinct']:>10,}")
    if report["pairs"]:
        kinds = ", ".join(f"{kind} {found['n']:,}" for kind, found in report["pairs"].items())
        across = sum(found["across_splits"] for found in report["pairs"].values())
        lines += ["", f"pairs: {kinds}; {across:,} across splits"]
    known = f"{patients['n']:,} known" if patients["known"] else "unknown: copies stand in for them"
    lines.append(f"patients: {known}; {len(patients['across_splits']):,} on two sides")
    lines += [f"  {' and '.join(found['patients'])} look like one person ({found['pairs']:,} pairs)"
              for found in patients["alike"][:3]]  # fmt: skip
    lines += [f"  and {len(patients['alike']) - 3:,} more"] * (len(patients["alike"]) > 3)
    if "errors" in labels:
        two = len(labels["patients_with_two_classes"])
        lines.append(
            f"labels: {len(labels['conflicts']):,} pairs of copies with two, {len(labels['errors']):,} images "
            f"doubtful, {two:,} patients with two classes"
        )
    named = [shortcut["sentence"] for shortcut in report["shortcuts"] if shortcut["named"]]
    lines += [f"shortcut: {sentence}" for sentence in named[:6]] or ["shortcuts: none beats chance clearly"]
    if len(named) > 6:
        lines.append(f"          and {len(named) - 6} more")
    lines += [f"shift: {shift['sentence']}" for shift in report["shift"]]
    odd = [finding["kind"] for finding in report["files"]]
    counts = ", ".join(f"{odd.count(kind):,} {kind}" for kind in sorted(set(odd)))
    lines.append(f"files: {counts or 'nothing odd'}")
    lines += [f"worth: {_worth(value)}" for value in report.get("worth", [])]
    return "\n".join(line if len(line) <= 2 * _LINE else line[: 2 * _LINE - 1] + "…" for line in lines)


def _worth(value: dict[str, Any]) -> str:
    parts = []
    for name in ("all", "seen", "near", "unseen", "new"):
        if found := value.get(name):
            parts.append(f"{name} {found['accuracy']:.3f} ({found['low']:.3f} to {found['high']:.3f}, n {found['n']})")
    return f"{value['run']}, {value['split']}: accuracy {', '.join(parts)}"


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
