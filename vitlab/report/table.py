"""`python -m vitlab compare`: run folders in, the table of figures, intervals and tests out."""

import argparse
import difflib
import sys
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any, NoReturn

from vitlab.report.formats import FORMATS, SUFFIXES, render, render_brief
from vitlab.report.groups import grouping_of, score_groups
from vitlab.report.insert import check_marks, insert, replace
from vitlab.report.runs import Run, find_runs, read_run
from vitlab.report.summary import RESAMPLES, Table, build_tables
from vitlab.yaml_text import parse

DEFAULT_DIR = "lightning_logs"
KEYS = ("dirs", "format", "out", "data", "by", "resamples", "report")  # of a --config file
FEWEST_RESAMPLES = 100  # below, the 2.5 and 97.5 % points are those of two or three draws
TO_DO = "train first (python -m vitlab fit --config configs/cnn.yaml) or name the folder of your runs"


def main(argv: list[str] | None = None) -> int:
    """Run the verb.

    Args:
        argv: what stands behind `compare`; sys.argv's where None.

    Returns:
        0.

    Raises:
        ValueError: for a user's mistake, in one line; FileNotFoundError for a folder or file that is not there.
    """
    options = _options(sys.argv[1:] if argv is None else argv)
    for option in ("out", "report"):
        _check_writable(f"--{option}", getattr(options, option))
    if options.into is not None:
        check_marks(options.into, options.mark)
    runs, unfinished = collect([Path(name) for name in options.dirs])
    for folder in unfinished:
        print(f"left out, as it has not finished: {folder}", file=sys.stderr)
    if options.data is not None:
        names = sorted({run.dataset for run in runs})
        if options.data not in names:
            known = ", ".join(names) or "none"
            raise ValueError(f"no run on {options.data!r}{_nearest(options.data, names)}; there is {known}")
        runs = [run for run in runs if run.dataset == options.data]
    if all(run.task == "pretrain" for run in runs):
        left_out = f" ({len(unfinished)} not finished)" if unfinished else ""
        only = ", only pretraining," if runs else ""
        raise ValueError(f"no finished run{only} in {', '.join(map(str, options.dirs))}{left_out}: {TO_DO}")
    every = options.report is not None or (options.format in ("csv", "json") and options.into is None)
    tables = build_tables(runs, resamples=options.resamples, every=every)
    if options.by is not None:
        tables = [with_groups(table, options.by) for table in tables]
    if options.into is not None:
        insert((render_brief if options.brief else render)(tables, "markdown"), options.into, options.mark)
    else:
        _write(tables, options.format, options.out, brief=options.brief)
    if options.report is not None:
        from vitlab.report.page import write_page

        print(f"wrote {write_page(tables, options.report)}", file=sys.stderr)
    return 0


def collect(dirs: list[Path]) -> tuple[list[Run], list[Path]]:
    """Read all finished runs in some folders.

    Returns:
        The runs, pretraining included, and the folders of those that have not finished.

    Raises:
        ValueError: naming the file, when a results.json cannot be read.
    """
    finished, unfinished = find_runs(dirs)
    runs = [read_run(folder) for folder in finished]
    return [run for run in runs if run.finished], unfinished + [run.folder for run in runs if not run.finished]


def with_groups(table: Table, column: str) -> Table:
    """Return a table with the scores of each group of its test images."""
    if table.resampling is None:
        raise ValueError("--by needs resamples: leave --resamples 0 out")
    grouping = grouping_of(table.rows)
    if column not in grouping.columns:
        known = ", ".join(grouping.columns) or "none"
        why = f" ({grouping.reason})" if grouping.reason else ""
        near = _nearest(column, grouping.columns)
        raise ValueError(f"no column {column!r} parts the test images of {table.title}{near}; there is {known}{why}")
    return replace_fields(table, groups=score_groups(table.rows, {column: grouping.columns[column]}, table.resampling))


def _write(tables: list[Table], form: Any, out: Path | None, *, brief: bool) -> None:
    text = render_brief(tables, form) if brief else render(tables, form)
    if form in ("csv", "json"):  # they have no place for notes
        for note in (f"{table.title}: {note}" for table in tables for note in table.notes):
            print(f"note: {note}", file=sys.stderr)
    if out is None:
        encoding = sys.stdout.encoding or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:  # a terminal or a pipe in the C locale
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        sys.stdout.write(text)
        return
    replace(out, text)


def _check_writable(option: str, file: Path | None) -> None:
    """Raise before the work whose result is to be written."""
    if file is not None and file.is_dir():
        raise ValueError(f"cannot write {option} {file}: it is a folder")
    if file is not None and not file.parent.is_dir():
        raise ValueError(f"cannot write {option} {file}: there is no folder {file.parent}")


class LineParser(argparse.ArgumentParser):
    """Raises what argparse would print over several lines."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage."""
        raise ValueError(message)


