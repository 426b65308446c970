"""FSDP2: weights, gradients and optimizer states cut over all devices, for models that one device cannot hold.

Zhao et al., PyTorch FSDP, 2023, https://arxiv.org/abs/2304.11277; `fully_shard` of torch, through Lightning's
`ModelParallelStrategy`.
"""

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

# What is called from outside and uses weights; all processes have to call it together.
STEPS = ("training_step", "validation_step", "test_step", "predict_step", "reconstruct")


class FullySharded(ModelParallelStrategy):
    """Shards over all devices of all machines; checkpoints are those of any other strategy, whole and in one file."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Take all devices: Lightning's `auto` is the number of machines."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(module: LightningModule, backbone: nn.Module, mesh: DeviceMesh) -> None:
    """Cut a model in place: each block of the backbone, which is gathered while it runs, and all that is left.

    Args:
        module: The model; a second call does nothing.
        backbone: Its timm model: what its lists hold (blocks, layers, stages) are the blocks.
        mesh: Devices to shard over, one dimension.
    """
    if isinstance(module, FSDPModule):
        return
    module.to(memory_format=torch.contiguous_format)  # images alone then say channels_last: FSDP cuts plain weights
    for part in backbone.children():
        if isinstance(part, nn.Sequential | nn.ModuleList):
            for block in part:
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for name in STEPS:
        if hasattr(module, name):
            register_fsdp_forward_method(module, name)
