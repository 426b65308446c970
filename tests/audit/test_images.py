"""What one pass over the files learns of an image."""

import os
from dataclasses import fields
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from vitlab.audit.content import canonical
from vitlab.audit.images import FRAME, Images, content_box, read_images
from vitlab.audit.memo import Memo
from vitlab.data.decode import to_pixels
from vitlab.data.sources import Csv


@pytest.fixture
def facts(tmp_path):
    """Return a reader of the images saved by a function, in the order of their names."""

    def read(**pictures):
        for name, (picture, suffix, settings) in pictures.items():
            picture.save(tmp_path / f"{name}.{suffix}", **settings)
        names = [f"{name}.{suffix}" for name, (_, suffix, _) in pictures.items()]
        (tmp_path / "manifest.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in names))
        source = Csv(str(tmp_path))
        manifest = source.manifest()
        return read_images(manifest, source.decode, Memo(manifest, tmp_path / "memo"))

    return read


def head(shape=(80, 70), seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = ((rows - shape[0] / 2) / 30) ** 2 + ((columns - shape[1] / 2) / 24) ** 2 < 1
    return Image.fromarray((inside * rng.integers(60, 256, shape)).astype(np.uint8))


class Counted(Csv):
    """Notes what is decoded."""

    decoded: ClassVar[list[str]] = []

    def decode(self, path):
        self.decoded.append(path)
        return super().decode(path)


class Mirrored(Counted):
    """Sees other pictures in the same files."""

    def decode(self, path):
        return super().decode(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def test_what_is_known_of_a_file_is_taken_over_by_another_manifest(tmp_path):
    def read(names, kind=Counted):
        (tmp_path / "manifest.csv").write_text("path,label\n" + "".join(f"{name}.png,x\n" for name in names))
        source = kind(str(tmp_path))
        source.decoded.clear()
        manifest = source.manifest()
        images = read_images(manifest, source.decode, Memo(manifest, tmp_path / "memo"))
        return images, sorted(source.decoded)

    for number, name in enumerate("abcd"):
        head(seed=number).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"damaged")
    first, decoded = read("abc")
    assert decoded == ["a.png", "b.png", "c.png"]
    second, decoded = read("cda")
    assert decoded == ["c.png", "d.png"]  # what could not be read is tried again
    for field in fields(Images):
        np.testing.assert_array_equal(getattr(second, field.name)[[0, 2]], getattr(first, field.name)[[2, 0]])
    assert len(set(second.pixel_sha)) == 3 and second.frames[1].any()
    head(seed=9).save(tmp_path / "b.png")
    os.utime(tmp_path / "b.png", (1, 1))
    third, decoded = read("dba")
    assert decoded == ["b.png"] and third.pixel_sha[1] != first.pixel_sha[1]
    assert read("ab", Mirrored)[1] == ["a.png", "b.png"]
    (next((tmp_path / "memo").glob("images-*")) / "files.npy").write_bytes(b"damaged")
    assert len(read("bd")[0]) == 2


def test_equal_pixels_have_one_digest_whatever_the_format(facts):
    gray = head()
    alpha = gray.convert("LA")
    images = facts(
        png=(gray, "png", {}), bmp=(gray, "bmp", {}), tiff=(gray, "tiff", {}), rgb=(gray.convert("RGB"), "png", {}),
        rgba=(alpha, "png", {}), palette=(gray.convert("P"), "gif", {}), other=(head(seed=1), "png", {}),
    )  # fmt: skip
    assert len(set(images.pixel_sha[:6])) == 1 and images.pixel_sha[6] != images.pixel_sha[0]
    assert len(set(images.file_sha)) == 7
    assert images.mode.tolist()[:2] == ["L", "L"] and images.mode[3] == "RGB"
    assert images.width.tolist() == [70] * 7 and images.height.tolist() == [80] * 7


def test_one_bit_is_its_black_and_white_copy(facts):
    bits = head().point(lambda level: 255 * (level > 90)).convert("1")
    images = facts(bits=(bits, "png", {}), fax=(bits, "tiff", {"compression": "group4"}),
                   gray=(bits.convert("L"), "png", {}), rgba=(bits.convert("RGBA"), "png", {}))  # fmt: skip
    assert len(set(images.pixel_sha)) == 1


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("factor", [1, 16, 256, 257])
def test_a_lossless_copy_in_sixteen_bits_is_the_same_picture(facts, factor, suffix):
    deep = Image.fromarray(np.asarray(head()).astype(np.uint16) * factor)
    images = facts(deep=(deep, suffix, {}), flat=(head(), "png", {}))
    assert images.pixel_sha[0] == images.pixel_sha[1] and images.trimmed_sha[0] == images.trimmed_sha[1]
    assert np.abs(images.frames[0].astype(int) - images.frames[1]).max() <= 3


def test_other_pictures_of_sixteen_bits_stay_others(facts):
    deep = np.asarray(head()).astype(np.uint16) * 257
    fine = np.random.default_rng(0).integers(0, 4000, deep.shape).astype(np.uint16)
    last = fine ^ (np.arange(fine.size).reshape(fine.shape) == 500).astype(np.uint16)
    stretched = np.rint((fine - fine.min()) * (65535 / np.ptp(fine))).astype(np.uint16)
    pictures = [deep, deep ^ 1, fine, last, stretched, fine * 3, deep // 257 * 128]
    images = facts(**{f"p{number}": (Image.fromarray(pixels), "png", {}) for number, pixels in enumerate(pictures)})
    assert len(set(images.pixel_sha)) == len(pictures)


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i4", "<f4", "<f8"])
def test_how_an_array_stores_whole_numbers_makes_no_other_picture(kind):
    pixels = np.asarray(head()).astype(np.uint16) * 100
    assert (canonical(pixels.astype(kind)) == pixels).all() and canonical(pixels.astype(kind)).dtype == np.uint16
    colour = np.stack([pixels, pixels + 1, pixels], 2).astype(kind)
    assert canonical(colour).shape == colour.shape
    assert to_pixels(colour).shape == colour.shape and to_pixels(colour[..., :1].repeat(3, 2)).ndim == 2
    assert canonical(np.array([[-1.0, 0.5]])).tolist() == [[-1.0, 0.5]]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_padding_of_any_gray_leaves_the_trimmed_digest_and_the_box(facts, level):
    gray = head()
    wide = Image.new("L", (120, 100), level)
    wide.paste(gray, (30, 5))
    images = facts(plain=(gray, "png", {}), padded=(wide, "png", {}))
    assert images.trimmed_sha[0] == images.trimmed_sha[1] and images.pixel_sha[0] != images.pixel_sha[1]
    difference = images.content[0].astype(float) - images.content[1]
    assert np.abs(difference).mean() < 12  # of 250: the same window but for a pixel at its sides


def test_a_turned_photograph_is_its_upright_copy(facts):
    gray = head()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    images = facts(
        upright=(gray, "png", {}), stored=(gray.transpose(Image.Transpose.ROTATE_90), "png", {"exif": exif})
    )
    assert images.pixel_sha[0] == images.pixel_sha[1]


def test_what_cannot_be_read_is_named_and_the_rest_is_read(facts, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    facts(good=(head(), "png", {}), broken=(head(), "png", {}))
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    source = Csv(str(tmp_path))
    manifest = source.manifest()
    images = read_images(manifest, source.decode, Memo(manifest, tmp_path / "memo"))
    assert images.ok.tolist() == [True, False]
    assert images.error[1] and images.pixel_sha[1] == ""


def test_the_box_holds_the_object():
    left, top, right, bottom = content_box(np.asarray(head()))
    assert (left, top, right, bottom) == pytest.approx((11 / 70, 10 / 80, 59 / 70, 70 / 80), abs=0.03)
    assert content_box(np.zeros((50, 60), np.uint8)) == (0, 0, 1, 1)
    assert content_box(np.zeros((4, 4), np.uint8)) == (0, 0, 1, 1)
    assert FRAME % 32 == 0  # descriptors average whole blocks


def test_quantisation_tables_tell_jpeg_qualities_apart(facts):
    gray = head()
    images = facts(
        fine=(gray, "jpg", {"quality": 95}), coarse=(gray, "jpg", {"quality": 40}),
        again=(head(seed=1), "jpg", {"quality": 40}), png=(gray, "png", {}),
    )  # fmt: skip
    assert images.quantisation[0] != images.quantisation[1] == images.quantisation[2] != ""
    assert images.quantisation[3] == ""
    assert (images.file_bytes > 0).all()
