"""The two checkpoints of a run: one file with two names where the last epoch is the best one."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.killed_fits import differences
from tests.test_chain import POWER_CUT, TINY_CNN, data_flags
from vitlab.cli import main


def fit(images, root, *flags):
    """Train an epoch, or go on to a second one, and return best.ckpt and last.ckpt."""
    assert main([
        "fit", "--config", "configs/cnn.yaml", *data_flags(images), *TINY_CNN, f"--run.root={root}",
        "--trainer.accelerator=cpu", "--trainer.max_epochs=1", *flags,
    ]) == 0  # fmt: skip
    folder = root / "discs" / "cnn" / "seed0" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]
    return folder / "best.ckpt", folder / "last.ckpt"


def content(path):
    return torch.load(path, weights_only=True)


def test_the_last_epoch_is_linked_where_it_is_the_best_and_replaced_by_later_ones(image_folder, tmp_path):
    best, last = fit(image_folder, tmp_path)
    assert best.samefile(last)
    first = best.read_bytes()
    (tmp_path / "discs" / "cnn" / "seed0" / "results.json").unlink()
    best, last = fit(image_folder, tmp_path, "--trainer.max_epochs=2", f"--ckpt_path={last}")  # which is worse
    assert best.read_bytes() == first and content(best)["epoch"] == 0 and content(last)["epoch"] == 1


def test_it_is_the_file_that_would_have_been_written(image_folder, tmp_path, monkeypatch):
    """Also the way of file systems that know no links."""
    linked = content(fit(image_folder, tmp_path / "linked")[1])

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    best, last = fit(image_folder, tmp_path / "written")
    assert not best.samefile(last)
    written = content(last)
    assert linked.keys() == written.keys()
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step"):
        torch.testing.assert_close(linked[key], written[key], rtol=0, atol=0, check_device=True, allow_subclasses=True)


@pytest.mark.parametrize("flag", ["--checkpoint.save_weights_only=true", "--checkpoint.save_on_train_epoch_end=false"])
def test_what_is_no_whole_state_of_the_epoch_s_end_is_not_linked(image_folder, tmp_path, flag):
    best, last = fit(image_folder, tmp_path, flag)
    assert not best.samefile(last)
    assert content(last)["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] == 1


@pytest.mark.parametrize("linked", [False, True], ids=["moved", "another name"])
def test_a_run_goes_on_in_a_folder_that_was_moved(image_folder, tmp_path, monkeypatch, recwarn, linked):
    """The first epoch is the best here, and was before the power cut in the third."""
    (tmp_path / "power.py").write_text(POWER_CUT)
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--checkpoint.monitor=epoch", "--checkpoint.mode=min", "--trainer.max_epochs=4"]
    whole, _ = fit(image_folder, tmp_path / "whole", *flags)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(image_folder, tmp_path / "old", *flags, "--trainer.callbacks+=power.Cut")
    run, root = Path("discs", "cnn", "seed0"), tmp_path / "new"
    for _ in range(2):  # with two epochs left to train, and with none
        (tmp_path / "old").rename(tmp_path / "disk" if linked else root)
        if linked:
            root.unlink(missing_ok=True)
            root.symlink_to(tmp_path / "disk")
        best, _ = fit(image_folder, root, *flags, f"--ckpt_path={root / run}/checkpoints/last.ckpt")
        assert content(best)["epoch"] == content(whole)["epoch"] == 0
        assert differences(tmp_path / "whole" / run, root / run) == []
        (root / run / "results.json").unlink()
        root.resolve().rename(tmp_path / "old")
    assert not [str(warning.message) for warning in recwarn if "dirpath" in str(warning.message)]


def test_the_best_of_the_run_is_tested_whatever_else_keeps_checkpoints(image_folder, tmp_path):
    folder = tmp_path / "worst"
    more = ["--trainer.callbacks+=ModelCheckpoint", f"--trainer.callbacks.dirpath={folder}",
            "--trainer.callbacks.monitor=step", "--trainer.callbacks.mode=min"]  # fmt: skip
    best, _ = fit(image_folder, tmp_path, *more, "--model.optim.lr=0.01", "--trainer.max_epochs=4")
    (first,) = folder.iterdir()
    assert content(first)["epoch"] == 0 < content(best)["epoch"]
    state, written = content(best)["state_dict"], load_file(best.parents[1] / "backbone.safetensors")
    assert all(torch.equal(state[f"backbone.{name}"], value) for name, value in written.items())


@pytest.mark.parametrize(
    ("flags", "steps"),
    [(["--trainer.val_check_interval=0.6"], [3, 8, 13]), (["--trainer.max_epochs=-1", "--trainer.max_steps=3"], [3]),
     (["--trainer.max_epochs=-1", "--trainer.max_steps=8"], [5, 8]),
     (["--trainer.val_check_interval=7", "--trainer.check_val_every_n_epoch=null"], [7, 14])],
)  # fmt: skip
def test_best_holds_the_weights_that_were_validated(flags, steps, image_folder, tmp_path):
    """Of five steps an epoch: validation within it, and a run that ends within it."""
    every = ["--checkpoint.save_top_k=-1", "--checkpoint.filename={step}", "--checkpoint.monitor=val/loss",
             "--checkpoint.mode=min", "--trainer.max_epochs=3", "--trainer.precision=32-true"]  # fmt: skip
    assert main([
        "fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), *TINY_CNN, f"--run.root={tmp_path}",
        "--trainer.accelerator=cpu", *every, *flags,
    ]) == 0  # fmt: skip
    folder = tmp_path / "discs" / "cnn" / "seed0"
    assert sorted(path.name for path in folder.glob("checkpoints/step*")) == sorted(f"step={n}.ckpt" for n in steps)
    callbacks = content(folder / "checkpoints" / "last.ckpt")["callbacks"]
    (kept,) = (state for state in callbacks.values() if "best_k_models" in state and state["monitor"] == "val/loss")
    results = json.loads((folder / "results.json").read_text())
    assert results["metrics"]["val"]["loss"] == pytest.approx(float(kept["best_model_score"]), abs=1e-6)
    assert float(kept["best_model_score"]) == min(map(float, kept["best_k_models"].values()))
