from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitlab.audit.copies.pairs import Pairs
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.audit.run import read_runs
from vitlab.audit.worth import worth
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Csv
from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.predictions import read_predictions, write_predictions

REPO = Path(__file__).parents[2]

# Name of the file, number of its picture, split in the run, label, prediction. Picture 0 is trained on, and tested
# twice; picture 5 stands twice in test, under two labels; pairs say that picture 3 is a near copy of 1.
ROWS = [
    ("a.png", 0, "train", "x", "x"),
    ("b.png", 1, "train", "y", "y"),
    ("c.png", 0, "test", "x", "x"),
    ("d.png", 0, "test", "y", "x"),
    ("e.png", 3, "test", "y", "y"),
    ("f.png", 4, "test", "x", "y"),
    ("g.png", 5, "test", "x", "x"),
    ("h.png", 5, "test", "y", "x"),
    ("i.png", 6, "test", "y", "y"),
    ("j.png", 7, "test", "", "y"),
    ("k.png", 1, "val", "y", "y"),
    ("l.png", 8, "", "y", "x"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worth")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (9, 24, 24)).astype(np.uint8)
    for name, number, *_ in ROWS:
        Image.fromarray(pictures[number]).save(folder / name)
    names, _, _, labels, _ = zip(*ROWS, strict=True)
    Manifest({"path": names, "label": labels}).write(folder / "manifest.csv")
    source = Csv(root=str(folder))
    manifest = source.manifest()
    images = read_images(manifest, source.decode, Memo(manifest, folder / "memo"))
    pairs = Pairs(np.array([1]), np.array([4]), np.array(["cropped"], object), np.array([0.95], np.float32))
    return manifest, images, pairs


def write(path, rows=ROWS, order=None):
    rows = [rows[at] for at in (order if order is not None else range(len(rows)))]
    write_predictions(
        path,
        classes=["x", "y"],
        probs=np.array([[0.9, 0.1] if row[4] == "x" else [0.2, 0.8] for row in rows]),
        label=[row[3] for row in rows],
        index=list(range(len(rows))),
        split=[row[2] for row in rows],
        path_column=[row[0] for row in rows],
        patient_id=[""] * len(rows),
    )
    return path


def judge(data, file):
    manifest, images, pairs = data
    (run,) = read_runs([file], manifest)
    return worth(run, images=images, pairs=pairs, groups=np.arange(len(manifest)))


def parts_of(value):
    return {name: part for name, part in asdict(value).items() if name not in ("name", "split", "trained_on")}


def test_parts_by_hand(data, tmp_path):
    val, test = judge(data, write(tmp_path / "predictions.csv"))
    assert (val.split, test.split) == ("val", "test")
    figures = {name: (part["accuracy"], part["n"]) for name, part in parts_of(test).items()}
    assert figures == {
        "all": (pytest.approx(4 / 7), 7),  # c, e, g, i of c to i; j has no label
        "seen": (0.5, 2),  # c, d
        "near": (1.0, 1),  # e
        "unseen": (pytest.approx((1 + 0 + 0.5 + 1) / 4), 4),  # e, f, picture 5 half right, i
        "new": (pytest.approx((0 + 0.5 + 1) / 3), 3),
    }
    assert val.seen is not None and val.seen.accuracy == 1.0 and val.unseen is None and val.near is None
    parts = (test.all, test.seen, test.near, test.unseen, test.new)
    assert {(part.low, part.high) for part in parts} == {(None, None)}  # too few groups for an interval


def test_the_order_of_the_rows_does_not_matter(data, tmp_path):
    order = np.random.default_rng(0).permutation(len(ROWS))
    one, two = write(tmp_path / "one.csv"), write(tmp_path / "two.csv", order=order)
    for first, second in zip(judge(data, one), judge(data, two), strict=True):
        assert [part and (part["accuracy"], part["n"]) for part in parts_of(first).values()] == [
            part and (pytest.approx(part["accuracy"]), part["n"]) for part in parts_of(second).values()
        ]


def test_what_was_seen_goes_by_the_splits_of_the_run(data, tmp_path):
    swapped = [(n, p, {"train": "test", "test": "train"}.get(s, s), y, q) for n, p, s, y, q in ROWS]
    val, test = judge(data, write(tmp_path / "predictions.csv", swapped))
    assert (test.all.n, test.seen.n, test.near.n, test.unseen.n, test.new) == (2, 1, 1, 1, None)
    assert val.seen is None and val.near.n == 1


def test_test_images_alone_are_judged_by_the_training_split_of_the_audit(data, tmp_path):
    manifest, images, pairs = data
    split = np.array([row[2] if row[2] != "val" else "train" for row in ROWS], object)
    whole = judge(data, write(tmp_path / "whole.csv"))
    alone = write(tmp_path / "alone.csv", [row for row in ROWS if row[2] in ("test", "val")])
    data = manifest.with_columns(split=split), images, pairs
    val, test = judge(data, alone)
    assert test.trained_on == "audit" and whole[1].trained_on == "run"
    assert parts_of(test) == parts_of(whole[1]) and parts_of(val) == parts_of(whole[0])  # val is no training image


def test_a_published_run(data_root, tmp_path):
    """On patients apart, all that the run reports is unseen, and its accuracy is the reported one."""
    predictions = read_predictions(REPO / "lightning_logs/published/cheng/cnn/seed0-fold1/predictions.csv")
    predictions = predictions.where(np.flatnonzero(predictions.split != "val")[::12])
    names = ("label", "index", "split", "patient_id")
    columns = {name: getattr(predictions, name) for name in names}
    file = tmp_path / "predictions.csv"
    write_predictions(
        file, classes=predictions.classes, probs=predictions.probs, path_column=predictions.path, **columns
    )
    source = Csv(root=str(data_root / "cheng"), columns={"patient_id": "patient_base"})
    manifest = source.manifest().where(predictions.index)
    assert manifest.path.tolist() == predictions.path.tolist()
    images = read_images(manifest, source.decode, Memo(manifest, tmp_path / "memo"))
    none = np.zeros(0, np.int64)
    pairs = Pairs(none, none, np.zeros(0, object), np.zeros(0, np.float32))
    groups = np.unique(manifest.groups.astype(str), return_inverse=True)[1]
    (run,) = read_runs([file], manifest)
    (test,) = worth(run, images=images, pairs=pairs, groups=groups)
    chosen = predictions.where(predictions.split == "test")
    assert test.all.accuracy == pytest.approx(compute_metrics(chosen.probs, chosen.targets)["accuracy"])
    assert test.all == test.unseen == test.new and test.seen is test.near is None
    assert test.all.n_groups == len(set(chosen.patient_id)) < test.all.n
    assert test.all.low + 0.05 < test.all.accuracy < test.all.high - 0.02
