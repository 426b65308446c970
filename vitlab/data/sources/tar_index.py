"""What a tar file of samples holds, and where: members are found once, and read without unpacking any.

A sample is all members of one name up to the first dot of its last part, as in WebDataset (Aizman et al. 2019, arXiv
2001.01858; webdataset/tariterators.py, `base_plus_ext`): a/7.jpg, a/7.cls, a/7.json.
"""

import hashlib
import json
import os
import re
import stat
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from vitlab.atomic import write_text
from vitlab.data.cache import cache_folder
from vitlab.data.sources.folder import SUFFIXES

FIELDS: Final = ("label", "patient_id", "split", "fold", "mask_path")  # of a sample, that come to the manifest
_VERSION = 2  # of what is kept: raise it whenever a sample is read in another way
_HEADER = 2**16  # bytes of a name or of attributes; a header that claims more is taken for damaged
_TEXT = 2**16  # bytes of a label or a JSON file
_KEYS, _LONG = 50, 50  # of JSON files, for messages: how many, and of how many characters
_PICTURE = 2**28  # bytes of an image file
_PIECE = 2**20  # bytes read at a time behind the end
_NAMING = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
           tarfile.GNUTYPE_LONGLINK)  # fmt: skip
_NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")


class Sample(NamedTuple):
    """One image.

    Attributes:
        image: Name of its member.
        values: Of `FIELDS`, "" where unknown; mask_path is the name of a member.
    """

    image: str
    values: dict[str, str]


class TarIndex(NamedTuple):
    """The samples of one tar file.

    Attributes:
        samples: In the order of the file.
        places: Offset and size in bytes of each image and mask, by its member's name.
        passed: Names of members that are no part of a sample, or not taken for one.
        unread: Names of labels and JSON files that could not be read, or of which a field could not.
        keys: Those of JSON files: all that were asked for, and some others.
    """

    samples: list[Sample]
    places: dict[str, tuple[int, int]]
    passed: list[str]
    unread: list[str]
    keys: list[str]


def read_index(file: Path, image: str | None, fields: dict[str, str]) -> TarIndex:
    """Return what a tar file holds, kept in the cache folder until the file changes.

    Args:
        file: Not compressed.
        image: What follows the sample's name in that of its image; null takes the only image that is no mask.
        fields: Keys of JSON files by the name of ours.

    Raises:
        ValueError: It is no tar file, or a damaged one, or a sample has several images.
        OSError: It cannot be read.
    """
    facts = os.stat(file)
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError(f"{file} is not a file: correct data.source.shards")
    stamp = [_VERSION, facts.st_size, facts.st_mtime_ns, image, sorted(fields.items())]
    key = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:24]
    kept = cache_folder() / "tars" / f"{key}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["stamp"] == json.loads(json.dumps(stamp)):
            samples = [Sample(name, dict(zip(FIELDS, values, strict=True))) for name, *values in known["samples"]]
            places = {name: (int(offset), int(size)) for name, (offset, size) in known["places"].items()}
            return TarIndex(samples, places, known["passed"], known["unread"], known["keys"])
    found = _scan(file, facts.st_size, image, fields)
    rows = [[sample.image, *sample.values.values()] for sample in found.samples]
    record = {"stamp": stamp, **found._asdict(), "samples": rows}
    with suppress(OSError, UnicodeEncodeError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps(record))
    return found


class _Member(tarfile.TarInfo):
    """A header that claims no more than a header can: the library reads names of any length, and sizes below 0."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in _NAMING and self.size > _HEADER):
            raise tarfile.ReadError("a header claims too much")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("it holds a sparse file")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        if member.size < 0:  # attributes may say so too
            raise tarfile.ReadError("a header claims too much")
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:  # the library waits for what is not there
        raise tarfile.ReadError("it holds a sparse file")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10


def _scan(file: Path, length: int, image: str | None, fields: dict[str, str]) -> TarIndex:
    """Go through a tar file's headers, and read its labels."""
    found = TarIndex([], {}, [], [], [])
    with file.open("rb") as stored:
        for name, members in _members(file, stored, length, found.passed).items():
            _add(found, stored, name, members, image, fields, file)
    return found


def _members(file: Path, stored: BinaryIO, length: int, passed: list[str]) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the place of each member of a tar file by the name of its sample and what follows it."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(fileobj=stored, mode="r:", tarinfo=_Member, errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else a million of them stay
                if member.isdir():
                    continue
                name = member.name.removeprefix("./")
                parts = _NAME.fullmatch(name)
                if parts is None or not member.isreg() or _strange(name):
                    passed.append(name)
                    continue
                if member.offset_data + member.size > length:
                    raise tarfile.ReadError(f"it ends within {name!r}")
                members = samples.setdefault(parts[1], {})
                if parts[2] in members:
                    raise tarfile.ReadError(f"it holds {name!r} twice: pack it again with one of them")
                members[parts[2]] = (member.offset_data, member.size)
            end = tar.offset
        _check_end(stored, end)
    except (tarfile.TarError, ValueError, IndexError, EOFError, OverflowError, RecursionError) as error:
        stored.seek(0)
        packed = stored.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
        hint = "it is compressed, so that no image can be read alone: unpack it to a plain .tar" if packed else error
        raise ValueError(
            f"{file} is no tar file, or damaged ({hint}); write it again, or leave it out of data.source.shards"
        ) from None
    return samples


