"""The page: audit.html, one file that opens from disk, asks no server for anything and runs no script but its own."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vitlab.atomic import write_text
from vitlab.audit.copies.pairs import Pairs
from vitlab.audit.images import Images
from vitlab.audit.leaks import splits_of
from vitlab.audit.page.findings import files_section, labels_section, shift_section, shortcuts_section
from vitlab.audit.page.leaks import (
    kinds_section,
    pairs_section,
    patients_section,
    splits_section,
    worth_section,
)
from vitlab.audit.page.pictures import Pictures, choose_pairs, page_data
from vitlab.report.look import page
from vitlab.report.markup import Markup, join, tag


def write_page(
    path: Path,
    report: dict[str, Any],
    images: Images,
    pairs: Pairs,
    *,
    paths: NDArray[Any],
    labels: NDArray[Any],
    splits: NDArray[Any],
) -> None:
    """Write the page; a reader never sees half of it.

    Args:
        path: File to write.
        report: What audit.json holds.
        images: All images.
        pairs: All pairs; the worst are shown.
        paths: Of each image, (N,).
        labels: Of each image, "" where it has none, (N,).
        splits: Of each image, "" where it has none, (N,).
    """
    shown = choose_pairs(pairs, splits, labels)
    pictures = Pictures(images)
    rows = {path: row for row, path in enumerate(paths.tolist())}
    sections = {
        "splits": ("Leaks", splits_section(report)),
        "worth": ("Accuracy", worth_section(report)),
        "patients": ("Patients", patients_section(report)),
        "kinds": ("Copies", kinds_section(report)),
        "shortcuts": ("Shortcuts", shortcuts_section(report)),
        "shift": ("Shift", shift_section(report)),
        "files": ("Files", files_section(report, pictures, rows)),
        "labels": ("Labels", labels_section(report, pictures)),
        "pairs": ("Pairs", pairs_section(report, shown.kind.tolist())),
    }
    filled = [(identity, title, body) for identity, (title, body) in sections.items() if body is not None]
    links = [tag("li", tag("a", title, href=f"#{identity}")) for identity, title, _ in filled]
    data = page_data(shown, images, pictures, paths=paths, labels=labels, splits=splits)
    whole = page(
        "vitlab audit",
        f"Audit of {report['data']}",
        "findings",
        join([_header(report), tag("nav", tag("ul", *links), aria_label="Sections")]),
        join(body for _, _, body in filled),
        _footer(report),
        style=_part("page.css"),
        script=_part("page.js"),
        rest=join([
            tag("dialog", id="enlarged", aria_label="Pair, enlarged"),
            tag("script", Markup(data), type="application/json", id="data"),
        ]),
    )  # fmt: skip
    write_text(path, whole)


def _header(report: dict[str, Any]) -> Markup:
    if report["leak"]:
        style, word = "leak", "Leak found"
    elif splits_of(report):
        style, word = "clean", "No leak found"
    else:
        style, word = "open", "One split only"
    classes = report["classes"]
    facts = [f"{report['n']:,} images", f"{len(classes):,} classes" if classes else "no labels"]
    if classes and len(classes) <= 12:
        facts[1] += f" ({', '.join(classes)})"
    return join([
        tag("h1", f"{report['data']}: is this data fit to answer the question?"),
        tag("p", "; ".join(facts), class_="facts"),
        tag("p", tag("strong", word), report["verdict"], class_=f"verdict {style}"),
    ])  # fmt: skip


def _footer(report: dict[str, Any]) -> Markup:
    return join([
        tag("p", f"Made by vitlab {report['vitlab']} at {report['created']} of the manifest with SHA-256 "
            f"{report['manifest_sha256'][:16]}. All figures are in audit.json, all pairs in pairs.csv, beside this "
            "page. Intervals are of 95 %, over groups: patients, or copies where patients are unknown; "
            "p-values are of permutations, corrected for the number of tests within a section."),
        tag("p", "This page holds small pictures of the images: share it only where you may share those."),
    ])  # fmt: skip


def _part(name: str) -> str:
    return (files("vitlab.audit.page") / name).read_text(encoding="utf-8")
