"""Runs to predict with: a CNN that has learnt to tell discs at the top from those at the bottom, and a pretraining."""

import pytest

from vitlab.cli import main

DISCS = ["--data.source=ImageFolder", "--data.name=discs", "--data.image_size=32", "--data.batch_size=4",
         "--trainer.accelerator=cpu", "--trainer.precision=32-true"]  # fmt: skip
LEARNS = ["--data.augment.crop_scale=[1, 1]", "--data.augment.rotation=0",
          "--model.backbone_kwargs={channels: [8, 16, 32, 64]}"]  # fmt: skip
DECODER = ["--model.decoder_dim=32", "--model.decoder_depth=1", "--model.decoder_heads=2"]


@pytest.fixture(scope="session")
def runs(image_folder, tmp_path_factory):
    """Return recipe -> the folder of its finished run: cnn, mae_pretrain."""
    root = tmp_path_factory.mktemp("runs")
    folders = {}
    for recipe, epochs, more in (("cnn", 14, LEARNS), ("mae_pretrain", 1, DECODER)):
        flags = [f"--data.source.root={image_folder}", f"--trainer.max_epochs={epochs}", f"--run.root={root}", *more]
        assert main(["fit", "--config", f"configs/{recipe}.yaml", *DISCS, *flags]) == 0
        (folders[recipe],) = (
            found.parent for found in root.glob(f"*/{recipe.removesuffix('_pretrain')}/seed0/results.json")
        )
    return folders
