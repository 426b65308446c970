"""Files, classes and patients of any name: folder, manifest, run, table, and nothing is lost or split on the way."""

import json
import os
import warnings

import pytest

from tests.test_chain import TINY_CNN
from vitlab.cli import main
from vitlab.data.manifest import Manifest
from vitlab.data.sources import ImageFolder
from vitlab.evaluate.predictions import read_predictions

CLASSES = {"top": '=1+1, "to\'p"\r\nx', "bottom": "bot\rtom\t\N{LATIN SMALL LETTER U WITH DIAERESIS}"}
NAMES = ["a\rb", "\rc", "d\n", "e\r\nf", 'g"', "h,i", "j\t", "=k", "@l", b"m\xff", "n", " o ", "p'", "q;r", "-1", "#"]
IDS = ["p\r1", "p\n2", 'p"3', "p,4", "=p5", "p\t6", "p;7", "p 8"]


@pytest.fixture
def odd_folder(image_folder, tmp_path):
    """Return the discs under other names."""
    for file in sorted(image_folder.rglob("*.png")):
        split, label, number = file.relative_to(image_folder).parts
        folder = tmp_path / "odd" / split / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        place, name = int(file.stem), NAMES[int(number[:-4]) % len(NAMES)]
        target = os.path.join(os.fsencode(folder), b"%d" % place + os.fsencode(name) + b".png")
        os.link(file, target)
    return tmp_path / "odd"


def trained(tmp_path, source, study, capsys):
    """Train, compare, and return what predictions.csv and the table say."""
    args = ["fit", "--config", "configs/cnn.yaml", *source, "--data.image_size=32", "--data.batch_size=8",
            f"--data.name={study}", f"--run.root={tmp_path}/runs", *TINY_CNN, "--trainer.accelerator=cpu",
            "--trainer.max_epochs=1"]  # fmt: skip
    assert main(args) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs" / study), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    return read_predictions(tmp_path / "runs" / study / "cnn" / "seed0" / "predictions.csv"), row


def test_from_a_folder_and_a_manifest_to_the_table(odd_folder, tmp_path, capsys):
    manifest = ImageFolder(str(odd_folder)).manifest()
    assert set(manifest.label) == set(CLASSES.values()) and len(manifest) == 72
    found, row = trained(tmp_path, ["--data.source=ImageFolder", f"--data.source.root={odd_folder}"], "folder", capsys)
    assert sorted(found.path) == sorted(manifest.path) and found.classes == sorted(CLASSES.values())
    truth = dict(zip(manifest.path, manifest.label, strict=True))
    assert all(truth[path] == label for path, label in zip(found.path, found.label, strict=True))
    assert row["test"]["accuracy"]["n_images"] == 16

    patients = [f"{split} {IDS[place % 8]}" for place, split in enumerate(manifest.split)]
    manifest = manifest.with_columns(patient_id=patients)
    manifest.write(odd_folder / "manifest.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Manifest.read(odd_folder / "manifest.csv")
    assert again.sha256 == manifest.sha256
    for name in ("path", "label", "patient_id", "split"):
        assert list(again.column(name)) == list(manifest.column(name)), name
    found, row = trained(tmp_path, ["--data.source=Csv", f"--data.source.root={odd_folder}"], "manifest", capsys)
    person = dict(zip(manifest.path, patients, strict=True))
    assert all(person[path] == patient for path, patient in zip(found.path, found.patient_id, strict=True))
    assert row["test"]["accuracy"]["n_patients"] == 8 and row["patient"] is not None
