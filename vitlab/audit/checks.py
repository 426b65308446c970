"""The checks, one after another on one data set, and the report that they make."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab import __version__
from vitlab.audit.baselines.labels import class_balance, label_errors, patients_with_two_classes
from vitlab.audit.baselines.shift import split_shift
from vitlab.audit.baselines.shortcuts import find_shortcuts
from vitlab.audit.baselines.threads import side_by_side
from vitlab.audit.copies.pairs import KINDS, NEIGHBOUR, Pairs, across, conflicting
from vitlab.audit.copies.search import find_pairs
from vitlab.audit.files.check import check_files
from vitlab.audit.groups import find_groups, known_patients, patients_across, patients_alike
from vitlab.audit.images import Images, read_images
from vitlab.audit.leaks import Seen, count_splits, persons_across, seen_in_training
from vitlab.audit.memo import Memo
from vitlab.audit.run import Run
from vitlab.audit.summary import verdict
from vitlab.audit.worth import worth
from vitlab.data.manifest import COLUMNS, Manifest
from vitlab.data.sources import Source

SCHEMA_VERSION = 2  # of audit.json, described by audit.schema.json; raise it whenever a key changes its meaning


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
        """Whether an image, a patient or one person under two names stands on two sides of a split."""
        leaks: bool = self.report["leak"]
        return leaks


def run_audit(
    manifest: Manifest, source: Source, *, name: str, splits_from: str, runs: list[Run], seed: int = 0
) -> Audit:
    """Run every check.

    Args:
        manifest: With the splits to audit.
        source: Opens images and masks.
        name: Of the data set.
        splits_from: Where the splits come from, in words.
        runs: Runs whose accuracy to judge.
        seed: Of folds, permutations and resampling.
    """
    memo = Memo(manifest, reader=type(source).__name__)
    images = read_images(manifest, source.decode, memo)
    source.close()
    if not images.ok.any():
        first = f"{manifest.path[0]} ({images.error[0]})"
        raise ValueError(f"none of the {len(images):,} images of {manifest.root} can be read, first {first}")
    patients = known_patients(manifest)
    sides = np.unique([f"{a}\t{b}\t{c}" for a, b, c in zip(manifest.split, manifest.label, patients, strict=True)],
                      return_inverse=True)[1]  # fmt: skip
    pairs = find_pairs(images, memo, sides)
    groups = find_groups(manifest, pairs)
    seen = seen_in_training(images, pairs, manifest.split)
    known = bool((patients != "").all())
    report: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "vitlab": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "data": name,
        "manifest_sha256": manifest.sha256,
        "n": len(manifest),
        "classes": manifest.classes,
        "splits_from": splits_from,
        **count_splits(seen, manifest.split, manifest.label),
        "patients": {
            "known": known,
            "n": len(set(patients.tolist()) - {""}),
            "images_without": int((patients == "").sum()),
            "groups": len(np.unique(groups)),
            "across_splits": patients_across(patients, manifest.split),
            "alike": patients_alike(patients, pairs, manifest.split),
        },
        "pairs": _count_pairs(pairs, manifest),
    }
    checks = _checks(manifest, source, images, pairs, groups, patients, memo, runs, seed)
    for key, found in zip(checks, side_by_side(list(checks.values()), "shortcuts, labels, shift, files"), strict=True):
        report |= found if key == "shortcuts" else {key: found}
    report["leak"] = bool(
        seen.identical.any()
        or seen.near.any()
        or report["patients"]["across_splits"]
        or across(pairs, manifest.split).any()
        or persons_across(report)
    )
    report["verdict"] = verdict(report)
    return Audit(manifest, images, pairs, seen, report)


def _checks(
    manifest: Manifest,
    source: Source,
    images: Images,
    pairs: Pairs,
    groups: NDArray[np.int64],
    patients: NDArray[Any],
    memo: Memo,
    runs: list[Run],
    seed: int,
) -> dict[str, Callable[[], Any]]:
    """Return the checks that follow the search for copies, by their key in the report."""
    checks: dict[str, Callable[[], Any]] = {
        "shortcuts": lambda: _shortcuts(manifest, images, groups, patients, seed),
        "labels": lambda: _labels(manifest, images, pairs, groups, patients, seed),
        "shift": lambda: [
            asdict(shift)
            for shift in split_shift(
                images,
                manifest.split,
                manifest.targets,
                groups,
                patients_known=bool((patients != "").all()),
                seed=seed,
            )
        ],
        "files": lambda: [asdict(finding) for finding in check_files(manifest, images, source.read_mask, memo)],
    }
    if runs:
        checks["worth"] = lambda: [
            {"run": str(run.file), **asdict(value)}
            for run in runs
            for value in worth(run, images=images, pairs=pairs, groups=groups)
        ]
    return checks


def _shortcuts(
    manifest: Manifest, images: Images, groups: NDArray[np.int64], patients: NDArray[Any], seed: int
) -> dict[str, Any]:
    own = (*COLUMNS, "fold", "patient_id_origin", "original_patient_id")
    columns = {key: values for key, values in manifest.columns.items() if key not in own}
    if (patients != "").any():
        columns["patient_id"] = patients
    if len(manifest.classes) < 2:
        return {"shortcuts": [], "untested_columns": []}
    found, untested = find_shortcuts(
        images, manifest.targets, groups, columns, patients_known=bool((patients != "").all()), seed=seed
    )
    return {
        "shortcuts": [asdict(shortcut) for shortcut in found],
        "untested_columns": [asdict(column) for column in untested],
    }


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
    manifest: Manifest,
    images: Images,
    pairs: Pairs,
    groups: NDArray[np.int64],
    patients: NDArray[Any],
    seed: int,
) -> dict[str, Any]:
    balance: dict[str, Any] = {
        "balance": class_balance(manifest.targets, manifest.split, manifest.classes),
        "unlabelled": int((manifest.label == "").sum()),
    }
    if len(manifest.classes) < 2:
        return balance
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
    return balance | {
        "conflicts": both,
        "errors": [{**asdict(error), "path": manifest.path[error.row]} for error in found.errors],
        "expected": None if np.isnan(found.expected) else found.expected,
        "expected_low": None if np.isnan(found.low) else found.low,
        "expected_high": None if np.isnan(found.high) else found.high,
        "sentence": found.sentence,
        "trust": None if np.isnan(found.balanced_accuracy) else found.balanced_accuracy,
        "patients_with_two_classes": [
            {"patient": patient, "labels": counts}
            for patient, counts in patients_with_two_classes(patients, manifest.label)
        ],
    }
