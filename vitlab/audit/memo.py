"""Memo: results of a stage kept on disk under the hash of all that they depend on; a second audit opens them."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitlab.data.cache import cache_folder, files_digest
from vitlab.data.manifest import Manifest


class Memo:
    """Folders of results for the files of one manifest: their paths, sizes and times of change, not labels or splits.

    Args:
        manifest: Names the files.
        base: Folder for all memos; null means `audit` in vitlab's cache folder.
    """

    def __init__(self, manifest: Manifest, base: Path | None = None) -> None:
        self.base = base if base is not None else cache_folder() / "audit"
        self.key = files_digest(manifest)

    def folder(self, stage: str, settings: list[Any], compute: Callable[[Path], None]) -> Path:
        """Return the folder of a stage, computed where it is not there; it appears only when complete.

        Args:
            stage: Name of the stage.
            settings: What it depends on beside the files, as JSON.
            compute: Writes the results into the folder that it is given.

        Raises:
            OSError: The disk is full or not writable.
        """
        key = hashlib.sha256(json.dumps([self.key, stage, settings]).encode()).hexdigest()[:24]
        folder = self.base / f"{stage}-{key}"
        if folder.is_dir():
            return folder
        temporary = self.base / f"{folder.name}.{uuid.uuid4().hex}.tmp"
        temporary.mkdir(parents=True)
        try:
            compute(temporary)
            try:
                os.rename(temporary, folder)
            except OSError:
                if not folder.is_dir():  # else another process was first
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder
