"""What a bench leaves: every sample as JSON, a table as Markdown, a picture as SVG."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitlab.atomic import replacing_all
from vitlab.bench.measure import Measured, Spread
from vitlab.evaluate.results import git_commit, versions

FILES = ("bench.json", "bench.md", "bench.svg")
HEAD = ("row", "ours", "plain", "ratio", "target", "reached", "against")


def record(rows: Sequence[Measured], about: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any]:
    """Return all that was measured.

    Args:
        rows: After their samples.
        about: Device, threads, images.
        sections: What is no row: the breakdown of an epoch, the device's peak.
    """
    return {
        "schema": 1, **about, "platform": platform.platform(), "versions": versions(), "git_commit": git_commit(),
        "rows": [_row(row) for row in rows], **sections,
    }  # fmt: skip


def _row(row: Measured) -> dict[str, Any]:
    return {
        "name": row.name, "unit": row.unit, "against": row.against,
        "target": None if row.target is None else asdict(row.target), "reached": row.reached,
        "ratio": asdict(row.ratio), "ours": asdict(row.shown(row.ours)), "plain": asdict(row.shown(row.plain)),
        "samples": [
            {"ours": asdict(own), "plain": asdict(theirs), "ratio": ratio}
            for own, theirs, ratio in zip(row.ours, row.plain, row.ratios, strict=True)
        ],
        "facts": row.facts,
    }  # fmt: skip


def markdown(found: dict[str, Any]) -> str:
    """Return the table and what belongs below it, from the record alone, so that it says what the JSON says."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---:|---:|---:|---|---|---|"]
    for row in found["rows"]:
        target = "-" if row["target"] is None else row["target"]["text"]
        reached = {None: "-", True: "yes", False: "**no**"}[row["reached"]]
        cells = [row["name"], _amount(row, "ours"), _amount(row, "plain"), _spread(row["ratio"]), target, reached]
        lines.append("| " + " | ".join([*cells, row["against"]]) + " |")
    versions_of = f"torch {found['versions']['torch']}{_compiled(found['settings'])}"
    below = [
        f"{found['device']}, {found['threads']} OpenMP threads, {found['images']} training images of {found['data']}, "
        f"{versions_of}; {found['repeats']} pairs a row, ours and plain in turn, behind a warm-up. Figures are "
        "medians, ratios of pairs with quartiles; above 1, vitlab is the faster or the smaller."
    ]
    below += [_accuracy(row) for row in found["rows"] if row["facts"].get("plain_test_accuracy")]
    if "mfu" in found:
        below.append(_mfu(found["peak"], found["mfu"]))
    if "breakdown" in found:
        below.append(_breakdown(found["breakdown"]))
    return "\n".join(lines) + "\n\n" + "\n\n".join(below) + "\n"


def _compiled(settings: dict[str, Any]) -> str:
    mode = settings.get("compile")
    return f", models compiled ({'default' if mode is True else mode})" if mode else ""


def _accuracy(row: dict[str, Any]) -> str:
    ours, theirs = (Spread.of(row["facts"][key]) for key in ("test_accuracy", "plain_test_accuracy"))
    return (
        f"{row['name']}: test accuracy after {row['facts']['epochs']} epochs {ours.median:.3f} "
        f"[{ours.low:.3f}, {ours.high:.3f}] of ours, {theirs.median:.3f} [{theirs.low:.3f}, {theirs.high:.3f}] of the "
        "plain loop, median and quartiles of the runs."
    )


def _mfu(peak: dict[str, Any], shares: dict[str, Any]) -> str:
    """Return the share of the peak in words."""
    sheet = "" if not peak["data_sheet"] else f"; {peak['data_sheet'] / 1e12:,.0f} by its data sheet"
    parts = []
    for name, share in shares.items():
        of_sheet = f" ({share['data_sheet']:.1%} of the data sheet's)" if "data_sheet" in share else ""
        gflops = share["flops_per_image"] / 1e9
        parts.append(f"{name} {share['measured']:.1%}{of_sheet} at {gflops:,.3g} GFLOP an image, backward included")
    measured = peak["flops_per_second"] / 1e12
    return f"Peak of a {peak['dtype']} matrix product: {measured:,.3g} TFLOP/s{sheet}. Share of it: {'; '.join(parts)}."


def _breakdown(found: dict[str, Any]) -> str:
    """Return the table of where an epoch's time goes."""
    kinds = list(found)
    lines = ["| stage | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    for stage in found[kinds[0]]["shares"]:
        cells = [f"{found[kind]['shares'][stage]:.1%}" for kind in kinds]
        lines.append("| " + " | ".join([stage, *cells]) + " |")
    seconds = [f"{found[kind]['seconds_an_epoch']:.3g}" for kind in kinds]
    return "\n".join([*lines, "| seconds an epoch | " + " | ".join(seconds) + " |"])


def _amount(row: dict[str, Any], side: str) -> str:
    value = row[side]["median"]
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {row['unit']}"


def _spread(ratio: dict[str, float]) -> str:
    spread = Spread(**ratio)
    return f"{spread.median:.2f} [{spread.low:.2f}, {spread.high:.2f}]"


def read(folder: Path) -> dict[str, Any]:
    """Return the record that a bench left in a folder.

    Raises:
        ValueError: There is none, or it is no record.
    """
    path = folder / FILES[0]
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        markdown(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{path} is no record of a bench: give the folder that --out named") from None
    return found


def write(found: dict[str, Any], out: Path) -> None:
    """Write bench.json, bench.md and bench.svg."""
    from vitlab.bench.picture import draw

    with replacing_all(out, FILES, "--out") as (of_json, of_table, of_picture):
        of_picture.write_text(draw(found["rows"]), encoding="utf-8")
        of_table.write_text(markdown(found), encoding="utf-8")
        of_json.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
