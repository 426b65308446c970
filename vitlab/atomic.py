"""Files that a reader sees whole or not at all. Imports nothing heavy: everyone writes by it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a file, which takes the file's place at the end; an error leaves all as it was."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, errors: Literal["strict", "surrogateescape"] = "strict") -> None:
    """Write a file in UTF-8, with the line ends that the text has.

    Args:
        path: File to write, in a folder that is there.
        text: What it holds.
        errors: Whether bytes of file names that are not UTF-8 are refused, or written as they are on disk.

    Raises:
        UnicodeEncodeError: There are such bytes, and they are refused.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors))
