"""Principal components: those of scikit-learn, whatever the shape."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from vitlab.evaluate.projection import main_axes


@pytest.mark.parametrize("shape", [(50, 8), (6, 40), (30, 2)])
def test_they_are_those_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    features = rng.normal(size=shape) * np.linspace(3, 0.5, shape[1]) + 5
    places, explained = main_axes(features)
    pca = PCA(2, svd_solver="full").fit(features)
    theirs = pca.transform(features)
    for axis in (0, 1):
        assert abs(places[:, axis] @ theirs[:, axis]) == pytest.approx(theirs[:, axis] @ theirs[:, axis])
        assert np.corrcoef(places[:, axis], features[:, np.abs(pca.components_[axis]).argmax()])[0, 1] > 0
    assert explained == pytest.approx(pca.explained_variance_ratio_.tolist())


def test_the_order_of_the_images_does_not_matter():
    features = np.random.default_rng(1).normal(size=(20, 5))
    order = np.random.default_rng(2).permutation(20)
    assert main_axes(features[order])[0] == pytest.approx(main_axes(features)[0][order])


def test_features_that_do_not_vary_are_one_point():
    places, explained = main_axes(np.ones((4, 3)))
    assert not places.any() and explained == [0.0, 0.0]
    assert main_axes(np.arange(4.0)[:, None])[1] == [1.0, 0.0]
