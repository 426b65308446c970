"""Several processes through the real command line: they train as one does, leave the same files, and end together.

On CPUs, over gloo. 37 validation images and 13 test images: no number of ranks divides them. One run is started as
users start it; the processes of the others are forked (see `tests.forked`), those that Lightning starts too.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from tests.conftest import wait_for, write_discs
from tests.test_chain import TINY_CNN, TINY_DECODER, TINY_VIT, data_flags
from vitlab.cli import main

pytestmark = pytest.mark.slow
OFTEN = ["--probe.every_n_epochs=1", "--reconstructions.every_n_epochs=1"]
# Recipe, settings and run folder of each approach.
APPROACHES = {
    "cnn": ("cnn", [*TINY_CNN, "--model.drop_path=0"]),
    "vit": ("vit", [*TINY_VIT, "--model.drop_path=0", "--trainer.max_epochs=3"]),
    "simclr": ("simclr_pretrain", [*TINY_CNN, *OFTEN]),
    "mae": ("mae_pretrain", [*TINY_VIT, *TINY_DECODER, *OFTEN]),
}
DYING = """
import os, signal
from lightning.pytorch import Callback

class Die(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx, trainer.global_rank) == (1, 1, int(os.environ["DYING"])):
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Return 40 + 37 + 13 images."""
    root = write_discs(tmp_path_factory.mktemp("uneven"))
    for number in range(21):
        label = ("top", "bottom")[number % 2]
        shutil.copy(root / "train" / label / f"{number // 2}.png", root / "val" / label / f"more{number}.png")
    for name in ("top/0", "top/1", "bottom/0"):
        (root / "test" / f"{name}.png").unlink()
    return root


def command(approach, images, root, devices, overlay, *flags):
    recipe, settings = APPROACHES[approach]
    overlays = ["--config", f"configs/hardware/{overlay}.yaml"] if overlay else []
    return ["fit", "--config", f"configs/{recipe}.yaml", *overlays, *data_flags(images), f"--run.root={root}",
            "--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--trainer.precision=32-true",
            f"--trainer.devices={devices}", f"--data.batch_size={16 // devices}", *settings, *flags]  # fmt: skip


@pytest.fixture
def in_processes(nursery):
    """Return what runs `vitlab` with its processes, waits for all of them, and returns what `subprocess.run` does."""

    def run(args, forked=True, **settings):
        command, devices = [sys.executable, "-m", "vitlab", *args], int(re.search(r"devices=(\d)", " ".join(args))[1])
        if forked:
            return nursery.run(command, spares=devices - 1, timeout=500, **settings)
        return subprocess.run(command, capture_output=True, text=True, timeout=500, **settings)

    return run


@pytest.fixture(scope="module")
def one(uneven, tmp_path_factory):
    """Return the run folder of each approach in one process."""
    root = tmp_path_factory.mktemp("one")
    for approach in APPROACHES:
        assert main(command(approach, uneven, root, 1, None)) == 0
    return root / "discs"


def curves(run):
    """Return every figure of metrics.csv but times and rates, by name."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith(("train/", "val/")) and "rankme" not in name]
    return {name: [float(row[name]) for row in rows if row[name]] for name in names}


def equal(run, alone):
    """Compare all that two runs leave: curves, predictions, results, weights."""
    found, expected = curves(run), curves(alone)
    assert set(found) == set(expected) and "train/loss" in found
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=2e-4, abs=2e-5), name
    results, own = (json.loads((folder / "results.json").read_text()) for folder in (run, alone))
    for key in ("images_seen", "epochs", "parameters", "flops_per_image", "global_batch", "peak_lr"):
        assert results[key] == own[key], key
    assert results["global_batch"] == 16
    weights, expected = (load_file(folder / "backbone.safetensors") for folder in (run, alone))
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in expected.items()
    }
    for name, value in expected.items():
        # Adam makes steps of the same size from gradients of 1e-9 and 1e-3: bounded by the learning rate, not by them
        assert (weights[name].double() - value.double()).abs().max() < 5e-3, name
    if own["task"] == "pretrain":
        return
    tables = []
    for folder in (run, alone):
        with (folder / "predictions.csv").open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    assert [row["index"] for row in tables[0]] == [row["index"] for row in tables[1]]
    assert [sum(row["split"] == split for row in tables[0]) for split in ("train", "val", "test")] == [40, 37, 13]
    for row, other in zip(*tables, strict=True):
        assert float(row["prob_top"]) == pytest.approx(float(other["prob_top"]), abs=1e-4)


