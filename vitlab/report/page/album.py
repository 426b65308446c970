"""The pictures of a page: drawn, put among the text, and kept to be written beside it."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes

from vitlab.report.figures.palette import Palette
from vitlab.report.figures.picture import Picture, draw_picture
from vitlab.report.markup import Markup, join, tag
from vitlab.report.summary import Table

FOLDER: Final = "figures"
WIDTH: Final = 3.78  # inches: 363 px, so that three stand beside each other, and one fills a phone
SIZE: Final = (WIDTH, 3.2)


class Album:
    """All pictures of a page.

    Args:
        tables: all that the page shows.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = tables
        self.palette = Palette(tables)
        self._pictures: list[Picture] = []

    def add(
        self,
        name: str,
        draw: Callable[[Axes], None],
        *,
        words: str,
        head: Sequence[str],
        rows: Iterable[Sequence[Any]],
        size: tuple[float, float] = SIZE,
    ) -> Markup:
        """Draw a picture and return it as a figure of the page, with links to its files.

        Args:
            name: what it is called; files are named after it.
            draw: draws into the axes.
            words: what is to be seen, with the figures.
            head: names of the columns of its data.
            rows: its data.
            size: in inches.
        """
        picture = draw_picture(self._file_name(name), size, draw, words=words, head=head, rows=list(rows))
        self._pictures.append(picture)
        links = [
            join([" " if at else "", tag("a", kind, href=f"{FOLDER}/{picture.name}.{kind.lower()}",
                                         aria_label=f"{kind} of {name}")])
            for at, kind in enumerate(("PNG", "SVG", "CSV"))
        ]  # fmt: skip
        return tag("figure", picture.markup, tag("figcaption", *links, class_="files"))

    def write(self, beside: Path) -> None:
        """Write the files of all pictures into `figures`, beside a page."""
        folder = beside.parent / FOLDER
        folder.mkdir(exist_ok=True)
        for picture in self._pictures:
            picture.write(folder)

    def _file_name(self, name: str) -> str:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "figure"
        taken = {picture.name for picture in self._pictures}
        return next(tried for tried in _numbered(plain) if tried not in taken)


def panels(figures: Iterable[Markup], caption: str) -> Markup:
    """Return pictures beside each other, with what they share said once below."""
    return tag("div", tag("div", *figures, class_="panels"), tag("p", caption, class_="note"), class_="group")


def each(tables: Sequence[Table], content: Callable[[Table], Iterable[Markup]]) -> Markup:
    """Return what a section holds of every table, under the table's title where there are several."""
    parts: list[Markup] = []
    for table in tables:
        own = join(content(table))
        parts += [tag("h3", table.title), own] if len(tables) > 1 else [own]
    return join(parts)


def nothing(reason: str) -> Markup:
    """Return the line of a section that has nothing to show."""
    return tag("p", reason, class_="none")


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
