import time

import numpy as np
import pytest

from vitlab.evaluate.probe import feature_std, knn_accuracy, linear_probe_accuracy, rankme


def blobs(n=1800, d=256, classes=4, spread=3.0, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return rng.normal(size=(n, d)) + spread * np.random.default_rng(99).normal(size=(classes, d))[y] / np.sqrt(8), y


@pytest.mark.parametrize("probe", [knn_accuracy, linear_probe_accuracy])
def test_separable_features_are_solved_and_shuffled_labels_give_chance(probe):
    x, y = blobs()
    assert probe(x[:1200], y[:1200], x[1200:], y[1200:]) > 0.97
    shuffled = np.random.default_rng(1).permutation(y[:1200])
    assert abs(probe(x[:1200], shuffled, x[1200:], y[1200:]) - 0.25) < 0.07


@pytest.mark.parametrize("probe", [knn_accuracy, linear_probe_accuracy])
def test_balanced_counts_classes_and_not_images(probe):
    x = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    y = [0, 0, 1, 1]
    test_x, test_y = np.array([[1.0, 0]] * 10), [0] * 8 + [1] * 2  # the two of class 1 look like class 0
    settings = {"k": 2} if probe is knn_accuracy else {}
    assert probe(x, y, test_x, test_y, **settings) == pytest.approx(0.5)
    assert probe(x, y, test_x, test_y, balanced=False, **settings) == pytest.approx(0.8)


def test_knn_votes_are_weighted_by_similarity():
    angle = np.deg2rad([0, 20, 20, 90])
    x = np.stack([np.cos(angle), np.sin(angle)], 1) * [[1], [50], [3], [1]]  # lengths do not matter
    query, truth = [[2.0, 0.0]], [1]
    # One vote of exp(0) = 1 against two of exp((cos 20 - 1) / T): 0.85 at T = 0.07 and 1.99 at T = 10.
    assert knn_accuracy(x, [1, 0, 0, 0], query, truth, k=3) == 1
    assert knn_accuracy(x, [1, 0, 0, 0], query, truth, k=3, temperature=10) == 0


def test_knn_equals_a_plain_loop_over_images_and_chunks():
    x, y = blobs(600, 16, spread=0.7)
    test_x, test_y = blobs(1500, 16, spread=0.7, seed=5)  # more than a chunk
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    right = 0
    for query, truth in zip(test_x, test_y, strict=True):
        similarity = unit @ (query / np.linalg.norm(query))
        votes = np.zeros(4)
        for i in np.argsort(-similarity)[:20]:
            votes[y[i]] += np.exp(similarity[i] / 0.07)
        right += votes.argmax() == truth
    assert knn_accuracy(x, y, test_x, test_y, balanced=False) == pytest.approx(right / 1500)


def test_knn_takes_fewer_images_than_neighbours():
    assert knn_accuracy(np.eye(2), [0, 1], np.eye(2), [0, 1]) == 1


def test_linear_probe_is_blind_to_scale_and_to_dead_features():
    x, y = blobs(400, 32, spread=0.8)
    test_x, test_y = blobs(200, 32, spread=0.8, seed=3)
    reference = linear_probe_accuracy(x, y, test_x, test_y)
    dead = np.full((1, 3), 0.1)
    x2, test_x2 = (np.hstack([part * 1e4 + 7, np.repeat(dead, len(part), 0)]) for part in (x, test_x))
    assert 0.5 < reference < 1 and linear_probe_accuracy(x2, y, test_x2, test_y) == pytest.approx(reference, abs=0.02)


def test_linear_probe_is_fast():
    x, y = blobs(spread=0.3)
    linear_probe_accuracy(x[:50], y[:50], x[:50], y[:50])  # imports scikit-learn
    start = time.perf_counter()
    linear_probe_accuracy(x, y, x, y)
    assert time.perf_counter() - start < 2  # 0.05 s on a quiet machine


def test_collapse_is_visible():
    rng = np.random.default_rng(0)
    collapsed = np.tile(rng.normal(size=64), (500, 1))
    assert feature_std(collapsed) == pytest.approx(0, abs=1e-6) and rankme(collapsed) == pytest.approx(1, abs=1e-6)
    gaussian = rng.normal(size=(20_000, 64))
    assert feature_std(gaussian) == pytest.approx(1, abs=0.02) and rankme(gaussian) > 63
    line = np.outer(rng.normal(size=500), rng.normal(size=64))  # dimensional collapse
    assert rankme(line) == pytest.approx(1, abs=1e-6)
    assert rankme(np.zeros((10, 4))) == 1 and feature_std(np.zeros((10, 4))) == 0


def test_rankme_known_answers():
    orthogonal = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 16)))[0]
    assert rankme(orthogonal) == pytest.approx(16) and rankme(5 * orthogonal) == pytest.approx(16)
    assert rankme(orthogonal[:, :3] @ np.random.default_rng(1).normal(size=(3, 64))) < 3.0001
    shares = np.array([0.5, 0.25, 0.25])  # entropy 1.5 bits
    assert rankme(orthogonal[:, :3] * shares) == pytest.approx(2**1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.full((2, 2), np.nan), [0, 1], np.eye(2), [0, 1]), "training has diverged"),
        ((np.eye(2), [0, 1], np.eye(3), [0, 1, 1]), "do not fit"),
        ((np.eye(2), [0], np.eye(2), [0, 1]), "do not fit"),
        ((np.eye(2), [0, -1], np.eye(2), [0, 1]), "labelled"),
        ((np.empty((0, 2)), [], np.eye(2), [0, 1]), "images x features"),
    ],
)
@pytest.mark.parametrize("probe", [knn_accuracy, linear_probe_accuracy])
def test_what_cannot_be_probed_is_refused(probe, arguments, message):
    with pytest.raises(ValueError, match=message):
        probe(*arguments)


def test_a_linear_probe_needs_two_classes():
    with pytest.raises(ValueError, match="at least two classes"):
        linear_probe_accuracy(np.eye(2), [1, 1], np.eye(2), [0, 1])
