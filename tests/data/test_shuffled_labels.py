"""Shuffled labels: counts stay, the order of the rows has no say, and a network learns nothing that holds."""

import csv
import json

import numpy as np

from vitlab.cli import main
from vitlab.data.manifest import Manifest
from vitlab.data.shuffled_labels import shuffle_labels


def manifest(order=None):
    rows = np.arange(60)
    table = Manifest(
        {
            "path": [f"{row:02}.png" for row in rows],
            "label": np.array(["a", "b", "", "a"])[rows % 4],
            "patient_id": [f"p{row // 4}" for row in rows],
            "split": np.array(["train", "val", "test"])[rows // 20],
        }
    )
    return table if order is None else Manifest({name: values[order] for name, values in table.columns.items()})


def test_each_split_keeps_its_labels_and_unlabelled_images_stay_so():
    before, after = manifest(), shuffle_labels(manifest(), seed=0)
    assert (after.label == shuffle_labels(manifest(), seed=0).label).all()
    assert (after.label != shuffle_labels(manifest(), seed=1).label).any()
    for split in ("train", "val", "test"):
        rows = before.split == split
        assert sorted(after.label[rows]) == sorted(before.label[rows])
        assert (after.label[rows] != before.label[rows]).any()
    assert ((after.label == "") == (before.label == "")).all()


def test_the_order_of_the_rows_does_not_matter():
    order = np.random.default_rng(0).permutation(60)
    shuffled, reordered = shuffle_labels(manifest(), seed=0), shuffle_labels(manifest(order), seed=0)
    assert dict(zip(shuffled.path, shuffled.label, strict=True)) == dict(
        zip(reordered.path, reordered.label, strict=True)
    )


def test_fit_trains_and_tests_on_the_shuffled_labels(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(shuffled):
        settings = ["--model.backbone=resnet18_half", "--trainer.max_epochs=1", "--data.image_size=32", "--data.name=s"]
        source = ["--data.source=ImageFolder", f"--data.source.root={image_folder}", f"--run.study=s{shuffled}"]
        arguments = ["fit", "--config", "configs/cnn.yaml", *source, *settings, "--trainer.accelerator=cpu"]
        assert main([*arguments, f"--data.shuffle_labels={shuffled}"]) == 0
        folder = tmp_path / "lightning_logs" / f"s{shuffled}" / "cnn" / "seed0"
        with (folder / "predictions.csv").open() as file:
            labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
        return labels, json.loads((folder / "results.json").read_text())

    true, results = run(False)
    assert results["shuffle_labels"] is False
    shuffled, results = run(True)
    assert results["shuffle_labels"] is True
    assert true.keys() == shuffled.keys() and sorted(true.values()) == sorted(shuffled.values()) and true != shuffled
