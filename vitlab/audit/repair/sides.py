"""Sides: the splits of a manifest, or its folds, and how near a repair brings them to what they were."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.data.manifest import SPLITS, Manifest


@dataclass(frozen=True)
class Sides:
    """The sides of one column.

    Attributes:
        names: Name of each side, (S,). Among folds "" is the test, where its images are in none.
        of: Side of each row, -1 where it is left out, (N,).
    """

    names: NDArray[Any]
    of: NDArray[np.int64]

    def table(self, targets: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
        """Return the images by side and class, (S, C), from the class of each row, (N,)."""
        counts = np.zeros((len(self.names), classes), np.int64)
        inside = self.of >= 0
        np.add.at(counts, (self.of[inside], targets[inside]), 1)
        return counts

    def after(self, column: NDArray[Any], side: NDArray[np.int64]) -> NDArray[Any]:
        """Return the column with new sides, (N,); what is left out stays out."""
        column = column.copy()
        inside = (self.of >= 0) & (side >= 0)
        column[inside] = self.names[side[inside]]
        return column


def find_sides(manifest: Manifest, column: Literal["split", "fold"]) -> Sides:
    """Return the sides of a column."""
    values = manifest.column(column)
    placed = values != ""
    if column == "fold" and placed.any():
        placed = placed | (manifest.split == "test")
    names, codes = np.unique(values[placed].astype(str), return_inverse=True)
    of = np.full(len(manifest), -1, np.int64)
    of[placed] = codes
    return Sides(names.astype(object), of)


def partners(first: Sides, second: Sides, side: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which sides of the second column go with a side of the first, -1 for none, in any row, (G, S2).

    So folds stay apart from a published test, and those that a split was made of stay what it is made of.
    """
    seen = np.zeros((len(first.names) + 1, len(second.names)), bool)
    inside = second.of >= 0
    seen[first.of[inside], second.of[inside]] = True  # -1 is the last row
    found: NDArray[np.bool_] = seen[side]
    return found


@dataclass(frozen=True)
class Nearness:
    """How near a split or a fold is to what it was.

    Attributes:
        name: train, val, test, or "fold 1".
        before: Images before.
        after: Images after.
        share: Its share of all images after, relative to that before: 1.01 is one percent too many.
        classes: Largest change of a class's share of it, in percentage points.
        off: The same against what is wanted, which what is dropped may have changed.
    """

    name: str
    before: int
    after: int
    share: float
    classes: float
    off: float


def nearness(
    before: Manifest, after: Manifest, column: Literal["split", "fold"], wanted: dict[str, NDArray[np.float64]]
) -> list[Nearness]:
    """Return how near each side of a column is to what it was.

    Args:
        before: As audited.
        after: As repaired.
        column: Which.
        wanted: Images of each class by side, first those without a label, (C + 1,) each.
    """
    found = []
    old, new = before.column(column), after.column(column)
    for side in sorted(set(old.tolist()) - {""}, key=lambda side: (side not in SPLITS or SPLITS.index(side), side)):
        of_old, of_new = before.label[old == side], after.label[new == side]
        share = (len(of_new) / max(1, (new != "").sum())) / (len(of_old) / (old != "").sum())
        shares = [float((of_new == label).mean()) if len(of_new) else 0.0 for label in ("", *before.classes)]
        off = 100 * float(np.abs(wanted[side] / max(wanted[side].sum(), 1e-9) - shares).max())
        name = f"fold {side}" if column == "fold" else side
        found.append(Nearness(name, len(of_old), len(of_new), share, class_change(of_old, of_new), off))
    return found


def class_change(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Return the largest change of a class's share, in percentage points, 0 where there is nothing to compare."""
    if not len(before) or not len(after):
        return 0.0
    return 100 * max(abs(float((before == name).mean() - (after == name).mean())) for name in set(before.tolist()))
