"""Predictions of runs, refused before any image is read where they say nothing about this data set."""


import numpy as np
import pytest

from vitlab.audit.run import read_runs
from vitlab.data.manifest import Manifest
from vitlab.evaluate.predictions import write_predictions

# Path, split in the run, label.
ROWS = [("a.png", "train", "x"), ("b.png", "train", "y"), ("c.png", "val", "x"), ("d.png", "test", "y"),
        ("e.png", "test", "x"), ("f.png", "test", "")]  # fmt: skip


@pytest.fixture
def manifest():
    paths, splits, labels = zip(*ROWS, strict=True)
    return Manifest({"path": paths, "label": labels, "split": splits})


def write(path, rows=ROWS, classes=("x", "y")):
    path.parent.mkdir(parents=True, exist_ok=True)
    paths, splits, labels = zip(*rows, strict=True)
    none = [""] * len(rows)
    probs = np.full((len(rows), len(classes)), 1 / len(classes))
    columns = {"label": labels, "index": range(len(rows)), "split": splits, "path_column": paths, "patient_id": none}
    write_predictions(path, classes=classes, probs=probs, **columns)
    return path


def test_a_run_is_named_by_its_folders_from_wherever_it_is_given(manifest, tmp_path, monkeypatch):
    file = write(tmp_path / "runs/discs/cnn/seed0/predictions.csv")
    monkeypatch.chdir(file.parent)
    for given in (file, file.parent, type(file)("predictions.csv"), type(file)(".")):
        (run,) = read_runs([given], manifest)
        assert run.name == "discs/cnn/seed0" and run.file.samefile(file)
    other = write(tmp_path / "more/discs/cnn/seed0/predictions.csv")
    assert [run.name for run in read_runs([file, other], manifest)] == [str(file), str(other)]
    (renamed,) = read_runs([write(tmp_path / "mine.csv")], manifest)
    assert renamed.name.endswith("/mine.csv")


def test_splits_are_those_of_the_run_or_else_of_the_audit(manifest, tmp_path):
    (run,) = read_runs([write(tmp_path / "own.csv", [ROWS[1], ROWS[3]])], manifest)
    assert (run.trained_on, run.split.tolist()) == ("run", ["", "train", "", "test", "", ""])
    (run,) = read_runs([write(tmp_path / "test.csv", [ROWS[3], ("b.png", "val", "y")])], manifest)
    assert (run.trained_on, run.split.tolist()) == ("audit", ["train", "val", "", "test", "", ""])


def test_other_labels_are_warned_of(manifest, tmp_path):
    file = write(tmp_path / "old.csv", [*ROWS[:3], ("d.png", "test", "x")])
    with pytest.warns(UserWarning, match="1 labels in .*old.csv are not the manifest's"):
        read_runs([file], manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "the folder .* has no predictions.csv for --predictions: give"),
        (lambda path: path.write_text("path,label\na.png,x\n"), "is not a predictions file: column 'split' is missing"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x00\xff"), "is not a predictions file"),
        (lambda path: write(path, [*ROWS, ("z.png", "test", "x")]), r"1 of its 7 paths .* first 'z.png'"),
        (lambda path: write(path, [*ROWS, ROWS[2]]), "a path more than once"),
        (lambda path: write(path, ROWS[:4], classes=("x", "y", "z")), "of other classes: 'z' is none of .* 'x', 'y'"),
        (lambda path: write(path, ROWS[:2]), "no validation or test images with a label"),
        (lambda path: write(path, [ROWS[0], ROWS[5]]), "no validation or test images with a label"),
        (lambda path: write(path, [("a.png", "test", "x")]), "1 of its test images are training images of this audit"),
    ],
)
def test_mistakes_are_named_in_one_line(manifest, tmp_path, change, message):
    file = write(tmp_path / "predictions.csv")
    change(file)
    with pytest.raises(ValueError, match=message) as error:
        read_runs([file], manifest)
    assert "\n" not in str(error.value) and "predictions.csv" in str(error.value)


def test_without_any_training_image_nothing_is_known(manifest, tmp_path):
    file = write(tmp_path / "predictions.csv", ROWS[3:])
    with pytest.raises(ValueError, match=r"neither .* nor the data set has training images"):
        read_runs([file], manifest.with_columns(split=["test"] * len(ROWS)))


def test_a_file_that_cannot_be_read(manifest, tmp_path):
    file = tmp_path / "predictions.csv"
    file.symlink_to("/proc/self/mem")  # not even root can read the first page of a process
    with pytest.raises(ValueError, match=r"cannot read .*: Input/output error"):
        read_runs([file], manifest)
