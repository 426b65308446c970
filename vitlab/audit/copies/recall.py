"""Recall and precision of the search for copies, on planted ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import NEIGHBOUR, Pairs
from vitlab.audit.copies.planting import FAULTS, Planted, plant
from vitlab.audit.copies.search import compared_pairs, find_pairs
from vitlab.audit.images import read_images
from vitlab.audit.leaks import seen_in_training
from vitlab.audit.memo import Memo
from vitlab.data.decode import Decoded, open_image
from vitlab.data.manifest import Manifest


def planted_table(
    manifest: Manifest, decode: Callable[[str], Decoded], folder: Path, *, each: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Plant copies across splits, audit them, and return how many are found, see `recall_and_precision`.

    Args:
        manifest: The set.
        decode: Opens a path of the manifest.
        folder: For the copies and all intermediate results; may be removed afterwards.
        each: Copies of each fault.
        seed: Of the draw and of the changes.

    Raises:
        ValueError: No image can be read.
    """
    own = set(manifest.path.tolist())
    planted = plant(manifest, decode, folder / "images", each=each, seed=seed)
    memo = Memo(planted.manifest, folder / "memo")
    images = read_images(planted.manifest, lambda path: decode(path) if path in own else open_image(Path(path)), memo)
    pairs = find_pairs(images, memo, (planted.fault >= 0).astype(np.int64))
    seen = seen_in_training(images, pairs, planted.manifest.split)
    return recall_and_precision(planted, pairs, seen.identical | seen.near, compared_pairs(images, memo))


def recall_and_precision(
    planted: Planted, pairs: Pairs, flagged: NDArray[np.bool_], compared: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return how many copies of each fault are found, and how many pairs that they are in are true.

    A pair is true where both show the same original or, with patient ids, the same patient; `strangers` counts the
    others. With patient ids a last row tells how many neighbours are found: images of one patient that stand behind one
    another in the manifest; `compared` there are the pairs of two patients that looked alike enough to be registered.

    Args:
        planted: What was planted.
        pairs: What was found in it.
        flagged: Which images the audit says to be seen in training, (N,).
        compared: Rows of all pairs that were registered, (C, 2).

    Returns:
        One dict a fault: kind, strength, n, found (the pair with the original), flagged, recall (of found), pairs,
        strangers, compared (pairs of strangers that were registered), precision, named (found pairs whose kind is the
        planted one).
    """
    original, patient, fault = planted.original, planted.manifest.patient_id, planted.fault
    first, second = pairs.first, pairs.second
    stranger = _strangers(original, patient, first, second)
    refused = compared[_strangers(original, patient, compared[:, 0], compared[:, 1])]
    rows = []
    for number, (kind, strength, _, _) in enumerate(FAULTS):
        copies = np.flatnonzero(fault == number)
        of_copies = (fault[first] == number) | (fault[second] == number)
        straight = of_copies & ((first == original[second]) | (second == original[first]))
        named = straight & (pairs.kind == kind)
        rows.append(
            _row(
                kind,
                strength,
                n=len(copies),
                found=len(np.unique(np.where(fault[first] == number, first, second)[straight])),
                flagged=int(flagged[copies].sum()),
                pairs=int(of_copies.sum()),
                strangers=int((of_copies & stranger).sum()),
                compared=int((fault[refused] == number).any(1).sum()),
                named=int(named.sum()),
            )
        )
    own = (fault[first] < 0) & (fault[second] < 0)
    of_set = fault < 0
    following = np.flatnonzero(of_set[:-1] & of_set[1:] & (patient[:-1] == patient[1:]) & (patient[:-1] != ""))
    if len(following):
        linked = set(zip(first.tolist(), second.tolist(), strict=True))
        found_next = sum((row, row + 1) in linked for row in following.tolist())
        rows.append(
            _row(
                NEIGHBOUR,
                "next image",
                n=len(following),
                found=found_next,
                flagged=0,
                pairs=int(own.sum()),
                strangers=int((own & stranger).sum()),
                compared=int((fault[refused] < 0).all(1).sum()),
                named=int((pairs.kind[own] == NEIGHBOUR).sum()),
            )
        )
    return rows


def _strangers(
    original: NDArray[np.int64], patient: NDArray[Any], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which pairs show neither the same original nor the same known patient, (P,)."""
    one = (patient[first] != "") & (patient[first] == patient[second])
    strangers: NDArray[np.bool_] = (original[first] != original[second]) & ~one.astype(bool)
    return strangers


def _row(kind: str, strength: str, **counts: int) -> dict[str, Any]:
    precision = 1 - counts["strangers"] / counts["pairs"] if counts["pairs"] else 1.0
    recall = counts["found"] / max(1, counts["n"])
    return {"kind": kind, "strength": strength, **counts, "recall": recall, "precision": precision}
