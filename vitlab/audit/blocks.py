"""Blocks: pictures at fewer pixels a side, by the mean or the maximum of whole blocks of them.

Slices of rows, then of columns, are worked on at once: several times as fast as numpy's reduction over two short axes.
Sums of 8-bit pixels are whole numbers below 2 ** 24, which float32 holds without rounding, in whatever order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def block_means(pictures: NDArray[np.uint8], step: int) -> NDArray[np.float32]:
    """Return the mean of each block of step x step pixels, (..., H // step, W // step), what is left over not counted.

    Args:
        pictures: (..., H, W).
        step: Side of a block in pixels.
    """
    exact = np.uint16 if step <= 16 else np.float32  # 16 * 16 * 255 fits the former
    sums: NDArray[Any] = pictures
    for axis in (-2, -1):
        first, *others = _slices(sums, step, axis)
        sums = first.astype(exact)
        for part in others:
            sums += part
    means: NDArray[np.float32] = np.divide(sums, np.float32(step**2), dtype=np.float32)
    return means


def block_maxima(pictures: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Return the maximum of each block, as `block_means` does the mean."""
    for axis in (-2, -1):
        first, *others = _slices(pictures, step, axis)
        pictures = first.copy()
        for part in others:
            np.maximum(pictures, part, out=pictures)
    return pictures


def _slices(pictures: NDArray[Any], step: int, axis: int) -> list[NDArray[Any]]:
    """Return every step-th line from the first, from the second, and so on, all of whole blocks."""
    whole = pictures.shape[axis] // step * step
    lines = [slice(place, whole, step) for place in range(step)]
    return [pictures[..., line] if axis == -1 else pictures[..., line, :] for line in lines]
