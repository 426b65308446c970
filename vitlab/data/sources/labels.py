"""Files of a folder tree and what they are labelled as: by the folders that they lie in, or by a table."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vitlab.data.csv_file import read_columns
from vitlab.data.sources.folder import SPLIT_NAMES

TAKEN: Final = ("label", "patient_id", "split", "fold", "mask_path")  # columns of a table that come to the manifest


def files_below(root: Path) -> list[str]:
    """Return the visible files of a folder and all folders in it, relative to it with "/", sorted.

    Links to files are taken where they stay inside the folder; other links are left out, with one warning, and so are
    pipes and devices, which would never end.
    """
    real = os.path.realpath(root)
    found: list[str] = []
    outside: list[str] = []
    endless: list[str] = []
    for parent, folders, files in os.walk(root):
        linked = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in linked)
        for name in (*files, *linked):
            path = os.path.join(parent, name)
            if name.startswith("."):
                continue
            inside = Path(os.path.realpath(path)).is_relative_to(real) and name not in linked
            listed = (found if not os.path.exists(path) or os.path.isfile(path) else endless) if inside else outside
            listed.append(Path(path).relative_to(root).as_posix())
    if outside:
        where = f"{len(outside)} links of {root} lead to folders or out of it and are left out, e.g. {min(outside)}"
        warnings.warn(where, stacklevel=2)
    if endless:
        where = f"{len(endless)} pipes or devices in {root} are no files and left out, e.g. {min(endless)}"
        warnings.warn(where, stacklevel=2)
    return sorted(found)


def of_folders(path: str) -> dict[str, str]:
    """Return label and split of a file by its folders: `<label>/...` or `<split>/<label>/...`; "" where it has none."""
    parts = path.split("/")[:-1]
    split = SPLIT_NAMES.get(parts[0].lower(), "") if parts else ""
    below = parts[1:] if split else parts
    return {"label": below[0] if below else "", "split": split}


class LabelTable:
    """A CSV file that labels files, their folders, series or patients.

    Its first column of `keys` says what a row is about; of the others, `TAKEN` come to the manifest.

    Args:
        file: The table.
        root: Folder that paths in it start from.
        keys: Names of columns that a row may be found by, e.g. path, a file or a folder with all that is in it.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: It has no label or no key, or one key twice with different labels.
    """

    def __init__(self, file: Path, root: Path, keys: Sequence[str]) -> None:
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file}: correct data.source.labels")
        table = read_columns(file, root)
        self.file = file
        self.key = next((key for key in keys if key in table), "")
        if not self.key or "label" not in table:
            wanted = f"label and {' or '.join(keys)}"
            raise ValueError(f"{file} has the columns {', '.join(table)}: it needs {wanted}")
        self.rows: dict[str, dict[str, str]] = {}
        for row, key in enumerate(table[self.key]):
            values: dict[str, str] = {name: table[name][row] for name in TAKEN if name in table}
            name = os.path.normpath(key).replace(os.sep, "/") if self.key == "path" and key else key
            if self.rows.setdefault(name, values) != values:
                raise ValueError(f"{file} says two things of {self.key} {key!r}: keep one row")
        self._used: set[str] = set()

    def find(self, **names: str) -> dict[str, str] | None:
        """Return the row of a file, or None.

        Args:
            names: What the file is by each key.
        """
        name = names[self.key]
        above = [name]
        while self.key == "path" and "/" in above[-1]:
            above.append(above[-1].rpartition("/")[0])
        found = next((key for key in above if key in self.rows), None)
        if found is None:
            return None
        self._used.add(found)
        return self.rows[found]

    def warn_unused(self) -> None:
        """Say which rows no file was found for."""
        if unused := sorted(set(self.rows) - self._used):
            what = "" if self.key == "patient_id" else f", e.g. {unused[0]!r}"  # an id stays out of messages
            warnings.warn(f"{self.file}: {len(unused)} rows name no file that is here{what}", stacklevel=3)
