"""What of its score an approach keeps when images get worse, from the robustness.csv of its runs.

Shapes: C corruptions, S severities with 0 (as they are) the first, R runs, B resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.bootstrap import Estimate, summary
from vitlab.evaluate.corrupted import Metric, Robustness
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored, Split, components


@dataclass(frozen=True, eq=False)
class Measured:
    """A run of an approach and its robustness."""

    seed: int
    fold: int | None
    robustness: Robustness


def estimate_robustness(
    runs: Sequence[Measured],
    resampling: Resampling,
    *,
    metric: Metric = "balanced_accuracy",
    reference: Sequence[Measured] | None = None,
) -> dict[str, Estimate]:
    """Estimate what an approach keeps, with 95 % intervals over patients and runs (see `bootstrap`).

    Args:
        runs: Of one approach, all seeds and folds.
        resampling: Shared by all approaches that are compared.
        metric: Which score.
        reference: Runs of the approach that errors are measured by, on the same images.

    Returns:
        `clean`, the score on images as they are; `corrupted`, the mean over corruptions and severities; `relative`, the
        mean over corruptions of (score under corruption - chance) / (clean - chance), where chance is 1 / classes: 1
        keeps all, 0 is down to chance, and None where the clean score may itself be chance; each corruption's own
        score, mean over severities, by its name. With a reference `mce`, the mean over corruptions of the error summed
        over severities, divided by the reference's (Hendrycks & Dietterich 2019: 1 is as the reference, less is
        better); its interval takes the reference's runs as they are. Ratios are those of means over runs.

    Raises:
        ValueError: There are no runs, they were not corrupted alike, or the reference was tested on other images.
    """
    names = _same_corruptions([*runs, *(reference or ())])
    splits = _splits(runs)
    values, draws = _scores(runs, splits, resampling, metric)
    chance = 1 / len({name for run in runs for name in run.robustness.label.tolist()})
    found = {"clean": (values[:, 0, 0], draws[..., 0, 0])}
    found["corrupted"] = (values[..., 1:].mean((-1, -2)), draws[..., 1:].mean((-1, -2)))
    left, above = ([table - chance for table in found[name]] for name in ("corrupted", "clean"))
    found["relative"] = _ratio(left, above)
    for c, name in enumerate(names):
        found[name] = (values[:, c, 1:].mean(-1), draws[:, :, c, 1:].mean(-1))
    if reference is not None:
        by_fold = _reference(runs, reference, resampling, metric)
        errors = [1 - table[..., 1:].mean(-1) for table in (values, draws)]
        each, drawn = _ratio(errors, by_fold)
        found["mce"] = (each.mean(-1), drawn.mean(-1))
    images = sum({int(i): int(n) for run in runs for i, n in _sizes(run)}.values())
    limits = {"relative": (-np.inf, np.inf), "mce": (0.0, np.inf)}
    plain = [Scored(run.seed, run.fold, None) for run in runs]  # type: ignore[arg-type]  # summary looks at no image
    figures = {
        name: replace(
            summary(plain, splits, resampling, v, d, limits=limits.get(name, (0.0, 1.0))), n_images=images
        )
        for name, (v, d) in found.items()
    }
    clean, relative = figures["clean"], figures["relative"]
    if clean.mean is None or (clean.mean if clean.low is None else clean.low) <= chance:
        figures["relative"] = replace(relative, mean=None, sd=None, low=None, high=None)
    return figures


def _ratio(
    top: Sequence[NDArray[np.float64]], bottom: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divide means over runs, to first order in runs and resamples (Cochran 1977, 6.3): no draw divides by next to 0.

    Args:
        top: (R, ...) of the runs and (R, B, ...) with other patients.
        bottom: As top.

    Returns:
        As top: the runs' mean is the ratio of the means. nan where that of bottom is not above 0.
    """
    mean = bottom[0].mean(0)
    mean = np.where(mean > 1e-12, mean, np.nan)
    ratio = top[0].mean(0) / mean
    each, drawn = (ratio + (t - ratio * b) / mean for t, b in zip(top, bottom, strict=True))
    return each, drawn


def _reference(
    runs: Sequence[Measured], reference: Sequence[Measured], resampling: Resampling, metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the reference's mean error on each run's images: (R, C), and (R, B, C) with other patients."""
    splits = _splits(reference)
    values, draws = (1 - table[..., 1:].mean(-1) for table in _scores(reference, splits, resampling, metric))
    own: list[list[int]] = []
    for split in _splits(runs):
        same = next((other.runs for other in splits if other.same_as(split)), None)
        if same is None:
            raise ValueError("the reference was not tested on the same images: give both the same folds")
        own += [same for _ in split.runs]
    places = [run for split in _splits(runs) for run in split.runs]
    order = np.argsort(places)
    return tuple(np.stack([table[own[i]].mean(0) for i in order]) for table in (values, draws))  # type: ignore[return-value]


def _scores(
    runs: Sequence[Measured], splits: Sequence[Split], resampling: Resampling, metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score every run, and every resample of its patients: (R, C, S) and (R, B, C, S)."""
    values = np.stack([run.robustness.score(metric) for run in runs])
    draws = np.empty((len(runs), resampling.resamples, *values.shape[1:]))
    alone = []
    for together in components(splits):
        for split, weights in zip(together, resampling.patients(together), strict=True):
            alone += [split] if weights is None else []
            for run in split.runs:
                if weights is None:
                    draws[run] = values[run]
                else:
                    draws[run] = runs[run].robustness.score(metric, weights[:, split.patient])
    if len(alone) > 1:
        resampling.folds(alone, values, draws)
    return values, draws


def _splits(runs: Sequence[Measured]) -> list[Split]:
    """Sort runs by the images that they were tested on; a split's units are those of the counts."""
    classes = sorted({name for run in runs for name in run.robustness.label.tolist()})
    found: dict[tuple[int | None, bytes], Split] = {}
    for position, run in enumerate(runs):
        own = run.robustness
        targets = np.array([classes.index(name) for name in own.label.tolist()], np.int64)
        key = (run.fold, own.index.tobytes() + own.images.tobytes() + "\n".join(own.label).encode(errors="replace"))
        if key not in found:
            ids = [name or f"\0{row}" for name, row in zip(own.patient_id.tolist(), own.index.tolist(), strict=True)]
            patients = np.array(sorted(set(ids)), object)
            place = {name: i for i, name in enumerate(patients)}
            patient = np.array([place[name] for name in ids], np.int64)
            counts = np.zeros((len(patients), len(classes)))
            np.add.at(counts, (patient, targets), own.images)
            unit = np.arange(len(ids))
            found[key] = Split([], patients, counts.argmax(1), patient, targets, [], own.index, unit)
        found[key].runs.append(position)
    return list(found.values())


def _sizes(run: Measured) -> list[tuple[int, int]]:
    return list(zip(run.robustness.index.tolist(), run.robustness.images.tolist(), strict=True))


def _same_corruptions(runs: Sequence[Measured]) -> tuple[str, ...]:
    if not runs:
        raise ValueError("there are no runs to score")
    shapes = {(run.robustness.corruptions, run.robustness.correct.shape[1]) for run in runs}
    if len(shapes) > 1:
        raise ValueError("runs were not corrupted alike: measure them again with `test --run.robustness=true`")
    return runs[0].robustness.corruptions
