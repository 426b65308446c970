"""What a run refuses before it is built: settings that would train nothing, or evaluate something else."""

import pytest

from vitlab.cli import main


def args(verb, folder, root, *flags):
    return [verb, "--config=configs/cnn.yaml", "--data.source=ImageFolder", f"--data.source.root={folder}",
            "--data.name=discs", f"--run.root={root}", "--trainer.accelerator=cpu", *flags]  # fmt: skip


@pytest.mark.parametrize("setting", ["max_epochs", "max_steps", "limit_train_batches", "limit_val_batches"])
def test_a_run_that_trains_or_selects_nothing_is_refused(setting, image_folder, tmp_path, capsys):
    assert main(args("fit", image_folder, tmp_path, f"--trainer.{setting}=0")) == 2
    assert f"trainer.{setting}=0 leaves no checkpoint to test" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", ["cnn_simclr", "vit_mae"])
def test_a_fine_tuning_without_its_pretraining_is_refused(recipe, image_folder, tmp_path, capsys):
    """Else it would stand in the table under that name, trained from scratch."""
    assert main(args("fit", image_folder, tmp_path, f"--config=configs/{recipe}.yaml")) == 2
    assert "give --model.weights=RUN/backbone.safetensors" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_evaluated_at_the_size_of_its_training(image_folder, tmp_path, capsys):
    small = ["--data.image_size=32", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    assert main(args("fit", image_folder, tmp_path, *small)) == 0
    best = f"--ckpt_path={tmp_path}/discs/cnn/seed0/checkpoints/best.ckpt"
    for verb in ("validate", "test", "predict"):
        assert main(args(verb, image_folder, tmp_path, best)) == 2
        assert "was trained with data.image_size=32, and it is 64 here" in capsys.readouterr().err
    assert main(args("test", image_folder, tmp_path, best, "--data.image_size=32", "--data.channels=3")) == 2
    assert "was trained with data.channels=1, and it is 3 here" in capsys.readouterr().err
    assert main(args("test", image_folder, tmp_path, best, "--data.image_size=32")) == 0
