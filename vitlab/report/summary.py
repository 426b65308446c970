"""Runs in, tables of one row per approach out; never a mean across what must not be averaged."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vitlab.evaluate.metrics import METRICS
from vitlab.evaluate.predictions import SPLITS
from vitlab.report.runs import Run

NAMES = {"cnn": "CNN", "cnn_simclr": "CNN + SimCLR", "vit": "ViT", "vit_mae": "ViT + MAE"}  # and the order of the rows
COSTS = (
    "seconds",
    "images_seen",
    "pretrain_seconds",
    "pretrain_images_seen",
    "parameters",
    "flops_per_image",
    "peak_memory_bytes",
    "images_per_second",
)


@dataclass(frozen=True)
class Stat:
    """Mean and deviation over the runs that have the figure.

    Args:
        mean: None where no run has it.
        sd: sample deviation (n - 1), None below two runs.
        n: runs that have it.
        low: lower end of the interval; None, as there is none yet.
        high: upper end of the interval.
    """

    mean: float | None
    sd: float | None
    n: int
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Stat":
        """Mean and sample deviation of the values that are there."""
        known = [value for value in values if value is not None]
        n = len(known)
        if not n:
            return cls(None, None, 0)
        mean = math.fsum(known) / n
        variance = math.fsum((value - mean) ** 2 for value in known) / (n - 1) if n > 1 else None
        return cls(mean, None if variance is None else math.sqrt(variance), n)


@dataclass(frozen=True)
class Row:
    """One approach with one backbone and one setting of the axes: its n runs (seeds, folds), together."""

    approach: str
    name: str
    backbone: str
    axes: str
    runs: Sequence[Run]
    metrics: dict[str, dict[str, Stat]]  # split -> metric
    cost: dict[str, Stat]

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.runs)


@dataclass(frozen=True)
class Table:
    """Rows that may be compared: one study, the same images and the same share of their labels."""

    dataset: str
    study: str
    manifest_sha256: str
    label_fraction: float
    rows: list[Row]
    notes: list[str]

    @property
    def title(self) -> str:
        """One line that tells this table from the others."""
        labels = "" if self.label_fraction == 1 else f", {100 * self.label_fraction:g} % of the training labels"
        study = "" if self.study == self.dataset else f"{self.study}: "
        return f"{study}{self.dataset or 'unnamed data'} (manifest {self.manifest_sha256[:8]}){labels}"


def build_tables(runs: Iterable[Run]) -> list[Table]:
    """Sort runs into tables and rows.

    Runs of different studies, manifests, data sets or label fractions go into different tables, and runs of different
    backbones or axes into different rows. Pretraining runs are no rows: their cost is in the rows that use them.

    Raises:
        ValueError: when a row would have the same seed and fold twice.
    """
    groups: dict[tuple[str, str, str, float], list[Run]] = {}
    for run in runs:
        if run.task != "pretrain":
            groups.setdefault((run.dataset, run.study, run.manifest_sha256, run.label_fraction), []).append(run)
    order = sorted(groups, key=lambda key: (*key[:3], -key[3]))
    return [_table(*key, groups[key]) for key in order]


def _table(dataset: str, study: str, manifest_sha256: str, label_fraction: float, runs: list[Run]) -> Table:
    members: dict[tuple[str, str, str], dict[tuple[int, int | None], Run]] = {}
    for run in runs:
        row = members.setdefault((run.approach, run.axes, run.backbone), {})
        other = row.setdefault((run.seed, run.fold), run)
        if other is not run:
            fold = "" if run.fold is None else f", fold {run.fold}"
            raise ValueError(
                f"{run.approach} has seed {run.seed}{fold} twice on {dataset}: {other.folder} and {run.folder}; "
                "remove one or name only the folders to compare"
            )
    rank = {approach: i for i, approach in enumerate(NAMES)}
    rows = []
    for approach, axes, backbone in sorted(members, key=lambda key: (rank.get(key[0], len(rank)), key)):
        own = [
            run for _, run in sorted(members[approach, axes, backbone].items(), key=lambda item: _run_order(item[0]))
        ]
        name = NAMES.get(approach, approach) + (f" {axes}" if axes else "")
        if sum(key[:2] == (approach, axes) for key in members) > 1:
            name += f" ({backbone or 'unnamed backbone'})"
        metrics = {s: {m: Stat.of(run.metrics[s].get(m) for run in own) for m in METRICS} for s in SPLITS}
        cost = {c: Stat.of(run.cost[c] for run in own) for c in COSTS}
        rows.append(Row(approach, name, backbone, axes, own, metrics, cost))
    return Table(dataset, study, manifest_sha256, label_fraction, rows, list(_notes(rows)))


def _run_order(key: tuple[int, int | None]) -> tuple[int, int]:
    seed, fold = key
    return (-1 if fold is None else fold, seed)


def _notes(rows: list[Row]) -> Iterable[str]:
    """What a reader has to know before reading the figures across or down."""
    which = {row.name: [(run.seed, run.fold) for run in row.runs] for row in rows}
    if len({tuple(keys) for keys in which.values()}) > 1:
        yield "unequal runs: " + "; ".join(f"{name} has {_listed(keys)}" for name, keys in which.items())
    for row in rows:
        if len({run.fold is None for run in row.runs}) > 1:
            yield f"{row.name} averages over runs with and without folds, which test on different images"
        epochs = sorted({run.epochs for run in row.runs if run.epochs is not None})
        if len(epochs) > 1:
            yield f"{row.name} averages over runs of different epochs: {', '.join(map(str, epochs))}"
        short = [f"{s} {m}" for s in SPLITS for m in METRICS if 0 < row.metrics[s][m].n < row.n]
        if short:
            yield f"{row.name}: not every run has {', '.join(short)}; the others are averaged"
    devices = sorted({run.device for row in rows for run in row.runs if run.device})
    if len(devices) > 1:
        yield f"seconds were taken on different devices: {', '.join(devices)}"


def _listed(keys: list[tuple[int, int | None]]) -> str:
    """The runs of a row in words, such as "fold 1-4 seed 0-2 and fold 5 seed 0"."""
    seeds: dict[int | None, list[int]] = {}
    for seed, fold in keys:
        seeds.setdefault(fold, []).append(seed)
    folds: dict[str, list[int]] = {}
    for fold, own in seeds.items():
        folds.setdefault(_spans(own), []).extend([] if fold is None else [fold])
    return " and ".join((f"fold {_spans(own)} " if own else "") + f"seed {text}" for text, own in folds.items())


def _spans(numbers: Iterable[int]) -> str:
    """Numbers as "0-2, 5"."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
