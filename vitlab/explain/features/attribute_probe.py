"""How well hospital, scanner or plane can be read from what a model makes of an image.

A linear probe by patient folds (Alain & Bengio 2017, "Understanding intermediate layers using linear classifier
probes"). That it can be read does not mean that the model uses it; that it cannot means that it does not, linearly.
What the pixels alone give, and what follows from the class (hospitals have their share of each), stand beside it.

Shapes: N images, D features, C channels, H, W pixels.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from vitlab.data.manifest import COLUMNS, Manifest
from vitlab.data.splits import stratified_group_folds
from vitlab.evaluate.probe import linear_probe
from vitlab.explain.runs.loaded import Loaded
from vitlab.report.grouping import GROUPS, OURS, PREFIX, letters_of

FOLDS = 5
LEAST = 2  # patients of a group: one on either side of a fold
GRID = 8  # the pixels' own probe sees as many means a side as fit D of a small backbone
FROM_PIXELS, FROM_CLASS = "pixels", "the class alone"


def attributes(manifest: Manifest, rows: NDArray[np.int64]) -> dict[str, NDArray[np.object_]]:
    """Return columns that part images into a few groups, each (N,), "" where it says nothing.

    The manifest's own columns, and the letters that patient ids begin with: of hospitals, often. Groups of one patient
    count as none, and of columns that part the images alike the first counts.

    Args:
        manifest: With the columns.
        rows: Which images, (N,).
    """
    columns = {name: values[rows] for name, values in manifest.columns.items() if name not in {*OURS, *COLUMNS}}
    columns[PREFIX] = np.array([letters_of(name) for name in manifest.patient_id[rows]], object)
    groups = manifest.groups[rows]
    found, parted = {}, set()
    for name, values in columns.items():
        kept = values.copy()
        for value in set(values.tolist()):
            if len(set(groups[values == value].tolist())) < LEAST:
                kept[values == value] = ""
        there = kept != ""
        first: dict[str, int] = {}
        parts = tuple(first.setdefault(value, at) if value else -1 for at, value in enumerate(kept.tolist()))
        if GROUPS[0] <= len(first) <= GROUPS[1] and 2 * there.sum() >= len(rows) and parts not in parted:
            found[name] = kept
            parted.add(parts)
    return found


def read_attribute(
    features: NDArray[np.floating], attribute: NDArray[np.object_], patients: NDArray[np.object_], seed: int = 0
) -> NDArray[np.object_]:
    """Return the group that each image is read to be of, by a probe of the other folds' patients, (N,).

    Args:
        features: (N, D).
        attribute: (N,) groups, none "".
        patients: (N,) ids, each image's own where it has none.
        seed: Of the folds, which are the same for all who are asked about the same patients.
    """
    names, targets = np.unique(attribute.astype(str), return_inverse=True)
    _, codes = np.unique(patients.astype(str), return_inverse=True)
    owners = np.unique(targets * len(patients) + codes) // len(patients)  # the group of each pair of it and a patient
    n_folds = min(FOLDS, int(np.bincount(owners).min()))
    if n_folds < LEAST:
        raise ValueError("each group needs two patients or more to be read by patient folds; leave such groups out")
    folds = stratified_group_folds(targets, patients.astype(str), n_folds, seed, names.tolist())
    found = np.empty(len(features), object)
    for fold in range(1, n_folds + 1):
        own = folds == fold
        known = np.unique(targets[~own])
        # Where patients are of several groups, as of planes, the other folds' may all be of one: nothing else is known.
        found[own] = names[linear_probe(features[~own], targets[~own], features[own]) if len(known) > 1 else known[0]]
    return found


def features_of(run: Loaded, rows: NDArray[np.int64], batch: int = 128) -> NDArray[np.float32]:
    """Return the backbone's pooled features of images, float32 (N, D)."""
    with torch.inference_mode():
        parts = [
            run.model.features(run.inputs(rows[start : start + batch])).float().cpu().numpy()
            for start in range(0, len(rows), batch)
        ]
    return np.concatenate(parts)


def plain_features(images: NDArray[np.uint8], label: NDArray[np.object_]) -> Mapping[str, NDArray[np.float32]]:
    """Return what could be read without any model: means of a coarse grid of pixels, and the class, (N, D) each.

    Args:
        images: uint8 (N, C, H, W).
        label: (N,) class names.
    """
    grid = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(images)).float(), GRID)
    return {
        FROM_PIXELS: grid.flatten(1).numpy(),
        FROM_CLASS: (label[:, None] == np.unique(label.astype(str))).astype(np.float32),
    }
