"""What was measured of the models, as a section: findings, and maps as the models lose what they learned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitlab.explain.page.pictures import overlay, strip
from vitlab.explain.page.shown import PICTURES, SMALL, Shown, cell
from vitlab.explain.sanity.measured import Example
from vitlab.explain.scores.findings import METHOD_NAMES
from vitlab.report.findings import MEANING, TITLE, read_findings
from vitlab.report.markup import Markup, section, tag

MOST = 12  # pictures of a strip: the image, and maps of which the first and the last are always there


def looks_section(shown: Shown, folder: Path, tables: Path, examples: Sequence[Example]) -> Markup | None:
    """Return the section; None where nothing was measured.

    Args:
        shown: What is shown.
        folder: Of the pages; pictures are written into it.
        tables: Folder of explain.json.
        examples: Of `measure_sanity`.
    """
    if not examples:
        return None
    parts = [part.html() for part in read_findings(tables)[0]]
    return section("looks", TITLE, MEANING, *parts, _examples(shown, folder, examples))


def _examples(shown: Shown, folder: Path, examples: Sequence[Example]) -> Markup:
    (folder / PICTURES).mkdir(exist_ok=True)
    items = []
    for at, one in enumerate(examples):
        places = _thinned(len(one.stages))
        rows = []
        for number, row in enumerate(one.rows.tolist()):
            picture = shown.picture(row)
            cells = [picture, *(overlay(picture, one.maps[place, number]) for place in places)]
            file = f"sanity-{at + 1:02d}-{number + 1}.webp"
            (folder / PICTURES / file).write_bytes(strip(cells))
            words = ["image", *(one.stages[place] for place in places)]
            address = f"{PICTURES}/{file}"
            drawn = [cell(address, place, len(cells), SMALL, name, name) for place, name in enumerate(words)]
            rows.append(tag("div", *drawn, class_="cells many"))
        fold = "" if one.fold is None else f" of fold {one.fold}"
        title = f"{METHOD_NAMES[one.method]} of {one.approach}, seed {one.seed}{fold}"
        items.append(tag("li", tag("h4", f"{title[0].upper()}{title[1:]}"), *rows, class_="row"))
    return tag(
        "details", tag("summary", "Maps as the weights are drawn anew, from the head downwards"),
        tag("p", "From the head on, each has lost the part that is named and all before it. A map that stays shows the "
            "image, not what was learned.", class_="note"), tag("ul", *items, class_="plain"),
    )  # fmt: skip


def _thinned(count: int) -> list[int]:
    """Return at most `MOST` - 1 places of a row of maps, evenly, the first and the last among them."""
    places: list[int] = np.unique(np.linspace(0, count - 1, min(count, MOST - 1)).round().astype(int)).tolist()
    return places
