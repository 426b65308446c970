import csv

import numpy as np
import pytest
from PIL import Image

from vitlab.data.datamodule import ImageDataModule
from vitlab.data.sources import Csv
from vitlab.explain.cases.masks import masks_of


@pytest.fixture
def lesions(tmp_path):
    """Return a function of the data module's settings: images that are bright exactly where their mask is."""
    rng = np.random.default_rng(0)
    rows = []
    for number, (height, width) in enumerate([(60, 100), (100, 60), (80, 80), (64, 64), (64, 64)]):
        mask = np.zeros((height, width), np.uint8)
        top, left = rng.integers(10, 30), rng.integers(10, 30)
        mask[top : top + 17, left : left + 23] = 255
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / f"mask{number}.png")
        rows.append([f"{number}.png", "ab"[number % 2], f"mask{number}.png"])
    rows[3][2] = ""
    dot = np.zeros((64, 64), np.uint8)
    dot[5, 5] = 255
    Image.fromarray(dot).save(tmp_path / "mask4.png")
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "mask_path"], *rows])

    def data(**settings):
        return ImageDataModule(Csv(root=str(tmp_path)), image_size=32, **settings)

    return data


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_a_mask_lies_on_the_image_as_the_model_sees_it(lesions, fit):
    data = lesions(fit=fit)
    masks, there = masks_of(data, np.arange(3))
    assert there.all() and masks.shape == (3, 32, 32) and masks.dtype == bool
    bright = data.cache.images[:3, 0] > 127
    # The image has another filter than the mask: they may differ along the rim.
    assert ((bright & masks).sum((1, 2)) / (bright | masks).sum((1, 2))).min() > 0.8
    for a, b in zip(bright, masks, strict=True):
        np.testing.assert_allclose(np.argwhere(a).mean(0), np.argwhere(b).mean(0), atol=0.5)


def test_a_mask_keeps_its_area(lesions):
    masks, _ = masks_of(lesions(), np.array([2]))
    assert masks.sum() == pytest.approx(17 * 23 * (32 / 80) ** 2, rel=0.15)


def test_rows_without_a_mask_or_with_one_that_vanishes_have_none(lesions):
    masks, there = masks_of(lesions(), np.array([4, 2, 3]))
    assert there.tolist() == [False, True, False]  # a pixel of 64 is a quarter of a pixel of 32
    assert not masks[0].any() and not masks[2].any()


def test_an_unreadable_mask_is_left_out_with_a_warning(lesions, tmp_path):
    (tmp_path / "mask1.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"1 of 3 masks cannot be read, .*: mask1\.png \("):
        _, there = masks_of(lesions(), np.arange(3))
    assert there.tolist() == [True, False, True]


def test_no_rows_give_no_masks(lesions):
    masks, there = masks_of(lesions(), np.arange(0))
    assert masks.shape == (0, 32, 32) and there.shape == (0,)
