"""Saliency over an image, as a PNG."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 256  # pixels, about: small images are enlarged by a whole number
OPACITY = 0.5  # at the map's maximum


def write_overlay(image: NDArray[np.uint8], saliency: NDArray[np.float32], path: Path) -> None:
    """Write an image, and beside it the same image under its saliency, each map from 0 to its own maximum.

    Args:
        image: uint8 (C, H, W).
        saliency: (H, W), at least 0.
        path: The PNG.
    """
    from matplotlib import colormaps

    plain = np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)).astype(np.float64)
    strength = saliency / max(float(saliency.max()), 1e-12)
    colour = 255 * colormaps["inferno"](strength)[..., :3]
    share = OPACITY * strength[..., None]
    pair = np.concatenate([plain, (1 - share) * plain + share * colour], 1)
    zoom = max(1, SIDE // image.shape[1])
    picture = Image.fromarray(np.rint(pair).astype(np.uint8))
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST).save(path, "PNG")
