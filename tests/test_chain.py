"""The whole way through the real command line: pretrain, fine-tune, results, comparison, resume."""

import csv
import json
import math
import shutil
import signal
import subprocess
import sys

import pytest

from tests.conftest import wait_for
from vitlab.cli import main

TINY_CNN = ["--model.backbone=resnet18", '--model.backbone_kwargs={"channels": [8, 8, 16, 16]}']
TINY_VIT = ["--model.backbone=vit_tiny_patch16_224",
            '--model.backbone_kwargs={"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2,'
            ' "global_pool": "avg", "fc_norm": false}']  # fmt: skip
TINY_DECODER = ["--model.decoder_dim=32", "--model.decoder_depth=1", "--model.decoder_heads=2"]

POWER_CUT = """
from lightning.pytorch import Callback

class Cut(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 1:
            raise RuntimeError("power cut")
"""


def data_flags(folder):
    return [
        "--data.source=ImageFolder", f"--data.source.root={folder}", "--data.name=discs", "--data.image_size=32",
        "--data.batch_size=8",
    ]  # fmt: skip


def fit(root, recipe, folder, *flags):
    args = ["fit", "--config", f"configs/{recipe}.yaml", *data_flags(folder), f"--run.root={root}",
            "--trainer.accelerator=cpu", *flags]  # fmt: skip
    assert main(args) == 0
    return root / "discs"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, image_folder):
    """Train all four approaches with their pretraining; return the data set's run folder."""
    root = tmp_path_factory.mktemp("runs")
    short = ["--trainer.max_epochs=8"]
    fit(root, "cnn", image_folder, *TINY_CNN, *short)
    found = fit(root, "simclr_pretrain", image_folder, *TINY_CNN, "--trainer.max_epochs=4", "--probe.every_n_epochs=2")
    fit(
        root,
        "cnn_simclr",
        image_folder,
        *TINY_CNN,
        *short,
        f"--model.weights={found}/simclr/seed0/backbone.safetensors",
    )
    fit(root, "vit", image_folder, *TINY_VIT, *short)
    fit(root, "mae_pretrain", image_folder, *TINY_VIT, *TINY_DECODER, "--trainer.max_epochs=4")
    fit(root, "vit_mae", image_folder, *TINY_VIT, *short, f"--model.weights={found}/mae/seed0/backbone.safetensors")
    return found


@pytest.mark.parametrize("approach", ["cnn", "cnn_simclr", "vit", "vit_mae"])
def test_a_finished_run_leaves_what_the_contract_says(runs, approach, image_folder):
    folder = runs / approach / "seed0"
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.csv", "predictions.csv", "results.json", "backbone.safetensors"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = sorted(str(path.relative_to(image_folder)) for path in image_folder.rglob("*.png"))
    assert sorted(row["path"] for row in rows) == images
    for row in rows:
        assert row["split"] == row["path"].split("/")[0] and row["label"] == row["path"].split("/")[1]
        assert math.isclose(float(row["prob_top"]) + float(row["prob_bottom"]), 1, abs_tol=1e-5)
    results = json.loads((folder / "results.json").read_text())
    right = [row["split"] == "test" and float(row[f"prob_{row['label']}"]) > 0.5 for row in rows]
    assert results["metrics"]["test"]["accuracy"] == pytest.approx(sum(right) / 16)
    assert results["images_seen"] == 8 * 40 and results["epochs"] == 8
    assert results["status"] == "finished" and results["flops_per_image"] > 0


@pytest.mark.parametrize(("approach", "pretraining"), [("cnn_simclr", "simclr"), ("vit_mae", "mae")])
def test_a_fine_tuning_carries_the_cost_of_its_pretraining(runs, approach, pretraining):
    fine = json.loads((runs / approach / "seed0" / "results.json").read_text())["pretrain"]
    own = json.loads((runs / pretraining / "seed0" / "results.json").read_text())
    assert own["task"] == "pretrain" and own["metrics"] == {}
    assert (
        (fine["images_seen"], fine["wall_seconds"])
        == (own["images_seen"], own["wall_seconds"])
        == (160, own["wall_seconds"])
    )
    assert set(own["probe"]) == {"knn_accuracy", "linear_accuracy", "feature_std", "rankme"}


