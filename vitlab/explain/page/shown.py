"""All that the pages show, put together before the first of them is written.

Shapes: S slices of a case, H = W = image_size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.data.shards import CachedPixels
from vitlab.explain.cases.looking import Looks
from vitlab.explain.cases.selection import Case, CaseList
from vitlab.explain.page.pictures import Rgb, draw_image, picture_side
from vitlab.explain.runs.study_runs import StudyRuns
from vitlab.report.markup import Markup, join, tag, text

BREAK = Markup("<br>")
PICTURES = "pictures"  # folder beside index.html
SMALL = 96  # px of pictures that are no slice of the case


@dataclass(frozen=True, eq=False)
class Shown:
    """What is shown.

    Args:
        study: The runs.
        cases: All of the test set.
        lists: Of cases to show.
        looks: Approach -> what it makes of them.
        images: All of the manifest, uint8 (N, C, H, W).
        masks: Place of a case -> its masks (S, H, W), empty where there is none.
        paths: All of the manifest, (N,).
        groups: What else is known of images: column -> row of the manifest -> group.
    """

    study: StudyRuns
    cases: Sequence[Case]
    lists: Sequence[CaseList]
    looks: Mapping[str, Looks]
    images: CachedPixels = field(repr=False)
    masks: Mapping[int, NDArray[np.bool_]] = field(repr=False)
    paths: NDArray[np.object_] = field(repr=False)
    groups: Mapping[str, Mapping[int, str]] = field(repr=False)

    @property
    def order(self) -> list[int]:
        """Places of the cases in the order of their pages, each once."""
        return list(dict.fromkeys(listed.case for one in self.lists for listed in one.listed))

    @property
    def approaches(self) -> list[str]:
        """All of them."""
        return list(self.study.runs)

    @property
    def unit(self) -> Literal["patient", "image"]:
        """What a case is."""
        return "image" if all(len(case.rows) == 1 for case in self.cases) else "patient"

    @property
    def side(self) -> int:
        """Of a picture, px."""
        return picture_side(self.images.shape[-1])

    def picture(self, row: int) -> Rgb:
        """Return the picture of a row of the manifest."""
        return draw_image(self.images[row], self.side)

    def reasons(self, place: int) -> list[tuple[CaseList, str]]:
        """Return the lists that a case is on, and why."""
        return [(one, listed.reason) for one in self.lists for listed in one.listed if listed.case == place]

    def middle(self, place: int) -> int:
        """Return the slice that stands for a case: of the largest mask, or the one in the middle."""
        areas = self.masks[place].sum((1, 2)) if place in self.masks else np.zeros(1)
        return int(areas.argmax()) if areas.any() else len(self.cases[place].rows) // 2


def cell(source: str, at: int, of: int, side: int, alt: str, *words: object) -> Markup:
    """Return one cell of a strip of pictures as a figure.

    Args:
        source: Address of the strip.
        at: Place of the cell.
        of: How many cells the strip has.
        side: In which it is shown, px.
        alt: What is seen.
        words: Below it.
    """
    image = f'<img class="of{of}-{at}" src="{source}" width="{side}" height="{side}" loading="lazy" decoding="async"'
    return tag("figure", Markup(f'{image} alt="{text(alt)}">'), tag("figcaption", *words))


def page_name(number: int) -> str:
    """Return the file of the case of a number, which tells nothing of the patient."""
    return f"{number + 1:04d}.html"


def judged(said: str, label: str) -> Markup:
    """Return a class that was said, and whether that is right, in words as well as in colour."""
    right = said == label
    return join([tag("b", said), " ", tag("span", "right" if right else "wrong", class_="right" if right else "wrong")])
