"""AUROC from pairs of patients: that of the bins to the digit where weights are whole, and that of scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from tests.evaluate.test_tally import example
from vitlab.evaluate.patient_pairs import PatientPairs
from vitlab.evaluate.tally import from_ranks, tally


@pytest.mark.parametrize("k", [2, 3, 4])
def test_pairs_give_what_bins_give(k):
    patient, y, p = example(800, k, 30)
    sums = tally(patient, y, p, 30, ["auroc"])
    weights = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=200).astype(np.float64)
    by_bins = from_ranks(sums.counts(weights), ["auroc"])["auroc"]
    by_pairs = PatientPairs.of(sums.ranks, 30).auroc(weights)
    assert np.array_equal(by_pairs, by_bins) and np.ptp(by_pairs) > 0.01


def test_ties_are_half_and_the_mean_is_over_classes():
    patient, y, p = example(60, 3, 12, digits=1)  # few values: each has a bin of its own
    found = tally(patient, y, p, 12, ["auroc"]).figures(np.ones((1, 12)), ["auroc"])["auroc"][0]
    expected = [sklearn.metrics.roc_auc_score(y == c, p[:, c]) for c in range(3)]
    assert found == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_class_that_no_drawn_patient_has_does_not_count():
    """Of three patients, each with a class of its own, two are drawn; then one, and there is nothing to rank."""
    patient, y = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2, 2])
    p = np.eye(3)[y] * 0.7 + 0.1
    found = tally(patient, y, p, 3, ["auroc"]).figures(np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 0.0]]), ["auroc"])["auroc"]
    assert found[0] == 1.0 and np.isnan(found[1])


def test_a_class_that_nobody_has_is_left_out():
    patient, y, p = example(60, 3, 12)
    y = y % 2
    found = tally(patient, y, p, 12, ["auroc"]).figures(np.ones((1, 12)), ["auroc"])["auroc"][0]
    expected = [sklearn.metrics.roc_auc_score(y == c, p[:, c]) for c in range(2)]
    assert found == pytest.approx(np.mean(expected), abs=1e-3)


def test_many_patients_are_counted_in_bins(monkeypatch):
    """Pairs of patients grow with their square, bins do not."""
    monkeypatch.setattr(PatientPairs, "of", None)
    patient, y, p = example(3000, 2, 400)
    assert tally(patient, y, p, 400, ["auroc"]).figures(np.ones((1, 400)), ["auroc"])["auroc"][0] > 0.5
    y = np.arange(100) % 20  # a class a patient: bins of the others are not kept, pairs with them would be
    p = np.random.default_rng(0).dirichlet(np.ones(20), size=100)
    assert tally(np.arange(100), y, p, 100, ["auroc"]).figures(np.ones((1, 100)), ["auroc"])["auroc"][0] > 0.3
