"""What a score costs: seconds and images seen with pretraining, parameters, memory."""

from collections.abc import Iterable, Sequence

from vitlab.report.figures.points import Point, draw_costs
from vitlab.report.markup import Markup, join, section, table, tag
from vitlab.report.page.album import WIDTH, Album, each, nothing, panels
from vitlab.report.page.answer import stacked
from vitlab.report.pairs import METRIC
from vitlab.report.rows import Row, Stat
from vitlab.report.summary import Table
from vitlab.report.words import PER, ends

AXES = {"seconds": "device-seconds a run", "images_seen": "images seen a run"}


def cost_section(album: Album) -> Markup:
    """Show scores against what they cost, and which rows no other beats in both."""
    return section(
        "cost", "Cost against score", "What pretraining adds is paid for: its seconds and its images count in full in "
        "every run that uses it.",
        each(album.tables, lambda found: _cost(found, album)),
    )  # fmt: skip


def on_front(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Say of each row whether it is on the Pareto front: no other costs no more, scores no less and differs in one."""
    pairs = list(zip(costs, scores, strict=True))
    return [
        not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in pairs) for cost, score in pairs
    ]


def _cost(found: Table, album: Album) -> Iterable[Markup]:
    fronts: dict[str, set[str]] = {}
    pictures = []
    for kind, label in AXES.items():
        known = [
            (row, row.cost[kind].mean, stat)
            for row in found.rows
            if (stat := row.stat(found.level, "test", METRIC)).mean is not None and (row.cost[kind].mean or 0) > 0
        ]
        costs, scores = [cost or 0.0 for _, cost, _ in known], [stat.mean or 0.0 for _, _, stat in known]
        front = on_front(costs, scores)
        fronts[kind] = {row.name for (row, _, _), on in zip(known, front, strict=True) if on}
        if known:
            points = [
                Point(row.name, cost, score, stat.low, stat.high, album.palette.style(row), on)
                for (row, _, stat), cost, score, on in zip(known, costs, scores, front, strict=True)
            ]
            pictures.append(_picture(kind, label, points, found, album))
    if not pictures:
        yield nothing("No run says what it cost.")
    else:
        yield panels(pictures, "Full marks are on the Pareto front (the line): no other is both cheaper and better. "
                     "Bars: 95 % intervals of the score. The axis of cost is logarithmic.")  # fmt: skip
    yield table(
        ("approach", f"balanced accuracy {PER[found.level]}", "seconds", "images seen", "parameters", "FLOPs an image",
         "peak memory", "images/s", "on the front"),
        [[row.name, stacked(row.stat(found.level, "test", METRIC)), *_cells(row), _told(row.name, fronts)]
         for row in found.rows],
        caption="Mean per run, below it what pretraining has of it; images/s is of training, peak memory that of the "
        "device (of the process on a CPU)",
    )  # fmt: skip


def _picture(kind: str, label: str, points: Sequence[Point], found: Table, album: Album) -> Markup:
    told = "; ".join(
        f"{p.name} {p.y:.3f}{ends(p.low, p.high)} for {p.x:,.0f}{', on the Pareto front' if p.front else ''}"
        for p in points
    )
    return album.add(
        f"score against {kind.replace('_', ' ')}",
        lambda axes: draw_costs(axes, points, x_label=f"{label} (pretraining included)",
                                y_label=f"test balanced accuracy {PER[found.level]}"),
        words=f"Test balanced accuracy {PER[found.level]} against {label}: {told}.",
        head=("approach", kind, "score", "low", "high", "on_front"),
        rows=[(p.name, p.x, p.y, p.low, p.high, p.front) for p in points],
        size=(WIDTH, 3.6),
    )  # fmt: skip


def _cells(row: Row) -> list[str]:
    cells: list[str] = [_with_pretraining(row, name) for name in AXES]
    cells += [_large(row.cost[name]) for name in ("parameters", "flops_per_image")]
    return [*cells, _memory(row.cost["peak_memory_bytes"]), _large(row.cost["images_per_second"])]


def _with_pretraining(row: Row, name: str) -> Markup:
    before = row.cost[f"pretrain_{name}"]
    return join([_large(row.cost[name]), tag("small", f"{_large(before)} pretraining") if before.mean else ""])


def _large(stat: Stat) -> str:
    if stat.mean is None:
        return "-"
    for size, unit in ((1e9, " G"), (1e6, " M")):
        if stat.mean >= size:
            return f"{stat.mean / size:.2f}{unit}"
    return f"{stat.mean:,.0f}" if stat.mean >= 10 or stat.mean == 0 else f"{stat.mean:.1f}"


def _memory(stat: Stat) -> str:
    return "-" if stat.mean is None else f"{stat.mean / 2**30:.2f} GiB"


def _told(name: str, fronts: dict[str, set[str]]) -> str:
    on = [kind.replace("_", " ") for kind, names in fronts.items() if name in names]
    return "no" if not on else "both" if len(on) == len(AXES) else f"{on[0]} only"
