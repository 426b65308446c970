import numpy as np
import pytest

from vitlab.explain.regions.removed import REGIONS, cut, elsewhere, fill, head_of, hole_facts

SIZE = 40
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def disc(y, x, radius):
    return (ROWS - y) ** 2 + (COLUMNS - x) ** 2 < radius**2


@pytest.fixture
def scene():
    """Return images of a bright head with a slope and a lesion in it, with noise in the air, and the lesions' masks."""
    rng = np.random.default_rng(0)
    masks = np.array([disc(14, 15, 4), disc(22, 24, 3)])
    head = disc(20, 20, 15)
    images = np.where(head, 60 + 2 * COLUMNS, rng.integers(0, 8, (SIZE, SIZE)))
    images = np.where(masks, 255, images).astype(np.uint8)[:, None]
    return images, masks, head


def test_without_the_tumour_a_slope_goes_on_as_if_there_were_none(scene):
    images, masks, _ = scene
    found = cut(images, masks, "without tumour", np.arange(2))
    slope = np.broadcast_to(60 + 2 * COLUMNS, masks.shape)
    for one, mask, expected, before in zip(found[:, 0], masks, slope, images[:, 0], strict=True):
        np.testing.assert_allclose(one[mask], expected[mask], atol=1)
        untouched = ~disc(*np.argwhere(mask).mean(0), 6)
        assert np.array_equal(one[untouched], before[untouched])


def test_a_patch_elsewhere_is_as_large_in_the_head_and_beside_the_tumour(scene, monkeypatch):
    images, masks, head = scene
    rng = np.random.default_rng(0)
    for mask in masks:
        places = [elsewhere(mask, head, rng) for _ in range(50)]
        assert all(place.sum() == mask.sum() for place in places)
        assert not any((place & (mask | ~head)).any() for place in places)
        assert len({place.tobytes() for place in places}) > 10
    images = np.random.default_rng(1).integers(0, 255, images.shape).astype(np.uint8)  # no slope to go on
    monkeypatch.setattr("vitlab.explain.regions.removed.head_of", lambda image: head)
    changed = cut(images, masks, "patch elsewhere", np.arange(2)) != images
    assert changed.any((1, 2, 3)).all() and not (changed[:, 0] & masks).any()
    again = cut(images[1:], masks[1:], "patch elsewhere", np.array([1]))
    assert np.array_equal(again[0] != images[1], changed[1])  # an image's place does not depend on the others


def test_a_head_without_room_gets_the_least_overlap():
    hole, head = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    hole[1:6, 1:6] = head[1:7, 1:7] = True
    found = elsewhere(hole, head, np.random.default_rng(0))
    assert found.sum() == 25
    assert (found & (hole | ~head)).sum() < 25


def test_only_the_tumour_and_nothing_but_the_head(scene):
    images, masks, head = scene
    only = cut(images, masks, "only tumour", np.arange(2))[:, 0]
    assert (only[masks] == 255).all() and (only[~masks] == 0).all()
    inside = cut(images, masks, "without air", np.arange(2))[:, 0]
    assert np.array_equal(inside[:, disc(20, 20, 14)], images[:, 0, disc(20, 20, 14)])
    assert not inside[:, ~disc(20, 20, 18)].any() and images[:, 0, ~disc(20, 20, 18)].any()
    assert (head_of(images[0]) ^ head).mean() < 0.1
    assert cut(images, masks, "whole", np.arange(2)) is images


def test_a_flat_image_is_all_head_and_a_hole_at_the_corner_is_filled():
    flat = np.full((1, 3, 8, 8), 90, np.uint8)
    assert head_of(flat[0]).all()
    hole = np.zeros((1, 8, 8), bool)
    hole[0, :3, :3] = True
    dark = flat.copy()
    dark[:, :, :3, :3] = 0
    assert np.array_equal(fill(dark, hole), flat)
    assert np.array_equal(fill(dark, ~hole & False), dark)
    assert not fill(flat, np.ones((1, 8, 8), bool)).any()


def test_a_fill_is_the_mean_of_its_neighbours_everywhere():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (1, 2, 20, 20)).astype(np.uint8)
    hole = disc(9, 8, 5)[None, :20, :20]
    found = fill(images, hole)[0].astype(float)
    around = (found[:, :-2, 1:-1] + found[:, 2:, 1:-1] + found[:, 1:-1, :-2] + found[:, 1:-1, 2:]) / 4
    assert np.abs(found[:, 1:-1, 1:-1] - around)[:, hole[0, 1:-1, 1:-1]].max() <= 1


def test_what_a_hole_tells():
    masks = np.zeros((1, 10, 20), bool)
    masks[0, 2:4, 4:14] = True
    np.testing.assert_allclose(hole_facts(masks), [[np.sqrt(0.1), 0.25, 8.5 / 20, 0.2, 0.5]])


@pytest.mark.parametrize("region", REGIONS)
def test_no_images_are_no_images(region):
    images, masks = np.zeros((0, 1, 8, 8), np.uint8), np.zeros((0, 8, 8), bool)
    assert cut(images, masks, region, np.arange(0)).shape == (0, 1, 8, 8)
