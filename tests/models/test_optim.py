import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import timm
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn
from torch.utils.data import DataLoader

from vitlab.models.base import BaseModule
from vitlab.models.optim import OptimConfig, build_optimizer, parameter_groups, warmup_cosine

DEPTH = 3
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Model(nn.Module):
    def __init__(self, backbone=None):
        super().__init__()
        settings = {"patch_size": 8, "embed_dim": 16, "depth": DEPTH, "num_heads": 2, "img_size": 16, "reg_tokens": 1}
        self.backbone = backbone or timm.create_model("vit_tiny_patch16_224", num_classes=0, **settings)
        self.head = nn.Linear(self.backbone.num_features, 3)


def lr_of(groups, parameter):
    found = [group["lr"] for group in groups if any(p is parameter for p in group["params"])]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("layer_decay", [1.0, 0.75])
@pytest.mark.parametrize("name", ["vit", "resnet18"])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(layer_decay, name):
    model = Model(None if name == "vit" else timm.create_model(name, num_classes=0, channels=[8, 8, 8, 8]))
    groups = parameter_groups(model, model.backbone, OptimConfig(weight_decay=0.3, layer_decay=layer_decay), 1.0)
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        is_free = parameter.ndim == 1 or name.endswith(("pos_embed", "cls_token", "reg_token"))
        assert decay[id(parameter)] == (0.0 if is_free else 0.3), name


def test_frozen_parameters_are_left_out():
    model = Model()
    model.backbone.requires_grad_(False)
    for layer_decay in (1.0, 0.5):
        groups = parameter_groups(model, model.backbone, OptimConfig(layer_decay=layer_decay), 1.0)
        assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.head.parameters()}


def test_layers_are_numbered_as_in_beit():
    model, decay = Model(), 0.5
    groups = parameter_groups(model, model.backbone, OptimConfig(layer_decay=decay), 8.0)
    vit = model.backbone
    assert lr_of(groups, model.head.weight) == lr_of(groups, model.head.bias) == 8.0
    for block in range(DEPTH):
        for parameter in vit.blocks[block].parameters():
            assert lr_of(groups, parameter) == 8.0 * decay ** (DEPTH - block)
    for parameter in (vit.cls_token, vit.pos_embed, vit.patch_embed.proj.weight, vit.patch_embed.proj.bias):
        assert lr_of(groups, parameter) == 8.0 * decay ** (DEPTH + 1)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_layer_decay_scales_the_steps_that_are_taken(optimizer):
    model, decay, total, warmup = Model(), 0.5, 10, 4
    rates = {"lr": 0.1, "layer_decay": decay, "warmup_epochs": 2}
    config = OptimConfig(optimizer=optimizer, weight_decay=0.0, momentum=0.0, **rates)
    built = build_optimizer(model, model.backbone, config, total_steps=total, steps_per_epoch=2, global_batch=1)
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    watched = {DEPTH + 1: model.backbone.cls_token, DEPTH: model.backbone.blocks[0].attn.qkv.weight,
               1: model.backbone.blocks[DEPTH - 1].attn.qkv.weight, 0: model.head.weight}  # fmt: skip
    for step in range(total):
        before = {below: parameter.detach().clone() for below, parameter in watched.items()}
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)  # a constant gradient: both optimizers step by exactly lr
        optimizer.step()
        schedule.step()
        falling = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        factor = (step + 1) / warmup if step < warmup else falling
        for below, parameter in watched.items():
            taken = before[below] - parameter.detach()
            torch.testing.assert_close(taken, torch.full_like(taken, 0.1 * decay**below * factor), rtol=1e-3, atol=1e-6)


def test_schedule_rises_falls_and_ends_at_the_floor():
    factors = [warmup_cosine(step, warmup=10, total=110, floor=0.1) for step in range(111)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)]) and factors[10] == 1
    assert factors[60] == pytest.approx(0.55) and factors[110] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in pairwise(factors[10:]))
    assert warmup_cosine(0, warmup=0, total=5, floor=0) == 1 and warmup_cosine(9, warmup=0, total=5, floor=0.2) == 0.2


@pytest.mark.parametrize(("scaling", "lr"), [("none", 0.2), ("linear", 0.8), ("sqrt", 0.4)])
def test_lr_follows_the_global_batch(scaling, lr):
    config = OptimConfig(lr=0.2, lr_scaling=scaling, base_batch_size=256, warmup_epochs=0)
    model = Model()
    built = build_optimizer(model, model.backbone, config, total_steps=5, steps_per_epoch=1, global_batch=1024)
    assert [group["lr"] for group in built["optimizer"].param_groups] == pytest.approx([lr, lr])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars"])
