"""Burnt-in text: planted in real slices it is found, untouched slices have none."""

import csv
import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from vitlab.audit.files.text import text_marks

WORDS = ("12:45:03", "SE 3 IM 14", "HOSPITAL", "2013/04/21", "kV 120", "CONTRAST")


@pytest.fixture(scope="module")
def slices(data_root):
    """Return every sixth slice of cheng, (H, W) each."""
    with (data_root / "cheng" / "manifest.csv").open() as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    return [np.asarray(Image.open(data_root / "cheng" / path).convert("L")) for path in paths[::6]]


def write(gray, text, size, place, fill=255, quality=None, bold=0):
    """Return a slice with text whose box starts (or, where negative, ends) at place (x, y)."""
    image = Image.fromarray(gray)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    left, top, right, bottom = draw.textbbox((0, 0), text, font)
    x = place[0] if place[0] >= 0 else image.width - (right - left) + place[0]
    y = place[1] if place[1] >= 0 else image.height - (bottom - top) + place[1]
    draw.text((x - left, y - top), text, fill=fill, font=font, stroke_width=bold)
    if quality:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer)
    return np.asarray(image)


def test_untouched_slices_have_no_text(slices):
    assert len(slices) > 500
    assert sum(text_marks(gray) > 0 for gray in slices) == 0


@pytest.mark.parametrize(("size", "recall"), [(8, 0.85), (10, 0.95), (12, 0.95), (16, 0.95), (24, 0.85)])
def test_lines_in_the_corners_are_found(slices, size, recall):
    corners = [(4, 4), (-4, 4), (4, -4), (-4, -4)]
    found = [
        text_marks(write(gray, WORDS[n % 6], size, corners[n % 4], (255, 160)[n % 2], (None, 75)[n // 2 % 2])) > 0
        for n, gray in enumerate(slices[::6])
    ]
    assert np.mean(found) >= recall


def test_lines_over_the_brain_are_found(slices):
    found = [text_marks(write(gray, WORDS[n % 6], 14, (90, 120))) > 0 for n, gray in enumerate(slices[::6])]
    assert np.mean(found) >= 0.8


@pytest.mark.parametrize("letter", "LRAPHF")
def test_one_letter_beside_the_head_is_found(slices, letter):
    found = [text_marks(write(gray, letter, 20, (6, 6), bold=n % 2)) for n, gray in enumerate(slices[::10])]
    assert np.mean(np.array(found) > 0) >= 0.8
    assert max(found) == 1


def test_the_count_is_that_of_the_letters():
    gray = np.zeros((256, 256), np.uint8)
    assert text_marks(write(gray, "HOSPITAL", 16, (20, 20))) == 8
    assert text_marks(write(write(gray, "HOSPITAL", 16, (20, 20)), "1234", 12, (150, 200))) == 12


def test_dark_text_on_a_white_page_is_found():
    assert text_marks(write(np.full((200, 300), 250, np.uint8), "FIGURE", 16, (20, 20), fill=0)) == 6


def test_large_images_are_shrunk_and_small_ones_hold_none():
    assert text_marks(write(np.zeros((3000, 2400), np.uint8), "HOSPITAL", 80, (60, 60))) == 8
    for shape in ((1, 1), (3, 400), (17, 17), (28, 28)):
        assert text_marks(np.zeros(shape, np.uint8)) == 0


def test_bright_shapes_that_are_no_letters():
    """Blobs, an arc as an earlobe makes it, bars, a frame and a ruler's line beside a disc."""
    image = Image.new("L", (256, 256))
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 60, 190, 220), fill=120, outline=255, width=4)
    draw.arc((200, 120, 212, 140), -90, 90, fill=230, width=3)
    draw.ellipse((20, 30, 26, 36), fill=255)
    draw.rectangle((10, 10, 246, 246), outline=255)
    draw.line((230, 40, 230, 200), fill=255)
    draw.line((30, 232, 220, 232), fill=255, width=2)
    assert text_marks(np.asarray(image)) == 0


def test_marks_under_a_roof_are_no_line():
    """Teeth: four strokes in a row are letters, unless something as bright is just above."""
    gray = np.zeros((256, 256), np.uint8)
    for left in range(100, 132, 8):
        gray[120:132, left : left + 3] = 220
    assert text_marks(gray) == 4
    gray[112:118, 90:140] = 220
    assert text_marks(gray) == 0


@pytest.mark.parametrize("side", [64, 256, 900])
def test_grain_holds_no_text(side):
    rng = np.random.default_rng(0)
    dots = ndimage.maximum_filter(255.0 * (rng.random((side, side)) < 0.02), 3)
    for grain in (rng.normal(100, 40, dots.shape), rng.exponential(30, dots.shape), dots):
        assert text_marks(grain.clip(0, 255).astype(np.uint8)) == 0


def test_rows_by_chance_among_many_marks_are_no_text():
    rng = np.random.default_rng(0)
    for _ in range(20):
        dots = ndimage.maximum_filter(rng.random((256, 256)) < 0.02, 3)
        assert text_marks(255 * dots.astype(np.uint8)) == 0
