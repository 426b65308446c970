"""predictions.csv: what a run said about every image, the file that all later statistics start from."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitlab.atomic import replacing
from vitlab.csv_text import cut_rows, parse_numbers, plain_cells, read_text_columns, row_writer

SPLITS = ("train", "val", "test")  # or "": an image that this run left unused
COLUMNS = ("split", "index", "path", "patient_id", "label")
PREFIX = "prob_"
LARGEST_KEPT = 2**22  # bytes of names that are kept to be compared with those of the next file
SUM_TOLERANCE = 1e-2  # hand-written files round probabilities to two or three digits


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predicted probabilities of N images over K classes, with what is needed to judge them.

    Args:
        classes: the K class names, in the order of the columns of `probs`.
        probs: (N, K) probabilities; each row sums to one.
        label: (N,) class names, "" where the truth is not known.
        index: (N,) row of each image in the manifest; every image once.
        split: (N,) one of `SPLITS`, or "".
        path: (N,) image path as in the manifest.
        patient_id: (N,) "" where there is none.

    Raises:
        ValueError: in one line, when the columns do not fit each other or a value makes no sense.
    """

    classes: list[str]
    probs: NDArray[np.floating[Any]]
    label: NDArray[np.object_]
    index: NDArray[np.int64]
    split: NDArray[np.object_]
    path: NDArray[np.object_]
    patient_id: NDArray[np.object_]

    def __post_init__(self) -> None:
        values = np.asarray(self.probs)
        dtype = values.dtype if values.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        object.__setattr__(self, "classes", [str(name) for name in self.classes])
        object.__setattr__(self, "probs", values.astype(dtype, copy=False))
        object.__setattr__(self, "index", np.asarray(self.index).astype(np.int64, copy=False))
        for name in ("label", "split", "path", "patient_id"):
            object.__setattr__(self, name, _strings(getattr(self, name)))
        self._check()

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """(N,) index of each label in `classes`; -1 where the truth is not known."""
        position = {name: i for i, name in enumerate(self.classes)} | {"": -1}
        return np.array(list(map(position.__getitem__, self.label.tolist())), dtype=np.int64)

    def where(self, rows: ArrayLike) -> "Predictions":
        """The predictions of some rows: a mask or row numbers, such as `predictions.split == "test"`."""
        rows = np.asarray(rows)
        columns = {name: getattr(self, name)[rows] for name in (*COLUMNS, "probs")}
        return Predictions(classes=self.classes, **columns)

    def with_probs(self, probs: NDArray[np.floating[Any]]) -> "Predictions":
        """Return the same images, whose columns are shared and not checked again, with other probabilities."""
        found = object.__new__(Predictions)
        found.__dict__.update(self.__dict__ | {"probs": probs})
        found._check_probs()
        return found

    def _check(self) -> None:
        n, k = len(self.index), len(self.classes)
        if not n or not k:
            raise ValueError("there are no predictions" if not n else "there are no classes")
        if len(set(self.classes)) != k or "" in self.classes:
            raise ValueError("each class needs a name of its own")
        if self.probs.shape != (n, k) or any(len(getattr(self, name)) != n for name in COLUMNS):
            raise ValueError(f"columns of unequal length (index has {n}, probabilities are {self.probs.shape})")
        for column, allowed in (("split", (*SPLITS, "")), ("label", (*self.classes, ""))):
            known, values = set(allowed), getattr(self, column).tolist()
            if not known.issuperset(values):
                row = next(i for i, value in enumerate(values) if value not in known)
                names = ", ".join(repr(name) for name in allowed[:8])
                raise ValueError(f"row {row + 1}: {column} is {values[row]!r}, not one of {names}")
        order = np.sort(self.index)
        if order[0] < 0 or (order[1:] == order[:-1]).any():
            wrong = order[0] if order[0] < 0 else order[1:][order[1:] == order[:-1]][0]
            raise ValueError(f"index {wrong} is negative or there twice: each image has one row")
        self._check_probs()

    def _check_probs(self) -> None:
        assert self.probs.shape == (len(self.index), len(self.classes)), self.probs.shape
        with np.errstate(invalid="ignore"):
            sums = np.abs(self.probs.sum(1, dtype=np.float64) - 1) <= SUM_TOLERANCE
            fine = sums & (self.probs >= 0).all(1) & (self.probs <= 1 + SUM_TOLERANCE).all(1)
        if not fine.all():
            row = int(np.argmin(fine))
            shown = ", ".join(f"{value:.4g}" for value in self.probs[row, :8])
            raise ValueError(f"row {row + 1}: probabilities {shown} are not between 0 and 1 with sum 1")


