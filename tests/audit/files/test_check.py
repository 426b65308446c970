"""Files: each planted fault is found and named once, and nothing else is."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vitlab.audit.files.check import check_files
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Csv, ImageFolder

SIDE = 64


def picture(number):
    """Return a disc in one of two places with noise, (SIDE, SIDE), and its mask."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    head = (rows - 32) ** 2 + (columns - 32) ** 2 < 26**2
    y, x = 26 + 12 * (number % 2) + rng.integers(-2, 3), 32 + rng.integers(-2, 3)
    mask = (rows - y) ** 2 + (columns - x) ** 2 < (5 + number % 3) ** 2
    pixels = np.where(mask, 200, np.where(head, 90, 5)) + rng.normal(0, 4, head.shape)
    return pixels.clip(0, 255).astype(np.uint8), mask


@pytest.fixture
def made(tmp_path):
    """Return a folder of 120 pictures with masks, and how to check it as a Csv source."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    rows = {"path": [], "label": [], "mask_path": []}
    for number in range(120):
        pixels, mask = picture(number)
        name = f"{number:03}.png"
        Image.fromarray(pixels).save(tmp_path / "images" / name)
        Image.fromarray(mask).save(tmp_path / "masks" / name)
        for column, value in zip(rows, (f"images/{name}", "ab"[number % 2], f"masks/{name}"), strict=True):
            rows[column].append(value)

    def check(columns=rows):
        Manifest(columns).write(tmp_path / "manifest.csv")
        return run(Csv(str(tmp_path)), tmp_path / "memo")

    return tmp_path, rows, check


def run(source, memo, manifest=None):
    manifest = manifest if manifest is not None else source.manifest()
    memo = Memo(manifest, base=memo)
    return check_files(manifest, read_images(manifest, source.decode, memo), source.read_mask, memo)


def kinds(findings):
    return [(finding.kind, finding.path) for finding in findings]


def test_a_clean_set_has_no_findings(made):
    assert made[2]() == []


def test_unreadable_files_are_named_with_the_reason(made):
    folder, _, check = made
    whole = (folder / "images/003.png").read_bytes()
    (folder / "images/003.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images/004.png").write_text("no image")
    (folder / "images/005.png").unlink()
    found = check()
    assert kinds(found) == [("unreadable", f"images/00{number}.png") for number in (3, 4, 5)]
    assert "truncated" in found[0].detail
    assert "not an image" in found[1].detail
    assert "no such file" in found[2].detail


def test_many_unreadable_files_are_said_once(made):
    folder, _, check = made
    for number in range(40):
        (folder / f"images/{number:03}.png").unlink()
    found = check()
    assert kinds(found) == [("unreadable", "")]
    assert "40 of 120" in found[0].detail and "images/000.png" in found[0].detail


@pytest.mark.parametrize(("total", "broken"), [(30, 30), (1200, 1100)])
def test_a_set_of_which_little_or_nothing_can_be_read_is_said_to_be_one(tmp_path, total, broken):
    (tmp_path / "a").mkdir()
    for number in range(total):
        if number < broken:
            (tmp_path / f"a/{number:04}.png").write_bytes(b"no image")
        else:
            Image.fromarray(picture(number)[0]).save(tmp_path / f"a/{number:04}.png")
    Image.new("L", (SIDE, SIDE), 9).save(tmp_path / f"a/{total:04}.png")
    source = ImageFolder(str(tmp_path))
    manifest = source.manifest()
    found = run(source, tmp_path / "memo", manifest.where(np.arange(total)))
    assert kinds(found) == [("unreadable", "")] and f"in {broken:,} of {total:,} cases" in found[0].detail
    found = run(source, tmp_path / "memo", manifest)
    assert kinds(found) == [("unreadable", ""), ("blank", f"a/{total:04}.png")]


def test_blank_images_are_named_and_dim_ones_not(made):
    folder, _, check = made
    for number, image in {
        7: np.full((SIDE, SIDE), 40), 8: np.random.default_rng(0).integers(0, 4, (SIDE, SIDE)), 9: picture(9)[0] // 8,
    }.items():  # fmt: skip
        Image.fromarray(image.astype(np.uint8)).save(folder / f"images/{number:03}.png")
    assert kinds(check()) == [("blank", "images/007.png"), ("blank", "images/008.png")]


def test_rare_sizes_and_modes_are_named(made):
    folder, _, check = made
    pixels, mask = picture(10)
    Image.fromarray(pixels).resize((80, SIDE)).save(folder / "images/010.png")
    Image.fromarray(mask).resize((80, SIDE)).save(folder / "masks/010.png")
    Image.fromarray(picture(11)[0].astype(np.uint16) * 200).save(folder / "images/011.png")
    found = check()
    assert kinds(found) == [("size", "images/010.png"), ("mode", "images/011.png")]
    assert "80 x 64" in found[0].detail and "64 x 64" in found[0].detail
    assert "I;16" in found[1].detail


def test_mixed_sizes_and_modes_are_said_once_and_only_far_sizes_named(made):
    folder, rows, check = made
    for number in range(120):
        side = 300 if number == 50 else SIDE + number % 9
        image = Image.fromarray(picture(number)[0]).resize((side, side))
        (image.convert("RGB") if number % 3 == 0 else image).save(folder / f"images/{number:03}.png")
    found = check({**rows, "mask_path": [""] * 120})
    assert kinds(found) == [("size", ""), ("size", "images/050.png"), ("mode", "")]
    assert "10 sizes, from 64 x 64 to 300 x 300" in found[0].detail
    assert "L 80, RGB 40" in found[2].detail


def test_what_is_unlike_all_others_is_an_outlier(made):
    folder, _, check = made
    rng = np.random.default_rng(1)
    for number, image in {20: rng.integers(0, 255, (SIDE, SIDE)), 21: 255 - picture(21)[0].astype(int)}.items():
        Image.fromarray(image.astype(np.uint8)).save(folder / f"images/{number:03}.png")
    Image.fromarray(picture(22)[0] // 2 + 60).save(folder / "images/022.png")  # dimmer: not another picture
    assert sorted(kinds([each for each in check() if each.kind != "mask"])) == [
        ("outlier", "images/020.png"), ("outlier", "images/021.png"),
    ]  # fmt: skip


def test_text_is_named(made):
    folder, _, check = made
    image = Image.fromarray(np.kron(picture(30)[0], np.ones((4, 4), np.uint8)))
    ImageDraw.Draw(image).text((4, 4), "HOSPITAL", fill=255, font=ImageFont.load_default(16))
    image.save(folder / "images/030.png")
    found = [each for each in check() if each.kind not in ("size", "mask")]
    assert kinds(found) == [("text", "images/030.png")]
    assert "8 marks" in found[0].detail


def test_masks_that_do_not_fit(made):
    folder, rows, check = made
    masks = folder / "masks"
    (masks / "000.png").unlink()
    (masks / "001.png").write_text("no image")
    Image.new("1", (SIDE, SIDE // 2), 1).save(masks / "002.png")
    Image.new("1", (SIDE, SIDE)).save(masks / "003.png")
    Image.fromarray(~picture(4)[1]).save(masks / "004.png")
    corner = np.zeros((SIDE, SIDE), bool)
    corner[:8, :8] = True
    Image.fromarray(corner).save(masks / "005.png")
    Image.fromarray(picture(7)[1]).save(masks / "008.png")
    columns = {**rows, "mask_path": [*rows["mask_path"][:-1], ""]}
    found = check(columns)
    assert kinds(found) == [("mask", f"images/00{number}.png") for number in (0, 1, 2, 3, 4, 5, 8)]
    words = ("no such file", "not an image", "64 x 32", "empty", "inverted", "background", "images/007.png")
    assert all(word in each.detail for word, each in zip(words, found, strict=True))


def test_a_class_without_lesions_may_have_empty_masks(made):
    folder, _, check = made
    for number in range(0, 120, 2):
        Image.new("1", (SIDE, SIDE)).save(folder / f"masks/{number:03}.png")
    assert check() == []


def test_few_images_are_too_few_to_call_one_odd(tmp_path):
    for number in range(3):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.new("RGB" if number else "L", (20 + number, 20)).save(tmp_path / "a" / f"{number}.png")
    found = run(ImageFolder(str(tmp_path)), tmp_path / "memo")
    assert [each.path for each in found if each.kind in ("size", "mode", "outlier")] == ["", ""]


def test_cheng_has_nothing_odd(data_root, tmp_path):
    source = Csv(str(data_root / "cheng"))
    manifest = source.manifest()
    assert run(source, tmp_path, manifest.where(np.arange(0, len(manifest), 5))) == []


def test_brain_tumor_mri_is_not_flooded(data_root, tmp_path):
    source = ImageFolder(str(data_root / "brain_tumor_mri"))
    manifest = source.manifest()
    chosen = np.arange(len(manifest)) % 5 == 0
    chosen |= np.char.find(manifest.path.astype(str), "m3 (134)") >= 0  # the panel letter "a" in its corner
    found = run(source, tmp_path, manifest.where(chosen))
    assert len(found) < 15
    assert kinds(found)[0] == ("size", "")
    assert ("text", "Training/meningioma_tumor/m3 (134).jpg") in kinds(found)
