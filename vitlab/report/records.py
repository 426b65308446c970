"""The tables of a comparison for programs: CSV and JSON, nothing rounded."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vitlab.evaluate.metrics import METRICS
from vitlab.evaluate.predictions import SPLITS
from vitlab.evaluate.scored import Level
from vitlab.report.kept import OVERALL, read_kept
from vitlab.report.labels import efficiencies
from vitlab.report.labels import record as efficiency
from vitlab.report.pairs import METRIC
from vitlab.report.rows import COSTS, GAP_SPLITS, Row, Stat
from vitlab.report.summary import Table
from vitlab.report.verdict import verdict
from vitlab.spreadsheet import cell

PARTS: tuple[str, ...] = tuple(reversed(SPLITS))
LEVELS: tuple[Level, ...] = ("slice", "patient")


def to_csv(tables: Sequence[Table]) -> str:
    """Write one line a row with every figure.

    Columns test_accuracy_mean, _sd, _low, _high, ... are per image, patient_test_accuracy_mean, ... per patient,
    gap_train_accuracy_mean, ... train minus test; test_n_patients and test_n_images count; seconds_mean, _sd are cost.
    """
    text = io.StringIO()
    writer: Any = None
    for table in tables:
        for row in table.rows:
            record = _facts(table, row)
            for level in LEVELS:
                prefix = "" if level == "slice" else "patient_"
                for split in PARTS:
                    for name in METRICS:
                        record |= _columns(f"{prefix}{split}_{name}", row.stat(level, split, name))
                    stat = row.stat(level, split, METRICS[0])
                    if level == "slice":
                        record |= {f"{split}_n_patients": stat.n_patients, f"{split}_n_images": stat.n_images}
                for other in GAP_SPLITS:
                    for name in METRICS:
                        record |= _columns(f"{prefix}gap_{other}_{name}", row.gap(level, other, name))
            for cost in COSTS:
                record |= {f"{cost}_mean": row.cost[cost].mean, f"{cost}_sd": row.cost[cost].sd}
            if writer is None:
                writer = csv.DictWriter(text, list(record), lineterminator="\n")
                writer.writeheader()
            writer.writerow({name: cell(value) for name, value in record.items()})
    return text.getvalue()


def to_json(tables: Sequence[Table]) -> str:
    """Write rows, pairs and what is said of each table.

    rows[].test.accuracy = {mean, sd, low, high, n_runs, n_patients, n_images}, per image, for every split and metric;
    rows[].patient.test.accuracy the same per patient, with rows[].patient null where patients are not known;
    rows[].gap.train.accuracy and rows[].patient.gap.train.accuracy are train minus test, gap.val val minus test, null
    without predictions. rows[].robustness = {metric, clean, corrupted, relative, mce, corruptions: {name: ...}}, each
    {mean, low, high} per image, see `kept`; null where it was not measured. pairs[] = {a, b, metric, level, difference,
    low, high, p_permutation, p_holm, p_better, detectable, paired, n_patients}: a minus b on test. tables[] has the
    verdict and the notes, and of shuffled labels chance = {low, high, metric, level, exchanged, n_patients, n_images};
    rows[].within_chance says whether the row is in it, null for other tables. Rows and pairs name the table that they
    are of by its data set, study, manifest, label fraction and whether its labels were shuffled. With --by,
    tables[].groups = {column, group, name, accuracy, sensitivity by class}. labels[], where a study has several label
    fractions, is what pretraining is worth at each, see `labels.record`.
    """
    rows, pairs, said = [], [], []
    for table in tables:
        kept = read_kept(table)
        for row in table.rows:
            cost = {name: {"mean": stat.mean, "sd": stat.sd} for name, stat in row.cost.items()}
            rows.append(
                _facts(table, row)
                | _figures(row, "slice")
                | {
                    "patient": _figures(row, "patient") if "patient" in row.metrics else None,
                    "robustness": _robustness(kept.get(row.name)),
                    "within_chance": _within_chance(table, row),
                    "cost": cost,
                    "runs": [str(run.folder) for run in row.runs],
                }
            )
        pairs += [_table(table) | asdict(pair) for pair in table.pairs]
        resamples = table.resampling.resamples if table.resampling else 0
        said.append(
            {"title": table.title, **_table(table), "resamples": resamples, "verdict": verdict(table)}
            | {"chance": _chance(table), "notes": table.notes}
            | {"groups": [asdict(score) for score in table.groups]}
        )
    record = {
        "rows": rows,
        "pairs": pairs,
        "tables": said,
        "labels": [efficiency(found) for found in efficiencies(tables)],
    }
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)


def _table(table: Table) -> dict[str, Any]:
    return {
        "dataset": table.dataset,
        "study": table.study,
        "manifest_sha256": table.manifest_sha256,
        "label_fraction": table.label_fraction,
        "shuffle_labels": table.shuffled,
    }


def _chance(table: Table) -> dict[str, Any] | None:
    if table.chance is None:
        return None
    found = asdict(table.chance)
    del found["scores"]
    return {"metric": METRIC, "level": "slice"} | found


def _robustness(kept: Mapping[str, Stat] | None) -> dict[str, Any] | None:
    if kept is None:
        return None
    figures = {name: {end: getattr(stat, end) for end in ("mean", "low", "high")} for name, stat in kept.items()}
    overall: dict[str, Any] = {name: figures.pop(name, None) for name in OVERALL}
    return {"metric": METRIC} | overall | {"corruptions": figures}


def _within_chance(table: Table, row: Row) -> bool | None:
    if table.chance is None or row.name not in table.chance.scores:
        return None
    return table.chance.place(row.name) == "within"


def _facts(table: Table, row: Row) -> dict[str, Any]:
    own = {"approach": row.approach, "name": row.name, "n": row.n}
    return own | _table(table) | {"axes": row.axes, "backbone": row.backbone}


def _figures(row: Row, level: Level) -> dict[str, Any]:
    found: dict[str, Any] = {s: {name: asdict(row.stat(level, s, name)) for name in METRICS} for s in PARTS}
    gaps = {s: {name: asdict(row.gap(level, s, name)) for name in METRICS} for s in GAP_SPLITS}
    return found | {"gap": gaps if level in row.gaps else None}


def _columns(name: str, stat: Stat) -> dict[str, float | None]:
    return {f"{name}_{end}": getattr(stat, end) for end in ("mean", "sd", "low", "high")}
