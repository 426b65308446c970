"""The logit that a map explains, and where in the network it is explained from.

Shapes: B images, C channels, H, W pixels, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vitlab.models.base import BaseModule


def logits(model: BaseModule, inputs: Tensor) -> Tensor:
    """Return a classifier's logits (B, K) of normalised images (B, C, H, W).

    They are those of `model(inputs)`. A linear probe's forward cuts the gradient at its frozen backbone; this does not.
    """
    found: Tensor = model.get_submodule("head")(model.backbone(inputs).float())
    return found


@contextmanager
def leaf_at(module: nn.Module) -> Iterator[list[Tensor]]:
    """Let the graph start at a module's output, so that only what comes after it is differentiated.

    Args:
        module: Called once by the forward within.

    Yields:
        What will hold the output, a leaf that asks for a gradient. The hook is gone afterwards, also after an error.
    """
    leaves: list[Tensor] = []

    def start(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # the next layer may work in place, which a leaf forbids

    handle = module.register_forward_hook(start)
    try:
        yield leaves
    finally:
        handle.remove()


def gradient(found: Tensor, targets: Tensor, at: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of each image's target logit at tensors of its graph, in their shapes.

    Args:
        found: Logits (B, K).
        targets: Classes (B,).
        at: Tensors whose first axis is the images.
    """
    # Images do not mix, so the gradients of the sum of their target logits are each one's own.
    return torch.autograd.grad(found.gather(1, targets[:, None]).sum(), at)
