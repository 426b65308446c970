"""Nifti: a folder of .nii and .nii.gz volumes, cut into slices.

Shapes: S slices along the axis, H, W pixels of a slice.
"""

import hashlib
import json
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.atomic import write_text
from vitlab.data.cache import cache_folder
from vitlab.data.decode import reason
from vitlab.data.manifest import Manifest
from vitlab.data.patients import read_ids
from vitlab.data.sources.base import Source, resolve_folder
from vitlab.data.sources.labels import LabelTable, files_below, of_folders
from vitlab.data.sources.nifti_limits import check_extensions, check_voxels
from vitlab.data.sources.volumes import (
    MIN_HEAD,
    MOST_VOXELS,
    Shelf,
    Volume,
    Window,
    check_window,
    head_shares,
    split_member,
    windowed,
)

SUFFIXES = (".nii", ".nii.gz")
Axis = Literal["axial", "coronal", "sagittal"]
_NUMBER: Final = {"sagittal": 0, "coronal": 1, "axial": 2}  # of the axis in right, anterior, superior


class Nifti(Source):
    """Slices of NIfTI volumes (.nii, .nii.gz), labelled by their folders or by a table.

    Folders: `root/<class>/...` or `root/<split>/<class>/...`. Volumes are turned to right, anterior, superior by their
    header, and slices shown as radiologists do: the patient's right on the left, anterior or superior on top. Gray
    values are those of the whole volume. All slices of a volume belong to one patient.

    data: {source: {class_path: Nifti, init_args: {root: brats, labels: labels.csv, every: 5}}, image_size: 128}

    Args:
        root: The folder; relative to $VITLAB_DATA or the working folder.
        labels: Table in root with the columns path (a volume, or a folder with all volumes in it) and label, and where
            known patient_id, split, fold and mask_path. Null takes the label from the folders.
        axis: Which way slices lie.
        every: Take each so-manieth of the slices that are kept.
        keep: Which slices: all, those with a head in them, or those with a mask in them.
        min_head: Least share of a slice's pixels brighter than a tenth of the window, which counts as a head.
        window: Values that become black and white, e.g. [0, 80] for a brain in CT; null takes each volume's 0.5 and
            99.5 percentiles.
        patient: Regular expression found in a volume's path; its first group, or all of it, is the patient where the
            table names none. Where it is not found, the volume's name without suffix is. BIDS names are the default.
        mask_suffix: `x<suffix>.nii.gz` beside `x.nii.gz` is its mask.
        name: Name of the data set; the folder's where it is not given.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = None,
        axis: Axis = "axial",
        every: int = 1,
        keep: Literal["all", "head", "mask"] = "head",
        min_head: float = MIN_HEAD,
        window: Window | None = None,
        patient: str = r"(sub-[A-Za-z0-9]+)",
        mask_suffix: str = "_mask",
        name: str | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"data.source.every is {every}: give a number of at least 1")
        if not 0 <= min_head < 1:
            raise ValueError(f"data.source.min_head is {min_head}: give a share in [0, 1), such as 0.1")
        check_window(window)
        try:
            self.patient = re.compile(patient)
        except re.error as error:
            raise ValueError(f"data.source.patient is no regular expression ({error})") from None
        self.root = resolve_folder(root)
        self.name = name or self.root.resolve().name
        self.labels, self.axis, self.every, self.keep, self.min_head = labels, axis, every, keep, min_head
        self.window, self.mask_suffix = window, mask_suffix
        # part of every path, since other settings are other pixels
        self.member = axis if window is None else f"{axis},{window[0]:g}..{window[1]:g}"
        self._volumes = Shelf(lambda path: read_nifti(self.root / path, axis, window))
        self._masks = Shelf(lambda path: read_nifti(self.root / path, axis, window=(0.0, 1.0)))

    def manifest(self) -> Manifest:
        """Return the slices by volume; of a volume that cannot be read one, which the cache names with the reason.

        A mask that cannot be read counts as none, with one warning.

        Raises:
            ValueError: There are no volumes, no slice is kept, a mask leaves the folder or has other slices.
        """
        files = [path for path in files_below(self.root) if path.endswith(SUFFIXES)]
        table = LabelTable(self.root / self.labels, self.root, ["path"]) if self.labels is not None else None
        known = set(files)
        masks = {path: mask for path in files if (mask := self._mask_of(path)) in known}
        listed = {_tidy(row.get("mask_path", "")) for row in table.rows.values()} if table is not None else set()
        volumes = sorted(known - set(masks.values()) - listed)
        if not volumes:
            raise ValueError(f"{self.root} has no .nii or .nii.gz volumes: correct data.source.root")
        columns: dict[str, list[str]] = {
            name: [] for name in ("path", "label", "patient_id", "split", "mask_path", "fold", "volume")
        }
        unlabelled, lost = [], []
        memo = _Memo(self.root, self.member)
        for path in volumes:
            facts = table.find(path=path) if table is not None else of_folders(path)
            if facts is None:
                unlabelled.append(path)
                continue
            mask = self._checked(_tidy(facts.get("mask_path", "")) or masks.get(path, ""))
            masked, why = self._masked(mask, memo)
            lost += [f"{mask} ({why})"] if why else []
            kept = self._kept(path, mask, masked, memo)
            facts = {"patient_id": self._patient(path), "volume": path, **{k: v for k, v in facts.items() if v}}
            for number in kept:
                member = f"#{self.member}/{number}"
                own = {"path": path + member, "mask_path": mask + member if masked and masked[number] else ""}
                for name, column in columns.items():
                    column.append((facts | own).get(name, ""))
        memo.write()
        if lost:
            what = f"{len(lost)} masks of {self.root} cannot be read and count as none"
            warnings.warn(f"{what}, e.g. {lost[0]}", stacklevel=2)
        if table is not None:
            table.warn_unused()
        if unlabelled:
            said = f"{len(unlabelled)} volumes of {self.root} are not in {self.labels} and left out"
            warnings.warn(f"{said}, e.g. {unlabelled[0]}", stacklevel=2)
        if not columns["path"]:
            raise ValueError(f"no slice of the volumes in {self.root} is kept: change data.source.keep or min_head")
        columns["patient_id"], remarks = read_ids(columns["patient_id"])
        for remark in remarks:
            warnings.warn(f"{self.root}: {remark}", stacklevel=2)
        return Manifest(columns, self.root, remarks=remarks)

    def decode(self, path: str) -> NDArray[np.uint8]:
        """Return the slice, uint8 (H, W), its pixels square."""
        return self._of(self._volumes, path)

    def read_mask(self, path: str) -> NDArray[np.bool_]:
        """Return the mask of a slice, bool (H, W)."""
        return np.asarray(self._of(self._masks, path) > 127)

    def close(self) -> None:
        """Free the volumes."""
        self._volumes.clear()
        self._masks.clear()

    def _of(self, shelf: Shelf, path: str) -> NDArray[np.uint8]:
        file, number = split_member(path)
        return shelf.get(file).picture(number)

    def _mask_of(self, path: str) -> str:
        suffix = next(suffix for suffix in reversed(SUFFIXES) if path.endswith(suffix))
        return path.removesuffix(suffix) + self.mask_suffix + suffix

    def _checked(self, mask: str) -> str:
        """Return a mask's path, which has to be inside root."""
        if mask and not (self.root / mask).resolve().is_relative_to(self.root.resolve()):
            raise ValueError(f"the mask {mask!r} of {self.labels} leaves {self.root}: put it inside")
        return mask

    def _patient(self, path: str) -> str:
        found = self.patient.search(path)
        if found is None:
            return path.rpartition("/")[2].removesuffix(".gz").removesuffix(".nii")
        return (found[1] if found.re.groups else found[0]) or ""

    def _masked(self, mask: str, memo: "_Memo") -> tuple[list[bool], str]:
        """Return whether each slice of a mask has some of it, none without a mask, and why it cannot be read."""
        if not mask:
            return [], ""
        try:
            shares = memo.get(mask, "mask", lambda: (self._masks.get(mask).slices > 127).mean((1, 2)))
        except Exception as error:  # nibabel raises its own kinds, OSError, EOFError, zlib.error and ValueError
            return [], reason(error)
        return [share > 0 for share in shares], ""

    def _kept(self, path: str, mask: str, masked: list[bool], memo: "_Memo") -> list[int]:
        """Return the slices of a volume to take.

        Raises:
            ValueError: Its mask is of another number of slices.
        """
        try:
            volume = self.root / path
            shares = memo.get(path, "head", lambda: head_shares(read_nifti(volume, self.axis, self.window).slices))
        except Exception:  # as for masks; reading the slice will say why
            return [0]
        if masked and len(masked) != len(shares):
            raise ValueError(f"{mask} has {len(masked)} slices and {path} has {len(shares)}: give its own mask")
        kept = {
            "all": range(len(shares)),
            "head": [number for number, share in enumerate(shares) if share >= self.min_head],
            "mask": [number for number, there in enumerate(masked) if there],
        }[self.keep]
        return list(kept[:: self.every])


