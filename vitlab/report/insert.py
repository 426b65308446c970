"""Text put into pages by a script, so that no figure is typed by hand."""

import sys
from pathlib import Path

from vitlab.atomic import write_text


def insert(text: str, page: Path, mark: str) -> None:
    """Put text between `<!-- MARK -->` and `<!-- /MARK -->` of a page.

    Raises:
        FileNotFoundError: There is no such page.
        ValueError: It has no such marks.
    """
    before, after = _around(page, mark)
    replace(page, f"{before}{text}{after}")


def check_marks(page: Path, mark: str) -> None:
    """Raise what `insert` would raise, before the work whose result is to be put there."""
    _around(page, mark)


def _around(page: Path, mark: str) -> tuple[str, str]:
    if not page.is_file():
        raise FileNotFoundError(f"there is no page {page} for --into")
    before, opening, rest = page.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, closing, after = rest.partition(f"<!-- /{mark} -->")
    if not opening or not closing:
        raise ValueError(f"{page} has no lines <!-- {mark} --> and <!-- /{mark} --> to put the table between")
    return before + opening, closing + after


def replace(out: Path, text: str) -> None:
    """Write a file that a reader never sees half of, and say so."""
    write_text(out, text)
    print(f"wrote {out}", file=sys.stderr)
