"""Outliers: images unlike all others, such as a photograph, a report or noise among slices.

Shapes: N images, F = GRID * GRID features, R images of reference.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.blocks import block_means
from vitlab.audit.images import Images

GRID: Final = 12  # cells along each side: enough to tell layouts apart, coarse enough to forgive a shift
LEAST: Final = 50  # images: among fewer, nothing can be said of what is usual
_NEIGHBOURS = 5  # an image and four copies of it are still alone
_REFERENCE = 2048  # images that all are compared with first; those that stand out are then compared with all
_FENCE = 3.0  # quartile distances over the upper quartile: Tukey's outer fence, "far out"
_UNLIKE = 0.5  # correlation: what is more alike is no outlier, however alike the others are
_BLOCK = 1024  # images at a time: the squares are read from disk


class Outlier(NamedTuple):
    """A row, the correlation of its layout with its fifth nearest neighbour's, and the set's median of the same."""

    row: int
    likeness: float
    usual: float


def find_outliers(images: Images, usable: NDArray[np.bool_]) -> list[Outlier]:
    """Return images that are far from their nearest neighbours, the farthest first.

    Images are compared by the layout of their content, each with its own brightness and contrast taken off. Neighbours
    and not the mean are the measure, since a set may hold several planes or sequences, each of them usual.

    Args:
        images: What the files hold.
        usable: Rows to compare: readable and not blank, (N,).
    """
    rows = np.flatnonzero(usable)
    if len(rows) < LEAST:
        return []
    layouts_NF = _layouts(images, rows)
    chosen = np.random.default_rng(0).permutation(len(rows))[:_REFERENCE]
    likeness = _to_neighbours(layouts_NF, np.arange(len(rows)), chosen)
    low, high = np.percentile(_distance(likeness), [25, 75])
    usual, fence = float(np.median(likeness)), high + _FENCE * (high - low)

    far = np.flatnonzero((likeness < _UNLIKE) & (_distance(likeness) > fence))
    if len(chosen) < len(rows) and len(far):
        likeness[far] = _to_neighbours(layouts_NF, far, np.arange(len(rows)))
        far = far[(likeness[far] < _UNLIKE) & (_distance(likeness[far]) > fence)]
    far = far[np.argsort(likeness[far], kind="stable")]
    return [Outlier(int(rows[at]), float(likeness[at]), usual) for at in far]


def _distance(likeness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of vectors of length 1 with these correlations."""
    return np.sqrt(np.maximum(2 - 2 * likeness, 0))


def _layouts(images: Images, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the content of the rows as cells of mean brightness, each image with mean 0 and length 1, (N, F)."""
    side = images.content.shape[1] // GRID
    layouts = np.empty((len(rows), GRID * GRID), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = images.content[rows[start : start + _BLOCK]]
        layouts[start : start + len(block)] = block_means(block, side).reshape(len(block), -1)
    layouts -= layouts.mean(1, keepdims=True)
    layouts /= np.maximum(np.linalg.norm(layouts, axis=1, keepdims=True), 1e-6)
    return layouts


def _to_neighbours(
    layouts_NF: NDArray[np.float32], rows: NDArray[np.int64], reference: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the correlation of each row with its fifth nearest in the reference, itself not counted, (rows,)."""
    others_FR = layouts_NF[reference].T
    place = np.full(len(layouts_NF), -1)
    place[reference] = np.arange(len(reference))
    nearest = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        likeness = layouts_NF[part] @ others_FR
        own = np.flatnonzero(place[part] >= 0)
        likeness[own, place[part[own]]] = -2.0
        nearest[start : start + len(part)] = np.partition(likeness, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS]
    return nearest
