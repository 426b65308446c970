"""Batch norms over the global batch, on CPUs too: several processes then normalise as one does.

torch's own need a GPU, and its conversion to them drops the activation that timm keeps inside of some norms.

Shapes: B images of this process, C channels, any further dimensions.
"""

from typing import Any

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class CpuSyncBatchNorm(_BatchNorm):
    """Ioffe and Szegedy's batch norm (arXiv:1502.03167) with the statistics of all processes, from two sums over them.

    No `nn.SyncBatchNorm`: DDP refuses those on a CPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of dimensions, as torch's synchronised one does."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...) by mean and variance over the batches of all processes, in training."""
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        values = input.float()
        n = _summed(values.new_tensor(input.numel() / input.shape[1]))
        mean = _summed(values.sum(dims)) / n
        # around the mean of all, in a second sum: squares around 0 lose digits
        centred = values - mean.view(shape)
        var = _summed(centred.square().sum(dims)) / n
        self._track(mean.detach(), (var * n / (n - 1)).detach())
        normalised = centred * (var + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.type_as(input)

    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics (C,), as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var, share)


class CpuSyncBatchNormAct(CpuSyncBatchNorm):
    """timm's `BatchNormAct2d` over all processes: it applies dropout and activation itself."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W) and apply the activation."""
        activated: Tensor = self.act(self.drop(super().forward(input)))
        return activated


def synchronise(module: nn.Module, device: torch.device) -> None:
    """Replace every batch norm inside of a module, with the same weights under the same names; twice is once.

    Args:
        module: No batch norm itself.
        device: Where it will run.
    """
    if device.type == "cpu":
        _synchronise_on_cpu(module)
    elif not any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules()):
        convert_sync_batchnorm(module)  # to torch's, and timm's around them


def _synchronise_on_cpu(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, CpuSyncBatchNorm):
            continue
        if not isinstance(child, _BatchNorm):
            _synchronise_on_cpu(child)
            continue
        settings = child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
        if isinstance(child, BatchNormAct2d):
            norm: CpuSyncBatchNorm = CpuSyncBatchNormAct(*settings)
            norm.drop, norm.act = child.drop, child.act
        else:
            norm = CpuSyncBatchNorm(*settings)
        norm.weight, norm.bias = child.weight, child.bias
        norm.running_mean, norm.running_var = child.running_mean, child.running_var
        norm.num_batches_tracked = child.num_batches_tracked
        setattr(module, name, norm.train(child.training))


class _Summed(torch.autograd.Function):
    """The sum of a tensor over all processes; each has a part in the losses of all, so gradients are summed too."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _summed(part: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(part)
    return total
