"""Labels: class balance, patients of two classes, and images that look like another class than theirs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.appearance import Appearance
from vitlab.audit.baselines.grouped_cv import FOLDS, Floats, balanced_accuracy, group_folds, sample_groups, testable
from vitlab.audit.images import Images
from vitlab.data.manifest import SPLITS

_WAVES = 400  # random Fourier features
_WIDTH = 0.7  # of the kernel, in median distances of two images
_INVERSE_PENALTY = 20.0  # C of the logistic regression; both chosen on cheng and brain_tumor_mri by likelihood
# Probability of the given label above which nobody need look. On cheng with none changed it doubts 100 images of 3064,
# where 92 are expected by chance; with every 20th label changed 265, where 110 are, 7 of 10 of the changed among them.
_DOUBT = 0.1
_BLOCK = 8192


@dataclass(frozen=True)
class LabelError:
    """An image that looks like another class.

    Attributes:
        row: Of the manifest.
        given: Its label.
        suggested: The class that it looks like.
        self_confidence: Out-of-fold probability of the given label: the lower, the more doubtful.
    """

    row: int
    given: str
    suggested: str
    self_confidence: float


@dataclass(frozen=True)
class LabelErrors:
    """Likely label errors, most doubtful first, and what the suspicion is worth.

    Attributes:
        errors: To be looked at, not to be changed unseen.
        balanced_accuracy: Of the classifier by group folds; NaN where no classifier could be fitted.
        expected: How many would be doubted if every label were right, since some images are hard: an
            estimate; NaN where no classifier could be fitted.
    """

    errors: list[LabelError]
    balanced_accuracy: float
    expected: float


def label_errors(
    images: Images, targets: NDArray[np.int64], groups: NDArray[np.int64], *, classes: list[str], seed: int
) -> LabelErrors:
    """Find likely label errors by confident learning (Northcutt 2021, cleanlab) with out-of-fold probabilities.

    Classes of fewer than 5 groups are left out, since a classifier that has not seen them doubts them all.

    Args:
        images: All images.
        targets: Class of each, below 0 where unknown, (N,).
        groups: Patients or copy groups, (N,): a group is never judged by a classifier that has seen it.
        classes: Names.
        seed: Of sample, folds and features.
    """
    from cleanlab.filter import find_label_issues

    rng = np.random.default_rng(seed)
    usable = testable(np.where(images.ok, targets, -1), groups)
    rows = np.flatnonzero(usable >= 0)
    present, y = np.unique(usable[rows], return_inverse=True)
    if len(present) < 2:
        return LabelErrors([], float("nan"), float("nan"))
    learn = np.searchsorted(rows, sample_groups(usable, groups, rng))
    probabilities = _calibrated(_out_of_fold(images, rows, learn, y, groups[rows], rng), y)
    worth = balanced_accuracy(y[None], probabilities.argmax(1)[None], len(present))[0]
    own = probabilities[np.arange(len(y)), y]
    issues = find_label_issues(y, probabilities, filter_by="both", n_jobs=1) & (own < _DOUBT)
    errors = [
        LabelError(int(rows[at]), classes[present[y[at]]], classes[present[probabilities[at].argmax()]], float(own[at]))
        for at in np.flatnonzero(issues)[np.argsort(own[issues], kind="stable")]
    ]
    # Were the labels drawn from the probabilities, so many would fall on a class held for unlikely.
    expected = float(probabilities[probabilities < _DOUBT].sum())
    return LabelErrors(errors, float(worth), expected)


def _out_of_fold(
    images: Images,
    rows: NDArray[np.int64],
    learn: NDArray[np.int64],
    y: NDArray[np.int64],
    groups: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return class probabilities of each row by a classifier that has seen none of its group, (N, K).

    Args:
        images: All images.
        rows: Which are judged, (N,).
        learn: Which of them are learned from, as places in rows.
        y: Class of each, (N,).
        groups: Group of each, (N,).
        rng: Of folds and features.
    """
    from sklearn.linear_model import LogisticRegression

    x = Appearance(images, rows[learn])(rows)
    pairs = rng.choice(learn, (2, 2000))
    width = _WIDTH * (float(np.median(np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1))) or 1.0)
    axes = rng.normal(0, 1 / width, (x.shape[1], _WAVES)).astype(np.float32)
    offset = rng.uniform(0, 2 * np.pi, _WAVES).astype(np.float32)

    def bent(some: NDArray[np.int64]) -> Floats:
        waves = np.cos(x[some] @ axes + offset) * np.float32(np.sqrt(2 / _WAVES))
        return np.concatenate([waves, x[some] / 2], 1)

    n_classes = int(y.max()) + 1
    fold = group_folds(groups, rng)
    waves = bent(learn)
    probabilities = np.full((len(rows), n_classes), 1e-6)
    for number in range(FOLDS):
        others = fold[learn] != number
        if len(np.unique(y[learn][others])) < 2:
            probabilities[fold == number] = 1 / n_classes
            continue
        model = LogisticRegression(C=_INVERSE_PENALTY, tol=1e-3, max_iter=200).fit(waves[others], y[learn][others])
        of_fold = np.flatnonzero(fold == number)
        for start in range(0, len(of_fold), _BLOCK):
            block = of_fold[start : start + _BLOCK]
            probabilities[np.ix_(block, model.classes_)] = model.predict_proba(bent(block))
    return np.asarray(probabilities / probabilities.sum(1, keepdims=True))


