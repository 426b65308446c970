"""Headers of DICOM files: what sorts them into series, whose they are, and hashes that stand for ids."""

import hashlib
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitlab.data.sources.dicom_limits import check_claims, check_deflated

SUFFIXES = (".dcm", ".dicom", ".ima")
_TAGS = (
    "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SOPInstanceUID",
    "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames", "Rows",
    "Columns",
)  # fmt: skip
_LEAST = 3  # letters of a name or id that count anywhere in a path; two, as of Li or Wu, do as a word of their own


@dataclass(frozen=True)
class Header:
    """What sorting needs of a file; the patient's name is not kept.

    Args:
        path: Relative to the folder that was read.
        patient: PatientID as it stands there.
        study: StudyInstanceUID, or SeriesInstanceUID; "" where there is neither.
        series: SeriesInstanceUID, the file's folder where there is none.
        description: SeriesDescription.
        instance: SOPInstanceUID.
        place: What slices of a series are sorted by: mm along their normal, then InstanceNumber.
        frames: Images in the file.
        names_patient: Whether the path holds the patient's name or id.
    """

    path: str
    patient: str
    study: str
    series: str
    description: str
    instance: str
    place: tuple[float, int]
    frames: int
    names_patient: bool


def read_headers(root: Path, paths: Iterable[str]) -> tuple[list[Header], list[str], int]:
    """Read the headers of files that are DICOM images, not their pixels.

    Returns:
        The headers, the files that claim to be DICOM and cannot be read, and how many hold no pixels, as directories
        and reports do. Files of other kinds are passed over.
    """
    headers, broken, bare = [], [], 0
    for path in paths:
        if not looks_like_dicom(root / path):
            continue
        try:
            header = _read_header(root / path, path)
        except Exception:  # pydicom raises KeyError, ValueError, struct.error and its own kinds
            broken.append(path)
            continue
        if header is not None:
            headers.append(header)
        elif _has_preamble(root / path):
            bare += 1
        else:
            broken.append(path)
    return headers, broken, bare


def looks_like_dicom(path: Path) -> bool:
    """Say whether a file claims to be DICOM, by its name or its first bytes."""
    return path.name.lower().endswith(SUFFIXES) or _has_preamble(path)


def in_order(stack: list[tuple[Header, str]]) -> list[tuple[Header, str]]:
    """Return the files of a series by their place."""
    return sorted(stack, key=lambda item: (item[0].place, item[0].path))


def pseudonym(name: str, kind: str = "p") -> str:
    """Return a hash that stands for an id, with $VITLAB_SALT as its key; "" for ""."""
    if not name:
        return ""
    key = hashlib.sha256(os.environ.get("VITLAB_SALT", "").encode()).digest()
    return kind + hashlib.blake2b(name.encode(errors="surrogateescape"), key=key, digest_size=8).hexdigest()


def _has_preamble(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read_header(file: Path, path: str) -> Header | None:
    """Return the header of a DICOM image, or None of a file that is none."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that the standard forbids and everyone writes
        check_deflated(file)
        found = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
        if "Rows" not in found:
            return None
        check_claims(found)
        patient = str(found.get("PatientID") or "").strip()
        words = [*re.split(r"[\^\s=,]+", str(found.get("PatientName") or "")), patient]
        return Header(
            path=path,
            patient=patient,
            study=str(found.get("StudyInstanceUID") or found.get("SeriesInstanceUID") or ""),
            series=str(found.get("SeriesInstanceUID") or path.rpartition("/")[0] or path),
            description=str(found.get("SeriesDescription") or ""),
            instance=str(found.get("SOPInstanceUID") or ""),
            place=_place(found),
            frames=max(1, int(found.get("NumberOfFrames") or 1)),
            names_patient=_named(path, words),
        )


def _named(path: str, words: Iterable[str]) -> bool:
    """Say whether a path holds one of the words, whatever its case, accents and signs."""
    bare, parts = _bare(path), {_bare(part) for part in re.split(r"[\W_]+", path)}
    return any(word in (bare if len(word) >= _LEAST else parts) for word in map(_bare, words) if len(word) > 1)


def _bare(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text.casefold()) if sign.isalnum())


def _place(header: Any) -> tuple[float, int]:
    """Return what a file is sorted by, 0 for what is no number: that would be no reason to lose whose image it is."""
    number, along = 0, 0.0
    with suppress(ValueError, TypeError, OverflowError):
        number = int(header.get("InstanceNumber") or 0)
    with suppress(ValueError, TypeError, OverflowError):
        position, orientation = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
        if position and orientation and len(position) == 3 and len(orientation) == 6:
            across, down = np.array(orientation, float).reshape(2, 3)
            along = round(float(np.cross(across, down) @ np.array(position, float)), 3)
    return along, number
