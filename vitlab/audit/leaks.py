"""Leaks: how many images of each split the training split has already shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import EXACT, Pairs
from vitlab.audit.images import Images
from vitlab.data.manifest import SPLITS


@dataclass(frozen=True)
class Seen:
    """What training has shown of each image; False for the training images themselves.

    Attributes:
        identical: Its decoded pixels equal those of a training image, (N,).
        near: Not identical, but a padded or near copy, or another slice of the same scan, is in training, (N,).
        picture: Code of the picture: equal where the pixels are, (N,).
    """

    identical: NDArray[np.bool_]
    near: NDArray[np.bool_]
    picture: NDArray[np.int64]


def seen_in_training(images: Images, pairs: Pairs, split: NDArray[Any]) -> Seen:
    """Compare every split with the training split.

    Args:
        images: All images.
        pairs: All pairs; for images of equal pixels the pairs of one count for all.
        split: Of each image, (N,).
    """
    unreadable = np.array([f"row {row}" for row in range(len(images))], object)
    picture = np.unique(np.where(images.ok, images.pixel_sha, unreadable).astype(str), return_inverse=True)[1]
    train = (split == "train") & images.ok
    elsewhere = (split != "train") & (split != "") & images.ok
    identical = elsewhere & np.isin(picture, picture[train])
    other = ~np.isin(pairs.kind, EXACT[:2])
    first, second = picture[pairs.first[other]], picture[pairs.second[other]]
    trained = np.zeros(picture.max(initial=0) + 1, bool)
    trained[picture[train]] = True
    like_training = np.zeros_like(trained)
    like_training[first[trained[second]]] = True
    like_training[second[trained[first]]] = True
    return Seen(identical, elsewhere & ~identical & like_training[picture], picture)


def count_splits(seen: Seen, split: NDArray[Any], label: NDArray[Any]) -> dict[str, dict[str, Any]]:
    """Return the figures of each split that is not the training split, as audit.json holds them."""
    return {
        part: {
            **_count(seen, split == part),
            "unseen_distinct": len(np.unique(seen.picture[(split == part) & ~seen.identical])),
            "by_class": {
                name: _count(seen, (split == part) & (label == name))
                for name in sorted(set(label[split == part].tolist()) - {""})
            },
        }
        for part in SPLITS[1:]
        if (split == part).any()
    }


def _count(seen: Seen, rows: NDArray[np.bool_]) -> dict[str, int]:
    number, identical = int(rows.sum()), int((rows & seen.identical).sum())
    return {
        "n": number,
        "identical_in_train": identical,
        "near_in_train": int((rows & seen.near).sum()),
        "unseen": number - identical,
    }
