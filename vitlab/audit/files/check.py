"""Files: unreadable, blank, odd in size or mode, unlike all others, with text or a wrong mask; odd patient ids.

What is odd is judged against the set itself, and what a large part of the set has in common is said once, as a fact of
the set. Shapes: N images, S pixels a side.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.files.masks import check_masks
from vitlab.audit.files.outliers import find_outliers
from vitlab.audit.images import Images
from vitlab.audit.memo import Memo
from vitlab.data.manifest import Manifest

Kind = Literal["unreadable", "blank", "size", "mode", "outlier", "text", "mask", "patient id"]

LEAST_TEXT: Final = 1  # marks: fewer were found in each of 6,328 slices without text, see vitlab.audit.files.text
# Choices, not measurements: a long list is not read.
_COMMON = 0.2  # of the images: what so many share is a fact of the set, named once
_FEW = 10  # images: so many are named one by one whatever their share
_RARE = 0.01  # of the images: a size or mode this rare among one that most have is odd
_LEAST = 20  # images: among fewer, no size or mode is odd
_SCALE, _ASPECT = 1.0, 0.6  # octaves: at least twice as large or small, or 1.5 times as wide or high, as usual

_FENCE = 3.0  # quartile distances beyond the quartiles: Tukey's outer fence (Exploratory Data Analysis, 1977)
# Gray levels that a blank image spans, half a per cent at either end left out: each of 6,328 slices spans 76 or more.
_FLAT, _TAIL = 8, 0.005
_DEVIATION = 40  # gray levels: above it no image is flat, 255 * sqrt(2 * _TAIL) + _FLAT = 33.5; sorting fewer is faster
_BLOCK = 1024  # images at a time: the squares are read from disk


@dataclass(frozen=True)
class Finding:
    """Something odd.

    Attributes:
        kind: What it is about.
        path: The image, "" where it is said of the set.
        detail: One sentence.
    """

    kind: Kind
    path: str
    detail: str


@dataclass(frozen=True)
class _Odd:
    row: int
    fault: str  # a clause that many rows may share
    detail: str


def check_files(
    manifest: Manifest, images: Images, read_mask: Callable[[str], NDArray[np.bool_]], memo: Memo | None = None
) -> list[Finding]:
    """Return what is odd, by kind, then by row; what is said of the whole set comes first in its kind.

    Args:
        manifest: Names images and masks.
        images: What the files hold.
        read_mask: Opens a mask_path, bool (H, W); called from several threads at once.
        memo: Keeps what was read of masks; without one, they are read.
    """
    ok = images.ok
    blank = _blank(images)
    unreadable = [
        _Odd(int(row), "the image cannot be read", f"It cannot be read: {images.error[row]}.")
        for row in np.flatnonzero(~ok)
    ]
    flat = [
        _Odd(int(row), "the image is nearly of one gray", "It is nearly of one gray.") for row in np.flatnonzero(blank)
    ]
    far = [
        _Odd(
            outlier.row,
            "the image is unlike all others",
            f"It is unlike all others: its layout correlates {outlier.likeness:.2f} with that of its fifth nearest, "
            f"where {outlier.usual:.2f} is usual.",
        )
        for outlier in find_outliers(images, ok & ~blank)
    ]
    marks = [
        _Odd(int(row), "the image holds what looks like burnt-in text", _text_detail(int(images.text[row])))
        for row in np.flatnonzero(ok & (images.text >= LEAST_TEXT))
    ]
    masks = [_Odd(*fault) for fault in check_masks(manifest, images, read_mask, memo)]
    of_masks = int((ok & (manifest.mask_path != "")).sum())
    return [
        *_tell("unreadable", unreadable, manifest, len(manifest)),
        *_tell("blank", flat, manifest, int(ok.sum())),
        *_sizes(manifest, images),
        *_modes(manifest, images),
        *_tell("outlier", far, manifest, int(ok.sum())),
        *_tell("text", marks, manifest, int(ok.sum())),
        *_tell("mask", masks, manifest, of_masks),
        *(Finding("patient id", "", f"{remark[0].upper()}{remark[1:]}.") for remark in manifest.remarks),
    ]


def _tell(kind: Kind, odd: list[_Odd], manifest: Manifest, total: int) -> list[Finding]:
    """Name each row, but say once what is true of many."""
    counts = Counter(each.fault for each in odd)
    common = {fault for fault, count in counts.items() if count > max(_FEW, _COMMON * total)}
    once = []
    for fault in sorted(common):
        paths = [str(manifest.path[each.row]) for each in odd if each.fault == fault]
        sentence = f"{fault[0].upper()}{fault[1:]} in {len(paths):,} of {total:,} cases, the first {paths[0]}."
        once.append(Finding(kind, "", sentence))
    return once + [Finding(kind, str(manifest.path[each.row]), each.detail) for each in odd if each.fault not in common]


def _blank(images: Images) -> NDArray[np.bool_]:
    """Return which images are nearly of one gray, (N,)."""
    blank = np.zeros(len(images), bool)
    for start in range(0, len(images), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(images)))
        rows = rows[images.ok[rows]]
        if not len(rows):
            continue
        pixels = images.frames[rows].reshape(len(rows), -1)
        calm = np.flatnonzero(pixels.std(1, dtype=np.float32) < _DEVIATION)
        least = int(_TAIL * pixels.shape[1])
        ordered = np.partition(pixels[calm], (least, -1 - least), axis=1).astype(int)
        blank[rows[calm]] = ordered[:, -1 - least] - ordered[:, least] < _FLAT
    return blank


def _text_detail(marks: int) -> str:
    return f"It holds {marks} mark{'s' * (marks > 1)} that look{'s' * (marks == 1)} like burnt-in letters."


def _sizes(manifest: Manifest, images: Images) -> list[Finding]:
    """Name sizes that are rare, or far from a set of many sizes, and say once that there are many."""
    rows = np.flatnonzero(images.ok)
    if len(rows) < 2:
        return []
    width, height = images.width[rows], images.height[rows]
    sizes = Counter(zip(width.tolist(), height.tolist(), strict=True))
    (usual, count), total = sizes.most_common(1)[0], len(rows)
    name = f"{usual[0]} x {usual[1]}"
    if count == total:
        return []
    if count >= (1 - _RARE) * total and total >= _LEAST:
        odd = (width != usual[0]) | (height != usual[1])
        return _named_sizes(manifest, rows[odd], width[odd], height[odd], f"{count:,} of {total:,} images are {name}")
    areas = np.sort(width * height)
    low, high = (np.flatnonzero(width * height == area)[0] for area in (areas[0], areas[-1]))
    said = Finding(
        "size",
        "",
        f"The images have {len(sizes):,} sizes, from {width[low]} x {height[low]} to {width[high]} x {height[high]} "
        f"pixels; the most frequent, {name}, is that of {count / total:.0%}.",
    )
    octaves = 0.5 * np.log2(width * height)
    aspect = np.log2(width / height)
    odd = _far(octaves, _SCALE) | _far(aspect, _ASPECT)
    if total < _LEAST or odd.sum() > max(_FEW, _RARE * total):
        return [said]
    middle = f"a usual one is {np.median(width):.0f} x {np.median(height):.0f}"
    return [said, *_named_sizes(manifest, rows[odd], width[odd], height[odd], middle)]


def _named_sizes(
    manifest: Manifest, rows: NDArray[np.int64], width: NDArray[np.int64], height: NDArray[np.int64], usual: str
) -> list[Finding]:
    return [
        Finding("size", str(manifest.path[row]), f"It is {wide} x {high} pixels, while {usual}.")
        for row, wide, high in zip(rows, width, height, strict=True)
    ]


def _far(values: NDArray[Any], least: float) -> NDArray[np.bool_]:
    """Return which values lie beyond Tukey's outer fences and at least so far from the median, (N,)."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    beyond = (values > high + _FENCE * (high - low)) | (values < low - _FENCE * (high - low))
    far: NDArray[np.bool_] = beyond & (np.abs(values - middle) >= least)
    return far


def _modes(manifest: Manifest, images: Images) -> list[Finding]:
    """Name modes that are rare among one that most images have; say once that modes are mixed."""
    rows = np.flatnonzero(images.ok)
    modes = Counter(images.mode[rows].tolist())
    if len(modes) < 2:
        return []
    usual, count = modes.most_common(1)[0]
    if len(rows) >= _LEAST and len(rows) - count <= max(1, _RARE * len(rows)):
        odd = rows[images.mode[rows] != usual]
        others = f"while {count:,} of {len(rows):,} images are {usual}"
        details = [f"It is stored as {images.mode[row]}, {others}." for row in odd]
        return [Finding("mode", str(manifest.path[row]), each) for row, each in zip(odd, details, strict=True)]
    listed = ", ".join(f"{mode} {count:,}" for mode, count in modes.most_common())
    return [Finding("mode", "", f"The images are stored in {len(modes)} modes: {listed}.")]
