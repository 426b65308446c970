"""explain.json, explain.md and the section of a page: what `measured` wrote, with intervals, in words. No torch."""

import json
from pathlib import Path

from vitlab.atomic import replacing_all
from vitlab.evaluate.resampling import Resampling
from vitlab.explain.findings import Findings
from vitlab.explain.image_scores import read_lines
from vitlab.explain.region_findings import probe_findings, region_findings
from vitlab.explain.score_findings import score_findings
from vitlab.report import markup
from vitlab.report.markup import Markup
from vitlab.report.summary import RESAMPLES

JSON, MARKDOWN = "explain.json", "explain.md"
TITLE = "What the models look at"
MEANING = (
    "Maps are of the class that was predicted, on test images chosen by seed. Whether a map finds the tumour and "
    "whether the model needs the tumour are two questions; the second does not rest on any map."
)
PARTS = (("saliency.csv", score_findings), ("regions.csv", region_findings), ("probe.csv", probe_findings))


def write_tables(folder: Path, *, resamples: int = RESAMPLES, seed: int = 0) -> list[Findings]:
    """Read saliency.csv, regions.csv and probe.csv of a folder, and write explain.json and explain.md beside them.

    Args:
        folder: Where `measured.measure` has written.
        resamples: Of patients and runs, and exchanges in a test.
        seed: Of these.

    Returns:
        What was found; a table without lines gives nothing.

    Raises:
        FileNotFoundError: A table is not there.
    """
    resampling = Resampling(resamples, seed)
    tables = [(read_lines(folder / name), find) for name, find in PARTS]
    found = [find(lines, resampling) for lines, find in tables if lines]
    found = [part for part in found if part.sentences]
    record = {"resamples": resamples, "seed": seed, "parts": [part.as_record() for part in found]}
    with replacing_all(folder, (JSON, MARKDOWN), "--out") as (as_json, as_markdown):
        as_json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        text = "\n\n".join([f"# {TITLE}", MEANING, *(part.markdown() for part in found)])
        as_markdown.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return found


def section(folder: Path) -> Markup:
    """Return what explain.json says as a section of a page; "" where there is no such file, or nothing in it."""
    path = folder / JSON
    if not path.is_file():
        return Markup("")
    parts = [Findings.of_record(part) for part in json.loads(path.read_text(encoding="utf-8"))["parts"]]
    return markup.section("saliency", TITLE, MEANING, *(part.html() for part in parts)) if parts else Markup("")
