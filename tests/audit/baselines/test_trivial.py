import numpy as np
import pytest

from vitlab.audit.baselines.appearance import COMPONENTS, Appearance, main_axes
from vitlab.audit.baselines.encode import bins, one_hot
from vitlab.audit.baselines.trivial import coarse, curved, file_features, intensities, pixel_features


@pytest.fixture(scope="module")
def made(clustered):
    return clustered(patients=20)


def test_intensities_are_those_of_the_pixels(made):
    _, images, _ = made
    rows = np.array([3, 7])
    described = intensities(images, rows)
    for row, values in zip(rows, described, strict=True):
        pixels = images.frames[row].astype(float)
        assert values[[0, 4, 8]] == pytest.approx(np.percentile(pixels, [1, 50, 99]), abs=1)
        assert values[9:11] == pytest.approx([pixels.mean(), pixels.std()], rel=1e-4)
        assert (values[11:] ** 2).sum() == pytest.approx(1, abs=1e-4)


def test_the_coarse_picture_has_mean_and_maximum_of_cells(made):
    _, images, _ = made
    mean, peak = coarse(images, np.array([5]))
    assert mean[0, 2, 9] == pytest.approx(images.frames[5, 8:12, 36:40].mean())
    assert peak[0, 2, 9] == images.frames[5, 8:12, 36:40].max()


@pytest.mark.parametrize("name", ["border pixels", "corner pixels", "picture without its centre"])
def test_the_centre_is_not_in_what_is_outside(made, name):
    _, images, _ = made
    rows = np.arange(len(images))
    changed = images.frames.copy()
    changed[:, 32:64, 32:64] = 255 - changed[:, 32:64, 32:64]
    other = type(images)(**{**vars(images), "frames": changed})
    before, after = (pixel_features(one, rows, np.random.default_rng(0))[name] for one in (images, other))
    linear = slice(before.shape[1] - 200)  # behind come random waves
    np.testing.assert_array_equal(before[:, linear], after[:, linear])
    assert before[:, linear].shape[1] > 10


def test_files_that_are_alike_have_no_features(made):
    _, images, groups = made
    features = file_features(images, np.arange(len(images)), groups)
    assert [name for name, values in features.items() if values.shape[1]] == ["file size"]


def test_bins_follow_any_relation_and_missing_values_have_a_column():
    values = np.r_[np.arange(100.0), np.full(5, np.nan)]
    features = bins(values)
    middle = (values > 30) & (values < 70)
    fit = features @ np.linalg.lstsq(features, middle, rcond=None)[0]
    assert ((fit > 0.5) == middle).mean() > 0.97
    assert any((column == np.isnan(values)).all() for column in features.T)
    assert bins(np.full(5, np.nan)).shape == bins(np.ones(5)).shape == (5, 0)


def test_a_value_of_a_few_groups_is_no_value():
    groups = np.repeat(np.arange(20), 3)
    values = np.where(groups < 4, "rare", np.where(groups < 12, "one", "two"))
    assert one_hot(values, groups).sum(0).tolist() == [12, 24, 24] and one_hot(groups, groups).shape == (60, 0)


def test_waves_follow_a_curve():
    x = np.random.default_rng(0).normal(size=(500, 2))
    ring = (np.linalg.norm(x, axis=1) > 1.2).astype(float)
    features = curved(x, np.random.default_rng(1)).astype(float)
    weights = np.linalg.solve(features.T @ features + np.eye(features.shape[1]), features.T @ (ring - 0.5))
    assert ((features @ weights > 0) == (ring > 0.5)).mean() > 0.95
    assert curved(np.ones((5, 3)), np.random.default_rng(0)).shape == (5, 0)


def test_appearance_knows_a_patient_and_survives_blank_images(made):
    _, images, groups = made
    rows = np.arange(len(images))
    x = Appearance(images, rows)(rows)
    assert x.shape == (len(images), COMPONENTS) and (np.diff(x.std(0)[:20]) < 1e-3).all()
    distance = np.linalg.norm(x[:, None] - x, axis=2) + np.diag(np.full(len(x), np.inf))
    several = np.bincount(groups)[groups] > 1
    assert (groups[distance.argmin(1)] == groups)[several].mean() > 0.9
    blank = type(images)(**{**vars(images), "frames": images.frames * 0, "content": images.frames * 0})
    assert not Appearance(blank, rows)(rows).any()


@pytest.mark.parametrize("images", [30, 80])  # fewer than half as many as features, and more
def test_main_axes_are_those_of_the_singular_values(images):
    x = np.random.default_rng(0).normal(size=(images, 100)) * np.linspace(3, 1, 100)
    x -= x.mean(0)
    axes, found = np.linalg.svd(x, full_matrices=False)[2][:20], main_axes(x, 20)
    np.testing.assert_allclose(np.abs(axes @ found), np.eye(20), atol=1e-9)
    few = main_axes(x[:10], 20)
    assert few.shape == (100, 20) and np.abs(few[:, 10:]).max() == 0
    centred = x[:10] - x[:10].mean(0)
    few = main_axes(centred, 20)
    np.testing.assert_allclose(centred @ few @ few.T, centred, atol=1e-9)  # nine axes hold ten centred images
    assert (np.linalg.norm(few, axis=0) > 0.5).sum() == 9
