"""Burnt-in text: marks in a picture that look like letters, on lines or alone beside the object.

Text that a scanner or a publisher writes into the pixels tells a model where an image is from, and sometimes what it
shows or whom. Letters are thin, bright against what is around them, about as high and as bright as their neighbours,
and stand in a row with nothing just above or below. Anatomy has each of these, but hardly all at once: of the 6,328
slices of cheng and brain_tumor_mri one is named, and it has a letter. Text planted into corners of cheng, white or at
160 of 255 and half of it re-compressed, is found in 94 to 100 % of slices at font sizes of 8 to 24 pixels. Not seen:
letters of fewer than 5 pixels, which run into each other; text fainter than a quarter of the brightest pixel, or gray
on tissue; lines that run upwards.

Shapes: H rows, W columns, M marks. A mark is a row of integers: top, bottom, left, right, peak over the ground, ground.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

_SIDE = 768  # pixels: larger images are shrunk to it, which bounds the time; their letters are larger too
_STROKE = 7  # pixels: strokes are thinner than this
_NEAR = 9  # pixels: ink is what exceeds half the brightest this near, so that blurred neighbours stay apart
_CONTRAST, _LEAST_CONTRAST = 0.25, 40  # of the brightest pixel, and in gray levels
_HEIGHT = 4  # pixels at least; letters this small stand on lines
_HIGHEST = 8  # at most the image's longer side over this
_GROUND = 0.6  # of the peak at most: how bright what lies under the text may be
_MOST = 1000  # marks: more are grain or texture, and their pairs would fill the memory
_LINE, _CHANCE = 3, 60  # letters that make a line anywhere, and one more for so many marks, as in grain and texture
_CLEAR = 0.45  # of the peak: the strips above and below a line are darker than this, save for _STRAY of their pixels
_STRAY = 0.1
_ALONE = 5  # pixels: height of letters that stand alone or in a pair
_SINGLE = "LRAPHFSabcd"  # left, right, anterior, posterior, head, feet, superior, and panels of a printed figure
_ALIKE = 0.7  # correlation with the letter's shape; earlobes and folded-over parts of the head stay below 0.55
_GRID = 12  # pixels: side of the square on which shapes are compared

# Measured one by one on every third slice of cheng and brain_tumor_mri, of which none is named, and on text planted in
# 69 slices of cheng, found in .98 of lines in corners, all lines over the brain and .99 of single letters. What is not
# listed as worse changes neither by more than .02.
_WIDEST = 1.5  # of the height: W is the widest letter; at 1.25 lines over the brain .91, at 3 three slices are named
_INK = 0.15  # of the box: less is a diagonal hair, which letters from 0 to .25 are not; at .35 lines .82
_SPACE = 1.0  # of the height: a space between words is narrower; .75 to 2 alike, at .5 lines .91
_CASE = 0.75  # of the capital's height has a small letter; to .85 alike, at .65 one slice is named, at .5 four
_BASE = 0.12  # of the height: how uneven a line stands, a pixel at least for rounding; at .2 one slice is named
_EVEN = 0.7  # of the brightest peak in a line; .3 to .8 alike, at .9 lines over the brain .88
_STRIP, _LEAST_STRIP = 0.3, 2  # of the height and in pixels: strips above and below a line; .1 to .6 alike
_DARK = 0.35  # of the peak: nothing is brighter beside a letter alone; .25 to .5 alike, at .6 one slice is named
_ROOM, _LEAST_ROOM = 2, 3  # half the height and in pixels: room around a letter alone; the whole and a quarter alike
_WIDTH = 0.25  # of the height: how far the width may be from the letter's; at .15 single letters .93, wider alike

Gray = NDArray[np.uint8]
Marks = NDArray[np.int64]


def text_marks(gray: Gray) -> int:
    """Return how many marks in an image (H, W) look like letters: 0 for nearly every image without text.

    Counted are lines of three or more letters, also over the object, and beside it pairs and letters such as L and R.
    """
    if min(gray.shape) < 2 * _NEAR:
        return 0
    if max(gray.shape) > _SIDE:
        picture = Image.fromarray(gray)
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
        gray = np.asarray(picture)
    if np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])) > 127:
        gray = 255 - gray  # a white page: its text is dark
    marks = _marks(gray)
    if len(marks) > _MOST:
        return 0
    least = _LINE + len(marks) // _CHANCE
    return sum(len(line) for line in _lines(marks) if _is_text(gray, line, least))


def _marks(gray: Gray) -> Marks:
    """Return bright marks of thin strokes that have a letter's size, by their left side, (M, 6)."""
    padded = np.pad(gray, _STROKE - 1, mode="edge")
    ground = _slide(_slide(padded, _STROKE, np.minimum), _STROKE, np.maximum)
    relief = gray - ground  # what an opening removes: all that is thinner than _STROKE
    nearby = _slide(np.pad(relief, _NEAR // 2, mode="edge"), _NEAR, np.maximum)
    least = max(_LEAST_CONTRAST, int(_CONTRAST * int(gray.max())))
    labels, _ = ndimage.label((relief > least) & (relief > nearby // 2), np.ones((3, 3), int))
    marks = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not (_HEIGHT <= height <= max(gray.shape) // _HIGHEST and width <= _WIDEST * height):
            continue
        ink = labels[rows, columns] == number
        peak, low = int(relief[rows, columns][ink].max()), int(ground[rows, columns][ink].min())
        if low <= _GROUND * peak and ink.sum() >= _INK * height * width:
            marks.append((rows.start, rows.stop, columns.start, columns.stop, peak, low))
    found = np.array(marks, np.int64).reshape(-1, 6)
    return found[np.argsort(found[:, 2], kind="stable")]


def _lines(marks: Marks) -> list[Marks]:
    """Return the marks as lines of one or more, each continued by the nearest mark to the right that fits."""
    top, bottom, left, right, peak, _ = marks.T
    height = bottom - top
    higher, brighter = np.maximum(height[:, None], height), np.maximum(peak[:, None], peak)
    gap = left - right[:, None]
    fits = (gap >= 0) & (gap <= _SPACE * higher)
    fits &= np.minimum(height[:, None], height) >= _CASE * higher
    fits &= np.abs(bottom[:, None] - bottom) <= np.maximum(1, _BASE * higher)
    fits &= np.minimum(peak[:, None], peak) >= _EVEN * brighter
    free = np.ones(len(marks), bool)
    lines = []
    for first in range(len(marks)):
        if not free[first]:
            continue
        line = [first]
        free[first] = False
        while len(following := np.flatnonzero(fits[line[-1]] & free)):
            line.append(int(following[np.argmin(gap[line[-1], following])]))
            free[line[-1]] = False
        lines.append(marks[line])
    return lines


def _is_text(gray: Gray, line: Marks, least: int) -> bool:
    """Return whether marks in a row, (M, 6), are text: enough with nothing above or below, or few beside the object."""
    tops, bottoms, lefts, rights, peaks, grounds = line.T.tolist()  # few: numpy would take longer to begin
    top, bottom, left, right = min(tops), max(bottoms), min(lefts), max(rights)
    height, peak, ground = bottom - top, float(median(peaks)), max(grounds)
    if len(line) >= least:
        margin = max(_LEAST_STRIP, round(_STRIP * height))
        above = gray[max(0, top - 1 - margin) : max(0, top - 1), left:right]
        below = gray[bottom + 1 : bottom + 1 + margin, left:right]
        limit = ground + _CLEAR * peak
        stray = int((above > limit).sum()) + int((below > limit).sum())
        return bool(stray <= _STRAY * 2 * margin * (right - left))
    if len(line) > 2 or height < _ALONE or not _beside(gray, (top, bottom, left, right), ground + _DARK * peak):
        return False
    return len(line) > 1 or _likeness(gray, line[0]) >= _ALIKE


def _beside(gray: Gray, box: tuple[int, int, int, int], limit: float) -> bool:
    """Return whether nothing is above the limit around a box and between it and the nearest sides of the image."""
    top, bottom, left, right = box
    height, width = gray.shape
    margin = max(_LEAST_ROOM, (bottom - top) // _ROOM)
    rows, columns = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    across = gray[rows, : columns.start] if left < width - right else gray[rows, columns.stop :]
    along = gray[: rows.start, columns] if top < height - bottom else gray[rows.stop :, columns]
    if (across > limit).any() or (along > limit).any():
        return False
    above, before = max(0, top - margin), max(0, left - margin)
    around = gray[above : bottom + margin, before : right + margin] > limit
    around[rows.start - above : rows.stop - above, columns.start - before : columns.stop - before] = False
    return not around.any()


def _likeness(gray: Gray, mark: Marks) -> float:
    """Return the highest correlation of a mark, (6,), with a letter that may stand alone and has about its width."""
    top, bottom, left, right, _, ground = mark.tolist()
    shape = _on_grid(gray[top:bottom, left:right].clip(ground) - np.uint8(ground))
    width = (right - left) / (bottom - top)
    return max((float(shape @ letter) for letter, usual in _letters() if abs(width - usual) <= _WIDTH), default=0.0)


@cache
def _letters() -> list[tuple[NDArray[np.float64], float]]:
    """Return shape and width over height of each letter that may stand alone, thin and bold."""
    letters = []
    for letter, bold in product(_SINGLE, (0, 2)):
        picture = Image.new("L", (128, 128))
        ImageDraw.Draw(picture).text((32, 24), letter, fill=255, font=ImageFont.load_default(48), stroke_width=bold)
        cut = np.asarray(picture.crop(picture.getbbox()))
        letters.append((_on_grid(cut), cut.shape[1] / cut.shape[0]))
    return letters


def _on_grid(cut: Gray) -> NDArray[np.float64]:
    """Return a cut-out stretched to the grid, centred, of unit length, (_GRID * _GRID,)."""
    values = np.asarray(Image.fromarray(cut).resize((_GRID, _GRID), Image.Resampling.BILINEAR), np.float64).ravel()
    values -= values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-9)


def _slide(pixels: Gray, window: int, extreme: Callable[..., Any]) -> Gray:
    """Return the minimum or maximum of each square window, (H - window + 1, W - window + 1), by doubling its reach."""
    for _ in range(2):
        reach = 1
        while reach < window:
            step = min(reach, window - reach)
            pixels = extreme(pixels[:-step], pixels[step:])
            reach += step
        pixels = pixels.T  # rows, then columns, then upright again
    return pixels
