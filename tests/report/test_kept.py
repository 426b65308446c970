"""What rows keep under corruption, from robustness.csv to the JSON."""

import json

import numpy as np
import pytest

from vitlab.evaluate.corrupted import count, write_robustness
from vitlab.evaluate.predictions import read_predictions
from vitlab.report.kept import read_kept
from vitlab.report.runs import read_run
from vitlab.report.summary import build_tables
from vitlab.report.table import main

CLEAN = [0.9] * 36 + [0.2] * 4


def corrupt(folder, wrong, name="noise"):
    """Let a run get the first images wrong that it had right: as many as given, at both severities."""
    predictions = read_predictions(folder / "predictions.csv")
    test = predictions.where(predictions.split == "test")
    own, y = test.probs.argmax(1), test.targets
    worse = np.where(np.arange(len(y)) < wrong, 1 - y, own)
    write_robustness(folder / "robustness.csv", count(test, {name: np.stack([own, worse, worse])}))
    return folder


def test_known_figures_reach_the_json(make_scored, tmp_path):
    corrupt(make_scored(test=CLEAN), 10)
    corrupt(make_scored("vit", test=CLEAN), 20)
    make_scored("vit_mae", test=CLEAN)
    out = tmp_path / "t.json"
    assert main([str(tmp_path / "logs"), "--resamples", "200", "--out", str(out)]) == 0
    cnn, vit, mae = (row["robustness"] for row in json.loads(out.read_text())["rows"])
    assert mae is None and set(cnn) == {"metric", "clean", "corrupted", "relative", "mce", "corruptions"}
    assert cnn["clean"]["mean"] == pytest.approx(0.9) and vit["corrupted"]["mean"] == pytest.approx(0.4)
    assert cnn["relative"]["mean"] == pytest.approx((0.65 - 0.5) / (0.9 - 0.5))
    assert cnn["mce"]["mean"] == pytest.approx(1) and vit["mce"]["mean"] == pytest.approx(0.6 / 0.35)
    noise = vit["corruptions"]["noise"]
    assert set(noise) == {"mean", "low", "high"} and noise["low"] < 0.4 < noise["high"]


def test_without_resamples_or_counts_there_is_nothing(make_scored):
    folder = corrupt(make_scored(test=CLEAN), 10)
    (table,) = build_tables([read_run(folder)], resamples=0)
    assert read_kept(table) == {}
    (folder / "robustness.csv").write_text("corruption,severity,metric,value\nnoise,1,accuracy,0.5\n")
    (table,) = build_tables([read_run(folder)], resamples=100)
    assert read_kept(table) == {}


def test_what_cannot_be_compared_has_no_relative_error(make_scored):
    """Of other corruptions, or of other test images, than the first row's."""
    first = corrupt(make_scored(test=CLEAN), 10)
    other = corrupt(make_scored("vit", test=CLEAN), 10, name="blur")
    apart = corrupt(make_scored("vit_mae", test=CLEAN, first=100), 10)
    (table,) = build_tables([read_run(folder) for folder in (first, other, apart)], resamples=100)
    kept = read_kept(table)
    assert set(kept) == {"CNN", "ViT", "ViT + MAE"}
    assert "mce" in kept["CNN"] and "mce" not in kept["ViT"] and "mce" not in kept["ViT + MAE"]
    assert kept["ViT"]["blur"].mean == kept["ViT + MAE"]["noise"].mean == pytest.approx(0.65)
