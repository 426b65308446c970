"""Saliency of pixels from the outside, for any network: integrated gradients and occlusion, by captum.

Shapes: B images, C channels, H, W pixels.
"""

from functools import partial

import torch
from torch import Tensor

from vitlab.explain.saliency.score import logits
from vitlab.models.base import BaseModule

# The paper takes 20 to 300 steps (section 5).
STEPS = 32


def integrated_gradients(model: BaseModule, inputs: Tensor, targets: Tensor, baseline: Tensor) -> Tensor:
    """Return integrated gradients, (B, C, H, W), signed: they sum to what the target logit gained over the baseline.

    Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", arXiv:1703.01365, along 32 steps of a
    Gauss-Legendre quadrature.

    Args:
        model: A classifier.
        inputs: Normalised images (B, C, H, W).
        targets: Classes (B,).
        baseline: The image without evidence, normalised (1, C, H, W). Where it equals the image, nothing is attributed.
    """
    from captum.attr import IntegratedGradients

    found: Tensor = IntegratedGradients(partial(logits, model)).attribute(
        inputs.detach().requires_grad_(), baseline.expand_as(inputs), target=targets, n_steps=STEPS,
        internal_batch_size=len(inputs),
    )  # fmt: skip
    return found.detach().float()


def occlusion(model: BaseModule, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return what the target logit loses where a square is covered by the training mean, (B, H, W), signed.

    Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901, section 4.2. The
    square has a quarter of the image's side and steps by half of its own; a pixel has the mean of the squares over it.

    Args:
        model: A classifier.
        inputs: Normalised images (B, C, H, W), 0 at the training mean.
        targets: Classes (B,).
    """
    from captum.attr import Occlusion

    channels, side = inputs.shape[1], inputs.shape[-1]
    square = max(1, side // 4)
    step = max(1, square // 2)
    with torch.no_grad():
        found: Tensor = Occlusion(partial(logits, model)).attribute(
            inputs, (channels, square, square), (channels, step, step), target=targets
        )
    return found[:, 0].float()  # the square covers all channels: they are alike
