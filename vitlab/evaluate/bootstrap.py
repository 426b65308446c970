"""95 % intervals from resampled patients and runs.

What an interval covers: the figure that the same training procedure would reach with other seeds, on other test
patients of the same kind and the same mix of classes, for the training patients of these folds.

- Patients are resampled within fold and class, all images of a patient together, and runs within their fold, both so
  that a few of them have their full variance: see `resampling`.
- Of the runs' part, what the chance of the test images explains already is taken out, for it is in the patients' part;
  what remains is widened as Student's t is, for few runs. Without that, 95 % of three seeds are 90 %.
- Where folds have one patient each, the folds are resampled: the patients within them cannot be.
- With one run in each fold the folds' runs stand in for seeds; as most of what they differ by is the chance of their
  patients, such intervals are somewhat wide (95 to 98 % in simulations).
- With one run in all there is no runs' part, and `Estimate.covers` says so.
- Ends are the 2.5 and 97.5 % points of the draws (percentile method), after the bias of the resampled metric, which
  matters for the calibration error alone, is taken out.

Shapes: B resamples, P patients, R runs, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vitlab.evaluate.metrics import (
    CLASS_METRICS,
    METRICS,
    RANGE,
    Figures,
    class_metrics,
    compute_metrics,
    confusion_matrix,
)
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level, Scored, Split, components, splits_of
from vitlab.evaluate.tally import tally

ENDS = (0.025, 0.975)  # of a 95 % interval
# Two seeds of one split leave one degree of freedom, where t is 12.7 and intervals hold every score there is. As if
# there were two, they still hold the truth 95 times in 100, unless seeds move the score more than patients do.
LEAST_FREEDOM = 2
FLAT = 1e-6  # draws that differ by no more do so by the rounding of their weights, float32
FEW_PATIENTS = 10  # of a class: below, the ends of an interval are rough


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure with its interval.

    Args:
        mean: over runs; None where a run does not have it.
        sd: sample deviation over runs, None below two.
        low: lower end of the 95 % interval; None where there is none: one patient, or no draw differs from another.
        high: upper end.
        n_runs: R.
        n_patients: different patients; images without one count as one each.
        n_images: different images.
        covers: what the interval accounts for: other patients and runs, or patients only.
        draws: (B,) the resampled figures, from the same patients and runs for all who share a `Resampling`.
        values: (R,) of the runs, in the order given; nan where a run does not have it.
    """

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n_runs: int
    n_patients: int
    n_images: int
    covers: Literal["patients and runs", "patients"]
    draws: NDArray[np.float64] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)


def estimate(
    runs: Sequence[Scored], resampling: Resampling, *, level: Level = "slice", metrics: Sequence[str] = METRICS
) -> dict[str, Estimate]:
    """Estimate metrics with 95 % intervals.

    Args:
        runs: of one approach on one split (train, val or test), all seeds and folds.
        resampling: shared by all approaches that are compared.
        level: a unit is an image ("slice") or a patient with the mean of its images' probabilities ("patient").
        metrics: which.

    Raises:
        ValueError: as `scored.splits_of`.
    """
    splits = splits_of(runs, level)
    values, draws = scores(runs, splits, resampling, metrics)
    return {
        name: summary(runs, splits, resampling, values[name], draws[name], limits=RANGE.get(name, (0.0, 1.0)))
        for name in metrics
    }


def estimate_classes(
    runs: Sequence[Scored], resampling: Resampling, *, level: Level = "slice"
) -> dict[str, dict[str, Estimate]]:
    """Estimate sensitivity, specificity and precision of each class: class -> metric -> estimate."""
    splits = splits_of(runs, level)
    values, draws = scores(runs, splits, resampling, CLASS_METRICS)
    return {
        name: {
            metric: summary(runs, splits, resampling, values[metric][:, c], draws[metric][:, :, c], limits=(0.0, 1.0))
            for metric in CLASS_METRICS
        }
        for c, name in enumerate(runs[0].predictions.classes)
    }


def notes(runs: Sequence[Scored]) -> list[str]:
    """Say what a reader has to know of the intervals of these runs."""
    splits, classes = splits_of(runs, "slice"), runs[0].predictions.classes
    label = {name: c for split in splits for name, c in zip(split.patients, split.main_label, strict=True)}
    found = []
    if all(name.startswith("\0") for name in label):
        found.append("no patient ids: each image counts as a patient of its own, and intervals are too narrow where "
                     "images of one patient repeat")  # fmt: skip
    counts = np.bincount(np.array(list(label.values()), np.int64), minlength=len(classes))
    few = [f"{classes[c]} {n}" for c, n in enumerate(counts) if 0 < n < FEW_PATIENTS]
    if few:
        found.append(f"few patients ({', '.join(few)}): the ends of intervals are rough")
    if len(runs) == 1:
        found.append("one run: intervals do not hold what another seed would change")
    elif len(runs) == 2:
        found.append("two runs: what another seed would change is a rough guess")
    elif all(len(split.runs) == 1 for split in splits):
        found.append("one run per fold: what another seed would change is judged from how the folds differ")
    return found


