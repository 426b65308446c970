"""A repaired manifest in use: training and the next audit have the splits that were audited, and find nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitlab.cli import main
from vitlab.data.manifest import Manifest


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder of two classes: 60 pictures in pairs, of which the second is the first but brighter, and two
    copies of the same pixels."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(30):
        (root / "ab"[number % 2]).mkdir(exist_ok=True)
        pixels = np.kron(rng.uniform(20, 200, (12, 12)), np.ones((8, 8)))
        for name, gain in (("first", 1.0), ("second", 1.15), *([("copy", 1.0)] * (number < 2))):
            bright = (pixels * gain).clip(0, 255).astype(np.uint8)
            Image.fromarray(bright).save(root / "ab"[number % 2] / f"{number:02}-{name}.png")
    return root


def listed(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))


def train(use, folder):
    """Fit with the flags that the audit gave; return the split of each path that has a prediction."""
    assert main([
        "fit", "--config=configs/cnn.yaml", *use, "--data.image_size=32", "--trainer.max_steps=1",
        f"--run.root={folder / 'runs'}", "--data.name=repaired", "--trainer.accelerator=cpu",
    ]) == 0  # fmt: skip
    (predictions,) = (folder / "runs").rglob("predictions.csv")
    with predictions.open() as file:
        return {row["path"]: row["split"] for row in csv.DictReader(file)}


def columns(case, paths):
    """Return what is published of splits and folds, by column."""
    rows = np.arange(len(paths))
    folds = [str(1 + row * 7 % 5) for row in rows]
    return {
        "nothing": {},
        "train only": {"split": ["train"] * len(paths)},
        "test only": {"split": ["test" if row % 4 == 0 else "" for row in rows]},
        "train and test": {"split": ["test" if row % 4 == 0 else "train" for row in rows]},
        "folds": {"fold": folds},
        "folds beside a test": {
            "split": ["test" if row % 4 == 0 else "train" for row in rows],
            "fold": ["" if row % 4 == 0 else fold for row, fold in zip(rows, folds, strict=True)],
        },
    }[case]


CASES = [
    ("nothing", None),
    ("nothing", 2),
    ("train only", None),
    ("test only", None),
    ("train and test", 3),
    ("folds", 1),
    ("folds", None),
    ("folds beside a test", 4),
    ("folds beside a test", None),
]


@pytest.mark.parametrize(("case", "fold"), CASES)
def test_training_has_the_splits_that_were_audited_and_the_next_audit_finds_nothing(
    case, fold, images, tmp_path, capsys
):
    paths = listed(images)
    labels = [Path(path).parent.name for path in paths]
    Manifest({"path": paths, "label": labels, **columns(case, paths)}).write(tmp_path / "published.csv")
    repaired, out = tmp_path / "repaired.csv", tmp_path / "out"
    source = ["--data.source=Csv", f"--data.source.root={images}"]
    chosen = [] if fold is None else [f"--data.fold={fold}"]
    published = [*source, f"--data.source.manifest={tmp_path / 'published.csv'}", *chosen]
    assert main(["audit", *published, f"--out={out}", f"--repair={repaired}", "--fail-on=leak"]) == 1
    shown = capsys.readouterr().out
    use = shown.splitlines()[-1].removeprefix("use it: ").split()
    assert use[-1] == f"--data.fold={fold}" or fold is None
    with (out / "pairs.csv").open() as file:
        audited = {row[f"path_{end}"]: row[f"split_{end}"] for row in csv.DictReader(file) for end in "ab"}
    assert main(["audit", *use, f"--out={tmp_path / 'again'}", "--fail-on=leak"]) == 0
    again = json.loads((tmp_path / "again/audit.json").read_text())
    assert not again["leak"] and not any(found["across_splits"] for found in again["pairs"].values())

    manifest = Manifest.read(repaired, images)
    splits = dict(zip(manifest.path, manifest.split, strict=True))
    with (tmp_path / "repaired.changes.csv").open() as file:
        changes = list(csv.DictReader(file))
    moved = {row["path"]: row["change"] for row in changes if row["path"] and row["change"] != "dropped"}
    dropped = [row["path"] for row in changes if row["change"] == "dropped"]
    assert sorted([*splits, *dropped]) == paths and len(dropped) == 2
    for path, split in splits.items():
        assert f"split {audited[path] or 'none'} -> {split}" in moved[path] if audited[path] != split else True
        assert audited[path] != split or "split" not in moved.get(path, "")
    assert {row["reason"].split(":")[0] for row in changes if row["path"] in moved} <= {"tangled", "balance"}
    assert next(row["change"].split(":")[0] for row in changes if not row["path"]) == "train"
    for part in sorted(set(audited.values())):
        before = sum(split == part for split in audited.values())
        assert f"{part} {before} -> {(manifest.split == part).sum()} " in shown

    trained = train(use, tmp_path)
    assert set(trained) == set(splits)
    if set(splits.values()) >= {"train", "val", "test"}:
        assert trained == splits
    else:  # validation is cut from training, by the patients that the repair has found
        assert {path for path in trained if trained[path] == "test"} == {p for p in splits if splits[p] == "test"}
    groups = dict(zip(manifest.path, manifest.patient_id, strict=True))
    assert len({(groups[path], split) for path, split in trained.items()}) == len(set(groups.values())) == 30


def test_what_the_published_splits_leave_out_stays_out_of_folds(images, tmp_path, capsys):
    paths = listed(images)
    split = ["" if row % 7 == 0 else "test" if row % 4 == 0 else "train" for row in range(len(paths))]
    labels = [Path(path).parent.name for path in paths]
    Manifest({"path": paths, "label": labels, "split": split}).write(tmp_path / "published.csv")
    settings = ["--data.source=Csv", f"--data.source.root={images}", "--data.fold=3"]
    published = [*settings, f"--data.source.manifest={tmp_path / 'published.csv'}"]
    assert main(["audit", *published, f"--out={tmp_path / 'out'}", f"--repair={tmp_path / 'repaired.csv'}"]) == 0
    use = capsys.readouterr().out.splitlines()[-1].removeprefix("use it: ").split()
    trained = train(use, tmp_path)
    assert set(trained.values()) == {"train", "val", "test"}
    assert not [path for path, part in zip(paths, split, strict=True) if not part and trained.get(path)]
