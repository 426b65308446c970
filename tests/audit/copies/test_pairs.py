import numpy as np

from vitlab.audit.copies.pairs import Pairs, across, conflicting, worst_first


def make(rows, kinds, scores):
    first, second = np.array(rows).T
    return Pairs(first, second, np.array(kinds, object), np.array(scores, np.float32))


def test_an_image_of_no_split_or_no_label_contradicts_none():
    pairs = make([(0, 1), (0, 2), (1, 2), (0, 3)], ["flipped"] * 4, [1, 1, 1, 1])
    names = np.array(["a", "b", "", "a"], object)
    assert across(pairs, names).tolist() == [True, False, False, False]
    assert conflicting(pairs, names).tolist() == [True, False, False, False]


def test_worst_first_is_splits_then_labels_then_surety_then_score():
    split = np.array(["train", "train", "test", "test"], object)
    label = np.array(["a", "b", "a", "b"], object)
    pairs = make(
        [(0, 1), (0, 2), (0, 3), (2, 3), (1, 3), (0, 2)],
        ["same file", "flipped", "neighbour", "padded", "same pixels", "turned"],
        [1, 0.90, 0.87, 1, 1, 0.95],
    )
    # Across both; across splits by surety, near kinds by score alone; then those of two labels within a split.
    assert worst_first(pairs, split, label).tolist() == [2, 4, 5, 1, 0, 3]
    assert worst_first(pairs.where(np.zeros(6, bool)), split, label).tolist() == []
