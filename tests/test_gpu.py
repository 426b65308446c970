"""What only a CUDA device can show: precision, memory format, compile. `pytest -m gpu` runs them."""

import json

import pytest
import torch

from vitlab.cli import main

pytestmark = pytest.mark.gpu
DECODER = ["--model.decoder_dim=32", "--model.decoder_depth=1", "--model.decoder_heads=2"]


def fit(root, recipe, folder, *flags):
    assert main([
        "fit", "--config", f"configs/{recipe}.yaml", "--config", "configs/hardware/gpu.yaml",
        "--data.source=ImageFolder", f"--data.source.root={folder}", "--data.name=discs", "--data.image_size=32",
        "--data.batch_size=8", "--trainer.max_epochs=3", f"--run.root={root}", *flags,
    ]) == 0  # fmt: skip
    return json.loads(next(root.rglob("results.json")).read_text())


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
@pytest.mark.parametrize("flags", [["--trainer.precision=32-true"], [], ["--compile=true"]])
def test_a_run_learns_the_same_in_each_precision_and_compiled(recipe, flags, image_folder, tmp_path):
    results = fit(tmp_path, recipe, image_folder, *flags)
    assert "cpu" not in results["device"] and results["peak_memory_bytes"] > 0
    assert results["metrics"]["train"]["loss"] < 0.75  # of chance's 0.69: no overflow, no NaN


@pytest.mark.parametrize("recipe", ["simclr_pretrain", "mae_pretrain"])
def test_pretraining_runs_compiled(recipe, image_folder, tmp_path):
    flags = DECODER if recipe == "mae_pretrain" else []
    assert fit(tmp_path, recipe, image_folder, "--compile=true", *flags)["probe"]["rankme"] > 1


def test_memory_format_changes_the_speed_and_not_the_result(image_folder, tmp_path):
    losses = [
        fit(tmp_path / str(last), "cnn", image_folder, "--trainer.precision=32-true", f"--model.channels_last={last}")
        for last in ("true", "false")
    ]
    first, second = (run["metrics"]["train"]["loss"] for run in losses)
    assert first == pytest.approx(second, rel=0.05)


def test_augmentation_runs_on_the_device():
    from vitlab.data.augment import Augment

    images = torch.randint(0, 256, (16, 1, 32, 32), dtype=torch.uint8)
    settings = Augment(blur=0.5, noise=0.1, erasing=0.5)
    on_gpu = settings(images.cuda(), seed=0, step=1)
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), settings(images, seed=0, step=1), atol=2e-3, rtol=0)
