"""What the page's script needs to show pairs: their facts, and each picture once however many pairs it is in."""

import base64
import io
import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.audit.copies.pairs import KINDS, Pairs, across, conflicting, worst_first
from vitlab.audit.images import Images
from vitlab.report.markup import printable

SHOWN: Final = 1000  # pairs; about 5 MB of pictures, which a browser opens in a second
_EACH: Final = 20  # pairs of a kind are shown even where worse ones fill the page
_QUALITY: Final = 85  # of JPEG; no block is seen at twice the size
_SIDE: Final = 96  # px, the longer one; more than the audit keeps of an image would be made up


def choose_pairs(pairs: Pairs, split: NDArray[Any], label: NDArray[Any], limit: int = SHOWN) -> Pairs:
    """Return the pairs to show, worst first: the worst ones, with some of every kind that was found.

    Args:
        pairs: All pairs.
        split: Of each image, (N,).
        label: Of each image, "" where it has none, (N,).
        limit: How many to show.
    """
    order = worst_first(pairs, split, label)
    if len(order) <= limit:
        return pairs.where(order)
    kinds = pairs.kind[order]
    kept = np.zeros(len(order), bool)
    each = min(_EACH, limit // len(KINDS))
    for kind in KINDS:
        kept[np.flatnonzero(kinds == kind)[:each]] = True
    kept[np.flatnonzero(~kept)[: limit - int(kept.sum())]] = True
    return pairs.where(order[kept])


class Pictures:
    """Small pictures, each held once.

    Args:
        images: All images.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._number: dict[int, int] = {}
        self._encoded: list[list[Any]] = []

    def number(self, row: int) -> int:
        """Return the number under which the page finds the picture of an image; -1 where it cannot be read."""
        if not self._images.ok[row]:
            return -1
        if row not in self._number:
            self._number[row] = len(self._encoded)
            self._encoded.append(_encode(self._images, row))
        return self._number[row]

    @property
    def encoded(self) -> list[list[Any]]:
        """Of each picture: width and height in px, and its JPEG file in base64."""
        return self._encoded


def _encode(images: Images, row: int) -> list[Any]:
    width, height = int(images.width[row]), int(images.height[row])
    longer = max(width, height)
    shape = max(1, round(_SIDE * width / longer)), max(1, round(_SIDE * height / longer))
    file = io.BytesIO()
    Image.fromarray(np.asarray(images.frames[row])).resize(shape, Image.Resampling.BILINEAR).save(
        file, "JPEG", quality=_QUALITY
    )
    return [*shape, base64.b64encode(file.getvalue()).decode("ascii")]


def page_data(
    pairs: Pairs,
    images: Images,
    pictures: Pictures,
    *,
    paths: NDArray[Any],
    labels: NDArray[Any],
    splits: NDArray[Any],
) -> str:
    """Return what the script reads, as JSON that can stand inside a script element.

    Args:
        pairs: Those to show, in their order.
        images: All images, for sizes.
        pictures: Those of the page so far; the pairs' are added.
        paths: Of each image, (N,).
        labels: Of each image, "" where it has none, (N,).
        splits: Of each image, "" where it has none, (N,).
    """
    sides, conflicts = across(pairs, splits), conflicting(pairs, labels)
    listed = [
        {
            "kind": str(pairs.kind[at]),
            "score": round(float(pairs.score[at]), 4),
            "splits": bool(sides[at]),
            "labels": bool(conflicts[at]),
            "images": [
                {
                    "picture": pictures.number(row),
                    "path": printable(paths[row]),
                    "split": printable(splits[row]),
                    "label": printable(labels[row]),
                    "size": f"{images.width[row]} x {images.height[row]} px",
                }
                for row in (int(pairs.first[at]), int(pairs.second[at]))
            ],
        }
        for at in range(len(pairs))
    ]
    return script_json({"pairs": listed, "pictures": pictures.encoded})


def script_json(value: dict[str, Sequence[Any]]) -> str:
    """Return JSON in which no text can end the script element or open a comment in it."""
    plain = json.dumps(value, separators=(",", ":"))  # ASCII: U+2028 and the like are escaped too
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
