"""How the figures were made, on what, and how to make them again."""

import json
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vitlab.report.markup import Markup, join, section, table, tag
from vitlab.report.page.album import Album, each, nothing
from vitlab.report.page.runs import link
from vitlab.report.runs import RESULTS, Run
from vitlab.report.summary import Table

STUDY = "study.yaml"
ABOVE = 4  # folders from a run to that of its study: seed, axes, approach, study


def protocol_section(album: Album) -> Markup:
    """Say by which rules the figures were made."""
    rules = (
        "Pretraining sees the training images only. The best epoch is chosen on val. Test is read once per run.",
        "Where patients are not known, each image stands for a patient of its own.",
        "Train, val and test figures are of the same evaluation transform, without augmentation.",
        "Every figure is the mean over runs, with a 95 % interval from a hierarchical bootstrap over patients, "
        "stratified by class, and runs (seeds within folds); percentile ends.",
        "A patient's prediction is the mean of the probabilities of all images of that patient.",
        "Two approaches are compared on the same patients: a permutation test that swaps whole patients between them, "
        "with Holm's correction over all pairs of a table.",
        "What pretraining costs is added to every run that uses it.",
    )
    return section(
        "protocol", "Protocol", "The rules that every approach is held to, and the data of each table.",
        tag("ul", *(tag("li", rule) for rule in rules)),
        each(album.tables, lambda found: [_facts(_protocol(found), "Data and splits")]),
    )  # fmt: skip


def versions_section(album: Album) -> Markup:
    """Say what the runs ran on."""
    return section(
        "versions", "Versions and hardware", "What the runs say of themselves; where they differ, each value with its "
        "number of runs.",
        each(album.tables, lambda found: [_facts(_versions(found), "Software and hardware")]),
    )  # fmt: skip


def reproduce_section(album: Album, out: Path) -> Markup:
    """Say how to make the runs and this page again.

    Args:
        album: of the page.
        out: the page.
    """
    runs = [run for found in album.tables for row in found.rows for run in row.runs]
    top = os.path.commonpath([run.folder.absolute() for run in runs]) if runs else str(out.parent)
    folder = Path(os.path.relpath(top)) if _near(top) else Path(top)
    again = f"python -m vitlab compare {shlex.quote(str(folder))} --report {shlex.quote(str(out))}"
    return section(
        "reproduce", "How to reproduce it", "Commands start in the folder that this page was made in.",
        *_studies(runs, out),
        tag("h3", "This page"), _code(again, "Command that makes this page"),
    )  # fmt: skip


def _near(top: str) -> bool:
    try:
        return not os.path.relpath(top).startswith("..")
    except ValueError:
        return False


def _studies(runs: Sequence[Run], out: Path) -> Iterable[Markup]:
    above = [Path(out.parent), *(parent for run in runs for parent in run.folder.absolute().parents[:ABOVE])]
    files = {file.resolve(): file for folder in above if (file := folder / STUDY).is_file()}
    for file in files.values():
        shown = Path(os.path.relpath(file)) if _near(str(file)) else file
        yield tag("h3", "The study")
        yield tag("p", link(file, out))
        yield _code(f"python -m vitlab study --config {shlex.quote(str(shown))}", "Command that runs the study")
        yield _code(file.read_text(encoding="utf-8", errors="replace"), "The study's file")
    if files:
        return
    if not runs:
        yield nothing("There are no runs.")
        return
    yield tag("h3", "One run")
    config = runs[0].folder / "config.yaml"
    shown = Path(os.path.relpath(config)) if _near(str(config.absolute())) else config
    yield tag("p", "There is no study.yaml above the runs. Each run has all of its settings in its config.yaml; a "
              "pretrained one needs its pretraining first, which that file names as weights. The first of the runs:")
    yield _code(f"python -m vitlab fit --config {shlex.quote(str(shown))}", "Command that repeats a run")


def _code(content: str, label: str) -> Markup:
    # A box that scrolls must be reachable by the keyboard. Lines stay lines, whatever else is escaped.
    lines = [part for line in content.rstrip("\n").split("\n") for part in ("\n", line)][1:]
    escaped = join(tag("span", "") if line == "" else line if line != "\n" else _newline() for line in lines)
    return tag("pre", tag("code", escaped), tabindex="0", role="group", aria_label=label)


def _newline() -> Markup:
    return Markup("\n")


def _facts(facts: Iterable[tuple[str, Any]], caption: str) -> Markup:
    return table(("fact", "value"), [(name, value) for name, value in facts if value], caption=caption, words=2)


def _protocol(found: Table) -> Iterable[tuple[str, str]]:
    records = _records(found)
    yield "data set", found.dataset
    yield "study", found.study
    yield "manifest (SHA-256)", found.manifest_sha256
    yield "classes", ", ".join(map(str, _first(records, "classes") or ()))
    yield "share of the training labels", f"{100 * found.label_fraction:g} %"
    yield "images", _counted({_pieces(record.get("images")): 0 for record in records})
    yield "splits", _counted({_pieces(record.get("split"), without=("fold",)): 0 for record in records})
    runs = [run for row in found.rows for run in row.runs]
    yield "patients of test in train or val", _shared_patients(found)
    yield "labels", "shuffled: every score should be chance" if any(r.get("shuffle_labels") for r in records) else ""
    yield "seeds", ", ".join(map(str, sorted({run.seed for run in runs})))
    yield "folds", ", ".join(map(str, sorted({run.fold for run in runs if run.fold is not None})))
    yield "resamples of the intervals", "none" if found.resampling is None else f"{found.resampling.resamples:,}"
    for row in found.rows:
        epochs = ", ".join(sorted({str(run.epochs) for run in row.runs if run.epochs is not None}))
        yield row.name, "; ".join(part for part in (row.backbone, f"{epochs} epochs" if epochs else "") if part)


def _shared_patients(found: Table) -> str:
    """Say how many patients of test are on another side too, as predictions.csv has them: a leak that is seen there."""
    known = [row.shared for row in found.rows if row.shared is not None]
    if not known:
        return "not known: no patient ids"
    return f"up to {max(known)} in a run: this split leaks" if max(known) else "none"


def _versions(found: Table) -> Iterable[tuple[str, str]]:
    records = _records(found)
    for key, name in (("device", "device"), ("precision", "precision"), ("git_commit", "commit of the code")):
        yield name, _counted(_tally(str(record[key])[:40] for record in records if record.get(key)))
    packages = [record["versions"] for record in records if isinstance(record.get("versions"), dict)]
    for package in dict.fromkeys(name for known in packages for name in known):
        yield str(package), _counted(_tally(known.get(package) for known in packages))


def _records(found: Table) -> list[dict[str, Any]]:
    """The runs' results.json, which were read and checked when the table was made."""
    files = [run.folder / RESULTS for row in found.rows for run in row.runs]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _first(records: Iterable[dict[str, Any]], key: str) -> Any:
    return next((record[key] for record in records if isinstance(record.get(key), list)), None)


def _pieces(value: Any, without: Sequence[str] = ()) -> str:
    if not isinstance(value, dict):
        return ""
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in value.items() if k not in without and v is not None)


def _tally(values: Iterable[Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[str(value)] = counts.get(str(value), 0) + 1
    return counts


def _counted(counts: dict[str, int]) -> str:
    """Values, each with its number of runs where there are several."""
    known = {name: n for name, n in counts.items() if name}
    return "; ".join(f"{name} ({n} runs)" if n and len(known) > 1 else name for name, n in known.items())
