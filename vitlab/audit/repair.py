"""Repair: a manifest in which no patient, picture or scan stands on two sides of a split."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import EXACT, NEIGHBOUR, Pairs, chains
from vitlab.audit.groups import find_groups, name_groups, published_patients
from vitlab.data.manifest import SPLITS, Manifest

Copies = Literal["exact", "near", "none"]
Conflicts = Literal["drop", "keep"]


@dataclass(frozen=True)
class Repaired:
    """A repaired manifest.

    Attributes:
        manifest: The rows that are left, with patient_id, where it comes from, and the new splits.
        changes: What was done to which image and why: path, change, reason.
        sizes: Images by split, and by fold where there is one, before and after.
        shares: Largest change of a class's share of a split, in percentage points.
    """

    manifest: Manifest
    changes: list[tuple[str, str, str]]
    sizes: dict[str, tuple[int, int]]
    shares: float


def repair(
    manifest: Manifest,
    pairs: Pairs,
    picture: NDArray[np.int64],
    ok: NDArray[np.bool_],
    *,
    drop: Copies = "exact",
    conflicts: Conflicts = "drop",
) -> Repaired:
    """Keep groups on one side, and splits and classes as near as that allows to what they were.

    Groups that stand in one split stay there. Each other group goes, largest first, where splits and classes lack most
    of what they had; images that are left out of the splits stay out. A `fold` column is repaired in the same way.

    Args:
        manifest: As published: with its own splits and folds, if any.
        pairs: All pairs of its images.
        picture: Code of each picture, equal where the pixels are, (N,).
        ok: Whether each image could be read; the others are dropped, (N,).
        drop: Which copies are dropped: those of equal pixels, near ones too (other slices stay), or none.
        conflicts: Whether a picture that has two labels is dropped in all its exact and near copies.

    Raises:
        ValueError: No image would be left.
    """
    changes: list[tuple[str, str, str]] = []
    left = ok.copy()
    for row in np.flatnonzero(~ok).tolist():
        changes.append((manifest.path[row], "dropped", "cannot be read"))
    copies = np.isin(pairs.kind, EXACT) if drop != "near" else pairs.kind != NEIGHBOUR
    if conflicts == "drop":
        for row, other in _conflicts(manifest, chains(pairs.where(pairs.kind != NEIGHBOUR), picture, left)):
            left[row] = False
            reason = f"label {manifest.label[row]}, but the same picture is {manifest.label[other]} in "
            changes.append((manifest.path[row], "dropped", reason + manifest.path[other]))
    groups = find_groups(manifest, pairs)
    # Of copies, that of the smallest split stays: a test set loses most by losing images.
    sizes = {part: int((manifest.split == part).sum()) for part in SPLITS}
    if drop != "none":
        rank = np.array([sizes.get(part, len(manifest)) for part in manifest.split])
        for row, kept in _copies(chains(pairs.where(copies), picture, left), left, rank):
            left[row] = False
            changes.append((manifest.path[row], "dropped", f"a copy of {manifest.path[kept]}"))
    if not left.any():
        raise ValueError("a repair would drop every image: keep some with --conflicts=keep or --drop=none")
    names, origins = name_groups(published_patients(manifest), groups)
    columns: dict[str, Any] = {"patient_id": names, "patient_id_origin": origins}
    if (manifest.patient_id != "").any():
        columns["original_patient_id"] = published_patients(manifest)
    for name in ("split", "fold"):
        if not (manifest.column(name) != "").any():
            continue
        before = manifest.column(name).copy()
        if name == "fold" and "split" in columns:
            before = _fold_or_test(before, manifest.split, columns["split"], groups)
        after = before.copy()
        sided = left & (before != "")
        after[sided] = _one_side(before[sided], groups[sided], manifest.label[sided], before)
        columns[name] = after
        changes += [
            (
                manifest.path[row],
                f"{name} {manifest.column(name)[row] or 'none'} -> {after[row] or 'none'}",
                f"all of {names[row]} on one side",
            )
            for row in np.flatnonzero(left & (after != manifest.column(name)))
        ]
    fixed = manifest.with_columns(**columns).where(np.flatnonzero(left))
    both, shares = _compare(manifest, fixed)
    return Repaired(fixed, changes, both, shares)


def _conflicts(manifest: Manifest, chain: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the rows of pictures that have two labels, each with a row of its chain that has another one."""
    found = []
    labelled = np.flatnonzero(manifest.label != "")
    order = labelled[np.argsort(chain[labelled], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(chain[order]) > 0]) if len(order) else order
    for rows in np.split(order, starts[1:]):
        for row in rows.tolist() if len(set(manifest.label[rows].tolist())) > 1 else ():
            found.append((row, int(rows[(manifest.label[rows] != manifest.label[row]).argmax()])))
    return sorted(found)


