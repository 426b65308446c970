"""A picture of matplotlib's as markup of the page: its colours, its fonts, and no style of its own."""

import re
from typing import Final
from xml.etree import ElementTree

from vitlab.report.figures.palette import STYLES
from vitlab.report.markup import Markup, printable

_SVG: Final = "{http://www.w3.org/2000/svg}"
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_POINT: Final = 4 / 3  # px
_DROPPED: Final = ("font-family", "font-style", "font-variant", "font-stretch", "writing-mode")


def inline(svg: str, name: str, words: str) -> Markup:
    """Turn a picture into markup that stands in a page.

    The page's policy refuses style attributes, so they become attributes and classes; ids are the page's alone, so they
    get the picture's name.

    Args:
        svg: What matplotlib wrote, with `svg.fonttype: none`.
        name: Of the picture, without blanks; no other on the page has it.
        words: What is to be seen, for those who hear the page.
    """
    ElementTree.register_namespace("", _SVG[1:-1])
    root = ElementTree.fromstring(svg)
    for element in list(root):
        if element.tag == f"{_SVG}metadata":
            root.remove(element)
    for parent in list(root.iter()):
        for element in [child for child in parent if child.tag == f"{_SVG}style"]:
            parent.remove(element)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    for element in root.iter():
        _restyle(element, name, used)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    root.attrib.update({
        "class": "picture", "role": "img", "aria-label": printable(words),
        "width": f"{width * _POINT:.0f}", "height": f"{height * _POINT:.0f}",
    })  # fmt: skip
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
    return Markup(re.sub(r"\s*\n\s*", " ", text))


def _restyle(element: ElementTree.Element, name: str, used: set[str]) -> None:
    attributes = element.attrib
    identity = attributes.pop("id", None)
    if identity in used:
        attributes["id"] = f"{name}-{identity}"
    if link := attributes.pop(_LINK, None):
        attributes["href"] = link.replace("#", f"#{name}-")
    for key in ("clip-path", "d", "transform", "points"):
        if key in attributes:
            attributes[key] = re.sub(r"url\(#", f"url(#{name}-", attributes[key])
            attributes[key] = re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found[0]):.2f}", attributes[key])
    classes = []
    for part in attributes.pop("style", "").split(";"):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if key in ("fill", "stroke") and value in STYLES:
            classes.append(f"{key[0]}-{STYLES[value]}")
        elif key == "font":
            size = re.search(r"([\d.]+)px", value)
            attributes["font-size"] = size[1] if size else "9"
        elif key and key not in _DROPPED:
            attributes[key] = value.removesuffix("px")
    if classes:
        attributes["class"] = " ".join(classes)
