"""The repair itself: what is dropped, what moves, and how near that is to what was audited."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import Pairs
from vitlab.audit.groups import find_groups, name_groups, published_patients
from vitlab.audit.repair.balance import balance, target
from vitlab.audit.repair.dropping import Conflicts, Copies, choose_copies, find_conflicts, join_copies
from vitlab.audit.repair.sides import Nearness, Sides, class_change, find_sides, nearness, partners
from vitlab.data.manifest import Manifest
from vitlab.data.names import hash_rank


@dataclass(frozen=True)
class Repaired:
    """A repaired manifest.

    Attributes:
        manifest: The rows that are left, with patient_id, where it comes from, and the new splits.
        changes: What was done to which image and why: path, change, reason.
        near: Sizes and classes of each split and fold, before and after.
        dropped_classes: Largest change of a class's share of all images, in percentage points: no split can be nearer
            to what it was in all its classes unless another is less near.
        largest_group: Images of the largest group.
    """

    manifest: Manifest
    changes: list[tuple[str, str, str]]
    near: list[Nearness]
    dropped_classes: float
    largest_group: int


def repair(
    manifest: Manifest,
    pairs: Pairs,
    picture: NDArray[np.int64],
    ok: NDArray[np.bool_],
    *,
    drop: Copies = "exact",
    conflicts: Conflicts = "drop",
    seed: int = 0,
) -> Repaired:
    """Put each group on one side, so that sizes and classes are near to what they were and few images move.

    Images that are left out of the splits stay out. Of copies that become one, that on the side of its group stays.

    Args:
        manifest: With the splits that were audited, and with folds, if any.
        pairs: All pairs of its images.
        picture: Code of each picture, equal where the pixels are, (N,).
        ok: Whether each image could be read; the others are dropped, (N,).
        drop: Which copies are dropped: those of equal pixels, near ones too (other slices stay), or none.
        conflicts: Whether a picture that has two labels is dropped in all its exact and near copies.
        seed: Says which of several groups that hold the same move.

    Raises:
        ValueError: No image would be left.
    """
    changes = [(manifest.path[row], "dropped", "cannot be read") for row in np.flatnonzero(~ok).tolist()]
    left = ok.copy()
    if conflicts == "drop":
        for row, other in find_conflicts(manifest, pairs, picture, left).items():
            left[row] = False
            reason = f"label {manifest.label[row]}, but the same picture is {manifest.label[other]} in "
            changes.append((manifest.path[row], "dropped", reason + manifest.path[other]))
    if not left.any():
        raise ValueError("a repair would drop every image: keep some with --conflicts=keep or --drop=none")
    groups = find_groups(manifest, pairs)
    splits, folds = find_sides(manifest, "split"), find_sides(manifest, "fold")
    # Of copies that in the smallest split leads: it has the fewest images to lose. What is left out, -1, comes last.
    leading = splits if len(splits.names) else folds
    sizes = np.append(np.bincount(leading.of[leading.of >= 0], minlength=len(leading.names)), len(manifest))
    lead, unit = join_copies(manifest, pairs, picture, left, sizes[leading.of], drop=drop)
    # The finer column first, if it says what the other is: folds that the splits are made of, or beside a test.
    of_each_fold = partners(folds, splits, np.arange(len(folds.names))).sum(1)
    order = (folds, splits) if of_each_fold.max(initial=0) == 1 else (splits, folds)
    first = _choose(manifest, order[0], groups, lead, unit, np.ones((len(left), len(order[0].names)), bool), seed)
    second = _choose(manifest, order[1], groups, lead, unit, partners(*order, first.side), seed)
    of_split, of_fold = (first, second) if order[0] is splits else (second, first)
    fit = 2 * (splits.of == of_split.side) + (folds.of == of_fold.side)
    kept = choose_copies(lead, unit, manifest.label, np.where(leading.of >= 0, fit, -1))
    stays = np.zeros(len(left), bool)
    stays[kept] = True
    for row in np.flatnonzero(left & ~stays).tolist():
        changes.append((manifest.path[row], "dropped", f"a copy of {manifest.path[kept[unit[row]]]}"))
    names, origins = name_groups(published_patients(manifest), groups)
    columns: dict[str, Any] = {"patient_id": names, "patient_id_origin": origins}
    if (manifest.patient_id != "").any():
        columns["original_patient_id"] = published_patients(manifest)
    new = {
        name: sides.after(manifest.column(name), choice.side)
        for name, sides, choice in (("split", splits, of_split), ("fold", folds, of_fold))
        if len(sides.names)
    }
    tangled = first.tangled | second.tangled
    for row in np.flatnonzero(stays).tolist():
        both = [(name, manifest.column(name)[row], after[row]) for name, after in new.items()]
        change = ", ".join(f"{name} {old or 'none'} -> {now or 'none'}" for name, old, now in both if old != now)
        if change:
            why = f"tangled: all of {names[row]} on one side" if tangled[row] else "balance: sizes and classes"
            changes.append((manifest.path[row], change, why))
    fixed = manifest.with_columns(**columns, **new).where(np.flatnonzero(stays))
    counted = leading.of >= 0
    near = [*nearness(manifest, fixed, "split", of_split.wanted), *nearness(manifest, fixed, "fold", of_fold.wanted)]
    largest = int(np.unique(names[stays], return_counts=True)[1].max())
    changed = class_change(manifest.label[counted], manifest.label[stays & counted])
    return Repaired(fixed, changes, near, changed, largest)


@dataclass(frozen=True)
class _Choice:
    """Where groups go.

    Attributes:
        side: Of each row's group, -1 where it has none, (N,).
        tangled: Whether some image of each row's group had to move, (N,).
        wanted: Images of each class by side, first those without a label, (C + 1,) each.
    """

    side: NDArray[np.int64]
    tangled: NDArray[np.bool_]
    wanted: dict[str, NDArray[np.float64]]


def _choose(
    manifest: Manifest,
    sides: Sides,
    groups: NDArray[np.int64],
    lead: NDArray[np.int64],
    unit: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    seed: int,
) -> _Choice:
    """Choose a side for each group.

    Args:
        manifest: With the splits that were audited.
        sides: Where its images stand.
        groups: Group of each row, (N,).
        lead: Rows that lead copies that become one, (U,).
        unit: Place in `lead` of each row, -1 where it is dropped, (N,).
        allowed: Sides where each row's group may go, (N, S); where there is none, it may to those that it stands on.
        seed: Says which of several groups that hold the same move.
    """
    side, tangled = np.full(len(unit), -1, np.int64), np.zeros(len(unit), bool)
    placed = sides.of[lead] >= 0
    rows, label, classes = lead[placed], manifest.targets + 1, len(manifest.classes) + 1  # 0 is without a label
    wanted = target(sides.table(label, classes), np.bincount(label[rows], minlength=classes))
    named = dict(zip(sides.names.tolist(), wanted, strict=True))
    if not placed.any():
        return _Choice(side, tangled, named)
    codes, example, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    free = np.zeros((len(lead), len(sides.names)), bool)
    alike = (unit >= 0) & (sides.of >= 0)
    alike[alike] = manifest.label[alike] == manifest.label[lead[unit[alike]]]
    free[unit[alike], sides.of[alike]] = True
    free = free[placed]
    moved, stands = np.zeros((2, len(codes), len(sides.names)), np.int64)
    np.add.at(moved, group, ~free)
    np.add.at(stands, group, free)
    may = allowed[rows[example]]
    may = np.where(may.any(1, keepdims=True), may, stands > 0)
    rank = np.full(len(codes), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(rank, group, hash_rank(manifest.path[rows].tolist(), seed, "repair"))
    chosen = balance(wanted, label[rows], free, group, may, rank)
    known = np.isin(groups, codes)
    at = np.searchsorted(codes, groups[known])
    side[known], tangled[known] = chosen[at], moved.min(1)[at] > 0
    return _Choice(side, tangled, named)
