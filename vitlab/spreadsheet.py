"""Cells of tables that people open: no spreadsheet takes a name for a formula and runs it.

For tables that no program of ours reads back; predictions.csv and manifests keep names as they are, to match by them.
"""

from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t")  # a spreadsheet would run a cell that begins so (OWASP, CSV Injection)


def cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; a negative number stays one."""
    if isinstance(value, str):  # Python's csv quotes no carriage return, which would begin a line of its own
        value = value.replace("\r", " ")
    text = str(value)
    if not text.startswith(_FORMULA):
        return value
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return value
