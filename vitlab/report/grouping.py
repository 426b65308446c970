"""Grouping columns: what the manifest knows of an image beside its class, such as plane, scanner or hospital."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitlab.evaluate.scored import Scored
from vitlab.report.runs import Run
from vitlab.yaml_text import parse

GROUPS = (2, 12)  # different values that a column of groups has
OURS = {"path", "label", "patient_id", "split", "mask_path", "fold", "index"}
PREFIX = "patient_prefix"  # a column of our own
MEANING = {PREFIX: "letters that the patient id begins with"}


@dataclass(frozen=True)
class Grouping:
    """Columns of groups.

    Args:
        columns: name -> group of each image by its path; "" where it has none.
        reason: why there are no columns of a manifest; "" where it was read.
    """

    columns: Mapping[str, Mapping[str, str]]
    reason: str


def read_grouping(runs: Sequence[Run], tested: Sequence[Scored]) -> Grouping:
    """Find the columns that part images into a few groups.

    The manifest is the one that config.yaml names, where it can still be found: an absolute root, or one in
    $VITLAB_DATA or the working folder. Patient ids give a column too, where they begin with different letters: of
    hospitals, often.

    Args:
        runs: of one table.
        tested: their predictions on test.
    """
    columns = {}
    patients = {path: patient for run in tested for path, patient in
                zip(run.predictions.path, run.predictions.patient_id, strict=True)}  # fmt: skip
    prefixes = {path: letters_of(patient) for path, patient in patients.items()}
    if _parts(prefixes):
        columns[PREFIX] = prefixes
    table, named, reason = _table(runs)
    rows = {row.get("path") or "": row for row in table}
    if table and not rows.keys() & patients.keys():
        table, reason = [], "the manifest that config.yaml names has none of these images"
    for name in table[0] if table else ():
        if name and name not in OURS and name not in named:
            column = {path: str(rows.get(path, {}).get(name) or "").strip() for path in patients}
            if _parts(column):
                columns[name] = column
    return Grouping(columns, reason)


def _table(runs: Sequence[Run]) -> tuple[list[dict[str, Any]], set[str], str]:
    """Return the rows of the manifest, the columns that are vitlab's own by another name, and why there are none."""
    settings = next((found for run in runs if (found := _source(run.folder))), {})
    root, file = settings.get("root"), settings.get("manifest", "manifest.csv")
    if not isinstance(root, str) or not isinstance(file, str):
        return [], set(), "config.yaml names no manifest file"
    tops = (os.environ.get("VITLAB_DATA", ""), "")
    path = next((path for top in tops if (path := Path(top, root, file).expanduser()).is_file()), None)
    if path is None:
        return [], set(), f"the manifest {Path(root, file)} that config.yaml names is not there (set VITLAB_DATA)"
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            rows: list[dict[str, Any]] = list(csv.DictReader(opened))
    except (OSError, csv.Error) as error:
        return [], set(), f"the manifest {path} cannot be read: {error}"
    renamed = settings.get("columns")
    renamed = {str(k): str(v) for k, v in renamed.items()} if isinstance(renamed, dict) else {}
    if "path" in renamed:
        rows = [{**row, "path": row.get(renamed["path"])} for row in rows]
    return rows, set(renamed.values()), ""


def _source(folder: Path) -> dict[str, Any]:
    try:
        config = parse((folder / "config.yaml").read_text(encoding="utf-8"))
        settings = config["data"]["source"]["init_args"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return settings if isinstance(settings, dict) else {}


def letters_of(patient: str) -> str:
    """Return the letters that a patient id begins with; "" of no id."""
    if not patient:
        return ""
    found = re.match(r"[A-Za-z]+", patient)
    return found[0] if found else "(no letters)"


def _parts(column: Mapping[str, str]) -> bool:
    """Whether a column parts most images into a few groups."""
    values = [value for value in column.values() if value]
    return GROUPS[0] <= len(set(values)) <= GROUPS[1] and 2 * len(values) >= len(column)
