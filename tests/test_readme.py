"""README: each table and list that a script puts there equals what the published results give now."""

import ast
import csv
import json
import re
from pathlib import Path

import pytest

from tests.audit import scale
from vitlab.audit.summary import planted_markdown, summary_markdown
from vitlab.bench.output import markdown, read
from vitlab.report.findings import brief_markdown, read_findings
from vitlab.report.formats import render, render_brief
from vitlab.report.summary import build_tables
from vitlab.report.table import collect, with_groups

REPO = Path(__file__).parents[1]
PUBLISHED = REPO / "lightning_logs" / "published"
README = (REPO / "README.md").read_text(encoding="utf-8")
MARKS = re.findall(r"<!-- ([^/ ]\S*) -->", README)


def block(mark):
    return README.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0]


def marks(kind):
    found = [mark.removeprefix(f"{kind}-") for mark in MARKS if mark.startswith(f"{kind}-")]
    return [name for name in found if name != "scale"]


def rows(path):
    """Return a table's rows, numbers as such."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: number(value) for name, value in row.items()} for row in csv.DictReader(file)]


def number(value):
    return ast.literal_eval(value) if re.fullmatch(r"-?\d+(\.\d+)?", value) else value


@pytest.mark.parametrize("name", marks("audit"))
def test_what_an_audit_found_is_what_its_json_says(name):
    report = json.loads((PUBLISHED / "audits" / name / "audit.json").read_text(encoding="utf-8"))
    assert block(f"audit-{name}") == summary_markdown(report)


@pytest.mark.parametrize("name", marks("planted"))
def test_how_many_planted_copies_are_found_is_what_the_table_says(name):
    planted = rows(PUBLISHED / "audits" / name / "planted.csv")
    for row in planted:  # the file has four digits, the page rounds the whole number
        recall = row["found"] / max(1, row["n"])
        assert row["recall"] == pytest.approx(recall, abs=6e-5)
        row["recall"] = recall
    assert block(f"planted-{name}") == planted_markdown(planted)


def test_how_an_audit_grows_is_what_the_table_says():
    assert block("audit-scale") == scale.markdown(rows(PUBLISHED / "audits" / "scale.csv"))


def test_the_table_of_cheng_is_that_of_its_published_runs():
    runs, unfinished = collect([PUBLISHED / "cheng"])
    assert not unfinished
    assert block("cheng") == render([with_groups(table, "patient_prefix") for table in build_tables(runs)], "markdown")


@pytest.mark.parametrize("study", ["label_efficiency", "shuffled_labels", "leak"])
def test_the_answer_of_a_study_is_that_of_its_published_runs(study):
    runs, unfinished = collect([PUBLISHED / study])
    assert not unfinished
    assert block(study) == render_brief(build_tables(runs), "markdown")


@pytest.mark.parametrize("machine", marks("bench"))
def test_what_a_bench_measured_is_what_its_json_says(machine):
    assert block(f"bench-{machine}") == markdown(read(PUBLISHED / "bench" / machine))


@pytest.mark.parametrize("study", marks("explain"))
def test_what_was_found_in_the_models_of_a_study_is_what_its_json_says(study):
    found, runs = read_findings(PUBLISHED / study / "explain")
    assert runs and block(f"explain-{study}") == brief_markdown(found)


def test_every_published_result_of_an_audit_has_its_place():
    files = {f"{what}-{path.parent.name}" for what, name in (("audit", "audit.json"), ("planted", "planted.csv"))
             for path in (PUBLISHED / "audits").glob(f"*/{name}")}  # fmt: skip
    assert files == {mark for mark in MARKS if mark.startswith(("audit-", "planted-"))} - {"audit-scale"}


def test_marks_are_paired_and_come_once():
    assert sorted(MARKS) == sorted(set(MARKS)) == sorted(re.findall(r"<!-- /(\S+) -->", README))
    assert {"demo", "cheng", "label_efficiency", "shuffled_labels", "leak", "audit-scale"} < set(MARKS)
