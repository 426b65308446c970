"""What befalls a run from outside: its images vanish, its clock is turned back, another `fit` comes to its folder."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.conftest import wait_for
from tests.killed_fits import differences
from tests.test_chain import TINY_CNN, data_flags
from vitlab.cli import main

CALLBACKS = """
import os, pathlib, time
from lightning.pytorch import Callback

class Vanish(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            for path in pathlib.Path(os.environ["VANISHING"]).rglob("*.png"):
                path.unlink()

class Wait(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            time.sleep(300)

class Stop(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
"""


@pytest.fixture
def flags(tmp_path, image_folder, monkeypatch):
    """Return the command line of a short run of copied images, with the callbacks of the module above at hand."""
    (tmp_path / "accidental.py").write_text(CALLBACKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("VITLAB_CACHE", str(tmp_path / "cache"))
    images = shutil.copytree(image_folder, tmp_path / "images")
    monkeypatch.setenv("VANISHING", str(images))
    return ["fit", "--config", "configs/cnn.yaml", *data_flags(images), f"--run.root={tmp_path}/runs", *TINY_CNN,
            "--trainer.accelerator=cpu", "--trainer.max_epochs=2", "--trainer.precision=32-true"]  # fmt: skip


def folder_of(tmp_path, root="runs"):
    return tmp_path / root / "discs" / "cnn" / "seed0"


def test_images_that_vanish_from_under_a_run_are_in_its_cache(flags, tmp_path):
    assert main([*flags, f"--run.root={tmp_path}/whole"]) == 0
    assert main([*flags, "--trainer.callbacks+=accidental.Vanish"]) == 0
    assert not list((tmp_path / "images").rglob("*.png"))
    assert differences(folder_of(tmp_path, "whole"), folder_of(tmp_path)) == []


def test_an_image_that_vanishes_while_the_cache_is_built_is_named(flags, tmp_path, monkeypatch, capfd):
    """It was there when the folder was listed."""
    from vitlab.data import datamodule

    build, gone = datamodule.build_cache, tmp_path / "images" / "train" / "top" / "3.png"

    def late(*args, **settings):
        gone.unlink(missing_ok=True)
        return build(*args, **settings)

    monkeypatch.setattr(datamodule, "build_cache", late)
    assert main(flags) == 2
    err = capfd.readouterr().err
    (line,) = [line for line in err.splitlines() if line.startswith("vitlab fit: ")]
    assert "train/top/3.png" in line and "Traceback" not in err
    assert not folder_of(tmp_path).exists() and not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_run_goes_on_under_an_older_clock(flags, tmp_path, monkeypatch):
    assert main([*flags, f"--run.root={tmp_path}/whole"]) == 0
    assert main([*flags, "--trainer.callbacks+=accidental.Stop"]) == 130
    last = folder_of(tmp_path) / "checkpoints" / "last.ckpt"
    seconds = time.time() - 3 * 365 * 86400
    monkeypatch.setattr("time.time", lambda: seconds)
    assert main([*flags, f"--ckpt_path={last}"]) == 0
    assert differences(folder_of(tmp_path, "whole"), folder_of(tmp_path)) == []
    results = json.loads((folder_of(tmp_path) / "results.json").read_text())
    assert results["wall_seconds"] > 0 and results["images_per_second"] > 0 and results["epochs"] == 2


@pytest.mark.slow
def test_of_two_at_once_one_is_refused_and_a_dead_one_holds_nothing(flags, tmp_path, nursery):
    command = [sys.executable, "-m", "vitlab", *flags]
    waiting = [*command, "--trainer.callbacks+=accidental.Wait"]
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    both = [nursery.popen(waiting, stdout=log.open("w"), stderr=subprocess.STDOUT) for log in logs]
    last = folder_of(tmp_path) / "checkpoints" / "last.ckpt"
    try:
        wait_for(lambda: last.exists() and any(process.poll() is not None for process in both), 200)
        (refused,) = [number for number, process in enumerate(both) if process.poll() is not None]
        third = nursery.run([*command, "--run.overwrite=true"], timeout=200)
        for code, said in ((both[refused].returncode, logs[refused].read_text()), (third.returncode, third.stderr)):
            (line,) = [line for line in said.splitlines() if line.startswith("vitlab fit: ")]
            assert code == 2 and "Traceback" not in said
            assert f"another process is training in {folder_of(tmp_path)}" in line
        assert last.exists() and both[1 - refused].poll() is None
    finally:
        for process in both:
            process.kill()
            process.wait(60)
    assert main([*flags, f"--ckpt_path={last}"]) == 0
    assert (folder_of(tmp_path) / "results.json").exists()
