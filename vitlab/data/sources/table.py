"""Sources that are a table of image files: Csv, and the built-in Phantom."""

import inspect
import os
import warnings

from vitlab.data.manifest import Manifest
from vitlab.data.sources.base import Source, resolve_folder


class Phantom(Source):
    """The built-in images: synthetic patients in real anatomy, made on first use; see `vitlab.data.phantom`.

    Args:
        root: Folder that `vitlab data phantom --out` wrote; null makes the images in the cache folder.
        seed: Other seeds give other patients.
        train_patients: Patients of each class in training, from scanner A.
        val_patients: Patients of each class in validation, from scanner A.
        test_patients: Patients of each class in the test, from scanner B.
        slices: Images a patient.
        size: Side of the images in pixels.
    """

    def __init__(
        self,
        root: str | None = None,
        seed: int = 0,
        train_patients: int = 80,
        val_patients: int = 20,
        test_patients: int = 25,
        slices: int = 3,
        size: int = 96,
    ) -> None:
        self.name = "phantom"
        self.settings = {
            "seed": seed,
            "train_patients": train_patients,
            "val_patients": val_patients,
            "test_patients": test_patients,
            "slices": slices,
            "size": size,
        }
        self.made = root is None
        if root is not None:
            self.root = resolve_folder(root)
            defaults = inspect.signature(Phantom).parameters
            if ignored := [name for name, value in self.settings.items() if value != defaults[name].default]:
                warnings.warn(f"{', '.join(ignored)} of Phantom ignored: its images are read from {root}", stacklevel=2)

    def manifest(self) -> Manifest:
        """Return the slices, made first where they are not there."""
        if self.made:
            from vitlab.data.phantom import phantom_folder

            self.root = phantom_folder(**self.settings)
        return Manifest.read(self.root / "manifest.csv")


class Csv(Source):
    """Image files listed in a table: path and label, and where known patient_id, split, mask_path, fold.

    Relative paths must stay inside root; absolute ones are taken as they are, so read only tables that you trust.

    Args:
        root: The folder; relative to $VITLAB_DATA or the working folder.
        manifest: The table, relative to root.
        columns: Columns of the table to take for vitlab's, e.g. {patient_id: patient_base}.
        name: Name of the data set; the folder's where it is not given.
    """

    def __init__(
        self,
        root: str,
        manifest: str = "manifest.csv",
        columns: dict[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.root = resolve_folder(root)
        self.table, self.columns = self.root / manifest, columns
        self.name = name or self.root.resolve().name

    def manifest(self) -> Manifest:
        """Return the table.

        Raises:
            ValueError: A relative path leaves root, or the table is wrong.
            FileNotFoundError: There is no table.
        """
        manifest = Manifest.read(self.table, self.root, self.columns)
        for column in ("path", "mask_path"):
            for row, path in enumerate(manifest.column(column)):
                if ".." in path and not os.path.isabs(path) and os.path.normpath(path).split(os.sep)[0] == "..":
                    raise ValueError(
                        f"{manifest.place} has the {column} {path!r} in {manifest.line(row)}, which leaves {self.root}"
                        ": set data.source.root to a folder above, or write absolute paths"
                    )
        return manifest
