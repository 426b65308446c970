"""Run folders of a small study, with all that a run can leave, and names that mean harm."""

import json

import numpy as np
import pytest

from vitlab.evaluate.corrupted import count, write_robustness
from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.predictions import read_predictions, write_predictions

APPROACHES = {"cnn": 0.4, "cnn_simclr": 1.1, "vit": -0.2, "vit_mae": 0.9}  # how much better than which
HOSTILE = {
    "class": "<script>window.stolen=1</script>$\\frac{$",
    "folder": "a'b\"<img src=x onerror=window.stolen=1>#?%20",
    "group": "</svg><img src=x onerror=window.stolen=1>",
    "approach": "_mine <b onclick='stolen=1'>$x^$",
}


class Study:
    """A study on disk.

    Args:
        root: of its folders.
        classes: of the images.
    """

    def __init__(self, root, classes=("glioma", "meningioma", HOSTILE["class"])):
        self.root, self.classes = root, list(classes)
        self.data = root / "data"
        self.data.mkdir()
        rng = np.random.default_rng(7)
        n = 200
        self.patient = np.repeat([f"{'MR' if i % 2 else 'CT'}{i:03d}" for i in range(n // 4)], 4)
        self.label = np.repeat(rng.integers(0, len(self.classes), n // 4), 4)
        self.split = np.repeat(np.resize(["train", "val", "test", "test"], n // 4), 4)
        self.paths = [f"images/{i}.png" for i in range(n)]
        lines = ["path,label,patient_id,plane,unique"]
        planes = np.resize(["axial", f'"{HOSTILE["group"]}"', "sagittal"], n)
        lines += [f"{path},x,{patient},{plane},{i}" for i, (path, patient, plane) in
                  enumerate(zip(self.paths, self.patient, planes, strict=True))]  # fmt: skip
        (self.data / "manifest.csv").write_text("\n".join(lines) + "\n")

    def run(self, approach="cnn", seed=0, *, label_fraction=1.0, axes="", folder=None, extras=True, **changes):
        """Write a finished run and return its folder."""
        rng = np.random.default_rng([seed, sum(approach.encode()), int(100 * label_fraction)])
        n, k = len(self.label), len(self.classes)
        hard = np.random.default_rng(3).normal(0, 1, n)  # the same images are hard for all
        logits = rng.normal(0, 0.8, (n, k))
        skill = 1.2 + APPROACHES.get(approach, 0.3) + np.log10(label_fraction)
        logits[np.arange(n), self.label] += skill + hard + 1.5 * (self.split == "train")
        probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        path = self.root / "logs" / (folder or f"{approach}{axes}/{label_fraction:g}/seed{seed}")
        path.mkdir(parents=True)
        names = np.array(self.classes, object)[self.label]
        write_predictions(
            path / "predictions.csv", classes=self.classes, probs=probs, label=names, index=np.arange(n),
            split=self.split, path_column=self.paths, patient_id=self.patient,
        )  # fmt: skip
        own = {split: self.split == split for split in ("train", "val", "test")}
        metrics = {split: compute_metrics(probs[rows], self.label[rows]) for split, rows in own.items()}
        pretrained = approach in ("cnn_simclr", "vit_mae")
        record = {
            "schema": 1, "approach": approach, "dataset": "lesions", "study": "lesions", "manifest_sha256": "ab" * 32,
            "seed": seed, "fold": None, "label_fraction": label_fraction, "axes": axes, "classes": self.classes,
            "backbone": "vit_tiny" if approach.startswith("vit") else "resnet18_half", "parameters": 2_800_000,
            "flops_per_image": 8e7, "epochs": 12, "images_seen": 1000, "wall_seconds": 20.0 + seed,
            "peak_memory_bytes": 2**30, "images_per_second": 50.0, "metrics": metrics,
            "pretrain": {"wall_seconds": 100.0, "images_seen": 9000} if pretrained else None,
            "images": {"train": 50, "val": 50, "test": 100}, "split": {"val_fraction": 0.25, "fold": None},
            "versions": {"python": "3.11.7", "torch": "2.14.1"}, "git_commit": "f" * 40,
            "device": "1 x cpu (1 threads)", "precision": "32-true", "status": "finished", "task": "supervised",
        } | changes  # fmt: skip
        source = {"root": str(self.data), "manifest": "manifest.csv"}
        (path / "config.yaml").write_text(json.dumps({"data": {"source": {"init_args": source}}}))
        if extras:
            self._extras(path, rng)
        (path / "results.json").write_text(json.dumps(record))
        return path

    def _extras(self, path, rng):
        (path / "train.log").write_text("epoch 0\n")
        lines = ["epoch,step,train/loss,val/loss,val/balanced_accuracy"]
        for epoch in range(12):
            fall = np.exp(-epoch / 4)
            lines.append(f"{epoch},{epoch},{fall + rng.uniform(0, 0.1)},,")
            lines.append(f"{epoch},{epoch},,{0.4 + fall + 0.02 * epoch},{0.9 - 0.5 * fall + rng.uniform(0, 0.05)}")
        (path / "metrics.csv").write_text("\n".join(lines) + "\n")
        predictions = read_predictions(path / "predictions.csv")
        test = predictions.where(predictions.split == "test")
        own, y, k = test.probs.argmax(1), test.targets, len(self.classes)
        worse = {
            name: np.stack([np.where(rng.random(len(y)) < 0.02 * at * s, (y + 1) % k, own) for s in range(6)])
            for at, name in enumerate(("noise", "blur", "<b>ghosting"), 1)
        }
        write_robustness(path / "robustness.csv", count(test, worse))
        index = np.flatnonzero(self.split == "test")
        features = rng.normal(0, 1, (len(index), 16)) + 2 * np.eye(16)[self.label[index]]
        np.savez(path / "features.npz", features=features.astype(np.float16), index=index)


@pytest.fixture(scope="session")
def make_study():
    return Study


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """Return the page of a whole study: four approaches, two of them with fewer labels too, and one of one's own."""
    from vitlab.report.table import main

    root = tmp_path_factory.mktemp("study")
    study = Study(root)
    for approach in APPROACHES:
        for seed in range(2):
            study.run(approach, seed)
            if approach.startswith("cnn"):
                study.run(approach, seed, label_fraction=0.1)
    study.run(HOSTILE["approach"], 0, folder=HOSTILE["folder"])
    (root / "logs" / "study.yaml").write_text("seeds: [0, 1]\nnote: '<script>window.stolen=1</script>'\n")
    out = root / "logs" / "report.html"
    assert main([str(root / "logs"), "--resamples", "200", "--report", str(out), "--out", str(root / "table.md")]) == 0
    return out
