"""The pictures of a page: drawn, put among the text, and kept to be written beside it."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes

from vitlab.atomic import write_text
from vitlab.report.figures.palette import Palette
from vitlab.report.figures.picture import Picture, draw_picture
from vitlab.report.markup import Markup, join, tag
from vitlab.report.summary import Table

FOLDER: Final = "figures"
WIDTH: Final = 3.78  # inches: 363 px, so that three stand beside each other, and one fills a phone
SIZE: Final = (WIDTH, 3.2)
SUFFIXES: Final = (".png", ".svg", ".csv")
LIST: Final = ".{}.pictures"  # in FOLDER: the files that the page of that name has written there
PICTURE: Final = re.compile(r"[a-z0-9-]+\.(png|svg|csv)")


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

    @contextmanager
    def written(self, beside: Path) -> Iterator[None]:
        """Write the files of all pictures into `figures`, beside a page that is written while this is open.

        What an earlier page of that name has written there and this one has not is removed afterwards: until the page
        is replaced, it shows its own pictures. A list in the folder knows what a page has written; files that are in
        none, and those in the list of another page, stay.
        """
        folder = beside.parent / FOLDER
        folder.mkdir(exist_ok=True)
        known = folder / LIST.format(beside.name)
        now = {f"{picture.name}{suffix}" for picture in self._pictures for suffix in SUFFIXES}
        earlier = _read_list(known)
        write_text(known, _list(earlier | now))  # before the files: whenever it is killed, all that it wrote is known
        for picture in self._pictures:
            picture.write(folder)
        yield
        others = [_read_list(path) for path in folder.glob(LIST.format("*")) if path != known]
        for name in earlier.difference(now, *others):
            (folder / name).unlink(missing_ok=True)
        write_text(known, _list(now))

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


def _list(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(names))


def _read_list(path: Path) -> set[str]:
    """Read which pictures a page has written; what cannot be such a picture is passed over."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    return {line for line in lines if PICTURE.fullmatch(line)}


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
