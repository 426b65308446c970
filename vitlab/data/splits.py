"""Splits by patient: stratified folds and cuts, and nested subsets for label fractions.

A group is a patient, or a single image where no patient is known; it is never divided. Groups are ordered by a hash of
(seed, patient), so that a split depends neither on the order of the rows, nor on the machine, nor on numpy's version.
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.data.manifest import Manifest
from vitlab.data.names import hash_rank, unique

Ints = NDArray[np.int64]
_IMAGE = "image:"  # starts the group of an image whose patient is unknown


def stratified_group_folds(
    targets: Ints, groups: NDArray[np.str_], n_folds: int, seed: int, classes: Sequence[str] = (), least: int = 2
) -> Ints:
    """Puts each group into one of n_folds folds of like size and like shares of each class.

    Args:
        targets: Class of each row, -1 where it has no label, (N,).
        groups: Group of each row, (N,); a group may have rows of several classes.
        n_folds: Number of folds, at least 2.
        seed: Other seeds give other folds.
        classes: Names for the error message.
        least: Folds that there must be, for the error message.

    Returns:
        Fold of each row, 1 to n_folds, (N,).

    Raises:
        ValueError: A class has fewer groups than there are folds.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds is {n_folds}; give at least 2 folds")
    names, codes = unique(groups)
    owners = np.unique(targets * len(names) + codes) // len(names)  # the class of each pair of class and group
    for target, count in zip(*np.unique(owners[owners >= 0], return_counts=True), strict=True):
        if count < n_folds:
            name = str(classes[target] if classes else target)
            unit = "image" if groups[targets == target][0].startswith(_IMAGE) else "patient"
            unit += "s" if count > 1 else ""
            to_do = f"set n_folds to at most {count}" if count >= least else f"find {least} at least"
            raise ValueError(
                f"class {name!r} has {count} {unit}, too few for {n_folds} folds: {to_do}, or leave the class out"
            )
    return _deal(targets, groups, np.full(n_folds, 1 / n_folds), seed) + 1


