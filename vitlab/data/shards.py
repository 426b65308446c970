"""Shards: decoded images of more than one file's worth, in files of a bounded size that are read as one array.

Shapes: N images, C channels, H = W = image_size, B rows asked for.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.data.reserved import check_space, reserve

Failures = list[tuple[int, str]]  # row and reason of images that cannot be read
# Fixed sizes, so that a cache is the same on every machine: a shard is what a kill may cost, and what file systems and
# buckets copy well.
SINGLE = 4 * 2**30  # bytes up to which all images are one file
SHARD = 2**30  # bytes of a shard
_MAPPED = 128  # shards mapped at once: each holds a file open, of which a process has often 1,024


class Shards:
    """Images of many files, read as an array (N, C, H, W) is: by a row, a slice, rows or a mask.

    Args:
        folder: Holds images-00000.npy and so on.
        shape: Of all images, (N, C, H, W).
        rows: Images a shard; the last has fewer.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, folder: Path, shape: tuple[int, ...], rows: int) -> None:
        self.folder, self.shape, self.rows = folder, shape, rows
        self._maps: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a memory map would travel to a loader process as all that it maps

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, wanted: Any) -> NDArray[np.uint8]:
        """Return images (C, H, W) of a row, or a copy (B, C, H, W).

        Raises:
            IndexError: There is no such row.
        """
        if isinstance(wanted, slice):
            wanted = np.arange(*wanted.indices(len(self)))
        wanted = np.asarray(wanted)
        if wanted.dtype == np.bool_:
            wanted = np.flatnonzero(wanted)
        rows = wanted.astype(np.int64).ravel()
        rows = np.where(rows < 0, rows + len(self), rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"there are {len(self)} images, and no row {rows.max()} or {rows.min()}")
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        numbers = rows // self.rows
        for number in np.unique(numbers).tolist():
            at = np.flatnonzero(numbers == number)
            images[at] = self._shard(number)[rows[at] - number * self.rows]
        found: NDArray[np.uint8] = images.reshape(*wanted.shape, *self.shape[1:])
        return found

    def check(self) -> None:
        """Open every shard.

        Raises:
            OSError: One is not there.
            ValueError: One is damaged.
        """
        for number in range(-(-len(self) // self.rows)):
            self._shard(number)

    def _shard(self, number: int) -> NDArray[np.uint8]:
        shard = self._maps.get(number)
        if shard is None:
            shard = np.load(self.folder / name_of(number), mmap_mode="r", allow_pickle=False)
            length = min(self.rows, len(self) - number * self.rows)
            if shard.shape != (length, *self.shape[1:]) or shard.dtype != np.uint8:
                raise ValueError(f"{self.folder / name_of(number)} is damaged")
            while len(self._maps) >= _MAPPED:
                del self._maps[next(iter(self._maps))]
            self._maps[number] = shard
        return shard


CachedPixels = NDArray[np.uint8] | Shards  # uint8 (N, C, H, W): one file, or files of a bounded size


def rows_of_a_shard(shape: tuple[int, ...]) -> int:
    """Return how many images a shard has, 0 where all images are one file.

    Args:
        shape: Of all images, (N, C, H, W).
    """
    image = int(np.prod(shape[1:], dtype=np.int64))
    return max(1, SHARD // image) if shape[0] * image > SINGLE else 0


def name_of(number: int) -> str:
    """Return the file name of a shard, counted from 0."""
    return f"images-{number:05d}.npy"


def build_shards(
    folder: Path,
    temporary: Path,
    shape: tuple[int, ...],
    decode_rows: Callable[[Path, int, int, str], Failures],
    refuse: Callable[[Failures], None],
    hint: str,
) -> None:
    """Decode into a folder all shards that it lacks, each under a temporary name until it is whole.

    Several processes may do so at once: what one has finished, the others skip.

    Args:
        folder: Of the shards, kept whatever happens.
        temporary: Folder on the same disk for what is not finished.
        shape: Of all images, (N, C, H, W).
        decode_rows: Fills a file with the images from one row to another; the text says which part of all that is.
        refuse: Raises where images that cannot be read forbid the cache.
        hint: What to do about a full disk.

    Raises:
        OSError: The disk is full or not writable, or another process has finished the folder and renamed it.
    """
    rows, total = rows_of_a_shard(shape), shape[0]
    shards = Shards(folder, shape, rows)
    starts = list(enumerate(range(0, total, rows)))
    missing = [start for number, start in starts if _failures(shards, number) is None]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write decoded images to {folder.parent} ({error.strerror}): {hint}") from None
    hint = f"{hint}; {len(starts) - len(missing)} of {len(starts)} parts are done and kept"
    image = shards.nbytes // total
    check_space(folder, sum(min(rows, total - start) for start in missing) * image, hint, folder.parent)
    for number, start in starts:
        if start not in missing or _failures(shards, number) is not None:
            continue
        target, length = temporary / name_of(number), min(rows, total - start)
        reserve(target, (length, *shape[1:]), hint)
        failures = decode_rows(target, start, start + length, f", part {number + 1} of {len(starts)}")
        listed = target.with_suffix(".json")
        listed.write_text(json.dumps(failures), encoding="utf-8")
        os.replace(listed, folder / listed.name)  # before the images, which say that the shard is done
        os.replace(target, folder / target.name)
    found = {number: _failures(shards, number) or [] for number, _ in starts}
    failures = [failure for number in found for failure in found[number]]
    try:
        refuse(failures)
    except ValueError:
        for number in found:
            if found[number]:  # they are decoded again, as a file's rights may change without the file
                (folder / name_of(number)).unlink(missing_ok=True)
        raise
    listed = temporary / "cache.json"
    listed.parent.mkdir(exist_ok=True)
    listed.write_text(json.dumps({"failures": failures, "shard_rows": rows}), encoding="utf-8")
    os.replace(listed, folder / "cache.json")


def _failures(shards: Shards, number: int) -> Failures | None:
    """Return what a finished shard could not read, None where there is none or it is damaged."""
    try:
        shards._shard(number)
        listed = json.loads((shards.folder / name_of(number)).with_suffix(".json").read_text(encoding="utf-8"))
        return [(int(row), str(why)) for row, why in listed]
    except (OSError, ValueError, TypeError):
        return None
