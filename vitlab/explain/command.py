"""`python -m vitlab explain`: the patients of a study's test set, what its models say of them and look at, as pages."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from vitlab.atomic import check_writable
from vitlab.explain.cases.looking import look
from vitlab.explain.cases.masks import masks_of
from vitlab.explain.cases.selection import cases_of, choose
from vitlab.explain.features.attribute_probe import attributes
from vitlab.explain.page.features import features_section
from vitlab.explain.page.pretraining import pretraining_section
from vitlab.explain.page.sanity import looks_section
from vitlab.explain.page.shown import Shown
from vitlab.explain.page.write import INDEX, Section, check_out, write_pages
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.runs.study_runs import StudyRuns, has_weights, study_runs
from vitlab.explain.sanity.measured import Example
from vitlab.explain.scores.study_scores import Depth, score_study
from vitlab.report.findings import FOLDER, JSON, TITLE, brief_markdown, read_findings
from vitlab.report.insert import check_marks, insert
from vitlab.report.table import LineParser, positive


def sections(device: str, tables: Path, examples: Sequence[Example]) -> list[tuple[str, str, Section]]:
    """Return more of index.html: identity, title, and what makes it of what is shown and the folder of the pages.

    Args:
        device: Where the models run.
        tables: Folder of what was measured.
        examples: Of `score_study`.
    """
    return [
        ("looks", TITLE, partial(looks_section, tables=tables, examples=examples)),
        ("features", "Features", features_section),
        ("pretraining", "Pretraining", partial(pretraining_section, device=device)),
    ]


def main(args: list[str]) -> int:
    """Run the verb.

    Args:
        args: What stands behind `explain`.

    Returns:
        0.

    Raises:
        ValueError: For a user's mistake, in one line; FileNotFoundError for a folder or images that are not there.
    """
    options = _options(args)
    if options.into is not None:
        check_marks(options.into, options.mark)
    if options.findings is not None:
        _tell_brief(options.findings, options.into, options.mark)
        return 0
    _check_device(options.device)
    if not options.study.is_dir():
        raise ValueError(f"there is no folder {options.study}: name that of a study, such as lightning_logs/phantom")
    out = options.out or options.study / FOLDER
    check_out(out)
    check_writable(out.parent, "--out")
    study = study_runs(options.study, options.only, options.shuffled)
    for note in study.notes:
        print(f"note: {note}", file=sys.stderr)
    shown = show(study, options.patients, options.seed, options.worst, options.device)
    examples = score_study(study, out, depth=options.scores, patients=options.scored_patients, seed=options.seed,
                           device=options.device, tell=_tell)  # fmt: skip
    write_pages(shown, out, sections(options.device, out, examples), _tell)
    print(out / INDEX)
    if options.into is not None:
        _tell_brief(out, options.into, options.mark)
    return 0


def show(study: StudyRuns, patients: int, seed: int, worst: int, device: str) -> Shown:
    """Choose cases and ask the models about them.

    Args:
        study: The runs.
        patients: How many to draw.
        seed: Of the draw.
        worst: How many of each list of extremes.
        device: Where the models shall be.

    Raises:
        ValueError: No run has its weights any more.
    """
    cases = cases_of(study.scored)
    lists = choose(cases, patients, seed, worst)
    chosen = list(dict.fromkeys(listed.case for one in lists for listed in one.listed))
    weighted = [run for members in study.runs.values() for run in members if has_weights(run)]
    if not weighted:
        raise ValueError(f"no run of {study.folder} has a checkpoint: keep checkpoints/best.ckpt, or train again")
    looks = {name: look(study, name, cases, chosen, device, _tell) for name in study.runs}
    data = load_run(weighted[0].folder).data
    masks = {place: masks_of(data, cases[place].rows)[0] for place in chosen}
    rows = np.concatenate([case.rows for case in cases])
    groups = {name: dict(zip(rows.tolist(), column.tolist(), strict=True))
              for name, column in attributes(data.manifest, rows).items()}  # fmt: skip
    return Shown(study, cases, lists, looks, data.cache.images, masks, data.manifest.path, groups)


def _tell_brief(folder: Path, into: Path | None, mark: str) -> None:
    """Print what explain.json of a folder says in few sentences, or put it into a page."""
    found, _ = read_findings(folder)
    if not found:
        raise ValueError(f"{folder} has no {JSON}: run `vitlab explain STUDY_FOLDER` first")
    text = brief_markdown(found)
    if into is None:
        sys.stdout.write(text)
    else:
        insert(text, into, mark)


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):  # of a name that torch does not know, and of a device that is not there
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ValueError(f"--device {name}: torch has no such device here; there are {', '.join(there)}") from None


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _seed(word: str) -> int:
    number = int(word)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is no seed: give a number of at least 0")
    return number


def _options(args: Sequence[str]) -> argparse.Namespace:
    parser = LineParser(
        prog="vitlab explain",
        allow_abbrev=False,
        description="Show the patients of a study's test set: what each approach says of them and how much its runs "
        "differ, what it looks at, and which training patients they remind it of. Patients are drawn by a seed, the "
        "classes in turn; three lists of extremes say what they are. Writes a folder of pages that open from disk.",
    )
    add = parser.add_argument
    add(
        "study", type=Path, nargs="?", metavar="STUDY_FOLDER", help="its runs, e.g. lightning_logs/phantom (type: path)"
    )
    add("--patients", type=positive, default=12, metavar="N",
        help="patients to draw, or images where no patient is known (type: int, default: %(default)s)")  # fmt: skip
    add("--seed", type=_seed, default=0, help="of the draw (type: int, default: %(default)s)")
    add("--worst", type=positive, default=6, metavar="N",
        help="patients on each list of extremes (type: int, default: %(default)s)")  # fmt: skip
    quick = "methods of one pass an image; full: insertion, deletion and the slow methods as well"
    add(
        "--scores",
        choices=get_args(Depth),
        default="quick",
        help=f"what is measured of all runs: none, quick or full. quick: {quick} (type: str, default: %(default)s)",
    )
    add(
        "--scored_patients",
        type=positive,
        default=100,
        metavar="N",
        help="test patients that are measured (type: int, default: %(default)s)",
    )
    add(
        "--shuffled",
        type=Path,
        metavar="DIR",
        help="another folder with runs on shuffled labels, for comparison (type: path, default: STUDY_FOLDER alone)",
    )
    add("--only", type=lambda text: text.split(","), metavar="APPROACH[,...]", help="these approaches (default: all)")
    add("--out", type=Path, metavar="DIR", help="folder of the pages (type: path, default: STUDY_FOLDER/explain)")
    add("--device", default="cpu", help="where the models run: cpu, cuda, cuda:1 (type: str, default: %(default)s)")
    add(
        "--findings",
        type=Path,
        metavar="DIR",
        help=f"in place of a study: only say what an earlier call has found, by {JSON} of its folder (type: path)",
    )
    add(
        "--into",
        type=Path,
        metavar="PAGE",
        help="put what was found, in few sentences, between the marks <!-- NAME --> and <!-- /NAME --> of this page "
        "(type: path, default: none)",
    )
    add("--mark", metavar="NAME", default="explain", help="name of those marks (type: str, default: %(default)s)")
    options, unknown = parser.parse_known_intermixed_args(args)
    if unknown:
        raise ValueError(f"unknown option {unknown[0]}; --help lists all")
    if (options.study is None) == (options.findings is None):
        raise ValueError("name the folder of a study, such as lightning_logs/phantom, or --findings DIR")
    if options.into is not None and options.scores == "none" and options.study is not None:
        raise ValueError("--into has nothing to put there with --scores none: leave one of them out")
    return options
