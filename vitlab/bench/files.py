"""Rows of what works on files: start-up, the cache, `compare` on 100 runs, `audit`."""

import itertools
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from vitlab.bench.conditions import Conditions
from vitlab.bench.measure import Spent, Target
from vitlab.bench.plain import gray
from vitlab.bench.runs import call
from vitlab.data.cache import build_cache
from vitlab.data.sources import ImageFolder
from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.predictions import write_predictions
from vitlab.evaluate.results import write_results

AUDITED = 3264  # images, for which the target of 60 s was set

_PARSER = "import argparse; argparse.ArgumentParser(description='x').print_help()"
_IMPORTS = "import torch, torchvision, timm, lightning, lightly"
_MEANS = """
import csv, pathlib, statistics, sys
scores = {}
for file in pathlib.Path(sys.argv[1]).rglob("predictions.csv"):
    rows = [row for row in csv.DictReader(file.open()) if row["split"] == "test"]
    names = [name for name in rows[0] if name.startswith("prob_")]
    right = [max(names, key=lambda name: float(row[name])) == "prob_" + row["label"] for row in rows]
    scores.setdefault(file.parts[-3], []).append(statistics.mean(right))
for approach, values in scores.items():
    print(approach, statistics.mean(values), statistics.stdev(values))
"""
_HASHES = """
import pathlib, sys
import numpy as np
from PIL import Image
files = [path for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file()]
def dhash(path):
    pixels = np.asarray(Image.open(path).convert("L").resize((9, 8)), dtype=int)
    return (pixels[:, 1:] > pixels[:, :-1]).ravel()
hashes = np.array([dhash(path) for path in files])
distance = (hashes[:, None] != hashes[None]).sum(2)
print(np.argwhere(np.triu(distance <= 2, 1)).shape)
"""


class Start:
    """A start of the command against a start of Python that does as little.

    Args:
        conditions: Shared by all rows.
        verb: Whose help is asked for; empty for the program's own.
    """

    unit: Literal["s"] = "s"

    def __init__(self, conditions: Conditions, verb: str = "") -> None:
        self.conditions, self.facts, self.verb = conditions, dict[str, Any](), verb
        self.name = f"start-{verb}-help" if verb else "start-help"
        self.against = f'python -c "{_IMPORTS}"' if verb else "--help of a bare argparse program"
        self.target = None if verb else Target(0.3, "ours", "<= 0.3 s")

    def ours(self) -> Spent:
        """Ask for help."""
        return _timed(lambda: call([*filter(None, [self.verb]), "--help"], self.conditions))

    def plain(self) -> Spent:
        """Start Python."""
        return _timed(lambda: _python(_IMPORTS if self.verb else _PARSER, self.conditions))


class Cache:
    """The cache of decoded images, built anew, against a loop over the files with PIL and numpy."""

    unit: Literal["images/s"] = "images/s"
    target = None

    def __init__(self, conditions: Conditions, size: int) -> None:
        self.name, self.conditions, self.size = f"cache-{size}", conditions, size
        self.against, self.facts = "loop: PIL opens, turns gray and resizes; numpy saves", dict[str, Any]()
        self.source = ImageFolder(str(conditions.images))
        self.manifest = self.source.manifest()

    def ours(self) -> Spent:
        """Build it in a new folder."""
        folder = self.conditions.work / uuid.uuid4().hex
        spent = _timed(
            lambda: build_cache(
                self.manifest, image_size=self.size, channels=1, fit="pad", decode=self.source.decode, cache_dir=folder
            )
        )
        return Spent(spent.amount, len(self.manifest))

    def plain(self) -> Spent:
        """Decode one after the other."""

        def decode() -> None:
            side = (self.size, self.size)
            files = [self.source.root / path for path in self.manifest.path]
            pixels = [np.asarray(gray(str(file)).resize(side, Image.Resampling.BILINEAR)) for file in files]
            np.save(self.conditions.work / f"{uuid.uuid4().hex}.npy", np.stack(pixels))

        return Spent(_timed(decode).amount, len(self.manifest))


class Compare:
    """`compare` on 100 runs, with intervals and tests, against means by the csv module, which has neither."""

    name, unit = "compare-100-runs", "s"
    against = "csv module: mean and deviation of the accuracy alone"
    target = Target(2.0, "ours", "<= 2 s")

    def __init__(self, conditions: Conditions) -> None:
        self.conditions, self.facts = conditions, dict[str, Any]()
        self.root = conditions.work / "runs"
        if not self.root.exists():
            self.facts["runs"] = write_runs(self.root)

    def ours(self) -> Spent:
        """Compare."""
        return _timed(lambda: call(["compare", str(self.root)], self.conditions))

    def plain(self) -> Spent:
        """Average."""
        return _timed(lambda: _python(_MEANS, self.conditions, str(self.root)))


