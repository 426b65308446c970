"""The figures that every run reports on every split, from probabilities and targets alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRICS = (
    "loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision", "ece", "brier", "mcc",
)  # fmt: skip
LOWER_IS_BETTER = ("loss", "ece", "brier")
RANGE = {"loss": (0.0, np.inf), "brier": (0.0, 2.0), "mcc": (-1.0, 1.0)}  # of the others: 0 to 1
CLASS_METRICS = ("sensitivity", "specificity", "precision")
ECE_BINS = 15  # Guo et al. 2017, table 1, and most work since
# The clip of sklearn.metrics.log_loss for float64: an image predicted with certainty and wrong costs 36 nats.
SMALLEST = float(np.finfo(np.float64).eps)

Figures = dict[str, NDArray[np.float64]]


def compute_metrics(
    probs: ArrayLike, targets: ArrayLike, names: Sequence[str] = METRICS
) -> dict[str, float | None]:
    """Score predicted probabilities.

    Args:
        probs: (N, K) probabilities, rows sum to one.
        targets: (N,) class indices in 0..K-1.
        names: which of the `METRICS`.

    Returns:
        The metrics in the order of `names`, as fractions: `loss` is the mean negative log likelihood in nats; accuracy,
        balanced_accuracy, macro_f1 and mcc see `confusion_metrics`; `auroc` and `average_precision` the mean of one
        class against the rest over the classes that are there, None where there is one class only; `ece` see
        `calibration_error`; `brier` the squared error summed over classes (Brier 1950: 0 to 2).

    Raises:
        ValueError: when there is nothing to score, shapes differ, or a probability is not finite.
    """
    p, y = _checked(probs, targets)
    found: dict[str, float | None] = {}
    for name in {"auroc", "average_precision"}.intersection(names):
        found[name] = _ranking(name, p, y)
    found |= {name: float(figure) for name, figure in confusion_metrics(confusion_matrix(p, y), names).items()}
    if "loss" in names:
        found["loss"] = float(log_losses(p, y).mean())
    if "brier" in names:
        found["brier"] = float(brier_scores(p, y).mean())
    if "ece" in names:
        found["ece"] = calibration_error(p.max(1), p.argmax(1) == y)
    return {name: found[name] for name in names}


def confusion_matrix(probs: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Count images by their class, (K, K): truth down, prediction (the largest probability) across."""
    p, y = _checked(probs, targets)
    k = p.shape[1]
    return np.bincount(y * k + p.argmax(1), minlength=k * k).reshape(k, k).astype(np.float64)


def confusion_metrics(
    confusion: NDArray[np.floating[Any]], names: Sequence[str] = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")
) -> Figures:
    """Score confusion matrices, all at once.

    Equal to scikit-learn's accuracy_score, balanced_accuracy_score, f1_score(average="macro", zero_division=0) and
    matthews_corrcoef, which take images one by one and would be called once per resample.

    Args:
        confusion: (..., K, K) counts or weights, truth down and prediction across.
        names: which are wanted; others are no error.

    Returns:
        Of shape (...): accuracy; `balanced_accuracy`, the mean recall of the classes that are there; `macro_f1`, the
        mean over the classes that are there or were predicted; `mcc`, Matthews' correlation for several classes
        (Gorodkin 2004), 0 where undefined.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth = confusion.sum(-1)
    found: Figures = {}
    if "accuracy" in names:
        found["accuracy"] = right.sum(-1) / truth.sum(-1)
    if "balanced_accuracy" in names:
        found["balanced_accuracy"] = _mean_where(right, truth)
    if "macro_f1" in names:
        found["macro_f1"] = _mean_where(2 * right, truth + confusion.sum(-2))
    if "mcc" in names:
        total, predicted = truth.sum(-1), confusion.sum(-2)
        covariance = right.sum(-1) * total - (truth * predicted).sum(-1)
        spread = np.sqrt((total**2 - (predicted**2).sum(-1)).clip(0) * (total**2 - (truth**2).sum(-1)).clip(0))
        # Rounding leaves 1e-16 where all images are of one class: no correlation either.
        found["mcc"] = np.where(spread > 1e-12 * total**2, covariance / np.where(spread > 0, spread, 1), 0.0)
    return found


def class_metrics(confusion: NDArray[np.floating[Any]]) -> Figures:
    """Score each class against the rest.

    Args:
        confusion: (..., K, K) counts or weights, truth down and prediction across.

    Returns:
        `CLASS_METRICS` of shape (..., K); nan where there is no image to take them from (precision: none predicted).
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth, predicted = confusion.sum(-1), confusion.sum(-2)
    others = truth.sum(-1, keepdims=True) - truth
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "sensitivity": right / truth,
            "specificity": (others - (predicted - right)) / others,
            "precision": right / predicted,
        }


