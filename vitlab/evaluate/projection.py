"""Features of many dimensions in a plane: principal components (Pearson 1901)."""

import numpy as np
from numpy.typing import NDArray

FILE = "features.npz"  # in a run folder: features (N, D), index (N,): rows of the manifest


def main_axes(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[float]]:
    """Project features onto the two axes along which they vary most (PCA).

    An axis points to where its largest weight is positive, so that the same features give the same picture.

    Args:
        features: (N, D).

    Returns:
        (N, 2) places, and the share of the variance along each axis.
    """
    centred = features - features.mean(0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    some = min(2, len(sizes))
    largest = np.abs(axes[:some]).argmax(1)
    signs = np.where(axes[np.arange(some), largest] < 0, -1.0, 1.0)
    places = np.zeros((len(features), 2))
    places[:, :some] = left[:, :some] * sizes[:some] * signs
    variances = sizes**2
    total = float(variances.sum()) or 1.0
    return places, [*(float(v) / total for v in variances[:some]), 0.0, 0.0][:2]
