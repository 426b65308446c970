"""robustness.csv and features.npz through the real command line: after fit, and from a finished run's checkpoint."""

import csv
import json
import shutil

import numpy as np
import pytest

from vitlab.cli import main
from vitlab.evaluate.corrupted import read_robustness
from vitlab.report.page.features import read_features
from vitlab.report.page.robustness import read_robustness as read_scores

TINY = ["--model.backbone=resnet18", '--model.backbone_kwargs={"channels": [8, 8, 16, 16]}']


def flags(image_folder, root):
    return ["--data.source=ImageFolder", f"--data.source.root={image_folder}", "--data.name=discs",
            "--data.image_size=32", "--data.batch_size=8", f"--run.root={root}", "--trainer.accelerator=cpu",
            *TINY]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, image_folder):
    """Train a tiny CNN with both outputs; return its run folder."""
    root = tmp_path_factory.mktemp("runs")
    args = ["fit", "--config", "configs/cnn.yaml", *flags(image_folder, root), "--trainer.max_epochs=30"]
    assert main([*args, "--model.optim.lr=0.005", "--run.robustness=true", "--run.features=true"]) == 0
    return root / "discs" / "cnn" / "seed0"


def evaluated(run, *more, checkpoint="best"):
    return main(["test", "--config", str(run / "config.yaml"), *more,
                 "--ckpt_path", str(run / "checkpoints" / f"{checkpoint}.ckpt")])  # fmt: skip


def predictions(run):
    with (run / "predictions.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == "test"]


def test_images_as_they_are_give_the_figures_of_the_test(run):
    found, results = read_robustness(run / "robustness.csv"), json.loads((run / "results.json").read_text())
    scores = read_scores(run)  # what the report reads
    for metric in ("accuracy", "balanced_accuracy"):
        assert found.score(metric)[:, 0] == pytest.approx(results["metrics"]["test"][metric])
        assert scores[metric, "noise", 0] == pytest.approx(results["metrics"]["test"][metric])
    right = {int(row["index"]): float(row[f"prob_{row['label']}"]) > 0.5 for row in predictions(run)}
    assert dict(zip(found.index.tolist(), found.correct[0, 0].astype(bool).tolist(), strict=True)) == right
    assert found.correct.shape == (7, 6, 16)


def test_a_disc_is_still_where_it_is_when_images_get_a_little_worse(run):
    """The two classes differ by where a bright disc is: it stays there under all but noise and lost contrast."""
    scores = read_robustness(run / "robustness.csv").score("accuracy")
    assert scores[0, 0] > 0.9
    assert scores[1, 1] > 0.8 and scores[4].min() > 0.8 and scores[6, 1] > 0.8  # blur, ghosting, rotation
    assert scores[:, 1:].min() < scores[0, 0]


def test_the_report_says_what_is_kept(run, tmp_path):
    assert main(["compare", str(run), "--report", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "relative robustness" in page and "under ghosting" in page and "their features were not kept" not in page


def test_features_are_of_each_test_image(run):
    with np.load(run / "features.npz") as file:
        assert set(file) == {"features", "index"} and file["features"].dtype == np.float16
        assert file["features"].shape == (16, 16)
        assert file["index"].tolist() == [int(row["index"]) for row in predictions(run)]
    features, index = read_features(run)  # what the report reads
    label = np.array([row["label"] for row in predictions(run)])
    assert len(index) == 16
    between = np.linalg.norm(features[label == "top"].mean(0) - features[label == "bottom"].mean(0))
    assert between > features[label == "top"].std(0).mean()


def test_a_finished_run_is_measured_on_demand_and_then_left_alone(run, tmp_path, capsys):
    moved = shutil.copytree(run, tmp_path / "elsewhere" / "seed0")  # its settings name the old place
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for name in ("robustness.csv", "features.npz"):
        (moved / name).unlink()
    assert evaluated(moved, "--run.features=false") == 0
    assert (moved / "robustness.csv").read_bytes() == (run / "robustness.csv").read_bytes()
    assert not (moved / "features.npz").exists() and "robustness: balanced accuracy" in capsys.readouterr().out
    assert evaluated(moved) == 0
    assert "is there already" in capsys.readouterr().out and (moved / "features.npz").exists()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_other_images_and_checkpoints_do_not_write_over_a_run(run, image_folder, tmp_path):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.warns(UserWarning, match=r"no robustness.csv or features.npz is written; name another folder"):
        assert evaluated(run, checkpoint="last") == 0
    other = shutil.copytree(image_folder / "test", tmp_path / "hospital")
    next(other.rglob("*.png")).unlink()
    assert evaluated(run, f"--data.source.root={other}", "--data.name=hospital") == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert read_robustness(run.parents[2] / "hospital" / "cnn" / "seed0" / "robustness.csv").images.sum() == 15


def test_a_run_that_is_replaced_leaves_none_of_it(run, image_folder, tmp_path):
    copy = shutil.copytree(run, tmp_path / "discs" / "cnn" / "seed0")
    args = ["fit", "--config", "configs/cnn.yaml", *flags(image_folder, tmp_path), "--trainer.max_epochs=1"]
    assert main([*args, "--run.overwrite=true"]) == 0
    assert not (copy / "robustness.csv").exists() and not (copy / "features.npz").exists()


def test_a_pretraining_cannot_be_measured(image_folder, tmp_path, capsys):
    args = ["fit", "--config", "configs/simclr_pretrain.yaml", *flags(image_folder, tmp_path), "--run.robustness=true"]
    assert main(args) == 2 and "run.robustness is for a classifier" in capsys.readouterr().err
