"""The lock of a run folder: one process at a time writes into it, and one that is dead holds nothing."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TRIES = 1000  # others may take the folder away as often; one that cannot be made, as in /proc, is missing for ever
_held: dict[Path, int] = {}  # folder: open file of its lock


class InUse(ValueError):
    """Another process is at work in the run folder."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a run folder; the folders above it are made, and removed where nothing came into them.

    The lock file lies beside the folder, not in it, so that the folder can be renamed as a whole while it is held.
    Holding what this process holds already does nothing: a study's worker prepares the folder, then calls `fit`.

    Args:
        folder: The run folder; it need not be there.

    Raises:
        InUse: Another process holds it.
        OSError: It cannot be made, in one line.
    """
    folder = Path(os.path.abspath(folder))
    if folder in _held:
        yield
        return
    path = folder.with_name(f".{folder.name}.lock")
    made = [above for above in folder.parents if not above.exists()]
    try:
        file = _locked(path, folder)
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"cannot write to {folder.parent} ({why}): choose another folder, or make it writable") from None
    _held[folder] = file
    try:
        yield
    finally:
        if _held.pop(folder, None) is not None:  # not in a forked process
            path.unlink(missing_ok=True)  # while it is held: who waits for this file finds another one in its place
            os.close(file)
            with suppress(OSError):
                for above in made:
                    above.rmdir()


def holds(folder: Path) -> bool:
    """Say whether this process holds a run folder."""
    return Path(os.path.abspath(folder)) in _held


def _let_go() -> None:
    """Close the locks of the process that this one was forked from: it holds them alone, and they end with it.

    A lock belongs to the open file, which a loader process would keep open for seconds after `kill -9` of the run.
    """
    for file in _held.values():
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def _locked(path: Path, folder: Path) -> int:
    """Return the open file of a lock that is ours and still the one on disk."""
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # its folder went away again: the other one was the last in it
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError:
            os.close(file)
            raise InUse(f"another process is training in {folder}: wait until it ends, or stop it") from None
        except FileNotFoundError:
            pass
        os.close(file)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
