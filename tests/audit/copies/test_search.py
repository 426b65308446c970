"""The search as a whole, on images on disk: families, many equal images, blank ones, small ones, containers."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.datasets import load_digits

from vitlab.audit.copies.pairs import NEIGHBOUR
from vitlab.audit.copies.recall import planted_table
from vitlab.audit.copies.search import find_pairs
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.cli import main
from vitlab.data.sources import Csv, MedMnist


@pytest.fixture
def search(tmp_path):
    """Return the pairs among pictures, with the manifest's rows in the pictures' order."""

    def run(pictures, side=None, **settings):
        for row, picture in enumerate(pictures):
            Image.fromarray(np.asarray(picture, np.uint8)).save(tmp_path / f"{row:04d}.{settings.get('format', 'png')}")
        names = [path.name for path in sorted(tmp_path.glob("0*.*"))]
        (tmp_path / "manifest.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in names))
        source = Csv(str(tmp_path))
        manifest = source.manifest()
        memo = Memo(manifest, tmp_path / "memo")
        return find_pairs(read_images(manifest, source.decode, memo), memo, None if side is None else np.array(side))

    return run


@pytest.fixture(scope="module")
def slices(data_root):
    """Return 40 slices of cheng, of many patients."""
    files = sorted((data_root / "cheng" / "images").iterdir())[::76][:40]
    return [np.asarray(Image.open(file).convert("L")) for file in files]


def links(pairs):
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def test_a_large_family_of_near_copies_is_found_whole(search, slices):
    rng = np.random.default_rng(0)
    copies = [(slices[0] * rng.uniform(0.8, 1.1) + rng.normal(0, 3, slices[0].shape)).clip(0, 255) for _ in range(25)]
    pairs = search([*copies, *slices[1:]])
    assert links(pairs) == {(a, b) for a in range(25) for b in range(a + 1, 25)}


def test_of_many_equal_images_every_two_sides_are_linked(search, slices):
    side = [0] * 14 + [1] * 10 + [2]
    pairs = search([slices[0]] * 25 + slices[1:5], side=side + [0] * 4)
    found = links(pairs)
    assert {side[a] * 10 + side[b] for a, b in found} >= {1, 2, 12} and len(found) < 25 * 24 / 2
    for row in range(25):  # each with an image of each side
        others = {side[a + b - row] for a, b in found if row in (a, b)}
        assert others >= {0, 1, 2} - ({2} if row == 24 else set())
    assert set(pairs.kind) == {"same file"}


def test_one_picture_in_the_images_of_many_patients_is_no_square_of_pairs(search, slices):
    picture, brighter = slices[0], (slices[0] * 1.1).clip(0, 255)  # as a page that says that there is no image
    split = sorted("test" if patient % 50 == 0 else "train" for patient in range(300))
    side = np.arange(600) % 300  # every patient has both
    pairs = search([picture] * 300 + [brighter] * 300, side=side)
    assert len(pairs) < 40_000  # and not the 179,700 of all
    assert set(pairs.first.tolist()) | set(pairs.second.tolist()) == set(range(600))
    sides = {(split[side[a]], split[side[b]], a < 300 <= b) for a, b in links(pairs)}
    assert {("test", "train", False), ("test", "train", True), ("train", "test", True)} <= sides


def test_near_pairs_are_listed_on_every_side_of_equal_images(search, slices):
    resized = np.asarray(Image.fromarray(slices[0]).resize((128, 128), Image.Resampling.BICUBIC))
    pairs = search([slices[0], slices[0], resized, *slices[1:8]], side=[0, 1, 0] + [0] * 7)
    assert links(pairs) == {(0, 1), (0, 2), (1, 2)}
    assert Counter(pairs.kind) == {"same file": 1, "resized": 2}


def test_blank_images_are_no_copies(search, slices):
    pairs = search([np.zeros((64, 64)), np.zeros((64, 64)), np.full((80, 80), 200), *slices[:5]])
    assert len(pairs) == 0


def test_small_pictures_that_look_alike_are_no_copies_but_true_ones_are(search):
    digits = [np.asarray(Image.fromarray((image * 15.9).astype(np.uint8)).resize((28, 28), Image.Resampling.BICUBIC))
              for image in load_digits().images[:300]]  # fmt: skip
    brighter = (digits[7] * 0.8).astype(np.uint8)
    assert links(search([*digits, digits[3], brighter])) == {(3, 300), (7, 301)}


def test_what_was_done_to_a_copy_is_named(search, slices):
    a = Image.fromarray(slices[3])
    wide = Image.new("L", (300, 260))
    wide.paste(a, (20, 0))
    made = {
        "resized": a.resize((180, 180), Image.Resampling.BICUBIC), "brightness": a.point(lambda level: level * 0.8),
        "contrast": ImageEnhance.Contrast(a).enhance(0.8), "blurred": a.filter(ImageFilter.GaussianBlur(1)),
        "flipped": a.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "turned": a.transpose(Image.Transpose.ROTATE_90),
        "cropped": a.crop((20, 20, 236, 236)), "rotated": a.rotate(6, Image.Resampling.BICUBIC), "padded": wide,
    }  # fmt: skip
    pairs = search([slices[3], *made.values(), *slices[4:14]])
    kinds = dict(zip(pairs.second[pairs.first == 0].tolist(), pairs.kind[pairs.first == 0].tolist(), strict=True))
    assert kinds == dict(enumerate(made, 1))
    assert NEIGHBOUR not in kinds.values()


def test_two_images_and_one_are_searched(search, slices):
    assert links(search(slices[:2])) == set()
    assert links(search([slices[0]])) == set()


def test_members_of_a_container_are_planted_and_found(slices, tmp_path):
    small = np.stack([np.asarray(Image.fromarray(image).resize((96, 96))) for image in slices])
    names = {"train": slice(0, 30), "val": slice(30, 35), "test": slice(35, 40)}
    arrays = {f"{part}_images": small[rows] for part, rows in names.items()}
    arrays |= {f"{part}_labels": np.zeros((len(small[rows]), 1), np.uint8) for part, rows in names.items()}
    np.savez(tmp_path / "set.npz", **arrays)
    source = MedMnist(str(tmp_path / "set.npz"))
    rows = planted_table(source.manifest(), source.decode, tmp_path / "planted", each=2)
    found = {row["kind"]: row for row in rows}
    assert found["same file"]["n"] == 0  # a member has no bytes of its own
    for kind in ("same pixels", "padded", "turned"):
        assert found[kind]["found"] == found[kind]["n"] == found[kind]["flagged"] == 2
    assert sum(row["strangers"] for row in rows) == 0


def test_copies_between_val_and_test_are_a_leak_too(tmp_path, slices):
    for part, rows in (("train", range(8)), ("val", range(8, 12)), ("test", [8, 12, 13, 14])):
        for row in rows:
            folder = tmp_path / "set" / part / ("odd" if row % 2 else "even")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(slices[row]).save(folder / f"{row}.png")
    args = ["--data.source=ImageFolder", f"--data.source.root={tmp_path / 'set'}", f"--out={tmp_path / 'out'}"]
    assert main(["audit", *args, "--fail-on=leak"]) == 1
    with (tmp_path / "out/pairs.csv").open() as file:
        (pair,) = csv.DictReader(file)
    assert {pair["split_a"], pair["split_b"]} == {"val", "test"}


def test_copies_do_not_hide_neighbours(search, data_root, monkeypatch):
    monkeypatch.setattr("vitlab.audit.copies.near._FEW", 0)  # as in a large set, where candidates are few
    files = sorted((data_root / "cheng" / "images").iterdir())
    own = [np.asarray(Image.open(file).convert("L")) for file in files[700:760]]
    alone = {(a, b) for a, b in links(search(own)) if b == a + 1}
    copies = [np.asarray(Image.fromarray(image).resize((size, size))) for size in (200, 150, 120, 100) for image in own]
    crowded = search([*own, *copies])
    assert len(alone) > 5 and alone <= links(crowded)


def test_a_test_image_in_sixteen_bits_was_seen_in_training(tmp_path, slices):
    for part, rows in (("train", range(8)), ("test", (2, 8))):
        folder = tmp_path / "set" / part / "x"
        folder.mkdir(parents=True)
        for row in rows:
            pixels = slices[row].astype(np.uint16) * 257 if part == "test" else slices[row]
            Image.fromarray(pixels).save(folder / f"{row}.png")
    args = ["--data.source=ImageFolder", f"--data.source.root={tmp_path / 'set'}", f"--out={tmp_path / 'out'}"]
    assert main(["audit", *args]) == 0
    found = json.loads((tmp_path / "out/audit.json").read_text())["test"]
    assert (found["n"], found["identical_in_train"], found["unseen_distinct"]) == (2, 1, 1)
