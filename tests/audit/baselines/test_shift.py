import numpy as np
import pytest

from vitlab.audit.baselines.grouped_cv import GroupedRidge, group_folds, stratified_auroc
from vitlab.audit.baselines.shift import comparable, split_shift, told_apart


def split_of(groups, patients_known=True, seed=None):
    """Put a third of the patients each into val and test by their number, or at random."""
    parts = np.array(["train", "val", "test"], object)
    number = np.arange(groups.max() + 1)
    number = number if seed is None else np.random.default_rng(seed).permutation(number)
    return parts[number % 3][groups]


def other_scanner(patient, pixels):
    """Images of the test split are a little flatter."""
    return (20 + 0.7 * pixels).astype(np.uint8) if patient % 3 == 2 else pixels, 90


def test_a_planted_shift_is_found_in_its_split_only(clustered):
    _, images, groups = clustered(other_scanner)
    targets = np.arange(60)[groups] // 2 % 2
    val, test = split_shift(images, split_of(groups), targets, groups, patients_known=True, seed=0)
    assert (val.split, test.split) == ("val", "test")
    assert test.named and test.auroc > 0.9 and test.low > 0.55 and test.p_value <= 0.01
    assert test.sentence.startswith("test can be told from train: AUROC")
    assert not val.named and val.low < 0.5 < val.high and val.sentence.startswith("val cannot clearly be told")
    assert (test.n, test.n_groups) == (int((groups % 3 != 1).sum()), 40)


def test_no_shift_is_found_where_patients_are_split_at_random(clustered):
    _, images, groups = clustered()
    one = np.zeros_like(groups)
    found = [
        split_shift(images, split_of(groups, seed), one, groups, patients_known=True, seed=seed) for seed in range(5)
    ]
    assert sum(any(shift.named for shift in shifts) for shifts in found) <= 1
    assert 0.4 < np.mean([shift.auroc for shifts in found for shift in shifts]) < 0.55


def test_splits_that_are_absent_or_of_few_patients_are_left_out(clustered):
    _, images, groups = clustered(patients=20)
    assert split_shift(images, np.full(len(groups), "train", object), groups, groups, patients_known=True, seed=0) == []
    few = np.where(groups < 4, "test", "train").astype(object)
    assert split_shift(images, few, groups, groups, patients_known=True, seed=0) == []


def test_unknown_patients_are_said_in_the_sentence(clustered):
    _, images, groups = clustered(patients=20)
    split = np.where(groups < 10, "test", "train").astype(object)
    one = np.zeros_like(groups)
    known, unknown = (
        split_shift(images, split, one, groups, patients_known=known, seed=0)[0] for known in (True, False)
    )
    assert unknown.sentence == known.sentence + " (patients unknown: interval too narrow, p too small)"


@pytest.mark.parametrize(
    ("named", "ends", "words"),
    [
        (True, (0.6, 0.8), "test can be told from train"),
        (True, None, "test can be told from train"),
        (False, (0.51, 0.55), "test differs from train by little, if at all"),
        (False, (0.4, 0.6), "test cannot clearly be told from train"),
        (False, None, "test cannot clearly be told from train"),
        (False, (0.3, 0.45), "test shows no shift from train (below 0.50"),
    ],
)
def test_the_words_fit_the_interval(named, ends, words):
    assert told_apart("test", named, ends).startswith(words)


def other_class(patient, pixels):
    """The two classes look nothing alike."""
    return (255 - pixels if patient % 2 else pixels), 90


def test_a_split_that_is_even_in_its_classes_is_not_held_for_the_opposite_of_training():
    """Ten images of 20 of either class on either side: all that is to be seen is the class."""
    targets, sides = np.arange(40) % 2, np.arange(40) // 2 % 2
    by_fold, by_class = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        fold = group_folds(np.arange(40), rng)
        scores = GroupedRidge(targets[:, None] + rng.normal(0, 1e-3, (40, 1)), fold).predict(sides[:, None])
        by_fold.append(stratified_auroc(scores, sides[:, None], fold)[0])
        by_class.append(stratified_auroc(scores, sides[:, None], comparable(fold, targets, sides))[0])
    assert np.mean(by_fold) < 0.45 and abs(np.mean(by_class) - 0.5) < 0.08
    apart = comparable(fold, np.where(targets, 1, -1), targets)
    assert (apart == fold).all()  # no class is on both sides


def test_splits_of_different_classes_are_told_apart(clustered):
    _, images, groups = clustered(other_class, patients=24)
    split = np.where(groups % 2, "test", "train").astype(object)
    (found,) = split_shift(images, split, groups % 2, groups, patients_known=True, seed=0)
    assert found.named and found.auroc > 0.95
