"""Memo: results of a stage kept on disk under the hash of all that they depend on; a second audit opens them."""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from vitlab.data.cache import cache_folder, files_digest
from vitlab.data.manifest import Manifest

T = TypeVar("T")
_KEPT = 30 * 24 * 3600  # seconds without use, then a result goes when another is computed


@lru_cache
def code_digest() -> str:
    """Return a digest of what computes the results: those of another version of it are not taken."""
    audit = Path(__file__).parent
    files = [file for pattern in ("*.py", "copies/*.py", "files/*.py") for file in audit.glob(pattern)]
    data = audit.parent / "data"
    files += [data / "decode.py", *data.glob("sources/*.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]


class Memo:
    """Folders of results for the files of one manifest: their paths, sizes and times of change, not labels or splits.

    Args:
        manifest: Names the files.
        base: Folder for all memos; null means `audit` in vitlab's cache folder.
        reader: What opens the files, such as the name of the source: another one may see other pictures in them.
    """

    def __init__(self, manifest: Manifest, base: Path | None = None, reader: str = "") -> None:
        self.base = base if base is not None else cache_folder() / "audit"
        self.key = f"{reader} {code_digest()} {files_digest(manifest)}"

    def get(
        self,
        stage: str,
        settings: list[Any],
        compute: Callable[[Path], None],
        load: Callable[[Path], T],
        stale: Callable[[T], bool] = lambda result: False,
    ) -> T:
        """Return a stage's result, computed where it is not there, is damaged or stale.

        Args:
            stage: Name of the stage.
            settings: What it depends on beside the files, as JSON.
            compute: Writes the result into the folder that it is given; the folder appears only when complete.
            load: Reads it from there.
            stale: Says whether a kept result must be computed again.

        Raises:
            OSError: The disk is full or not writable.
        """
        key = hashlib.sha256(json.dumps([self.key, stage, settings]).encode()).hexdigest()[:24]
        folder = self.base / f"{stage}-{key}"
        if folder.is_dir():
            with contextlib.suppress(OSError, ValueError, EOFError):  # a damaged folder is none
                result = load(folder)
                if not stale(result):
                    with contextlib.suppress(OSError):  # another user's cache
                        os.utime(folder)
                    return result
            shutil.rmtree(folder, ignore_errors=True)
        self._forget_old()
        temporary = self.base / f"{folder.name}.{uuid.uuid4().hex}.tmp"
        try:
            temporary.mkdir(parents=True)
            compute(temporary)
            try:
                os.rename(temporary, folder)
            except OSError:
                if not folder.is_dir():  # else another process was first
                    raise
        except OSError as error:
            if error.errno is None:  # it says what to do already
                raise
            raise OSError(
                f"cannot write to the cache {self.base} ({error.strerror}): set VITLAB_CACHE to a folder that can be "
                "written and has space"
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return load(folder)

    def earlier(self, stage: str) -> list[Path]:
        """Return the folders of a stage's kept results, of whatever files, the last used first."""
        found = [folder for folder in self.base.glob(f"{stage}-*") if folder.suffix != ".tmp"]
        times = {}
        for folder in found:
            with contextlib.suppress(OSError):  # gone already
                times[folder] = folder.stat().st_mtime
        return sorted(times, key=lambda folder: (-times[folder], folder.name))

    def _forget_old(self) -> None:
        for folder in self.base.glob("*") if self.base.is_dir() else ():
            with contextlib.suppress(OSError):  # gone already
                if time.time() - folder.stat().st_mtime > _KEPT:
                    shutil.rmtree(folder, ignore_errors=True)
