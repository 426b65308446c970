"""Tables that people open run nothing: cells that begin as formulas are words, numbers stay numbers."""

import csv
import io
import json

import pytest

from vitlab.audit.outputs import write_changes
from vitlab.cli import main
from vitlab.spreadsheet import cell

HOSTILE = ("=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(A1)", "\t=1")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_formula_is_a_word(text):
    assert cell(text) == "'" + text


@pytest.mark.parametrize("value", [-0.5, "-0.5", "-1e-3", "+3", "a=b", "", None, 7, "-inf"])
def test_numbers_and_names_stay(value):
    assert cell(value) == value


def test_the_changes_of_a_repair(tmp_path):
    write_changes([(text, "removed", "a\r=1+1") for text in HOSTILE], tmp_path / "changes.csv")
    with (tmp_path / "changes.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    assert all(value[0] not in "=+-@\t\r" and "\r" not in value for row in rows for value in row) and len(rows) == len(
        HOSTILE
    )


def test_the_table_of_a_comparison(tmp_path, capsys):
    """The approach, the axes and the data set of a run are text of whoever made it."""
    run = tmp_path / "logs" / "x" / "seed0"
    run.mkdir(parents=True)
    rows = ["split,index,path,patient_id,label,prob_a,prob_b"]
    rows += [f"{split},{3 * number + at},{number}{split}.png,,{'ab'[number % 2]},0.25,0.75"
             for number in range(6) for at, split in enumerate(("train", "val", "test"))]  # fmt: skip
    (run / "predictions.csv").write_text("\n".join(rows))
    record = {"schema": 1, "approach": "=1+1", "axes": "@x", "dataset": "+data", "manifest_sha256": "0" * 64, "seed": 0,
              "metrics": {}, "classes": ["a", "b"]}  # fmt: skip
    (run / "results.json").write_text(json.dumps(record))
    assert main(["compare", str(tmp_path / "logs"), "--format", "csv", "--resamples", "0"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert not [value for value in row.values() if value[:1] in tuple("=+@")] and "'=1+1" in row.values()
