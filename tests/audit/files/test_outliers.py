"""Outliers: what is far from its nearest neighbours, in sets smaller and larger than the set of reference."""

import numpy as np
import pytest
from PIL import Image

from vitlab.audit.files import outliers
from vitlab.audit.files.outliers import LEAST, find_outliers
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.data.manifest import Manifest
from vitlab.data.sources import ImageFolder

SIDE = 32


def plane(number):
    """Return one of two usual pictures, each with noise: an upright or a lying bar in a disc, (SIDE, SIDE)."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = (rows - 16) ** 2 + (columns - 16) ** 2 < 14**2
    bar = disc & (np.abs((rows if number % 2 else columns) - 16) < 5)
    noise = np.random.default_rng(number).normal(0, 5, bar.shape)
    return (20 + 60 * disc + 120 * bar + noise).clip(0, 255).astype(np.uint8)


def odd(seed):
    """Return blobs that resemble neither, (SIDE, SIDE)."""
    blobs = np.random.default_rng([9, seed]).integers(0, 255, (8, 8), np.uint8)
    return np.kron(blobs, np.ones((4, 4), np.uint8))


@pytest.fixture
def find(tmp_path):
    def run(pictures, without=()):
        (tmp_path / "a").mkdir()
        for number, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(tmp_path / f"a/{number:05}.png")
        source = ImageFolder(str(tmp_path))
        manifest: Manifest = source.manifest()
        images = read_images(manifest, source.decode, Memo(manifest, tmp_path / "memo"))
        usable = images.ok.copy()
        usable[list(without)] = False
        return find_outliers(images, usable)

    return run


def test_what_resembles_neither_plane_is_named_with_its_likeness(find):
    pictures = [plane(number) for number in range(80)]
    pictures[10], pictures[20] = odd(0), odd(1)
    found = find(pictures)
    assert {each.row for each in found} == {10, 20}
    assert all(each.likeness < 0.5 < 0.9 < each.usual for each in found)
    assert found[0].likeness <= found[1].likeness


def test_an_image_and_four_copies_of_it_are_still_alone_and_a_plane_of_six_is_not(find):
    pictures = [plane(number) for number in range(100)]
    pictures[:5] = [odd(0)] * 5
    pictures[50:56] = [odd(1)] * 6
    assert {each.row for each in find(pictures)} == set(range(5))


def test_unusable_rows_are_neither_named_nor_neighbours(find):
    pictures = [plane(number) for number in range(80)]
    pictures[:6] = [odd(0)] * 6
    pictures[40] = odd(1)
    assert {each.row for each in find(pictures, without=[5, 40])} == {0, 1, 2, 3, 4}


def test_of_few_images_none_is_an_outlier(find):
    pictures = [plane(number) for number in range(LEAST - 1)]
    pictures[3] = odd(0)
    assert find(pictures) == []


def test_a_rare_plane_outside_the_reference_is_no_outlier(find, monkeypatch):
    monkeypatch.setattr(outliers, "_REFERENCE", 64)  # as if the set had tens of thousands
    pictures = [plane(number) for number in range(300)]
    pictures[100:107] = [odd(0)] * 7
    pictures[200] = odd(1)
    assert [each.row for each in find(pictures)] == [200]
