import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from vitlab.audit.baselines.grouped_cv import stratified_auroc
from vitlab.audit.baselines.intervals import auroc_interval, in_words, mean_recall_interval


def test_interval_of_independent_images_is_the_normal_one():
    correct = np.random.default_rng(0).random(2000) < 0.8
    interval = mean_recall_interval(correct, np.zeros(2000, int), np.arange(2000))
    half = 1.96 * np.sqrt(correct.mean() * (1 - correct.mean()) / 2000)
    assert interval == pytest.approx((correct.mean() - half, correct.mean() + half), abs=0.002)


def test_images_of_one_patient_are_one_observation():
    of_patient = np.random.default_rng(0).random(100) < 0.8
    one = mean_recall_interval(of_patient, np.zeros(100, int), np.arange(100))
    groups = np.repeat(np.arange(100), 20)
    assert mean_recall_interval(of_patient[groups], np.zeros(2000, int), groups) == pytest.approx(one)


@pytest.mark.parametrize("n_groups", [10, 20, 80])
@pytest.mark.parametrize("mean", [0.7, 0.9])
def test_recalls_cover_the_truth_in_nineteen_of_twenty(n_groups, mean):
    """Patients differ in number of images and in how hard they are; with 10 groups a class has five."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(600):
        groups = np.repeat(np.arange(n_groups), rng.integers(1, 13, n_groups))
        chance = rng.beta(10 * mean, 10 * (1 - mean), n_groups)
        low, high = mean_recall_interval(rng.random(len(groups)) < chance[groups], groups % 2, groups)
        inside += low <= mean <= high
    assert 0.93 <= inside / 600 <= 0.98


@pytest.mark.parametrize("n_groups", [10, 20, 80])
def test_areas_cover_the_truth_in_nineteen_of_twenty(n_groups):
    rng, inside = np.random.default_rng(0), 0
    truth = 0.7602  # of normals one spread apart
    for _ in range(600):
        groups = np.repeat(np.arange(n_groups), rng.integers(1, 9, n_groups))
        of_patient = rng.normal(0, np.sqrt(0.5), n_groups)
        scores = groups % 2 + of_patient[groups] + rng.normal(0, np.sqrt(0.5), len(groups))
        low, high = auroc_interval(scores, groups % 2, np.zeros(len(groups), int), groups)
        inside += low <= truth <= high
    assert 0.93 <= inside / 600 <= 0.98


def test_areas_are_those_of_pairs_of_one_fold_and_of_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    y, fold = groups % 2, groups // 2 % 5
    scores = y + (8 * rng.normal(0, 1, 60)[groups]).round() / 8  # images of a group are alike, some groups too
    area = stratified_auroc(scores[:, None], y[:, None], fold)[0]
    low, high = auroc_interval(scores + 100 * fold, y, fold, groups)
    assert (low, high) == pytest.approx(auroc_interval(scores, y, fold, groups))
    assert low < area < high
    narrow = auroc_interval(scores, y, fold, np.arange(len(y)))
    assert high - low > 2.5 * (narrow[1] - narrow[0])
    one_fold = auroc_interval(scores, y, np.zeros(len(y), int), np.arange(len(y)))
    error = 1.96 * np.sqrt(roc_variance(scores, y))
    assert one_fold == pytest.approx((roc_auc_score(y, scores) - error, roc_auc_score(y, scores) + error), abs=0.003)


def roc_variance(scores, y):
    """DeLong et al. 1988, by counting every pair."""
    pair = scores[y == 1][:, None] - scores[y == 0]
    won = (pair > 0) + (pair == 0) / 2
    return won.mean(1).var(ddof=1) / len(won) + won.mean(0).var(ddof=1) / won.shape[1]


def test_where_all_are_right_the_bound_is_the_exact_one_of_as_many_groups():
    groups = np.repeat(np.arange(12), 3)
    exact = binomtest(12, 12).proportion_ci()
    right = mean_recall_interval(np.ones(36, bool), np.zeros(36, int), groups)
    wrong = mean_recall_interval(np.zeros(36, bool), np.zeros(36, int), groups)
    assert right == pytest.approx((exact.low, 1.0)) and wrong == pytest.approx((0.0, 1 - exact.low))
    apart = auroc_interval(groups % 2, groups % 2, np.zeros(36, int), groups)
    assert apart == pytest.approx((binomtest(6, 6).proportion_ci().low, 1.0))


def test_where_one_class_takes_all_the_interval_is_not_empty():
    groups = np.repeat(np.arange(20), 3)
    low, high = mean_recall_interval(groups % 2 == 0, groups % 2, groups)
    assert low < 0.45 and high > 0.55


def test_few_groups_have_no_interval():
    groups = np.repeat(np.arange(9), 30)
    correct = np.arange(len(groups)) % 3 > 0
    assert mean_recall_interval(correct, np.zeros(len(groups), int), groups) is None
    assert mean_recall_interval(np.ones(9, bool), np.zeros(9, int), np.arange(9)) is None
    assert auroc_interval(correct, groups % 2, np.zeros(len(groups), int), groups) is None
    groups = np.arange(30)
    assert mean_recall_interval(groups % 4 > 0, (groups == 0).astype(int), groups) is None  # a class is one patient
    assert auroc_interval(groups, (groups == 0).astype(int), np.zeros(30, int), groups) is None


def test_one_large_group_among_small_ones_widens_the_interval():
    rng = np.random.default_rng(0)
    even = np.repeat(np.arange(40), 10)
    uneven = np.r_[np.zeros(205, int), np.repeat(np.arange(1, 40), 5)]
    widths = []
    for _ in range(50):
        chance = rng.beta(7, 3, 40)
        intervals = [
            mean_recall_interval(rng.random(400) < chance[groups], np.zeros(400, int), groups)
            for groups in (even, uneven)
        ]
        widths.append(np.ptp(intervals, axis=1))
    assert np.mean(widths, 0)[1] > 1.7 * np.mean(widths, 0)[0]


def test_intervals_in_words():
    assert in_words((0.512, 0.6)) == "0.51 to 0.60" and in_words((0.512, 0.6), percent=True) == "51 to 60"
    assert in_words(None) == "too few groups for an interval"


def test_one_error_of_many_is_no_reason_to_know_nothing():
    groups = np.repeat(np.arange(60), 4)
    correct = np.ones(240, bool)
    correct[0] = False
    low, high = mean_recall_interval(correct, groups % 2, groups)
    assert 0.85 < low < correct.mean() < high
