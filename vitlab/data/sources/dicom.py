"""Dicom: a folder tree of DICOM files, sorted into series, with patients from their headers.

Headers are read in `vitlab.data.sources.dicom_headers`; pixel values, windows and frames in `dicom_pixels`.
"""

import re
import warnings
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from vitlab.data.manifest import Manifest
from vitlab.data.patients import read_ids
from vitlab.data.sources.base import Source, resolve_folder
from vitlab.data.sources.dicom_headers import Header, in_order, pseudonym, read_headers
from vitlab.data.sources.dicom_pixels import read_dicom
from vitlab.data.sources.labels import LabelTable, files_below, of_folders
from vitlab.data.sources.volumes import Shelf, Window, check_window, split_member


class Dicom(Source):
    """Images of DICOM files in any folders below root, sorted by series and position.

    Folders: `root/<class>/...` or `root/<split>/<class>/...`. The patient is the header's PatientID; where it names
    nobody, the study stands in, so that slices of one head stay on one side of a split. Gray values follow the header:
    rescale, window (VOI), MONOCHROME1, palettes; all frames of a file are taken. The patient's name is never copied; a
    path that holds it, or the id, is replaced by hashes of patient and image, as is that of a damaged file beside it.

    data: {source: {class_path: Dicom, init_args: {root: clinic, labels: labels.csv, series: T1.*}}, image_size: 128}

    Args:
        root: The folder; relative to $VITLAB_DATA or the working folder.
        labels: Table in root with the column label and one of path (a file, or a folder with all files in it), series
            (SeriesInstanceUID) and patient_id (PatientID), and where known split and fold. Null takes the label from
            the folders.
        every: Take each so-manieth image of a series.
        series: Regular expression that the header's SeriesDescription must match, in any case; null takes all.
        window: Values that become black and white after rescaling, e.g. [0, 80] for a brain in CT; null takes the
            header's window, or the 0.5 and 99.5 percentiles of an image without one.
        anonymise: Write hashes of PatientIDs, not the ids. Short ids can be found again by trying all: set VITLAB_SALT
            to a secret, which is hashed with them.
        name: Name of the data set; the folder's where it is not given.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = None,
        every: int = 1,
        series: str | None = None,
        window: Window | None = None,
        anonymise: bool = True,
        name: str | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"data.source.every is {every}: give a number of at least 1")
        check_window(window)
        try:
            self.series = re.compile(series, re.IGNORECASE) if series is not None else None
        except re.error as error:
            raise ValueError(f"data.source.series is no regular expression ({error})") from None
        self.root = resolve_folder(root)
        self.name = name or self.root.resolve().name
        self.labels, self.every, self.window, self.anonymise = labels, every, window, anonymise
        self.member = "" if window is None else f"{window[0]:g}..{window[1]:g}/"  # other settings are other pixels
        self.without_pixels = 0  # files, such as reports, that the last manifest has left out
        self._real: dict[str, str] = {}  # of paths that would name the patient
        self._files = Shelf(lambda path: read_dicom(self.root / self._real.get(path, path), window))

    def manifest(self) -> Manifest:
        """Return the images by series and position; of a file that cannot be read the cache says why.

        Raises:
            ValueError: There are no images.
        """
        headers, broken, self.without_pixels = read_headers(self.root, files_below(self.root))
        self._real = {}
        if not headers and not broken:
            raise ValueError(f"{self.root} has no DICOM images: correct data.source.root")
        keys = ["path", "series", "patient_id"]
        table = LabelTable(self.root / self.labels, self.root, keys) if self.labels is not None else None
        ids, remarks = read_ids([header.patient for header in headers])
        if self.anonymise:  # what is said of ids would show them
            remarks = []
        nobody = [header for header, patient in zip(headers, ids, strict=True) if not patient]
        if studied := sum(header.study != "" for header in nobody):
            remarks.append(f"{studied} files have no PatientID that names somebody: their study counts as the patient")
        if alone := len(nobody) - studied:
            remarks.append(f"{alone} files name neither a patient nor a study: each counts as a patient of its own")
        for remark in remarks:
            warnings.warn(f"{self.root}: {remark}", stacklevel=2)
        columns: dict[str, list[str]] = {
            name: [] for name in ("path", "label", "patient_id", "split", "fold", "volume")
        }
        stacks: dict[str, list[tuple[Header, str]]] = defaultdict(list)
        for header, patient in zip(headers, ids, strict=True):
            if self.series is None or self.series.search(header.description):
                stacks[header.series].append((header, patient))
        unlabelled = 0
        for series, stack in sorted(stacks.items(), key=lambda item: item[1][0][0].path):
            images = [(one, who, frame) for one, who in in_order(stack) for frame in range(one.frames)]
            for header, patient, frame in images[:: self.every]:
                facts = self._facts(table, header)
                if facts is None:
                    unlabelled += 1
                    continue
                named = pseudonym(patient) if self.anonymise else patient
                own = {
                    "path": f"{self._path(header)}#{self.member}{frame}",
                    "patient_id": named or pseudonym(header.study or header.path, "s"),
                    "volume": pseudonym(series, "s"),
                }
                for name, column in columns.items():
                    column.append((facts | own).get(name, ""))
        hidden = {header.path.rpartition("/")[0] for header in headers if header.names_patient}
        for path in broken:
            shown = self._alias(path, pseudonym(path, "i")) if path.rpartition("/")[0] in hidden else path
            facts = (table.find(path=path, series="", patient_id="") if table is not None else of_folders(path)) or {}
            for name, column in columns.items():
                column.append((facts | {"path": f"{shown}#{self.member}0", "patient_id": ""}).get(name, ""))
        if table is not None:
            table.warn_unused()
        if unlabelled:
            warnings.warn(f"{unlabelled} images of {self.root} are not in {self.labels} and left out", stacklevel=2)
        if not columns["path"]:
            raise ValueError(f"no image of {self.root} is left: change data.source.series or the table of labels")
        return Manifest(columns, self.root, remarks=remarks, stands_for=self._real)

    def decode(self, path: str) -> NDArray[np.uint8]:
        """Return the image, uint8 (H, W) or (H, W, 3), its pixels square."""
        file, number = split_member(path)
        return self._files.get(file).picture(number)

    def close(self) -> None:
        """Free the images."""
        self._files.clear()

    def _facts(self, table: LabelTable | None, header: Header) -> dict[str, str] | None:
        if table is None:
            return of_folders(header.path)
        found = table.find(path=header.path, series=header.series, patient_id=header.patient)
        # patient and mask are the header's and none: a table's own id would split one person in two
        return None if found is None else {key: found[key] for key in ("label", "split", "fold") if key in found}

    def _path(self, header: Header) -> str:
        if not header.names_patient:
            return header.path
        whose, instance = pseudonym(header.patient), header.instance
        alias = self._alias(header.path, f"{whose}/{pseudonym(instance or header.path, 'i')}")
        if instance and self._real.get(alias, header.path) != header.path:  # another file of the same instance
            alias = self._alias(header.path, f"{whose}/{pseudonym(f'{instance} {header.path}', 'i')}")
        return alias

    def _alias(self, path: str, alias: str) -> str:
        """Return what stands for a path that names a patient; one that is taken goes on standing for the first."""
        if not self.anonymise:
            return path
        self._real.setdefault(f"{alias}.dcm", path)
        return f"{alias}.dcm"