class AuditImages:
    """`audit` of the images, nothing kept from an earlier one, against a script that compares difference hashes."""

    name, unit = "audit", "images/s"
    against = "script: a difference hash of each image, all pairs; no other check"
    target = Target(60 / AUDITED, "ours", f"{AUDITED:,} images in 60 s")

    def __init__(self, conditions: Conditions) -> None:
        self.conditions, self.facts = conditions, dict[str, Any]()
        self.count = sum(path.is_file() for path in conditions.images.rglob("*"))

    def ours(self) -> Spent:
        """Audit with an empty cache."""
        out = self.conditions.work / uuid.uuid4().hex
        arguments = ["audit", "--data.source=ImageFolder", f"--data.source.root={self.conditions.images}"]
        cold = _Cold(self.conditions, out / "cache")
        return Spent(_timed(lambda: call([*arguments, f"--out={out / 'found'}"], cold)).amount, self.count)

    def plain(self) -> Spent:
        """Hash."""
        return Spent(_timed(lambda: _python(_HASHES, self.conditions, str(self.conditions.images))).amount, self.count)


class _Cold(Conditions):
    """The same conditions with another cache."""

    def __init__(self, conditions: Conditions, cache: Path) -> None:
        super().__init__(**vars(conditions))
        object.__setattr__(self, "cache", cache)

    @property
    def environment(self) -> dict[str, str]:
        """Environment with that cache."""
        return {**super().environment, "VITLAB_CACHE": str(vars(self)["cache"])}


def write_runs(root: Path, *, images: int = 3000, patients: int = 200, folds: int = 5, seeds: int = 5) -> int:
    """Write finished runs as `compare` reads them, of four approaches, and return how many: 100.

    Args:
        root: Folder of the runs.
        images: Of the data set, each in every run.
        patients: Whose images they are, in equal shares.
        folds: Of each approach.
        seeds: Of each fold.
    """
    rng = np.random.default_rng(0)
    classes = ["glioma", "meningioma", "pituitary"]
    patient = np.arange(images) * patients // images
    targets, fold_of = patient % 3, patient // 3 % folds
    hard = rng.normal(0, 1, patients)[patient]
    count = 0
    for (skill, approach), fold, seed in itertools.product(
        enumerate(("vit", "cnn", "vit_mae", "cnn_simclr")), range(folds), range(seeds)
    ):
        split = np.where(fold_of == fold, "test", np.where(fold_of == (fold + 1) % folds, "val", "train"))
        logits = rng.normal(0, 1, (images, 3))
        logits[np.arange(images), targets] += 1.0 + 0.3 * skill - hard
        probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        folder = root / "bench" / approach / f"seed{seed}-fold{fold}"
        folder.mkdir(parents=True)
        write_predictions(
            folder / "predictions.csv", split=split, index=np.arange(images),
            path_column=np.array([f"{i}.png" for i in range(images)]), patient_id=patient.astype(str),
            label=np.array(classes)[targets], probs=probs, classes=classes,
        )  # fmt: skip
        metrics = {name: compute_metrics(probs[split == name], targets[split == name])
                   for name in ("train", "val", "test")}  # fmt: skip
        write_results(folder, {
            "approach": approach, "dataset": "bench", "manifest_sha256": "0" * 64, "seed": seed, "fold": fold,
            "label_fraction": 1.0, "axes": "", "backbone": "resnet18_half", "parameters": 1, "flops_per_image": 1,
            "epochs": 1, "images_seen": 1, "wall_seconds": 1.0, "peak_memory_bytes": 1, "images_per_second": 1.0,
            "pretrain": None, "metrics": metrics, "device": "none: drawn by bench", "precision": "32-true",
            "status": "finished", "task": "supervised", "study": "bench", "classes": classes,
        })  # fmt: skip
        count += 1
    return count


def _timed(work: Any) -> Spent:
    start = time.perf_counter()
    work()
    return Spent(time.perf_counter() - start)


def _python(code: str, conditions: Conditions, *arguments: str) -> None:
    command = [sys.executable, "-c", code, *arguments]
    subprocess.run(command, check=True, capture_output=True, env=conditions.environment)
