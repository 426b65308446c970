"""The tables of a comparison as text: for a terminal, Markdown, CSV, LaTeX and JSON."""

import csv
import io
import json
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from vitlab.evaluate.metrics import METRICS
from vitlab.evaluate.predictions import SPLITS
from vitlab.report.rows import COSTS, Row, Stat
from vitlab.report.summary import Table

Format = Literal["terminal", "markdown", "csv", "latex", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, Format] = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".json": "json"}

WIDTH = 120  # columns of a terminal

Column = tuple[str, str]  # split or "cost", figure
LABELS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "auroc": "AUROC",
    "loss": "loss",
    "seconds": "seconds",
    "images_seen": "images seen",
}
TEST: list[Column] = [("test", name) for name in ("accuracy", "balanced_accuracy", "auroc", "loss")]
COST: list[Column] = [("cost", "seconds"), ("cost", "images_seen")]
OTHERS: list[Column] = [(split, name) for split in ("val", "train") for name in ("accuracy", "loss")]
LEGEND = "mean ± sd over n runs; cost is the mean per run, pretraining included"
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        **{c: "\\" + c for c in "&%$#_{}"},
    }
)


def render(tables: Sequence[Table], form: Format) -> str:
    """Write the tables out, with a newline at the end."""
    writers: dict[Format, Callable[[Sequence[Table]], str]] = {
        "terminal": _terminal,
        "markdown": _markdown,
        "csv": _csv,
        "latex": _latex,
        "json": _json,
    }
    return writers[form](tables).rstrip("\n") + "\n"


def _stat(row: Row, column: Column) -> Stat:
    split, figure = column
    return row.cost[figure] if split == "cost" else row.stat("slice", split, figure)


def _cell(row: Row, column: Column) -> str:
    """0.886 ± 0.012; a cost without its deviation; a dash where there is no figure."""
    stat = _stat(row, column)
    if stat.mean is None:
        return "-"
    if column[0] == "cost":
        return f"{stat.mean:.1f}" if stat.mean < 10 else f"{stat.mean:,.0f}"
    return f"{stat.mean:.3f}" if stat.sd is None else f"{stat.mean:.3f} ± {stat.sd:.3f}"


def _terminal(tables: Sequence[Table]) -> str:
    """Two blocks a table, test and cost above, val and train below; 120 columns for names of up to 28 characters."""
    blocks = []
    for table in tables:
        parts = [table.title, _block(table.rows, TEST + COST), _block(table.rows, OTHERS)]
        notes = [textwrap.fill(f"note: {note}", WIDTH, subsequent_indent="  ") for note in table.notes]
        parts.append("\n".join([LEGEND, *notes]))
        blocks.append("\n\n".join(parts))
    return "\n\n\n".join(blocks)


def _block(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Aligned text: a line of splits, a line of figures, one line a row."""
    names = [row.name for row in rows]
    width = max(map(len, ["approach", *names]))
    lines = [[f"{'':{width + 4}}"], [f"{'approach':{width}}   n"], *([f"{row.name:{width}}{row.n:4}"] for row in rows)]
    splits = [split for split, _ in columns]
    for i, (split, figure) in enumerate(columns):
        cells = [
            split if split not in splits[:i] else "",
            LABELS[figure],
            *(_cell(row, (split, figure)) for row in rows),
        ]
        for line, cell in zip(lines, cells, strict=True):
            line.append(f"{cell:>11}" if split == "cost" else f"{cell:13}")
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _grid(table: Table) -> tuple[list[str], list[list[str]]]:
    """One wide table: header and rows of text."""
    columns = TEST + OTHERS + COST
    header = [LABELS[figure] if split == "cost" else f"{split} {LABELS[figure]}" for split, figure in columns]
    return ["approach", "n", *header], [[row.name, str(row.n), *(_cell(row, c) for c in columns)] for row in table.rows]


def _markdown(tables: Sequence[Table]) -> str:
    blocks = []
    for table in tables:
        header, rows = _grid(table)
        escaped = [[cell.replace("|", r"\|") for cell in cells] for cells in (header, *rows)]
        lines = ["| " + " | ".join(cells) + " |" for cells in escaped]
        lines.insert(1, "|---" + "|---:" * (len(header) - 1) + "|")
        notes = [f"Note: {note}." for note in table.notes]
        blocks.append("\n\n".join([f"**{table.title}**", "\n".join(lines), LEGEND.capitalize() + ".", *notes]))
    return "\n\n".join(blocks)


def _latex(tables: Sequence[Table]) -> str:
    r"""Booktabs tables; the preamble needs \usepackage{booktabs}."""
    blocks = []
    for table in tables:
        header, rows = _grid(table)
        lines = [f"% {line}" for line in (table.title, LEGEND, *table.notes)]
        lines += [r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}", r"\toprule"]
        for i, cells in enumerate((header, *rows)):
            lines += [" & ".join(cell.translate(LATEX) for cell in cells) + r" \\"] + [r"\midrule"] * (i == 0)
        blocks.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(blocks)


def _facts(table: Table, row: Row) -> dict[str, Any]:
    return {
        "approach": row.approach,
        "name": row.name,
        "n": row.n,
        "dataset": table.dataset,
        "manifest_sha256": table.manifest_sha256,
        "label_fraction": table.label_fraction,
        "axes": row.axes,
        "backbone": row.backbone,
    }


def _csv(tables: Sequence[Table]) -> str:
    """One line a row with every figure in full: test_accuracy_mean, test_accuracy_sd, ..., seconds_mean, ..."""
    columns = [(split, metric) for split in ("test", "val", "train") for metric in METRICS]
    columns += [("cost", figure) for figure in COSTS]
    text = io.StringIO()
    writer: Any = None
    for table in tables:
        for row in table.rows:
            record = _facts(table, row)
            for split, figure in columns:
                stat, name = _stat(row, (split, figure)), figure if split == "cost" else f"{split}_{figure}"
                record |= {f"{name}_mean": stat.mean, f"{name}_sd": stat.sd}
            if writer is None:
                writer = csv.DictWriter(text, list(record), lineterminator="\n")
                writer.writeheader()
            writer.writerow(record)
    return text.getvalue()


def _json(tables: Sequence[Table]) -> str:
    rows = []
    for table in tables:
        for row in table.rows:
            metrics = {
                split: {
                    name: {"mean": s.mean, "sd": s.sd, "low": s.low, "high": s.high, "n_runs": s.n_runs}
                    for name, s in row.metrics["slice"][split].items()
                }
                for split in reversed(SPLITS)
            }
            cost = {name: {"mean": stat.mean, "sd": stat.sd} for name, stat in row.cost.items()}
            rows.append(_facts(table, row) | metrics | {"cost": cost, "runs": [str(run.folder) for run in row.runs]})
    return json.dumps({"rows": rows, "pairs": []}, indent=2, ensure_ascii=False, allow_nan=False)
