"""The plain loop: a supervised run as a user writes it, with validation, TensorBoard and the best checkpoint.

As a program it trains and prints its peak of memory: `python -m vitlab.bench.plain_loop IMAGES SIZE EPOCHS DEVICE OUT`.

Shapes: B images, C = 1 channel, H = W = size pixels, K classes.
"""

import math
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from vitlab.bench import plain
from vitlab.bench.conditions import Conditions
from vitlab.memory import peak_bytes
from vitlab.models.backbones import PRESETS

# As configs/cnn.yaml and vit.yaml have them; tests/bench/test_runs.py compares.
RECIPES: dict[str, dict[str, Any]] = {
    "cnn": {"backbone": "resnet18_half", "batch": 32, "drop_path": 0.1, "lr": 1e-3, "warmup": 3, "clip": None},
    "vit": {"backbone": "vit_dim128_depth6_patch8", "batch": 32, "drop_path": 0.05, "lr": 4e-4, "warmup": 10,
            "clip": 1.0},
}  # fmt: skip
# What a GPU has instead, paired by size.
LARGE: dict[str, dict[str, Any]] = {
    "cnn": {"backbone": "resnet50", "batch": 128}, "vit": {"backbone": "vit_small_patch16_224", "batch": 128},
}  # fmt: skip
SMOOTHING, DECAY = 0.1, 0.05


def recipe_on(device: str, kind: str) -> dict[str, Any]:
    """Return the recipe of cnn or vit on a device."""
    return RECIPES[kind] | (LARGE[kind] if device == "cuda" else {})


def train(conditions: Conditions, kind: Literal["cnn", "vit"], size: int, out: Path) -> tuple[float, float]:
    """Train and return the seconds of all epochs, validation included, and the best checkpoint's test accuracy."""
    from torch.utils.tensorboard import SummaryWriter

    recipe, device, epochs = recipe_on(conditions.device, kind), conditions.device, conditions.epochs
    name, settings = PRESETS.get(recipe["backbone"], (recipe["backbone"], {}))
    settings = {**settings, "drop_path_rate": recipe["drop_path"], **({"img_size": size} if kind == "vit" else {})}
    model = plain.classifier(name, settings, len(conditions.classes)).to(device)
    loaders = {
        split: plain.loader(
            conditions.images / split, transform(size), conditions, recipe["batch"], train=split == "train"
        )
        for split, transform in
        (("train", plain.train_transform), ("val", plain.eval_transform), ("test", plain.eval_transform))
    }  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe["lr"], weight_decay=DECAY)
    total = epochs * len(loaders["train"])
    warmup = round(min(recipe["warmup"] * len(loaders["train"]), total / 2))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, warmup, total))
    best, writer = -1.0, SummaryWriter(str(out))
    start = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        for batch, labels in loaders["train"]:
            loss = F.cross_entropy(model(batch.to(device)), labels.to(device), label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe["clip"]:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
            optimizer.step()
            schedule.step()
            writer.add_scalar("train/loss", loss.item())
        accuracy, val_loss = evaluate(model, loaders["val"], device)
        writer.add_scalar("val/accuracy", accuracy, epoch)
        writer.add_scalar("val/loss", val_loss, epoch)
        if accuracy > best:
            best = accuracy
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, out / "best.pt")
    seconds = time.perf_counter() - start
    writer.close()
    model.load_state_dict(torch.load(out / "best.pt", weights_only=True)["model"])
    return seconds, evaluate(model, loaders["test"], device)[0]


@torch.no_grad()
def evaluate(model: torch.nn.Module, loader: DataLoader[Any], device: str) -> tuple[float, float]:
    """Return accuracy and loss."""
    model.eval()
    right, loss, seen = 0, 0.0, 0
    for batch, labels in loader:
        logits, targets = model(batch.to(device)), labels.to(device)
        right += int((logits.argmax(1) == targets).sum())
        loss += F.cross_entropy(logits, targets, reduction="sum").item()
        seen += len(labels)
    return right / seen, loss / seen


def _factor(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


if __name__ == "__main__":
    images, size, epochs, device, out = sys.argv[1:]
    threads = torch.get_num_threads()
    folder = Path(out)
    train(Conditions(Path(images), folder, device, threads, epochs=int(epochs)), "cnn", int(size), folder)
    print(peak_bytes(torch.device(device)))
