"""What stands below a table: leaks that the predictions show, and models that say the same of every image."""

import re

from vitlab.report.table import main

RIGHT, SAME = [0.9] * 20, [0.9, 0.1] * 10  # of patients who are of class "a" and "b" in turn: "a" is always said


def notes(capsys, folder):
    assert main([str(folder)]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_patients_on_two_sides_are_said(make_scored, tmp_path, capsys):
    make_scored("vit", train=RIGHT, val=RIGHT, test=RIGHT)
    for seed, split in enumerate(("train", "val")):
        file = make_scored("cnn", seed, train=RIGHT, val=RIGHT, test=RIGHT) / "predictions.csv"
        file.write_text(re.sub(rf"\b{split}([0-4])\b", r"test\1", file.read_text()))
    found = notes(capsys, tmp_path / "logs")
    assert "the split leaks: up to 5 patients of a run's test are in its train or val too" in found
    assert "says nothing of new patients: CNN (" not in found and "says nothing of new patients: CNN" in found


def test_nothing_is_said_of_splits_by_patient_and_of_unknown_patients(make_scored, tmp_path, capsys):
    make_scored("vit", train=RIGHT, test=RIGHT)
    make_scored("cnn", train=RIGHT, test=RIGHT, ids=False, manifest_sha256="cd" * 32)
    assert "leaks" not in notes(capsys, tmp_path / "logs")


def test_a_model_that_says_the_same_of_every_image_is_named(make_scored, tmp_path, capsys):
    make_scored("vit", test=RIGHT)
    make_scored("vit", 1, test=SAME)
    make_scored("cnn", test=SAME)
    found = notes(capsys, tmp_path / "logs")
    assert "ViT calls every test image 'a' in 1 of 2 runs: it has learned no difference" in found
    assert "CNN calls every test image 'a' in its run: it has" in found
