"""The test patients in the feature space of each approach, by class and by what else the manifest knows of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vitlab.evaluate.projection import main_axes
from vitlab.explain.cases.looking import Space
from vitlab.explain.page.shown import Shown
from vitlab.report.figures.picture import draw_picture
from vitlab.report.figures.points import draw_map
from vitlab.report.markup import Markup, section, tag

SIZE = (3.78, 3.5)  # inches, as in the report
SHOWN = 700  # images: more are no longer told apart
COLUMNS = 2  # of the manifest, at most: each is a picture an approach


def features_section(shown: Shown, folder: Path) -> Markup | None:
    """Return the section; None where no run was asked.

    Args:
        shown: What is shown.
        folder: Of the pages; the pictures and their data are not written into it.
    """
    del folder
    spaces = {name: looks.spaces[0] for name, looks in shown.looks.items() if looks.spaces}
    if not spaces:
        return None
    colours: dict[str, Mapping[int, str]] = {"class": {}, **dict(list(shown.groups.items())[:COLUMNS])}
    parts = []
    for at, (name, space) in enumerate(spaces.items()):
        pictures = [
            _map(shown, f"map-{at}-{number}", name, space, column, groups)
            for number, (column, groups) in enumerate(colours.items())
        ]
        parts.append(tag("div", *pictures, class_="panels"))
    missing = "" if shown.groups else " The manifest knows no hospital, scanner or plane that parts these images."
    return section(
        "features", "Features", "Slices of the test set along the two main axes (PCA) of the features of one run of "
        "each approach. What lies together is alike to the model; where groups lie apart that are no classes, it sees "
        f"the group.{missing} Such a picture is a shadow of the features: an idea to test, no proof.", *parts,
    )  # fmt: skip


def _map(shown: Shown, identity: str, name: str, space: Space, column: str, groups: Mapping[int, str]) -> Markup:
    cases = [shown.cases[place] for place in space.places]
    rows: NDArray[np.int64] = np.concatenate([case.rows for case in cases])
    if groups:
        label = np.array([groups.get(row, "") or "unknown" for row in rows.tolist()], object)
    else:
        label = np.concatenate([case.labels for case in cases])
    places, explained = main_axes(space.features.astype(np.float64))
    some = np.unique(np.linspace(0, len(label) - 1, min(SHOWN, len(label))).astype(int))
    title = f"{name} by {column}"

    def draw(axes: Axes) -> None:
        draw_map(axes, places[some], label[some], explained, title)

    centres = "; ".join(
        f"{group} around {places[label == group, 0].mean():.2g}, {places[label == group, 1].mean():.2g}"
        for group in sorted(set(label.tolist()))
    )
    words = f"Features of {title} along two main axes: {centres}."
    return tag("figure", draw_picture(identity, SIZE, draw, words=words, head=(), rows=()).markup)
