from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur

from vitlab.explain.runs.loaded import Loaded, load_run
from vitlab.explain.saliency.maps import saliency_maps
from vitlab.explain.scores.faithfulness import insertion_deletion, order, training_mean

SIDE = 32


class Corner(nn.Module):
    """Class 1 where more than half of the first 8 x 8 pixels are all but white."""

    def forward(self, inputs):
        lit = (inputs[:, 0, :8, :8] > 3.0).float().mean((1, 2))
        return torch.stack([torch.zeros(len(inputs)), 40 * (lit - 0.5)], 1)


def made():
    data = SimpleNamespace(normalise=lambda images: (images - 0.2) / 0.25)
    return Loaded(Path("made"), {}, Corner(), data, torch.device("cpu"))


def images_and_map():
    """Return images that are black but for a white corner, which the blur makes grey, and the map that says so."""
    images = torch.zeros(3, 1, SIDE, SIDE, dtype=torch.uint8)
    images[:, :, :8, :8] = 255
    perfect = np.zeros((3, SIDE, SIDE), np.float32)
    perfect[:, :8, :8] = 1
    return images, perfect


def test_areas_of_a_model_that_needs_a_corner():
    """The corner is 64 of 1024 pixels, one of 16 steps: the perfect map crosses at the first, the opposite last."""
    images, perfect = images_and_map()
    run = made()
    start = run.probabilities(gaussian_blur(images.float(), [11, 11], [5.0, 5.0]))[:, 1]
    insertion, deletion = insertion_deletion(run, images, perfect, [1, 1, 1])
    np.testing.assert_allclose(insertion, (start / 2 + 15 + 0.5) / 16, atol=1e-6)
    np.testing.assert_allclose(deletion, 0.5 / 16, atol=1e-6)
    worst_insertion, worst_deletion = insertion_deletion(run, images, -perfect, [1, 1, 1])
    np.testing.assert_allclose(worst_insertion, (start / 2 + 15 * start + 0.5) / 16, atol=1e-6)
    np.testing.assert_allclose(worst_deletion, 15.5 / 16, atol=1e-6)
    assert (start < 0.5).all()
    other = insertion_deletion(run, images, perfect, [0, 0, 0])  # the other class loses what this one gains
    np.testing.assert_allclose(other, 1 - np.stack([insertion, deletion]), atol=1e-6)
    noise = np.random.default_rng(0).random(perfect.shape).astype(np.float32)
    random_insertion, random_deletion = insertion_deletion(run, images, noise, [1, 1, 1])
    assert (random_insertion < insertion).all() and (deletion < random_deletion).all()


def test_images_do_not_depend_on_their_batch(runs):
    run = load_run(runs["cnn"])
    rows = run.rows("test")[:5]
    images, maps = run.images(rows), saliency_maps(run, rows, "occlusion")
    found = insertion_deletion(run, images, maps, [0, 1, 0, 1, 0], steps=4)
    parts = insertion_deletion(run, images, maps, [0, 1, 0, 1, 0], steps=4, batch=2)
    assert np.std(found) > 0
    assert np.isfinite(found).all() and np.min(found) >= 0 and np.max(found) <= 1
    np.testing.assert_allclose(parts, found, atol=1e-5)


def test_equal_pixels_come_in_random_order():
    maps = np.zeros((50, 8, 8), np.float32)
    maps[:, 4, 4] = 1
    places = order(maps, np.random.default_rng(0))
    assert (places[:, 4, 4] == 0).all()
    assert (np.sort(places.reshape(50, -1)) == np.arange(64)).all()
    rest = np.delete(places.reshape(50, -1), 36, axis=1).mean(0)
    assert rest.min() > 20 and rest.max() < 44  # 32 +- 2.6 is the mean of 50


def test_the_training_mean_is_what_normalises_to_zero(runs):
    run = load_run(runs["cnn"])
    mean = training_mean(run, run.images(run.rows("test")[:2]).float())
    assert mean.shape == (1, 1, 1, 1)
    assert float(mean) == pytest.approx(255 * run.data.mean_std[0][0], rel=1e-4)
    assert float(run.normalise(mean).abs()) < 1e-5
