"""What may become of a malformed file: it is read, or refused in one line; never a traceback, never a hang."""

import contextlib
import signal

from vitlab.cli import _is_mistake

SECONDS = 10


@contextlib.contextmanager
def limited(seconds=SECONDS):
    """Fail where something takes longer."""

    def late(*_):
        raise AssertionError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(read, path):
    """Return the line that refuses a file, "" where it is read; what would be shown as a traceback is raised."""
    with limited():
        try:
            read(path)
        except Exception as error:
            if not _is_mistake(error):
                raise
            line = " ".join(str(error).split())
            assert line, f"{type(error).__name__} says nothing of {path}"
            assert len(line) < 1500, line
            return line
    return ""
