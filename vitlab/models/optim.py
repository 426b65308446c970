"""Optimizer and schedule: parameter groups, layer-wise decay, warm-up and cosine, scaling by the global batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

UNDECAYED = ("pos_embed", "cls_token", "reg_token", "mask_token")

# Setting, what holds for it, and that in words.
_RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("lr", lambda value: value > 0, "above 0, such as 0.001"),
    ("weight_decay", lambda value: value >= 0, "of at least 0, such as 0.05"),
    ("warmup_epochs", lambda value: value >= 0, "of at least 0, such as 5"),
    ("min_lr_ratio", lambda value: 0 <= value <= 1, "in [0, 1], such as 0.01"),
    ("momentum", lambda value: 0 <= value < 1, "in [0, 1), such as 0.9"),
    ("layer_decay", lambda value: 0 < value <= 1, "in (0, 1], such as 0.75"),
    ("betas", lambda value: all(0 <= beta < 1 for beta in value), "in [0, 1) for each, such as [0.9, 0.999]"),
    ("base_batch_size", lambda value: value >= 1, "of at least 1, such as 256"),
)


@dataclass
class OptimConfig:
    """How a model is optimised.

    Args:
        optimizer: AdamW; SGD with Nesterov momentum; or LARS (arXiv:1708.03888) for large SimCLR batches.
        lr: Peak learning rate, at `base_batch_size` images a step where `lr_scaling` is not none.
        weight_decay: Decoupled for AdamW; norms, biases and embeddings have none.
        warmup_epochs: Epochs of linear warm-up from 0, at most half of the run.
        min_lr_ratio: Learning rate at the end of the cosine, as a share of the peak.
        betas: AdamW's decay rates of the moments.
        momentum: Of SGD and LARS.
        layer_decay: Factor on the learning rate from each layer to the one before it (BEiT, MAE fine-tuning); 1 is off.
        lr_scaling: How `lr` grows with the global batch (all devices, accumulated batches): not, linearly, or by its
            root.
        base_batch_size: Global batch that `lr` is stated for.
    """

    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 5
    min_lr_ratio: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    layer_decay: float = 1.0
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    base_batch_size: int = 256

    def __post_init__(self) -> None:
        for setting, is_valid, words in _RANGES:
            value = getattr(self, setting)
            if not is_valid(value):
                raise ValueError(f"model.optim.{setting} is {value}; give a number {words}")
        self.betas = tuple(self.betas)  # type: ignore[assignment]  # a checkpoint gives a list back

    def scaled_lr(self, global_batch: int) -> float:
        """Return the peak learning rate at a global batch."""
        ratio = global_batch / self.base_batch_size
        return self.lr * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[self.lr_scaling]

    def batch_words(self, batch: int, global_batch: int) -> str:
        """Return what several devices make of batch and learning rate, and where nothing scales it, what would.

        The rules are linear for SGD (arXiv:1706.02677) and LARS, and the root for AdamW (arXiv:2205.10287).

        Args:
            batch: Images a batch and device.
            global_batch: Images a step.
        """
        words = f"steps of {global_batch} images, {batch} a batch and device; peak learning rate "
        if self.lr_scaling != "none":
            return f"{words}{self.scaled_lr(global_batch):g} ({self.lr_scaling} in steps of {self.base_batch_size})"
        rule = "sqrt" if self.optimizer == "adamw" else "linear"
        return (
            f"{words}{self.lr:g}, as on one device: where it was chosen for steps of {batch}, divide data.batch_size "
            f"by {global_batch // batch}, or set --model.optim.lr_scaling={rule} --model.optim.base_batch_size={batch}"
        )


def parameter_groups(module: nn.Module, backbone: nn.Module, config: OptimConfig, lr: float) -> list[dict[str, Any]]:
    """Split the trainable parameters by weight decay and, in the backbone, by depth.

    Args:
        module: The whole model; what lies outside the backbone takes the full learning rate.
        backbone: A timm model, part of `module`.
        config: Settings.
        lr: Peak learning rate.

    Returns:
        Groups with `params`, `weight_decay` and `lr`, the layer's factor multiplied in: torch's optimizers ignore
        timm's `lr_scale`.
    """
    groups: list[dict[str, Any]] = []
    inside: set[int] = set()
    if config.layer_decay < 1:
        # timm counts a classifier as the last layer; ours lies outside, so its scale starts one layer down
        for group in param_groups_layer_decay(
            backbone, config.weight_decay, no_weight_decay_list=UNDECAYED, layer_decay=config.layer_decay
        ):
            inside.update(id(parameter) for parameter in group["params"])
            groups.append(
                {"params": group["params"], "weight_decay": group["weight_decay"],
                 "lr": lr * group["lr_scale"] * config.layer_decay}
            )  # fmt: skip
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and id(parameter) not in inside:
            is_plain = parameter.ndim <= 1 or name.rpartition(".")[2] in UNDECAYED
            (undecayed if is_plain else decayed).append(parameter)
    groups.append({"params": decayed, "weight_decay": config.weight_decay, "lr": lr})
    groups.append({"params": undecayed, "weight_decay": 0.0, "lr": lr})
    return [group for group in groups if group["params"]]


def warmup_cosine(step: int, *, warmup: int, total: int, floor: float) -> float:
    """Return the factor on the learning rate at a step: linear from 0, then half a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimizer(
    module: nn.Module,
    backbone: nn.Module,
    config: OptimConfig,
    *,
    total_steps: int,
    steps_per_epoch: float,
    global_batch: int,
) -> dict[str, Any]:
    """Return optimizer and per-step schedule in Lightning's form.

    Args:
        module: The model.
        backbone: Its timm model.
        config: Settings.
        total_steps: Optimizer steps of the whole run.
        steps_per_epoch: Optimizer steps of an epoch, to turn warm-up epochs into steps.
        global_batch: Images a step over all devices.
    """
    groups = parameter_groups(module, backbone, config, config.scaled_lr(global_batch))
    optimizer: torch.optim.Optimizer
    if config.optimizer == "adamw":
        # one kernel for all weights: a third of the time of the other forms, on CPUs too
        optimizer = torch.optim.AdamW(groups, betas=config.betas, fused=True)
    elif config.optimizer == "sgd":
        nesterov = config.momentum > 0
        optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)
    else:
        from lightly.utils.lars import LARS

        optimizer = LARS(groups, lr=config.lr, momentum=config.momentum)
    # Fused optimizers offer to undo fp16's loss scaling themselves, and Lightning then refuses to clip gradients, under
    # bf16 too. Without the offer the scaler undoes it before clipping.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    warmup = round(min(config.warmup_epochs * steps_per_epoch, total_steps / 2))

    def factor(step: int) -> float:
        return warmup_cosine(step, warmup=warmup, total=total_steps, floor=config.min_lr_ratio)

    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}