def scores(
    runs: Sequence[Scored], splits: Sequence[Split], resampling: Resampling, metrics: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Score every run, and every resample of patients of it.

    Returns:
        Metric -> (R,) values, and metric -> (R, B) values with other patients; (R, K) and (R, B, K) for the metrics
        of classes; nan where there is none.
    """
    values: list[Figures] = [{} for _ in runs]
    draws: list[Figures] = [{} for _ in runs]
    alone: list[Split] = []
    # Thousands of small products: more than one thread each only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        for together in components(splits):
            for split, drawn in zip(together, resampling.patients(together), strict=True):
                alone += [split] if drawn is None else []
                weights = None if drawn is None else drawn.astype(np.float64, order="F")  # a patient at a time
                for run, probs in zip(split.runs, split.probs, strict=True):
                    values[run], draws[run] = _score(split, probs, weights, metrics, resampling.resamples)
    stacked = [{name: np.stack([of[name] for of in table]) for name in metrics} for table in (values, draws)]
    for name in metrics if len(alone) > 1 else ():
        resampling.folds(alone, stacked[0][name], stacked[1][name])
    return stacked[0], stacked[1]


def _score(
    split: Split,
    probs: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    metrics: Sequence[str],
    resamples: int,
) -> tuple[Figures, Figures]:
    """Score one run, and its resamples: metric -> () and (B,), or (K,) and (B, K)."""
    found: dict[str, Any] = compute_metrics(probs, split.targets, [name for name in metrics if name in METRICS])
    if not set(CLASS_METRICS).isdisjoint(metrics):
        found |= class_metrics(confusion_matrix(probs, split.targets))
    values = {name: np.asarray(found[name], np.float64) for name in metrics}
    if weights is None:
        return values, {name: np.repeat(values[name][None], resamples, 0) for name in metrics}
    sums = tally(split.patient, split.targets, probs, len(split.patients), metrics)
    whole, drawn = (sums.figures(w, metrics) for w in (np.ones((1, len(split.patients))), weights))
    # What bins lose, the whole sample's figure lost too: only the difference counts.
    return values, {name: drawn[name] - whole[name] + values[name] for name in metrics}


def summary(
    runs: Sequence[Scored],
    splits: Sequence[Split],
    resampling: Resampling,
    values: NDArray[np.float64],
    draws: NDArray[np.float64],
    *,
    limits: tuple[float, float],
) -> Estimate:
    """Put the parts of patients and runs together.

    Args:
        runs: R.
        splits: of the runs.
        resampling: of the draws.
        values: (R,) of one metric.
        draws: (R, B) with other patients.
        limits: that the metric cannot pass.
    """
    mean = values.mean()
    part, covers = _between_runs(runs, splits, resampling, values, draws)
    together = draws.mean(0)
    known = np.isfinite(together)  # a resample without a prediction of a class has no precision of it
    together = together - (together[known].mean() if known.any() else 0) + mean + part
    low, high = np.quantile(together[known], ENDS).clip(*limits) if known.any() else (np.nan, np.nan)
    flat = not np.isfinite(mean) or np.ptp(together[known]) < FLAT
    return Estimate(
        mean=float(mean) if np.isfinite(mean) else None,
        sd=float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(mean) else None,
        low=None if flat else float(low),
        high=None if flat else float(high),
        n_runs=len(runs),
        n_patients=len({name for split in splits for name in split.patients}),
        n_images=len({row for split in splits for row in split.index.tolist()}),
        covers=covers,
        draws=together,
        values=values,
    )


def _between_runs(
    runs: Sequence[Scored],
    splits: Sequence[Split],
    resampling: Resampling,
    values: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> tuple[NDArray[np.float64], Literal["patients and runs", "patients"]]:
    """Draw (B,) deviations of the mean over runs that other runs would bring."""
    groups = [split.runs for split in splits]
    stand_in = all(len(group) == 1 for group in groups)
    if stand_in:
        groups = [[run for group in groups for run in group]]
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return np.zeros(resampling.resamples), "patients"
    seen = sum(len(group) * values[group].var() for group in groups) / freedom
    # What patients alone make runs of one fold differ by: they are not all wrong about the same images.
    known = draws[:, np.isfinite(draws).all(0)]
    apart = sum((known[group] - known[group].mean(0)).var(1).sum() for group in groups) if known.size else 0.0
    chance = apart / freedom
    part = np.zeros(resampling.resamples)
    several = sum(len(group) for group in groups if len(group) > 1)
    for group in groups:
        if len(group) > 1:
            order = sorted(group, key=lambda run: (repr(runs[run].fold), runs[run].seed))
            weights = resampling.runs([(runs[run].seed, runs[run].fold) for run in order])
            # A fold of one run has as much of a spread as the others, though it cannot show it.
            part += len(group) / np.sqrt(several * len(runs)) * weights @ values[order]
    widening = resampling.widening(max(freedom, LEAST_FREEDOM))
    share = chance / seen if seen > 0 else 1.0
    if stand_in:
        # Most of what folds differ by is chance: what is left is too uncertain to be taken for what it seems, and
        # nothing left does not mean that there was nothing.
        return np.sqrt(np.maximum(0.0, widening**2 - share)) * part, "patients and runs"
    return np.sqrt(max(0.0, 1 - share)) * widening * part, "patients and runs"
