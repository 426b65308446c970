"""Whether a map names the pixels that the model uses, without masks: insertion and deletion curves.

Shapes: N images, B of a batch, C channels, H, W pixels, K classes.
"""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from vitlab.explain.runs.loaded import Loaded

# RISE's code blurs with 11 taps of sigma 5, at 224 px; in smaller images that hides more, which insertion wants.
TAPS, SIGMA = 11, 5.0


def insertion_deletion(
    run: Loaded,
    images: Tensor,
    maps: NDArray[np.float32],
    targets: ArrayLike,
    *,
    steps: int = 16,
    batch: int = 64,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the areas under the insertion and the deletion curves, each (N,), 0..1.

    Petsiuk et al. 2018, "RISE", arXiv:1806.07421, section 4.2, and https://github.com/eclique/RISE: pixels come into a
    blurred copy of the image, or are replaced by the training mean, in the order of the map, the most important first;
    the area is under the target's probability. A faithful map has a large insertion and a small deletion.

    Args:
        run: A classifier's.
        images: uint8 (N, C, H, W).
        maps: Of these images, (N, H, W); only their order counts.
        targets: Class indices (N,).
        steps: Equal parts of the pixels.
        batch: Images at a time.
        seed: Of the order among pixels that a map holds equal, so that no corner comes first.
    """
    chosen = np.asarray(targets, np.int64)
    assert maps.shape == (len(images), *images.shape[2:]) and chosen.shape == (len(images),) and steps >= 1
    rng = np.random.default_rng(seed)
    areas = np.zeros((2, len(images)))
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        full = images[part].to(run.device).float()
        places = torch.from_numpy(order(maps[part], rng)).to(run.device)[:, None]
        blurred = gaussian_blur(full, [TAPS, TAPS], [SIGMA, SIGMA])
        gone = training_mean(run, full)
        for curve, (before, after) in enumerate(((blurred, full), (full, gone))):
            heights = []
            for step in range(steps + 1):
                mixed = torch.where(places < step * places[0].numel() / steps, after, before)
                heights.append(run.probabilities(mixed)[np.arange(len(full)), chosen[part]])
            areas[curve, part] = sum((low + high) / 2 for low, high in pairwise(heights)) / steps
    return areas[0], areas[1]


def order(maps: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the place of each pixel, 0 the most important, (B, H, W); equal ones are in random order.

    Args:
        maps: (B, H, W).
        rng: For the random order.
    """
    flat = maps.reshape(len(maps), -1)
    sequence = np.lexsort((rng.random(flat.shape), -flat))
    places: NDArray[np.int64] = np.argsort(sequence, axis=1).reshape(maps.shape)
    return places


def training_mean(run: Loaded, like: Tensor) -> Tensor:
    """Return the training split's mean of each channel in [0, 255], (1, C, 1, 1): what normalises to 0.

    Args:
        run: Whose training split.
        like: Any images (B, C, H, W), for the type and the channels.
    """
    black, white = (run.normalise(torch.full_like(like[:1, :, :1, :1], value)) for value in (0, 255))
    return 255 * black / (black - white)
