"""Copies: every pair of images that show the same, exact ones by digest and near ones by registration."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.change import between_contents, intensity, name_change
from vitlab.audit.copies.pairs import COPY, EXACT, FINE_SCAN, SCAN, Pairs
from vitlab.audit.images import Images
from vitlab.audit.memo import Memo
from vitlab.audit.progress import stage

VERSION = 3  # part of the memo's key: raise it whenever a pair changes
_FLAT = 3.0  # gray levels of deviation: a blank image resembles every other blank one
_EACH = (6, 4)  # candidates an image by its content and by its whole frame
_BATCH = 128  # pairs registered at once
_DIGESTS = ("file_sha", "pixel_sha", "trimmed_sha")  # of EXACT, in its order


def find_pairs(images: Images, memo: Memo) -> Pairs:
    """Find all pairs of copies.

    Of images with equal pixels one stands for all in the search for near copies; its pairs count for the others too,
    but are listed once.

    Args:
        images: All images; those that cannot be read are in no pair.
        memo: Keeps the near pairs of these files.
    """
    exact = _exact(images)
    single = np.unique(np.where(images.ok, images.pixel_sha, ""), return_index=True)[1]
    single = np.sort(single[images.ok[single]])
    spread = np.array([images.content[row].std() for row in single])
    searched = single[spread > _FLAT]

    def compute(folder: Path) -> None:
        near = _near(images, searched) if len(searched) > 1 else _none()
        for name in ("first", "second", "score"):
            np.save(folder / f"{name}.npy", getattr(near, name))
        np.save(folder / "kind.npy", near.kind.astype(np.str_))

    folder = memo.folder("pairs", [VERSION, COPY, SCAN, FINE_SCAN], compute)
    near = Pairs(
        np.load(folder / "first.npy"),
        np.load(folder / "second.npy"),
        np.load(folder / "kind.npy").astype(object),
        np.load(folder / "score.npy"),
    )
    # A padded copy is found both ways: the digest is the surer.
    known = set(zip(exact.first.tolist(), exact.second.tolist(), strict=True))
    new = [pair not in known for pair in zip(near.first.tolist(), near.second.tolist(), strict=True)]
    return _join([exact, near.where(np.array(new, bool))])


def _exact(images: Images) -> Pairs:
    """Return pairs of equal digests, each image with the first of its kind that is equal in the surest way."""
    found: list[tuple[int, int, str]] = []
    listed: set[tuple[int, int]] = set()
    for kind, name in zip(EXACT, _DIGESTS, strict=True):
        values = np.where(images.ok, getattr(images, name), "").astype(str)
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.r_[True, values[order][1:] != values[order][:-1]])
        for members in np.split(order, starts[1:]):
            if len(members) < 2 or not values[members[0]]:
                continue
            for first, second in _links(members):
                if (first, second) not in listed:
                    listed.add((first, second))
                    found.append((first, second, kind))
    if not found:
        return _none()
    columns = list(zip(*sorted(found), strict=True))
    kinds = np.array(columns[2], object)
    return Pairs(np.array(columns[0]), np.array(columns[1]), kinds, np.ones(len(found), np.float32))


def _links(members: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return all pairs of a small group, and of a large one each member with the first: a chain, not its square."""
    rows = np.sort(members).tolist()
    if len(rows) > 20:
        return [(rows[0], row) for row in rows[1:]]
    return [(a, b) for place, a in enumerate(rows) for b in rows[place + 1 :]]


def _near(images: Images, rows: NDArray[np.int64]) -> Pairs:
    """Search and confirm near copies among rows of the images."""
    import torch

    from vitlab.audit.copies.candidates import find_candidates
    from vitlab.audit.copies.descriptors import hypotheses
    from vitlab.audit.copies.registration import register, turn_images

    maps = np.array(hypotheses()[0])
    content = images.content if len(rows) == len(images) else images.content[rows]
    frames = images.frames if len(rows) == len(images) else images.frames[rows]
    boxes = images.box[rows].astype(np.float64)
    parts = []
    for squares, each, name in zip((content, frames), _EACH, ("looking for copies", "again, whole"), strict=True):
        parts.append(find_candidates(squares, each=each, name=name))
    source, copy, turn, number = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("source", "copy", "turn", "hypothesis")
    )
    start = maps[number]
    whole = np.arange(len(source)) >= len(parts[0].source)
    start[whole] = between_contents(start[whole], boxes[source[whole]], boxes[copy[whole]], turn[whole])
    # Each pair once, the content's candidate before the frame's.
    low, high = np.minimum(source, copy), np.maximum(source, copy)
    kept = np.unique(low * len(rows) + high, return_index=True)[1]
    source, copy, turn, start = source[kept], copy[kept], turn[kept], start[kept]
    score, fine = (np.full(len(source), -1.0, np.float32) for _ in range(2))
    found = np.zeros((len(source), 2, 3), np.float32)
    light = np.zeros((len(source), 2), np.float32)
    batches = range(0, len(source), _BATCH)
    with torch.inference_mode():
        for begin in stage(batches, len(batches), "comparing candidates"):
            part = slice(begin, begin + _BATCH)
            first = torch.from_numpy(content[source[part]].astype(np.float32))
            for value in np.unique(turn[part]):
                these = torch.from_numpy(np.flatnonzero(turn[part] == value))
                first[these] = turn_images(first[these], int(value))
            second = torch.from_numpy(content[copy[part]].astype(np.float32))
            scores, finest, fitted = register(first, second, torch.from_numpy(start[part]).float())
            score[part], fine[part], found[part] = scores.numpy(), finest.numpy(), fitted.numpy()
            sure = np.flatnonzero((score[part] >= SCAN) | (fine[part] >= FINE_SCAN))
            light[begin + sure] = intensity(first[sure], second[sure], fitted[sure])
    sure = np.flatnonzero((score >= SCAN) | (fine >= FINE_SCAN))
    first, second = rows[source[sure]], rows[copy[sure]]
    kinds = name_change(images, first, second, turn[sure], found[sure], light[sure], score[sure])
    order = np.lexsort((np.maximum(first, second), np.minimum(first, second)))
    return Pairs(
        np.minimum(first, second)[order], np.maximum(first, second)[order], kinds[order], score[sure].clip(0, 1)[order]
    )


def _none() -> Pairs:
    empty = np.zeros(0, np.int64)
    return Pairs(empty, empty, np.zeros(0, object), np.zeros(0, np.float32))


def _join(parts: list[Pairs]) -> Pairs:
    return Pairs(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "second", "kind", "score"))
    )
