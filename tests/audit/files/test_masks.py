"""Masks: read once for the same files, and again for whatever may have changed."""

import os

import numpy as np
import pytest
from PIL import Image

from vitlab.audit.files.masks import check_masks
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Csv

SIDE, COUNT = 48, 12


@pytest.fixture
def made(tmp_path):
    """Return a folder of discs with masks, and a check of some rows that says in `.read` which masks were opened."""
    (tmp_path / "masks").mkdir()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(COUNT):
        disc = (rows - 24) ** 2 + (columns - 14 - number) ** 2 < 81
        noise = np.random.default_rng(number).normal(60, 5, disc.shape)
        Image.fromarray((noise + 120 * disc).astype(np.uint8)).save(tmp_path / f"{number:02}.png")
        Image.fromarray(disc).save(tmp_path / f"masks/{number:02}.png")
    names = [f"{number:02}.png" for number in range(COUNT)]
    Manifest({"path": names, "label": ["a"] * COUNT, "mask_path": [f"masks/{name}" for name in names]}).write(
        tmp_path / "manifest.csv"
    )
    source = Csv(str(tmp_path))

    def check(masked=range(COUNT), keep=True):
        check.read = []
        manifest = source.manifest()
        paths = [path if row in masked else "" for row, path in enumerate(manifest.mask_path)]
        manifest = manifest.with_columns(mask_path=paths)

        def read_mask(path):
            check.read.append(path)
            return source.read_mask(path)

        memo = Memo(manifest, tmp_path / "memo")
        images = read_images(manifest, source.decode, memo)
        return [(each.row, each.fault) for each in check_masks(manifest, images, read_mask, *[memo] * keep)]

    return tmp_path, check


def blacken(path):
    Image.new("1", (SIDE, SIDE)).save(path)


def test_masks_are_read_once_for_the_same_files(made):
    folder, check = made
    blacken(folder / "masks/03.png")
    (folder / "masks/05.png").write_bytes(b"no image")
    wrong = [(3, "the mask is empty"), (5, "the mask cannot be read")]
    assert check() == wrong and len(check.read) == COUNT
    assert check() == wrong and check.read == ["masks/05.png"]  # only to see whether it can be read now
    assert check(keep=False) == wrong and len(check.read) == COUNT


def test_masks_of_equal_pixels_are_told_from_the_memo_too(made):
    folder, check = made
    (folder / "masks/11.png").write_bytes((folder / "masks/00.png").read_bytes())
    assert check() == check() == [(11, "the mask is another image's")]
    assert check.read == []


def test_a_mask_that_changes_is_read_again(made):
    folder, check = made
    assert check() == []
    blacken(folder / "masks/03.png")
    os.utime(folder / "masks/03.png", (1, 1))
    assert check() == [(3, "the mask is empty")] and len(check.read) == COUNT
    (folder / "masks/04.png").unlink()
    assert check() == [(3, "the mask is empty"), (4, "the mask cannot be read")]


def test_which_rows_have_masks_matters(made):
    folder, check = made
    check(masked=range(6))
    assert len(check.read) == 6
    check(masked=range(7))
    assert len(check.read) == 7
    check(masked=range(6))
    assert check.read == []
    first = Manifest.read(folder / "manifest.csv")
    first.with_columns(mask_path=np.roll(first.mask_path, 1)).write(folder / "manifest.csv")  # 00.png's is row 1's now
    check(masked=range(1, 7))
    assert len(check.read) == 6


def test_a_mask_that_becomes_readable_without_a_change_is_seen(made):
    folder, check = made
    path, aside = folder / "masks/07.png", folder / "aside.png"
    path.rename(aside)
    path.symlink_to(folder / "gone")
    assert check() == [(7, "the mask cannot be read")]
    aside.rename(folder / "gone")
    assert check() == []
