"""Markup of the pages: escaped text, sections and tables."""

import html
from collections.abc import Iterable, Sequence
from typing import Any


class Markup(str):
    """Text that is HTML already; everything else is escaped on its way into the page."""

    __slots__ = ()


def printable(value: Any) -> str:
    """Return text that can be shown and searched for: bytes of no encoding and invisible characters as escapes.

    A file name may hold any bytes; marks that turn the direction of writing would make it look like another one.
    """
    plain = str(value).encode("utf-8", "surrogateescape" if _from_bytes(str(value)) else "backslashreplace")
    known = plain.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in known)


def _from_bytes(value: str) -> bool:
    """Whether all lone surrogates of the text stand for bytes of a file name."""
    return all("\udc80" <= c <= "\udcff" for c in value if "\ud800" <= c <= "\udfff")


def text(value: Any) -> Markup:
    """Return a value as HTML, escaped unless it is markup already."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(value)))


def join(parts: Iterable[Any]) -> Markup:
    """Return parts, escaped where they are no markup, one after the other."""
    return Markup("".join(text(part) for part in parts))


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """Return an element; `class_` is the attribute class, `data_x` is data-x, None leaves an attribute out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    listed = "".join(f' {key}="{text(value)}"' for key, value in given.items())
    return Markup(f"<{name}{listed}>{join(content)}</{name}>")


def section(identity: str, title: str, meaning: str, *content: Any) -> Markup:
    """Return a section of the page: what it is called, what it means and what to do about it, what was found."""
    return tag("section", tag("h2", title), tag("p", meaning, class_="meaning"), *content, id=identity)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, caption: str, words: int = 1) -> Markup:
    """Return a table that scrolls in its own box.

    Args:
        head: Of each column.
        rows: Cells of each row; the first one names it.
        caption: What the table holds.
        words: How many columns hold words, from the left; the others hold figures and are set right.
    """
    body = []
    for row in rows:
        cells = [tag("th", row[0], scope="row")]
        cells += [tag("td", cell, class_=None if at < words else "n") for at, cell in enumerate(row[1:], 1)]
        body.append(tag("tr", *cells))
    headings = [tag("th", name, scope="col", class_=None if at < words else "n") for at, name in enumerate(head)]
    whole = tag("table", tag("caption", tag("span", caption)), tag("thead", tag("tr", *headings)), tag("tbody", *body))
    # A box that scrolls must be reachable by the keyboard.
    return tag("div", whole, class_="scroll", tabindex="0", role="group", aria_label=caption)


def share(number: int, whole: int) -> Markup:
    """Return a count with its share of the whole."""
    if not whole:
        return text(f"{number:,}")
    percent = 100 * number / whole
    return join([f"{number:,} ", tag("small", "<0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %")])
