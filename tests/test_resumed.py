"""A run that goes on with other settings says so, and one that goes on as it began says nothing."""

import pytest

from tests.test_chain import TINY_CNN, data_flags
from vitlab.cli import main


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data.batch_size=4"], "data.batch_size=4 (it was 8)"),
        (["--trainer.max_epochs=3", "--data.augment.rotation=1"], "data.augment, trainer.max_epochs=3 (it was 1)"),
        ([], None),
    ],
)
def test_a_run_that_goes_on_otherwise_says_so(image_folder, tmp_path, flags, words, recwarn):
    fit = ["fit", "--config", "configs/cnn.yaml", *data_flags(image_folder), *TINY_CNN, "--trainer.accelerator=cpu",
           f"--run.root={tmp_path}", "--trainer.max_epochs=1"]  # fmt: skip
    assert main(fit) == 0
    run = tmp_path / "discs" / "cnn" / "seed0"
    (run / "results.json").unlink()
    assert main([*fit, *flags, f"--ckpt_path={run}/checkpoints/last.ckpt"]) == 0
    said = [line for line in (str(one.message) for one in recwarn) if "goes on otherwise" in line]
    assert len(said) == (words is not None) and all(line.endswith(f"of neither alone: {words}") for line in said), said
