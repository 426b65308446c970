"""TensorBoard's table of a study's runs, read from the event files that real runs leave."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.test_chain import POWER_CUT, data_flags
from vitlab.cli import main

CNN = ["--model.backbone=resnet18", '--model.backbone_kwargs={"channels": [8, 8, 16, 16]}']


@pytest.fixture(scope="module")
def study(tmp_path_factory, image_folder):
    """Train two CNNs and a pretraining of one study; return its folder."""
    root = tmp_path_factory.mktemp("runs")
    same = ["--data.source=ImageFolder", f"--data.source.root={image_folder}", "--data.name=discs", *CNN,
            "--data.image_size=32", "--data.batch_size=8", f"--run.root={root}",
            "--trainer.accelerator=cpu"]  # fmt: skip
    for recipe, *more in (
        ("cnn", "--trainer.max_epochs=2", "--model.optim.lr=0.002", "--run.axes=lr=0.002"),
        ("cnn", "--trainer.max_epochs=3", "--seed_everything=4", "--data.fold=2", "--data.label_fraction=0.5"),
        ("simclr_pretrain", "--trainer.max_epochs=1", "--probe.every_n_epochs=0"),
    ):
        assert main(["fit", "--config", f"configs/{recipe}.yaml", *same, *more]) == 0
    return root / "discs"


def table_of(folder):
    """Return what TensorBoard takes of a run: settings, shown metrics, the last value of each scalar."""
    events = EventAccumulator(str(folder)).Reload()
    try:
        content = events.PluginTagToContent("hparams")
    except KeyError:
        return None
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info.hparams
    experiment = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    settings = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.items()}
    assert {info.name for info in experiment.hparam_infos} == set(settings)
    shown = [info.name.tag for info in experiment.metric_infos]
    return settings, {tag: events.Scalars(tag)[-1].value for tag in shown}


def test_each_run_is_a_row_with_its_settings_and_scores(study):
    folders = {
        "cnn/lr=0.002/seed0": {"lr": 0.002, "axes": "lr=0.002", "seed": 0, "fold": "-", "epochs": 2},
        "cnn/label_fraction=0.5/seed4-fold2": {"axes": "-", "seed": 4, "fold": "2", "label_fraction": 0.5},
    }
    columns = set()
    for name, known in folders.items():
        settings, scores = table_of(study / name)
        assert settings.items() >= {**known, "approach": "cnn", "batch_size": 8, "backbone": "resnet18"}.items()
        assert {"lr", "weight_decay", "optimizer"} <= set(settings)
        metrics = json.loads((study / name / "results.json").read_text())["metrics"]
        assert len(scores) == 6
        for tag, value in scores.items():
            split, _, metric = tag.removeprefix("final/").partition("_")
            assert value == pytest.approx(metrics[split][metric], abs=1e-6)
        columns.add((tuple(sorted(settings)), tuple(scores)))
    assert len(columns) == 1  # the first run that TensorBoard finds decides


def test_a_pretraining_is_no_row(study):
    assert table_of(study / "simclr" / "seed0") is None


def rows_of(run):
    """Return the rows of metrics.csv, without what they cost."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if v and not k.startswith("cost/")} for row in csv.DictReader(file)]
    return [row for row in rows if len(row) > 2]


@pytest.fixture
def stopped(tmp_path, image_folder, monkeypatch):
    """Return the command line of a run, its folder, stopped in the third epoch, and the rows of an unbroken one."""
    (tmp_path / "power.py").write_text(POWER_CUT)
    monkeypatch.syspath_prepend(tmp_path)
    args = ["fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), *CNN, "--trainer.accelerator=cpu",
            "--trainer.max_epochs=4", "--trainer.log_every_n_steps=1"]  # fmt: skip
    assert main([*args, f"--run.root={tmp_path}/whole"]) == 0
    args.append(f"--run.root={tmp_path}/parts")
    with pytest.raises(RuntimeError, match="power cut"):
        main([*args, "--trainer.callbacks+=power.Cut"])
    run = Path("discs", "cnn", "seed0")
    return args, tmp_path / "parts" / run, rows_of(tmp_path / "whole" / run)


def test_a_row_that_was_cut_does_not_keep_a_run_from_going_on(stopped, tmp_path):
    args, parts, whole = stopped
    header, *rows = (parts / "metrics.csv").read_text().splitlines(keepends=True)
    step = header.split(",").index("step")
    number, cut = next((n, row.split(",")) for n, row in enumerate(rows) if row.split(",")[step] == "4")
    before = header + "".join(rows[:number])
    begin = ",".join(cut[:step])
    spoilt = {  # what is in the file, and how many of its rows are lost for good
        "within the row": (before + begin, len(rows)),
        "within the step": (before + begin + ",1", len(rows)),
        "gone on with, and zeros": (header + begin + "".join(rows) + "\0" * 40 + "\n", 1),
        "within the header": (header[:20], len(rows)),
    }
    for how, (left, most) in spoilt.items():
        root = tmp_path / how
        run = shutil.copytree(parts, root / "discs" / "cnn" / "seed0")
        (run / "metrics.csv").write_bytes(left.encode())
        assert main([*args, f"--run.root={root}", f"--ckpt_path={run}/checkpoints/last.ckpt"]) == 0, how
        found = rows_of(run)
        assert all(row in whole for row in found), how
        assert len([row for row in whole if row not in found]) <= most, how
        # the epoch before the cut is in its checkpoint
        assert {"9", "14", "19"} <= {row["step"] for row in found if "train/loss" in row}, how


def test_what_is_written_anew_takes_the_place_of_a_whole_file(stopped):
    """A run that goes on, and rows with new columns: metrics.csv and config.yaml are never emptied nor removed."""
    args, run, whole = stopped
    mine = (str(run / "metrics.csv"), str(run / "config.yaml"))
    lost, watching = [], [True]

    def watch(event, values):
        if watching and event in ("open", "os.remove") and str(values[0]).endswith(mine):
            lost.extend([event] if event == "os.remove" or values[2] & os.O_TRUNC else [])

    sys.addaudithook(watch)  # there is no way to remove it
    code = main([*args, f"--ckpt_path={run}/checkpoints/last.ckpt"])
    watching.clear()
    assert code == 0 and lost == [] and not list(run.glob(".*.tmp"))
    assert [row for row in rows_of(run) if row not in whole] == [row for row in whole if row not in rows_of(run)] == []
