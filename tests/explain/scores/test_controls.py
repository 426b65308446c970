import numpy as np
import pytest

from vitlab.explain.scores.controls import centre_blob, edge_maps, mean_of_others, random_maps


def test_the_blob_is_in_the_middle():
    blob = centre_blob(2, 16, 24)
    assert blob.shape == (2, 16, 24) and np.array_equal(blob[0], blob[1])
    assert blob.max() == blob[0, 7, 11] == blob[0, 8, 12]
    assert blob[0, 0, 0] < 0.1 * blob.max()
    np.testing.assert_allclose(blob[0], blob[0, ::-1, ::-1])


def test_edges_are_where_the_image_is_steep():
    images = np.zeros((1, 3, 9, 9), np.uint8)
    images[..., 5:] = 200
    edges = edge_maps(images)[0]
    assert (edges[:, [4, 5]] > 0).all() and (edges[:, :4] == 0).all() and (edges[:, 6:] == 0).all()


def test_noise_belongs_to_the_image_and_the_seed():
    a, b = random_maps(np.array([3, 7]), 8, 8), random_maps(np.array([7]), 8, 8)
    assert np.array_equal(a[1], b[0]) and not np.array_equal(a[0], a[1])
    assert not np.array_equal(b, random_maps(np.array([7]), 8, 8, seed=1))
    assert random_maps(np.array([], np.int64), 8, 8).shape == (0, 8, 8)


def test_the_mean_of_others_leaves_the_whole_patient_out():
    maps = np.zeros((4, 1, 4))
    maps[np.arange(4), 0, np.arange(4)] = [1, 2, 300, 4]  # maps count alike, whatever their scale
    found = mean_of_others(maps, np.array(["a", "a", "b", "c"], object))
    np.testing.assert_allclose(found[0, 0], [0, 0, 1 / 2, 1 / 2])
    np.testing.assert_allclose(found[1], found[0])
    np.testing.assert_allclose(found[2, 0], [1 / 3, 1 / 3, 0, 1 / 3], atol=1e-7)


def test_without_ids_each_image_is_its_own_patient_and_alone_it_knows_nothing():
    maps = np.eye(2)[:, None]
    np.testing.assert_allclose(mean_of_others(maps, np.array(["", ""], object)), maps[::-1])
    assert np.ptp(mean_of_others(maps, np.array(["a", "a"], object))) == 0
    assert mean_of_others(np.zeros((0, 2, 2)), np.array([], object)).shape == (0, 2, 2)


def test_a_map_of_nothing_is_flat_among_the_others():
    maps = np.zeros((2, 2, 2))
    assert mean_of_others(maps, np.array(["a", "b"], object)) == pytest.approx(np.full((2, 2, 2), 0.25))
