"""Training learns what it must: 16 images by heart, nothing from shuffled labels, features by pretraining."""

import csv
import json
from statistics import mean

import numpy as np
import pytest
from PIL import Image

from vitlab.cli import main

SMALL_CNN = ["--model.backbone=resnet18", '--model.backbone_kwargs={"channels": [16, 16, 32, 64]}']
SMALL_VIT = ["--model.backbone=vit_dim128_depth6_patch8",
             '--model.backbone_kwargs={"embed_dim": 64, "depth": 2, "num_heads": 4}']  # fmt: skip
SMALL = {"cnn": SMALL_CNN, "simclr": SMALL_CNN, "vit": SMALL_VIT,
         "mae": [*SMALL_VIT, "--model.decoder_dim=32", "--model.decoder_heads=2"]}  # fmt: skip
UNCHANGED = "--data.augment={crop_scale: [1, 1], hflip: 0, rotation: 0, brightness: 0, contrast: 0, gamma: 0}"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def fit(root, recipe, *flags):
    """Train by the command line and return (results.json, run folder)."""
    kind = recipe.removesuffix("_pretrain").split("_")[0]
    args = ["fit", "--config", f"configs/{recipe}.yaml", *SMALL[kind], "--data.image_size=32", f"--run.root={root}",
            "--trainer.accelerator=cpu", "--reconstructions.every_n_epochs=0", *flags]  # fmt: skip
    assert main(args) == 0
    (path,) = root.rglob("results.json")
    return json.loads(path.read_text()), path.parent


def write_table(folder, rows):
    """Write PNGs and the table that names them; rows are (pixels, label, split)."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for number, (pixels, label, split) in enumerate(rows):
            Image.fromarray(pixels).save(folder / f"{number}.png")
            table.writerow([f"{number}.png", label, split])
    return ["--data.source=Csv", f"--data.source.root={folder}", "--data.name=table"]


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Return the flags of 16 + 8 + 8 images of noise: nothing but memory tells their labels."""
    rng = np.random.default_rng(0)
    splits = ["train"] * 16 + ["val"] * 8 + ["test"] * 8
    rows = [(rng.integers(0, 256, (32, 32), dtype=np.uint8), "abcd"[k % 4], split) for k, split in enumerate(splits)]
    return write_table(tmp_path_factory.mktemp("noise"), rows)


# One evaluation at the end, so that the best checkpoint is the last and not what does well on other noise.
BY_HEART = ["--data.batch_size=16", "--trainer.max_epochs=60", "--trainer.check_val_every_n_epoch=60",
            "--model.label_smoothing=0", "--model.optim={lr: 0.005, warmup_epochs: 3, weight_decay: 0}"]  # fmt: skip


@pytest.mark.parametrize("approach", ["cnn", "cnn_simclr", "vit", "vit_mae"])
def test_sixteen_images_are_learned_by_heart(tmp_path, noise, approach):
    flags = []
    kind, _, pretraining = approach.partition("_")
    if pretraining:
        _, folder = fit(tmp_path / "pretrain", f"{pretraining}_pretrain", *noise, "--trainer.max_epochs=2")
        flags = [f"--model.weights={folder / 'backbone.safetensors'}"]
    if kind == "vit":
        flags += ["--model.drop_path=0"]
    results, _ = fit(tmp_path / "fit", approach, *noise, UNCHANGED, *BY_HEART, *flags)
    assert results["images"]["train"] == 16 and results["metrics"]["train"]["accuracy"] == 1.0
    assert results["metrics"]["test"]["balanced_accuracy"] < 0.8  # the labels of other noise cannot be known


@pytest.mark.parametrize("approach", ["cnn", "vit"])
def test_shuffled_labels_teach_nothing_about_other_images(tmp_path, approach):
    """The same run that tells discs at the top from discs at the bottom stays at chance where labels are shuffled."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    images, splits = [], ["train"] * 32 + ["val"] * 300 + ["test"] * 2
    for number in range(len(splits)):
        disc = (y - (8, 24)[number % 2] - rng.integers(-3, 4)) ** 2 + (x - rng.integers(10, 22)) ** 2 < 36
        images.append((150.0 * disc + rng.normal(50, 15, disc.shape)).clip(0, 255).astype(np.uint8))
    labels = np.array(["top", "bottom"] * (len(splits) // 2))
    shuffled = np.concatenate([rng.permutation(labels[:32]), rng.permutation(labels[32:332]), labels[332:]])
    accuracy = {}
    for name, given in (("true", labels), ("shuffled", shuffled)):
        folder = tmp_path / name
        folder.mkdir()
        table = write_table(folder, zip(images, given, splits, strict=True))
        results, _ = fit(tmp_path / f"{name}_run", approach, *table, UNCHANGED, *BY_HEART)
        accuracy[name] = [results["metrics"][split]["accuracy"] for split in ("train", "val")]
    assert accuracy["true"][0] > 0.9 and accuracy["true"][1] > 0.75
    assert accuracy["shuffled"][0] > 0.7  # something was learned, by heart
    assert abs(accuracy["shuffled"][1] - 0.5) < 3.3 * (0.25 / 300) ** 0.5  # 99.9 % of the binomial distribution


PHANTOM = ["--data.source=Phantom", "--data.source.train_patients=80", "--data.source.val_patients=20",
           "--data.source.test_patients=1", "--data.source.slices=4", "--data.source.size=64"]  # fmt: skip
LONG = {
    "simclr": ["--data.image_size=48", "--data.batch_size=64", "--trainer.max_epochs=8", "--model.temperature=0.5",
               "--model.optim={lr: 0.003, weight_decay: 1.0e-4, warmup_epochs: 1}",
               "--data.augment={crop_scale: [0.6, 1], blur: 0}"],
    # MAE wants many steps, small batches, and brightness that tells nothing
    "mae": ["--data.batch_size=32", "--trainer.max_epochs=40",
            "--model.optim={lr: 0.003, warmup_epochs: 3, betas: [0.9, 0.95]}",
            "--data.augment={brightness: 0.4, contrast: 0.4, gamma: 0.4}"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "mae"])
def test_a_probe_on_a_pretraining_beats_one_on_random_weights(tmp_path, method):
    """Balanced accuracy, linear and kNN, on 320 images of phantom patients that no part of the training saw."""
    untrained = ["--trainer.max_epochs=1", "--model.optim={lr: 1.0e-12}"]
    scores = {}
    for name, more, seeds in (("random", untrained, (0, 1)), ("trained", [], (0,))):
        found = []
        for seed in seeds:
            run = [*PHANTOM, *LONG[method], "--probe.every_n_epochs=1000", *more, f"--seed_everything={seed}"]
            found.append(fit(tmp_path / f"{name}{seed}", f"{method}_pretrain", *run)[0]["probe"])
        scores[name] = {probe: mean(one[f"{probe}_accuracy"] for one in found) for probe in ("linear", "knn")}
    trained, random = scores["trained"], scores["random"]
    assert trained["linear"] > random["linear"] and trained["knn"] > random["knn"], scores
    assert mean(trained.values()) > mean(random.values()) + 0.04, scores
