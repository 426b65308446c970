"""A `fit` that is killed, at any moment, goes on as if nothing had been: weights, predictions, results to the bit."""

import random

import pytest

from tests.killed_fits import MOMENTS, Runs, curves, differences, gone_on_with
from tests.test_chain import TINY_CNN, TINY_DECODER, TINY_VIT, data_flags

APPROACHES = {
    "cnn": ("cnn", TINY_CNN), "simclr": ("simclr_pretrain", TINY_CNN), "vit": ("vit", TINY_VIT),
    "mae": ("mae_pretrain", [*TINY_VIT, *TINY_DECODER]),
}  # fmt: skip


def command(approach, images, root):
    """Return the command line of a short run, and its folder."""
    recipe, tiny = APPROACHES[approach]
    argv = ["fit", "--config", f"configs/{recipe}.yaml", *data_flags(images), f"--run.root={root}", *tiny,
            "--trainer.accelerator=cpu", "--trainer.max_epochs=4", "--trainer.precision=32-true"]  # fmt: skip
    return argv, root / "discs" / approach / "seed0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, nursery):
    return Runs(nursery, tmp_path_factory.mktemp("killed") / "log")


@pytest.mark.slow
@pytest.mark.parametrize("approach", APPROACHES)
def test_a_killed_run_goes_on_to_the_bit(approach, runs, image_folder, tmp_path):
    argv, whole = command(approach, image_folder, tmp_path / "whole")
    assert runs.run(argv) == 0, runs.log.read_text()[-3000:]
    argv, parts = command(approach, image_folder, tmp_path / "parts")
    for number, moment in enumerate(MOMENTS if approach == "cnn" else random.Random(approach).sample(MOMENTS, 1)):
        go_on = argv if number == 0 else gone_on_with(argv, parts)
        assert runs.run(go_on, moment, 2) == -9, runs.log.read_text()[-3000:]
        assert not (parts / "results.json").exists()
    assert runs.run(gone_on_with(argv, parts)) == 0, runs.log.read_text()[-3000:]
    assert differences(whole, parts) == []
    assert curves(whole) == curves(parts)  # an epoch is logged behind its checkpoint, which keeps the row


@pytest.mark.soak
def test_twenty_kills_of_each_approach():
    import subprocess
    import sys

    assert subprocess.run([sys.executable, "-m", "tests.killed_fits", "--kills", "20"]).returncode == 0
