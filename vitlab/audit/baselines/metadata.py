"""Metadata: which columns of a manifest may tell the classes apart though they should not, and as what."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.encode import bins, one_hot
from vitlab.audit.baselines.grouped_cv import Floats

_MANY = 20  # distinct values above which a column of numbers is a quantity, and one of words an identifier
_FILE = re.compile(r"[/\\]|\.(png|jpe?g|tiff?|bmp|dcm|nii|mat|npy)(\.gz)?$", re.I)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# The label itself, what was drawn by someone who knew it, and what says where a row stands.
_LABEL = {"label", "labels", "class", "classes", "target", "targets", "diagnosis", "dx", "category", "tumor", "tumour",
          "grade", "pathology", "histology", "outcome", "finding", "findings", "malignant", "benign"}  # fmt: skip
_DRAWN = {"mask", "masks", "box", "bbox", "boxes", "contour", "polygon", "segmentation", "roi", "lesion", "area",
          "xmin", "xmax", "ymin", "ymax", "x", "y", "w", "h"}  # fmt: skip
_PLACE = {"path", "file", "filename", "url", "md5", "sha256", "hash", "index", "row", "fold", "split", "slice"}
_ID = {"id", "ids", "uid", "patient", "subject", "case", "study", "series", "accession", "exam", "name", "base"}


def metadata_features(
    columns: dict[str, NDArray[Any]], targets: NDArray[np.int64], groups: NDArray[np.int64]
) -> list[tuple[str, Floats]]:
    """Return the columns worth a test: name and features (N, D) each.

    Identifiers count by their letters in front, as hospitals and scanners are often coded there; quantities by their
    quantiles; all others by value. Left out are paths, places in a list, masks and boxes, the label under another name,
    columns of one value, and columns that say the same as one before.

    Args:
        columns: Values by name, (N,) each.
        targets: Class of each image, (N,).
        groups: Group of each image, (N,).
    """
    found: list[tuple[str, Floats]] = []
    known: set[bytes] = set()
    for name, column in sorted(columns.items(), key=lambda item: item[0] != "patient_id"):
        values = np.asarray(column).astype(str)
        words = {word.lower() for word in _WORDS.findall(name)} | {name.lower()}
        if words & (_LABEL | _DRAWN | _PLACE) or any(map(_FILE.search, values[:20])):
            continue
        if _is_class_number(values, targets):
            continue
        kind, values = _kind(values, words, groups)
        if kind == "constant":
            continue
        partition = np.unique(values, return_index=True, return_inverse=True)
        key = partition[1][partition[2]].tobytes()  # equal where two columns split the rows alike
        if key in known:
            continue
        known.add(key)
        if kind == "prefix":
            found.append((f"prefix of {name}", one_hot(values, groups)))
        elif kind == "quantity":
            found.append((f"column {name}", bins(_numbers(values))))
        else:
            found.append((f"column {name}", one_hot(values, groups)))
    return [(name, features) for name, features in found if features.shape[1]]


def _kind(values: NDArray[np.str_], words: set[str], groups: NDArray[np.int64]) -> tuple[str, NDArray[np.str_]]:
    """Return what a column is, and the values to test."""
    distinct = len(np.unique(values))
    if distinct < 2:
        return "constant", values
    if words & _ID:
        return _prefix(values)
    if distinct <= _MANY:
        return "category", values
    if np.isfinite(_numbers(values)).mean() > 0.5:
        whole = all(value.isdigit() for value in values)
        return ("constant", values) if whole and distinct == len(values) else ("quantity", values)  # a running number
    return ("category", values) if distinct <= len(np.unique(groups)) // 10 else _prefix(values)


def _prefix(values: NDArray[np.str_]) -> tuple[str, NDArray[np.str_]]:
    """Return the letters in front, or where all have the same (TCGA-02-0001) all in front of the last separator."""
    for pattern in (r"[A-Za-z]*", r"(.*[-_.])?"):
        fronts = np.array([match.group() if (match := re.match(pattern, value)) else "" for value in values])
        if 1 < len(np.unique(fronts)) <= max(_MANY, len(values) // 10):
            return "prefix", fronts
    return "constant", values


def _is_class_number(values: NDArray[np.str_], targets: NDArray[np.int64]) -> bool:
    """Return whether the values are whole numbers of one digit that stand for the classes one to one."""
    names = np.unique(values)
    pairs = {(value, int(target)) for value, target in zip(values, targets, strict=True)}
    return all(name.isdigit() and len(name) == 1 for name in names) and len(pairs) == len(names) == len(set(targets))


def _numbers(values: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the values as numbers, not a number where they are none, (N,)."""
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value)
        except ValueError:
            continue
    return numbers
