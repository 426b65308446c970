"""What a run does beside training: in its last epoch whatever ends it, and with whatever loggers."""

import csv
import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.test_chain import TINY_CNN, TINY_DECODER, TINY_VIT, data_flags
from vitlab.cli import main

MAE = ["fit", "--config", "configs/mae_pretrain.yaml", *TINY_VIT, *TINY_DECODER, "--trainer.accelerator=cpu"]
STOP = """
from lightning.pytorch import Callback

class Stop(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        trainer.should_stop = trainer.current_epoch == 2
"""


def pretrain(images, root, *flags):
    """Return the folder of a pretraining of 40 images in batches of 8: five steps an epoch."""
    assert main([*MAE, *data_flags(images), f"--run.root={root}", *flags]) == 0
    return root / "discs" / "mae" / "seed0"


@pytest.mark.parametrize(
    ("end", "epochs"),
    [("max_epochs=3", 3), ("max_steps=15", 200), ("max_steps=12", 200), ("callbacks+=ends.Stop", 200)],
)
def test_the_last_epoch_is_probed_drawn_and_printed(end, epochs, image_folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "ends.py").write_text(STOP)
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--probe.every_n_epochs=2", "--reconstructions.every_n_epochs=2"]
    run = pretrain(image_folder, tmp_path, *flags, f"--trainer.{end}")
    with (run / "metrics.csv").open(newline="") as file:
        probed = [row for row in csv.DictReader(file) if row["val/rankme"]]
    assert [row["epoch"] for row in probed] == ["1", "2"]
    kept = json.loads((run / "results.json").read_text())["probe"]
    assert kept["rankme"] == pytest.approx(float(probed[-1]["val/rankme"]))
    drawn = EventAccumulator(str(run)).Reload().Images("val/reconstructions")
    assert [image.step for image in drawn] == [2, 3]
    assert f"mae epoch 3/{epochs}  " in capsys.readouterr().out


def test_a_pretraining_with_another_logger_draws_where_there_is_a_board(image_folder, tmp_path):
    table = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}/table"]
    assert pretrain(image_folder, tmp_path / "one", "--trainer.max_epochs=1", *table).joinpath("results.json").exists()
    board = [*table, "--trainer.logger+=TensorBoardLogger", f"--trainer.logger.save_dir={tmp_path}/board"]
    pretrain(image_folder, tmp_path / "two", "--trainer.max_epochs=1", *board)
    (events,) = (tmp_path / "board").rglob("events.out.tfevents*")
    assert EventAccumulator(str(events)).Reload().Images("val/reconstructions")


def test_a_classifier_that_ends_by_steps_within_an_epoch_prints_its_last(image_folder, tmp_path, capsys):
    flags = [*data_flags(image_folder), *TINY_CNN, "--trainer.accelerator=cpu", f"--run.root={tmp_path}"]
    fit = ["fit", "--config", "configs/cnn.yaml", *flags, "--trainer.max_steps=10"]
    assert main(fit) == 0
    assert "cnn epoch 2/40  train/loss" in capsys.readouterr().out
    assert main([*fit, "--trainer.max_epochs=-1", "--run.overwrite=true"]) == 0
    assert "cnn epoch 2  train/loss" in capsys.readouterr().out
    (run,) = tmp_path.glob("*/cnn/seed0")
    values = EventAccumulator(str(run)).Reload().summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(values).session_start_info.hparams
    assert hparams["epochs"].number_value == 2
