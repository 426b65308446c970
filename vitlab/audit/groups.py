"""Groups: what must stay on one side of a split, namely patients and the near copies that stand in for them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import Pairs, chains
from vitlab.data.manifest import Manifest

ORIGINS = ("published", "copies", "single image")


def find_groups(manifest: Manifest, pairs: Pairs) -> NDArray[np.int64]:
    """Return a code for each row, (N,): rows of one patient share it, rows of a pair do, and so on along the chain."""
    codes = np.unique(manifest.patient_id.astype(str), return_inverse=True)[1]
    return chains(pairs, np.where(manifest.patient_id == "", -1, codes))


def published_patients(manifest: Manifest) -> NDArray[Any]:
    """Return the patient of each row, "" where there is none or where a repaired manifest says that copies stand in."""
    stands_in = np.isin(manifest.column("patient_id_origin"), ORIGINS[1:])
    original = manifest.column("original_patient_id")
    patients: NDArray[Any] = np.where(stands_in, original, manifest.patient_id).astype(object)
    return patients


def known_patients(manifest: Manifest) -> NDArray[Any]:
    """Return the patient of each row, by the one name that a repair gave two of one person, "" if unknown, (N,)."""
    return np.where(published_patients(manifest) == "", "", manifest.patient_id).astype(object)


def name_groups(published: NDArray[Any], groups: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a patient_id for each row and where it comes from, one of ORIGINS, (N,) each.

    A group that holds several published patients gets their names joined, one that holds none a name of its own; a "+"
    tells it from a patient who has that name already.

    Args:
        published: Patient of each row as published, "" where unknown, (N,).
        groups: Code of each row's group, (N,).
    """
    names, origins = np.empty(len(groups), object), np.empty(len(groups), object)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) > 0]) if len(order) else order
    taken = set(published.tolist())
    for number, rows in enumerate(np.split(order, starts[1:])):
        if not len(rows):
            continue
        patients = sorted(set(published[rows].tolist()) - {""})
        name = "+".join(patients) if patients else f"group{number:06d}"
        while len(patients) != 1 and name in taken:
            name += "+"
        taken.add(name)
        names[rows] = name
        origins[rows] = ORIGINS[1] if len(rows) > 1 else ORIGINS[2]
        if len(patients) == 1:
            origins[rows[published[rows] != ""]] = ORIGINS[0]
    return names, origins


def patients_across(patients: NDArray[Any], split: NDArray[Any]) -> list[dict[str, Any]]:
    """Return the patients with images in several splits, those of most images first: patient, and images by split."""
    used = (patients != "") & (split != "")
    counts: dict[str, dict[str, int]] = {}
    for patient, part in zip(patients[used], split[used], strict=True):
        of_patient = counts.setdefault(patient, {})
        of_patient[part] = of_patient.get(part, 0) + 1
    across = [{"patient": patient, "splits": found} for patient, found in counts.items() if len(found) > 1]
    return sorted(across, key=lambda found: (-sum(found["splits"].values()), found["patient"]))


def patients_alike(patients: NDArray[Any], pairs: Pairs, split: NDArray[Any]) -> list[dict[str, Any]]:
    """Return what may be one person under two names, of most pairs first: patients, pairs, score, splits of each."""
    first, second = patients[pairs.first], patients[pairs.second]
    splits: dict[str, set[str]] = {}
    for patient, part in zip(patients, split, strict=True):
        splits.setdefault(patient, set()).add(part)
    found: dict[tuple[str, str], list[float]] = {}
    for at in np.flatnonzero((first != second) & (first != "") & (second != "")):
        found.setdefault((min(first[at], second[at]), max(first[at], second[at])), []).append(float(pairs.score[at]))
    return [
        {
            "patients": list(names),
            "pairs": len(scores),
            "score": max(scores),
            "splits": [sorted(splits[name] - {""}) for name in names],
        }
        for names, scores in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
