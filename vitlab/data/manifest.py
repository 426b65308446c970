"""Manifest: one row per image, whatever the images come from. Imports nothing heavy: every part reads manifests.

Columns: path, label, patient_id, split, mask_path, and any others, which are kept. Values are strings, "" is missing.
"""

import difflib
import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.atomic import replacing
from vitlab.csv_text import row_writer
from vitlab.data.csv_file import line_of, read_columns
from vitlab.data.patients import read_ids

COLUMNS = ("path", "label", "patient_id", "split", "mask_path")
SPLITS = ("train", "val", "test")  # or "": left out


class Manifest:
    """The images of a data set, immutable; columns are object arrays of str, (N,).

    A path is relative to `root` (with "/") or absolute, and may name a member of a container: "pathmnist.npz#train/17".

    Args:
        columns: Values by column name, all of one length; numbers become strings and None becomes "".
        root: Folder that relative paths start from; the working folder where it is not given.
        file: The CSV file that these are all the rows of, for messages.
        remarks: What reading it found odd.
        stands_for: Files, relative to root, by the paths of them that must not be shown.

    Raises:
        ValueError: The columns differ in length.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any] | NDArray[Any]],
        root: Path | None = None,
        *,
        file: Path | None = None,
        remarks: Sequence[str] = (),
        stands_for: Mapping[str, str] | None = None,
    ) -> None:
        self.root = Path(root) if root is not None else Path()
        self.file, self.remarks, self.stands_for = file, tuple(remarks), dict(stands_for or {})
        self.columns = {name: _strings(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of a manifest must have one length, not {lengths}")
        self._length = next(iter(lengths.values()), 0)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"Manifest({len(self)} rows, columns {', '.join(self.columns)}, root {str(self.root)!r})"

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, or one of "" where there is none, (N,)."""
        if name in self.columns:
            return self.columns[name]
        return np.full(len(self), "", dtype=object)

    @property
    def path(self) -> NDArray[Any]:
        """Path of each image, (N,)."""
        return self.column("path")

    @property
    def label(self) -> NDArray[Any]:
        """Class name of each image, "" where it has none, (N,)."""
        return self.column("label")

    @property
    def patient_id(self) -> NDArray[Any]:
        """Patient of each image, "" where unknown, (N,)."""
        return self.column("patient_id")

    @property
    def split(self) -> NDArray[Any]:
        """Split of each image: train, val, test or "", (N,)."""
        return self.column("split")

    @property
    def mask_path(self) -> NDArray[Any]:
        """Path of each image's mask, "" where it has none, (N,)."""
        return self.column("mask_path")

    @cached_property
    def classes(self) -> list[str]:
        """Class names, sorted."""
        return sorted(set(self.label.tolist()) - {""})

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Index of each label in `classes`, -1 where there is no label, int64 (N,)."""
        index = {"": -1, **{name: number for number, name in enumerate(self.classes)}}
        targets = np.fromiter((index[label] for label in self.label), np.int64, len(self))
        targets.flags.writeable = False
        return targets

    @property
    def has_patients(self) -> bool:
        """Whether every row has a patient id."""
        return len(self) > 0 and bool((self.patient_id != "").all())

    @cached_property
    def groups(self) -> NDArray[Any]:
        """What must stay on one side of a split: the patient, or "image:<row>" where it is unknown, (N,)."""
        return np.array([name or f"image:{row}" for row, name in enumerate(self.patient_id)], dtype=object)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the content without the root: the same on every machine.

        Rows count in their order, columns do not; one that is empty throughout counts as absent.
        """
        digest = hashlib.sha256()
        filled = {name: values for name, values in self.columns.items() if (values != "").any()}
        for block in _csv_blocks(filled):
            digest.update(block.encode(errors="surrogateescape"))  # file names may be any bytes
        return digest.hexdigest()

    def where(self, rows: NDArray[Any] | Sequence[int] | slice) -> "Manifest":
        """Return the manifest of some rows, by index, mask or slice."""
        chosen = rows if isinstance(rows, slice) else np.asarray(rows)
        if isinstance(chosen, np.ndarray) and not len(chosen):
            chosen = slice(0, 0)  # an empty list has no integer type
        kept = {name: values[chosen] for name, values in self.columns.items()}
        return Manifest(kept, self.root, stands_for=self.stands_for)

    def with_columns(self, **columns: Sequence[Any] | NDArray[Any]) -> "Manifest":
        """Return the manifest with columns added or replaced, (N,) each."""
        merged = {**self.columns, **columns}
        return Manifest(merged, self.root, file=self.file, remarks=self.remarks, stands_for=self.stands_for)

    @property
    def place(self) -> str:
        """What messages call it: the file, or the folder where there is none."""
        return f"the manifest {self.file}" if self.file is not None else f"the manifest of {self.root}"

    def line(self, row: int) -> str:
        """Return where a row stands, counted from 0, in words: the line of the file, or its number from 1."""
        return f"line {line_of(self.file, row + 1)}" if self.file is not None else f"row {row + 1}"

    @classmethod
    def read(cls, path: Path | str, root: Path | None = None, columns: Mapping[str, str] | None = None) -> "Manifest":
        """Read a CSV file with a header, in UTF-8, with commas; names of files that are there may be of any bytes.

        Patient ids are read as `vitlab.data.patients` says, with a warning where that changes one.

        Args:
            path: The file.
            root: Folder that relative image paths start from; the file's own where it is not given.
            columns: Which column of the file to take for one of ours, e.g. {"patient_id": "patient_base"}. The file's
                own column of that name, if any, is kept as "original_<name>".

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is no such table, lacks a column or has no rows.
        """
        path = Path(path)
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise FileNotFoundError(f"the manifest {path} {what}: give a CSV file with the columns path and label")
        root = Path(root) if root is not None else path.parent
        table = read_columns(path, root)
        renamed = dict(table)
        for ours, theirs in (columns or {}).items():
            if theirs not in table:
                hint = _nearest(theirs, table)
                raise ValueError(f"the manifest {path} has no column {theirs!r} to take for {ours!r}{hint}")
            if ours in table and ours != theirs:
                renamed[f"original_{ours}"] = table[ours]
            renamed[ours] = table[theirs]
        for name in ("path", "label"):
            if name not in renamed:
                raise ValueError(
                    f"the manifest {path} has no column {name!r}{_nearest(name, renamed)}: add it, or name the column "
                    "that holds it in the setting 'columns'"
                )
        if not renamed["path"]:
            raise ValueError(f"the manifest {path} has no rows: add one line per image below the header")
        remarks: list[str] = []
        if "patient_id" in renamed and "patient_id_origin" not in renamed:  # a repair has read its ids
            renamed["patient_id"], remarks = read_ids(renamed["patient_id"])
        for remark in remarks:
            warnings.warn(f"{path}: {remark}", stacklevel=2)
        return cls(renamed, root, file=path, remarks=remarks)

    def write(self, path: Path | str) -> None:
        """Write a CSV file that `read` takes, the known columns first; a reader never sees half of it."""
        known = {name: self.column(name) for name in COLUMNS}
        with (
            replacing(Path(path)) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            for block in _csv_blocks({**known, **self.columns}):
                file.write(block)

    def check(self, *, for_training: bool = True) -> None:
        """Raise where nothing could be trained on this manifest, or nothing evaluated.

        Args:
            for_training: Whether labels matter too.

        Raises:
            ValueError: A column is missing, a path is empty or comes twice, a split has a wrong name, there are no
                rows; for training also: there are fewer than two classes, or train lacks a class of val or test.
        """
        place = self.place
        for name in ("path", "label"):
            if name not in self.columns:
                raise ValueError(f"{place} has no column {name!r}{_nearest(name, self.columns)}: add it")
        if not len(self):
            raise ValueError(f"{place} has no rows: no image was found")
        if (empty := self.path == "").any():
            raise ValueError(f"{place} has no path in {self.line(int(empty.argmax()))}: fill it or remove the row")
        first: dict[str, int] = {}
        for row, path in enumerate(self.path):
            if (before := first.setdefault(path, row)) != row:
                lines = f"{self.line(before)} and {self.line(row)}"
                raise ValueError(f"{place} has paths more than once, first {path!r} in {lines}: keep one row per image")
        for wrong in sorted(set(self.split.tolist()) - {*SPLITS, ""}):
            raise ValueError(
                f"{place} has the split {wrong!r} in {self.line(int((self.split == wrong).argmax()))}"
                f"{_nearest(wrong, SPLITS)}: write train, val, test or leave it empty"
            )
        if not for_training:
            return
        if len(self.classes) < 2:
            found = f"only the class {self.classes[0]!r}" if self.classes else "no labels"
            raise ValueError(
                f"{place} has {found}: a classifier needs at least two classes, each a folder of "
                "images or a name in the column label"
            )
        if (self.split == "train").any() and not (self.column("fold") != "").any():
            train = set(self.label[self.split == "train"].tolist())
            held_out = set(self.label[(self.split == "val") | (self.split == "test")].tolist())
            if lacking := sorted(held_out - train - {""}):
                raise ValueError(
                    f"{place} has no training image of {', '.join(map(repr, lacking))}, which is in val or test: "
                    "check the spelling, or take the class out"
                )
        alike: dict[str, str] = {}
        for name in self.classes:
            if (other := alike.setdefault(name.casefold(), name)) != name:
                warnings.warn(f"the classes {other!r} and {name!r} differ only in case: are they one?", stacklevel=2)


def _strings(values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Return an immutable object array of str; equal values share one object, so that a million rows stay small."""
    if isinstance(values, np.ndarray) and not values.flags.writeable and values.dtype == object:
        return values  # from another manifest
    shared: dict[str, str] = {}
    array = np.empty(len(values), dtype=object)
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    array[:] = [shared.setdefault(text, text) for text in ("" if value is None else str(value) for value in listed)]
    array.flags.writeable = False
    return array


def _csv_blocks(columns: Mapping[str, NDArray[Any]], rows: int = 65536) -> Iterator[str]:
    """Yield canonical CSV text: known columns first, others by name, lines ended by a line feed alone."""
    names = [name for name in COLUMNS if name in columns] + sorted(set(columns) - set(COLUMNS))
    length = len(columns[names[0]]) if names else 0
    for start in range(0, max(1, length), rows):
        buffer = io.StringIO()
        writer = row_writer(buffer)
        if start == 0:
            writer.writerow(names)
        writer.writerows(zip(*(columns[name][start : start + rows] for name in names), strict=True))
        yield buffer.getvalue()


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [option for option in known if option], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def split_sha256(manifest: Manifest, split: str) -> str:
    """Return a hex digest of a split's paths, whatever their order: equal where its images are the same."""
    paths = "\n".join(sorted(manifest.path[manifest.split == split]))
    return hashlib.sha256(paths.encode(errors="surrogateescape")).hexdigest()
