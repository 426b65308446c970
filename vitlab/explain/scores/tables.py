"""explain.json and explain.md: what was measured, with intervals, in words. Imports no torch."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vitlab.atomic import replacing_all
from vitlab.evaluate.resampling import Resampling
from vitlab.explain.regions.findings import probe_findings, region_findings
from vitlab.explain.sanity.findings import sanity_findings
from vitlab.explain.scores.findings import score_findings
from vitlab.explain.scores.image_scores import read_lines
from vitlab.report.findings import JSON, MARKDOWN, MEANING, TITLE, Findings, digests
from vitlab.report.summary import RESAMPLES

PARTS = (
    ("saliency.csv", score_findings),
    ("sanity.csv", sanity_findings),
    ("regions.csv", region_findings),
    ("probe.csv", probe_findings),
)
WRITTEN = (*(name for name, _ in PARTS), JSON, MARKDOWN)


def write_tables(
    folder: Path,
    runs: Iterable[Path] = (),
    more: Sequence[Findings] = (),
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Findings]:
    """Read saliency.csv, sanity.csv, regions.csv and probe.csv of a folder; write explain.json and explain.md there.

    Args:
        folder: Where `measure` and `measure_sanity` have written.
        runs: Folders of the runs that were measured, so that a report can tell whether it is of the same.
        more: What was found besides.
        resamples: Of patients and runs, and exchanges in a test, at least.
        seed: Of these.

    Returns:
        What was found; a table without lines gives nothing.

    Raises:
        FileNotFoundError: A table is not there.
    """
    resampling = Resampling(resamples, seed)
    tables = [(read_lines(folder / name), find) for name, find in PARTS]
    found = [find(lines, resampling) for lines, find in tables if lines]
    found = [part for part in (*found, *more) if part.sentences]
    record: dict[str, Any] = {"resamples": resamples, "seed": seed, "runs": digests(runs)}
    record["parts"] = [part.as_record() for part in found]
    with replacing_all(folder, (JSON, MARKDOWN), "--out") as (as_json, as_markdown):
        as_json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        text = "\n\n".join([f"# {TITLE}", MEANING, *(part.markdown() for part in found)])
        as_markdown.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return found
