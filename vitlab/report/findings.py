"""What `explain` measured and found: tables, sentences and records, the same for JSON, Markdown and HTML."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vitlab.evaluate.bootstrap import Estimate
from vitlab.evaluate.paired import Pair
from vitlab.report.markup import Markup, join, table, tag
from vitlab.report.rows import Stat
from vitlab.report.runs import RESULTS
from vitlab.report.words import figure, p_value, points

FOLDER = "explain"  # of a study
JSON, MARKDOWN = "explain.json", "explain.md"  # in it
TITLE = "What the models look at"
MEANING = (
    "Maps are of the class that was predicted, on test images chosen by seed. Whether a map finds the tumour and "
    "whether the model needs the tumour are two questions; the second does not rest on any map."
)


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Args:
        caption: What it holds.
        head: Of each column.
        rows: Of cells.
        words: How many columns hold words, from the left.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


@dataclass
class Findings:
    """Tables and sentences of one question, and the figures that they are from.

    Args:
        title: The question.
        meaning: What the figures are, and what to make of them.
        sentences: What was found.
        brief: The same in few sentences, for a page that has room for no more.
        grids: Tables.
        records: Every figure and difference by name.
    """

    title: str
    meaning: str
    sentences: list[str] = field(default_factory=list)
    brief: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "Findings":
        """Return what `as_record` was made of."""
        return cls(**{**record, "grids": [Grid(**grid) for grid in record["grids"]]})

    def markdown(self) -> str:
        """Return it as Markdown."""
        blocks = [f"## {self.title}", _plain(self.meaning), *(f"- {_plain(line)}" for line in self.sentences)]
        text = "\n".join(blocks[2:])
        tables = [f"{_plain(grid.caption)}\n\n{_piped(grid)}" for grid in self.grids]
        return "\n\n".join([*blocks[:2], *([text] if text else []), *tables])

    def html(self) -> Markup:
        """Return it as HTML."""
        listed = tag("ul", *(tag("li", line) for line in self.sentences)) if self.sentences else ""
        tables = [
            table(
                grid.head,
                [[*row[: grid.words], *map(_stacked, row[grid.words :])] for row in grid.rows],
                caption=grid.caption,
                words=grid.words,
            )
            for grid in self.grids
        ]
        return join([tag("h3", self.title), tag("p", self.meaning, class_="meaning"), listed, *tables])


def read_findings(folder: Path) -> tuple[list[Findings], set[str]]:
    """Read explain.json of a folder.

    Returns:
        What was found, and the `digests` of the runs that it is of; nothing of either where there is no such file.

    Raises:
        ValueError: It is damaged.
    """
    path = folder / JSON
    if not path.is_file():
        return [], set()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return [Findings.of_record(part) for part in record["parts"]], set(record["runs"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: remove it, and run `vitlab explain` again") from error


def brief_markdown(found: Iterable[Findings]) -> str:
    """Return what was found in few sentences, as a list of Markdown."""
    return "".join(f"- {_plain(line)}\n" for part in found for line in part.brief)


def digests(folders: Iterable[Path]) -> list[str]:
    """Return what tells finished runs from others, wherever they lie: SHA-256 of their results.json."""
    return [hashlib.sha256((folder / RESULTS).read_bytes()).hexdigest() for folder in folders]


def shown(found: Estimate | None) -> str:
    """Write an estimate as 0.869 [0.84, 0.90]; a dash without one."""
    if found is None:
        return "-"
    return figure(Stat.of_estimate(found))


def in_points(pair: Pair | None) -> str:
    """Write a difference in points of a hundred, with its corrected p: +4.1 [1.2, 7.0], p .012; a dash without one."""
    if pair is None or pair.difference is None:
        return "-"
    text = points(pair.difference, pair.low, pair.high).replace(" points", "")
    return text if pair.p_holm is None else f"{text}, p {p_value(pair.p_holm)}"


def estimate_record(found: Estimate) -> dict[str, Any]:
    """Return an estimate without its draws."""
    names = ("mean", "sd", "low", "high", "n_runs", "n_patients", "n_images", "covers")
    return {name: getattr(found, name) for name in names}


def pair_record(pair: Pair) -> dict[str, Any]:
    """Return a pair, and whether it differs."""
    return {**asdict(pair), "differs": pair.differs}


def _stacked(cell: str) -> Markup:
    """Return a figure with what belongs to it below: columns are then narrow enough to be seen side by side."""
    mean, _, more = cell.partition(" ")
    return join([mean, " ", tag("small", more)]) if more else join([mean])


def _piped(grid: Grid) -> str:
    lines = ["| " + " | ".join(map(_plain, cells)) + " |" for cells in (grid.head, *grid.rows)]
    lines.insert(1, "|---" * grid.words + "|---:" * (len(grid.head) - grid.words) + "|")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that Markdown takes for text; a bar would end a cell."""
    return text.replace("|", r"\|").replace("<", r"\<")
