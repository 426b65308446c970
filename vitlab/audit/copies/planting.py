"""Planting: copies of a set's own images, made in known ways."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vitlab.audit.content import to_eight_bits
from vitlab.data.decode import Decoded, to_pixels
from vitlab.data.manifest import Manifest

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
_SIDES = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)
_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
_QUALITY = 90  # of copies that are changed in another way: a changed image is saved again


def _light(image: Image.Image, gain: float, offset: float = 0.0) -> Image.Image:
    return image.point([min(255, max(0, round(gain * level + offset))) for level in range(256)] * len(image.getbands()))


def _blurred(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _noisy(image: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image) + rng.normal(0, deviation, np.asarray(image).shape)
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def _marked(image: Image.Image, share: float) -> Image.Image:
    marked = image.copy()
    place = round(0.03 * image.width), round(0.03 * image.height)
    font = ImageFont.load_default(max(8, round(share * image.height)))
    ImageDraw.Draw(marked).text(place, "R 12", fill=_fill(image, 255), font=font)
    return marked


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    width, height = round(image.width * share), round(image.height * share)
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _padded(image: Image.Image, colour: int) -> Image.Image:
    band, across = round(0.1 * image.height), round(0.05 * image.width)
    wide = Image.new(image.mode, (image.width + 2 * across, image.height + band), _fill(image, colour))
    wide.paste(image, (across, band))
    return wide


def _fill(image: Image.Image, level: int) -> Any:
    return level if len(image.getbands()) == 1 else (level,) * len(image.getbands())


def _turned(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    angle = degrees * (1 if rng.random() < 0.5 else -1)
    return image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=_fill(image, 0))


# What is planted: kind, strength, the change, and how it is saved: a JPEG quality, 0 for PNG, None for the same bytes.
FAULTS: Final[tuple[tuple[str, str, Change, int | None], ...]] = (
    ("same file", "", lambda image, _: image, None),
    ("same pixels", "saved as PNG", lambda image, _: image, 0),
    ("padded", "black", lambda image, _: _padded(image, 0), 0),
    ("padded", "white", lambda image, _: _padded(image, 255), 0),
    *(
        ("re-compressed", f"JPEG {quality}", lambda image, _: image, quality)
        for quality in (90, 70, 50, 30)
    ),
    *(
        ("resized", f"to {factor:.0%}", lambda image, _, factor=factor: _scaled(image, factor), _QUALITY)
        for factor in (0.5, 0.75, 1.5)
    ),
    *(
        ("brightness", f"{gain - 1:+.0%}", lambda image, _, gain=gain: _light(image, gain), _QUALITY)
        for gain in (0.8, 0.9, 1.1, 1.2)
    ),
    *(
        ("brightness", f"{offset:+d} levels", lambda image, _, offset=offset: _light(image, 1, offset), _QUALITY)
        for offset in (-20, 20)
    ),
    *(
        ("contrast", f"{gain - 1:+.0%}", lambda image, _, gain=gain: _light(image, gain, 64 * (1 - gain)), _QUALITY)
        for gain in (0.8, 1.2)
    ),
    *(
        ("blurred", f"{radius} px", lambda image, _, radius=radius: _blurred(image, radius), _QUALITY)
        for radius in (0.7, 1.5)
    ),
    *(
        ("noisy", f"{level} levels", lambda image, rng, level=level: _noisy(image, level, rng), _QUALITY)
        for level in (8, 15)
    ),
    *(
        ("marked", f"text {share:.0%} high", lambda image, _, share=share: _marked(image, share), _QUALITY)
        for share in (0.06, 0.1)
    ),
    *(
        ("flipped", name, lambda image, _, side=side: image.transpose(side), _QUALITY)
        for name, side in zip(("left-right", "up-down"), _SIDES, strict=True)
    ),
    *(
        ("turned", f"{degrees}°", lambda image, _, turn=turn: image.transpose(turn), _QUALITY)
        for degrees, turn in zip((90, 180, 270), _TURNS, strict=True)
    ),
    *(
        ("cropped", f"to {share:.0%}", lambda image, rng, share=share: _cropped(image, share, rng), _QUALITY)
        for share in (0.95, 0.9, 0.8)
    ),
    *(
        ("rotated", f"{degrees}°", lambda image, rng, degrees=degrees: _turned(image, degrees, rng), _QUALITY)
        for degrees in (2, 5, 10)
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """A manifest with planted copies behind its own rows.

    Attributes:
        manifest: The set's rows as train, then the copies as test, with the label and patient of their original.
        original: Row that each image shows, its own for the set's rows, (N,).
        fault: Place in FAULTS of each image, -1 for the set's rows, (N,).
    """

    manifest: Manifest
    original: NDArray[np.int64]
    fault: NDArray[np.int64]


def plant(
    manifest: Manifest, decode: Callable[[str], Decoded], folder: Path, *, each: int, seed: int = 0
) -> Planted:
    """Write copies of randomly drawn images.

    Args:
        manifest: The set; files that cannot be read are passed over.
        decode: Opens a path of the manifest.
        folder: Where the copies go.
        each: Copies of each fault.
        seed: Of the draw and of the changes.

    Raises:
        ValueError: No image can be read.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = manifest.path.tolist()
    original, fault = list(range(len(manifest))), [-1] * len(manifest)
    order = rng.permutation(len(manifest))
    drawn = 0
    for number, (_, _, change, quality) in enumerate(FAULTS):
        done = 0
        # One copy an image while there are images that have none: many copies of one crowd each other out.
        for row in np.roll(order, -drawn).tolist():
            if done == min(each, len(manifest)):
                break
            drawn += 1
            path = folder / f"{number:02d}-{row:07d}{'.png' if quality == 0 else '.jpg'}"
            file = manifest.root / manifest.path[row]
            if quality is None:
                if not file.is_file():
                    continue  # a member of a container has no bytes of its own
                path = path.with_suffix(file.suffix)
            try:
                image = Image.fromarray(to_eight_bits(to_pixels(decode(str(manifest.path[row])))))
                if quality is None:
                    path.write_bytes(file.read_bytes())
                else:
                    settings: dict[str, Any] = {"quality": quality} if quality else {}
                    change(image, rng).save(path, **settings)
            except Exception:  # decoders raise anything; the audit names what cannot be read
                continue
            done += 1
            paths.append(str(path.resolve()))
            original.append(row)
            fault.append(number)
    if len(paths) == len(manifest):
        raise ValueError("no image of this set can be read, so that nothing can be planted")
    rows = np.array(original)
    columns: dict[str, Any] = {
        "path": paths,
        "label": manifest.label[rows],
        "patient_id": manifest.patient_id[rows],
        "split": np.where(np.array(fault) < 0, "train", "test").astype(object),
    }
    return Planted(Manifest(columns, manifest.root, stands_for=manifest.stands_for), rows, np.array(fault))
