"""Change: what was done to an image to get its near copy, measured from the registered pair and the two frames.

Boxes are left, top, right, bottom as shares of the frame, (P, 4); maps take x and y from -0.5 to 0.5, (P, 2, 3).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.appearance import name_appearances
from vitlab.audit.images import Images

# What counts as a change, and not as what is left of re-compression and registration.
_DEGREES = 1.5
_SHARE = 0.03  # of a side


def between_contents(
    maps: NDArray[Any], source: NDArray[np.float64], copy: NDArray[np.float64], turn: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Turn maps between whole frames into maps between the two contents.

    Args:
        maps: From the copy's frame to the turned source's, (P, 2, 3).
        source: Content box of the source before it is turned, (P, 4).
        copy: Content box of the copy, (P, 4).
        turn: Flip and quarter turn of the source, (P,).
    """
    inner = np.linalg.inv(_into_box(_turn_boxes(source, turn))) @ _homogeneous(maps) @ _into_box(copy)
    return inner[:, :2]


def name_change(
    images: Images,
    source: NDArray[np.int64],
    copy: NDArray[np.int64],
    turn: NDArray[np.int64],
    maps: NDArray[Any],
) -> NDArray[Any]:
    """Name what was done to the one image to get the other: the first change in the order below that is measured.

    Args:
        images: All images.
        source: Rows, (P,).
        copy: Rows, (P,).
        turn: Flip and quarter turn of the source, (P,).
        maps: From the copy's content to the turned source's, (P, 2, 3).

    Returns:
        One of `pairs.COPIES` each, (P,).
    """
    boxes = images.box.astype(np.float64)
    whole = _into_box(_turn_boxes(boxes[source], turn)) @ _homogeneous(maps) @ np.linalg.inv(_into_box(boxes[copy]))
    swap = turn & 4 > 0
    sides = np.stack([images.width, images.height], 1).astype(np.float64)
    of_source = np.where(swap[:, None], sides[source][:, ::-1], sides[source])
    linear = whole[:, :2, :2] * of_source[:, :, None] / sides[copy][:, None, :]
    angle = np.degrees(np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1]))
    window = np.abs(whole[:, [0, 1], [0, 1]] - 1).max(1)
    shift = np.abs(whole[:, :2, 2]).max(1)
    resized = np.abs(of_source / sides[copy] - 1).max(1) > 0.01
    quarter = np.isin(turn, (3, 5, 6))
    tests = [
        (quarter, "turned"),
        (turn != 0, "flipped"),
        (np.abs(angle) > _DEGREES, "rotated"),
        ((window > _SHARE) | (shift > _SHARE), "cropped"),
        (resized, "resized"),
    ]
    kinds = np.select([test for test, _ in tests], [name for _, name in tests], "").astype(object)
    same = np.flatnonzero(kinds == "")
    side = np.sqrt(images.width[source[same]] * images.height[source[same]])
    kinds[same] = name_appearances(images.frames, source[same], copy[same], side)
    return kinds


def _turn_boxes(boxes: NDArray[np.float64], turn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the boxes (P, 4) in the turned images."""
    left, top, right, bottom = boxes.T.copy()
    swap, down, across = turn & 4 > 0, turn & 2 > 0, turn & 1 > 0
    left, top, right, bottom = (
        np.where(swap, top, left),
        np.where(swap, left, top),
        np.where(swap, bottom, right),
        np.where(swap, right, bottom),
    )
    top, bottom = np.where(down, 1 - bottom, top), np.where(down, 1 - top, bottom)
    left, right = np.where(across, 1 - right, left), np.where(across, 1 - left, right)
    return np.stack([left, top, right, bottom], 1)


def _homogeneous(maps: NDArray[Any]) -> NDArray[np.float64]:
    full = np.zeros((len(maps), 3, 3))
    full[:, :2], full[:, 2, 2] = maps, 1
    return full


def _into_box(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return maps (P, 3, 3) from a box's own coordinates to the frame's, both from -0.5 to 0.5."""
    maps = np.zeros((len(boxes), 3, 3))
    maps[:, 0, 0], maps[:, 1, 1], maps[:, 2, 2] = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1], 1
    maps[:, :2, 2] = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    return maps