def _calibrated(probabilities: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return probabilities (N, K) of the right class: at the temperature that fits best (Guo et al. 2017).

    A share of the labels may be any other class by mistake, and is estimated beside the temperature. Without it the
    probabilities would be those of the labels, errors and all, and every number of errors would be the expected one.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    logits = np.log(probabilities)
    logits -= logits.max(1, keepdims=True)
    wrong = logits.shape[1] - 1

    def soften(sharpness: float) -> NDArray[np.float64]:
        powers = np.exp(sharpness * logits)
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def loss(at: NDArray[np.float64]) -> float:
        right, mistaken = soften(float(np.exp(at[0])))[np.arange(len(y)), y], expit(at[1])
        return -float(np.log((1 - mistaken) * right + mistaken * (1 - right) / wrong + 1e-12).mean())

    bounds = ((np.log(0.05), np.log(3)), (-9.0, -1.0))  # of labels 0.01 % to 27 % wrong
    found = minimize(loss, (-0.3, -3.0), method="Nelder-Mead", bounds=bounds)
    return soften(float(np.exp(found.x[0])))


def class_balance(targets: NDArray[np.int64], split: NDArray[Any], classes: list[str]) -> dict[str, dict[str, int]]:
    """Return how many images of each class each split holds; images of no split stand under "".

    Args:
        targets: Class of each image, below 0 where unknown, (N,).
        split: Split of each image, (N,).
        classes: Names.
    """
    return {
        part: {name: int((targets[split == part] == number).sum()) for number, name in enumerate(classes)}
        for part in (*SPLITS, "")
        if (split == part).any()
    }


def patients_with_two_classes(patient_id: NDArray[Any], label: NDArray[Any]) -> list[tuple[str, dict[str, int]]]:
    """Return the patients with images of several classes, by name: patient, and images by class.

    Args:
        patient_id: Of each image, "" where unknown, (N,).
        label: Of each image, "" where unknown, (N,).
    """
    counts: dict[str, dict[str, int]] = {}
    for patient, name in zip(patient_id.tolist(), label.tolist(), strict=True):
        if patient and name:
            of_patient = counts.setdefault(patient, {})
            of_patient[name] = of_patient.get(name, 0) + 1
    return sorted((patient, dict(sorted(found.items()))) for patient, found in counts.items() if len(found) > 1)