def positive(text: str) -> int:
    """Read an option that is a count; ArgumentTypeError where it is none."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _options(argv: list[str]) -> argparse.Namespace:
    """Read the command line over a --config file over the defaults."""
    parser = LineParser(
        prog="vitlab compare",
        allow_abbrev=False,
        description="Put finished runs into one table: train, val and test figures, mean over seeds and folds with a "
        "95 % interval (hierarchical bootstrap over patients and runs), and a test of every two approaches. Runs are "
        "found by their results.json at any depth. Runs of different images or label fractions go into tables of "
        "their own; those that have not finished are named on stderr and left out.",
    )
    add = parser.add_argument
    published = "a folder named `published` is read only when it is named here"
    formats = "|".join(FORMATS)
    add("dirs", nargs="*", metavar="DIR", help=f"folders of runs (type: path, default: {DEFAULT_DIR}); {published}")
    add("--format", help=f"{formats} (type: str, default: by the ending of --out, else terminal)")
    add("--out", metavar="FILE", help="write to this file (type: path, default: standard output)")
    into = "put the Markdown table into this page, between its marks <!-- NAME --> and <!-- /NAME -->"
    add("--into", metavar="PAGE", help=f"{into} (type: path, default: none)")
    add("--mark", metavar="NAME", default="compare", help="name of those marks (type: str, default: compare)")
    add("--data", metavar="NAME", help="only runs on this data set (type: str, default: all)")
    parts = "also score the groups of the test images that differ in this column of the manifest, such as the hospital"
    add("--by", metavar="COLUMN", help=f"{parts} (type: str, default: none)")
    drawn = "resamples for intervals and tests; 0 for neither, from results.json alone"
    add("--brief", action="store_true",
        help="only the answer in words, and what pretraining is worth at each label fraction (default: false)")
    add("--resamples", metavar="N", help=f"{drawn} (type: int, default: {RESAMPLES})")
    add("--report", metavar="FILE", help="also write the report, one HTML page (type: path, default: none)")
    add("--config", metavar="FILE", help=f"YAML file of {', '.join(KEYS)} (type: path, default: none)")
    options, unknown = parser.parse_known_intermixed_args(argv)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        raise ValueError(f"unknown option {unknown[0]}{_nearest(unknown[0].partition('=')[0], flags)}")
    if options.config is not None:
        for key, value in _config(Path(options.config)).items():
            if getattr(options, key) in (None, []):
                setattr(options, key, value)
    options.dirs = options.dirs or [DEFAULT_DIR]
    options.out = None if options.out is None else Path(options.out)
    options.into = None if options.into is None else Path(options.into)
    options.report = None if options.report is None else Path(options.report)
    options.resamples = _resamples(options.resamples)
    if options.out and options.out.suffix.lower() in (".html", ".htm"):
        raise ValueError(f"--out {options.out} would be a table in text: write the page with --report {options.out}")
    if options.format is None:
        options.format = SUFFIXES.get(options.out.suffix.lower(), "terminal") if options.out else "terminal"
    if options.format not in FORMATS:
        raise ValueError(
            f"unknown --format {options.format}{_nearest(options.format, FORMATS)}; there is {', '.join(FORMATS)}"
        )
    if options.brief and options.format not in ("terminal", "markdown"):
        raise ValueError(f"--brief is words, which {options.format} has no place for: leave it out, or use markdown")
    if options.dirs == [DEFAULT_DIR] and not Path(DEFAULT_DIR).is_dir():
        raise FileNotFoundError(f"there is no folder {DEFAULT_DIR} here: {TO_DO}")
    return options


def _resamples(value: Any) -> int:
    try:
        found = RESAMPLES if value is None else int(value)
    except (TypeError, ValueError):
        found = -1
    if found and found < FEWEST_RESAMPLES:
        raise ValueError(f"--resamples must be 0 or a number from {FEWEST_RESAMPLES} on, not {value}")
    return found


def _config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no config file {file}")
    try:
        values = parse(file.read_text(encoding="utf-8")) or {}
    except ValueError as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{file} is not a mapping of options to values")
    for key, value in values.items():
        if key not in KEYS:
            raise ValueError(f"{file}: unknown option {key!r}{_nearest(str(key), KEYS)}")
        if key == "resamples":
            continue
        strings = value if key == "dirs" and isinstance(value, list) else [value]
        if not all(isinstance(string, str) for string in strings) or (strings is not value and key == "dirs"):
            kind = "list of folders" if key == "dirs" else "string"
            raise ValueError(f"{file}: {key} must be a {kind}, not {value!r}")
    return values


def _nearest(word: str, known: Any) -> str:
    found = difflib.get_close_matches(str(word), list(known), n=1)
    return f", did you mean {found[0]}?" if found else ""
