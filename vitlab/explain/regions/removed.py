"""Parts of the image taken away: without the lesion, with nothing else, without the air around the head.

Shapes: N images, C channels, H, W pixels.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Region = Literal["whole", "without tumour", "patch elsewhere", "only tumour", "without air"]
REGIONS: tuple[Region, ...] = get_args(Region)
HOLE = "the hole alone"  # no region: the class guessed from the lesion's size and place
RIM = 1  # pixels around a lesion that go with it: its blurred edge would draw what was taken
AIR = 0.1  # of the range from the image's darkest 2 per cent to its brightest: as the audit takes for empty background


def cut(
    images: NDArray[np.uint8], masks: NDArray[np.bool_], region: Region, rows: NDArray[np.int64], seed: int = 0
) -> NDArray[np.uint8]:
    """Return the images with only a region of them left, uint8 (N, C, H, W).

    Args:
        images: uint8 (N, C, H, W).
        masks: (N, H, W), none empty.
        region: "whole" leaves them as they are. "without tumour" fills the lesion from its rim (`fill`). "patch
            elsewhere" does the same to a patch of the same shape in the same head, beside the lesion: what the damage
            alone does. "only tumour" is black around the lesion. "without air" is black outside the head.
        rows: Of the manifest, (N,): where elsewhere is depends on the image and the seed alone.
        seed: Of the places.
    """
    if region == "whole":
        return images
    if region == "only tumour":
        return images * masks[:, None]
    heads = np.array([head_of(image) for image in images], np.bool_).reshape(masks.shape)
    if region == "without air":
        return images * (heads | masks)[:, None]
    holes = grown(masks)
    if region == "patch elsewhere":
        holes = np.array(
            [elsewhere(hole, head, np.random.default_rng([seed, int(row)]))
             for hole, head, row in zip(holes, heads, rows, strict=True)],
            np.bool_,
        ).reshape(masks.shape)  # fmt: skip
    return fill(images, holes)


def fill(images: NDArray[np.uint8], holes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill holes with the smoothest surface that meets what surrounds them, uint8 (N, C, H, W).

    It solves Laplace's equation in the hole; at the image's edge it is level. The mean of the rim alone would leave a
    step all around, which shows the lesion's outline to the model as well as the lesion did. Texture is not made up:
    where the hole was can still be seen, which is why there is a patch elsewhere and `hole_facts`.

    Args:
        images: uint8 (N, C, H, W).
        holes: (N, H, W).
    """
    filled = images.astype(np.float64)
    for image, hole in zip(filled, holes, strict=True):
        if hole.all():
            image[:] = 0  # nothing is left to go by
        elif hole.any():
            image[:, hole] = _smooth(image, hole)
    return np.rint(filled).clip(0, 255).astype(np.uint8)


def _smooth(image: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what an image (C, H, W) has in a hole (H, W) if each pixel is its neighbours' mean, (C, pixels)."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    places, (height, width) = np.argwhere(hole), hole.shape
    count = len(places)
    number = np.zeros(hole.shape, np.int64)
    number[hole] = np.arange(count)
    degree, known = np.zeros(count), np.zeros((count, len(image)))
    pairs = []
    for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        y, x = (places + step).T
        there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        degree += there
        own, y, x = np.flatnonzero(there), y[there], x[there]
        inside = hole[y, x]
        pairs.append(np.stack([own[inside], number[y[inside], x[inside]]]))
        known[own[~inside]] += image[:, y[~inside], x[~inside]].T
    rows, columns = np.concatenate(pairs, axis=1)
    ends = np.arange(count)
    values = np.concatenate([-np.ones(len(rows)), degree])
    cells = (np.concatenate([rows, ends]), np.concatenate([columns, ends]))
    solved: NDArray[np.float64] = splu(coo_array((values, cells), shape=(count, count)).tocsc()).solve(known).T
    return solved


def elsewhere(hole: NDArray[np.bool_], head: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a hole of the same shape at a random place of the head that does not touch it, (H, W).

    Where a head has no room for that, it is where least of it lies on the other one or outside.

    Args:
        hole: (H, W), not empty.
        head: (H, W).
        rng: Of the place.
    """
    from scipy.signal import fftconvolve

    inside = np.argwhere(hole)
    low, high = inside.min(0), inside.max(0) + 1
    shape = hole[low[0] : high[0], low[1] : high[1]]
    taken = ~head | hole
    overlap = np.rint(fftconvolve(taken.astype(float), shape[::-1, ::-1].astype(float), mode="valid"))
    places = np.argwhere(overlap == overlap.min())
    top, left = places[rng.integers(len(places))]
    found = np.zeros_like(hole)
    found[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return found


def head_of(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what is not air, (H, W): the largest thing brighter than the background, without holes.

    Args:
        image: uint8 (C, H, W).
    """
    gray = ndimage.uniform_filter(image.mean(0, dtype=np.float64), 3)  # noise of the air is no head
    dark, bright = np.percentile(gray, [2, 100])
    parts, count = ndimage.label(gray > dark + AIR * (bright - dark))
    if not count:
        return np.ones(gray.shape, np.bool_)
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    head: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == largest)
    return head


def grown(masks: NDArray[np.bool_], pixels: int = RIM) -> NDArray[np.bool_]:
    """Return masks (N, H, W) with some pixels more all around."""
    step = np.zeros((3, 3, 3), np.bool_)
    step[1] = True
    wider: NDArray[np.bool_] = ndimage.binary_dilation(masks, step, iterations=pixels)
    return wider


def hole_facts(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what the hole itself tells of the class: size, centre, height and width as shares of the image, (N, 5).

    A model that names the class of an image without its lesion may have seen no more than this.

    Args:
        masks: (N, H, W), none empty.
    """
    found = []
    for mask in masks:
        inside = np.argwhere(mask)
        extent = (np.ptp(inside, axis=0) + 1) / mask.shape
        found.append([np.sqrt(mask.mean()), *(inside.mean(0) / mask.shape), *extent])
    return np.array(found, np.float64).reshape(len(masks), 5)
