"""Rows of a table: the runs of one approach with one backbone and one setting, every figure with its interval."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.bootstrap import Estimate, scores, summary
from vitlab.evaluate.metrics import METRICS, RANGE
from vitlab.evaluate.predictions import COLUMNS, SPLITS, Predictions, read_predictions
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level, Scored, shared_patients, splits_of
from vitlab.report.runs import Run

PREDICTIONS = "predictions.csv"
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
TOLERANCE = 1e-3  # predictions that were rounded to three digits give the figures of results.json to about as many
CUT_BY = re.compile(r"(^|,)(data\.)?group_by=\w+")  # of the axes
GapSplit = Literal["train", "val"]
GAP_SPLITS: tuple[GapSplit, ...] = ("train", "val")
Wanted = Mapping[Level, Mapping[str, Sequence[str]]]  # level -> split -> metrics
EVERY: Wanted = {level: dict.fromkeys(SPLITS, METRICS) for level in ("slice", "patient")}
# What tables of text show. The rest would take most of the time: the ranks of AUROC above all.
SHOWN: Wanted = {
    "slice": {
        "train": ["accuracy"],
        "val": ["accuracy"],
        "test": ["accuracy", "balanced_accuracy", "auroc", "loss"],
    },
    "patient": {"test": ["accuracy", "balanced_accuracy", "auroc"]},
}


@dataclass(frozen=True)
class Stat:
    """A figure over the runs that have it.

    Args:
        mean: None where no run has it.
        sd: sample deviation over runs (n - 1), None below two.
        n_runs: runs that have it.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
        n_patients: different patients, an image without one counted as one; None where it is not of predictions.csv.
        n_images: different images.
    """

    mean: float | None
    sd: float | None
    n_runs: int
    low: float | None = None
    high: float | None = None
    n_patients: int | None = None
    n_images: int | None = None

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

    @classmethod
    def of_estimate(cls, found: Estimate) -> "Stat":
        """What an estimate says, without its draws."""
        n_runs = 0 if found.mean is None else found.n_runs
        return cls(found.mean, found.sd, n_runs, found.low, found.high, found.n_patients, found.n_images)


MISSING = Stat(None, None, 0)
Figures = Mapping[str, Mapping[str, Stat]]  # split -> metric


@dataclass(frozen=True, eq=False)
class Row:
    """One approach with one backbone and one setting of the axes: its n runs (seeds, folds), together.

    Args:
        approach: as in results.json.
        name: to show; no other row of the table has it.
        backbone: as in results.json.
        axes: the settings that tell this row from others, such as "model.optim.lr=0.001".
        runs: by fold and seed.
        cost: mean per run, see `COSTS`.
        metrics: level -> split -> metric. "patient" is there where patients with several images are known.
        gaps: level -> "train" or "val" -> metric: that split minus test. Empty without predictions.
        scored: split -> the runs' predictions, in the order of `runs`; empty without predictions, and of test alone
            where not `EVERY` figure was wanted: what text is made of, and light enough to be handed on.
        test: level -> metric -> the estimate on test with its draws; empty without predictions.
        shared: most patients of a run's test who are in its train or val too; None where no patient is known.
        without: why there are no intervals; "" where there are.
    """

    approach: str
    name: str
    backbone: str
    axes: str
    runs: Sequence[Run]
    cost: Mapping[str, Stat]
    metrics: Mapping[Level, Figures]
    gaps: Mapping[Level, Figures] = field(default_factory=dict)
    scored: Mapping[str, Sequence[Scored]] = field(default_factory=dict, repr=False)
    test: Mapping[Level, Mapping[str, Estimate]] = field(default_factory=dict, repr=False)
    shared: int | None = None
    without: str = ""

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.runs)

    @property
    def by_image(self) -> bool:
        """Whether the splits were cut by image, so that a patient may stand on both sides."""
        return any(run.group_by == "image" for run in self.runs)

    def leaks_beside(self, other: "Row") -> bool:
        """Say whether this row is of a split by image, and the other of one by patient with the same settings."""
        mine, others = (CUT_BY.sub("", row.axes).strip(",") for row in (self, other))
        same = (self.approach, self.backbone, mine) == (other.approach, other.backbone, others)
        return same and self.by_image and not other.by_image

    def stat(self, level: Level, split: str, metric: str) -> Stat:
        """A figure; one without a mean where there is none."""
        return self.metrics.get(level, {}).get(split, {}).get(metric, MISSING)

    def gap(self, level: Level, split: GapSplit, metric: str) -> Stat:
        """How far the score on train or val is above that on test; without a mean where that is not known."""
        return self.gaps.get(level, {}).get(split, {}).get(metric, MISSING)


def make_row(
    approach: str,
    name: str,
    backbone: str,
    axes: str,
    runs: Sequence[Run],
    resampling: Resampling | None,
    wanted: Wanted = EVERY,
) -> Row:
    """Score the predictions of some runs; where that cannot be done, take the figures of results.json.

    Args:
        approach: as all but the last, see `Row`.
        name: to show.
        backbone: of the runs.
        axes: of the runs.
        runs: in order.
        resampling: shared by all rows that are compared; None for no intervals.
        wanted: what gets an interval.

    Raises:
        ValueError: when the runs do not have the same classes.
    """
    cost = {c: Stat.of(run.cost[c] for run in runs) for c in COSTS}
    told = {s: {m: Stat.of(run.metrics[s].get(m) for run in runs) for m in METRICS} for s in SPLITS}
    row = Row(approach, name, backbone, axes, runs, cost, {"slice": told})
    if resampling is None:
        return row
    scored, without = read_scored(runs)
    estimates, gaps = _estimates(scored, resampling, "slice", wanted)
    without = without or next(_disagreements(runs, estimates), "")
    if without:
        return Row(approach, name, backbone, axes, runs, cost, {"slice": told}, without=without)
    found = {"slice": (estimates, gaps)}
    several = any(some["accuracy"].n_patients < some["accuracy"].n_images for some in estimates.values())
    several &= not runs[0].shuffle_labels  # where each image has a label of its own, a patient has none
    if several:
        found["patient"] = _estimates(scored, resampling, "patient", wanted)
    metrics: dict[Level, Figures] = {}
    levels: tuple[Level, ...] = ("slice", "patient") if several else ("slice",)
    for level in levels:
        figures = {split: _stats(some) for split, some in found[level][0].items()}
        metrics[level] = {s: (told[s] if level == "slice" else {}) | figures.get(s, {}) for s in SPLITS}
    return Row(
        approach=approach,
        name=name,
        backbone=backbone,
        axes=axes,
        runs=runs,
        cost=cost,
        metrics=metrics,
        gaps={level: {split: _stats(some) for split, some in found[level][1].items()} for level in levels},
        scored=scored if wanted == EVERY else {split: own for split, own in scored.items() if split == "test"},
        test={level: found[level][0]["test"] for level in levels if "test" in found[level][0]},
        shared=shared_patients(scored),
    )


def read_scored(runs: Sequence[Run]) -> tuple[dict[str, list[Scored]], str]:
    """Read the predictions of some runs.

    Returns:
        Split -> the labelled predictions of all runs, in their order, for the splits that all of them have; and why
        there are none, or "".

    Raises:
        ValueError: when the runs do not have the same classes.
    """
    found: dict[str, list[Scored]] = {split: [] for split in SPLITS}
    classes: list[str] = []
    columns: Predictions | None = None
    parts: dict[str, tuple[NDArray[np.bool_], Predictions]] = {}
    for run in runs:
        try:
            table = read_predictions(run.folder / PREDICTIONS)
        except FileNotFoundError:
            return {}, f"{run.folder} has no {PREDICTIONS}"
        except ValueError as error:
            return {}, str(error)
        classes = classes or table.classes
        check_classes(runs[0].folder, classes, run.folder, table.classes)
        if columns is None or any(getattr(table, name) is not getattr(columns, name) for name in COLUMNS):
            columns, parts = table, _parts(table)  # files of the same images share them
        for split, (rows, part) in parts.items():
            found[split].append(Scored(run.seed, run.fold, part.with_probs(table.probs[rows])))
    return {split: own for split, own in found.items() if len(own) == len(runs)}, ""


def _parts(table: Predictions) -> dict[str, tuple[NDArray[np.bool_], Predictions]]:
    """Return which rows are of each split and labelled, (N,), and their predictions; a split without is left out."""
    labelled = table.label != ""
    rows = {split: (table.split == split) & labelled for split in SPLITS}
    return {split: (own, table.where(own)) for split, own in rows.items() if own.any()}


def check_classes(folder: object, classes: list[str], other: object, others: list[str]) -> None:
    """Raise ValueError where two runs do not have the same classes in the same order."""
    if classes != others:
        raise ValueError(
            f"{folder} has the classes {', '.join(classes)} and {other} has {', '.join(others)}: they cannot be "
            "compared; name only the folders to compare"
        )


Estimates = dict[str, dict[str, Estimate]]  # split -> metric


def _estimates(
    scored: Mapping[str, Sequence[Scored]], resampling: Resampling, level: Level, wanted: Wanted
) -> tuple[Estimates, Estimates]:
    """Estimate metrics of splits, and the gaps between them, from one scoring of each split."""
    found: Estimates = {}
    gaps: Estimates = {}
    parts = {}
    for split, runs in scored.items():
        if split not in wanted[level]:
            continue
        splits, names = splits_of(runs, level), wanted[level][split]
        values, draws = scores(runs, splits, resampling, names)
        parts[split] = runs, splits, values, draws
        found[split] = {
            name: summary(runs, splits, resampling, values[name], draws[name], limits=RANGE.get(name, (0.0, 1.0)))
            for name in names
        }
    for split in GAP_SPLITS:
        if split in parts and "test" in parts:
            runs, splits, values, draws = parts["test"]
            _, _, other_values, other_draws = parts[split]
            gaps[split] = {}
            for name in [name for name in values if name in other_values]:
                low, high = RANGE.get(name, (0.0, 1.0))
                difference = other_values[name] - values[name], other_draws[name] - draws[name]
                gaps[split][name] = summary(runs, splits, resampling, *difference, limits=(low - high, high - low))
    return found, gaps


def _stats(estimates: Mapping[str, Estimate]) -> dict[str, Stat]:
    return {name: Stat.of_estimate(found) for name, found in estimates.items()}


def _disagreements(runs: Sequence[Run], estimates: Estimates) -> Iterator[str]:
    """Say where predictions.csv and results.json tell different stories."""
    for split, found in estimates.items():
        for name in found:
            for run, value in zip(runs, found[name].values.tolist(), strict=True):
                told = run.metrics[split].get(name)
                if told is not None and not abs(told - value) <= TOLERANCE:
                    yield (
                        f"in {run.folder}, {PREDICTIONS} gives a {split} {name} of {value:.4g} and results.json "
                        f"of {told:.4g}"
                    )
