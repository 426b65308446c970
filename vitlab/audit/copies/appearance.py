"""Appearance: what was done to the gray levels of a copy whose frame is unchanged.

The smoother picture of a pair is fitted to the sharper one and the other way round: gain and offset, and the share of
the Laplacian that a blur takes away. What no fit explains is a mark where it is in few pixels, noise where it is as
strong in flat regions as elsewhere, and else what a compression with loss leaves.

Shapes: P pairs, n pixels a side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vitlab.audit.progress import in_threads

Floats = NDArray[np.float32]

# Chosen on 60 images each of cheng, brain_tumor_mri and the phantom, 35 changes each, saved as JPEG 90.
_DARK, _WHITE = 3.0, 250.0  # gray levels beyond which a pixel may be clipped: it bounds the fit and is not fitted
_OUTLIER = 3.0  # deviations; what is farther off is left out of the fit: a mark, a clipped edge
_MARK, _MARK_SHARE, _MARK_POWER = 40.0, 0.05, 0.75  # gray levels; of the pixels; of what is unexplained
_FLAT, _BUSY, _EVEN = 0.1, 0.75, 0.4  # quantiles of blocks, and their ratio: noise has .4 and more, clipped edges less
_BOUND = 0.35  # correlation of blocks' unexplained detail with their own: noise has less, JPEG 50 and coarser more
# Of the unexplained deviation, what a blur of the smoother picture explains, sharpening counted below zero: noise has
# -.2 to .1, JPEG 30 and coarser mostly more, a blur less.
_LEAST, _LOSS = -0.22, 0.1
_NOISE = 3.2  # gray levels at the file's own size: JPEG 90 of noisy images leaves up to 3
_BLUR, _SHARPENING = 1.0, 0.15  # of the unexplained deviation; JPEG takes away up to 1, and is not undone by sharpening
_STRONG_BLUR = 0.2  # of the Laplacian; JPEG 20 of noisy images takes away up to .18
_GAIN, _OFFSET = 0.04, 5.0  # what is more is a change; the offset in gray levels
_CLEAR = 0.7  # of the unexplained deviation, that a gain changes at the least
_PIVOT = 0.4  # of the mean: a gain that leaves brighter levels alone than this is of contrast
_BLOCK = 8  # pixels a side
_PAIRS = 64  # at once


def name_appearances(
    frames: NDArray[np.uint8], first: NDArray[np.int64], second: NDArray[np.int64], sides: NDArray[np.float64]
) -> list[str]:
    """Name what was done to the one picture to get the other: the first of those below that is measured.

    Args:
        frames: Of all images, (N, n, n).
        first: Rows, (P,).
        second: Rows, (P,).
        sides: Of the files, both of a pair alike, in pixels, (P,).

    Returns:
        marked, noisy, blurred, contrast, brightness or re-compressed, each.
    """

    def name(rows: slice) -> list[str]:
        return _name(frames[first[rows]].astype(np.float32), frames[second[rows]].astype(np.float32), sides[rows])

    named = in_threads(name, len(first), _PAIRS, "naming changes") if len(first) else []
    return [name for part in named for name in part]


def _name(first: Floats, second: Floats, sides: NDArray[np.float64]) -> list[str]:
    swap = (_sharpness(first) > _sharpness(second))[:, None, None]
    sharp, smooth = np.where(swap, first, second), np.where(swap, second, first)
    blurring, sharpening = _Fit.of(sharp, smooth), _Fit.of(smooth, sharp)
    gain, offset = blurring.gain, blurring.offset
    noise = blurring.deviation / np.maximum(gain, 1) * np.maximum(1, sides / first.shape[1])
    clear = np.abs(gain - 1) * sharp.std((1, 2)) > _CLEAR * blurring.deviation
    pivot = offset / np.where(np.abs(1 - gain) > _GAIN, 1 - gain, np.inf)
    even, bound = _evenness(blurring.left, sharpening.left, smooth)
    tests = [
        (_marked(_beyond_shift(blurring.beyond_clipping(), sharp, smooth)), "marked"),
        ((noise > _NOISE) & (even > _EVEN) & (bound < _BOUND) & (sharpening.laplacian > _LEAST)
         & (sharpening.laplacian < _LOSS), "noisy"),
        (((blurring.laplacian > _BLUR) | (blurring.share > _STRONG_BLUR)) & (sharpening.laplacian < -_SHARPENING),
         "blurred"),
        ((pivot > _PIVOT * sharp.mean((1, 2))) & (pivot < _WHITE) & clear, "contrast"),
        (((np.abs(gain - 1) > _GAIN) & clear) | (np.abs(offset) > _OFFSET), "brightness"),
    ]  # fmt: skip
    names: list[str] = np.select([test for test, _ in tests], [name for _, name in tests], "re-compressed").tolist()
    return names


@dataclass(frozen=True)
class _Fit:
    """One picture as gain times the other, plus its Laplacian, plus an offset.

    Attributes:
        source: Explains, (P, n, n).
        left: The other picture less what is explained, (P, n, n).
        gain: (P,).
        offset: Gray levels, (P,).
        deviation: Of what is unexplained, without outliers, in gray levels, (P,).
        share: Of the Laplacian, (P,).
        laplacian: Deviation of the Laplacian's part, with its sign, over that, (P,).
    """

    source: Floats
    left: Floats
    gain: Floats
    offset: Floats
    deviation: Floats
    share: Floats
    laplacian: Floats

    @classmethod
    def of(cls, source: Floats, target: Floats) -> "_Fit":
        """Fit the target (P, n, n)."""
        inside = (source > _DARK) & (source < _WHITE) & (target > _DARK) & (target < _WHITE)
        inside[inside.mean((1, 2)) < _MARK_SHARE] = True
        laplacian = _laplacian(source)
        terms = np.stack([source, laplacian, np.ones_like(source)], -1).reshape(len(source), -1, 3)
        values, weight = target.reshape(len(source), -1), inside.reshape(len(source), -1).astype(np.float32)
        for step in range(3):
            weighted = (terms * weight[:, :, None]).transpose(0, 2, 1)
            normal = (weighted @ terms).astype(np.float64) + 1e-3 * np.eye(3)
            found = np.linalg.solve(normal, (weighted @ values[:, :, None]).astype(np.float64))[:, :, 0]
            explained = (terms @ found.astype(np.float32)[:, :, None])[:, :, 0]
            left = values - explained
            deviation = np.sqrt((weight * left**2).sum(1) / weight.sum(1))
            if step < 2:
                weight = inside.reshape(weight.shape) * (np.abs(left) <= _OUTLIER * deviation[:, None] + 1)
        part = np.where(weight > 0, laplacian.reshape(weight.shape), np.nan)
        strength = found[:, 1] * np.nanstd(part, 1) / np.maximum(deviation, 0.3)  # 0.3: of rounding to whole levels
        left = (values - explained.clip(0, 255)).reshape(source.shape)
        gain, share, offset = found.T.astype(np.float32)
        return cls(source, left, gain, offset, deviation, share, strength.astype(np.float32))

    def beyond_clipping(self) -> Floats:
        """Return what is left (P, n, n) and is not explained by the source's own clipping either."""
        left = np.where(self.source <= _DARK, np.maximum(self.left, 0), self.left)
        return np.where(self.source >= _WHITE, np.minimum(left, 0), left)