def test_the_table_shows_the_four_approaches_and_their_figures(runs, capsys):
    assert main(["compare", str(runs), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["approach"] for row in rows] == ["cnn", "cnn_simclr", "vit", "vit_mae"]
    for row in rows:
        own = json.loads((runs / row["approach"] / "seed0" / "results.json").read_text())["metrics"]
        assert row["n"] == 1 and row["test"]["accuracy"]["mean"] == pytest.approx(own["test"]["accuracy"])
        assert row["train"]["loss"]["mean"] == pytest.approx(own["train"]["loss"])


def test_a_finished_run_is_not_written_over(runs, image_folder, capsys):
    before = (runs / "cnn" / "seed0" / "results.json").read_bytes()
    args = ["fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), f"--run.root={runs.parent}"]
    assert main(args) == 2
    assert "--run.overwrite" in capsys.readouterr().err
    assert (runs / "cnn" / "seed0" / "results.json").read_bytes() == before


def test_test_and_validate_read_a_checkpoint_and_leave_the_run_alone(runs, image_folder, capsys):
    run = runs / "cnn" / "seed0"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    expected = json.loads((run / "results.json").read_text())["metrics"]
    fine = runs / "vit_mae" / "seed0"  # its pretraining's file is not needed any more
    moved = (runs / "mae" / "seed0" / "backbone.safetensors").rename(runs / "moved.safetensors")
    args = ["test", "--config", str(fine / "config.yaml"), "--ckpt_path", str(fine / "checkpoints" / "best.ckpt")]
    assert main(args) == 0
    moved.rename(runs / "mae" / "seed0" / "backbone.safetensors")
    capsys.readouterr()
    for verb, split in (("validate", "val"), ("test", "test")):
        args = [verb, "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
        assert main(args) == 0
        out = capsys.readouterr().out
        shown = next(line for line in out.splitlines() if f"{split}/accuracy" in line)
        assert float(shown.split()[1]) == pytest.approx(expected[split]["accuracy"], abs=1e-6)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--model.optim.lr=0.05", "goes on with model.optim.lr=0.001, and it is 0.05 here: leave that out"),
        ("--model.drop_path=0.5", "goes on with model.drop_path=0.1, and it is 0.5 here"),
        ("--model.backbone_kwargs={channels: [8, 8, 8, 8]}", "goes on with model.backbone_kwargs.channels=[8, 8, 16"),
        ("--trainer.max_epochs=1", "has had 8 epochs: give as many or more as --trainer.max_epochs"),
    ],
)
def test_settings_that_a_resumed_run_would_not_take_are_refused(runs, image_folder, tmp_path, flag, words, capsys):
    run = shutil.copytree(runs / "cnn" / "seed0", tmp_path / "discs" / "cnn" / "seed0")
    (run / "results.json").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    args = ["fit", "--config", str(run / "config.yaml"), f"--run.root={tmp_path}", "--trainer.max_epochs=2", flag]
    assert main([*args, "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_step_of_fewer_images_than_a_batch_is_recorded_as_that(tmp_path, image_folder):
    linear = ["--model.optim.lr_scaling=linear", "--model.optim.base_batch_size=80", "--model.optim.lr=0.002"]
    few = ["--data.batch_size=128", "--trainer.accumulate_grad_batches=4", "--trainer.max_epochs=1"]
    run = fit(tmp_path, "cnn", image_folder, *TINY_CNN, *few, *linear) / "cnn" / "seed0"
    results = json.loads((run / "results.json").read_text())
    assert (results["global_batch"], results["peak_lr"]) == (40, pytest.approx(0.001))


@pytest.mark.parametrize(("recipe", "workers"), [("cnn", 0), ("mae_pretrain", 0), ("cnn", 1)])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, image_folder, recipe, workers, monkeypatch):
    (tmp_path / "power.py").write_text(POWER_CUT)
    monkeypatch.syspath_prepend(tmp_path)
    tiny = [f"--data.num_workers={workers}", *(TINY_CNN if recipe == "cnn" else [*TINY_VIT, *TINY_DECODER])]
    name = {"cnn": "cnn", "mae_pretrain": "mae"}[recipe]
    whole = fit(tmp_path / "whole", recipe, image_folder, *tiny, "--trainer.max_epochs=4") / name / "seed0"
    parts = tmp_path / "parts"
    args = ["fit", "--config", f"configs/{recipe}.yaml", *data_flags(image_folder), f"--run.root={parts}", *tiny,
            "--trainer.accelerator=cpu"]  # fmt: skip
    with pytest.raises(RuntimeError, match="power cut"):  # after two of four epochs
        main([*args, "--trainer.max_epochs=4", "--trainer.callbacks+=power.Cut"])
    run = parts / "discs" / name / "seed0"
    assert not (run / "results.json").exists() and not (run / "predictions.csv").exists()
    assert main([*args, "--trainer.max_epochs=4"]) == 2  # says that there is a stopped run
    assert main([*args, "--trainer.max_epochs=4", "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]) == 0
    read = {
        folder: [row for row in csv.DictReader((folder / "metrics.csv").open()) if row["train/loss"]]
        for folder in (whole, run)
    }
    assert [row["train/loss"] for row in read[run]] == [row["train/loss"] for row in read[whole]]
    ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (run, whole))
    assert ours["metrics"] == theirs["metrics"] and ours["images_seen"] == theirs["images_seen"]


def test_predict_writes_every_image_beside_the_run(runs, image_folder, tmp_path):
    run = tmp_path / "copy"
    shutil.copytree(runs / "cnn" / "seed0", run)
    args = ["predict", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
    assert main([*args, f"--run.root={tmp_path}"]) == 0
    written = tmp_path / "discs" / "cnn" / "seed0" / "predictions.csv"
    assert written.read_text() == (run / "predictions.csv").read_text()


def evaluate(verb, run, folder, *flags):
    return [verb, "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt"),
            "--data.name=elsewhere", f"--data.source.root={folder}", f"--run.root={run.parent}", *flags]  # fmt: skip


def read(path):
    with path.open(newline="") as file:
        return {row["path"].rpartition("/")[2]: row for row in csv.DictReader(file)}


def test_images_without_labels_are_predicted_as_they_were_in_training(runs, image_folder, tmp_path, capsys):
    """Normalised by the training's mean and deviation, in the training's classes: not by what the new folder holds."""
    run = shutil.copytree(runs / "cnn" / "seed0", tmp_path / "run" / "seed0")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (image_folder / "test" / "top").iterdir():
        shutil.copy(path, flat / path.name)
    assert main(evaluate("predict", run, flat)) == 0
    found = read(next((tmp_path / "run" / "elsewhere").rglob("predictions.csv")))
    with (run / "predictions.csv").open(newline="") as file:
        known = {row["path"]: row for row in csv.DictReader(file)}
    assert len(found) == 8
    for name, row in found.items():
        assert row["label"] == "" and row["split"] == "test"
        assert float(row["prob_top"]) == pytest.approx(float(known[f"test/top/{name}"]["prob_top"]), abs=1e-4)


def test_a_checkpoint_is_tested_on_other_images_with_its_own_classes(runs, image_folder, tmp_path, capsys):
    run = runs / "cnn" / "seed0"
    one = tmp_path / "hospital"  # has one of the two classes: all its images are test
    shutil.copytree(image_folder / "test" / "bottom", one / "bottom")
    shutil.copy(next(one.rglob("*.png")), one / "bottom" / "again.png")
    assert main(evaluate("test", run, one, f"--run.root={tmp_path}")) == 0
    assert "test/accuracy" in capsys.readouterr().out
    (one / "bottom").rename(one / "beneath")
    assert main(evaluate("test", run, one, f"--run.root={tmp_path}")) == 2
    assert "'beneath', and the checkpoint knows 'bottom', 'top'" in capsys.readouterr().err


def test_a_checkpoint_is_not_tested_on_images_that_it_was_trained_on(tmp_path, image_folder, capsys):
    flat = tmp_path / "images"
    for label in ("top", "bottom"):
        shutil.copytree(image_folder / "train" / label, flat / label)
    fit(tmp_path, "cnn", flat, *TINY_CNN, "--trainer.max_epochs=1", "--data.fold=1")
    run = tmp_path / "discs" / "cnn" / "seed0-fold1"
    args = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
    assert main(args) == 0
    assert main([*args, "--data.fold=2"]) == 2 and "has seen images of this test" in capsys.readouterr().err
    resume = ["fit", "--config", str(run / "config.yaml"), "--data.fold=2", "--trainer.max_epochs=2"]
    assert main([*resume, "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]) == 2
    assert "on other images or splits" in capsys.readouterr().err


def test_the_saved_configuration_repeats_the_run_and_its_accidents_not(tmp_path, image_folder, capsys):
    """--run.overwrite and --ckpt_path were meant for one run: reading config.yaml must neither delete nor resume."""
    fit(tmp_path, "cnn", image_folder, *TINY_CNN, "--trainer.max_epochs=1", "--run.overwrite=true")
    run = tmp_path / "discs" / "cnn" / "seed0"
    assert main(["fit", "--config", str(run / "config.yaml")]) == 2  # refused: it is there already
    assert "holds a finished run" in capsys.readouterr().err
    last = run / "checkpoints" / "last.ckpt"
    both = ["fit", "--config", str(run / "config.yaml"), "--run.overwrite=true", f"--ckpt_path={last}"]
    assert main(both) == 2 and "give one of them" in capsys.readouterr().err and last.exists()


def test_a_pretraining_cannot_be_tested(runs, capsys):
    run = runs / "simclr" / "seed0"
    args = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    assert main(args) == 2 and "fine-tune" in capsys.readouterr().err


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on(tmp_path, image_folder, nursery, signal_number, code):
    command = [sys.executable, "-m", "vitlab", "fit", "--config", "configs/cnn.yaml", *data_flags(image_folder)]
    command += [*TINY_CNN, "--trainer.accelerator=cpu", "--trainer.max_epochs=100000", f"--run.root={tmp_path}"]
    process = nursery.popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    last = tmp_path / "discs" / "cnn" / "seed0" / "checkpoints" / "last.ckpt"
    wait_for(last.exists)
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert err.splitlines()[-1].startswith("vitlab fit: stopped in epoch") and f"--ckpt_path {last}" in err
    assert not list(tmp_path.rglob("results.json")) and not list(tmp_path.rglob("*.tmp"))


def test_a_backbone_that_has_seen_the_test_images_is_refused(tmp_path, image_folder, capsys):
    flat = tmp_path / "flat"
    for path in image_folder.rglob("*.png"):
        target = flat / path.parent.name / f"{path.parents[1].name}{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    flags = [*TINY_CNN, "--trainer.max_epochs=1", "--run.axes=leak"]
    fit(tmp_path, "simclr_pretrain", flat, *flags, "--data.fold=1")
    weights = tmp_path / "discs" / "simclr" / "leak" / "seed0-fold1" / "backbone.safetensors"
    args = ["fit", "--config", "configs/cnn_simclr.yaml", *data_flags(flat), *flags, f"--run.root={tmp_path}",
            f"--model.weights={weights}"]  # fmt: skip
    assert main([*args, "--data.fold=2"]) == 2
    message = capsys.readouterr().err
    assert "another split" in message and "val and test of this run" in message
    assert not (tmp_path / "discs" / "cnn_simclr" / "leak" / "seed0-fold2" / "results.json").exists()
    moved = shutil.copy(weights, tmp_path / "moved.safetensors")  # the facts travel with the file
    args[-1] = f"--model.weights={moved}"
    assert main([*args, "--data.fold=2"]) == 2 and "another split" in capsys.readouterr().err
    # fewer labels of the same split are no leak
    assert main([*args, "--data.fold=1", "--data.label_fraction=0.5"]) == 0
    results = next((tmp_path / "discs" / "cnn_simclr").rglob("results.json"))
    assert json.loads(results.read_text())["pretrain"]["images_seen"] > 0
    other = tmp_path / "other"
    shutil.copytree(flat, other)
    next(other.rglob("*.png")).unlink()
    args[args.index(f"--data.source.root={flat}")] = f"--data.source.root={other}"
    with pytest.warns(UserWarning, match="another manifest: check that none of them is in val or test"):
        assert main([*args, "--data.fold=2"]) == 0


def test_a_mistake_beside_overwrite_keeps_the_finished_run(runs, image_folder, tmp_path, capsys):
    run = tmp_path / "discs" / "cnn" / "seed0"
    shutil.copytree(runs / "cnn" / "seed0", run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    args = ["fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), *TINY_CNN, f"--run.root={tmp_path}",
            "--run.overwrite=true", "--trainer.accelerator=cpu", "--trainer.max_epochs=1"]  # fmt: skip
    assert main([*args, "--model.weights=nowhere.safetensors"]) == 2
    assert main([*args, "--data.batch_size=0"]) == 2
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert main(args) == 0  # and without a mistake the run is replaced
    assert json.loads((run / "results.json").read_text())["epochs"] == 1
    assert not set(run.glob("events.out.tfevents*")) & set(before)  # no curve of the old one is left
