"""Maps that know nothing of the model: what a saliency map has to beat before its score says anything of it.

A fifth control, the maps of an untrained model, comes from `untrained` and the method itself.

Shapes: N images, C channels, H, W pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 0.25  # standard deviation of the centre blob, of the image's side: it holds most of the head


def centre_blob(count: int, height: int, width: int) -> NDArray[np.float32]:
    """Return the same Gaussian around the middle of each image, (N, H, W): lesions are seldom at the rim.

    The centre bias that Judd et al. 2012, "A Benchmark of Computational Models of Saliency", compare with.

    Args:
        count: N.
        height: H.
        width: W.
    """
    rows, columns = (((np.arange(side) + 0.5) / side - 0.5) / WIDTH for side in (height, width))
    blob = np.exp(-(rows[:, None] ** 2 + columns**2) / 2).astype(np.float32)
    return np.repeat(blob[None], count, axis=0)


def edge_maps(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the steepness of each image, (N, H, W): Sobel's gradient of the mean over channels.

    Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 5.1: maps that look right may be edge detectors.

    Args:
        images: uint8 (N, C, H, W).
    """
    from scipy.ndimage import sobel

    gray = images.mean(1, dtype=np.float64)
    steepness: NDArray[np.float32] = np.hypot(sobel(gray, axis=1), sobel(gray, axis=2)).astype(np.float32)
    return steepness


def random_maps(rows: NDArray[np.int64], height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Return noise, (N, H, W), each pixel by itself; the same for an image whatever the others are.

    Args:
        rows: Of the manifest, (N,).
        height: H.
        width: W.
        seed: Of the noise.
    """
    noise = [np.random.default_rng([seed, int(row)]).random((height, width), np.float32) for row in rows]
    return np.stack(noise) if noise else np.empty((0, height, width), np.float32)


def mean_of_others(maps: NDArray[Any], patients: NDArray[Any]) -> NDArray[np.float32]:
    """Return for each image the mean map of the other patients' images, (N, H, W).

    What a method shows of any image says nothing of this one. Maps count alike, whatever their scale; where there is
    one patient only, nothing is known of others and the map is flat.

    Args:
        maps: (N, H, W), at least 0.
        patients: (N,) ids; "" is a patient of its own.
    """
    total = maps.sum((1, 2), keepdims=True, dtype=np.float64)
    scaled = np.where(total > 0, maps / np.where(total > 0, total, 1), 1 / (maps[0].size if len(maps) else 1))
    keys = np.array([name or f"\0{at}" for at, name in enumerate(patients.tolist())], object)
    whole, found = scaled.sum(0), np.ones(maps.shape, np.float32)
    for name in set(keys.tolist()):
        own = keys == name
        if not own.all():
            # Differences of sums may fall a rounding below nothing.
            found[own] = ((whole - scaled[own].sum(0)) / (len(maps) - own.sum())).clip(0)
    return found
