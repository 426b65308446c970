"""Every kind of image to the model's square, against pixels that are known."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vitlab.data.decode import open_image, reason, to_pixels, to_uint8


@pytest.fixture
def quarters():
    """Return a colour image (32, 32, 3): red, green, blue and white quarters."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16, :16], pixels[:16, 16:], pixels[16:, :16], pixels[16:, 16:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return pixels


CORNERS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])


def corners(pixels):
    """Return the colours in the middle of the four quarters of (C, H, W), (4, C)."""
    size = pixels.shape[1]
    low, high = size // 4, size - size // 4 - 1
    return np.array([pixels[:, y, x] for y in (low, high) for x in (low, high)]).astype(int)


@pytest.mark.parametrize(
    ("file", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0), ("a.bmp", "RGB", 0), ("a.tif", "RGB", 0), ("a.webp", "RGB", 60), ("a.png", "P", 0),
        ("a.gif", "P", 0), ("a.png", "RGBA", 0), ("a.jpg", "RGB", 8), ("a.jpg", "CMYK", 8), ("a.tif", "CMYK", 8),
    ],
)  # fmt: skip
def test_formats_and_modes_show_the_same_picture(tmp_path, quarters, file, mode, tolerance):
    picture = Image.fromarray(quarters)
    picture = picture.quantize(8) if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / file, **({"quality": 95, "subsampling": 0} if file.endswith("jpg") else {}))
    colour = to_uint8(open_image(tmp_path / file), 16, 3, "pad")
    assert colour.shape == (3, 16, 16) and colour.dtype == np.uint8
    assert np.abs(corners(colour) - CORNERS).max() <= tolerance
    gray = to_uint8(open_image(tmp_path / file), 16, 1, "pad")
    assert gray.shape == (1, 16, 16)
    assert np.abs(corners(gray)[:, 0] - [76, 150, 29, 255]).max() <= max(1, tolerance)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, quarters, orientation):
    turned = {
        1: quarters, 2: quarters[:, ::-1], 3: quarters[::-1, ::-1], 4: quarters[::-1], 5: quarters.transpose(1, 0, 2),
        6: np.rot90(quarters, 1), 7: np.rot90(quarters, 2).transpose(1, 0, 2), 8: np.rot90(quarters, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(turned))
    image.save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    assert np.abs(corners(to_uint8(open_image(tmp_path / "a.jpg"), 16, 3, "pad")) - CORNERS).max() <= 8


def test_broken_exif_is_passed_over(tmp_path, quarters):
    Image.fromarray(quarters).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken", quality=95)
    assert to_uint8(open_image(tmp_path / "a.jpg"), 16, 3, "pad").max() > 200


def test_16_bit_is_scaled_from_its_own_range(tmp_path):
    ramp = np.linspace(1000, 3000, 256).astype(np.uint16).reshape(16, 16)
    expected = np.round((ramp - 1000.0) / 2000 * 255)
    for name in ("a.png", "a.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        np.testing.assert_array_equal(to_uint8(open_image(tmp_path / name), 16, 1, "pad")[0], expected)
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "f.tif")
    np.testing.assert_array_equal(to_uint8(open_image(tmp_path / "f.tif"), 16, 3, "pad")[2], expected)
    np.testing.assert_array_equal(to_uint8(ramp.astype(np.int16), 16, 1, "pad")[0], expected)


def test_transparency_lies_over_black(tmp_path):
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[..., 3] = np.array([0, 0, 0, 0, 255, 255, 255, 255])[:, None]
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    Image.fromarray(pixels[..., [0, 3]], "LA").save(tmp_path / "la.png")
    palette = Image.fromarray(np.repeat(np.array([0, 1], np.uint8), 32).reshape(8, 8), "P")
    palette.putpalette([255, 255, 255, 200, 200, 200])
    palette.save(tmp_path / "p.png", transparency=0)
    gray = Image.fromarray(np.repeat(np.array([77, 200], np.uint8), 32).reshape(8, 8))
    gray.save(tmp_path / "l.png", transparency=77)
    for name in ("rgba.png", "la.png", "p.png", "l.png"):
        for channels in (1, 3):
            result = to_uint8(open_image(tmp_path / name), 8, channels, "pad")
            assert (result[:, :4] == 0).all() and (result[:, 4:] == 200).all(), (name, channels)


def test_one_bit_and_the_first_frame(tmp_path):
    bits = np.zeros((8, 8), bool)
    bits[:, 4:] = True
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(to_uint8(open_image(tmp_path / "bits.png"), 8, 1, "pad")[0], bits * 255)
    np.testing.assert_array_equal(to_uint8(bits, 8, 1, "pad")[0], bits * 255)
    frames = [Image.new("L", (8, 8), value) for value in (30, 220)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (to_uint8(open_image(tmp_path / "a.gif"), 8, 1, "pad") == 30).all()


def test_pad_keeps_all_and_crop_keeps_the_middle():
    wide = np.full((10, 40), 100, np.uint8)
    wide[:, :10], wide[:, -10:] = 250, 50
    padded = to_uint8(wide, 20, 1, "pad")[0]
    assert (padded[:7] == 0).all() and (padded[13:] == 0).all()
    assert padded[10, 1] == 250 and padded[10, 10] == 100 and padded[10, 18] == 50
    assert (to_uint8(wide, 20, 1, "crop") == 100).all()
    tall = to_uint8(np.rot90(wide), 20, 3, "pad")
    np.testing.assert_array_equal(tall[1], np.rot90(padded))
    assert to_uint8(np.full((1, 500), 9, np.uint8), 16, 1, "pad").max() == 9


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    assert np.ptp(to_uint8(stripes, 32, 1, "pad").astype(int)) <= 12
    Image.fromarray(stripes).save(tmp_path / "a.jpg", quality=95)
    assert np.ptp(to_uint8(open_image(tmp_path / "a.jpg"), 32, 1, "pad").astype(int)) <= 12


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_a_large_jpeg_decoded_small_looks_the_same(data_root, tmp_path, fit):
    with Image.open(data_root / "cheng" / "images" / "0001.jpg") as image:
        image.resize((1500, 1000)).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    fast = to_uint8(open_image(tmp_path / "a.jpg"), 64, 1, fit).astype(int)
    with Image.open(tmp_path / "a.jpg") as image:
        exact = to_uint8(np.asarray(image), 64, 1, fit).astype(int)
    assert np.abs(fast - exact).mean() < 1 and np.abs(fast - exact).max() < 24


def bomb(path, side=100_000):
    """Write a small PNG whose header claims side x side pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def test_files_that_cannot_be_read(tmp_path, quarters):
    Image.fromarray(quarters).resize((200, 200)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is no picture")
    bomb(tmp_path / "bomb.png")
    for name, expected in {
        "cut.jpg": "truncated", "empty.png": "not an image", "text.jpg": "not an image",
        "bomb.png": "too many pixels", "lost.png": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(Exception) as error:
            to_uint8(open_image(tmp_path / name), 16, 1, "pad")
        assert expected in reason(error.value)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 2)), np.zeros(5), np.zeros((0, 4)), np.full((3, 3), np.nan)])
def test_arrays_that_are_no_images(array):
    with pytest.raises(ValueError):
        to_uint8(array, 8, 1, "pad")


def test_flat_and_infinite_arrays():
    assert to_uint8(np.full((4, 4), 700, np.int32), 4, 1, "pad").max() == 0
    odd = np.array([[0.0, 1.0], [np.nan, np.inf]])
    assert to_uint8(odd, 2, 1, "pad")[0].tolist() == [[0, 255], [0, 255]]


def test_a_pixel_that_is_no_number_hides_no_picture(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))
    broken = ramp.copy()
    broken[5, 5], broken[6, 6] = np.nan, np.inf
    Image.fromarray(broken).save(tmp_path / "f.tif")
    pixels = to_pixels(open_image(tmp_path / "f.tif"))
    assert np.isfinite(pixels).all() and np.abs(pixels - ramp).max() <= 1 and (pixels != ramp).sum() == 2


def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(OSError, match="not a file"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_white_is_zero_is_turned_at_any_depth(tmp_path, bits):
    values = np.linspace(0, 2**bits - 1, 64).reshape(8, 8).astype(f"<u{bits // 8}")
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: 0, 273: 8, 277: 1, 278: 8, 279: values.nbytes}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head, count = b"II*\0" + struct.pack("<I", 8 + values.nbytes), struct.pack("<H", len(tags))
    (tmp_path / "a.tif").write_bytes(head + values.tobytes() + count + entries + bytes(4))
    shown = to_uint8(open_image(tmp_path / "a.tif"), 8, 1, "pad")[0]
    assert shown[0, 0] == 255 and shown[-1, -1] == 0 and (np.diff(shown.astype(int).ravel()) <= 0).all()
    assert to_pixels(open_image(tmp_path / "a.tif")).argmax() == 0