def write_predictions(
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    probs: NDArray[np.floating[Any]],
    label: ArrayLike,
    index: ArrayLike,
    split: ArrayLike,
    path_column: ArrayLike,
    patient_id: ArrayLike,
) -> None:
    """Write predictions.csv so that a reader sees all of it or none.

    Float32 probabilities are written with the 9 digits that bring the same float32 back, float64 with all of theirs.
    Text is written as it is: a cell that a spreadsheet would take for a formula is not altered, because class names
    and paths have to match the manifest.

    Args:
        path: the file.
        classes: as all that follow, see `Predictions`.
        probs: (N, K).
        label: (N,).
        index: (N,).
        split: (N,).
        path_column: (N,) the images' paths.
        patient_id: (N,).

    Raises:
        ValueError: as `Predictions`; nothing is written then.
    """
    columns: dict[str, Any] = {"label": label, "index": index, "split": split, "path": path_column}
    predictions = Predictions(list(classes), probs, patient_id=patient_id, **columns)  # type: ignore[arg-type]
    show = "{:.9g}".format if predictions.probs.dtype == np.float32 else repr
    cells = ([show(value) for value in column.tolist()] for column in predictions.probs.T)
    text = (getattr(predictions, name).tolist() for name in COLUMNS)
    with (
        replacing(Path(path)) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = row_writer(file)
        writer.writerow([*COLUMNS, *(PREFIX + name for name in predictions.classes)])
        writer.writerows(zip(*text, *cells, strict=True))


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read and check a predictions.csv.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: naming the file and, where it can, the row, when it is not what `write_predictions` writes.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no predictions at {path}: `fit` writes this file when the run is finished")
    try:
        if (found := _read_plain(Path(path).read_bytes())) is not None:
            return found
        header, columns = read_text_columns(Path(path))
        missing = [name for name in COLUMNS if name not in header]
        if missing or len(set(header)) != len(header):
            raise ValueError(f"column {missing[0]!r} is missing" if missing else "a column stands there twice")
        classes = [name for name in header if name.startswith(PREFIX)]
        if not classes:
            raise ValueError(f"there is no {PREFIX}<class> column")
        cells = dict(zip(header, columns, strict=True))
        probs = np.array([list(map(float, cells[name])) for name in classes], np.float64)
        return _predictions(classes, cells, probs.reshape(len(classes), -1).T)
    except (ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path} is not a predictions file: {error}") from None


def _read_plain(data: bytes) -> Predictions | None:
    """Read a file as `write_predictions` writes most; None where it is another, or where something is wrong with it."""
    if (ends := plain_cells(data)) is None or len(ends) < 2:
        return None
    header = data[: ends[0, -1]].decode("utf-8", "surrogateescape").split(",")
    numeric = [name.startswith(PREFIX) for name in header]
    width = numeric.index(True) if any(numeric) else 0
    if not all(numeric[width:]) or len(set(header)) != len(header) or not set(COLUMNS).issubset(header[:width]):
        return None
    text, numbers = cut_rows(data, ends, width)
    if (values := parse_numbers(numbers)) is None or len(values) != (len(ends) - 1) * (len(header) - width):
        return None
    images = _images if len(text) <= LARGEST_KEPT else _images.__wrapped__
    return images(tuple(header), width, text).with_probs(values.reshape(len(ends) - 1, -1))


@lru_cache(maxsize=8)  # folds: the runs of one differ by their probabilities alone
def _images(header: tuple[str, ...], width: int, text: bytes) -> Predictions:
    """Read the columns of names, and check them once for all files that have the same; probabilities are to come."""
    cells = text.decode("utf-8", "surrogateescape")[:-1].split(",")
    n, k = len(cells) // width, len(header) - width
    found = _predictions(header[width:], {header[i]: cells[i::width] for i in range(width)}, np.full((n, k), 1 / k))
    for name in COLUMNS:
        getattr(found, name).flags.writeable = False  # as other files share it
    return found


def _predictions(names: Sequence[str], cells: dict[str, list[str]], probs: NDArray[np.float64]) -> Predictions:
    """Make predictions of the columns of probabilities, of text, and (N, K) numbers."""
    return Predictions(
        classes=[name.removeprefix(PREFIX) for name in names],
        probs=probs,
        index=np.array(list(map(int, cells["index"])), np.int64),
        **{name: _objects(cells[name]) for name in ("label", "split", "path", "patient_id")},
    )


def _strings(values: Any) -> NDArray[np.object_]:
    if isinstance(values, np.ndarray) and values.dtype == object:
        return values
    return _objects([str(value) for value in values])


def _objects(values: list[str]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
