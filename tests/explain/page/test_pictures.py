import io

import numpy as np
import pytest
from PIL import Image

from vitlab.explain.page.pictures import (
    MOST,
    OUTLINE,
    cell_rules,
    density,
    draw_image,
    outlined,
    overlay,
    picture_side,
    scale_rule,
    strip,
)  # fmt: skip


@pytest.fixture
def picture():
    return draw_image(np.random.default_rng(0).integers(0, 200, (1, 64, 64)).astype(np.uint8))


def test_small_images_are_drawn_larger():
    assert [picture_side(side) for side in (28, 64, 96, 224)] == [168, 192, 192, 224]
    gray = draw_image(np.full((1, 64, 64), 77, np.uint8))
    assert gray.shape == (192, 192, 3) and (gray == 77).all()
    colour = np.zeros((3, 64, 64), np.uint8)
    colour[1] = 200
    assert draw_image(colour)[9, 9].tolist() == [0, 200, 0]


def test_one_scale_for_every_method(picture):
    """A map's unit and size do not matter: only how much more there is in one place than in others."""
    saliency = np.random.default_rng(1).random((64, 64)).astype(np.float32) ** 4
    assert (overlay(picture, saliency) == overlay(picture, saliency * 1000)).all()
    assert density(np.full((4, 4), 3, np.float32)).tolist() == np.ones((4, 4)).tolist()
    assert not density(np.zeros((4, 4), np.float32)).any()


def test_an_even_map_and_no_map_paint_nothing(picture):
    for value in (0.0, 5.0):
        assert (overlay(picture, np.full((64, 64), value, np.float32)) == picture).all()


def test_colour_is_where_the_saliency_is(picture):
    saliency = np.zeros((64, 64), np.float32)
    saliency[:8, :8] = 1  # 64 times an even map
    changed = np.abs(overlay(picture, saliency).astype(int) - picture).sum(2)
    assert changed[:20, :20].min() > 0 and changed[40:, 40:].max() == 0


def test_the_image_keeps_its_contrast_below_the_strongest_colour():
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, None], 64, axis=1)
    saliency = np.zeros((64, 64), np.float32)
    saliency[:5] = 1
    row = overlay(draw_image(ramp), saliency)[3].astype(int)
    light = row @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) >= -1).all() and light[-1] - light[0] > 100


def test_more_is_brighter():
    black = np.zeros((160, 160, 3), np.uint8)
    levels = []
    for times in (1.5, 3, 6, MOST, 50):
        saliency = np.ones((100, 100), np.float32)
        share = 1 / 100
        saliency[:10, :10] = times * (1 - share) / (1 - times * share)
        levels.append(float(overlay(black, saliency)[5, 5].astype(int) @ [0.2126, 0.7152, 0.0722]))
    assert levels[0] < levels[1] < levels[2] < levels[3] and levels[4] == pytest.approx(levels[3], abs=1)


def test_an_outline_goes_around_the_mask(picture):
    mask = np.zeros((64, 64), bool)
    mask[20:30, 40:44] = True
    drawn = outlined(picture, mask)
    line = (drawn == OUTLINE).all(2)
    assert (drawn[60:90, 120:132] == picture[60:90, 120:132]).all()  # inside nothing is covered
    assert line[59, 120:132].all() and line[90, 120:132].all() and line[60:90, 119].all() and line[60:90, 132].all()
    assert line.sum() == 2 * (30 + 12)
    assert (outlined(picture, np.zeros((64, 64), bool)) == picture).all()


def test_a_strip_has_its_cells_in_order():
    cells = [np.full((32, 32, 3), value, np.uint8) for value in (0, 90, 250)]
    image = np.asarray(Image.open(io.BytesIO(strip(cells))))
    assert image.shape == (32, 96, 3)
    assert np.abs(image[:, 16::32, 0].mean(0) - [0, 90, 250]).max() < 6
    assert ".of3-1 { object-position: 50.000% 0; }" in cell_rules(
        3
    ) and ".of1-0 { object-position: 0.000%" in cell_rules(1)
    assert scale_rule().count("rgb(") == 12 and "rgb(0 0 0)" in scale_rule()


def test_many_large_pictures_are_made_to_fit_a_file():
    cells = [np.full((1400, 1400, 3), level, np.uint8) for level in np.linspace(0, 255, 12).astype(int)]
    with Image.open(io.BytesIO(strip(cells))) as made:
        assert made.size == (12 * 1365, 1365)  # WebP holds 16383 px
        levels = np.asarray(made.convert("L"))[700, 700::1365]
    assert np.abs(levels.astype(int) - np.linspace(0, 255, 12)).max() < 6
