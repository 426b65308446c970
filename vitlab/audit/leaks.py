"""Leaks: how many images of each split the training split has already shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import Pairs, chains
from vitlab.audit.images import Images
from vitlab.data.manifest import SPLITS


@dataclass(frozen=True)
class Seen:
    """What training has shown of each image; False for the training images themselves.

    Attributes:
        identical: Its decoded pixels equal those of a training image, (N,).
        near: Not identical, but a chain of copies or neighbouring slices leads from it to a training image, (N,).
        picture: Code of the picture: equal where the pixels are, (N,); unreadable and blank images are alone.
        readable: Whether the image could be read, (N,).
    """

    identical: NDArray[np.bool_]
    near: NDArray[np.bool_]
    picture: NDArray[np.int64]
    readable: NDArray[np.bool_]


def seen_in_training(images: Images, pairs: Pairs, split: NDArray[Any]) -> Seen:
    """Compare every split with the training split.

    Args:
        images: All images; one without a picture, unreadable or blank, is like no other.
        pairs: All pairs; for images of equal pixels the pairs of one count for all.
        split: Of each image, (N,).
    """
    own = np.array([f"row {row}" for row in range(len(images))], object)
    picture = np.unique(np.where(images.pictured, images.pixel_sha, own).astype(str), return_inverse=True)[1]
    train = (split == "train") & images.ok
    elsewhere = (split != "train") & (split != "") & images.ok
    identical = elsewhere & np.isin(picture, picture[train])
    chain = chains(pairs, picture)
    near = elsewhere & ~identical & np.isin(chain, chain[train])
    return Seen(identical, near, picture, images.ok)


def count_splits(seen: Seen, split: NDArray[Any], label: NDArray[Any]) -> dict[str, dict[str, Any]]:
    """Return the figures of each split that is not the training split, as audit.json holds them."""
    return {
        part: {
            **_count(seen, split == part),
            "unseen_distinct": len(np.unique(seen.picture[(split == part) & ~seen.identical & seen.readable])),
            "unreadable": int(((split == part) & ~seen.readable).sum()),
            "unlabelled": int(((split == part) & (label == "") & seen.readable).sum()),
            "by_class": {
                name: _count(seen, (split == part) & (label == name))
                for name in sorted(set(label[split == part].tolist()) - {""})
            },
        }
        for part in SPLITS[1:]
        if (split == part).any()
    }


def splits_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures of each split that is not the training split, by its name."""
    return {part: report[part] for part in SPLITS[1:] if part in report}


def persons_across(report: dict[str, Any]) -> int:
    """Return how many pairs of patients that may be one person stand on two sides; who is left out is on none."""
    sides = [[set(parts) for parts in found["splits"]] for found in report["patients"]["alike"]]
    return sum(bool(first and second) and first != second for first, second in sides)


def _count(seen: Seen, rows: NDArray[np.bool_]) -> dict[str, int]:
    rows = rows & seen.readable
    number, identical = int(rows.sum()), int((rows & seen.identical).sum())
    return {
        "n": number,
        "identical_in_train": identical,
        "near_in_train": int((rows & seen.near).sum()),
        "unseen": number - identical,
    }
