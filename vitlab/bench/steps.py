"""Rows of the training step of each approach, on fixed tensors: forward, backward, optimizer, nothing else.

Shapes: B images, C = 1 channel, H = W = size pixels, K classes; two views (2, B, C, H, W).
"""

import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vitlab.bench import plain
from vitlab.bench.conditions import Conditions
from vitlab.bench.measure import Spent, Target
from vitlab.bench.plain_loop import recipe_on
from vitlab.bench.trainer import WARM_UP, StepClock, run, synchronise
from vitlab.cost import counted_flops
from vitlab.data.batches import Batch
from vitlab.models.backbones import PRESETS, suit_attention_to_cpu
from vitlab.models.base import BaseModule
from vitlab.models.classifier import CNNClassifier, ViTClassifier
from vitlab.models.compiled import compiled
from vitlab.models.mae import MAE
from vitlab.models.optim import OptimConfig
from vitlab.models.simclr import SimCLR
from vitlab.precision import fastest_precision

CLASSES = 4
Model = TypeVar("Model", bound=nn.Module)
Supervised = Literal["cnn", "vit"]
Kind = Literal["cnn", "vit", "simclr", "mae"]
# Images a step: on a CPU as the recipes have them, which tests/bench/test_rows.py compares.
IMAGES: dict[str, dict[Kind, int]] = {
    "cpu": {"cnn": 32, "vit": 32, "simclr": 128, "mae": 64},
    "cuda": {"cnn": 256, "vit": 256, "simclr": 256, "mae": 256},
}
_RATE = {"cnn": 6000, "vit": 8000}  # images/s that ResNet-50 and ViT-S/16 are to reach on a GPU
_SIMCLR = Target(1 / 1.1, "ratio", "<= 1.1x the time")
_MAE = {"cpu": Target(3.0, "ratio", ">= 3x"), "cuda": Target(3.5, "ratio", ">= 3.5x")}
_AGAINST = {
    "cnn": "timm model, AdamW, float32, written by hand",
    "vit": "timm model, AdamW, float32, written by hand",
    "simclr": "two supervised forward and backward passes of the same CNN, as fast as ours",
    "mae": "supervised step of the same ViT on all tokens, as fast as ours",
}


class Same(Dataset[Batch]):
    """One batch, again and again."""

    def __init__(self, batch: Batch, times: int = 1_000_000) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        return self.times

    def __getitem__(self, index: int) -> Batch:
        return self.batch


