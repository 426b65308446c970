"""The page: report.html, one file that opens from disk, asks no server for anything and runs no script."""

import datetime
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from vitlab import __version__
from vitlab.atomic import write_text
from vitlab.report.figures.palette import page_colors
from vitlab.report.findings import TITLE
from vitlab.report.look import page
from vitlab.report.markup import Markup, join, tag
from vitlab.report.page.album import FOLDER, Album
from vitlab.report.page.answer import answer_section, scores_section
from vitlab.report.page.calibration import reliability_section
from vitlab.report.page.classes import confusion_section, roc_section
from vitlab.report.page.cost import cost_section
from vitlab.report.page.differences import gaps_section, pairs_section
from vitlab.report.page.features import features_section
from vitlab.report.page.groups import groups_section
from vitlab.report.page.learning import curves_section, labels_section
from vitlab.report.page.looks import looks_section
from vitlab.report.page.protocol import protocol_section, reproduce_section, versions_section
from vitlab.report.page.robustness import robustness_section
from vitlab.report.page.runs import runs_section
from vitlab.report.summary import Table

SECTIONS: dict[str, tuple[str, Callable[[Album], Markup]]] = {
    "answer": ("Answer", answer_section),
    "scores": ("Scores", scores_section),
    "curves": ("Learning curves", curves_section),
    "labels": ("Label efficiency", labels_section),
    "pairs": ("Differences", pairs_section),
    "confusion": ("Confusion", confusion_section),
    "reliability": ("Reliability", reliability_section),
    "roc": ("ROC", roc_section),
    "gaps": ("Gaps", gaps_section),
    "robustness": ("Robustness", robustness_section),
    "cost": ("Cost", cost_section),
    "groups": ("Groups", groups_section),
    "features": ("Features", features_section),
}


def write_page(tables: Sequence[Table], out: Path) -> Path:
    """Write the report, with its pictures (PNG, SVG) and their data (CSV) in `figures/` beside it.

    Args:
        tables: of `build_tables`; with resamples, or there are neither intervals nor tests.
        out: the page; the name of its folder must be there.

    Returns:
        `out`. It is written at once and after its pictures: a page that is there has all of them. Then those that only
        an earlier page of this name has written are removed.

    Raises:
        OSError: it cannot be written.
    """
    album = Album(tables)
    bodies = {identity: (title, make(album)) for identity, (title, make) in SECTIONS.items()}
    bodies |= {
        "looks": (TITLE, looks_section(album, out)),
        "runs": ("Runs", runs_section(album, out)),
        "protocol": ("Protocol", protocol_section(album)),
        "versions": ("Versions", versions_section(album)),
        "reproduce": ("Reproduce", reproduce_section(album, out)),
    }
    links = [tag("li", tag("a", title, href=f"#{identity}")) for identity, (title, _) in bodies.items()]
    whole = page(
        "vitlab compare",
        f"Report of {_subject(tables)}",
        "answer",
        join([_header(tables), tag("nav", tag("ul", *links), aria_label="Sections")]),
        join(body for _, body in bodies.values()),
        _footer(),
        style=(files("vitlab.report.page") / "page.css").read_text(encoding="utf-8") + page_colors(),
    )
    with album.written(beside=out):
        write_text(out, whole)
    return out


def _subject(tables: Sequence[Table]) -> str:
    return ", ".join(dict.fromkeys(found.study or found.dataset or "unnamed data" for found in tables)) or "no runs"


def _header(tables: Sequence[Table]) -> Markup:
    runs = sum(row.n for found in tables for row in found.rows)
    approaches = {(row.approach, row.axes, row.backbone) for found in tables for row in found.rows}
    tested = [row.stat("slice", "test", "accuracy").n_images for found in tables for row in found.rows]
    images = {n for n in tested if n}
    facts = [f"{runs:,} runs of {len(approaches):,} approaches"]
    if len(images) == 1:
        facts.append(f"{images.pop():,} test images")
    facts += [found.title for found in tables] if len(tables) <= 4 else [f"{len(tables)} tables"]
    title = f"{_subject(tables)}: which approach is better?"
    return join([tag("h1", title), tag("p", "; ".join(facts), class_="facts")])


def _footer() -> Markup:
    made = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return join([
        tag("p", f"Made by vitlab {__version__} on {made}. Each picture is in {FOLDER}/ beside this page too, as PNG "
            "and SVG, with its data as CSV. Colours: the schemes vibrant (approaches) and bright (classes) of P. Tol "
            "(SRON/EPS/TN/09-002), which colour-blind eyes can tell apart; each approach has the same one everywhere."),
        tag("p", "This page holds no images and no patient ids; names of classes, folders and groups are as you gave "
            "them."),
    ])  # fmt: skip
