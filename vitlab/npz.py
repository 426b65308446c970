"""Arrays of .npz files of a stranger: nothing in them is executed, and they fit the memory or are refused."""

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARE = 2  # of the machine's memory, one in so many bytes: what is read is copied once or twice
_DAMAGED = (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError,
            NotImplementedError, RuntimeError, SyntaxError, RecursionError)  # fmt: skip


class Damaged(ValueError):
    """It is no .npz file, or an array of it cannot be read."""


def read_arrays(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Return arrays of a file, in the order of the names.

    Raises:
        Damaged: It is no such file, or lacks one.
        ValueError: It would unpack to more than half of the machine's memory.
        OSError: It cannot be opened.
    """
    for name in names:
        _check_size(path, name)
    found = []
    name = ""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in names:
                found.append(np.asarray(arrays[name]))
    except _DAMAGED:
        raise Damaged(f"cannot read {name} in it") from None
    return found


def shape_of(path: Path, name: str) -> tuple[int, ...]:
    """Return the shape of an array without unpacking it.

    Raises:
        Damaged: It cannot be told.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            major = np.lib.format.read_magic(file)[0]
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            return read(file)[0]
    except _DAMAGED:
        raise Damaged(f"cannot read {name} in it") from None


def memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_size(path: Path, name: str) -> None:
    """Refuse an array that unpacks to too much; a reader never gets more than the archive claims."""
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = archive.getinfo(f"{name}.npy").file_size
    except _DAMAGED:
        raise Damaged(f"cannot read {name} in it") from None
    if claimed > memory() // SHARE:
        raise ValueError(
            f"{path} of {path.stat().st_size / 2**20:.1f} MiB claims to unpack {name} to {claimed / 2**30:.1f} GiB, "
            f"more than 1/{SHARE} of this machine's memory: take a smaller set, or another machine"
        )
