"""The folder of pages: index.html and cases/, which open from disk, ask no server for anything and run no other script.

It is written beside its place and put there at the end; what others have put into the earlier one is kept.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from vitlab import __version__
from vitlab.atomic import write_text
from vitlab.explain.page.case import case_files, case_header, case_main
from vitlab.explain.page.index import agreement_section, cases_section, index_header
from vitlab.explain.page.pictures import cell_rules, scale_rule
from vitlab.explain.page.shown import PICTURES, Shown, page_name
from vitlab.explain.scores.tables import WRITTEN
from vitlab.report.figures.palette import page_colors
from vitlab.report.look import page
from vitlab.report.markup import Markup, join, tag

CASES = "cases"
INDEX = "index.html"
OWN = (CASES, INDEX, PICTURES)  # in the folder: what an earlier call wrote goes with it
GENERATOR = "vitlab explain"
MARK = f'<meta name="generator" content="{GENERATOR}">'
Section = Callable[[Shown, Path], Markup | None]  # of index.html; may write pictures into `pictures/` of the folder

WIDEST = 12  # cells of a strip, but for those of a case: its image and a map of each approach


def write_pages(
    shown: Shown, out: Path, sections: Sequence[tuple[str, str, Section]], tell: Callable[[str], None]
) -> None:
    """Write all pages; an error leaves the folder as it was.

    Args:
        shown: What they show.
        out: The folder.
        sections: More of index.html, behind the cases: identity, title, and what makes each; None has nothing to show.
        tell: Told of what is done.

    Raises:
        ValueError: There is something else in the folder.
        OSError: It cannot be written.
    """
    widest = max(WIDEST, 1 + len(shown.approaches))
    with _replacing(out) as folder:
        (folder / CASES).mkdir()
        for number in range(len(shown.order)):
            for name, content in case_files(shown, number):
                (folder / CASES / name).write_bytes(content)
            of_case = _page(
                f"{shown.cases[shown.order[number]].name}: {shown.study.title}",
                case_header(shown, number),
                case_main(shown, number),
                widest,
            )
            write_text(folder / CASES / page_name(number), of_case)
        tell(f"{len(shown.order)} pages of cases are drawn")
        first = [("cases", "Cases", cases_section(shown)), ("agreement", "Neighbours", agreement_section(shown))]
        bodies = [*first, *((identity, title, make(shown, folder)) for identity, title, make in sections)]
        there = [(identity, title, body) for identity, title, body in bodies if body is not None]
        links = [tag("li", tag("a", title, href=f"#{identity}")) for identity, title, _ in there]
        header = join([index_header(shown), tag("nav", tag("ul", *links), aria_label="Sections")])
        main = join(body for _, _, body in there)
        write_text(folder / INDEX, _page(f"Cases of {shown.study.title}", header, main, widest))


def check_out(out: Path) -> None:
    """Raise where a folder holds pages that are not ours, before the work.

    Raises:
        ValueError: It does, or is no folder.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: name a folder")
    index = out / INDEX
    ours = index.is_file() and MARK in index.read_text(encoding="utf-8", errors="replace")
    if not ours and (foreign := sorted(path.name for path in out.glob("*") if path.name not in WRITTEN)):
        raise ValueError(f"--out {out} holds other files, such as {foreign[0]}: name a new folder or an empty one")


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Give a new folder, which takes the place of another at the end."""
    check_out(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex
    new, old = (out.with_name(f".{out.name}.{unique}.{kind}") for kind in ("tmp", "old"))
    try:
        new.mkdir()
        yield new
        if out.exists():
            for kept in out.iterdir():
                if kept.name not in OWN:
                    os.replace(kept, new / kept.name)
            os.replace(out, old)
        os.replace(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _page(title: str, header: Markup, main: Markup, widest: int) -> str:
    style = _part("page.css") + page_colors() + scale_rule() + cell_rules(widest)
    footer = join([
        tag("p", f"Made by vitlab {__version__}. Saliency is drawn relative to an even map, on the scale plasma of "
            "matplotlib, which colour-blind eyes can read."),
        tag("p", "These pages hold images and the patient ids of the manifest: share them only where you may share "
            "those. They show how models behave and are no medical advice."),
    ])  # fmt: skip
    return page(
        GENERATOR, title, "cases", header, main, footer, style=style, script=_part("page.js"),
        images="'self' file: data:",
    )  # fmt: skip


def _part(name: str) -> str:
    return (files("vitlab.explain.page") / name).read_text(encoding="utf-8")
