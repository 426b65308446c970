"""Saliency maps of a run by a named method: one shape and one meaning, whichever the method and the network.

Shapes: N images, B of a batch, C channels, H, W pixels, K classes.
"""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from vitlab.explain.runs.loaded import Loaded
from vitlab.explain.saliency.attention import gradient_attention, rollout, shows_attention
from vitlab.explain.saliency.cam import grad_cam
from vitlab.explain.saliency.pixels import integrated_gradients, occlusion
from vitlab.explain.saliency.score import logits

Method = Literal["gradcam", "gradcam++", "rollout", "gradient_attention", "integrated_gradients", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
# Of those that a network allows, the first is shown: both are of one class, as rollout is not, and take one pass back.
SHOWN: tuple[Method, ...] = ("gradient_attention", "gradcam")


def methods_for(run: Loaded) -> tuple[Method, ...]:
    """Return the methods that a run's network allows, the quickest that shows places first.

    Args:
        run: A classifier's.

    Raises:
        ValueError: It is a pretraining, which has no classes to explain.
    """
    if run.model.pretraining:
        raise ValueError(f"{run.folder} is a pretraining and knows no classes: give a run that was fine-tuned from it")
    if not isinstance(run.model.backbone, VisionTransformer):
        return ("gradcam", "gradcam++", "integrated_gradients", "occlusion")
    if shows_attention(run.model.backbone):
        return ("rollout", "gradient_attention", "gradcam", "integrated_gradients", "occlusion")
    return ("gradcam", "integrated_gradients", "occlusion")


def shown_method(run: Loaded) -> Method:
    """Return the method whose maps are shown where there is room for one.

    Args:
        run: A classifier's.
    """
    allowed = methods_for(run)
    return next(name for name in SHOWN if name in allowed)


def saliency_maps(
    run: Loaded, rows: NDArray[np.int64], method: Method, targets: ArrayLike | None = None, *, batch: int = 64
) -> NDArray[np.float32]:
    """Return maps of a run's own images, float32 (N, H, W), at least 0; bigger counts more for the target's logit.

    Args:
        run: A classifier's.
        rows: The images' rows in the manifest, (N,).
        method: One of `methods_for(run)`.
        targets: Class indices (N,), or the class that the run predicts. Rollout is the same for all.
        batch: Images at a time.

    Raises:
        ValueError: The network does not allow the method.
    """
    check(run, method)  # also of no images
    chosen = None if targets is None else np.asarray(targets)
    assert chosen is None or chosen.shape == (len(rows),)
    parts = [
        image_maps(run, run.images(rows[part]), method, None if chosen is None else chosen[part], batch=batch)
        for part in (slice(start, start + batch) for start in range(0, len(rows), batch))
    ]
    side = run.model.image_size
    return np.concatenate(parts) if parts else np.empty((0, side, side), np.float32)


def image_maps(
    run: Loaded, images: Tensor, method: Method, targets: ArrayLike | None = None, *, batch: int = 64
) -> NDArray[np.float32]:
    """Return maps of given images as `saliency_maps` does.

    Args:
        run: A classifier's.
        images: uint8, or floats in [0, 255], (N, C, H, W) with N >= 1.
        method: One of `methods_for(run)`.
        targets: Class indices (N,), or the class that the run predicts.
        batch: Images at a time.

    Raises:
        ValueError: The network does not allow the method.
    """
    check(run, method)
    chosen = None if targets is None else torch.as_tensor(np.asarray(targets, np.int64)).to(run.device)
    assert chosen is None or chosen.shape == (len(images),)
    maps = []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        inputs = run.normalise(images[part].to(run.device))
        if chosen is None:
            with torch.no_grad():
                asked = logits(run.model, inputs).argmax(1)
        else:
            asked = chosen[part]
        coarse = batch_maps(run, inputs, method, asked)
        fine = F.interpolate(coarse[:, None], inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        maps.append(fine.cpu().numpy())
    found: NDArray[np.float32] = np.concatenate(maps)
    return found


def batch_maps(run: Loaded, inputs: Tensor, method: Method, targets: Tensor) -> Tensor:
    """Return maps (B, h, w) in the method's own resolution, at least 0.

    Args:
        run: A classifier's.
        inputs: Normalised images (B, C, H, W).
        method: One of `methods_for(run)`.
        targets: Classes (B,).
    """
    if method in ("gradcam", "gradcam++"):
        return grad_cam(run.model, inputs, targets, plus_plus=method == "gradcam++")
    if method == "rollout":
        return rollout(run.model, inputs)
    if method == "gradient_attention":
        return gradient_attention(run.model, inputs, targets)
    if method == "occlusion":
        return occlusion(run.model, inputs, targets).relu()  # what raises the logit when covered spoke against it
    black = run.normalise(torch.zeros_like(inputs[:1]))  # the paper's choice for images
    # Evidence for and against: one pixel's sign flips with its neighbour's, and only their sizes show a place.
    return integrated_gradients(run.model, inputs, targets, black).sum(1).abs()


def check(run: Loaded, method: Method) -> None:
    """Refuse a method that the run's network does not allow.

    Args:
        run: A run.
        method: Asked for.

    Raises:
        ValueError: It does not.
    """
    allowed = methods_for(run)
    if method not in allowed:
        what = type(run.model.backbone).__name__
        raise ValueError(f"{method} does not go with {what} of {run.folder}: choose one of {', '.join(allowed)}")
