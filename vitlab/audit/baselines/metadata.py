"""Metadata: which columns of a manifest may tell the classes apart though they should not, and why others may not."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.encode import bins, numbers, one_hot
from vitlab.audit.baselines.grouped_cv import FEWEST_GROUPS, Floats

_MANY = 20  # distinct values up to which a column is a category, unless each is that of one patient
_NEARLY = 0.9  # of the values, or of the rows: a few odd ones do not change what a column is
_FILE = re.compile(r"\.(png|jpe?g|tiff?|bmp|dcm|nii|mat|npy|npz|h5)(\.gz)?$", re.I)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# A column is what its whole name says: SliceThickness is no place in a list, study_site no study. So every word must be
# of one kind, or a word that fits any; and one at least of that kind.
_ANY = {"original", "type", "name", "names", "code", "id", "index", "number", "no", "nr", "path", "file"}
_GEOMETRY = {"px", "pixels", "mm", "area", "volume", "size", "width", "height", "left", "right", "top", "bottom", "min",
             "max", "start", "end", "count", "x", "y", "z", "w", "h", "centre", "center", "diameter"}  # fmt: skip
_TUMOUR = {"tumor", "tumour", "lesion", "nodule", "finding"}  # alone the label, its size that of the mask
_KINDS: tuple[tuple[str, set[str], set[str]], ...] = (
    ("the label", _TUMOUR | {"label", "labels", "class", "classes", "target", "targets", "diagnosis", "dx", "category",
     "grade", "pathology", "histology", "outcome", "findings", "malignant", "benign", "malignancy"}, set()),
    ("of the mask", _TUMOUR | {"mask", "masks", "box", "bbox", "boxes", "contour", "polygon", "segmentation", "roi",
     "xmin", "xmax", "ymin", "ymax", "x", "y", "w", "h"}, _GEOMETRY),
    ("a file or a place in a list", {"path", "paths", "file", "files", "filename", "filenames", "url", "md5", "sha",
     "hash", "index", "row", "fold", "folds", "split", "splits", "subset"}, set()),
)  # fmt: skip
_PERSON = {"ids", "uid", "pid", "mrn", "patient", "subject", "case", "study", "accession", "exam", "base", "record",
           "sample", "key"} | _ANY  # fmt: skip
_WITHIN = {"slice", "image", "img", "instance", "series", "scan", "sop"}  # may count anew in each patient


@dataclass(frozen=True)
class Untested:
    """A column that was not tested.

    Attributes:
        column: Its name.
        reason: Why, in words.
    """

    column: str
    reason: str


@dataclass(frozen=True)
class Kind:
    """One kind of feature to test.

    Attributes:
        name: Of the test, e.g. prefix of patient_id.
        features: float (N, D).
        known: The rows that the test is about, (N,).
        column: Where it comes from, "" where from files or pixels.
    """

    name: str
    features: Floats
    known: NDArray[np.bool_]
    column: str = ""


def metadata_features(
    columns: dict[str, NDArray[Any]], targets: NDArray[np.int64], groups: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[list[Kind], list[Untested]]:
    """Return the columns that are worth a test, and the others.

    Identifiers count by their letters in front, as hospitals and scanners are often coded there, over the images that
    have one; quantities and dates by their quantiles; all others by value, a missing one being a value too.

    Args:
        columns: Values by name, "" where missing, (M,) each.
        targets: Class of each image, below 0 where unknown, (M,).
        groups: Group of each image, (M,).
        rows: Which to describe; the others help to know what a column is, (N,).
    """
    found: list[Kind] = []
    left: list[Untested] = []
    known: dict[bytes, str] = {}
    for name, column in sorted(columns.items(), key=lambda item: item[0] != "patient_id"):
        values = np.asarray(column).astype(str)
        reason = _by_name(name) or _by_values(values, targets)
        kind = "" if reason else _kind(name, values, groups)
        if kind == "identifier":
            values = _prefix(values)
            reason = "" if len(np.unique(values)) > 1 else "an identifier without a prefix that groups share"
        partition = np.unique(values, return_index=True, return_inverse=True)
        key = partition[1][partition[2]].tobytes()  # equal where two columns split the rows alike
        if not reason and (other := known.setdefault(key, name)) != name:
            reason = f"splits the images as {other} does"
        if not reason:
            given = (np.asarray(column).astype(str) != "")[rows] | (kind != "identifier")
            features = (bins(numbers(values)) if kind == "quantity" else one_hot(values, groups))[rows]
            title = f"prefix of {name}" if kind == "identifier" else f"column {name}"
            if given.any() and (features[given] != features[given][:1]).any():
                found.append(Kind(title, features, given, name))
            else:
                reason = f"no value is that of {FEWEST_GROUPS} groups or more"
        if reason:
            left.append(Untested(name, reason))
    return found, left


def _by_name(name: str) -> str:
    """Return why a column of that name is not tested, "" where the name is no reason."""
    words = {word.lower() for word in _WORDS.findall(name)} or {name.lower()}
    for reason, own, fitting in _KINDS:
        if words & own and words <= own | fitting | _ANY:
            return reason
    return ""


def _by_values(values: NDArray[np.str_], targets: NDArray[np.int64]) -> str:
    """Return why a column of those values is not tested, "" where they are no reason."""
    names = np.unique(values)
    if len(names) < 2:
        return "the same in all images"
    filled = values[values != ""]
    if np.mean([bool(_FILE.search(value)) for value in filled[:: max(1, len(filled) // 100)]]) > 0.5:
        return "a file or a place in a list"
    labelled = targets >= 0
    pairs = set(zip(values[labelled].tolist(), targets[labelled].tolist(), strict=True))
    one_digit = all(name.isdigit() and len(name) == 1 for name in names)
    if one_digit and len(pairs) == len(names) == len({target for _, target in pairs}):
        return "one number for each class, taken for the label"
    return ""


def _kind(name: str, values: NDArray[np.str_], groups: NDArray[np.int64]) -> str:
    """Return what a column is: category, quantity or identifier."""
    filled = values != ""
    names, code = np.unique(values[filled], return_inverse=True)
    words = {word.lower() for word in _WORDS.findall(name)} or {name}
    pairs = np.unique(np.stack([code, groups[filled]]), axis=1)
    n_groups = len(np.unique(pairs[1]))
    of_one = (np.bincount(pairs[0]) == 1).mean() >= _NEARLY and len(names) >= _NEARLY * n_groups
    if len(names) <= _MANY and not of_one:
        return "category"
    named = words <= _PERSON or (of_one and words <= _PERSON | _WITHIN)
    number = numbers(names)
    if np.isfinite(number).mean() <= 0.5:
        return "identifier" if named or of_one else "category"
    # A running number: each once, with hardly a gap. Other numbers may differ between all patients, as volumes do.
    running = np.char.isdigit(names).all() and len(names) == filled.sum() and np.ptp(number) < 2 * len(names)
    return "identifier" if named or running else "quantity"


def _prefix(values: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the letters in front, or where all have the same (TCGA-02-0001) all in front of the last separator."""
    filled = values != ""
    for pattern in (r"[A-Za-z]*", r"(.*[-_.])?"):
        fronts = np.array([match.group() if (match := re.match(pattern, value)) else "" for value in values])
        if 1 < len(np.unique(fronts[filled])) <= max(_MANY, filled.sum() // 10):
            return fronts
    return np.full(len(values), "")
