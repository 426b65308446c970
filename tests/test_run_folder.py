"""TensorBoard's table of a study's runs, read from the event files that real runs leave."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

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
