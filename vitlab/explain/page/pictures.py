"""Pictures of the pages: an image, the outline of its mask, and where a model looks, all on one colour scale.

Shapes: H = W = image side as the model sees it, h = w = side of the picture, a multiple of H.
"""

import io
from collections.abc import Sequence
from typing import Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEAST_SIDE: Final = 144  # px of a picture: small images are drawn larger, so that outlines are thin
MOST: Final = 8.0  # times an even map; the colours end there
STRENGTH: Final = 0.55  # of the colour at its strongest: what is below stays in sight
OUTLINE: Final = (64, 224, 255)  # cyan: bright on dark and no colour of the scale
QUALITY: Final = 82  # of WebP
WIDEST: Final = 16383  # px of a WebP file
# Told apart by colour-blind eyes, and brighter where there is more (van der Walt & Smith, matplotlib 1.5, 2015).
SCALE: Final = "plasma"
LOWEST: Final = 0.25  # of the scale: its dark blue end would not be seen on a black ground

Rgb = NDArray[np.uint8]  # (h, w, 3)


def draw_image(pixels: NDArray[np.uint8], side: int | None = None) -> Rgb:
    """Return an image (C, H, W) as a picture (h, w, 3), enlarged without blocks."""
    size = side or picture_side(pixels.shape[-1])
    colour = np.broadcast_to(pixels, (3, *pixels.shape[1:])) if len(pixels) == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(colour, 0, -1)))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), np.uint8)


def picture_side(side: int) -> int:
    """Return the side of the picture of an image, px."""
    return side * -(-LEAST_SIDE // side)


def density(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return saliency (H, W) relative to an even map: 1 is as much as everywhere, of any method; 0 where there is none.

    Divided by its own maximum, a map of noise would be as colourful as one that knows a place.
    """
    mean = float(saliency.mean())
    even = saliency / mean if mean > 0 else np.zeros_like(saliency)
    return np.asarray(even, np.float32)


def overlay(picture: Rgb, saliency: NDArray[np.float32]) -> Rgb:
    """Lay saliency (H, W) over a picture: nothing up to an even map's, then colours up to `MOST` times as much.

    The share of the colour is the same for every brightness below it, so that the image keeps its contrast.
    """
    height = picture.shape[0]
    image = Image.fromarray(density(saliency)).resize((height, height), Image.Resampling.BILINEAR)
    position = _position(np.asarray(image))[..., None]
    mixed = picture * (1 - STRENGTH * position) + _colours(position[..., 0]) * STRENGTH * position
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def outlined(picture: Rgb, mask: NDArray[np.bool_]) -> Rgb:
    """Draw the outline of a mask (H, W) on a picture, one pixel wide, just outside of it."""
    if not mask.any():
        return picture
    size = picture.shape[0]
    large = np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
    padded = np.pad(large, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    drawn = np.array(picture, np.uint8)
    drawn[near & ~large] = OUTLINE
    return drawn


def strip(cells: Sequence[Rgb]) -> bytes:
    """Return pictures of one size beside each other as one WebP file; `cell_rules` show one of them.

    They are made smaller where the file would not hold them.
    """
    file, side = io.BytesIO(), min(cells[0].shape[1], WIDEST // len(cells))
    if side < cells[0].shape[1]:
        size = side, side
        cells = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC), np.uint8) for one in cells]
    Image.fromarray(np.concatenate(list(cells), axis=1)).save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def cell_rules(widest: int) -> str:
    """Return rules by which an image of class `of5-2` shows the third of a strip's five cells, for up to `widest`."""
    rules = [
        f".of{count}-{at} {{ object-position: {100 * at / max(1, count - 1):.3f}% 0; }}"
        for count in range(1, widest + 1)
        for at in range(count)
    ]
    return "\n".join(rules) + "\n"


def scale_rule(steps: int = 12) -> str:
    """Return the rule that paints the colour scale of `overlay`, on black."""
    position = np.linspace(0, 1, steps)
    mixed = _colours(position) * STRENGTH * position[:, None]
    stops = ", ".join(f"rgb({red:.0f} {green:.0f} {blue:.0f})" for red, green, blue in mixed.tolist())
    return f".scale i {{ background: linear-gradient(to right, {stops}); }}\n"


def _position(density: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the place on the scale, 0 to 1: even steps for even factors."""
    return np.asarray((np.log2(np.maximum(density, 1)) / np.log2(MOST)).clip(0, 1), np.float64)


def _colours(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return colours 0..255, (..., 3), of places on the scale."""
    found = matplotlib.colormaps[SCALE](LOWEST + (1 - LOWEST) * position)
    return np.asarray(found[..., :3] * 255, np.float64)
