"""Shuffled labels: the control in which every approach must be at chance (Zhang et al. 2017, arXiv:1611.03530)."""

import numpy as np

from vitlab.data.manifest import SPLITS, Manifest
from vitlab.data.names import hash_rank


def shuffle_labels(manifest: Manifest, seed: int) -> Manifest:
    """Deal the labels of each split anew among its images: class counts stay, and what the image shows tells nothing.

    Images are shuffled, not patients: slices of one patient get labels of their own, so that a network can reach a high
    training accuracy by heart alone.

    Args:
        manifest: With splits; rows without a label keep none.
        seed: Other seeds deal otherwise.

    Returns:
        The manifest with a new `label` column.
    """
    label = manifest.label.copy()
    for split in SPLITS:
        rows = np.flatnonzero((manifest.split == split) & (manifest.label != ""))
        rows = rows[np.argsort(manifest.path[rows].astype(str), kind="stable")]  # the order of the rows has no say
        label[rows] = label[rows[np.argsort(hash_rank(manifest.path[rows], seed, "shuffled labels"), kind="stable")]]
    return manifest.with_columns(label=label)
