"""The runs themselves: each with its score and links to what it left on disk."""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from vitlab.report.markup import Markup, join, section, table, tag
from vitlab.report.page.album import Album, each
from vitlab.report.pairs import METRIC
from vitlab.report.runs import Run
from vitlab.report.summary import Table

FILES = ("config.yaml", "train.log", "results.json", "predictions.csv", "metrics.csv")


def runs_section(album: Album, out: Path) -> Markup:
    """List the runs.

    Args:
        album: of the page.
        out: the page, which links start from.
    """
    return section(
        "runs", "Runs", "Every figure above is from these folders alone. Links lead to their files for as long as the "
        "page stays where it is.",
        each(album.tables, lambda found: _runs(found, out)),
    )  # fmt: skip


def link(path: Path, out: Path, shown: str | None = None) -> Markup:
    """Return a link to a file or folder, relative to the page; its name alone where it has no relative path."""
    try:
        relative = os.path.relpath(path, out.parent)
    except ValueError:  # on another drive
        return tag("span", shown or str(path), class_="path")
    address = quote(os.fsencode(relative.replace(os.sep, "/")))
    return tag("a", shown or relative, href=f"./{address}", class_="path")


def _runs(found: Table, out: Path) -> Iterable[Markup]:
    folders = [run.folder.absolute() for row in found.rows for run in row.runs]
    top = os.path.commonpath(folders) if len(set(folders)) > 1 else folders[0].parent
    rows = [
        [
            row.name,
            link(run.folder, out, os.path.relpath(run.folder.absolute(), top)),
            join(_files(run, out)),
            str(run.seed),
            "-" if run.fold is None else str(run.fold),
            "-" if run.epochs is None else str(run.epochs),
            *(_figure(run.metrics[split].get(METRIC)) for split in ("val", "test")),
            _figure(run.metrics["test"].get("accuracy")),
            "-" if (seconds := run.cost["seconds"]) is None else f"{seconds:,.0f}",
        ]
        for row in found.rows
        for run in row.runs
    ]
    yield table(
        ("approach", "folder", "files", "seed", "fold", "epochs", "val balanced acc.", "test balanced acc.",
         "test accuracy", "seconds"),
        rows, words=3, caption=f"{len(rows)} runs; scores per image, seconds with pretraining",
    )  # fmt: skip


def _files(run: Run, out: Path) -> Iterable[Markup]:
    there = [name for name in FILES if (run.folder / name).is_file()]
    for at, name in enumerate(there):
        yield join([" " if at else "", link(run.folder / name, out, name)])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
