"""Dropping: which images a repair leaves out, and which copies can stand for one another."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import EXACT, NEIGHBOUR, Pairs, chains
from vitlab.data.manifest import Manifest

Copies = Literal["exact", "near", "none"]
Conflicts = Literal["drop", "keep"]


def find_conflicts(
    manifest: Manifest, pairs: Pairs, picture: NDArray[np.int64], left: NDArray[np.bool_]
) -> dict[int, int]:
    """Return the rows of pictures that have two labels, in order, each with a row of a copy that has another one.

    Args:
        manifest: All images.
        pairs: All pairs of its images.
        picture: Code of each picture, equal where the pixels are, (N,).
        left: Which rows count, (N,).
    """
    chain = chains(pairs.where(pairs.kind != NEIGHBOUR), picture, left)
    found = {}
    labelled = np.flatnonzero(manifest.label != "")
    order = labelled[np.argsort(chain[labelled], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(chain[order]) > 0]) if len(order) else order
    for rows in np.split(order, starts[1:]):
        for row in rows.tolist() if len(set(manifest.label[rows].tolist())) > 1 else ():
            found[row] = int(rows[(manifest.label[rows] != manifest.label[row]).argmax()])
    return dict(sorted(found.items()))


def join_copies(
    manifest: Manifest,
    pairs: Pairs,
    picture: NDArray[np.int64],
    left: NDArray[np.bool_],
    rank: NDArray[np.int64],
    *,
    drop: Copies,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what stays as one image: a leading row for each chain of copies to drop, and the place of every row.

    Args:
        manifest: All images.
        pairs: All pairs of its images.
        picture: Code of each picture, equal where the pixels are, (N,).
        left: Which rows count, (N,).
        rank: Of copies that have a label, if any has, that of lowest rank leads, (N,).
        drop: Which copies become one: those of equal pixels, near ones too (other slices do not), or none.

    Returns:
        Leading rows, (U,), and the index of its leading row for each row, -1 where it is not left, (N,).
    """
    chain = np.arange(len(left))
    if drop != "none":
        of = pairs.kind != NEIGHBOUR if drop == "near" else np.isin(pairs.kind, EXACT)
        chain = chains(pairs.where(of), picture, left)
    rows = np.flatnonzero(left)
    order = rows[np.lexsort((rows, rank[rows], manifest.label[rows] == "", chain[rows]))]
    leads = np.r_[True, chain[order][1:] != chain[order][:-1]]
    lead: NDArray[np.int64] = order[leads]
    unit = np.full(len(left), -1, np.int64)
    unit[order] = np.cumsum(leads) - 1
    return lead, unit


def choose_copies(
    lead: NDArray[np.int64], unit: NDArray[np.int64], label: NDArray[Any], fit: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the row that stays of each chain of copies, of those that have the leading row's label, (U,).

    Args:
        lead: Leading row of each chain, (U,).
        unit: Chain of each row or -1, (N,).
        label: Class of each row, (N,).
        fit: The highest stays, of equal ones the leading row, else the first, (N,).
    """
    rows = np.flatnonzero(unit >= 0)
    rows = rows[label[rows] == label[lead[unit[rows]]]]
    order = rows[np.lexsort((rows, rows != lead[unit[rows]], -fit[rows], unit[rows]))]
    kept: NDArray[np.int64] = order[np.r_[True, unit[order][1:] != unit[order][:-1]]]
    return kept
