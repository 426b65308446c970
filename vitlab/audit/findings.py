"""Findings: all checks on one data set, and the report that they make."""

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab import __version__
from vitlab.audit.baselines.labels import class_balance, label_errors, patients_with_two_classes
from vitlab.audit.baselines.shift import split_shift
from vitlab.audit.baselines.shortcuts import find_shortcuts
from vitlab.audit.copies.pairs import KINDS, NEIGHBOUR, Pairs, across, conflicting
from vitlab.audit.copies.search import find_pairs
from vitlab.audit.files.check import check_files
from vitlab.audit.groups import find_groups, patients_across, patients_alike
from vitlab.audit.images import Images, read_images
from vitlab.audit.leaks import Seen, count_splits, seen_in_training
from vitlab.audit.memo import Memo
from vitlab.audit.progress import announce
from vitlab.audit.worth import worth
from vitlab.data.manifest import COLUMNS, Manifest
from vitlab.data.sources import Source

SCHEMA_VERSION = 1  # of audit.json, described by audit.schema.json; raise it whenever a key changes its meaning


@dataclass(frozen=True)
class Audit:
    """All that was found.

    Attributes:
        manifest: With the splits that were audited.
        images: What the files hold.
        pairs: Copies.
        seen: What training has shown of the other splits.
        report: What audit.json holds.
    """

    manifest: Manifest
    images: Images
    pairs: Pairs
    seen: Seen
    report: dict[str, Any]

    @property
    def leak(self) -> bool:
        """Whether an image or a patient of another split is in training too."""
        leaks: bool = self.report["leak"]
        return leaks


def run_audit(manifest: Manifest, source: Source, *, name: str, predictions: list[Path], seed: int = 0) -> Audit:
    """Run every check.

    Args:
        manifest: With the splits to audit.
        source: Opens images and masks.
        name: Of the data set.
        predictions: predictions.csv of runs to judge.
        seed: Of folds, permutations and resampling.
    """
    memo = Memo(manifest)
    images = read_images(manifest, source.decode, memo)
    pairs = find_pairs(images, memo)
    groups = find_groups(manifest, pairs)
    seen = seen_in_training(images, pairs, manifest.split)
    announce("shortcuts, labels, files and shift")
    columns = {key: values for key, values in manifest.columns.items() if key not in (*COLUMNS, "fold")}
    if manifest.has_patients:
        columns["patient_id"] = manifest.patient_id
    targets = manifest.targets
    splits = count_splits(seen, manifest.split, manifest.label)
    report: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "vitlab": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "data": name,
        "manifest_sha256": manifest.sha256,
        "n": len(manifest),
        "classes": manifest.classes,
        "splits": splits,
        "patients": {
            "known": manifest.has_patients,
            "n": len(set(manifest.patient_id.tolist()) - {""}),
            "groups": len(np.unique(groups)),
            "across_splits": patients_across(manifest, manifest.split),
            "alike": patients_alike(manifest, pairs, manifest.split),
        },
        "pairs": _count_pairs(pairs, manifest),
        "shortcuts": [],
        "labels": {"balance": class_balance(targets, manifest.split, manifest.classes)},
    }
    if len(manifest.classes) > 1:
        found = find_shortcuts(images, targets, groups, columns, n_classes=len(manifest.classes), seed=seed)
        report["shortcuts"] = [asdict(shortcut) for shortcut in found]
        report["labels"] |= _labels(manifest, images, pairs, groups, seed)
    report["shift"] = [asdict(shift) for shift in split_shift(images, manifest.split, groups, seed=seed)]
    report["files"] = [asdict(finding) for finding in check_files(manifest, images, source.read_mask)]
    if predictions:
        report["worth"] = [
            {"run": str(file), **asdict(value)}
            for file in predictions
            for value in worth(file, paths=manifest.path, images=images, pairs=pairs, groups=groups, seed=seed)
        ]
    report["leak"] = bool(seen.identical.any() or seen.near.any() or report["patients"]["across_splits"])
    report["verdict"] = verdict(report)
    return Audit(manifest, images, pairs, seen, report)


def _count_pairs(pairs: Pairs, manifest: Manifest) -> dict[str, Any]:
    sides, labels = across(pairs, manifest.split), conflicting(pairs, manifest.label)
    return {
        kind: {
            "n": int((pairs.kind == kind).sum()),
            "across_splits": int(((pairs.kind == kind) & sides).sum()),
            "across_labels": int(((pairs.kind == kind) & labels).sum()),
        }
        for kind in KINDS
        if (pairs.kind == kind).any()
    }


def _labels(
    manifest: Manifest, images: Images, pairs: Pairs, groups: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    found = label_errors(images, manifest.targets, groups, classes=manifest.classes, seed=seed)
    differ = conflicting(pairs, manifest.label) & (pairs.kind != NEIGHBOUR)
    both = [
        {
            "paths": [manifest.path[a], manifest.path[b]],
            "labels": [manifest.label[a], manifest.label[b]],
            "kind": kind,
        }
        for a, b, kind in zip(pairs.first[differ], pairs.second[differ], pairs.kind[differ], strict=True)
    ]
    return {
        "conflicts": both,
        "errors": [{**asdict(error), "path": manifest.path[error.row]} for error in found.errors],
        "trust": None if np.isnan(found.balanced_accuracy) else found.balanced_accuracy,
        "patients_with_two_classes": [
            {"patient": patient, "labels": counts}
            for patient, counts in patients_with_two_classes(manifest.patient_id, manifest.label)
        ],
    }


def verdict(report: dict[str, Any]) -> str:
    """Say in one sentence whether the splits can answer the question."""
    parts = []
    for split, found in report["splits"].items():
        if found["identical_in_train"] or found["near_in_train"]:
            shares = []
            if found["identical_in_train"]:
                shares.append(f"{found['identical_in_train']:,} are in training pixel for pixel")
            if found["near_in_train"]:
                shares.append(f"{found['near_in_train']:,} as a near copy or another slice")
            parts.append(f"of the {found['n']:,} {split} images {' and '.join(shares)}")
    if two_sides := len(report["patients"]["across_splits"]):
        parts.append(f"{two_sides:,} patients are on two sides")
    if alike := sum(set(found["splits"][0]) != set(found["splits"][1]) for found in report["patients"]["alike"]):
        parts.append(f"{alike:,} persons seem to stand on two sides under two names")
    if parts:
        sentence = f"The splits leak: {'; '.join(parts)}, so that a score on them is partly memory"
    elif not report["splits"]:
        sentence = "There is one split only, so that nothing can leak yet"
    else:
        sentence = "No image and no known patient of another split is in training"
    if named := [shortcut["name"] for shortcut in report["shortcuts"] if shortcut["named"]]:
        sentence += f", and {', '.join(named[:3])} alone tell{'s' * (len(named) == 1)} classes apart"
        sentence += f" ({len(named) - 3} more do)" * (len(named) > 3)
    return sentence + "."
