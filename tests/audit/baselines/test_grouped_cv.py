import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from vitlab.audit.baselines import grouped_cv
from vitlab.audit.baselines.grouped_cv import (
    FOLDS,
    GroupedRidge,
    balanced_accuracy,
    group_folds,
    permuted,
    rank_within,
    sample_groups,
    stratified_auroc,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_folds_keep_groups_whole_and_are_of_like_size(rng):
    groups = np.repeat(np.arange(50) * 7, rng.integers(1, 12, 50))
    fold = group_folds(groups, rng)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    assert np.ptp(np.bincount(fold, minlength=FOLDS)) <= 3


def test_out_of_fold_estimates_equal_those_of_one_fit_a_fold(rng):
    x, fold, values = rng.normal(3, 2, (90, 4)), rng.integers(0, FOLDS, 90), rng.normal(size=(90, 2))
    estimates = GroupedRidge(x, fold).predict(values)
    z = (x - x.mean(0)) / x.std(0)
    for number in range(FOLDS):
        expected = Ridge(alpha=4.0).fit(z[fold != number], values[fold != number]).predict(z[fold == number])
        np.testing.assert_allclose(estimates[fold == number], expected, atol=1e-4)


def test_permuted_labels_move_by_group_and_keep_runs(rng):
    groups = np.repeat(np.arange(30), rng.integers(1, 9, 30))
    pure = permuted(groups % 3, groups, 20, rng)
    assert (pure[0] == groups % 3).all() and (pure[1:] != pure[0]).any(1).all()
    for vector in pure:
        of_group = [set(vector[groups == group]) for group in range(30)]
        assert all(len(found) == 1 for found in of_group)
        assert np.bincount([found.pop() for found in of_group]).tolist() == [10, 10, 10]
    # Half of each group has a tumour, in one run: so it stays, wherever the run starts.
    groups = np.repeat(np.arange(20), 8)
    halves = permuted(np.tile([0, 0, 0, 0, 1, 1, 1, 1], 20), groups, 5, rng).reshape(6, 20, 8)
    assert (halves.sum(2) == 4).all() and (np.abs(np.diff(halves, axis=2)).sum(2) <= 2).all()


def test_classes_are_those_of_linear_discriminants(rng):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    y = rng.choice(3, 900, p=[0.7, 0.2, 0.1])
    x, fold = rng.normal(size=(900, 4)) + np.eye(3, 4)[y] * [3, 2, 1, 0], rng.integers(0, FOLDS, 900)
    predicted = next(GroupedRidge(x, fold).classify(y[None], 3))[0]
    expected = np.empty(900, int)
    for number in range(FOLDS):
        model = LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(x[fold != number], y[fold != number])
        expected[fold == number] = model.predict(x[fold == number])
    assert (predicted == expected).mean() > 0.99


def test_prediction_is_balanced_where_classes_are_not(rng):
    y = (rng.random(6000) < 0.1).astype(int)
    x = (y + rng.normal(0, 0.7, 6000))[:, None]
    predicted = next(GroupedRidge(x, rng.integers(0, FOLDS, 6000)).classify(y[None], 2))[0]
    recalls = [(predicted[y == name] == name).mean() for name in (0, 1)]
    assert abs(recalls[0] - recalls[1]) < 0.08 and min(recalls) > 0.7  # the most common class alone would have 1 and 0
    assert balanced_accuracy(y[None], predicted[None], 2)[0] == pytest.approx(np.mean(recalls))


def test_auroc_compares_within_folds_only(rng):
    scores, labels, fold = rng.integers(0, 9, 200), rng.integers(0, 2, 200), np.zeros(200, int)
    both = np.stack([scores, -scores], 1), np.stack([labels, labels], 1)
    expected = roc_auc_score(labels, scores)
    np.testing.assert_allclose(stratified_auroc(*both, fold), [expected, 1 - expected])
    fold = np.arange(200) % 2
    shifted = stratified_auroc(both[0] + 100 * fold[:, None], both[1], fold)
    np.testing.assert_allclose(shifted, stratified_auroc(*both, fold))
    assert stratified_auroc(both[0], np.ones_like(both[1]), fold).tolist() == [0.5, 0.5]


def test_a_sample_has_whole_groups_of_every_class_and_none_that_fills_it(rng, monkeypatch):
    monkeypatch.setattr(grouped_cv, "LIMIT", 400)
    groups = np.r_[np.repeat(np.arange(500), 4), np.full(900, 999), np.repeat(np.arange(1000, 1030), 4)]
    targets = np.r_[np.zeros(2000, int), np.ones(900, int), np.full(120, 2)]
    targets[5] = -1
    rows = sample_groups(targets, groups, rng)
    assert len(rows) == 400 and (np.diff(rows) > 0).all() and 5 not in rows
    assert np.bincount(targets[rows]).tolist()[1:] == [20, 120]
    sizes = np.unique(groups[rows], return_counts=True)[1]
    assert (np.sort(sizes)[1:] >= 3).sum() >= len(sizes) - 2
    assert sample_groups(targets[:300], groups[:300], rng).tolist() == [row for row in range(300) if row != 5]


def test_rank_within():
    assert rank_within(np.array([3, 1, 3, 3, 1])).tolist() == [0, 0, 1, 2, 1]
    assert rank_within(np.zeros(0, int)).tolist() == []
