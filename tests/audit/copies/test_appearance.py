"""What was done to the gray levels, on slices of cheng changed in known ways, saved as JPEG and looked at both ways."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from vitlab.audit.copies.appearance import name_appearances

RNG = np.random.default_rng(0)


def light(gain, offset=0.0):
    return lambda image: image.point(lambda level: gain * level + offset)


def noise(deviation):
    return lambda image: Image.fromarray(
        (np.asarray(image) + RNG.normal(0, deviation, image.size[::-1])).clip(0, 255).astype(np.uint8)
    )


def mark(box, level):
    def marked(image):
        copy = image.copy()
        ImageDraw.Draw(copy).rectangle(box, fill=level)
        return copy

    return marked


@pytest.fixture(scope="module")
def slices(data_root):
    files = sorted((data_root / "cheng" / "images").iterdir())[5::102][:30]
    return [Image.open(file).convert("L") for file in files]


@pytest.mark.parametrize(
    ("kind", "change", "quality"),
    [
        ("re-compressed", light(1), 90),
        ("re-compressed", light(1), 50),
        ("re-compressed", light(1), 20),
        ("brightness", light(0.8), 90),
        ("brightness", light(1.1), 90),
        ("brightness", light(1, 20), 90),
        ("brightness", light(1, -20), 90),
        ("contrast", light(0.9, 6.4), 90),
        ("contrast", light(1.4, -26), 90),
        ("contrast", lambda image: ImageEnhance.Contrast(image).enhance(1.2), 90),
        ("blurred", lambda image: image.filter(ImageFilter.GaussianBlur(0.7)), 90),
        ("blurred", lambda image: image.filter(ImageFilter.GaussianBlur(3)), 90),
        ("noisy", noise(8), 90),
        ("noisy", noise(20), 90),
        ("marked", mark((8, 8, 40, 16), 255), 90),
        ("marked", mark((120, 120, 140, 140), 0), 90),
        ("marked", mark((120, 120, 140, 140), 230), 50),
    ],
)
def test_what_was_done_is_named_from_either_side(slices, kind, change, quality):
    def frame(image):
        return np.asarray(image.resize((96, 96), Image.Resampling.BILINEAR))

    def saved(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    frames = np.stack([frame(image) for image in slices] + [frame(saved(change(image))) for image in slices])
    rows, count = np.arange(len(slices)), len(slices)
    for first, second in ((rows, rows + count), (rows + count, rows)):
        names = name_appearances(frames, first, second, np.full(count, 256.0))
        assert names.count(kind) >= 0.9 * count, names
