"""What is in a picture: the box of the object, the pixels without padding, gray of eight bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.audit.blocks import block_means

_CONTENT_SIDE = 128  # pixels; the object's box needs no more
# Seen on cheng, brain_tumor_mri and the phantom: a head's dim rim stands out by more than a tenth of its range, noise
# and dust do not fill a thirtieth of a line.
_CONTENT_LEVEL = 0.12  # of the range from background to the brightest half per cent
_CONTENT_SHARE = 0.03  # of a row or column above that level
_LEAST_RANGE = 8.0  # gray levels: in a nearly flat picture nothing stands out
_LEAST_SIDE = 8  # pixels
_LEAST_CONTENT = 0.2  # of a side: a smaller box is a mark, not the object
_FLAT = 12.0  # gray levels between the ends of a line of padding, JPEG's ringing included
_EIGHT_BITS = 255
_DEPTHS = (257, 256, 16)  # 8 bits in 16 by repetition or shift, and 8 in 12 or 12 in 16 by shift
_BRIGHT = 0.25  # of the range: brighter flat bands are padding


def content_box(gray: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return where the object is: left, top, right, bottom as shares of the image (H, W); all of it where unclear."""
    step = max(1, max(gray.shape) // _CONTENT_SIDE)
    small = block_means(gray, step)
    height, width = small.shape
    if min(small.shape) < _LEAST_SIDE:
        return 0.0, 0.0, 1.0, 1.0
    first_row, last_row, first_column, last_column = _inside_bands(small)
    window = small[first_row:last_row, first_column:last_column]
    background = np.median(np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]]))
    bright = np.percentile(window, 99.5)
    inside = window > background + _CONTENT_LEVEL * max(float(bright - background), _LEAST_RANGE)
    rows = np.flatnonzero(inside.mean(1) > _CONTENT_SHARE)
    columns = np.flatnonzero(inside.mean(0) > _CONTENT_SHARE)
    if not len(rows) or not len(columns):
        return 0.0, 0.0, 1.0, 1.0
    top, bottom = float(first_row + rows[0]) / height, float(first_row + rows[-1] + 1) / height
    left, right = float(first_column + columns[0]) / width, float(first_column + columns[-1] + 1) / width
    if min(bottom - top, right - left) < _LEAST_CONTENT:
        return 0.0, 0.0, 1.0, 1.0
    return left, top, right, bottom


def _inside_bands(small: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Return rows and columns (first, behind the last, each) without flat bright bands at the sides: padding in white.

    Dark bands are left to the search for the background, which knows them from dark anatomy.
    """
    edges = [0, small.shape[0], 0, small.shape[1]]
    level = small.min() + _BRIGHT * (small.max() - small.min())
    changed = True
    while changed:
        changed = False
        window = small[edges[0] : edges[1], edges[2] : edges[3]]
        for side, line in enumerate((window[0], window[-1], window[:, 0], window[:, -1])):
            if np.ptp(line) <= _FLAT and line.mean() > level and min(window.shape) > _LEAST_SIDE:
                edges[side] += 1 if side % 2 == 0 else -1
                changed = True
                break
    return edges[0], edges[1], edges[2], edges[3]


def to_eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return gray of 8 bits, (H, W); other depths from their own minimum and maximum, as training does."""
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        low, high = float(values.min()), float(values.max())
        pixels = np.rint((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).convert("L")) if pixels.ndim == 3 else pixels


def canonical(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the picture in the one form that all lossless copies of it share, whatever depth they are stored at.

    Whole numbers are stored in the smallest unsigned type, and what a copy of 8 bits is multiplied by in a deeper file
    is taken out, where every pixel has that factor: nothing is rounded, so that other pictures stay other ones.

    Args:
        pixels: Of any numeric type, (H, W) or (H, W, 3).

    Returns:
        uint8, uint16, or float64 for what fits neither, of the same shape.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high < 2**16) or (pixels.dtype.kind == "f" and (pixels != np.rint(pixels)).any()):
        return pixels.astype(np.float64)
    whole = pixels.astype(np.uint16)
    if high > _EIGHT_BITS:
        factor = next((factor for factor in _DEPTHS if not (whole % factor).any()), 1)
        whole //= factor
    return whole.astype(np.uint8) if whole.max() <= _EIGHT_BITS else whole


def trim(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels without the uniform rows and columns at the sides: what padding of any colour adds."""
    while True:
        before = pixels.shape
        for axis in (0, 1):
            lines = np.moveaxis(pixels, axis, 0)
            lines = lines.reshape(len(lines), -1, pixels.shape[2] if pixels.ndim == 3 else 1)
            varied = np.flatnonzero((lines != lines[:, :1]).any((1, 2)))
            if not len(varied):
                return pixels  # of one colour: nothing would be left
            if len(lines) > varied[-1] + 1 - varied[0]:  # else they stay the same array
                kept = slice(varied[0], varied[-1] + 1)
                pixels = pixels[kept] if axis == 0 else pixels[:, kept]
        if pixels.shape == before:
            return pixels