def _fold_or_test(
    fold: NDArray[Any], published: NDArray[Any], split: NDArray[Any], groups: NDArray[np.int64]
) -> NDArray[Any]:
    """Return folds in which no test row has one, if none had, and every row that has left the test has one, (N,)."""
    held_out = (published == "test") & (fold == "")
    if not held_out.any():
        return fold
    folds = np.where(split == "test", "", fold).astype(object)
    names, sizes = np.unique(folds[folds != ""].astype(str), return_counts=True)
    for row in np.flatnonzero(held_out & (split != "test")):
        of_group = folds[(groups == groups[row]) & (folds != "")]
        folds[row] = of_group[0] if len(of_group) else names[sizes.argmin()]
        sizes += names == folds[row]
    return folds


def _copies(chain: NDArray[np.int64], left: NDArray[np.bool_], rank: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the rows to drop, each with the row that stays: that of lowest rank of each chain."""
    order = np.lexsort((np.arange(len(chain)), rank, chain))
    order = order[left[order]]
    leads = np.r_[True, chain[order][1:] != chain[order][:-1]] if len(order) else np.zeros(0, bool)
    lead = order[np.maximum.accumulate(np.where(leads, np.arange(len(order)), 0))] if len(order) else order
    return sorted((int(row), int(kept)) for row, kept in zip(order, lead, strict=True) if row != kept)


def _one_side(
    side: NDArray[Any], groups: NDArray[np.int64], label: NDArray[Any], published: NDArray[Any]
) -> NDArray[Any]:
    """Return a side for each row so that no group has two."""
    sides, codes = np.unique(side.astype(str), return_inverse=True)
    classes, targets = np.unique(label.astype(str), return_inverse=True)
    _, members = np.unique(groups, return_inverse=True)
    count = np.zeros((members.max(initial=-1) + 1, len(sides)), np.int64)
    np.add.at(count, (members, codes), 1)
    by_class = np.zeros((len(count), len(classes)), np.int64)
    np.add.at(by_class, (members, targets), 1)
    whole = (count > 0).sum(1) == 1
    chosen = count.argmax(1)
    have = np.zeros((len(sides), len(classes)))
    np.add.at(have, chosen[whole], by_class[whole])
    # The shares of what was published, of what is left of each class.
    share = np.array([(published == name).sum() for name in sides]) / max(1, np.isin(published, sides).sum())
    want = share[:, None] * by_class.sum(0)
    for group in sorted(np.flatnonzero(~whole), key=lambda group: (-by_class[group].sum(), group)):
        allowed = np.flatnonzero(count[group] > 0)
        lack = ((want - have) * by_class[group] / np.maximum(want, 1)).sum(1)
        chosen[group] = allowed[lack[allowed].argmax()]
        have[chosen[group]] += by_class[group]
    after: NDArray[Any] = sides[chosen[members]].astype(object)
    return after


def _compare(before: Manifest, after: Manifest) -> tuple[dict[str, tuple[int, int]], float]:
    """Return the sizes of all sides and the largest change of a class's share of one, in percentage points."""
    sizes: dict[str, tuple[int, int]] = {}
    largest = 0.0
    for name, prefix in (("split", ""), ("fold", "fold ")):
        for side in sorted(set(before.column(name).tolist()) - {""}, key=lambda side: (side not in SPLITS, side)):
            old, new = before.label[before.column(name) == side], after.label[after.column(name) == side]
            sizes[prefix + side] = len(old), len(new)
            if len(old) and len(new):
                changes = [abs((old == label).mean() - (new == label).mean()) for label in before.classes]
                largest = max(largest, *changes, 0.0)
    return sizes, 100 * largest
