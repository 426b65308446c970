"""Any mix of pictures, NIfTI volumes and DICOM files in a folder, as images without labels."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vitlab.data.decode import Decoded, open_image
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Dicom, Nifti, Source
from vitlab.data.sources.dicom_headers import looks_like_dicom
from vitlab.data.sources.folder import SUFFIXES
from vitlab.data.sources.labels import files_below
from vitlab.data.sources.nifti import SUFFIXES as NIFTI_SUFFIXES
from vitlab.data.sources.nifti import Axis
from vitlab.data.sources.volumes import Window

_TAKEN = ("path", "patient_id", "volume")


class Files(Source):
    """All images of a folder and the folders in it: pictures, slices of NIfTI volumes, frames of DICOM files.

    DICOM patients are hashes, and paths that would name one too, as `Dicom` says. Links out of the folder are not
    followed.

    Args:
        root: The folder; relative to the working folder.
        window: Values of volumes and DICOM files that become black and white, as in `Nifti`.
        axis: Which way slices of volumes lie.
    """

    def __init__(self, root: Path, window: Window | None = None, axis: Axis = "axial") -> None:
        if not root.exists():
            raise FileNotFoundError(f"there is no {root}: give --images the folder of your images")
        if not root.is_dir():
            raise ValueError(f"--images {root} is a file: give the folder that it is in")
        self.root, self.name = root.absolute(), root.resolve().name  # a source would look in $VITLAB_DATA first
        self.window, self.axis = window, axis
        self._of: dict[str, Source] = {}  # which source a path is from; pictures have none

    def manifest(self) -> Manifest:
        """Return the images, pictures first; the column volume is "" for them.

        Raises:
            ValueError: There are none.
        """
        files = files_below(self.root)
        pictures = [path for path in files if Path(path).suffix.lower() in SUFFIXES]
        volumes = [path for path in files if path.endswith(NIFTI_SUFFIXES)]
        rest = sorted(set(files) - set(pictures) - set(volumes))
        dicom = [path for path in rest if looks_like_dicom(self.root / path)]
        columns: dict[str, list[str]] = {"path": pictures, "patient_id": [""] * len(pictures)}
        columns["volume"] = [""] * len(pictures)
        found: list[Source] = [Nifti(str(self.root), axis=self.axis, keep="all", window=self.window)] if volumes else []
        found += [Dicom(str(self.root), window=self.window)] if dicom else []
        for source in found:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of patients, whom only splits would need, and of links once more
                try:
                    manifest = source.manifest()
                except ValueError:
                    if not (isinstance(source, Dicom) and source.without_pixels):
                        raise
                    continue  # nothing but reports: the other files are images nevertheless
            for name in _TAKEN:
                columns[name] += manifest.column(name).tolist()
            self._of |= dict.fromkeys(manifest.path.tolist(), source)
        if bare := sum(source.without_pixels for source in found if isinstance(source, Dicom)):
            warnings.warn(f"{bare} DICOM files of {self.root} hold no pixels and are left out", stacklevel=2)
        if not columns["path"]:
            raise ValueError(f"{self.root} has no images: give a folder of PNG, JPEG, NIfTI or DICOM files")
        if others := sorted(set(rest) - set(dicom)):
            warnings.warn(f"{len(others)} files of {self.root} are no images, e.g. {others[0]}", stacklevel=2)
        label = np.full(len(columns["path"]), "", object)
        return Manifest({**columns, "label": label}, self.root)

    def decode(self, path: str) -> Decoded:
        """Return the image as its format's source does."""
        source = self._of.get(path)
        return open_image(self.root / path) if source is None else source.decode(path)

    def close(self) -> None:
        """Free what the sources hold."""
        for source in set(self._of.values()):
            source.close()


def as_trained(source: dict[str, Any]) -> dict[str, Any]:
    """Return the window and axis that a model knows, for `Files`: through others it would see other pictures.

    Args:
        source: What the config.yaml of its run has under `data.source`.
    """
    kind, settings = str(source.get("class_path", "")).rpartition(".")[2], source.get("init_args") or {}
    if kind not in (Nifti.__name__, Dicom.__name__):
        return {}
    found = {"axis": settings["axis"]} if settings.get("axis") else {}
    return {**found, "window": tuple(settings["window"])} if settings.get("window") else found