def _tidy(path: str) -> str:
    """Return a path of a table as `files_below` writes it."""
    return os.path.normpath(path).replace(os.sep, "/") if path else ""


def read_nifti(file: Path, axis: Axis = "axial", window: Window | None = None) -> Volume:
    """Read a volume as gray slices.

    Args:
        file: .nii or .nii.gz; nothing in it is executed.
        axis: Which way slices lie; slice 0 is the most inferior, posterior or left one.
        window: Values that become black and white; null takes the volume's 0.5 and 99.5 percentiles.

    Raises:
        ValueError: It is no volume of gray values, or damaged.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        check_extensions(file)
        image: Any = nibabel.load(file)
        shape = image.shape
        if len(shape) < 3:
            raise ValueError(f"its shape is {' x '.join(map(str, shape))}: a volume has three dimensions")
        if any(length != 1 for length in shape[3:]):
            raise ValueError(f"its shape is {' x '.join(map(str, shape))}: only single volumes are read, so split it")
        if not 0 < np.prod(shape, dtype=np.float64) <= MOST_VOXELS:
            raise ValueError(f"its header claims {' x '.join(map(str, shape))} voxels")
        check_voxels(image.get_data_dtype())
        image = nibabel.as_closest_canonical(image)
        values = np.asanyarray(image.dataobj)
        zooms = [float(zoom) for zoom in image.header.get_zooms()[:3]]
    except (ImageFileError, EOFError, zlib.error, OSError, np.linalg.LinAlgError) as error:
        raise ValueError(f"not a NIfTI volume, or damaged ({reason(error)})") from None
    # First is the slice, then what is seen from top to bottom, then from left to right.
    values = values.reshape(values.shape[:3])[::-1, ::-1, ::-1]
    number = _NUMBER[axis]
    down, across = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}[axis]
    slices = windowed(values.transpose(number, down, across)[::-1], window)
    return Volume(slices, (zooms[down], zooms[across]))


class _Memo:
    """What each file's slices hold, kept in the cache folder: without it every start would read all volumes.

    Args:
        root: Folder of the files.
        member: How they are cut into slices.
    """

    def __init__(self, root: Path, member: str) -> None:
        key = hashlib.sha256(f"{root.resolve()}\0{member}".encode(errors="surrogateescape")).hexdigest()[:24]
        self.root, self.file = root, cache_folder() / "volumes" / f"{key}.json"
        self.known: dict[str, list[Any]] = {}
        self.changed = False
        with suppress(OSError, ValueError):
            known = json.loads(self.file.read_text(encoding="utf-8"))
            self.known = known if isinstance(known, dict) else {}

    def get(self, path: str, what: Literal["head", "mask"], measure: Callable[[], Iterable[float]]) -> list[float]:
        """Return what share of each slice of a file is head or mask, measured where unknown or the file has changed.

        A file may be taken for one, then for the other, as settings change.
        """
        facts = (self.root / path).stat()
        stamp = f"{what}:{facts.st_size}:{facts.st_mtime_ns}"
        if self.known.get(path, [""])[0] != stamp:
            self.known[path] = [stamp, [round(float(share), 6) for share in measure()]]
            self.changed = True
        shares: list[float] = self.known[path][1]
        return shares

    def write(self) -> None:
        """Keep what was measured; where that cannot be written, it is measured again."""
        if self.changed:
            with suppress(OSError, UnicodeEncodeError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                write_text(self.file, json.dumps(self.known))
