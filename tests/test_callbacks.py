"""What a run does beside training: whatever its loggers are."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.test_chain import TINY_DECODER, TINY_VIT, data_flags
from vitlab.cli import main

MAE = ["fit", "--config", "configs/mae_pretrain.yaml", *TINY_VIT, *TINY_DECODER, "--trainer.accelerator=cpu"]


def pretrain(images, root, *flags):
    """Return the folder of a pretraining of 40 images in batches of 8: five steps an epoch."""
    assert main([*MAE, *data_flags(images), f"--run.root={root}", *flags]) == 0
    return root / "discs" / "mae" / "seed0"


def test_a_pretraining_with_another_logger_draws_where_there_is_a_board(image_folder, tmp_path):
    table = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}/table"]
    assert pretrain(image_folder, tmp_path / "one", "--trainer.max_epochs=1", *table).joinpath("results.json").exists()
    board = [*table, "--trainer.logger+=TensorBoardLogger", f"--trainer.logger.save_dir={tmp_path}/board"]
    pretrain(image_folder, tmp_path / "two", "--trainer.max_epochs=1", *board)
    (events,) = (tmp_path / "board").rglob("events.out.tfevents*")
    assert EventAccumulator(str(events)).Reload().Images("val/reconstructions")
