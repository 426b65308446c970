"""Whether maps depend on what was learned: their similarity to maps of models with other weights.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292: a map that hardly changes when weights are
drawn anew, or when the model was trained on shuffled labels, shows the image and not the model.

Shapes: N images, H, W pixels, S stages.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from vitlab.explain.runs.loaded import Loaded
from vitlab.explain.runs.untrained import untrained

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Similarity:
    """How alike two sets of maps are, image by image; 1 is the same.

    Attributes:
        ssim: Structural similarity (Wang et al. 2004), (N,).
        rank: Spearman's rank correlation of the pixels, (N,); 0 where a map is flat.
    """

    ssim: NDArray[np.float64]
    rank: NDArray[np.float64]


@dataclass(frozen=True)
class Cascade:
    """Similarity to the trained model's maps as its weights are lost from the head downwards.

    Attributes:
        stages: Names (S,); at each, this part and all before it have new weights. The last is the whole model.
        ssim: (S, N).
        rank: (S, N).
    """

    stages: list[str]
    ssim: NDArray[np.float64]
    rank: NDArray[np.float64]


def similarity(maps: Maps, others: Maps) -> Similarity:
    """Compare two sets of maps of the same images.

    Args:
        maps: (N, H, W), at least 0; H and W at least 11, the width of SSIM's window.
        others: (N, H, W).
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    assert maps.shape == others.shape and maps.ndim == 3
    scaled = [torch.from_numpy(part / np.maximum(part.max((1, 2), keepdims=True), 1e-12))[:, None] for part in
              (maps, others)]  # fmt: skip
    ssim = structural_similarity_index_measure(scaled[0], scaled[1], reduction="none", data_range=1.0)
    ranks = [rankdata(part.reshape(len(part), -1), axis=1) for part in (maps, others)]
    a, b = (part - part.mean(1, keepdims=True) for part in ranks)
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    rank = np.divide((a * b).sum(1), size, out=np.zeros(len(maps)), where=size > 0)
    assert isinstance(ssim, torch.Tensor)
    return Similarity(ssim.double().numpy().reshape(-1), rank)


def cascade(run: Loaded, explain: Callable[[Loaded], Maps], *, seed: int = 0) -> Cascade:
    """Draw the weights anew, from the head downwards, and compare the maps at each stage with the trained model's.

    Args:
        run: A classifier's; it is left as it is.
        explain: Makes maps (N, H, W) of the same images and targets for any run, as
            `partial(saliency_maps, rows=rows, method="gradcam", targets=targets)` does. Without targets each model
            would explain its own prediction.
        seed: Of the new weights.
    """
    trained = explain(run)
    working = untrained(run, seed)
    drawn = {name: value.clone() for name, value in working.model.state_dict().items()}
    working.model.load_state_dict(run.model.state_dict(), strict=True)
    own = working.model.state_dict()  # the model's own tensors
    found = []
    stages = parts(working.model)
    for names in stages.values():
        for name in names:
            own[name].copy_(drawn[name])
        found.append(similarity(trained, explain(working)))
    return Cascade(list(stages), np.stack([part.ssim for part in found]), np.stack([part.rank for part in found]))


def parts(model: nn.Module) -> dict[str, list[str]]:
    """Return part -> its names in the state dict, from the head downwards: the head, and each layer of the backbone.

    Blocks of a ViT and stages of a CNN are parts. What the backbone holds itself (position embeddings, class token)
    goes with its first layer.

    Args:
        model: A classifier.
    """
    layers: list[str] = []
    for name, child in model.get_submodule("backbone").named_children():
        inner = [f"{name}.{key}" for key, _ in child.named_children()] if name in ("blocks", "stages", "layers") else []
        layers += inner or [name]
    found: dict[str, list[str]] = {part: [] for part in ("head", *reversed(layers))}
    filled = [layer for layer in layers if any(True for _ in model.get_submodule(f"backbone.{layer}").parameters())]
    for name in model.state_dict():
        if name.startswith("head."):
            found["head"].append(name)
        elif name.startswith("backbone."):
            key = name.removeprefix("backbone.")
            found[next((layer for layer in layers if key.startswith(f"{layer}.")), filled[0])].append(name)
    return {part: names for part, names in found.items() if names}
