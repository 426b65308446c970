"""Planting: copies of a set's own images, made in known ways, and how many of them the search for copies finds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.audit.copies.pairs import NEIGHBOUR, Pairs
from vitlab.audit.copies.search import find_pairs
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.data.decode import Decoded, open_image, to_pixels
from vitlab.data.manifest import Manifest

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
_SIDES = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)
_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
_QUALITY = 90  # of copies that are changed in another way: a changed image is saved again


def _light(image: Image.Image, gain: float, offset: float = 0.0) -> Image.Image:
    return image.point([min(255, max(0, round(gain * level + offset))) for level in range(256)] * len(image.getbands()))


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
        ("contrast", f"{gain - 1:+.0%}", lambda image, _, gain=gain: _light(image, gain, 64 * (1 - gain)), _QUALITY)
        for gain in (0.8, 1.2)
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
        manifest: The set's rows, then the copies, each with the label and patient of its original; absolute paths.
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
    paths = [str(manifest.root.resolve() / path) for path in manifest.path]
    original, fault = list(range(len(manifest))), [-1] * len(manifest)
    order = rng.permutation(len(manifest))
    drawn = 0
    for number, (_, _, change, quality) in enumerate(FAULTS):
        done = 0
        # One copy an image while there are images that have none: many copies of one crowd each other out.
        for row in np.roll(order, -drawn):
            if done == min(each, len(manifest)):
                break
            drawn += 1
            try:
                image = _picture(decode(str(manifest.path[row])))
                path = folder / f"{number:02d}-{row:07d}{'.png' if quality == 0 else '.jpg'}"
                if quality is None:
                    path = path.with_suffix(Path(paths[row]).suffix)
                    path.write_bytes(Path(paths[row]).read_bytes())
                elif quality == 0:
                    change(image, rng).save(path)
                else:
                    change(image, rng).save(path, quality=quality)
            except (OSError, ValueError):  # unreadable, or a member of a container has no bytes of its own
                continue
            done += 1
            paths.append(str(path.resolve()))
            original.append(int(row))
            fault.append(number)
    if len(paths) == len(manifest):
        raise ValueError("no image of this set can be read, so that nothing can be planted")
    rows = np.array(original)
    columns: dict[str, Any] = {"path": paths, "label": manifest.label[rows], "patient_id": manifest.patient_id[rows]}
    return Planted(Manifest(columns), rows, np.array(fault))


def _picture(image: Decoded) -> Image.Image:
    pixels = to_pixels(image)
    if pixels.dtype != np.uint8:
        raise ValueError("16-bit images are not planted")
    return Image.fromarray(pixels)


def planted_table(
    manifest: Manifest, decode: Callable[[str], Decoded], folder: Path, *, each: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Plant copies, search for them as an audit does, and return how many are found, see `recall_and_precision`.

    Args:
        manifest: The set.
        decode: Opens a path of the manifest.
        folder: For the copies and all intermediate results; may be removed afterwards.
        each: Copies of each fault.
        seed: Of the draw and of the changes.

    Raises:
        ValueError: No image can be read.
    """
    planted = plant(manifest, decode, folder / "images", each=each, seed=seed)
    memo = Memo(planted.manifest, folder / "memo")
    return recall_and_precision(planted, find_pairs(read_images(planted.manifest, open_image, memo), memo))


def recall_and_precision(planted: Planted, pairs: Pairs) -> list[dict[str, Any]]:
    """Return how many copies of each fault are found, and how many pairs that they are in are true.

    A pair is true where both show the same original or, with patient ids, the same patient; `strangers` counts the
    others. With patient ids a last row tells how many neighbours are found: images of one patient that stand behind one
    another in the manifest.

    Args:
        planted: What was planted.
        pairs: What was found in it.

    Returns:
        One dict a fault: kind, strength, n, found, recall, pairs, strangers, precision, named (share of the found whose
        kind is the planted one).
    """
    original, patient = planted.original, planted.manifest.patient_id
    first, second = pairs.first, pairs.second
    same = original[first] == original[second]
    known = (patient[first] != "") & (patient[first] == patient[second])
    rows = []
    for number, (kind, strength, _, _) in enumerate(FAULTS):
        copies = np.flatnonzero(planted.fault == number)
        of_copies = (planted.fault[first] == number) | (planted.fault[second] == number)
        straight = of_copies & ((first == original[second]) | (second == original[first]))
        found = np.unique(np.where(planted.fault[first] == number, first, second)[straight])
        right = straight & (pairs.kind == ("brightness" if kind == "contrast" else kind))
        strangers = int((of_copies & ~same & ~known).sum())
        total = int(of_copies.sum())
        rows.append(
            {
                "kind": kind,
                "strength": strength,
                "n": len(copies),
                "found": len(found),
                "recall": len(found) / max(1, len(copies)),
                "pairs": total,
                "strangers": strangers,
                "precision": 1 - strangers / total if total else 1.0,
                "named": float(right.sum() / max(1, straight.sum())),
            }
        )
    own = (planted.fault[first] < 0) & (planted.fault[second] < 0)
    of_set = planted.fault < 0
    following = np.flatnonzero(of_set[:-1] & of_set[1:] & (patient[:-1] == patient[1:]) & (patient[:-1] != ""))
    if len(following):
        linked = set(zip(first.tolist(), second.tolist(), strict=True))
        found_next = sum((row, row + 1) in linked for row in following.tolist())
        strangers, total = int((own & ~known).sum()), int(own.sum())
        rows.append(
            {
                "kind": NEIGHBOUR,
                "strength": "next image",
                "n": len(following),
                "found": found_next,
                "recall": found_next / len(following),
                "pairs": total,
                "strangers": strangers,
                "precision": 1 - strangers / total if total else 1.0,
                "named": float((pairs.kind[own] == NEIGHBOUR).mean()) if total else 1.0,
            }
        )
    return rows
