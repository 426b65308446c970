"""Encodings: simple values as features, so that a linear classifier can follow any relation. None sees the labels."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.grouped_cv import FEWEST_GROUPS, Floats

_BINS = 10
_CATEGORIES = 40
_DAY = re.compile(r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)(?!\d)")
_YEAR_LAST = re.compile(r"\d\d?[-/.]\d\d?[-/.](\d{4})(?!\d)")  # which of the others is the month nobody can tell
_AGE = re.compile(r"(\d{3})([DWMY])")  # of DICOM
_A_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def bins(values: NDArray[np.float64]) -> Floats:
    """Return the value, and in which tenth of all values it lies, (N, D); missing values have a column of their own."""
    missing = ~np.isfinite(values)
    if missing.all():
        return np.zeros((len(values), 0), np.float32)
    filled = np.where(missing, np.median(values[~missing]), values)
    edges = np.unique(np.quantile(filled, np.arange(1, _BINS) / _BINS))
    place = np.digitize(filled, edges)
    columns = [filled, missing, *(place == number for number in range(len(edges) + 1))]
    return _varied(np.stack(columns, 1))


def numbers(values: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return values as numbers, dates and ages too in their order; not a number where they are none, (N,)."""
    names, code = np.unique(values, return_inverse=True)
    return np.array([_number(name) for name in names.tolist()], np.float64)[code]


def _number(value: str) -> float:
    if day := _DAY.match(value):
        year, month, date = map(int, day.groups())
        return year + (month - 1) / 12 + (date - 1) / 372
    if last := _YEAR_LAST.match(value):
        return float(last[1])
    if age := _AGE.fullmatch(value):
        return float(age[1]) / _A_YEAR[age[2]]
    try:
        return float(value)
    except ValueError:
        return float("nan")


def one_hot(values: NDArray[Any], groups: NDArray[np.int64]) -> Floats:
    """Return which of the most frequent values each is, (N, D); values of fewer than FEWEST_GROUPS groups are one.

    Args:
        values: Of any kind, (N,).
        groups: Group of each row, (N,).
    """
    names, code = np.unique(values.astype(str), return_inverse=True)
    pairs = np.unique(np.stack([code, np.unique(groups, return_inverse=True)[1]]), axis=1)
    held = np.bincount(pairs[0], minlength=len(names))
    kept = np.argsort(-held, kind="stable")[:_CATEGORIES]
    kept = kept[held[kept] >= FEWEST_GROUPS]
    other = ~np.isin(code, kept)
    return _varied(np.stack([other, *(code == number for number in kept)], 1))


def _varied(features: NDArray[Any]) -> Floats:
    """Return the columns that are not the same in all rows."""
    return features[:, (features != features[:1]).any(0)].astype(np.float32)