@pytest.mark.parametrize(
    ("approach", "devices", "overlay"),
    [("cnn", 2, "ddp"), ("simclr", 4, "ddp"), ("vit", 4, "ddp"), ("cnn", 2, "fsdp"), ("mae", 2, "fsdp")],
)
def test_processes_equal_one_on_the_same_global_batch(
    approach, devices, overlay, one, uneven, tmp_path, in_processes
):
    forked = (approach, overlay) != ("cnn", "ddp")
    done = in_processes(command(approach, uneven, tmp_path, devices, overlay), forked)
    assert done.returncode == 0, done.stderr[-3000:]
    equal(tmp_path / "discs" / approach / "seed0", one / approach / "seed0")
    assert done.stderr.count("steps of 16 images") == 1 and "divide data.batch_size" in done.stderr


def test_a_learning_rate_that_grows_with_the_global_batch_equals_one_that_is_as_large(
    one, uneven, tmp_path, in_processes
):
    scaling = ["--model.optim.lr=7.5e-4", "--model.optim.lr_scaling=sqrt", "--model.optim.base_batch_size=4"]
    done = in_processes(command("mae", uneven, tmp_path, 2, "ddp", *scaling))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "steps of 16 images, 8 a batch and device; peak learning rate 0.0015 (sqrt in steps of 4)" in done.stderr
    equal(tmp_path / "discs" / "mae" / "seed0", one / "mae" / "seed0")


@pytest.mark.parametrize(("overlay", "rank"), [("ddp", 1), ("fsdp", 0)])
def test_a_process_that_dies_ends_the_run_which_goes_on(overlay, rank, one, uneven, tmp_path, in_processes):
    (tmp_path / "dying.py").write_text(DYING)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    args = command("vit", uneven, tmp_path, 2, overlay)
    begin = time.monotonic()
    env = {**os.environ, "PYTHONPATH": path, "DYING": str(rank)}
    dead = in_processes([*args, "--trainer.callbacks+=dying.Die"], env=env)  # waits for all of its processes
    assert dead.returncode and time.monotonic() - begin < 400
    run = tmp_path / "discs" / "vit" / "seed0"
    last = run / "checkpoints" / "last.ckpt"
    if dead.returncode > 0:  # else Lightning's look at its children, every 5 s, came between
        said = "another process of this run has ended, and with it the run"
        assert dead.stderr.strip().splitlines()[-1] == f"vitlab fit: {said}; go on with --ckpt_path {last}"
    done = in_processes([*args, "--ckpt_path", str(last)])
    assert done.returncode == 0, done.stderr[-3000:]
    equal(run, one / "vit" / "seed0")


def test_sigterm_ends_all_processes_and_says_how_to_go_on(uneven, tmp_path, nursery):
    args = command("vit", uneven, tmp_path, 2, "ddp", "--trainer.max_epochs=100000")
    process = nursery.popen(
        [sys.executable, "-m", "vitlab", *args], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, spares=1
    )
    last = tmp_path / "discs" / "vit" / "seed0" / "checkpoints" / "last.ckpt"
    wait_for(lambda: last.exists() or process.poll() is not None, 300)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)  # standard error closes when the last process has ended
    assert process.returncode == 143, err[-3000:]
    assert err.splitlines()[-1].startswith("vitlab fit: stopped in epoch") and f"--ckpt_path {last}" in err


@pytest.mark.parametrize(
    ("overlay", "flags", "expected"),
    [
        ("ddp", ["--trainer.strategy=fsdp"], "trainer.strategy=fsdp leaves shards of files: take --config configs/"),
        ("fsdp", ["--run.features=true"], "run.features needs the whole model in one process"),
        ("fsdp", ["--compile=true"], "compile does not go with a sharded model"),
    ],
)
def test_what_does_not_go_is_refused_in_one_line(overlay, flags, expected, uneven, tmp_path, capsys):
    assert main(command("vit", uneven, tmp_path, 2, overlay, *flags)) == 2
    assert expected in capsys.readouterr().err and not list(tmp_path.iterdir())
