"""What `measured` wrote, read back as runs that the statistics of `evaluate` take. Imports no torch.

A score of an image (pointing, energy, ...) is no metric of predictions, but a mean over patients of figures in 0..1,
and so is the Brier score. Each patient's mean score s is therefore carried as a made prediction whose Brier score is s:
a probability of 1 - sqrt(s / 2) for its class and the rest for another, 2 * sqrt(s / 2)^2 = s. Intervals, paired
tests and Holm's correction are then those of every other figure, over the same patients and runs.

Shapes: N images, K classes.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.bootstrap import Estimate, estimate
from vitlab.evaluate.holm import enough_exchanges, holm
from vitlab.evaluate.paired import Pair, compare_pairs
from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored

CARRIER = "brier"
OTHER = "\0other"  # the second class where there is one only
Line = dict[str, str]


def read_lines(path: Path) -> list[Line]:
    """Read one of the tables.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: run `explain` on the study first")
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def by_run(lines: Iterable[Line], *columns: str) -> dict[tuple[str, ...], dict[tuple[int, int | None], list[Line]]]:
    """Group lines: (approach, and what the columns hold) -> (seed, fold) -> lines."""
    found: dict[tuple[str, ...], dict[tuple[int, int | None], list[Line]]] = {}
    for line in lines:
        run = (int(line["seed"]), int(line["fold"]) if line["fold"] else None)
        found.setdefault((line["approach"], *(line[name] for name in columns)), {}).setdefault(run, []).append(line)
    return found


def scored_images(runs: Mapping[tuple[int, int | None], Sequence[Line]], score: str) -> list[Scored]:
    """Return runs whose `CARRIER` is the mean over patients of a score; empty where an image of none has it.

    Args:
        runs: (seed, fold) -> lines of saliency.csv, a line an image.
        score: Its column.
    """
    labels = sorted({line["label"] for lines in runs.values() for line in lines})
    classes = [*labels, OTHER][: max(2, len(labels))]
    found = []
    for (seed, fold), lines in runs.items():
        units: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for line in lines:
            if line[score]:
                key = (line["patient_id"] or f"\0{line['index']}", line["label"])
                units.setdefault(key, []).append((int(line["index"]), float(line[score])))
        if not units:
            continue
        means = np.array([np.mean([value for _, value in images]) for images in units.values()])
        away = np.sqrt(means / 2)
        target = np.array([classes.index(label) for _, label in units])
        probs = np.zeros((len(units), len(classes)))
        probs[np.arange(len(units)), target] = 1 - away
        probs[np.arange(len(units)), (target + 1) % len(classes)] = away
        patients = ["" if name.startswith("\0") else name for name, _ in units]
        found.append(_run(seed, fold, classes, probs, [min(images)[0] for images in units.values()], patients,
                          [label for _, label in units]))  # fmt: skip
    return found


def predicted_images(runs: Mapping[tuple[int, int | None], Sequence[Line]], classes: Sequence[str]) -> list[Scored]:
    """Return runs with the class that each line says was predicted, as certain.

    Args:
        runs: (seed, fold) -> lines of regions.csv or probe.csv, a line an image.
        classes: All that are there, labels and predictions.
    """
    place = {name: at for at, name in enumerate(classes)}
    return [
        _run(seed, fold, classes, np.eye(len(classes))[[place[line["predicted"]] for line in lines]],
             [int(line["index"]) for line in lines], [line["patient_id"] for line in lines],
             [line["label"] for line in lines])
        for (seed, fold), lines in runs.items()
    ]  # fmt: skip


def _run(
    seed: int, fold: int | None, classes: Sequence[str], probs: NDArray[Any], index: list[int], patients: list[str],
    labels: list[str],
) -> Scored:  # fmt: skip
    text = {name: np.array(values, object) for name, values in (("patient_id", patients), ("label", labels))}
    text |= {name: np.full(len(index), value, object) for name, value in (("path", ""), ("split", "test"))}
    return Scored(seed, fold, Predictions(classes=list(classes), probs=probs, index=np.array(index, np.int64), **text))


def mean_score(runs: Sequence[Scored], resampling: Resampling) -> Estimate:
    """Estimate the mean over patients of what `scored_images` carries."""
    found = estimate(runs, resampling, metrics=[CARRIER])[CARRIER]
    return replace(found, high=None if found.high is None else min(found.high, 1.0))


def difference(
    a: tuple[str, Sequence[Scored]],
    b: tuple[str, Sequence[Scored]],
    resampling: Resampling,
    *,
    metric: str = CARRIER,
    name: str = "",
    tests: int = 1,
) -> Pair | None:
    """Compare two by name on the runs (seed, fold) that both have, as a minus b; None where they have none in common.

    Args:
        a: What it is called, and its runs.
        b: As a, of another name.
        resampling: Shared by all that are compared.
        metric: Of predictions, or `CARRIER`.
        name: What the pair says it is of; the metric without it.
        tests: How many of these Holm's correction will be over.
    """
    shared = {(run.seed, run.fold) for run in a[1]} & {(run.seed, run.fold) for run in b[1]}
    if not shared:
        return None
    runs = {key: [run for run in own if (run.seed, run.fold) in shared] for key, own in (a, b)}
    known = {key: estimate(own, resampling, metrics=[metric]) for key, own in runs.items()}
    exchanges = enough_exchanges(resampling.resamples, tests)
    (pair,) = compare_pairs(runs, known, resampling, metrics=[metric], permutations=exchanges)
    if metric == CARRIER and pair.p_better is not None:
        pair = replace(pair, p_better=1 - pair.p_better)  # of a Brier score less is better, of these more
    return replace(pair, metric=name or metric)


def corrected(pairs: Sequence[Pair], family: Callable[[Pair], Any] = lambda pair: pair.metric) -> list[Pair]:
    """Return the pairs with Holm's correction over those of one family, in the order given."""
    found = list(pairs)
    for key in {family(pair) for pair in pairs}:
        own = [at for at, pair in enumerate(pairs) if family(pair) == key and pair.p_permutation is not None]
        for at, p in zip(own, holm([pairs[at].p_permutation or 0.0 for at in own]).tolist(), strict=True):
            found[at] = replace(pairs[at], p_holm=p)
    return found
