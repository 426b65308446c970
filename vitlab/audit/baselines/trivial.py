"""Trivial features: what a classifier could go by without looking at the object. Shapes: N images, S = FRAME pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.encode import bins, one_hot
from vitlab.audit.baselines.grouped_cv import Floats
from vitlab.audit.blocks import block_maxima, block_means
from vitlab.audit.images import FRAME, Images

_CELL = 4  # pixels of a frame to a cell of the coarse picture
_SIDE = FRAME // _CELL
_RIM = 2  # cells of border
_CORNER = 4  # cells of a corner's side
_COMPONENTS = 40
_WAVES = 200  # random Fourier features
_BLOCK = 1024  # frames in memory at once as floats
_LEVELS = (1, 5, 10, 25, 50, 75, 90, 95, 99)  # percentiles
_HISTOGRAM = 16  # bins


def file_features(images: Images, rows: NDArray[np.int64], groups: NDArray[np.int64]) -> dict[str, Floats]:
    """Return what is known without opening the image, by name: float (N, D) each.

    Args:
        images: All images.
        rows: Which to describe, (N,).
        groups: Group of each, (N,).
    """
    width, height = images.width[rows], images.height[rows]
    exact = np.array([f"{a}x{b}" for a, b in zip(width, height, strict=True)])
    sides = [bins(values.astype(np.float64)) for values in (width, height, width / np.maximum(height, 1))]
    return {
        "image size": np.concatenate([*sides, one_hot(exact, groups)], 1),
        "file size": bins(np.log1p(images.file_bytes[rows].astype(np.float64))),
        "JPEG tables": one_hot(images.quantisation[rows], groups),
        "colour mode": one_hot(images.mode[rows], groups),
    }


def pixel_features(images: Images, rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Floats]:
    """Return what pixels say without the object's shape, by name: float (N, D) each.

    Args:
        images: All images.
        rows: Which to describe, (N,).
        rng: Of the random waves.
    """
    far = np.abs(np.arange(_SIDE) - (_SIDE - 1) / 2)
    at_side, at_corner = far > _SIDE / 2 - _RIM, far > _SIDE / 2 - _CORNER
    border = at_side[:, None] | at_side
    corner = at_corner[:, None] & at_corner
    outside = (far > _SIDE / 4)[:, None] | (far > _SIDE / 4)
    mean, peak = coarse(images, rows)
    return {
        "intensity": curved(intensities(images, rows), rng),
        "border pixels": curved(mean[:, border], rng),
        "corner pixels": curved(np.concatenate([np.log1p(mean[:, corner]), np.log1p(peak[:, corner])], 1), rng),
        "picture without its centre": curved(mean[:, outside], rng),
    }


def intensities(images: Images, rows: NDArray[np.int64]) -> Floats:
    """Return percentiles, mean, spread and histogram of each frame, (N, D)."""

    def describe(frames: NDArray[np.uint8]) -> NDArray[Any]:
        places = frames.reshape(len(frames), -1) + 256 * np.arange(len(frames))[:, None]
        count = np.bincount(places.ravel(), minlength=256 * len(frames)).reshape(-1, 256)
        below = count.cumsum(1)
        levels = [(100 * below < level * FRAME**2).sum(1) for level in _LEVELS]
        mean = count @ np.arange(256) / FRAME**2
        spread = np.sqrt(np.maximum(count @ np.arange(256) ** 2 / FRAME**2 - mean**2, 0))
        histogram = np.sqrt(count.reshape(len(frames), _HISTOGRAM, -1).sum(2) / FRAME**2)
        return np.concatenate([np.stack([*levels, mean, spread], 1), histogram], 1)

    return _in_blocks(images, rows, describe)


def coarse(images: Images, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return mean and maximum of each cell of the frames, (N, side, side) each."""

    def cells(frames: NDArray[np.uint8]) -> NDArray[Any]:
        return np.stack([block_means(frames, _CELL), block_maxima(frames, _CELL).astype(np.float32)], 1)

    both = _in_blocks(images, rows, cells)
    return both[:, 0], both[:, 1]


def most_components(count: int) -> int:
    """Return how many main components so many images or groups bear.

    Were there as many of them, each of variance 1, any two images would be as far apart, whatever they show.
    """
    return min(_COMPONENTS, max(1, count // 5))


def curved(features: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Return the main components of features (N, D), and random waves of them, with which a linear fit can bend.

    Rahimi and Recht 2007 approximate a Gaussian kernel so; its width is the median distance of two images.
    """
    x = np.asarray(features, np.float64)
    x = x[:, x.std(0) > 1e-6]
    if not x.shape[1]:
        return np.zeros((len(x), 0))
    x = (x - x.mean(0)) / x.std(0)
    strength, axes = np.linalg.eigh(x.T @ x / len(x))
    kept = np.argsort(-strength)[: most_components(len(x))]
    kept = kept[strength[kept] > 1e-6]
    x = x @ axes[:, kept]
    pairs = rng.integers(0, len(x), (2, 2000))
    width = np.median(np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1)) or 1.0
    # Drawn for the features, not for their components, whose signs and turns are the solver's choice.
    waves = axes[:, kept].T @ rng.normal(0, 1 / width, (len(axes), _WAVES))
    angle = x @ waves + rng.uniform(0, 2 * np.pi, _WAVES)
    return np.concatenate([x / np.sqrt(strength[kept]), np.cos(angle)], 1)


def _in_blocks(
    images: Images, rows: NDArray[np.int64], describe: Callable[[NDArray[np.uint8]], NDArray[Any]]
) -> Floats:
    parts = [describe(images.frames[rows[start : start + _BLOCK]]) for start in range(0, len(rows), _BLOCK)]
    return np.concatenate(parts).astype(np.float32)
