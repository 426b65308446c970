"""What a reader has to know before reading a table's figures across or down."""

from collections.abc import Iterable, Sequence

import numpy as np

from vitlab.evaluate import bootstrap
from vitlab.evaluate.metrics import METRICS
from vitlab.evaluate.predictions import SPLITS, Predictions
from vitlab.report.rows import Row


def table_notes(rows: Sequence[Row]) -> list[str]:
    """Say what the rows of a table do not share, and what their intervals do not hold."""
    return [*_of_runs(rows), *_of_rows(rows), *_of_intervals(rows)]


def _of_runs(rows: Sequence[Row]) -> Iterable[str]:
    which = {row.name: [(run.seed, run.fold) for run in row.runs] for row in rows}
    if len({tuple(keys) for keys in which.values()}) > 1:
        yield "unequal runs: " + "; ".join(f"{name} has {_listed(keys)}" for name, keys in which.items())
    folds = {run.fold for row in rows for run in row.runs if run.fold is not None}
    of = max((run.n_folds or 0 for row in rows for run in row.runs), default=0)
    if folds and len(folds) < of:
        yield f"fold {_spans(folds)} of {of} only: no image of the others was tested"


def _of_rows(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        folds = [run.fold for run in row.runs]
        if len({fold is None for fold in folds}) > 1:
            yield f"{row.name} averages over runs with and without folds, which test on different images"
        elif len({folds.count(fold) for fold in folds}) > 1:
            yield f"{row.name} has more seeds of some folds, which count for more in its mean"
        tested: dict[int | None, set[str]] = {}
        for run in row.runs:
            tested.setdefault(run.fold, set()).add(run.test_sha256)
        if any(len(images) > 1 for images in tested.values()):
            yield f"{row.name} averages over seeds that were tested on different images"
        epochs = sorted({run.epochs for run in row.runs if run.epochs is not None})
        if len(epochs) > 1:
            yield f"{row.name} averages over runs of different epochs: {', '.join(map(str, epochs))}"
        short = [f"{s} {m}" for s in SPLITS for m in METRICS if 0 < row.stat("slice", s, m).n_runs < row.n]
        if short:
            yield f"{row.name}: not every run has {', '.join(short)}; the others are averaged"
    cut = [row.name for row in rows if row.by_image]
    if cut:
        yield f"split by image, so that slices of a patient may stand in training and in test: {', '.join(cut)}"
    if leaking := [row for row in rows if row.shared and not row.by_image]:
        most = max(row.shared or 0 for row in leaking)
        yield (f"the split leaks: up to {most} patients of a run's test are in its train or val too, so that test says "
               f"nothing of new patients: {', '.join(row.name for row in leaking)}")  # fmt: skip
    for row in rows:
        said = [_only_class(run.predictions) for run in row.scored.get("test", ())]
        if same := [name for name in said if name]:
            what = repr(same[0]) if len(set(same)) == 1 else "of one class"
            of = f"in {len(same)} of {row.n} runs" if row.n > 1 else "in its run"
            yield f"{row.name} calls every test image {what} {of}: it has learned no difference"
    if any(run.shuffle_labels for row in rows for run in row.runs):
        yield ("labels were shuffled in each split by itself: a score above chance says that test labels reach the "
               "training; copies and patients on two sides do not show here, but in an audit")  # fmt: skip
    devices = sorted({run.device for row in rows for run in row.runs if run.device})
    if len(devices) > 1:
        yield f"seconds were taken on different devices: {', '.join(devices)}"


def _only_class(test: Predictions) -> str:
    """Return the class that all images are said to be of, "" where there are several, or one alone is to be found."""
    said = np.unique(test.probs.argmax(1))
    return test.classes[said[0]] if len(said) == 1 and len(set(test.label.tolist())) > 1 else ""


def _of_intervals(rows: Sequence[Row]) -> Iterable[str]:
    """What the intervals say of themselves, and why there are none: once for all rows of which it is true."""
    without = [row for row in rows if row.without]
    if without:
        of = "" if len(without) == len(rows) else f" for {', '.join(row.name for row in without)}"
        yield f"no intervals{of}, only the figures of results.json: {without[0].without}"
    known = [row for row in rows if "test" in row.scored]
    said: dict[str, list[str]] = {}
    for row in known:
        for note in bootstrap.notes(row.scored["test"]):
            said.setdefault(note, []).append(row.name)
    for note, own in said.items():
        yield note if len(own) == len(rows) else f"{', '.join(own)}: {note}"


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
