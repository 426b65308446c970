"""Whether a probability of 80 % is right four times in five: reliability curves and temperature scaling.

Shapes: N units, P patients, K classes, E bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vitlab.evaluate.bootstrap import ENDS
from vitlab.evaluate.metrics import ECE_BINS, SMALLEST, log_losses
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level, Scored, components, splits_of

TEMPERATURES = (0.05, 20.0)  # a model that is right about every image of val would be taken to 0, a useless one to inf


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same confidence.

    Args:
        confidence: their mean confidence, the largest probability.
        accuracy: the share of them that is right.
        low: lower end of its 95 % interval over patients; None where no resample differs: all right, or one patient.
        high: upper end.
        count: predictions, those of all runs together.
    """

    confidence: float
    accuracy: float
    low: float | None
    high: float | None
    count: int


def reliability(
    runs: Sequence[Scored], resampling: Resampling, *, level: Level = "slice", bins: int = ECE_BINS
) -> list[Bin]:
    """Draw up a reliability curve over bins of equal mass (the bins of `metrics.calibration_error`).

    Args:
        runs: of one approach on one split; their predictions are pooled.
        resampling: of the patients; the spread between runs is in the pooled points, not in the intervals.
        level: what a unit is.
        bins: E at most; predictions of equal confidence are in one bin.
    """
    splits = splits_of(runs, level)
    confidence = np.sort(np.concatenate([probs.max(1) for split in splits for probs in split.probs]))
    n = len(confidence)
    edges = np.unique(confidence[np.arange(1, bins) * n // bins])  # the least confidence of each bin but the first
    n_bins = len(edges) + 1
    totals, drawn = np.zeros((3, n_bins)), np.zeros((resampling.resamples, 3 * n_bins))
    resampled = True
    for together in components(splits):
        for split, weights in zip(together, resampling.patients(together), strict=True):
            sums = np.zeros((len(split.patients), 3 * n_bins))
            for probs in split.probs:
                top = probs.max(1)
                cell = np.searchsorted(edges, top, side="right")
                for i, column in enumerate((np.ones(len(top)), probs.argmax(1) == split.targets, top)):
                    np.add.at(sums, (split.patient, i * n_bins + cell), column)
            totals += sums.sum(0).reshape(3, n_bins)
            resampled &= weights is not None
            if weights is not None:
                drawn += weights @ sums
    count, right, _ = (drawn[:, i * n_bins : (i + 1) * n_bins] for i in range(3))
    shares = np.where(count > 0, right / np.where(count > 0, count, 1), np.nan)  # a bin may miss all its patients
    there = resampled & (count > 0).any(0)
    ends = np.zeros((2, n_bins))
    ends[:, there] = np.nanquantile(shares[:, there], ENDS, axis=0)
    varies = ends[1] > ends[0]
    return [
        Bin(
            confidence=float(totals[2, i] / totals[0, i]),
            accuracy=float(totals[1, i] / totals[0, i]),
            low=float(ends[0, i]) if varies[i] else None,
            high=float(ends[1, i]) if varies[i] else None,
            count=int(totals[0, i]),
        )
        for i in range(n_bins)
        if totals[0, i]
    ]


def temperature_scaled(val: Sequence[Scored], test: Sequence[Scored]) -> tuple[list[Scored], list[float]]:
    """Rescale each run's test predictions by the temperature that fits its validation images (Guo et al. 2017).

    Args:
        val: the runs on val.
        test: the same runs on test, in any order.

    Returns:
        The runs with new probabilities, whose order of classes is the same as before, and the temperatures, in the
        order of `test`; above 1 the run was too sure of itself. `bootstrap.estimate` of `test` and of what is
        returned, with one `Resampling`, gives ECE and loss before and after.

    Raises:
        ValueError: a run is not in `val`, or has no labelled image there.
    """
    place = {(run.seed, run.fold): run for run in val}
    found, temperatures = [], []
    for run in test:
        if (run.seed, run.fold) not in place:
            raise ValueError(f"seed {run.seed}, fold {run.fold} has no validation predictions to fit a temperature on")
        fitted = place[run.seed, run.fold].predictions
        known = fitted.targets >= 0
        if not known.any():
            raise ValueError(f"seed {run.seed}, fold {run.fold}: no validation image has a label to fit on")
        temperature = fit_temperature(np.asarray(fitted.probs[known], np.float64), fitted.targets[known])
        probs = rescaled(np.asarray(run.predictions.probs, np.float64), temperature)
        found.append(Scored(run.seed, run.fold, replace(run.predictions, probs=probs)))
        temperatures.append(temperature)
    return found, temperatures


def fit_temperature(probs: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Find the temperature with the least log loss, between 0.05 and 20.

    Args:
        probs: (N, K) probabilities.
        targets: (N,) class indices.
    """
    from scipy.optimize import minimize_scalar

    # Convex in 1 / T, so with one minimum in log T too.
    found = minimize_scalar(
        lambda log_t: log_losses(rescaled(probs, float(np.exp(log_t))), targets).mean(),
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def rescaled(probs: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Divide logits by a temperature: softmax(log p / T), (N, K)."""
    logits = np.log(np.clip(probs, SMALLEST, 1.0)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return found