def log_losses(probs: NDArray[np.floating[Any]], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Negative log likelihood of each image in nats, (N,)."""
    found: NDArray[np.float64] = -np.log(np.clip(probs[np.arange(len(targets)), targets], SMALLEST, 1.0))
    return found


def brier_scores(probs: NDArray[np.floating[Any]], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared error of each image summed over classes, (N,)."""
    found: NDArray[np.float64] = ((probs - np.eye(probs.shape[1])[targets]) ** 2).sum(1)
    return found


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = ECE_BINS) -> float:
    """Expected calibration error with bins of equal mass (Nguyen & O'Connor 2015; AdaECE in Mukhoti et al. 2020).

    Bins of equal width (Guo et al. 2017) leave most bins nearly empty for a confident model. Images of equal
    confidence share their mean accuracy, so that the result does not depend on the order of the rows.

    Args:
        confidence: (N,) the largest probability of each image.
        correct: (N,) whether its class is the right one.
        bins: how many bins; fewer where there are fewer images.

    Returns:
        The mean over images of |accuracy - confidence| of their bin, in 0..1.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    order = np.argsort(confidence, kind="stable")
    _, tie, counts = np.unique(confidence[order], return_inverse=True, return_counts=True)
    accuracy = (np.bincount(tie, weights=correct[order]) / counts)[tie]
    parts = np.array_split(accuracy - confidence[order], min(bins, len(order)))
    return float(sum(abs(part.sum()) for part in parts) / len(order))


def _ranking(name: str, p: NDArray[np.float64], y: NDArray[np.int64]) -> float | None:
    """Score the order of each class's images against the rest; scikit-learn's figures in a twentieth of its time."""
    present = np.unique(y)
    if len(present) < 2:
        return None
    found = []
    for c in present:
        values, place = np.unique(p[:, c], return_inverse=True)
        positive, negative = (np.bincount(place, own, len(values)) for own in (y == c, y != c))
        if name == "auroc":
            found.append(positive @ (negative.cumsum() - negative / 2) / (positive.sum() * negative.sum()))
        else:
            hits, flagged = (column[::-1].cumsum() for column in (positive, positive + negative))
            found.append(positive[::-1] @ (hits / flagged) / positive.sum())
    return float(np.mean(found))


def _mean_where(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of part / whole over the last axis, where the whole is not empty."""
    there = whole > 0
    shares = np.where(there, part / np.where(there, whole, 1), 0.0)
    found: NDArray[np.float64] = shares.sum(-1) / there.sum(-1)
    return found


def _checked(probs: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p, y = np.asarray(probs, dtype=np.float64), np.asarray(targets, dtype=np.int64)
    if p.ndim != 2 or y.ndim != 1 or len(p) != len(y) or not len(y):
        raise ValueError(f"cannot score probabilities of shape {p.shape} against targets of shape {y.shape}")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"targets {y.min()} to {y.max()} of {p.shape[1]} classes: only labelled images can be scored")
    if not np.isfinite(p).all():
        raise ValueError("probabilities are not finite: training has diverged; lower the learning rate")
    return p, y
