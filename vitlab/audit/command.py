"""`python -m vitlab audit`: reads the images once, looks for what makes a result worthless, writes what it found."""

import io
import shlex
import sys
import tempfile
import warnings
from argparse import SUPPRESS
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitlab.atomic import check_writable, replacing_all
from vitlab.audit.checks import Audit, run_audit
from vitlab.audit.data import UNUSED, AuditedData
from vitlab.audit.outputs import write_changes, write_json, write_pairs, write_planted
from vitlab.audit.repair.dropping import Conflicts, Copies
from vitlab.audit.repair.repair import repair
from vitlab.audit.repair.words import in_words, side_lines
from vitlab.audit.run import read_runs
from vitlab.audit.summary import planted_markdown, planted_text, summary, summary_markdown
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Csv, ImageFolder, Phantom, Source
from vitlab.data.splits import assign_splits
from vitlab.mistakes import one_line_parser
from vitlab.report.insert import check_marks, insert

_RESULTS = ("audit.json", "pairs.csv", "audit.html")
_OF_FILES = (Csv, ImageFolder, Phantom)  # sources whose images are files of their own


def main(args: list[str]) -> int:
    """Run the verb.

    Args:
        args: What stands behind `audit`.

    Returns:
        1 where a leak was found and --fail_on=leak asks for it, else 0.

    Raises:
        ValueError: For a user's mistake, in one line.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be any bytes
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    settings = _settings(args)
    data: AuditedData = settings.data
    name = data.name or type(data.source).__name__
    if settings.out == "":
        raise ValueError("--out is empty: give a folder to write, or leave it out for audits/<name>")
    out = Path(settings.out or Path("audits") / name)
    _check(settings, out, data.source)
    published = data.source.manifest()
    published.check(for_training=False)
    if settings.plant:
        rows = _plant(published, data, settings.plant, out)
        if settings.into is not None:
            insert(planted_markdown(rows), settings.into, settings.mark)
        return 0
    manifest, splits_from = _with_splits(published, data)
    runs = read_runs(settings.predictions or [], manifest)
    audit = run_audit(
        manifest,
        data.source,
        name=name,
        splits_from=splits_from,
        runs=runs,
        seed=data.split_settings["seed"],
    )
    from vitlab.audit.page import write_page

    with replacing_all(out, _RESULTS, "--out") as (found, table, page):
        write_pairs(audit, table)
        columns = {"paths": manifest.path, "labels": manifest.label, "splits": manifest.split}
        write_page(page, audit.report, audit.images, audit.pairs, **columns)
        write_json(audit, found)
    print(summary(audit.report))
    print(f"\nlook at {out / 'audit.html'}; all pairs are in {out / 'pairs.csv'}")
    if settings.into is not None:
        insert(summary_markdown(audit.report), settings.into, settings.mark)
    if settings.repair is not None:
        folded = _with_folds(published, manifest, data)
        _repair(folded, audit, data, settings.repair, drop=settings.drop, conflicts=settings.conflicts)
    return int(settings.fail_on == "leak" and audit.leak)


def _settings(args: list[str]) -> Any:
    parser = one_line_parser(
        {"data.source": Source.__subclasses__()},
        prog="vitlab audit",
        description="Find copies, patients across splits, shortcuts, doubtful labels, broken files and shift between "
        "splits, before a model is trained on them. Writes audit.json, pairs.csv and audit.html.",
    )
    parser.add_argument("--config", action="config", help="YAML file such as configs/data/cheng.yaml")
    parser.add_class_arguments(AuditedData, "data")
    for action in parser._actions:
        if action.dest.startswith("data.") and action.dest.split(".")[1] in UNUSED:
            action.help = SUPPRESS
    parser.add_argument("--out", type=str | None, default=None, help="folder to write; null is audits/<name>")
    parser.add_argument("--fail_on", "--fail-on", type=Literal["leak", "never"], default="never",
                        help="exit with 1 where images or patients are on two sides of a split")  # fmt: skip
    parser.add_argument("--predictions", type=list[Path] | Path | None, default=None,
                        help="predictions.csv of runs, or their folders: what their accuracy is worth")  # fmt: skip
    parser.add_argument("--repair", type=Path | None, default=None, help="manifest to write, without what leaks")
    parser.add_argument("--drop", type=Copies, default="exact",
                        help="copies that --repair drops: of equal pixels, near ones too, or none")  # fmt: skip
    parser.add_argument("--conflicts", type=Conflicts, default="drop",
                        help="what --repair does with pictures of two labels")  # fmt: skip
    parser.add_argument("--plant", type=int, default=0,
                        help="no audit: plant this many copies of each kind and say how many are found")  # fmt: skip
    parser.add_argument("--into", type=Path | None, default=None, help="page to put the result into, as compare does")
    parser.add_argument("--mark", type=str, default="audit", help="between <!-- MARK --> and <!-- /MARK --> of it")
    parsed = parser.parse_args(args)
    if isinstance(parsed.predictions, Path):
        parsed.predictions = [parsed.predictions]
    return parser.instantiate_classes(parsed)


def _check(settings: Any, out: Path, source: Source) -> None:
    """Raise before the work where its results could not be written, or nothing could be read."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"cannot write --out {out}: it is a file, give a folder")
    if taken := [name for name in _RESULTS if (out / name).is_dir()]:
        raise ValueError(f"cannot write --out {out}: {taken[0]} there is a folder, give another one")
    check_writable(out, "--out")
    if settings.plant < 0:
        raise ValueError(f"--plant {settings.plant}: give the number of copies of each kind, e.g. 100")
    if settings.plant and (given := [flag for flag in ("repair", "predictions") if getattr(settings, flag)]):
        raise ValueError(f"--plant measures the search and audits nothing: leave out --{given[0]}")
    if settings.into is not None:
        check_marks(settings.into, settings.mark)
    if settings.repair is not None:
        _check_repair(settings.repair, out, source)


