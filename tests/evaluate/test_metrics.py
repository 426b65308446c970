import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.functional.classification as tm

from vitlab.evaluate.metrics import METRICS, calibration_error, compute_metrics


def example(n, k, seed=0, strength=2.0):
    rng = np.random.default_rng(seed)
    y = rng.choice(k, n, p=rng.dirichlet(np.full(k, 3.0)))
    logits = rng.normal(size=(n, k)) + strength * np.eye(k)[y]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probs, y


@pytest.mark.parametrize(("n", "k", "seed"), [(400, 4, 0), (150, 2, 1), (3000, 10, 2)])
def test_equal_to_scikit_learn(n, k, seed):
    p, y = example(n, k, seed)
    assert len(np.unique(y)) == k
    found, predicted = compute_metrics(p, y), p.argmax(1)
    auroc = sklearn.metrics.roc_auc_score(y, p[:, 1] if k == 2 else p, multi_class="ovr", average="macro")
    expected = {
        "loss": sklearn.metrics.log_loss(y, p),
        "accuracy": sklearn.metrics.accuracy_score(y, predicted),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(y, predicted),
        "macro_f1": sklearn.metrics.f1_score(y, predicted, average="macro"),
        "auroc": auroc,
        "average_precision": sklearn.metrics.average_precision_score(np.eye(k)[y], p, average="macro"),
        "brier": sum(sklearn.metrics.brier_score_loss(y == c, p[:, c]) for c in range(k)),
        "mcc": sklearn.metrics.matthews_corrcoef(y, predicted),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert tuple(found) == METRICS and all(type(value) is float for value in found.values())


@pytest.mark.parametrize(("n", "k", "seed"), [(400, 4, 0), (3000, 10, 2)])
def test_equal_to_torchmetrics(n, k, seed):
    p, y = example(n, k, seed)
    found, tensors = compute_metrics(p, y), (torch.tensor(p), torch.tensor(y))
    figures = {
        "accuracy": tm.multiclass_accuracy(*tensors, k, average="micro"),
        "balanced_accuracy": tm.multiclass_accuracy(*tensors, k, average="macro"),
        "macro_f1": tm.multiclass_f1_score(*tensors, k, average="macro"),
        "auroc": tm.multiclass_auroc(*tensors, k, average="macro"),
        "average_precision": tm.multiclass_average_precision(*tensors, k, average="macro"),
        "mcc": tm.multiclass_matthews_corrcoef(*tensors, k),
    }
    expected = {name: float(figure) for name, figure in figures.items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_loss_is_the_cross_entropy_that_training_logs():
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) * 3
    y = torch.arange(200) % 5
    found = compute_metrics(logits.double().softmax(1).numpy(), y.numpy())["loss"]
    assert found == pytest.approx(torch.nn.functional.cross_entropy(logits, y).item(), abs=1e-6)


def test_certain_and_wrong_costs_a_finite_amount():
    assert compute_metrics([[1.0, 0.0], [0.0, 1.0]], [1, 1])["loss"] == pytest.approx(36.04 / 2, abs=0.01)


def test_known_answers():
    perfect = compute_metrics(np.eye(3), [0, 1, 2])
    ideal = dict.fromkeys(METRICS, 1.0) | {"loss": 0, "ece": 0, "brier": 0}
    assert perfect == pytest.approx(ideal)
    guess = compute_metrics(np.full((4, 4), 0.25), [0, 1, 2, 3])
    assert guess == pytest.approx(
        {"loss": np.log(4), "accuracy": 0.25, "balanced_accuracy": 0.25, "macro_f1": 0.1, "auroc": 0.5,
         "average_precision": 0.25, "ece": 0, "brier": 0.75, "mcc": 0}
    )  # fmt: skip
    # (0.7-1)^2 + 0.2^2 + 0.1^2 = 0.14 and 0.5^2 + (0.3-1)^2 + 0.2^2 = 0.78
    assert compute_metrics([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]], [0, 1])["brier"] == pytest.approx(0.46)


def test_ece_by_hand():
    # 30 images in 15 bins of two: pairs of confidence 0.51, 0.52, ... in order; the first of each pair is right.
    confidence = np.repeat(np.arange(15) / 100 + 0.51, 2)
    correct = np.tile([1, 0], 15)
    assert calibration_error(confidence, correct) == pytest.approx(np.mean(np.arange(15) / 100 + 0.51 - 0.5))
    # Two bins of unequal size: 3 images (0.6, 0.7, 0.8; one right) and 2 (0.9, 1.0; both right).
    by_hand = 3 / 5 * abs(1 / 3 - 0.7) + 2 / 5 * abs(1 - 0.95)
    assert calibration_error([0.9, 0.6, 1.0, 0.8, 0.7], [1, 0, 1, 0, 1], bins=2) == pytest.approx(by_hand)


def test_ece_does_not_depend_on_the_order_of_rows():
    confidence = np.round(np.random.default_rng(0).uniform(0.3, 1, 500), 1)
    correct = np.random.default_rng(1).random(500) < confidence
    order = np.random.default_rng(2).permutation(500)
    assert calibration_error(confidence, correct) == pytest.approx(calibration_error(confidence[order], correct[order]))
    assert calibration_error(np.full(500, 0.8), np.arange(500) < 300) == pytest.approx(0.2)


def test_ece_of_a_calibrated_forecast_is_small_and_of_an_overconfident_one_is_not():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.25, 1, 20_000)
    correct = rng.random(20_000) < confidence
    assert calibration_error(confidence, correct) < 0.02
    assert calibration_error(np.minimum(confidence + 0.2, 1), correct) > 0.15


def test_classes_that_are_not_there():
    p, y = example(300, 5)
    p, y = p[y < 3], y[y < 3]
    found = compute_metrics(p, y)
    one_by_one = [sklearn.metrics.roc_auc_score(y == c, p[:, c]) for c in range(3)]
    assert found["auroc"] == pytest.approx(np.mean(one_by_one))
    single = compute_metrics(p[y == 1], y[y == 1])
    assert single["auroc"] is None and single["balanced_accuracy"] == pytest.approx(single["accuracy"])
    assert single["mcc"] == 0


@pytest.mark.parametrize(
    ("probs", "targets", "message"),
    [
        (np.empty((0, 3)), [], "cannot score"),
        (np.eye(3), [0, 1], "cannot score"),
        (np.eye(3), [0, 1, -1], "only labelled images"),
        (np.eye(3), [0, 1, 3], "targets 0 to 3 of 3 classes"),
        (np.full((1, 2), np.nan), [0], "training has diverged"),
    ],
)
def test_what_cannot_be_scored_is_refused(probs, targets, message):
    with pytest.raises(ValueError, match=message):
        compute_metrics(probs, targets)
