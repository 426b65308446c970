"""Labels: class balance, patients of two classes, and images that look like another class than theirs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.baselines.appearance import Appearance
from vitlab.audit.baselines.grouped_cv import FOLDS, Floats, balanced_accuracy, group_folds, sample_groups, testable
from vitlab.audit.baselines.threads import one_thread
from vitlab.audit.images import Images
from vitlab.data.manifest import SPLITS

_WAVES = 400  # random Fourier features
_WIDTH = 0.7  # of the kernel, in median distances of two images
_INVERSE_PENALTY = 2.0  # C of the logistic regression; both chosen on cheng by likelihood, whole and 40 patients of it
# Probability of the given label above which nobody need look. On cheng with none changed it doubts 77 images of 3064,
# where 92 are expected by chance; with every 20th label changed 215, where 112 are, 7 of 10 of the changed among them.
_DOUBT = 0.1
_CLEARLY = 1.28  # standard errors (Vuong 1989): in one of ten sets whose labels are right mistakes fit better, too
_TELLING = 0.05 * 0.7  # one label in twenty wrong and seven of ten of these doubted: a set must show as much
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
        low: Low end of the range in which the number of errors lies in at least 95 % of sets with right labels.
        high: High end: no more errors than that are no evidence of wrong labels.
        sentence: What was found, in words.
    """

    errors: list[LabelError]
    balanced_accuracy: float
    expected: float
    low: float
    high: float
    sentence: str


@one_thread
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
        nan = float("nan")
        return LabelErrors([], nan, nan, nan, nan, "labels were not judged: too few groups of two classes")
    learn = np.searchsorted(rows, sample_groups(usable, groups, rng))
    of = groups[rows]
    probabilities = calibrated(_out_of_fold(images, rows, learn, y, of, rng), y, of)
    worth = balanced_accuracy(y[None], probabilities.argmax(1)[None], len(present))[0]
    own = probabilities[np.arange(len(y)), y]
    issues = find_label_issues(y, probabilities, filter_by="both", n_jobs=1) & (own < _DOUBT)
    errors = [
        LabelError(int(rows[at]), classes[present[y[at]]], classes[present[probabilities[at].argmax()]], float(own[at]))
        for at in np.flatnonzero(issues)[np.argsort(own[issues], kind="stable")]
    ]
    # Were the labels drawn from the probabilities, so many would fall on a class held for unlikely.
    chance = np.where(probabilities < _DOUBT, probabilities, 0).sum(1)
    expected, (low, high) = float(chance.sum()), chance_range(own < _DOUBT, chance, of)
    sentence = _in_words(len(errors), expected, low, high, len(y))
    return LabelErrors(errors, float(worth), expected, low, high, sentence)


def _in_words(found: int, expected: float, low: float, high: float, judged: int) -> str:
    by_chance = f"{low:,.0f} to {high:,.0f}"
    said = f"{found:,} images look like another class, "
    if found > high:
        return said + f"where by chance {by_chance} would"
    if high >= expected + _TELLING * judged:
        return said + f"but the set is too small to say whether any is wrong ({by_chance} would by chance)"
    return said + f"no more than would by chance ({by_chance})"


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

    looks = Appearance(images, rows[learn])
    x = looks(rows)
    pairs = rng.choice(learn, (2, 2000))
    width = _WIDTH * (float(np.median(np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1))) or 1.0)
    # Drawn for what the components are made of, since their signs are the solver's choice.
    axes = looks.basis.T @ rng.normal(0, 1 / width, (len(looks.basis), _WAVES))
    offset = rng.uniform(0, 2 * np.pi, _WAVES)

    def bent(some: NDArray[np.int64]) -> Floats:
        waves = np.cos(x[some] @ axes + offset) * np.sqrt(2 / _WAVES)
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
        # To the very end: where it stopped early, rounding would decide how far it had come.
        model = LogisticRegression(C=_INVERSE_PENALTY, solver="newton-cg", tol=1e-9, max_iter=200)
        model.fit(waves[others], y[learn][others])
        of_fold = np.flatnonzero(fold == number)
        for start in range(0, len(of_fold), _BLOCK):
            block = of_fold[start : start + _BLOCK]
            probabilities[np.ix_(block, model.classes_)] = model.predict_proba(bent(block))
    return np.asarray(probabilities / probabilities.sum(1, keepdims=True))


def calibrated(
    probabilities: NDArray[np.float64], y: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return probabilities (N, K) of the right class: at the temperature that fits best (Guo et al. 2017).

    A share of the labels may be any other class by mistake, and is estimated beside the temperature. Without it the
    probabilities would be those of the labels, errors and all, and every number of errors would be the expected one.
    But a classifier of few patients is so wrong of some that mistakes seem to explain them, too: there are none unless
    they fit clearly better, over groups.

    Args:
        probabilities: Out of fold, (N, K).
        y: Given class of each, (N,).
        groups: Group of each, (N,).
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    logits = np.log(probabilities)
    logits -= logits.max(1, keepdims=True)
    wrong = logits.shape[1] - 1

    def soften(sharpness: float) -> NDArray[np.float64]:
        powers = np.exp(sharpness * logits)
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def fits(at: NDArray[np.float64], mistaken: float) -> NDArray[np.float64]:
        right = soften(float(np.exp(at[0])))[np.arange(len(y)), y]
        return np.asarray(np.log((1 - mistaken) * right + mistaken * (1 - right) / wrong + 1e-12))

    sharp = (np.log(0.05), np.log(3))
    exact = {"xatol": 1e-8, "fatol": 1e-14}
    none = minimize(lambda at: -fits(at, 0.0).mean(), (-0.3,), method="Nelder-Mead", bounds=(sharp,), options=exact).x
    some = minimize(
        lambda at: -fits(at, expit(at[1])).mean(),
        (-0.3, -3.0),
        method="Nelder-Mead",
        bounds=(sharp, (-9.0, -1.0)),  # of labels 0.01 % to 27 % wrong
        options=exact,
    ).x
    gain = np.bincount(np.unique(groups, return_inverse=True)[1], fits(some, float(expit(some[1]))) - fits(none, 0.0))
    clear = gain.sum() > _CLEARLY * np.sqrt((gain**2).sum())
    return soften(float(np.exp((some if clear else none)[0])))


def chance_range(
    doubted: NDArray[np.bool_], expected: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the range of the number of doubted images in at least 95 % of sets with right labels.

    Counts are those of a negative binomial: a patient is misjudged with all images, and so they scatter as groups do.

    Args:
        doubted: Whether each image is, (N,).
        expected: Chance of each to be, (N,).
        groups: Group of each, (N,).
    """
    from scipy.stats import nbinom, poisson

    mean = float(expected.sum())
    if not mean:
        return 0.0, 0.0
    off = np.bincount(np.unique(groups, return_inverse=True)[1], doubted - expected)
    variance = float((off**2).sum())
    scatter = nbinom(mean**2 / (variance - mean), mean / variance) if variance > mean else poisson(mean)
    low, high = scatter.ppf([0.025, 0.975])
    return float(low), float(high)


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