class Step:
    """A training step by Lightning's loop, on the recipe's model, against the plain reference of its kind.

    Args:
        conditions: Shared by all rows.
        size: Side of the images in pixels.
        kind: Approach.
    """

    unit: Literal["images/s"] = "images/s"

    def __init__(self, conditions: Conditions, size: int, kind: Kind) -> None:
        device = conditions.device
        self.name, self.kind, self.conditions, self.size = f"step-{kind}-{size}", kind, conditions, size
        self.against = _AGAINST[kind]
        self.target = {"simclr": _SIMCLR, "mae": _MAE[device]}.get(kind)
        if device == "cuda" and kind in _RATE:
            self.target = Target(1 / _RATE[kind], "ours", f">= {_RATE[kind]:,} images/s")
        self.backbone, self.batch_size = backbone_of(kind, device), IMAGES[device][kind]
        self.batch = fixed_batch(self.batch_size, size, views=2 if kind == "simclr" else 1, device=device)
        self.module = on_device(make_module(kind, self.backbone, size), device)
        self.precision = fastest_precision("gpu" if device == "cuda" else "cpu")
        self.supervised = self._reference()
        # what `fit` does to a classifier is done to the reference as well where only the method is to differ
        self.fast = kind in ("simclr", "mae")
        self.optimizer = torch.optim.AdamW(self.supervised.parameters(), lr=1e-3, fused=self.fast or None)
        self.facts: dict[str, Any] = {"backbone": self.backbone, "batch_size": self.batch_size}
        self.facts |= {"precision": self.precision, "flops_per_image": self._flops()}
        self.module.compile_hot(conditions.compile)
        self.supervised = compiled(self.supervised, conditions.compile) if self.fast else self.supervised

    def _reference(self) -> nn.Module:
        """Return the plain model, with the weights of ours where both compute the same."""
        name, settings = PRESETS.get(self.backbone, (self.backbone, {}))
        vit = self.kind in ("vit", "mae")
        settings = {**settings, **({"img_size": self.size} if vit else {})}
        model = plain.classifier(name, settings, CLASSES).to(self.conditions.device)
        if self.kind in ("simclr", "mae"):
            model = on_device(model, self.conditions.device)
            return model.to(memory_format=torch.channels_last) if self.kind == "simclr" else model
        ours: Any = self.module
        head = "fc" if self.kind == "cnn" else "head"
        linear = {f"{head}.{name}": value for name, value in ours.head[1].state_dict().items()}
        model.load_state_dict({**ours.backbone.state_dict(), **linear}, strict=True)
        return model

    def _flops(self) -> float:
        """Count one training step's forward and backward operations for one image; a multiply-add counts two."""
        with counted_flops() as counter:
            forward_loss(self.module, self.batch).backward()  # type: ignore[no-untyped-call]
        self.module.zero_grad()
        return counter.get_total_flops() / self.batch_size

    def ours(self) -> Spent:
        """Train by Lightning's loop on one batch that stays on the device."""
        clock = StepClock(self.conditions.device, self.conditions.steps)
        run(self.module, DataLoader(Same(self.batch), batch_size=None), clock, device=self.conditions.device)
        self.facts.setdefault("first_loss", clock.first_loss)
        self.facts["ours_images_per_second"] = clock.images / clock.elapsed
        return clock.spent

    def plain(self) -> Spent:
        """Take as many steps by hand."""
        device, steps = self.conditions.device, self.conditions.steps
        images = self.batch.images.flatten(0, 1) if self.kind == "simclr" else self.batch.images
        parts = images.chunk(2) if self.kind == "simclr" else (images,)
        first = torch.zeros(())
        for step in range(WARM_UP[device] + steps):
            if step == WARM_UP[device]:
                synchronise(device)
                start = time.perf_counter()
            self.optimizer.zero_grad()
            for part in parts:
                loss = self._forward_backward(part)
            self.optimizer.step()
            first = loss if step == 0 else first
        synchronise(device)
        seconds = time.perf_counter() - start
        self.facts.setdefault("plain_first_loss", float(first))  # not earlier: it waits for the device
        return Spent(seconds, steps * self.batch_size)

    def _forward_backward(self, images: Tensor) -> Tensor:
        device = self.conditions.device
        if self.fast and self.kind == "simclr":
            images = images.contiguous(memory_format=torch.channels_last)
        low = torch.bfloat16 if "bf16" in self.precision else torch.float16
        with torch.autocast(device, low, enabled=self.fast and "16" in self.precision):
            logits = self.supervised(images)
        loss = F.cross_entropy(logits.float(), self.batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def backbone_of(kind: Kind, device: str) -> str:
    """Return the backbone of an approach on a device, as the plain loop has it."""
    name: str = recipe_on(device, "cnn" if kind in ("cnn", "simclr") else "vit")["backbone"]
    return name


def make_module(kind: Kind, backbone: str, size: int, classes: int = CLASSES) -> BaseModule:
    """Return the module of an approach, with nothing random in it but SimCLR's and MAE's own."""
    torch.manual_seed(0)
    makers: dict[Kind, Callable[..., BaseModule]] = {
        "cnn": CNNClassifier, "vit": ViTClassifier, "simclr": SimCLR, "mae": MAE,
    }  # fmt: skip
    optim = OptimConfig(lr=1e-3, warmup_epochs=0)
    return makers[kind](num_classes=classes, image_size=size, channels=1, optim=optim, backbone=backbone)


def on_device(model: Model, device: str) -> Model:
    """Return a model on a device, with the attention that `fit` gives it there."""
    if device == "cpu":
        suit_attention_to_cpu(model, fastest_precision("cpu"))
    return model.to(device)


def forward_loss(module: Any, batch: Batch) -> Tensor:
    """Return the training loss of a batch without a Trainer to log to."""
    logged, module.log = module.log, lambda *_, **__: None
    try:
        loss: Tensor = module._step(batch, "train")
    finally:
        module.log = logged
    return loss


def fixed_batch(size: int, pixels: int, *, views: int, device: str) -> Batch:
    """Return a batch of noise on the device, (B, 1, H, W) or (2, B, 1, H, W)."""
    generator = torch.Generator().manual_seed(0)
    shape = (*((2,) if views == 2 else ()), size, 1, pixels, pixels)
    images = torch.randn(shape, generator=generator).to(device)
    targets = torch.randint(CLASSES, (size,), generator=generator).to(device)
    return Batch(images, targets, torch.arange(size, device=device))
