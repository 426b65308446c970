"""What frozen features are worth, with no training worth the name, and whether they have collapsed.

Shapes: N images of the fitted set, M of the scored set, D features, K classes.
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK = 1024  # scored images at a time: bounds the similarity matrix at 1024 x N


def knn_accuracy(
    features: ArrayLike,
    targets: ArrayLike,
    test_features: ArrayLike,
    test_targets: ArrayLike,
    *,
    k: int = 20,
    temperature: float = 0.07,
    balanced: bool = True,
) -> float:
    """Classify by the k most similar images, each voting with weight exp(cosine / temperature).

    Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4, where
    temperature is 0.07 and k 200; k = 20 from Caron et al. 2021 (DINO), which suits a few hundred images better.

    Args:
        features: (N, D) of the images that vote.
        targets: (N,) their classes.
        test_features: (M, D) of the images to classify.
        test_targets: (M,) their classes.
        k: voters; all N where there are fewer.
        temperature: of the vote; smaller trusts the nearest more.
        balanced: mean recall of the classes; False for the share of images that are right.

    Returns:
        The accuracy, 0..1.
    """
    train, y, test, test_y = _checked(features, targets, test_features, test_targets)
    train, test = _normalised(train), _normalised(test)
    k = min(k, len(train))
    predicted = np.empty(len(test), dtype=np.int64)
    for start in range(0, len(test), CHUNK):
        similarity = test[start : start + CHUNK] @ train.T
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weight = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1) / temperature)  # -1: never overflows
        votes = np.stack([(weight * (y[nearest] == c)).sum(1) for c in range(y.max() + 1)], axis=1)
        predicted[start : start + CHUNK] = votes.argmax(1)
    return _accuracy(predicted == test_y, test_y, balanced)


def linear_probe_accuracy(
    features: ArrayLike,
    targets: ArrayLike,
    test_features: ArrayLike,
    test_targets: ArrayLike,
    *,
    l2: float = 1.0,
    max_iter: int = 200,
    balanced: bool = True,
) -> float:
    """Fit a multinomial logistic regression on standardised features.

    Mean and deviation are those of the fitted set; a feature that never varies is left out. A fit that has not
    converged after `max_iter` steps of L-BFGS is taken as it is: a probe is a thermometer.

    Args:
        features: (N, D) to fit on.
        targets: (N,) their classes, at least two.
        test_features: (M, D) to score on.
        test_targets: (M,) their classes.
        l2: strength of the penalty (1.0 is scikit-learn's).
        max_iter: steps of L-BFGS at most.
        balanced: mean recall of the classes; False for the share of images that are right.

    Returns:
        The accuracy, 0..1.
    """
    _, _, _, test_y = _checked(features, targets, test_features, test_targets)
    predicted = linear_probe(features, targets, test_features, l2=l2, max_iter=max_iter)
    return _accuracy(predicted == test_y, test_y, balanced)


def linear_probe(
    features: ArrayLike, targets: ArrayLike, test_features: ArrayLike, *, l2: float = 1.0, max_iter: int = 200
) -> NDArray[np.int64]:
    """Return the class of each scored image, (M,), by the probe of `linear_probe_accuracy`; arguments as there."""
    from sklearn.linear_model import LogisticRegression

    train, y, test, _ = _checked(features, targets, test_features, np.zeros(len(np.asarray(test_features)), np.int64))
    if y.min() == y.max():
        raise ValueError("a linear probe needs images of at least two classes to fit on")
    mean, deviation = train.mean(0), train.std(0)
    varies = deviation > 1e-8 * (np.abs(mean) + 1e-12)  # relative: below it the deviation is rounding
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning: a probe is a thermometer
        probe = LogisticRegression(C=1 / l2, max_iter=max_iter).fit((train - mean) * scale, y)
    predicted: NDArray[np.int64] = probe.predict((test - mean) * scale)
    return predicted


def feature_std(features: ArrayLike) -> float:
    """Spread of the directions of the features: 0 collapsed, near 1 when they fill the space evenly.

    Chen & He 2021 (SimSiam), section 4.1: the deviation of each l2-normalised feature, averaged, is 1/sqrt(D) for an
    isotropic Gaussian; it is multiplied by sqrt(D) here, so that one scale fits every backbone.

    Args:
        features: (N, D).
    """
    z = _normalised(_finite(features))
    return float(z.std(0).mean() * np.sqrt(z.shape[1]))


def rankme(features: ArrayLike) -> float:
    """Effective rank of the features: 1 collapsed, D when every direction carries the same weight.

    Garrido et al. 2023 (RankMe), equation 2: exp of the entropy of the singular values as shares of their sum (not
    centred, as in the paper). The paper adds 1e-7 to each share; where a share is 0 it adds nothing here instead.

    Args:
        features: (N, D); with N below D the rank is at most N.
    """
    singular = np.linalg.svd(_finite(features), compute_uv=False)
    if singular[0] == 0:
        return 1.0
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def _accuracy(right: NDArray[np.bool_], targets: NDArray[np.int64], balanced: bool) -> float:
    return float(np.mean([right[targets == c].mean() for c in np.unique(targets)]) if balanced else right.mean())


def _normalised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(length, 1e-12)


def _finite(features: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"features must be images x features, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("features are not finite: training has diverged; lower the learning rate")
    return array


def _checked(
    features: ArrayLike, targets: ArrayLike, test_features: ArrayLike, test_targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    train, test = _finite(features), _finite(test_features)
    y, test_y = np.asarray(targets, dtype=np.int64), np.asarray(test_targets, dtype=np.int64)
    if train.shape[1] != test.shape[1] or y.shape != (len(train),) or test_y.shape != (len(test),):
        shapes = f"{train.shape} and {test.shape} with targets {y.shape} and {test_y.shape}"
        raise ValueError(f"features do not fit each other or their targets: {shapes}")
    if min(y.min(), test_y.min()) < 0:
        raise ValueError("a probe needs labelled images: a target is negative")
    return train, y, test, test_y
