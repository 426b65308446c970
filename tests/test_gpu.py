"""What only a CUDA device can show: precision, memory format, compile. `pytest -m gpu` runs them."""

import csv
import json
import warnings

import pytest
import torch

from vitlab.bench.trainer import EpochClock, Looker, run
from vitlab.cli import main
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import ImageFolder

pytestmark = pytest.mark.gpu
DECODER = ["--model.decoder_dim=32", "--model.decoder_depth=1", "--model.decoder_heads=2"]


def fit(root, recipe, folder, *flags):
    assert main([
        "fit", "--config", f"configs/{recipe}.yaml", "--config", "configs/hardware/gpu.yaml",
        "--data.source=ImageFolder", f"--data.source.root={folder}", "--data.name=discs", "--data.image_size=32",
        "--data.batch_size=8", "--trainer.max_epochs=3", f"--run.root={root}", *flags,
    ]) == 0  # fmt: skip
    return json.loads(next(root.rglob("results.json")).read_text())


def training_losses(root):
    rows = csv.DictReader(next(root.rglob("metrics.csv")).open())
    return [float(row["train/loss"]) for row in rows if row["train/loss"]]


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


@pytest.mark.parametrize("recipe", ["cnn", "vit", "mae_pretrain"])
def test_overlays_of_many_devices_train_on_one_as_one_does(recipe, image_folder, tmp_path):
    """NCCL, its norms and FSDP's hooks on the one device that there is; more processes are tested on CPUs."""
    losses = []
    for overlay in ("gpu", "ddp", "fsdp"):
        flags = [f"--config=configs/hardware/{overlay}.yaml", "--trainer.devices=1", "--trainer.precision=32-true"]
        flags += ["--trainer.accelerator=gpu", *(DECODER if recipe == "mae_pretrain" else [])]
        fit(tmp_path / overlay, recipe, image_folder, *flags)
        losses.append(training_losses(tmp_path / overlay))
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=0.05)


def test_augmentation_runs_on_the_device():
    from vitlab.data.augment import Augment

    images = torch.randint(0, 256, (16, 1, 32, 32), dtype=torch.uint8)
    settings = Augment(blur=0.5, noise=0.1, erasing=0.5)
    on_gpu = settings(images.cuda(), seed=0, step=1)
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), settings(images, seed=0, step=1), atol=2e-3, rtol=0)


class Keeper(Looker):
    """Keeps the batches that a model would see."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def training_step(self, batch, batch_idx):
        assert all(part.is_cuda for part in batch)
        self.kept.append([part.cpu() for part in batch])


@pytest.mark.parametrize("views", [1, 2])
def test_the_model_sees_the_same_batches_wherever_the_images_are(views, image_folder, tmp_path):
    """On the device, or copied ahead by this process or by worker processes."""
    ways = {"resident": {}, "copied": {"resident": 0.0}, "workers": {"resident": 0.0, "num_workers": 2}}
    kept, places = {}, {}
    for name, way in ways.items():
        data = ImageDataModule(ImageFolder(str(image_folder)), image_size=32, batch_size=8, views=views,
                               cache_dir=str(tmp_path), **{"num_workers": None, **way})  # fmt: skip
        model = Keeper()
        trainer = run(model, data, EpochClock("cuda", 0.0), device="cuda", precision="32-true")
        loader = trainer.train_dataloader
        kept[name], places[name] = model.kept, (type(loader).__name__, type(loader.dataset).__name__)
    assert places == {
        "resident": ("BatchLoader", "ResidentImages"), "copied": ("CopyAhead", "CachedImages"),
        "workers": ("CopyAhead", "CachedImages"),
    }  # fmt: skip
    assert len(kept["resident"]) == 2 * 5  # epochs of batches
    for name in ("copied", "workers"):
        torch.testing.assert_close(kept[name], kept["resident"], rtol=0, atol=0)


@pytest.mark.parametrize("recipe", ["cnn", "vit", "simclr_pretrain", "mae_pretrain"])
def test_replayed_graphs_train_the_same(recipe, image_folder, tmp_path):
    flags = DECODER if recipe == "mae_pretrain" else []
    losses = []
    for number, mode in enumerate(("false", "reduce-overhead")):
        fit(tmp_path / str(number), recipe, image_folder, f"--compile={mode}", "--trainer.precision=32-true", *flags)
        losses.append(training_losses(tmp_path / str(number)))
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_training_step_waits_for_nothing(image_folder, tmp_path):
    """Data, augmentation, loss, gradients, optimizer: a wait for the device in each step would idle it."""
    from vitlab.bench.conditions import Conditions
    from vitlab.bench.fed import Fed

    row = Fed(Conditions(image_folder, tmp_path, "cuda", 1, seconds=0.01), 32, "vit")
    row.ours()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            row.ours()
            torch.ones((), device="cuda").item()  # waits, in this file
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [f"{found.filename}:{found.lineno}" for found in caught if "synchronizing" in str(found.message)]
    assert any(place.startswith(__file__) for place in waits)
    inside = [place for place in waits if any(part in place for part in ("/vitlab/data/", "/vitlab/models/"))]
    assert not inside, sorted(set(inside))
