"""The tables of a comparison as text: for a terminal, Markdown and LaTeX; CSV and JSON are in `records`."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from vitlab.evaluate.paired import Pair
from vitlab.evaluate.scored import Level
from vitlab.report.labels import HOLM_OF_SHARES, efficiencies, grid, sentences
from vitlab.report.pairs import METRIC
from vitlab.report.records import to_csv, to_json
from vitlab.report.rows import SHOWN, Row
from vitlab.report.summary import Table
from vitlab.report.verdict import question, verdict
from vitlab.report.words import LABELS, PER, figure, p_value, pair_line, points

Format = Literal["terminal", "markdown", "csv", "latex", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, Format] = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".json": "json"}

WIDTH = 120  # columns of a terminal
PAIRS_SHOWN = 15  # six rows have them; a grid has hundreds


class Column(NamedTuple):
    """A figure of a row: of test, val or train, the gap between train and test, or a cost."""

    part: Literal["test", "val", "train", "gap", "cost"]
    name: str
    level: Level = "slice"

    @property
    def label(self) -> str:
        """What it is, without the part."""
        return "train - test" if self.part == "gap" else LABELS[self.name]

    @property
    def heading(self) -> str:
        """What it is, in a table that has one line of headings."""
        if self.part == "cost":
            return self.label
        if self.part == "gap":
            return f"train - test {LABELS[self.name]}"
        return f"{self.part} {self.label}" + (f" {PER[self.level]}" if self.level == "patient" else "")


TEST = [Column("test", name) for name in SHOWN["slice"]["test"]]
PATIENT = [Column("test", name, "patient") for name in SHOWN["patient"]["test"]]
OTHERS = [Column("val", "accuracy"), Column("train", "accuracy"), Column("gap", "accuracy")]
COST = [Column("cost", "seconds"), Column("cost", "images_seen")]
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"$<$",
        **{c: "\\" + c for c in "&%$#_{}"},
    }
)


def render(tables: Sequence[Table], form: Format) -> str:
    """Write the tables out, with a newline at the end."""
    writers: dict[Format, Callable[[Sequence[Table]], str]] = {
        "terminal": lambda tables: "\n\n\n".join([*map(_terminal, tables), *_by_labels(tables, "terminal")]),
        "markdown": lambda tables: "\n\n".join([*map(_markdown, tables), *_by_labels(tables, "markdown")]),
        "latex": lambda tables: "\n\n".join([*map(_latex, tables), *_by_labels(tables, "latex")]),
        "csv": to_csv,
        "json": to_json,
    }
    return writers[form](tables).rstrip("\n") + "\n"


def render_brief(tables: Sequence[Table], form: Literal["terminal", "markdown"]) -> str:
    """Write the answer in words alone, and what pretraining is worth at each share of the labels as its table."""
    together = {id(table) for found in efficiencies(tables) if found.shares for table in found.tables}
    alone = [table for table in tables if id(table) not in together]
    if form == "markdown":
        parts = [f"**{_plain(table.title)}** {' '.join(map(_plain, verdict(table)))}" for table in alone]
    else:
        parts = ["\n".join(map(_filled, (table.title, *verdict(table)))) for table in alone]
    return "\n\n".join([*parts, *_by_labels(tables, form)]) + "\n"


def _by_labels(tables: Sequence[Table], form: Literal["terminal", "markdown", "latex"]) -> Iterator[str]:
    """What pretraining is worth at each share of the labels, for tables that differ by nothing else."""
    for found in efficiencies(tables):
        if not found.shares:
            continue
        said = [*sentences(found), HOLM_OF_SHARES]
        if form == "latex":
            yield "\n".join([*(f"% {line}" for line in (found.title, *said)), *_tabular(*grid(found))])
        elif form == "markdown":
            yield "\n\n".join([f"**{_plain(found.title)}**", _piped(*grid(found), words=2), _plain(" ".join(said))])
        else:
            yield "\n\n".join([found.title, _aligned(*grid(found)), "\n".join(map(_filled, said))])


def legend(table: Table) -> str:
    """Say what the figures of a table are."""
    if table.resampling is None:
        return "mean over n runs; cost is the mean per run, pretraining included"
    text = (
        f"mean over n runs [95 % interval, hierarchical bootstrap over patients and runs, "
        f"{table.resampling.resamples:,} resamples]; cost is the mean per run, pretraining included"
    )
    if not _pairs(table):
        return text
    return (
        f"{text}; pairs: difference in test balanced accuracy {PER[table.level]}, p of a paired permutation test over "
        "patients, and that after Holm's correction for all pairs"
    )


def _pairs(table: Table) -> list[Pair]:
    """The pairs that the verdict is from."""
    return [pair for pair in table.pairs if pair.level == table.level and pair.metric == METRIC]


def _pair_lines(table: Table) -> list[str]:
    """A line a pair; of many, those that answer a question first."""
    pairs, rows = _pairs(table), {row.name: row for row in table.rows}
    if len(pairs) > PAIRS_SHOWN:
        order = ("leak", "pretraining", "architecture", "settings", "others")
        pairs.sort(key=lambda pair: order.index(question(rows[pair.a], rows[pair.b])))
    lines = [pair_line(pair) for pair in pairs[:PAIRS_SHOWN]]
    more = len(pairs) - PAIRS_SHOWN
    return [*lines, f"and {more} more pairs, which are in --format json"] if more > 0 else lines


def _cell(row: Row, column: Column) -> str:
    if column.part == "gap":
        return figure(row.gap(column.level, "train", column.name), signed=True)
    if column.part != "cost":
        return figure(row.stat(column.level, column.part, column.name))
    mean = row.cost[column.name].mean
    return "-" if mean is None else f"{mean:.1f}" if mean < 10 else f"{mean:,.0f}"


def _terminal(table: Table) -> str:
    """Two blocks, test above, and patients below where they are known, the others and cost; then pairs and verdict."""
    rows = table.rows
    parts = [table.title, _block(rows, TEST)]
    if table.level == "patient":
        parts.append(_block(rows, PATIENT))
    parts.append(_block(rows, OTHERS + COST))
    if lines := _pair_lines(table):
        parts.append("\n".join(map(_filled, lines)))
    if table.groups:
        parts.append(_aligned(*_groups(table)))
    notes = [f"note: {note}" for note in table.notes]
    parts += ["\n".join(map(_filled, lines)) for lines in (verdict(table), [legend(table), *notes])]
    return "\n\n".join(parts)


def _groups(table: Table) -> tuple[list[str], list[list[str]]]:
    """The table of groups: header and rows of text."""
    first = table.groups[0]
    classes = [f"{name} sensitivity" for name in first.sensitivity]
    return [first.column, "approach", "images", "patients", "accuracy", *classes], [
        [s.group, s.name, f"{s.accuracy.n_images:,}", f"{s.accuracy.n_patients:,}", figure(s.accuracy),
         *(figure(stat) for stat in s.sensitivity.values())]
        for s in table.groups
    ]  # fmt: skip


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned text, whose first two columns name the lines; what is too wide goes on below."""
    columns = []
    for cells in zip(header, *rows, strict=True):
        wide = max(map(len, cells))
        columns.append([f"{cell:{wide}}" for cell in cells])
    blocks = [columns[:2]]
    for column in columns[2:]:
        if sum(len(other[0]) + 2 for other in blocks[-1]) + len(column[0]) > WIDTH:
            blocks.append(columns[:2])
        blocks[-1] = [*blocks[-1], column]
    lines = ["\n".join("  ".join(line).rstrip() for line in zip(*block, strict=True)) for block in blocks]
    return "\n\n".join(lines)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _block(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Aligned text: a line of splits, a line of figures, one line a row; what is too wide goes on below."""
    width = max(map(len, ["approach", *(row.name for row in rows)]))
    names = [f"{'':{width + 4}}", f"{'approach':{width}}   n", *(f"{row.name:{width}}{row.n:4}" for row in rows)]
    blocks: list[list[str]] = []
    seen = ""
    for column in columns:
        part = f"test {PER[column.level]}" if column.part == "test" else column.part.replace("gap", "")
        cells = [part, column.label, *(_cell(row, column) for row in rows)]
        wide = max(map(len, cells))
        if not blocks or len(blocks[-1][0]) + 2 + wide > WIDTH:
            blocks.append(names)
        elif part == seen:
            cells[0] = ""
        seen = part
        side = ">" if column.part == "cost" else "<"
        blocks[-1] = [f"{line}  {cell:{side}{wide}}" for line, cell in zip(blocks[-1], cells, strict=True)]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)


def _grid(table: Table) -> tuple[list[str], list[list[str]]]:
    """One wide table: header and rows of text."""
    columns = TEST + (PATIENT[:2] if table.level == "patient" else []) + OTHERS + COST
    rows = [[row.name, str(row.n), *(_cell(row, column) for column in columns)] for row in table.rows]
    return ["approach", "n", *(column.heading for column in columns)], rows


def _markdown(table: Table) -> str:
    blocks = [f"**{_plain(table.title)}**", _piped(*_grid(table), words=1), " ".join(map(_plain, verdict(table)))]
    if pairs := _pair_lines(table):
        blocks.append("\n".join(f"- {_plain(line)}" for line in pairs))
    if table.groups:
        blocks.append(_piped(*_groups(table), words=2))
    said = legend(table)
    return "\n\n".join([*blocks, f"{said[0].upper()}{said[1:]}.", *(f"Note: {_plain(note)}." for note in table.notes)])


def _piped(header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A Markdown table whose first columns hold words, and the others figures."""
    lines = ["| " + " | ".join(_plain(cell) for cell in cells) + " |" for cells in (header, *rows)]
    lines.insert(1, "|---" * words + "|---:" * (len(header) - words) + "|")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that Markdown takes for text; a bar would end a cell."""
    return text.replace("|", r"\|").replace("<", r"\<")


def _latex(table: Table) -> str:
    r"""Booktabs tables, the rows and the pairs; the preamble needs \usepackage{booktabs}."""
    header, rows = _grid(table)
    lines = [f"% {line}" for line in (table.title, *verdict(table), legend(table), *table.notes)]
    lines += _tabular(header, rows)
    if pairs := _pairs(table):
        cells = [
            [f"{p.a} vs {p.b}", points(p.difference, p.low, p.high), p_value(p.p_permutation), p_value(p.p_holm)]
            for p in pairs
        ]
        lines += ["", *_tabular(["pair", f"{LABELS[METRIC]} {PER[table.level]}", "p", "p (Holm)"], cells)]
    if table.groups:
        lines += ["", *_tabular(*_groups(table))]
    return "\n".join(lines)


def _tabular(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}", r"\toprule"]
    for i, cells in enumerate((header, *rows)):
        lines += [" & ".join(cell.translate(LATEX) for cell in cells) + r" \\"] + [r"\midrule"] * (i == 0)
    return [*lines, r"\bottomrule", r"\end{tabular}"]