def nested_subset(targets: Ints, groups: NDArray[np.str_], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Chooses groups of each class until they hold a fraction of its rows; a smaller fraction's choice is inside.

    Args:
        targets: Class of each row, -1 where it has no label, (N,).
        groups: Group of each row, (N,).
        fraction: Share of the labelled rows to keep, in (0, 1].
        seed: Other seeds give other subsets.

    Returns:
        Whether each row is kept, (N,). At least one group of every class is; groups without any label are.
    """
    names, codes = unique(groups)
    rank = hash_rank(names, seed, "label_fraction")
    labelled = targets >= 0
    pairs, rows = np.unique((targets * len(names) + codes)[labelled], return_counts=True)
    target, group = np.divmod(pairs, len(names))  # one entry per pair of class and group
    # The first patient of each class is in every subset, also where patients have slices of several classes.
    order = np.lexsort((rank[group], target))
    first = np.zeros(len(names), bool)
    first[group[order][np.unique(target[order], return_index=True)[1]]] = True
    # Otherwise a patient counts for the class of most slices.
    order = np.lexsort((target, -rows, group))
    members, at = np.unique(group[order], return_index=True)
    stratum, size = target[order][at], np.bincount(group, rows)[members]
    order = np.lexsort((rank[members], ~first[members], stratum))
    kept = np.ones(len(names), bool)
    for run in np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1):
        reached = np.cumsum(size[run])
        kept[members[run[1 + np.abs(reached - fraction * reached[-1]).argmin() :]]] = False
    return (kept | first)[codes]


def assign_splits(
    manifest: Manifest,
    *,
    fold: int | None = None,
    n_folds: int = 5,
    val_fraction: float = 0.15,
    test_fraction: float = 0.2,
    label_fraction: float = 1.0,
    group_by: Literal["patient", "image"] = "patient",
    seed: int = 0,
) -> Manifest:
    """Gives every row a split: train, val, test, or none ("") where it is left out.

    With a fold, test is that fold, val the next one (the first after the last) and train the rest; folds are those of
    the manifest's `fold` column, or made here. Where these are made, or leave the published test out, rows published as
    test stay test and the fold is val. Without a fold published splits are kept, and a missing val or test is cut from
    train. Where some rows are published as train, those without a split and fold are left out.

    Args:
        manifest: Rows with labels, patients and published splits.
        fold: Number of the fold, from 1.
        n_folds: How many folds to make where the manifest has no `fold` column.
        val_fraction: Share of the training rows to cut for val where no val is published.
        test_fraction: Share of the rows to cut for test where no test is published.
        label_fraction: Share of the training rows that keep their place, by patient and class.
        group_by: "image" deals single images, whatever patient they show, and leaves the `fold` column aside: the split
            that leaks, to measure by how much.
        seed: Of made folds, cuts and label fractions.

    Returns:
        The manifest with a new `split` column.

    Raises:
        ValueError: A setting is out of range, a class has too few patients, or train lacks a class.
    """
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}; give a share above 0 and below 1")
    if not 0 < label_fraction <= 1:
        raise ValueError(f"label_fraction is {label_fraction}; give a share above 0 and at most 1")
    patients = _groups(manifest)
    groups, dealt = patients, manifest
    if group_by == "image":
        groups = np.char.add(_IMAGE, manifest.path.astype(str))
        published, foldless = manifest.split, np.full(len(manifest), "", dtype=object)
        if fold is not None:  # a row that has one is dealt, as by patients
            published = np.where((published == "") & (manifest.column("fold") != ""), "train", published)
        dealt = manifest.with_columns(split=published, fold=foldless)
    if fold is None:
        split = _cut(dealt, groups, val_fraction, test_fraction, seed)
    else:
        split = _by_fold(dealt, groups, fold, n_folds, seed)
    _report_leaks(split, patients)
    train = np.flatnonzero(split == "train")
    if label_fraction < 1 and len(train):
        kept = nested_subset(manifest.targets[train], groups[train], label_fraction, seed)
        split[train[~kept]] = ""
    _check_classes(manifest, split)
    return manifest.with_columns(split=split.astype(object))


def _groups(manifest: Manifest) -> NDArray[np.str_]:
    """Returns the patient of each row, or the image's own path, which other than its row number stays with it."""
    patients = manifest.patient_id.astype(str)
    missing = patients == ""
    if missing.any():
        rows = ": each image" if missing.all() else f" in {missing.sum()} of {len(missing)} rows: each of these images"
        warnings.warn(f"no patient ids{rows} is its own group", stacklevel=3)
    return np.where(missing, np.char.add(_IMAGE, manifest.path.astype(str)), patients)


def _by_fold(manifest: Manifest, groups: NDArray[np.str_], fold: int, n_folds: int, seed: int) -> NDArray[np.str_]:
    published = manifest.split.astype(str)
    column = manifest.columns.get("fold", np.full(len(manifest), "")).astype(str)
    # As in `_cut`: where something is published as train, what has no split stays out, unless it has a fold.
    left_out = (published == "") & (column == "") & (published == "train").any()
    if (column != "").any():
        # The manifest's own folds decide; rows outside them can only be a published test set, or left out.
        pool = column != ""
        if (bare := ~pool & ~left_out & (published != "test")).any():
            raise ValueError(
                f"{manifest.place} has {bare.sum()} rows without a fold that are not published as test, first "
                f"{manifest.line(int(bare.argmax()))}: fill the column 'fold'"
            )
        try:
            numbers = column[pool].astype(np.int64)
        except ValueError:
            raise ValueError(f"{manifest.place}: the column 'fold' must hold whole numbers: 1, 2, 3, ...") from None
    else:
        pool = (published != "test") & ~left_out
        numbers = None
    held_out = bool((~pool & ~left_out).any())
    names = list(range(1, n_folds + 1)) if numbers is None else [int(number) for number in np.unique(numbers)]
    if len(names) < (least := 2 if held_out else 3):
        raise ValueError(f"{len(names)} folds are too few for train, val and test: give at least {least}")
    if fold not in names:
        raise ValueError(f"fold {fold} does not exist: the folds are {names[0]} to {names[-1]}")
    if numbers is None:
        numbers = stratified_group_folds(manifest.targets[pool], groups[pool], n_folds, seed, manifest.classes, least)
    following = names[(names.index(fold) + 1) % len(names)]
    val, test = (fold, None) if held_out else (following, fold)
    split = np.where(left_out, "", "test").astype("<U5")
    split[pool] = np.where(numbers == val, "val", np.where(numbers == test, "test", "train"))
    return split


def _cut(
    manifest: Manifest, groups: NDArray[np.str_], val_fraction: float, test_fraction: float, seed: int
) -> NDArray[np.str_]:
    split = manifest.split.astype("<U5")
    pool = split == "train"
    if not pool.any():
        pool = split == ""  # nothing is published as train: what has no split is, else it stays out
    if not pool.any():
        raise ValueError("no row is left for training: every row is published as val or test")
    test = 0.0 if (split == "test").any() else test_fraction
    val = 0.0 if (split == "val").any() else val_fraction * (1 - test)
    shares = {"train": 1 - val - test, "val": val, "test": test}
    parts = np.array([part for part, share in shares.items() if share])
    sizes = np.array([share for share in shares.values() if share])
    if len(parts) == 1:
        split[pool] = "train"
        return split
    split[pool] = parts[_deal(manifest.targets[pool], groups[pool], sizes, seed)]
    return split


def _report_leaks(split: NDArray[np.str_], groups: NDArray[np.str_]) -> None:
    """Warns of patients on two sides: published splits are kept as they are, but not in silence."""
    used = split != ""
    names, codes = unique(groups[used])
    sides = np.zeros(len(names), np.int64)
    for part in ("train", "val", "test"):
        sides += np.bincount(codes[split[used] == part], minlength=len(names)) > 0
    if (leaking := int((sides > 1).sum())) > 0:
        message = f"{leaking} of {len(names)} patients are on two sides of the manifest's splits, e.g. "
        warnings.warn(message + names[sides > 1][0], stacklevel=3)


def _check_classes(manifest: Manifest, split: NDArray[np.str_]) -> None:
    targets, classes = manifest.targets, manifest.classes
    for part in ("train", "val", "test"):
        present = np.bincount(targets[(split == part) & (targets >= 0)], minlength=len(classes))
        absent = [repr(name) for name, count in zip(classes, present, strict=True) if not count]
        if not absent:
            continue
        listed = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        message = f"no {part} image of {listed}: the class has too few patients, or all of them in other splits"
        if part == "train":
            raise ValueError(f"{message}; leave it out, or change the splits")
        warnings.warn(message, stacklevel=3)


def _deal(targets: Ints, groups: NDArray[np.str_], shares: NDArray[np.float64], seed: int) -> Ints:
    """Deals groups to parts that hold given shares of the rows and of each class.

    Groups with the same rows of each class are interchangeable: each part first gets its whole share of such a kind,
    so that a million single images take seconds. What remains goes, large groups first, where it unbalances least.

    Args:
        targets: (N,), -1 where unlabelled.
        groups: (N,).
        shares: Of each part, summing to 1, (P,).
        seed: Of the order of groups.

    Returns:
        Part of each row, 0 to P - 1, (N,). No part lacks a class that has enough groups for every part, as long as no
        group has rows of several classes.
    """
    names, codes = unique(groups)
    labels, targets = np.unique(targets, return_inverse=True)
    rank = hash_rank(names, seed, "split")
    # A group's kind is its count of each class, told apart by a sum of random words: no table of groups x classes.
    words, signature = hash_rank(map(str, labels), 0, "class"), np.zeros(len(names), np.uint64)
    np.add.at(signature, codes, words[targets])
    _, example, kind = np.unique(signature, return_index=True, return_inverse=True)
    rows = np.isin(codes, example)
    shape = len(example), len(labels)
    cells = np.ravel_multi_index((kind[codes[rows]], targets[rows]), shape)
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)

    # Whole shares of each kind, in the order of the hash.
    members = np.bincount(kind)
    order = np.lexsort((rank, kind))
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names)) - np.repeat(np.cumsum(members) - members, members)
    whole = np.floor(members[:, None] * shares + 1e-9).astype(np.int64)
    part = (place[:, None] >= np.cumsum(whole, axis=1)[kind]).sum(1)
    load = (whole.T @ counts).astype(np.float64)  # (P, K) rows of each class in each part

    # The remainder, largest first, by powers of two so that the seed has a say; rounded, so that ties break everywhere
    # in the same way.
    rest = np.flatnonzero(part == len(shares))
    total = np.bincount(targets).astype(np.float64)
    weight = (counts / total).max(1)[kind[rest]]
    rest = rest[np.lexsort((rank[rest], -np.frexp(weight)[1]))]
    left = (counts[kind[rest]] > 0).sum(0)
    for group in rest:
        count = counts[kind[group]]
        growth = ((2 * load + count) * count / total**2).sum(1)
        growth += (2 * load.sum(1) + count.sum()) * count.sum() / total.sum() ** 2
        lacking = (load == 0) & (count > 0)
        urgent = lacking[:, left <= (load == 0).sum(0)].any(1)  # a class's last groups go where there is none of it
        cost = growth / shares
        part[group] = np.where(urgent | ~urgent.any(), np.round(cost / cost.max(), 9), np.inf).argmin()
        load[part[group]] += count
        left -= count > 0
    dealt: Ints = part[codes].astype(np.int64)
    return dealt
