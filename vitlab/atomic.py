"""Files that a reader sees whole or not at all. Imports nothing heavy: everyone writes by it."""

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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


@contextmanager
def replacing_all(folder: Path, names: Iterable[str], flag: str) -> Iterator[list[Path]]:
    """Give temporary names for files of one folder, which take their places at the end; an error leaves all as it was.

    Args:
        folder: Made where it is not there.
        names: Of the files; the first is replaced last, so that who finds it finds the others.
        flag: Of the command line, by which the folder was chosen.

    Raises:
        OSError: They cannot be written, in one line.
    """
    with _made(folder, flag, keep=True), ExitStack() as stack:
        yield [stack.enter_context(replacing(folder / name)) for name in names]


def check_writable(folder: Path, flag: str) -> None:
    """Raise what `replacing_all` would raise, before the work; rights alone do not tell, so a file is written."""
    with _made(folder, flag, keep=False), tempfile.TemporaryFile(dir=folder) as file:
        file.write(b" ")


@contextmanager
def _made(folder: Path, flag: str, keep: bool) -> Iterator[None]:
    """Make a folder; after an error, or where it is not to be kept, what was made goes again."""
    new = [above for above in (folder, *folder.absolute().parents) if not above.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
        new = [] if keep else new
    except OSError as error:
        if error.errno is None:  # it is a line already
            raise
        raise OSError(
            f"cannot write {flag} {folder} ({error.strerror}): nothing was changed there, give another folder or free "
            "some space"
        ) from None
    finally:
        for above in new:
            with suppress(OSError):
                above.rmdir()


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
