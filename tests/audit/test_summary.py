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
        ({"identical_in_train": 0, "near_in_train": 0}, "1 patient is on two sides"),
        ({"identical_in_train": 0, "near_in_train": 1}, "images 1 is in training as a near copy or another slice;"),
        ({"identical_in_train": 3, "near_in_train": 0}, "images 3 are in training pixel for pixel;"),
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


def test_what_could_not_be_judged_is_not_called_clean(report):
    report["shortcuts"], report["labels"] = [], {"balance": {}, "unlabelled": 0}
    text = summary(report)
    assert "shortcuts: not judged" in text and "labels: not judged" in text and "none beats chance" not in text


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


def test_unseen_images_and_unseen_pictures_are_told_apart(report):
    text = summary(report)
    assert text.splitlines()[4].split("  ")[-1].strip() == "different pictures of these"
    (line,) = [line for line in text.splitlines() if "vit/seed0" in line]
    assert line == (
        "  brains/vit/seed0, test: 0.910 (0.86 to 0.96) on all 394 images, 0.990 on 251 identical ones, "
        "0.740 (0.69 to 0.79) on 101 different unseen pictures, 0.690 (0.64 to 0.74) on 60 different new ones"
    )
    assert "new: no near copy in training" in text and "audit's training split" not in text
    report["worth"][0] |= {"trained_on": "audit", "seen": None, "new": None}
    report["worth"][0]["all"] |= {"low": None, "high": None}
    text = summary(report)
    assert "0.910 on all 394 images, 0.740" in text and "(too few groups for an interval)" in text
    assert "judged by this audit's training split: brains/vit/seed0" in text


def test_images_without_a_label_are_counted(report):
    assert "unlabelled: 7 of 394 images have no label, and count in no class" in summary(report)
    report["test"]["unlabelled"] = 4
    assert "7 of 394 images have no label (4 in test)," in summary(report)
    report["labels"]["unlabelled"] = 0
    assert "unlabelled" not in summary(report)


def test_columns_come_before_pixels_and_none_hides(report):
    shortcut = report["shortcuts"][0]

    def named(name, value):
        return {**shortcut, "name": name, "sentence": f"{name} alone", "balanced_accuracy": value}

    pixels = [named(f"pixels {number}", 0.9) for number in range(5)]
    columns = [named("column scanner", 0.6), named("prefix of patient_id", 0.7), named("column ward", 0.65)]
    report["shortcuts"] = pixels + columns
    lines = [line for line in summary(report).splitlines() if line.startswith(("shortcut: ", "    "))][1:]
    assert [line.removeprefix("shortcut: ").removesuffix(" alone") for line in lines[:4]] == [
        "prefix of patient_id", "column ward", "column scanner", "pixels 0"
    ]  # fmt: skip
    assert lines[6].strip() == "and 2 more: pixels 3, pixels 4"
    assert "prefix of patient_id, column ward, column scanner alone tell classes apart (5 more do)" in verdict(report)


def test_a_column_that_equals_the_label_has_a_line(report):
    assert "not tested" not in summary(report)
    report["untested_columns"] += [
        {"column": "ward", "reason": "one number for each class, taken for the label"},
        {"column": "diagnosis", "reason": "the label"},
    ]
    assert "not tested: ward, diagnosis, taken for the label" in summary(report)


def test_the_fullest_screen_is_one(report):
    report["val"] = report["test"]
    report["patients"]["alike"] *= 9
    report["untested_columns"] += [{"column": "diagnosis", "reason": "the label"}] * 9
    shortcut = {**report["shortcuts"][0], "sentence": "x" * 300}
    report["shortcuts"] = [{**shortcut, "name": f"column {number}"} for number in range(20)]
    report["shift"] *= 2
    value = {**report["worth"][0], "name": "a/longer/" * 9 + "seed0-fold1", "trained_on": "audit"}
    report["worth"] = [value] * 12
    report["verdict"] = verdict(report)
    lines = summary(report).splitlines()
    assert len(lines) + 2 <= 40 and max(map(len, lines)) <= 220
    whole = [line for line in lines if "r/seed0-fold1, test: 0.910" in line]
    assert len(whole) == 6 and all(line.endswith("on 60 different new ones") for line in whole)


def test_names_in_markdown_are_text_whatever_they_hold(report):
    report["patients"]["alike"][0]["patients"] = ["<script>x</script>", "a\n<!-- /audit -->![b](http://c)"]
    report["shortcuts"][0] |= {"name": "column <img>", "named": True}
    text = summary_markdown(report)
    assert "<" not in text and "![b](" not in text
    assert text.count("\n- ") == 4 and "&lt;script>x&lt;/script> and a &lt;!-- /audit -->" in text