def _check_repair(target: Path, out: Path, source: Source) -> None:
    """Raise before the work where the repaired manifest could not be written."""
    if target.suffix.lower() != ".csv":
        raise ValueError(f"--repair {target} must be a CSV file to write, e.g. repaired.csv")
    for file in (target, _changes(target)):
        if file.exists():
            raise ValueError(f"--repair {target}: {file} exists, give a new name, a manifest is never overwritten")
    if not target.parent.is_dir() and target.parent.absolute() != out.absolute():
        raise ValueError(f"cannot write --repair {target}: there is no folder {target.parent}")
    if not isinstance(source, _OF_FILES):
        raise ValueError(
            f"--repair writes a manifest of image files, but {type(source).__name__} holds many in one: "
            "write them to a folder first"
        )


def _changes(target: Path) -> Path:
    return target.with_suffix(".changes.csv")


def _with_splits(manifest: Manifest, data: AuditedData) -> tuple[Manifest, str]:
    """Return the manifest with the splits that are audited, published ones or those of `fit`, and where from."""
    fold, parts = data.split_settings["fold"], {*manifest.split} - {""}
    trains = "train" in parts or not (manifest.split == "").any()  # else fit takes what has no split
    if fold is None and trains and parts and parts != {"train"}:
        return manifest, "published"
    if not manifest.classes:
        return manifest.with_columns(split=np.full(len(manifest), "train", object)), "none: all is one split"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no patient ids")  # the audit says so itself
        split = assign_splits(manifest, **data.split_settings)
    if fold is not None:
        own = "the manifest's" if (manifest.column("fold") != "").any() else "made here"
        return split, f"fold {fold} of the folds {own}"
    return split, "cut here, as fit does" + " from the published training split" * ("train" in parts)


def _plant(manifest: Manifest, data: AuditedData, each: int, out: Path) -> list[dict[str, Any]]:
    """Measure the search for copies on the user's own images."""
    from vitlab.audit.copies.recall import planted_table

    with tempfile.TemporaryDirectory(prefix="vitlab-planted-") as folder:
        rows = planted_table(manifest, data.source.decode, Path(folder), each=each, seed=data.split_settings["seed"])
    with replacing_all(out, ["planted.csv"], "--out") as (table,):
        write_planted(rows, table)
    print(planted_text(rows))
    return rows


def _with_folds(published: Manifest, manifest: Manifest, data: AuditedData) -> Manifest:
    """Return the audited manifest with all the folds that `fit` makes, where one was asked for and it has none itself.

    Without them a repaired manifest would be cut into other folds, since its rows and patients are others.
    """
    if data.split_settings["fold"] is None or (manifest.column("fold") != "").any() or not manifest.classes:
        return manifest
    held_out = "val" if (published.split == "test").any() else "test"
    folds = np.full(len(manifest), "", object)
    for fold in range(1, data.split_settings["n_folds"] + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the audited fold has said it
            split = assign_splits(published, **{**data.split_settings, "fold": fold}).split
        folds[split == held_out] = str(fold)
    return manifest.with_columns(fold=folds)


def _repair(
    manifest: Manifest, audit: Audit, data: AuditedData, target: Path, *, drop: Copies, conflicts: Conflicts
) -> None:
    """Write the repaired manifest with the audited splits and the list of changes, and say how near it is to before."""
    found = repair(
        manifest,
        audit.pairs,
        audit.seen.picture,
        audit.images.ok,
        drop=drop,
        conflicts=conflicts,
        seed=data.split_settings["seed"],
    )
    listed = _changes(target)
    with replacing_all(target.parent, [target.name, listed.name], "--repair") as (fixed, changes):
        write_changes([*found.changes, *side_lines(found)], changes)
        found.manifest.write(fixed)
    fold = data.split_settings["fold"]
    print(
        f"repaired: {target}, {len(found.manifest):,} of {len(manifest):,} images; {listed.name} says why\n"
        + in_words(found)
        + f"\nuse it: --data.source=Csv --data.source.root={shlex.quote(str(manifest.root))} "
        + f"--data.source.manifest={shlex.quote(str(target.resolve()))}"
        + (f" --data.fold={fold}" if fold is not None else "")
    )
