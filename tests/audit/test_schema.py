"""audit.json and the schema that describes it: neither may change without the other."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from vitlab.audit.baselines.labels import LabelError
from vitlab.audit.baselines.metadata import Untested
from vitlab.audit.baselines.shift import Shift
from vitlab.audit.baselines.shortcuts import Shortcut
from vitlab.audit.checks import SCHEMA_VERSION
from vitlab.audit.command import main
from vitlab.audit.copies.pairs import KINDS
from vitlab.audit.files.check import Finding, Kind
from vitlab.audit.worth import Score, Worth

REPO = Path(__file__).parents[2]
SCHEMA = json.loads((REPO / "vitlab/audit/audit.schema.json").read_text(encoding="utf-8"))
FOUND = SCHEMA["properties"]


@pytest.fixture
def report():
    return json.loads(Path(__file__).with_name("report.json").read_text())


def errors(report):
    validator = Draft202012Validator(SCHEMA)
    return sorted(error.json_path for error in validator.iter_errors(report))


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)
    assert FOUND["schema"]["const"] == SCHEMA_VERSION


def test_a_report_is_valid(report):
    assert errors(report) == []
    del report["worth"]  # without runs
    judged = ("expected", "expected_low", "expected_high", "sentence", "trust")
    for key in ("conflicts", "errors", *judged, "patients_with_two_classes"):
        del report["labels"][key]  # with one class
    report.update(classes=[], shortcuts=[], pairs={}, shift=[], files=[])
    del report["test"]
    assert errors(report) == []


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("schema",), 3),
        (("created",), "yesterday"),
        (("n",), 3.5),
        (("surplus",), 1),
        (("train",), {}),
        (("test", "unseen"), None),
        (("test", "unlabelled"), -1),
        (("labels", "unlabelled"), None),
        (("worth", 0, "trained_on"), "nothing"),
        (("test", "by_class", "glioma", "unseen_distinct"), 3),
        (("pairs", "mirrored"), {"n": 1, "across_splits": 0, "across_labels": 0}),
        (("pairs", "flipped", "n"), 0),
        (("shortcuts", 0, "p_value"), 1.2),
        (("labels", "trust"), "high"),
        (("labels", "errors", 0, "row"), -1),
        (("labels", "conflicts", 0, "paths"), ["only one"]),
        (("patients", "across_splits", 0, "splits"), {"train": 3}),
        (("shift", 0, "split"), "train"),
        (("files", 0, "kind"), "strange"),
        (("worth", 0, "all"), None),
        (("worth", 0, "new", "n"), 0),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_refused(report, keys, value):
    broken = copy.deepcopy(report)
    at = broken
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    assert len(errors(broken)) >= 1


@pytest.mark.parametrize("key", SCHEMA["required"])
def test_no_required_key_may_lack(report, key):
    del report[key]
    assert errors(report) == ["$"]


def fields(kind):
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("described", "kind", "added"),
    [
        (FOUND["shortcuts"]["items"], Shortcut, set()),
        (FOUND["shift"]["items"], Shift, set()),
        (FOUND["untested_columns"]["items"], Untested, set()),
        (FOUND["files"]["items"], Finding, set()),
        (FOUND["labels"]["properties"]["errors"]["items"], LabelError, {"path"}),
        (FOUND["worth"]["items"], Worth, {"run"}),
        (SCHEMA["$defs"]["score"], Score, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_schema_has_the_fields_of_what_is_written(described, kind, added):
    assert set(described["properties"]) == set(described["required"]) == fields(kind) | added


def test_the_schema_has_every_kind():
    assert FOUND["pairs"]["propertyNames"]["enum"] == list(KINDS)
    assert FOUND["files"]["items"]["properties"]["kind"]["enum"] == list(get_args(Kind))


def test_every_key_is_described():
    def undescribed(part, path):
        for name, value in part.get("properties", {}).items():
            if not value.get("description"):
                yield f"{path}.{name}"
        for name in ("properties", "$defs"):
            for key, value in part.get(name, {}).items():
                yield from undescribed(value, f"{path}.{key}")
        for name in ("items", "additionalProperties"):
            if isinstance(part.get(name), dict):
                yield from undescribed(part[name], f"{path}[]")

    assert list(undescribed(SCHEMA, "$")) == []


def test_a_real_audit_is_valid(image_folder, tmp_path):
    out = tmp_path / "audit"
    main(["--data.source=ImageFolder", f"--data.source.root={image_folder}", "--data.name=discs", f"--out={out}"])

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    written = json.loads((out / "audit.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert errors(written) == []
    assert written["n"] == 72
    assert {split: written[split]["n"] for split in ("val", "test")} == {"val": 16, "test": 16}
