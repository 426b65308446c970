"""Parts of the image taken away: without the lesion, with nothing else, without the air around the head.

Shapes: N images, C channels, H, W pixels.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Region = Literal["whole", "without tumour", "patch elsewhere", "only tumour", "without air"]
REGIONS: tuple[Region, ...] = get_args(Region)
RIM = 1  # pixels around a lesion that go with it: its blurred edge would draw what was taken
STEPS = 400  # of the relaxation below: a hole 20 pixels wide is settled to less than a gray level
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

    It solves Laplace's equation in the hole by relaxation from the mean of the rim. The mean alone would leave a step
    all around, which shows the lesion's outline to the model as well as the lesion did. Texture is not made up: where
    the hole was can still be seen, which is why there is a patch elsewhere and `hole_facts`.

    Args:
        images: uint8 (N, C, H, W).
        holes: (N, H, W).
    """
    filled = images.astype(np.float32)
    for image, hole in zip(filled, holes, strict=True):
        inside = np.argwhere(hole)
        if not len(inside):
            continue
        (top, left), (bottom, right) = np.maximum(inside.min(0) - 1, 0), inside.max(0) + 2
        part, own = image[:, top:bottom, left:right], hole[top:bottom, left:right]
        rim = ndimage.binary_dilation(own) & ~own
        part[:, own] = part[:, rim].mean(1, keepdims=True) if rim.any() else 0
        for _ in range(STEPS):
            padded = np.pad(part, ((0, 0), (1, 1), (1, 1)), mode="edge")
            around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
            part[:, own] = around[:, own] / 4
    return np.rint(filled).astype(np.uint8)


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
