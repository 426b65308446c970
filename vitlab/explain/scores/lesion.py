"""How well a saliency map finds the lesion: four scores against its mask, all in 0..1 and more is better.

A map that says nothing (one value everywhere, or all 0) scores what chance would in each of them: the mask's share of
the image. Ties are broken by expectation, never by the order of pixels.

Shapes: N images, H, W pixels, P = H * W.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCORES = ("pointing", "energy", "auprc", "iou")


def score_maps(maps: NDArray[Any], masks: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Score maps against masks.

    Args:
        maps: (N, H, W), at least 0, bigger is more important.
        masks: (N, H, W), empty where there is none.

    Returns:
        Each of `SCORES`, (N,); nan without a mask.
    """
    there = masks.any((1, 2))
    kept, own = maps[there], masks[there]
    values = {
        "pointing": pointing_game(kept, own),
        "energy": energy_inside(kept, own),
        "auprc": pixel_auprc(kept, own),
        "iou": iou_at_area(kept, own),
    }
    found = {name: np.full(len(maps), np.nan) for name in SCORES}
    for name, value in values.items():
        found[name][there] = value
    return found


def pointing_game(maps: NDArray[Any], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return whether the map's largest pixel is on the mask, (N,); of several largest, the share that is.

    Zhang et al. 2018, "Top-down Neural Attention by Excitation Backprop", who count a hit up to 15 pixels beside the
    object, on photographs of about 500 pixels. Of a lesion that is a few pixels wide on a square of 64, such a margin
    would be most of the target; without it random maps hit as often as the lesion is large.

    Args:
        maps: (N, H, W).
        masks: (N, H, W), none empty.
    """
    values, hit = _flat(maps), masks.reshape(len(masks), math.prod(masks.shape[1:]))
    top = values == values.max(1, keepdims=True)
    found: NDArray[np.float64] = (top & hit).sum(1) / top.sum(1)
    return found


def energy_inside(maps: NDArray[Any], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of the map's sum that is on the mask, (N,).

    Wang et al. 2020, "Score-CAM", section 4.3 (energy-based pointing game).
    """
    values, inside = _flat(maps), masks.reshape(len(masks), math.prod(masks.shape[1:]))
    if (values < 0).any():
        raise ValueError("saliency maps must not be negative: take their positive part, or their size")
    total = values.sum(1)
    share: NDArray[np.float64] = np.where(
        total > 0, (values * inside).sum(1) / np.where(total > 0, total, 1), inside.mean(1)
    )
    return share


def pixel_auprc(maps: NDArray[Any], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the average precision of the map's pixels as a detector of the mask's, (N,).

    Equal to scikit-learn's average_precision_score of each image, which takes them one by one.
    """
    _, hits, last = _descending(maps, masks)
    found = np.take_along_axis(hits.cumsum(1), last, 1)  # true positives at each pixel's threshold, ties included
    precision = found / (last + 1)
    area: NDArray[np.float64] = (precision * hits).sum(1) / hits.sum(1)
    return area


def iou_at_area(maps: NDArray[Any], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return intersection over union of the mask and as many of the map's largest pixels, (N,).

    Of pixels that tie at the threshold each counts by the share of them that is needed.
    """
    values, hits, _ = _descending(maps, masks)
    area = hits.sum(1)
    edge = values[np.arange(len(values)), area - 1][:, None]
    above, tied = values > edge, values == edge
    share = (area - above.sum(1)) / tied.sum(1)
    both = (hits * above).sum(1) + share * (hits * tied).sum(1)
    found: NDArray[np.float64] = both / (2 * area - both)
    return found


def _descending(
    maps: NDArray[Any], masks: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort each image's pixels, the largest first.

    Returns:
        Values, whether each is on the mask, and the place of the last pixel of the same value, (N, P) each.
    """
    flat = _flat(maps)
    order = np.argsort(-flat, axis=1, kind="stable")
    values = np.take_along_axis(flat, order, 1)
    hits = np.take_along_axis(masks.reshape(len(masks), math.prod(masks.shape[1:])), order, 1).astype(np.int64)
    pixels = values.shape[1]
    ends = np.ones(values.shape, np.bool_)
    ends[:, :-1] = values[:, :-1] != values[:, 1:]
    place = np.where(ends, np.arange(pixels), pixels)
    last = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    return values, hits, last


def _flat(maps: NDArray[Any]) -> NDArray[np.float64]:
    """Return maps as (N, P).

    Raises:
        ValueError: One is not finite.
    """
    values = np.asarray(maps, np.float64).reshape(len(maps), math.prod(maps.shape[1:]))
    if not np.isfinite(values).all():
        raise ValueError("a saliency map is not finite: the model or the method has diverged")
    return values
