"""What a run refuses before it is built: settings that would train nothing, or evaluate something else."""

from pathlib import Path

import pytest

from tests.test_chain import TINY_CNN
from vitlab.cli import main


def args(verb, folder, root, *flags):
    return [verb, "--config=configs/cnn.yaml", "--data.source=ImageFolder", f"--data.source.root={folder}",
            "--data.name=discs", f"--run.root={root}", "--trainer.accelerator=cpu", *flags]  # fmt: skip


@pytest.mark.parametrize("setting", ["max_epochs", "max_steps", "limit_train_batches", "limit_val_batches"])
def test_a_run_that_trains_or_selects_nothing_is_refused(setting, image_folder, tmp_path, capsys):
    assert main(args("fit", image_folder, tmp_path, f"--trainer.{setting}=0")) == 2
    assert f"trainer.{setting}=0 leaves no checkpoint to test" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--trainer.accumulate_grad_batches=0"], "accumulate_grad_batches is 0; give a number of at least 1"),
        (["--trainer.check_val_every_n_epoch=0"], "trainer.check_val_every_n_epoch is 0; give a number of at least 1"),
        (["--data.num_workers=-1"], "data.num_workers is -1; give a number of at least 0"),
        (["--probe.max_images=0"], "probe.max_images is 0; give a number of at least 1"),
        (["--trainer.check_val_every_n_epoch=3"], "trainer.max_epochs=2: the run would end without a checkpoint"),
        (["--checkpoint.every_n_epochs=3"], "checkpoint.every_n_epochs=3 and trainer.max_epochs=2: the run would end"),
        (["--checkpoint.save_top_k=0"], "checkpoint.save_top_k=0 keeps no checkpoint to test"),
        (["--checkpoint.mode=best"], "checkpoint.mode: expected one of 'min', 'max', got 'best'"),
        (["--trainer.max_epochs=-1"], "set --trainer.max_epochs or max_steps"),
        (["--model.optim.betas=[2,2]"], "model.optim.betas is (2.0, 2.0); give a number in [0, 1) for each"),
        (["--config=configs/simclr_pretrain.yaml", "--data.batch_size=1"], "set --data.batch_size to at least 2"),
        (["--config"], "--config needs a value"),
        (["--trainer.precision=bf16-true"], "give one of 32-true, bf16-mixed, 16-mixed"),
        (["--trainer.precision=64"], "trainer.precision=64 would hold"),
        (["--trainer.overfit_batches=2"], "trainer.overfit_batches is not taken: learn a few images by heart"),
        (["--trainer.use_distributed_sampler=true"], "the data deal the images to the devices"),
    ],
)
def test_a_number_that_ends_a_run_late_is_refused_before_it(flags, expected, image_folder, tmp_path, capsys):
    assert main(args("fit", image_folder, tmp_path, "--trainer.max_epochs=2", *flags)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("vitlab fit: ") and expected in said
    assert list(tmp_path.iterdir()) == []


def test_a_file_for_the_folder_of_all_runs_is_refused(image_folder, tmp_path, capsys):
    (tmp_path / "runs").write_text("mine")
    for root in ("runs", "runs/below"):
        assert main(args("fit", image_folder, tmp_path / root)) == 2
        assert f"{tmp_path}/runs is a file: give a folder as --run.root" in capsys.readouterr().err
        assert main(["study", "--config=configs/studies/quick.yaml", f"--root={tmp_path}/{root}"]) == 2
        assert f"{tmp_path}/runs is a file, give a folder" in capsys.readouterr().err
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.parametrize("logger", ["false", "CSVLogger"])
def test_the_configuration_lies_in_the_run_folder_whatever_the_logger(logger, image_folder, tmp_path, monkeypatch):
    shipped = Path("configs/cnn.yaml").absolute()
    monkeypatch.chdir(tmp_path)
    small = [*TINY_CNN, "--data.image_size=32", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    small += [f"--config={shipped}"]
    own = ["--trainer.logger.save_dir=curves"] if logger != "false" else []
    assert main(args("fit", image_folder, "runs", *small, f"--trainer.logger={logger}", *own)) == 0
    assert [path.parent for path in tmp_path.rglob("config.yaml")] == [tmp_path / "runs/discs/cnn/seed0"]


@pytest.mark.parametrize("recipe", ["cnn_simclr", "vit_mae"])
def test_a_fine_tuning_without_its_pretraining_is_refused(recipe, image_folder, tmp_path, capsys):
    """Else it would stand in the table under that name, trained from scratch."""
    assert main(args("fit", image_folder, tmp_path, f"--config=configs/{recipe}.yaml")) == 2
    assert "give --model.weights=RUN/backbone.safetensors" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_evaluated_at_the_size_of_its_training(image_folder, tmp_path, capsys):
    small = [*TINY_CNN, "--data.image_size=32", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    assert main(args("fit", image_folder, tmp_path, *small)) == 0
    best = f"--ckpt_path={tmp_path}/discs/cnn/seed0/checkpoints/best.ckpt"
    for verb in ("validate", "test", "predict"):
        assert main(args(verb, image_folder, tmp_path, best)) == 2
        assert "was trained with data.image_size=32, and it is 64 here" in capsys.readouterr().err
    assert main(args("test", image_folder, tmp_path, best, "--data.image_size=32", "--data.channels=3")) == 2
    assert "was trained with data.channels=1, and it is 3 here" in capsys.readouterr().err
    assert main(args("test", image_folder, tmp_path, best, "--data.image_size=32")) == 0