def test_optimizers_lower_a_loss(optimizer):
    model = Model(timm.create_model("resnet18", num_classes=0, channels=[8, 8, 8, 8]))
    # LARS takes steps of lr times a thousandth of the weights' norm
    config = OptimConfig(optimizer=optimizer, lr={"adamw": 1e-2, "sgd": 1e-1, "lars": 5.0}[optimizer], warmup_epochs=1)
    built = build_optimizer(model, model.backbone, config, total_steps=40, steps_per_epoch=4, global_batch=8)
    images, targets = torch.randn(8, 3, 16, 16), torch.randint(3, (8,))
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(model.head(model.backbone(images)), targets)
        built["optimizer"].zero_grad()
        loss.backward()
        built["optimizer"].step()
        built["lr_scheduler"]["scheduler"].step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_lars_leaves_norms_and_biases_unscaled():
    model = Model()
    config = OptimConfig(optimizer="lars", lr=1.0, momentum=0.0, warmup_epochs=0, weight_decay=1e-6)
    built = build_optimizer(model, model.backbone, config, total_steps=9, steps_per_epoch=1, global_batch=1)
    weight, bias = model.head.weight.detach().clone(), model.head.bias.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    built["optimizer"].step()
    torch.testing.assert_close(bias - model.head.bias, torch.ones(3))
    trusted = 0.001 * weight.norm() / torch.ones_like(weight).norm()
    torch.testing.assert_close(weight - model.head.weight, trusted.expand_as(weight), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("lr", 0.0), ("lr", -1.0), ("weight_decay", -0.1), ("warmup_epochs", -1), ("min_lr_ratio", 2.0), ("momentum", 1.0),
     ("layer_decay", 0.0), ("layer_decay", 1.1), ("base_batch_size", 0)],
)  # fmt: skip
def test_values_out_of_range_are_named(setting, value):
    with pytest.raises(ValueError, match=rf"model\.optim\.{setting} is {value}") as caught:
        OptimConfig(**{setting: value})
    assert "\n" not in str(caught.value)


class Regression(BaseModule):
    """The least that the trainer takes, to see the schedule under it."""

    def __init__(self, **optim):
        super().__init__(num_classes=2, image_size=8, channels=1, optim=OptimConfig(lr=1.0, **optim))
        self.backbone = nn.Linear(4, 1)

    def _step(self, batch, stage):
        return (self.backbone(batch.images) ** 2).mean()


class Rates(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, *_):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit(model, *, batches=6, precision="32-true", **settings):
    rates = Rates()
    data = [SimpleNamespace(images=torch.ones(3, 4), targets=torch.zeros(3)) for _ in range(batches)]
    loader = DataLoader(data, batch_size=None, collate_fn=lambda batch: batch)
    Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, precision=precision,
        enable_model_summary=False, callbacks=[rates], **settings,
    ).fit(model, loader)  # fmt: skip
    return rates.seen


def test_schedule_spans_the_run_step_by_step():
    # after each step the optimizer holds the rate of the next one
    expected = [warmup_cosine(step, warmup=6, total=18, floor=0) for step in range(1, 19)]
    assert fit(Regression(warmup_epochs=1), max_epochs=3) == pytest.approx(expected)


def test_schedule_with_max_steps_and_accumulated_batches():
    for steps, warmup in ((15, 6), (9, 4)):  # an epoch, or half of a short run
        seen = fit(Regression(warmup_epochs=1), max_steps=steps, max_epochs=-1)
        wanted = [warmup_cosine(step, warmup=warmup, total=steps, floor=0) for step in range(1, steps + 1)]
        assert seen == pytest.approx(wanted)
    seen = fit(Regression(warmup_epochs=1), max_epochs=4, accumulate_grad_batches=2)
    assert seen[1::2] == pytest.approx([warmup_cosine(step, warmup=3, total=12, floor=0) for step in range(1, 13)])
    seen = fit(Regression(warmup_epochs=2), max_epochs=6, accumulate_grad_batches=4)  # four batches and two, an epoch
    steps = [seen[6 * epoch + last] for epoch in range(6) for last in (3, 5)]
    assert steps == pytest.approx([warmup_cosine(step, warmup=4, total=12, floor=0) for step in range(1, 13)])


def test_a_run_without_end_is_refused():
    with pytest.raises(ValueError, match=r"--trainer\.max_epochs"):
        fit(Regression(), max_epochs=-1)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_gradients_can_be_clipped_in_every_precision(optimizer, precision):
    model = Regression(optimizer=optimizer, warmup_epochs=0, momentum=0.0, weight_decay=0.0)
    with torch.no_grad():
        model.backbone.weight.fill_(100.0)
    before = model.backbone.weight.detach().clone()
    fit(model, max_steps=1, max_epochs=-1, gradient_clip_val=1e-2, precision=precision)
    moved = (model.backbone.weight - before).norm().item()
    if optimizer == "sgd":
        assert 0.008 < moved <= 0.01  # the gradient has norm 3600 without clipping
    else:
        assert moved > 0
