"""The score of unlikeness: known distances, what it notices, its file, and its AUROC with an interval."""

import shutil

import numpy as np
import pytest
import torch

from vitlab.explain.features import ood
from vitlab.explain.features.ood import (
    OutOfDistribution,
    fit_ood,
    ood_auroc,
    ood_of,
    read_ood,
    saved_ood,
    stage_features,
)
from vitlab.explain.runs.loaded import load_run


@pytest.fixture(scope="module")
def copies(runs, tmp_path_factory):
    """Return recipe -> a copy of its run, to write into."""
    root = tmp_path_factory.mktemp("copies")
    return {name: shutil.copytree(folder, root / name) for name, folder in runs.items()}


def noise(count, channels=1, size=32):
    values = np.random.default_rng(0).integers(0, 256, (count, channels, size, size), np.uint8)
    return torch.from_numpy(values)


def test_distances_are_mahalanobis():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.1]]) + 5
    covariance = np.cov((x - x.mean(0)).T / x.std(0)[:, None])
    detector = OutOfDistribution(
        [x.mean(0)], [x.std(0)], [np.linalg.inv(covariance)], np.zeros(1), np.ones(1), 0.0, ""
    )  # fmt: skip
    from scipy.spatial.distance import mahalanobis

    expected = [mahalanobis(one, x.mean(0), np.linalg.inv(np.cov(x.T))) for one in x[:20]]
    np.testing.assert_allclose(np.exp(detector.distances([x[:20]])[:, 0]), expected, rtol=1e-6)


@pytest.mark.parametrize("recipe", ["cnn", "vit", "simclr_pretrain", "mae_pretrain"])
def test_noise_is_unlike_and_test_images_are_not(copies, recipe):
    run = load_run(copies[recipe])
    detector = ood_of(run)
    val, test = (detector.scores(run, run.images(run.rows(split))) for split in ("val", "test"))
    assert detector.scores(run, noise(20)).min() > max(detector.threshold, test.max())
    assert (val > detector.threshold).sum() <= 1 and abs(val.mean()) < 1e-6
    assert (test > detector.threshold).mean() < 0.3
    found = ood_auroc(run, run.rows("test"), noise(20))
    assert found.mean == 1.0 and found.n_images == 36


def test_auroc_of_the_same_kind_is_chance_and_its_interval_says_so(copies):
    run = load_run(copies["cnn"])
    rows = run.rows("test")
    found = ood_auroc(run, rows[::2], run.images(rows[1::2]), outside_patients=["a", "a", "b", "", "", "", "", ""])
    assert found.low < 0.5 < found.high and found.high - found.low > 0.3
    assert found.n_patients == 8 + 2 + 5


def test_stages_of_both_kinds(copies):
    cnn, vit = (load_run(copies[recipe]) for recipe in ("cnn", "vit"))
    assert [f.shape[1] for f in stage_features(cnn, noise(3))] == [2 * d for d in (64, 32, 64, 128, 256)]
    assert [f.shape[1] for f in stage_features(vit, noise(3))] == [2 * 128] * 3
    images = noise(7)
    for whole, parts in zip(stage_features(vit, images), stage_features(vit, images, batch=2), strict=True):
        np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_rows_are_looked_at_a_batch_at_a_time(copies, monkeypatch):
    run = load_run(copies["cnn"])
    rows, taken, images = run.rows("train"), [], type(run).images
    whole = stage_features(run, run.images(rows))
    monkeypatch.setattr(type(run), "images", lambda self, some: taken.append(len(some)) or images(self, some))
    for one, other in zip(whole, stage_features(run, rows, batch=12), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert taken == [12, 12, 12, 4]
    taken.clear()
    fit_ood(run)
    assert max(taken) <= 256


def test_the_file_comes_back_and_is_of_this_checkpoint(copies, monkeypatch):
    folder = shutil.copytree(copies["cnn"], copies["cnn"].parent / "again")
    (folder / ood.FILE).unlink(missing_ok=True)
    run = load_run(folder)
    assert saved_ood(folder) is None
    fitted = ood_of(run)
    monkeypatch.setattr(ood, "fit_ood", lambda run: pytest.fail("fitted again"))
    images = noise(5)
    np.testing.assert_array_equal(fitted.scores(run, images), ood_of(run).scores(run, images))
    with np.load(folder / ood.FILE, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file)
    with (folder / "checkpoints" / "best.ckpt").open("ab") as file:
        file.write(b"another")
    assert saved_ood(folder) is None
    (folder / ood.FILE).write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="delete it"):
        read_ood(folder / ood.FILE)


def test_too_few_images(copies, monkeypatch):
    run = load_run(copies["cnn"])
    monkeypatch.setattr(type(run), "rows", lambda self, split: np.arange(1))
    with pytest.raises(ValueError, match="1 training and 1 validation"):
        fit_ood(run)
