"""What stops a run in the middle: a loss that is no number, too little memory, a full disk; each in one line."""

import errno
import os
import subprocess

import pytest
import torch

from tests.killed_fits import differences
from tests.test_chain import TINY_CNN, data_flags
from vitlab.cli import main
from vitlab.stops import Stage, in_one_line, memory_in_one_line

ACCIDENTS = """
import os
import torch
from pathlib import Path
from lightning.pytorch import Callback

class Poison(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 1:
            batch.images.fill_(float("nan"))

class OutOfMemory(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

class OutOfMemoryIn(Callback):
    def __init__(self, stage):
        self.stage = stage

    def _full(self, trainer, *_):
        if trainer.state.stage == self.stage:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    on_validation_batch_start = on_test_batch_start = on_predict_batch_start = _full

class ProbeOutOfMemory(Callback):
    def on_train_start(self, trainer, pl_module):
        def full(images):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        pl_module.forward = full

class Fill(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            with open(os.environ["FILLER"], "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
                file.truncate(file.tell() - int(os.environ["ROOM"]))
"""


@pytest.fixture
def fit(tmp_path, image_folder, monkeypatch, capfd):
    """Return what trains, with callbacks of the module above: exit code, standard error and run folder."""
    (tmp_path / "accidents.py").write_text(ACCIDENTS)
    monkeypatch.syspath_prepend(tmp_path)

    def fit(root, *flags, epochs=4):
        args = ["fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), f"--run.root={root}", *TINY_CNN]
        code = main([*args, "--trainer.accelerator=cpu", f"--trainer.max_epochs={epochs}", *flags])
        return code, capfd.readouterr().err, root / "discs" / "cnn" / "seed0"

    return fit


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of 24 MiB, and what makes it read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs the rights to do so")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def only_line(err):
    (line,) = [line for line in err.splitlines() if line.startswith("vitlab fit: ")]
    assert "Traceback" not in err
    return line


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(fit, tmp_path):
    code, err, run = fit(tmp_path / "runs", "--trainer.callbacks+=accidents.Poison")
    line = only_line(err)
    assert code == 2 and "no finite number in epoch 3" in line and f"{run}/checkpoints/last.ckpt is of" in line
    for name in ("best.ckpt", "last.ckpt"):
        kept = torch.load(run / "checkpoints" / name, weights_only=True)
        assert all(value.isfinite().all() for value in kept["state_dict"].values()) and kept["epoch"] <= 1
    assert not (run / "results.json").exists() and not list(run.rglob("*.tmp"))


def test_a_rate_that_is_too_high_says_so_in_the_first_epoch(fit, tmp_path):
    code, err, run = fit(tmp_path / "runs", "--model.optim.lr=1e38", "--trainer.precision=32-true")
    assert code == 2 and "no epoch was finished; lower --model.optim.lr" in only_line(err)
    assert not list(run.rglob("*.ckpt"))


def test_too_little_memory_names_the_batch(fit, tmp_path):
    code, err, _ = fit(tmp_path / "runs", "--trainer.callbacks+=accidents.OutOfMemory")
    line = only_line(err)
    assert code == 2 and "out of memory with data.batch_size=8" in line
    assert line.endswith("--data.batch_size=4 and --trainer.accumulate_grad_batches=2, which keeps the images a step")
    contrastive = ["--config", "configs/simclr_pretrain.yaml", "--trainer.callbacks+=accidents.OutOfMemory"]
    _, err, _ = fit(tmp_path / "runs", *contrastive)
    assert only_line(err).endswith("=2, but each is compared with half as many others")


@pytest.mark.parametrize(
    ("recipe", "callback"),
    [("cnn", "OutOfMemoryIn(stage=validate)"), ("cnn", "OutOfMemoryIn(stage=predict)"),
     ("simclr_pretrain", "ProbeOutOfMemory")],
)  # fmt: skip
def test_too_little_memory_for_an_evaluation_within_fit_names_its_batch(fit, tmp_path, recipe, callback):
    name, _, stage = callback.rstrip(")").partition("(stage=")
    flags = [f"--trainer.callbacks+=accidents.{name}", *([f"--trainer.callbacks.stage={stage}"] if stage else [])]
    code, err, _ = fit(tmp_path / "runs", "--config", f"configs/{recipe}.yaml", *flags, epochs=1)
    line = only_line(err)
    assert code == 2 and "out of memory with data.eval_batch_size=256: set --data.eval_batch_size=128" in line


def test_too_little_memory_is_one_line_in_the_other_verbs(fit, tmp_path, capfd):
    _, _, run = fit(tmp_path / "runs", epochs=1)
    for verb in ("validate", "test", "predict"):
        args = [verb, "--config", str(run / "config.yaml"), f"--ckpt_path={run}/checkpoints/best.ckpt"]
        full = ["--trainer.callbacks+=accidents.OutOfMemoryIn", f"--trainer.callbacks.stage={verb}"]
        assert main([*args, *full, "--data.eval_batch_size=6"]) == 2
        err = capfd.readouterr().err
        assert f"vitlab {verb}: out of memory with data.eval_batch_size=6: set --data.eval_batch_size=3" in err
        assert "Traceback" not in err
    assert main([*args, *full, "--data.eval_batch_size=1"]) == 2
    assert "out of memory with a single image a batch: set a smaller --data.image_size" in capfd.readouterr().err


def test_the_memory_of_the_machine_counts_too_and_other_errors_stay(tmp_path):
    with pytest.raises(ValueError, match="accumulate_grad_batches=6"), memory_in_one_line(Stage(), 8, 16, 3):
        torch.empty(2**56)
    for error in (RuntimeError("a bug"), OSError(errno.EPIPE, "a pipe")):
        with pytest.raises(type(error), match=r"a bug|a pipe"), memory_in_one_line(Stage(), 8, 16, 3):
            with in_one_line(tmp_path):
                raise error


@pytest.mark.parametrize("room", [0, 2**16])  # the second ends within a checkpoint
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(
    fit, small_disk, tmp_path, monkeypatch, room
):
    folder, _ = small_disk
    monkeypatch.setenv("FILLER", str(folder / "filler"))
    monkeypatch.setenv("ROOM", str(room))
    code, err, run = fit(folder / "runs", "--trainer.callbacks+=accidents.Fill")
    line = only_line(err)
    assert code == 2 and "No space left on device" in line and "free some space, then go on with --ckpt_path" in line
    last = run / "checkpoints" / "last.ckpt"
    assert str(last) in line and torch.load(last, weights_only=True)["epoch"] == 0
    (folder / "filler").unlink()
    assert fit(folder / "runs", f"--ckpt_path={last}")[0] == 0
    assert differences(fit(tmp_path / "whole")[2], run) == []


def test_a_read_only_disk_is_one_line(fit, small_disk):
    folder, read_only = small_disk
    read_only()
    code, err, _ = fit(folder / "runs")
    assert code == 2 and "Read-only file system" in only_line(err)


def test_the_saved_configuration_repeats_a_run_to_the_bit(fit, tmp_path):
    _, _, run = fit(tmp_path / "runs", epochs=2)
    assert main(["fit", "--config", str(run / "config.yaml"), "--run.study=again"]) == 0
    again = tmp_path / "runs" / "again" / "cnn" / "seed0"
    assert differences(run, again) == [] and os.listdir(again / "checkpoints")


def test_a_clock_that_goes_backwards_harms_nothing(fit, tmp_path, monkeypatch):
    from vitlab import cost

    clock = iter(range(10**9, 0, -1))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    code, _, run = fit(tmp_path / "runs", epochs=2)
    assert code == 0 and cost and '"wall_seconds": -' not in (run / "results.json").read_text()
