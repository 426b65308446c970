"""Groups: what must stay on one side of a split, namely patients and the near copies that stand in for them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import Pairs
from vitlab.data.manifest import Manifest

ORIGINS = ("published", "copies", "single image")


def find_groups(manifest: Manifest, pairs: Pairs) -> NDArray[np.int64]:
    """Return a code for each row, (N,): rows of one patient share it, rows of a pair do, and so on along the chain."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    known = np.flatnonzero(manifest.patient_id != "")
    codes = np.unique(manifest.patient_id[known].astype(str), return_inverse=True)[1]
    first_of_patient = known[np.unique(codes, return_index=True)[1]] if len(known) else known
    start = np.concatenate([pairs.first, known])
    end = np.concatenate([pairs.second, first_of_patient[codes] if len(known) else known])
    graph = coo_matrix((np.ones(len(start), bool), (start, end)), shape=(len(manifest), len(manifest)))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def name_groups(manifest: Manifest, groups: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a patient_id for each row and where it comes from, one of ORIGINS, (N,) each.

    A group that holds several published patients gets their names joined, one that holds none a name of its own.
    """
    names, origins = np.empty(len(manifest), object), np.empty(len(manifest), object)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0]) if len(order) else order
    for number, rows in enumerate(np.split(order, starts[1:])):
        if not len(rows):
            continue
        patients = sorted(set(manifest.patient_id[rows].tolist()) - {""})
        names[rows] = "+".join(patients) if patients else f"group{number:06d}"
        origins[rows] = ORIGINS[0] if len(patients) == 1 else ORIGINS[1] if len(rows) > 1 else ORIGINS[2]
    return names, origins


def patients_across(manifest: Manifest, split: NDArray[Any]) -> list[dict[str, Any]]:
    """Return the patients with images in several splits, those of most images first: patient, and images by split."""
    used = (manifest.patient_id != "") & (split != "")
    counts: dict[str, dict[str, int]] = {}
    for patient, part in zip(manifest.patient_id[used], split[used], strict=True):
        of_patient = counts.setdefault(patient, {})
        of_patient[part] = of_patient.get(part, 0) + 1
    across = [{"patient": patient, "splits": found} for patient, found in counts.items() if len(found) > 1]
    return sorted(across, key=lambda found: (-sum(found["splits"].values()), found["patient"]))


def patients_alike(manifest: Manifest, pairs: Pairs, split: NDArray[Any]) -> list[dict[str, Any]]:
    """Return what may be one person under two names, of most pairs first: patients, pairs, score, splits of each."""
    first, second = manifest.patient_id[pairs.first], manifest.patient_id[pairs.second]
    splits: dict[str, set[str]] = {}
    for patient, part in zip(manifest.patient_id, split, strict=True):
        splits.setdefault(patient, set()).add(part)
    found: dict[tuple[str, str], list[float]] = {}
    for at in np.flatnonzero((first != second) & (first != "") & (second != "")):
        found.setdefault((min(first[at], second[at]), max(first[at], second[at])), []).append(float(pairs.score[at]))
    return [
        {
            "patients": list(patients),
            "pairs": len(scores),
            "score": max(scores),
            "splits": [sorted(splits[patient] - {""}) for patient in patients],
        }
        for patients, scores in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
