import numpy as np
import pytest
import sklearn.metrics

from vitlab.evaluate.metrics import METRICS, calibration_error
from vitlab.evaluate.tally import tally


def example(n, k, patients, seed=0, digits=None):
    rng = np.random.default_rng(seed)
    patient = np.concatenate([np.arange(patients), rng.integers(patients, size=n - patients)])
    y = (np.arange(patients) % k)[patient]
    y[rng.random(n) < 0.1] = 0  # some patients have images of two classes
    logits = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[y] + rng.normal(size=(patients, k))[patient]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return patient, y, p if digits is None else np.round(p, digits)


def by_hand(y, p, w):
    """Score weighted images with scikit-learn."""
    predicted, k = p.argmax(1), p.shape[1]
    ranking = {
        name: np.mean([score(y == c, p[:, c], sample_weight=w) for c in range(k)])
        for name, score in (
            ("auroc", sklearn.metrics.roc_auc_score),
            ("average_precision", sklearn.metrics.average_precision_score),
        )
    }
    return ranking | {
        "loss": -(w * np.log(p[np.arange(len(y)), y].clip(np.finfo(float).eps))).sum() / w.sum(),
        "brier": (w * ((p - np.eye(k)[y]) ** 2).sum(1)).sum() / w.sum(),
        "accuracy": sklearn.metrics.accuracy_score(y, predicted, sample_weight=w),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(y, predicted, sample_weight=w),
        "macro_f1": sklearn.metrics.f1_score(y, predicted, average="macro", sample_weight=w),
        "mcc": sklearn.metrics.matthews_corrcoef(y, predicted, sample_weight=w),
    }


@pytest.mark.parametrize(("n", "k", "digits"), [(60, 3, None), (500, 2, 1)])
def test_a_resample_is_what_the_plain_loop_finds(n, k, digits):
    patient, y, p = example(n, k, 20, digits=digits)
    weights = np.random.default_rng(1).multinomial(19, np.full(20, 1 / 20), size=30) * 20 / 19
    found = tally(patient, y, p, 20, METRICS).figures(weights, METRICS)
    for row, w in enumerate(weights):
        for name, value in by_hand(y, p, w[patient]).items():
            assert found[name][row] == pytest.approx(value, abs=1e-6), name


def test_bins_lose_less_than_a_tenth_of_the_spread():
    patient, y, p = example(6000, 4, 200)
    weights = np.random.default_rng(1).multinomial(199, np.full(200, 1 / 200), size=40) * 200 / 199
    sums, whole = tally(patient, y, p, 200, METRICS), by_hand(y, p, np.ones(6000))
    found, exact = sums.figures(weights, METRICS), [by_hand(y, p, w[patient]) for w in weights]
    for name in ("auroc", "average_precision"):
        offset = whole[name] - sums.figures(np.ones((1, 200)), METRICS)[name]
        loops = np.array([one[name] for one in exact])
        assert np.abs(found[name] + offset - loops).max() < 0.1 * loops.std(), name


def test_the_calibration_error_of_the_whole_is_that_of_metrics():
    patient, y, p = example(400, 3, 50)
    found = tally(patient, y, p, 50, METRICS).figures(np.ones((1, 50)), ["ece"])["ece"][0]
    assert found == pytest.approx(calibration_error(p.max(1), p.argmax(1) == y))


def test_classes_one_by_one():
    patient, y, p = example(500, 3, 40)
    names = ("sensitivity", "specificity", "precision")
    found = tally(patient, y, p, 40, names).figures(np.ones((1, 40)), names)
    for c in range(3):
        truth, said = y == c, p.argmax(1) == c
        assert found["sensitivity"][0, c] == pytest.approx(sklearn.metrics.recall_score(truth, said))
        assert found["specificity"][0, c] == pytest.approx(sklearn.metrics.recall_score(~truth, ~said))
        assert found["precision"][0, c] == pytest.approx(sklearn.metrics.precision_score(truth, said))


def test_a_class_that_is_not_there():
    even, one = np.full((4, 3), 1 / 3), np.ones((1, 4))
    found = tally(np.arange(4), np.array([0, 1, 0, 1]), even, 4, METRICS).figures(one, METRICS)
    assert found["auroc"][0] == 0.5 and found["accuracy"][0] == 0.5
    single = tally(np.arange(4), np.array([1, 1, 1, 1]), even, 4, METRICS).figures(one, METRICS)
    assert np.isnan(single["auroc"][0]) and np.isnan(single["average_precision"][0])
