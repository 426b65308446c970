"""Descriptors of low spatial frequencies: near copies lie close together, whatever a set of brains has in common.

A descriptor is linear in the pixels (a warp, then a discrete cosine transform), so that what an image would look like
cropped or turned is a matrix product away; whitening by the set's own covariance takes out what all images share
(Jégou and Chum 2012, doi 10.1007/978-3-642-33709-3_55).

Shapes: N images, S = 96 pixels, D descriptor length, K coefficients.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.blocks import block_means

Floats = NDArray[np.float32]

GRID = 32  # pixels a side that descriptors are computed from
_SAMPLES = 24  # a side after a warp
_ORDER = 14  # cosine terms a side; those of total order 1 to 13 are kept
DIMENSIONS = 96  # after whitening
_EVIDENCE = 50.0  # images' worth of trust in equal variances: small sets are whitened with care
_FLOOR = 0.02  # of the mean variance is added to each: the last components are noise

_rows, _columns = np.divmod(np.arange(_ORDER * _ORDER), _ORDER)
_kept = (_rows + _columns > 0) & (_rows + _columns < _ORDER)  # without the mean: brightness does not count
_I, _J = _rows[_kept], _columns[_kept]
_PLACE = {(i, j): place for place, (i, j) in enumerate(zip(_I.tolist(), _J.tolist(), strict=True))}
_SWAPPED = np.array([_PLACE[j, i] for i, j in zip(_I.tolist(), _J.tolist(), strict=True)])


def turned(coefficients: Floats, turn: int) -> Floats:
    """Return the coefficients (N, K) of the images after one of the 8 flips and quarter turns.

    Args:
        coefficients: Of the upright images, (N, K).
        turn: Bits: 4 transposes, then 2 flips up and down, then 1 flips left and right.
    """
    signs = (-1.0) ** ((turn >> 1 & 1) * _I) * (-1.0) ** ((turn & 1) * _J)
    chosen = coefficients[:, _SWAPPED] if turn & 4 else coefficients
    swapped: Floats = chosen * signs.astype(np.float32)
    return swapped


@cache
def hypotheses() -> tuple[tuple[NDArray[np.float64], ...], Floats]:
    """Return what a copy may show of the original, maps and operators; the first is the whole of it.

    Returns:
        Maps (2, 3) from the copy's coordinates to the original's, both from -0.5 to 0.5, and the operators that give
        the coefficients of the original seen so, (H, K, GRID * GRID).
    """
    maps = [np.array([[1.0, 0, 0], [0, 1.0, 0]])]
    # Shares cut from the two ends of an axis.
    sides = [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.18, 0.0), (0.0, 0.18), (0.08, 0.08)]
    windows = [(*x, *y) for x in sides for y in sides][1:]
    windows += [(0.06, 0, 0, 0), (0, 0.06, 0, 0), (0, 0, 0.06, 0), (0, 0, 0, 0.06)]
    for left, right, top, bottom in windows:
        x, y = (left - right) / 2, (top - bottom) / 2
        maps.append(np.array([[1 - left - right, 0, x], [0, 1 - top - bottom, y]]))
    for degrees in (-10, -5, 5, 10):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        maps.append(np.array([[cosine, -sine, 0], [sine, cosine, 0]]))
    places = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    waves = np.cos(np.pi * np.arange(_ORDER)[:, None] * places)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    transform = np.einsum("iy,jx->ijyx", waves, waves).reshape(_ORDER**2, _SAMPLES**2)[_kept]
    return tuple(maps), np.stack([transform @ _sampler(matrix) for matrix in maps]).astype(np.float32)


def _sampler(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the bilinear sampling of a warped image as a matrix, (_SAMPLES ** 2, GRID ** 2)."""
    places = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    y, x = np.meshgrid(places, places, indexing="ij")
    at = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)]) + 0.5
    at = np.clip(at * GRID - 0.5, 0, GRID - 1)
    low = np.minimum(at.astype(int), GRID - 2)
    weight = at - low
    sampling, rows = np.zeros((_SAMPLES**2, GRID**2)), np.arange(_SAMPLES**2)
    for down in (0, 1):
        for right in (0, 1):
            share = (weight[0] if right else 1 - weight[0]) * (weight[1] if down else 1 - weight[1])
            np.add.at(sampling, (rows, (low[1] + down) * GRID + low[0] + right), share)
    return sampling


def shrink(frames: NDArray[np.uint8]) -> Floats:
    """Return frames (N, S, S) at GRID pixels a side, flat, (N, GRID * GRID)."""
    return block_means(frames, frames.shape[1] // GRID).reshape(len(frames), GRID * GRID)


class Whitening:
    """Makes unit descriptors (N, D) of coefficients: contrast, and what the set has in common, taken out.

    Args:
        coefficients: Of the set's images, or of a sample of them, (N, K).
    """

    def __init__(self, coefficients: Floats) -> None:
        directions = _unit(coefficients)
        self.mean = directions.mean(0)
        centred = (directions - self.mean).astype(np.float64)
        variances, axes = np.linalg.eigh(centred.T @ centred / max(1, len(centred)))
        variances, axes = variances[::-1][:DIMENSIONS], axes[:, ::-1][:, :DIMENSIONS]
        mean = max(float(variances.mean()), 1e-12)
        trusted = (len(centred) * variances + _EVIDENCE * mean) / (len(centred) + _EVIDENCE)
        self.axes = (axes / np.sqrt(trusted + _FLOOR * mean)).astype(np.float32)

    def __call__(self, coefficients: Floats) -> Floats:
        """Return descriptors of length 1, (N, D)."""
        return _unit((_unit(coefficients) - self.mean) @ self.axes)


def _unit(rows: Floats) -> Floats:
    scaled: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return scaled
