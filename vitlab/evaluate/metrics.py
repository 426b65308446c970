"""The eight figures that every run reports on every split, from probabilities and targets alone."""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRICS = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece", "brier", "mcc")
ECE_BINS = 15  # Guo et al. 2017, table 1, and most work since


def compute_metrics(probs: ArrayLike, targets: ArrayLike) -> dict[str, float | None]:
    """Score predicted probabilities.

    Args:
        probs: (N, K) probabilities, rows sum to one.
        targets: (N,) class indices in 0..K-1.

    Returns:
        The `METRICS` in their order, as fractions: `loss` is the mean negative log likelihood in nats;
        `balanced_accuracy` the mean recall of the classes that are there; `macro_f1` the mean over classes that are
        there or were predicted; `auroc` the mean of one class against the rest over the classes that are there, None
        where there is one class only; `ece` see `calibration_error`; `brier` the squared error summed over classes
        (Brier 1950: 0 to 2); `mcc` Matthews' correlation for several classes (Gorodkin 2004), 0 where undefined.

    Raises:
        ValueError: when there is nothing to score, shapes differ, or a probability is not finite.
    """
    from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef

    p, y = _checked(probs, targets)
    predicted = p.argmax(1)
    # The clip of sklearn.metrics.log_loss for float64: an image predicted with certainty and wrong costs 36 nats.
    likelihood = np.clip(p[np.arange(len(y)), y], np.finfo(np.float64).eps, 1.0)
    one_hot = np.eye(p.shape[1])[y]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "y_pred contains classes not in y_true": the docstring says what is done then
        return {
            "loss": float(-np.log(likelihood).mean()),
            "accuracy": float((predicted == y).mean()),
            "balanced_accuracy": float(balanced_accuracy_score(y, predicted)),
            "macro_f1": float(f1_score(y, predicted, average="macro", zero_division=0)),
            "auroc": _auroc(p, y),
            "ece": calibration_error(p.max(1), predicted == y),
            "brier": float(((p - one_hot) ** 2).sum(1).mean()),
            "mcc": float(matthews_corrcoef(y, predicted)),
        }


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


def _auroc(p: NDArray[np.float64], y: NDArray[np.int64]) -> float | None:
    from sklearn.metrics import roc_auc_score

    present = np.unique(y)
    if len(present) < 2:
        return None
    return float(np.mean([roc_auc_score(y == c, p[:, c]) for c in present]))


def _checked(probs: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p, y = np.asarray(probs, dtype=np.float64), np.asarray(targets, dtype=np.int64)
    if p.ndim != 2 or y.ndim != 1 or len(p) != len(y) or not len(y):
        raise ValueError(f"cannot score probabilities of shape {p.shape} against targets of shape {y.shape}")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"targets {y.min()} to {y.max()} of {p.shape[1]} classes: only labelled images can be scored")
    if not np.isfinite(p).all():
        raise ValueError("probabilities are not finite: training has diverged; lower the learning rate")
    return p, y
