"""What the models look at, as `explain` has measured it: read from the explain.json that lies above the runs."""

from pathlib import Path

from vitlab.report.findings import FOLDER, JSON, MEANING, TITLE, digests, read_findings
from vitlab.report.markup import Markup, join, section, tag
from vitlab.report.page.album import Album, nothing
from vitlab.report.page.runs import link
from vitlab.report.runs import Run

HEIGHT = 3  # folders above a run that are searched: STUDY/APPROACH/RUN is two


def looks_section(album: Album, out: Path) -> Markup:
    """Show what `explain` found, and say where it is not of all runs of the page.

    Args:
        album: Of the page.
        out: The page, which links start from.

    Raises:
        ValueError: An explain.json is damaged.
    """
    runs = [run for found in album.tables for row in found.rows for run in row.runs]
    above = dict.fromkeys(up / FOLDER for run in runs for up in run.folder.absolute().parents[:HEIGHT])
    parts = [part for folder in above if (folder / JSON).is_file() for part in _found(folder, runs, out)]
    if not parts:
        command = tag("code", "python -m vitlab explain STUDY_FOLDER")
        parts = [nothing(join(["It was not measured: ", command, " does, while checkpoints are there."]))]
    return section("looks", TITLE, MEANING, *parts)


def _found(folder: Path, runs: list[Run], out: Path) -> list[Markup]:
    findings, known = read_findings(folder)
    here = [run for run in runs if folder.parent in run.folder.absolute().parents]
    same = sum(digest in known for digest in digests(run.folder for run in here))
    if not same:
        return []
    pages = [" The patients one by one: ", link(folder / "index.html", out), "."]
    text = f"Measured on {same} of the {len(here)} runs below {folder.parent.name}."
    if same < len(known):
        text += f" The figures hold {len(known) - same} runs that are not on this page."
    there = (folder / "index.html").is_file()
    return [join([tag("p", text, *(pages if there else []), class_="note"), *(part.html() for part in findings)])]
