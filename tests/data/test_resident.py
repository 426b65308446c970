"""Images that stay on the device: the same batches as from the cache, and only where they fit."""

import numpy as np
import pytest
import torch

from vitlab.data.batches import CachedImages
from vitlab.data.cache import ImageCache
from vitlab.data.resident import Residency, ResidentImages, to_device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def cache(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    return ImageCache(images, np.ones(40, bool), [], tmp_path)


def test_batches_are_those_of_the_cache(cache):
    targets, rows = np.arange(40) % 3, np.arange(39, 4, -2)
    resident = ResidentImages(to_device(cache.images, CPU), targets, rows)
    cached = CachedImages(cache, targets, rows)
    assert len(resident) == len(cached) == 18
    for positions in (np.array([3, 0, 17]), np.array([5, -1, -1])):
        for mine, theirs in zip(resident[positions], cached[positions], strict=True):
            assert mine.dtype == theirs.dtype and torch.equal(mine, theirs)


def test_images_are_copied_whole_whatever_the_piece(cache, monkeypatch):
    monkeypatch.setattr("vitlab.data.resident._PIECE", 3 * cache.images[0].nbytes)  # 13 pieces and a rest
    assert np.array_equal(to_device(cache.images, CPU).numpy(), cache.images)


def test_they_stay_where_their_share_of_the_free_memory_allows(cache, monkeypatch):
    """2,560 bytes are a quarter of 10,240 free ones; loader processes and a share of 0 rule it out, as a CPU does."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10_240, 20_000))
    monkeypatch.setattr("vitlab.data.resident.to_device", lambda images, device: torch.from_numpy(images.copy()))
    assert Residency(0.25, None).images(cache.images, GPU) is not None
    assert Residency(0.25, 0).images(cache.images, GPU) is not None
    assert Residency(0.24, None).images(cache.images, GPU) is None
    assert Residency(0.0, None).images(cache.images, GPU) is None
    assert Residency(0.25, 2).images(cache.images, GPU) is None
    assert Residency(0.25, None).images(cache.images, CPU) is None


def test_they_are_copied_once(cache, monkeypatch):
    copies = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10_240 // (1 + len(copies)), 20_000))
    monkeypatch.setattr("vitlab.data.resident.to_device", lambda *_: copies.append(1) or torch.zeros(1))
    residency = Residency(0.25, None)
    assert residency.images(cache.images, GPU) is residency.images(cache.images, GPU) and len(copies) == 1
    assert residency.images(cache.images, CPU) is None


@pytest.mark.parametrize("share", [-0.1, 1.0, 25.0])
def test_a_share_is_below_one(share):
    with pytest.raises(ValueError, match=r"data\.resident is .*; give a share"):
        Residency(share, None)
