"""Runs to look at: both classifiers and both pretrainings, trained for a few steps on discs at the top or bottom."""

import pytest

from vitlab.cli import main

DISCS = ["--data.source=ImageFolder", "--data.name=discs", "--data.image_size=32", "--data.batch_size=8",
         "--trainer.accelerator=cpu", "--trainer.precision=32-true"]  # fmt: skip
DECODER = ["--model.decoder_dim=32", "--model.decoder_depth=1", "--model.decoder_heads=2"]
EPOCHS = {"cnn": 5, "vit": 5, "simclr_pretrain": 1, "mae_pretrain": 1}


@pytest.fixture(scope="session")
def runs(image_folder, tmp_path_factory):
    """Return recipe -> the folder of its finished run: cnn, vit, simclr_pretrain, mae_pretrain."""
    root = tmp_path_factory.mktemp("runs")
    folders = {}
    for recipe, epochs in EPOCHS.items():
        flags = [f"--data.source.root={image_folder}", f"--trainer.max_epochs={epochs}", f"--run.root={root}"]
        flags += DECODER if recipe == "mae_pretrain" else []
        assert main(["fit", "--config", f"configs/{recipe}.yaml", *DISCS, *flags]) == 0
        approach = recipe.removesuffix("_pretrain")
        (folders[recipe],) = (found.parent for found in root.glob(f"*/{approach}/seed0/results.json"))
    return folders
