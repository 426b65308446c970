import numpy as np
import pytest

from vitlab.audit.baselines.bootstrap import mean_recall_interval


def test_interval_of_independent_images_is_the_normal_one():
    rng = np.random.default_rng(0)
    correct = rng.random(2000) < 0.8
    low, high = mean_recall_interval(correct, np.zeros(2000, int), np.arange(2000), rng)
    half = 1.96 * np.sqrt(correct.mean() * (1 - correct.mean()) / 2000)
    assert (low, high) == pytest.approx((correct.mean() - half, correct.mean() + half), abs=0.004)


def test_images_of_one_patient_are_one_observation():
    rng = np.random.default_rng(0)
    of_patient = rng.random(100) < 0.8
    one = mean_recall_interval(of_patient, np.zeros(100, int), np.arange(100), np.random.default_rng(1))
    groups = np.repeat(np.arange(100), 20)
    twenty = mean_recall_interval(of_patient[groups], np.zeros(2000, int), groups, np.random.default_rng(1))
    assert twenty == pytest.approx(one)


def test_it_covers_the_truth_in_nineteen_of_twenty():
    rng, inside = np.random.default_rng(0), 0
    groups, targets = np.repeat(np.arange(80), 5), np.repeat(np.arange(80) % 2, 5)
    for _ in range(200):
        chance = rng.beta(7, 3, 80)  # patients differ: on average 0.7
        low, high = mean_recall_interval(rng.random(400) < chance[groups], targets, groups, rng)
        inside += low <= 0.7 <= high
    assert 180 <= inside <= 198


def test_where_all_are_right_the_bound_is_the_exact_one_of_as_many_groups():
    from scipy.stats import binomtest

    groups = np.repeat(np.arange(12), 3)
    exact = binomtest(12, 12).proportion_ci()
    right = mean_recall_interval(np.ones(36, bool), np.zeros(36, int), groups, np.random.default_rng(0))
    wrong = mean_recall_interval(np.zeros(36, bool), np.zeros(36, int), groups, np.random.default_rng(0))
    assert right == pytest.approx((exact.low, 1.0)) and wrong == pytest.approx((0.0, 1 - exact.low))
