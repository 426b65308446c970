"""Arrays on disk whose blocks are there before anything is written to them."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def reserve(path: Path, shape: tuple[int, ...], hint: str = "free some, or set VITLAB_CACHE") -> NDArray[np.uint8]:
    """Make an array on disk with its blocks reserved: a full disk shows here, as a message, not as a crash later.

    A memory map alone has no blocks until it is written to, and where there are none left, that ends the process.

    Args:
        path: The .npy file; the folder that it lies in is made, and in messages stands for its parent.
        shape: Of the array, uint8.
        hint: What to do about it.

    Returns:
        The array, zeros, a writable memory map.

    Raises:
        OSError: The disk is full or not writable.
    """
    needed, place = int(np.prod(shape, dtype=np.int64)), path.parent.parent  # path.parent has a temporary name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_space(path.parent, needed, hint, place)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        with path.open("r+b") as file:
            _fallocate(file.fileno())
    except OSError as error:
        if error.errno is None:  # it is a line already
            raise
        if error.errno == errno.ENOSPC:
            raise _full(needed, place, hint) from None
        raise OSError(f"cannot write decoded images to {place} ({error.strerror}): {hint}") from None
    return array


def check_space(folder: Path, needed: int, hint: str, place: Path | None = None) -> None:
    """Raise where a disk has less free than is needed.

    Args:
        folder: On the disk.
        needed: Bytes.
        hint: What to do about it.
        place: What messages call the folder.

    Raises:
        OSError: It has.
    """
    if shutil.disk_usage(folder).free < needed + 2**20:
        raise _full(needed, place or folder, hint)


def _full(needed: int, place: Path, hint: str) -> OSError:
    free = shutil.disk_usage(place).free
    return OSError(
        f"the decoded images need {needed / 2**20:.0f} MiB in {place}, {free / 2**20:.0f} MiB are free: {hint}"
    )


def _fallocate(file: int) -> None:
    """Reserve all blocks of an open file, where the system and the file system can."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, os.fstat(file).st_size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
