"""Hand-made run folders."""

import json
from pathlib import Path

import numpy as np
import pytest

from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.predictions import write_predictions

BASE = {
    "loss": 0.5, "accuracy": 0.8, "balanced_accuracy": 0.75, "macro_f1": 0.7,
    "auroc": 0.9, "ece": 0.1, "brier": 0.3, "mcc": 0.6,
}  # fmt: skip


@pytest.fixture
def make_run(tmp_path):
    """Write the folder of a finished run; keywords replace entries, `test_accuracy=...` those of the metrics."""

    def make(approach="cnn", seed=0, fold=None, *, root="logs", folder=None, without=(), **changes) -> Path:
        metrics = {split: dict(BASE) for split in ("train", "val", "test")}
        for key in [key for key in changes if key.split("_")[0] in metrics]:
            split, _, name = key.partition("_")
            metrics[split][name] = changes.pop(key)
        record = {
            "schema": 1, "approach": approach, "dataset": "phantom", "manifest_sha256": "ab" * 32, "seed": seed,
            "fold": fold, "label_fraction": 1.0, "axes": "", "backbone": "resnet18_half", "parameters": 2_800_000,
            "flops_per_image": 10, "epochs": 5, "images_seen": 1000, "wall_seconds": 20.0, "peak_memory_bytes": 7,
            "images_per_second": 50.0, "pretrain": None, "metrics": metrics, "versions": {}, "git_commit": None,
            "device": "1 x cpu (1 threads)", "precision": "32-true", "status": "finished", "task": "supervised",
        } | changes  # fmt: skip
        name = f"seed{seed}" + ("" if fold is None else f"-fold{fold}")
        path = tmp_path / root / (folder or f"{record['dataset']}/{approach}/{record['axes']}/{name}")
        path.mkdir(parents=True)
        (path / "config.yaml").write_text("seed_everything: 0\n")
        (path / "checkpoints").mkdir()
        (path / "events.out.tfevents.1").write_bytes(b"")
        (path / "results.json").write_text(json.dumps({k: v for k, v in record.items() if k not in without}))
        return path

    return make


@pytest.fixture
def make_scored(make_run):
    """Write the folder of a finished run with its predictions, of two classes, and the metrics that they give.

    `test=[0.9, 0.2, ...]` is the probability of the true class of each image, so too `train` and `val`. Images are of
    patients, `per_patient` in a row, who are of class "a" and "b" in turn; without `ids` nobody knows the patients.
    `first` is the number of the first image: other numbers are other images and patients.
    """

    def make(approach="cnn", seed=0, fold=None, *, per_patient=1, ids=True, first=0, **changes) -> Path:
        own = {split: np.asarray(changes.pop(split)) for split in ("train", "val", "test") if split in changes}
        split = np.repeat(list(own), [len(values) for values in own.values()])
        right, patient = np.concatenate(list(own.values())), np.concatenate([np.arange(len(v)) for v in own.values()])
        patient = patient // per_patient
        targets = patient % 2
        probs = np.where(targets[:, None] == [0, 1], right[:, None], 1 - right[:, None])
        metrics = {name: compute_metrics(probs[split == name], targets[split == name]) for name in own}
        folder = make_run(approach, seed, fold, **{"metrics": metrics} | changes)
        names = [f"{name}{first + number}" if ids else "" for name, number in zip(split, patient, strict=True)]
        write_predictions(
            folder / "predictions.csv", classes=["a", "b"], probs=probs, label=np.array(["a", "b"])[targets],
            index=first + np.arange(len(probs)), split=split, patient_id=names,
            path_column=[f"{first + i}.png" for i in range(len(probs))],
        )  # fmt: skip
        return folder

    return make