def _check_end(stored: BinaryIO, end: int) -> None:
    """Raise unless a tar file ends as one that is whole does: by two blocks of zeros, and nothing but zeros after.

    The library takes a broken header for the end, and so the end of what was cut or of the first of several tars.
    """
    stored.seek(end)
    zeros = stored.read(2 * tarfile.BLOCKSIZE)
    if any(zeros[: tarfile.BLOCKSIZE]):
        raise tarfile.ReadError(f"it is damaged at byte {end}")
    if len(zeros) < 2 * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it was cut, as the zeros that end a tar are not there: copy or write it again")
    while zeros:
        if zeros.strip(b"\0"):
            raise tarfile.ReadError(f"more follows its end at byte {end}: of several tars, keep each in its own file")
        zeros = stored.read(_PIECE)


def _strange(name: str) -> bool:
    """Say whether a name is one that no sample has: from the root, upwards, or with the sign before a member."""
    return name.startswith("/") or ".." in name.split("/") or "#" in name or "\0" in name


def _add(
    found: TarIndex,
    stored: BinaryIO,
    name: str,
    members: dict[str, tuple[int, int]],
    image: str | None,
    fields: dict[str, str],
    file: Path,
) -> None:
    """Add a sample to an index, unless it has no image."""
    pictures = [end for end in members if f".{end.rpartition('.')[2].lower()}" in SUFFIXES]
    masks = [end for end in pictures if end.startswith("mask.")]
    chosen = [end for end in pictures if (end not in masks if image is None else end == image)]
    if len(chosen) > 1:
        raise ValueError(
            f"{file} has several images of {name!r} ({', '.join(chosen)}): say by data.source.image which to take"
        )
    if not chosen:
        found.passed.extend(f"{name}.{end}" for end in members)
        return

    def text(end: str) -> str:
        offset, size = members[end]
        if size > _TEXT:
            raise ValueError(f"{size} bytes")
        stored.seek(offset)
        return str(stored.read(size).decode("utf-8")).strip()

    values = dict.fromkeys(FIELDS, "")
    for end in ("txt", "cls"):
        if end in members:
            try:
                values["label"] = text(end)
            except ValueError:
                found.unread.append(f"{name}.{end}")
    if "json" in members:
        try:
            told = json.loads(text("json"))
            if not isinstance(told, dict):
                raise ValueError("no fields")
            for key in told:
                wanted = key in fields.values() or (len(found.keys) < _KEYS and len(key) < _LONG)
                if wanted and key not in found.keys:
                    found.keys.append(key)
            given = {ours: _text(told.get(fields.get(ours, ours))) for ours in FIELDS}
            values |= {ours: value for ours, value in given.items() if value}
            if None in given.values():
                found.unread.append(f"{name}.json")
        except (ValueError, RecursionError):
            found.unread.append(f"{name}.json")
    folder = name.rpartition("/")[0]
    if values["mask_path"]:
        values["mask_path"] = f"{folder}/{values['mask_path']}".removeprefix("/")
        other, end = parts.groups() if (parts := _NAME.fullmatch(values["mask_path"])) else ("", "")
        if other != name or end not in members:
            found.unread.append(f"{name}.json")
            values["mask_path"] = ""
    elif masks:
        values["mask_path"] = f"{name}.{masks[0]}"
    found.samples.append(Sample(f"{name}.{chosen[0]}", values))
    found.places[f"{name}.{chosen[0]}"] = members[chosen[0]]
    if values["mask_path"]:
        found.places[values["mask_path"]] = members[values["mask_path"][len(name) + 1 :]]


def _text(value: object) -> str | None:
    """Return a field of a JSON file as text, "" where it is null, None where it is nothing that a column can hold."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes 12.0 where another row has none
    text = "" if value is None else str(value).strip()
    if isinstance(value, str | int | None) and text.encode(errors="ignore").decode() == text:  # no half of a character
        return text
    return None


def read_member(file: Path, place: tuple[int, int]) -> bytes:
    """Return the bytes of a member.

    Raises:
        ValueError: It is larger than an image, or the file has become shorter.
    """
    offset, size = place
    if size > _PICTURE:
        raise ValueError(f"it has {size / 2**20:.0f} MiB, and images up to {_PICTURE / 2**20:.0f} are read")
    with file.open("rb") as stored:
        stored.seek(offset)
        data = stored.read(size)
    if len(data) < size:
        raise ValueError("its tar file has become shorter")
    return data
