"""What checkpoints and early stopping may watch: what a model really logs, the right way round, before any epoch."""

import csv

import pytest

from vitlab.callbacks import OnlineProbe
from vitlab.cli import main
from vitlab.models.classifier import CNNClassifier, ViTClassifier
from vitlab.models.mae import MAE
from vitlab.models.simclr import SimCLR

STOP = ["--trainer.callbacks+=EarlyStopping"]
RECIPES = {"cnn": CNNClassifier, "vit": ViTClassifier, "simclr_pretrain": SimCLR, "mae_pretrain": MAE}


def args(recipe, folder, root, *flags):
    return ["fit", f"--config=configs/{recipe}.yaml", "--data.source=ImageFolder", f"--data.source.root={folder}",
            "--data.name=discs", f"--run.root={root}", "--trainer.accelerator=cpu", "--data.image_size=32",
            "--data.batch_size=8", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1", *flags]  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_names_are_those_that_a_run_logs(recipe, image_folder, tmp_path):
    pretraining = RECIPES[recipe].pretraining
    known = {*RECIPES[recipe].logged, *(OnlineProbe.logged if pretraining else ())}
    watched = ["--probe.every_n_epochs=1", "--trainer.log_every_n_steps=1"]
    for name in sorted(known):  # early stopping looks for each, and is right to
        watched += ["--trainer.callbacks+=EarlyStopping", f"--trainer.callbacks.monitor={name}",
                    f"--trainer.callbacks.mode={'min' if name.endswith('loss') else 'max'}"]  # fmt: skip
    assert main(args(recipe, image_folder, tmp_path, *watched)) == 0
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        logged = set(next(csv.reader(file)))
    assert {name for name in logged if name.startswith(("train/", "val/"))} == known


@pytest.mark.parametrize(
    ("recipe", "flags", "expected"),
    [
        ("cnn", ["--checkpoint.monitor=val/balanced_acuracy"],
         "checkpoint.monitor: CNNClassifier logs no val/balanced_acuracy, did you mean val/balanced_accuracy? there "
         "are train/loss, val/loss, val/accuracy, val/balanced_accuracy, epoch, step"),
        ("vit", ["--checkpoint.monitor=f1"], "checkpoint.monitor: ViTClassifier logs no f1; there are train/loss, "),
        ("cnn", ["--checkpoint.monitor=val/knn_accuracy"], "CNNClassifier logs no val/knn_accuracy"),
        ("cnn", [*STOP, "--trainer.callbacks.monitor=val_loss"],
         "EarlyStopping.monitor: CNNClassifier logs no val_loss, did you mean val/loss?"),
        ("cnn", ["--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.monitor=val/los"],
         "ModelCheckpoint.monitor: CNNClassifier logs no val/los, did you mean val/loss?"),
        ("simclr_pretrain", [*STOP, "--trainer.callbacks.monitor=val/loss"], "SimCLR logs no val/loss"),
        ("mae_pretrain", [*STOP, "--trainer.callbacks.monitor=val/knn_accuracy", "--trainer.callbacks.mode=max"],
         "is there after every 10 epochs only, and EarlyStopping asks for it after each: set --probe.every_n_epochs=1"),
        ("mae_pretrain", [*STOP, "--trainer.callbacks.monitor=val/rankme", "--probe.every_n_epochs=0"],
         "MAE logs no val/rankme"),
        ("cnn", ["--checkpoint.monitor=val/loss"],
         "checkpoint.monitor=val/loss with mode=max keeps the worst epoch: set checkpoint's mode to min"),
        ("cnn", [*STOP, "--trainer.callbacks.monitor=val/accuracy"],
         "EarlyStopping.monitor=val/accuracy with mode=min stops when it gets better"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_refused_before_anything_is_written(
    recipe, flags, expected, image_folder, tmp_path, capsys
):
    assert main(args(recipe, image_folder, tmp_path, *flags)) == 2
    said = capsys.readouterr().err.strip()
    assert expected in said and "\n" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [
    ["--checkpoint.monitor=val/loss", "--checkpoint.mode=min"], ["--checkpoint.monitor=epoch"],
    ["--checkpoint.monitor=null"],
])  # fmt: skip
def test_what_can_be_watched_selects(flags, image_folder, tmp_path):
    assert main(args("cnn", image_folder, tmp_path, *flags)) == 0
    assert list(tmp_path.rglob("best.ckpt"))


def test_a_callback_of_ones_own_may_log_what_is_watched(image_folder, tmp_path, monkeypatch):
    (tmp_path / "shine.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Shine(Callback):\n"
        "    def on_validation_epoch_end(self, trainer, module):\n"
        "        module.log('val/shine', 1.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ["--trainer.callbacks+=shine.Shine", "--checkpoint.monitor=val/shine"]
    assert main(args("cnn", image_folder, tmp_path / "runs", *own)) == 0