def _sharpness(pictures: Floats) -> Floats:
    sharpness: Floats = (_laplacian(pictures) ** 2).mean((1, 2)) / np.maximum(pictures.var((1, 2)), 1e-6)
    return sharpness


def _laplacian(pictures: Floats) -> Floats:
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:] + padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    laplacian: Floats = around - 4 * pictures
    return laplacian


def _beyond_shift(unexplained: Floats, first: Floats, second: Floats) -> Floats:
    """Return what edges that stand in both pictures, a pixel apart, do not explain: a mark stands in one, (P, n, n)."""
    edges = np.minimum(_slope(first), _slope(second))
    beyond: Floats = np.maximum(np.abs(unexplained) - edges, 0)
    return beyond


def _slope(pictures: Floats) -> Floats:
    """Return the largest change of gray level per pixel, among each pixel and its eight neighbours, (P, n, n)."""
    down, right = np.gradient(pictures, axis=(1, 2))
    padded = np.pad(np.hypot(down, right), ((0, 0), (1, 1), (1, 1)), mode="edge")
    largest: Floats = sliding_window_view(padded, (3, 3), axis=(1, 2)).max((3, 4))
    return largest


def _marked(unexplained: Floats) -> NDArray[np.bool_]:
    """Say where few pixels hold most of what is unexplained, (P,)."""
    power = np.sort(unexplained.reshape(len(unexplained), -1) ** 2, axis=1)[:, ::-1]
    few = power[:, : int(_MARK_SHARE * power.shape[1])].sum(1)
    marked: NDArray[np.bool_] = (few > _MARK_POWER * power.sum(1)) & (power[:, :10].mean(1) > _MARK**2)
    return marked


def _evenness(blurring: Floats, sharpening: Floats, smooth: Floats) -> tuple[Floats, Floats]:
    """Return how strong the unexplained is in flat blocks over busy ones, and how it goes with detail, (P,) each."""
    flat, busy = np.quantile(_blocks(blurring).std(3), (_FLAT, _BUSY), axis=(1, 2))
    level = _blocks(smooth).mean(3)
    seen = (level > _BLOCK) & (level < _WHITE)  # noise is cut off where it would be darker than black
    seen[seen.sum((1, 2)) < _BLOCK] = True
    left, detail = (np.where(seen, _blocks(part).std(3), np.nan) for part in (sharpening, _laplacian(smooth)))
    left, detail = (part - np.nanmean(part, (1, 2), keepdims=True) for part in (left, detail))
    lengths = np.sqrt(np.nansum(left**2, (1, 2)) * np.nansum(detail**2, (1, 2)))
    return flat / np.maximum(busy, 0.2), np.nansum(left * detail, (1, 2)) / np.maximum(lengths, 1e-6)


def _blocks(pictures: Floats) -> Floats:
    """Return the pixels of each block, (P, blocks, blocks, pixels)."""
    count, side = len(pictures), pictures.shape[1] // _BLOCK
    blocks = pictures.reshape(count, side, _BLOCK, side, _BLOCK).transpose(0, 1, 3, 2, 4)
    pixels: Floats = blocks.reshape(count, side, side, _BLOCK * _BLOCK)
    return pixels
