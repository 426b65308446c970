"""The audit in words, from reports with and without the parts that may be missing."""

import json
from pathlib import Path

import pytest

from vitlab.audit.summary import planted_markdown, planted_text, summary, summary_markdown, verdict


@pytest.fixture
def report():
    return json.loads(Path(__file__).with_name("report.json").read_text())


def test_the_screen_holds_the_figures(report):
    text = summary(report)
    found = report["test"]
    (line,) = [line for line in text.splitlines() if line.startswith("test ")]
    names = ("n", "identical_in_train", "near_in_train", "unseen", "unseen_distinct")
    assert line.split()[1:] == [f"{found[name]:,}" for name in names]
    assert len(text.splitlines()) <= 40 and max(map(len, text.splitlines())) <= 220
    assert "100360 and MR048294 look like one person" in text


def test_five_lines_whatever_is_missing(report):
    assert summary_markdown(report).count("\n- ") == 4
    judged = ("expected", "expected_low", "expected_high", "sentence", "trust")
    for key in ("conflicts", "errors", *judged, "patients_with_two_classes"):
        del report["labels"][key]  # one class
    del report["test"]
    report |= {"shortcuts": [], "shift": [], "pairs": {}}
    report["patients"] |= {"known": False, "n": 0, "alike": []}
    text = summary_markdown(report)
    assert text.count("\n- ") == 4 and "one class only" in text and "one split only" in text
    assert summary(report)


def test_without_an_interval_it_says_why(report):
    for found in (*report["shortcuts"], *report["shift"]):
        found |= {"low": None, "high": None, "named": True}
    assert "too few groups for an interval" in summary_markdown(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "The splits leak: of the"),
        ({"identical_in_train": 0, "near_in_train": 0}, "patients are on two sides"),
    ],
)
def test_the_verdict_names_the_leak(report, change, words):
    report["test"] |= change
    assert words in verdict(report)


def test_a_clean_set_is_called_clean_with_its_limits(report):
    for split in ("val", "test"):
        if split in report:
            report[split] |= {"identical_in_train": 0, "near_in_train": 0}
    for kind in report["pairs"].values():
        kind["across_splits"] = 0
    report["patients"] |= {"across_splits": [], "alike": []}
    assert verdict(report).startswith("No image and no known patient of another split is in training")
    assert "not known" not in verdict(report)
    report["patients"]["images_without"] = 5
    assert "patients are not known" in verdict(report)
    report["pairs"]["same file"] = {"n": 2, "across_splits": 2, "across_labels": 0}
    assert "2 pairs of copies stand on two sides" in verdict(report)


def test_planted_copies_in_a_table_with_exact_intervals():
    row = {"kind": "cropped", "n": 50, "pairs": 100, "flagged": 40, "compared": 7}
    rows = [
        {**row, "strength": "to 90%", "found": 50, "recall": 1.0, "strangers": 0, "precision": 1.0, "named": 50},
        {**row, "strength": "to 80%", "found": 45, "recall": 0.9, "strangers": 1, "precision": 0.99, "named": 40},
    ]
    line = planted_markdown(rows).splitlines()[2]
    # Clopper-Pearson of 95 of 100 and 199 of 200, from R's binom.test.
    assert line == (
        "| cropped | to 90% 1.00, to 80% 0.90 | 100 | 0.950 (0.887 to 0.984) | 0.995 (0.972 to 1.000) | 0.95 |"
    )
    assert len(planted_text(rows).splitlines()) == 3
