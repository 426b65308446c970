"""Figshare: the publisher's MATLAB files of Cheng's brain tumours."""

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitlab.data.decode import Decoded
from vitlab.data.manifest import Manifest
from vitlab.data.sources.base import Source, resolve_folder

_MOST = 2**29  # bytes of an array; the publisher's have 2**19


class Figshare(Source):
    """The publisher's files of Cheng et al. 2015, "brain tumor dataset" (doi 10.6084/m9.figshare.1512427), with masks.

    N.mat (MATLAB 7.3, so HDF5) in root or its brainTumorDataPublic_* folders. The patient is the PID without the letter
    of the exam (MR051644A and MR051644B are one person); the PID itself is in the column exam_id.

    Args:
        root: The folder; relative to $VITLAB_DATA or the working folder.
        name: Name of the data set.
    """

    CLASSES: Final = {1: "meningioma", 2: "glioma", 3: "pituitary"}

    def __init__(self, root: str, name: str = "cheng") -> None:
        self.root, self.name = resolve_folder(root), name

    def manifest(self) -> Manifest:
        """Return the slices by the publisher's number; one that cannot be read has no label.

        Raises:
            ValueError: There are no such files, or none can be read.
        """
        import h5py

        files = [path for path in self.root.rglob("*.mat") if path.stem.isdecimal() and not path.is_fifo()]
        if not files:
            raise ValueError(f"{self.root} has no files like 1.mat: unpack the publisher's archives into it")
        names = ("path", "label", "patient_id", "mask_path", "exam_id", "slice")
        rows: dict[str, list[str]] = {name: [] for name in names}
        for file in sorted(files, key=lambda path: (int(path.stem), path)):
            label = exam = ""
            try:
                with h5py.File(file, "r") as mat:
                    label = self.CLASSES[int(_member(mat, "label")[0, 0])]
                    exam = "".join(map(chr, np.ravel(_member(mat, "PID")[()])))
            except (OSError, KeyError, ValueError, TypeError, IndexError, OverflowError, RuntimeError):
                pass  # the cache opens it once more, and names it with the reason
            path = file.relative_to(self.root).as_posix()
            values = path, label, re.sub(r"(?<=\d)[A-Za-z]$", "", exam), f"{path}#tumorMask", exam, file.stem
            for column, value in zip(rows.values(), values, strict=True):
                column.append(value)
        if not any(rows["label"]):
            raise ValueError(f"{files[0]} and the others in {self.root} are no MATLAB 7.3 files with cjdata/label")
        return Manifest(rows, self.root)

    def decode(self, path: str) -> Decoded:
        """Return the slice, int16 (H, W)."""
        return self._read(path, "image")

    def read_mask(self, path: str) -> NDArray[np.bool_]:
        """Return the tumour, bool (H, W)."""
        file, _, member = path.rpartition("#")
        return np.asarray(self._read(file, member) > 0)

    def _read(self, path: str, member: str) -> NDArray[Any]:
        import h5py

        with h5py.File(self.root / path, "r") as mat:
            array: NDArray[Any] = _member(mat, member)[()].T  # MATLAB writes columns first
        return array


def _member(mat: Any, name: str) -> Any:
    """Return a part of a slice, which has to lie in the file itself: HDF5 may name other files, and claim any size.

    Raises:
        ValueError: It lies elsewhere, or claims more bytes than an image has.
    """
    import h5py

    if any(isinstance(mat.get(path, getlink=True), h5py.ExternalLink) for path in ("cjdata", f"cjdata/{name}")):
        raise ValueError(f"its {name} is a link to another file")
    found = mat["cjdata"][name]
    if found.file.filename != mat.filename or found.external or found.is_virtual:  # a link may lead through another
        raise ValueError(f"its {name} lies in another file")
    if (claimed := found.size * found.dtype.itemsize) > _MOST:
        raise ValueError(f"its {name} claims {claimed} bytes")
    return found
