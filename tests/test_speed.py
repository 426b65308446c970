"""What vitlab costs over the loop that a user would write by hand: same model, same images, same augmentation."""

import json
import time
from statistics import median

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from vitlab.cli import main
from vitlab.data.augment import Augment
from vitlab.data.datamodule import ImageDataModule
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Csv
from vitlab.models.backbones import create_backbone, feature_dim, suit_attention_to_cpu
from vitlab.precision import fastest_precision

KINDS = {"cnn": ("resnet18_half", 32), "vit": ("vit_dim128_depth6_patch8", 32)}


def plain_loop(kind, images, targets, epochs):
    """Train and return images a second, the first epoch left out as warm-up."""
    name, batch_size = KINDS[kind]
    torch.manual_seed(0)
    bf16 = fastest_precision("cpu") == "bf16-mixed"
    layout = torch.channels_last if kind == "cnn" else torch.contiguous_format
    backbone = create_backbone(name, image_size=64, channels=1)
    model = torch.nn.Sequential(backbone, torch.nn.Linear(feature_dim(backbone), 3)).to(memory_format=layout)
    suit_attention_to_cpu(model, fastest_precision("cpu"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    loader = DataLoader(TensorDataset(images, targets), batch_size=batch_size, shuffle=True, drop_last=True)
    augment, seen, start = Augment(), 0, 0.0
    for epoch in range(epochs):
        if epoch == 1:
            start = time.perf_counter()
        for step, (batch, labels) in enumerate(loader):
            pixels = ((augment(batch, seed=0, step=step) - 0.2) / 0.2).contiguous(memory_format=layout)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(pixels)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            if kind == "vit":
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seen += len(labels) * (epoch > 0)
    return seen / (time.perf_counter() - start)


@pytest.fixture(scope="module")
def few(data_root, tmp_path_factory):
    """Return the source of a fifth of cheng's training images, and no more to validate and test than there must be."""
    columns = {"patient_id": "patient_base"}
    whole = ImageDataModule(Csv(root=str(data_root / "cheng"), columns=columns), fold=1, label_fraction=0.2)
    split = np.full(len(whole.manifest), "", object)
    for name, each in (("train", 1), ("val", 20), ("test", 20)):
        split[np.flatnonzero(whole.manifest.split == name)[::each]] = name
    table = tmp_path_factory.mktemp("few") / "manifest.csv"
    own = {name: whole.manifest.columns[name] for name in ("path", "label", "patient_id")}
    Manifest({**own, "split": split}).where(np.flatnonzero(split != "")).write(table)
    return Csv(root=str(data_root / "cheng"), manifest=str(table))


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_training_is_as_fast_as_a_plain_loop(kind, few, tmp_path):
    data = ImageDataModule(few)
    rows = data.rows("train")
    assert len(rows) > 300
    images = torch.from_numpy(data.cache.images[rows])
    targets = torch.from_numpy(data.manifest.targets[rows])
    ratios = []
    for repeat in range(3):
        plain = plain_loop(kind, images, targets, epochs=3)
        args = ["fit", "--config", f"configs/{kind}.yaml", "--data.source=Csv", f"--data.source.root={few.root}",
                f"--data.source.manifest={few.table}", "--trainer.max_epochs=3", "--trainer.accelerator=cpu",
                "--trainer.limit_val_batches=1", f"--run.root={tmp_path / str(repeat)}"]  # fmt: skip
        assert main(args) == 0
        ours = json.loads(next((tmp_path / str(repeat)).rglob("results.json")).read_text())["images_per_second"]
        ratios.append(ours / plain)
        if ratios[-1] > 0.8:
            break
    print(f"{kind}: {median(ratios):.2f} of the plain loop's images/s ({', '.join(f'{r:.2f}' for r in ratios)})")
    # the target is 0.9 on a quiet machine, our first epoch counted as well; a shared one drifts by more than that
    assert max(ratios) > 0.8
