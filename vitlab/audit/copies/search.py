"""The search for copies: exact ones by digest, near ones among candidates by registration.

Rows are those of the manifest, places those among the rows that are searched.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.change import between_contents, intensity, name_change
from vitlab.audit.copies.pairs import (
    COPY,
    EXACT,
    FINE_SCAN,
    FINE_SIDE,
    LEAST_SIDE,
    NEIGHBOUR,
    SCAN,
    SMALL_COPY,
    Pairs,
)
from vitlab.audit.images import VERSION as IMAGES_VERSION
from vitlab.audit.images import Images
from vitlab.audit.memo import Memo
from vitlab.audit.progress import in_threads, one_thread_each

VERSION = 4  # part of the memo's key: raise it whenever a pair changes
_EACH = (6, 4)  # candidates an image by its content and by its whole frame
_FEW = 2000  # candidates that are compared at the least: a small set is compared image by image
_FAMILY = 4  # times as many, for images all of whose candidates were copies, until one is refused
_MOST = 100  # candidates of one image at the most: larger families hang together by then
_BATCH = 128  # pairs registered at once
_DIGESTS = ("file_sha", "pixel_sha", "trimmed_sha")  # of EXACT, in its order
_ALL_PAIRS = 20  # members of a group of equal images up to which every pair is listed

Ints = NDArray[np.int64]


def find_pairs(images: Images, memo: Memo, side: Ints | None = None) -> Pairs:
    """Find all pairs of copies.

    Of images with equal pixels one is searched for near copies for all of them; its pairs are listed once for each side
    that its equals stand on.

    Args:
        images: All images, N; those that cannot be read or are blank are in no pair.
        memo: Keeps the near pairs of these files.
        side: Code of what tells rows apart, such as split, label and patient, (N,): of many equal images, pairs between
            all sides are listed.
    """
    side = np.zeros(len(images), np.int64) if side is None else side
    exact = _exact(images, side)
    near = _spread(_near_pairs(images, memo)[0], images, side)
    # A padded copy is found both ways: the digest is the surer.
    known = set(zip(exact.first.tolist(), exact.second.tolist(), strict=True))
    new = [pair not in known for pair in zip(near.first.tolist(), near.second.tolist(), strict=True)]
    return _join([exact, near.where(np.array(new, bool))])


def compared_pairs(images: Images, memo: Memo) -> Ints:
    """Return the rows of all candidates that were registered, confirmed or not, (C, 2)."""
    return _near_pairs(images, memo)[1]


def _exact(images: Images, side: Ints) -> Pairs:
    """Return pairs of equal digests, each with the surest kind."""
    found: dict[tuple[int, int], str] = {}
    for kind, name in zip(EXACT, _DIGESTS, strict=True):
        values = np.where(images.pictured, getattr(images, name), "").astype(str)
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.r_[True, values[order][1:] != values[order][:-1]])
        for members in np.split(order, starts[1:]):
            if len(members) > 1 and values[members[0]]:
                for link in _links(np.sort(members), side):
                    found.setdefault(link, kind)
    if not found:
        return _none()
    first, second = np.array(sorted(found), np.int64).T
    kinds = np.array([found[link] for link in sorted(found)], object)
    return Pairs(first, second, kinds, np.ones(len(found), np.float32))


def _links(members: Ints, side: Ints) -> list[tuple[int, int]]:
    """Return all pairs of a small group, of a large one each member with the first of every side: not its square."""
    rows = members.tolist()
    if len(rows) <= _ALL_PAIRS:
        return [(a, b) for place, a in enumerate(rows) for b in rows[place + 1 :]]
    heads = members[np.unique(side[members], return_index=True)[1]].tolist()
    return sorted({(min(a, b), max(a, b)) for a in heads for b in rows if a != b})


def _spread(pairs: Pairs, images: Images, side: Ints) -> Pairs:
    """Repeat each near pair for every two sides that images of the same pixels stand on."""
    if not len(pairs):
        return pairs
    equals: dict[str, list[int]] = {}
    wanted = set(images.pixel_sha[pairs.first].tolist()) | set(images.pixel_sha[pairs.second].tolist())
    for row, digest in enumerate(images.pixel_sha.tolist()):
        if digest in wanted:
            equals.setdefault(digest, []).append(row)
    heads = {digest: list({side[row]: row for row in reversed(rows)}.values()) for digest, rows in equals.items()}
    found: dict[tuple[int, int], int] = {}
    for at, (a, b) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        for first in {a, *heads[images.pixel_sha[a]]}:
            for second in {b, *heads[images.pixel_sha[b]]}:
                found.setdefault((min(first, second), max(first, second)), at)
    first, second = np.array(sorted(found), np.int64).T
    of = np.array([found[link] for link in sorted(found)])
    return Pairs(first, second, pairs.kind[of], pairs.score[of])


def _near_pairs(images: Images, memo: Memo) -> tuple[Pairs, Ints]:
    """Return the near pairs of one image of each picture, and the rows of all that were compared, (C, 2)."""
    single = np.unique(np.where(images.pictured, images.pixel_sha, ""), return_index=True)[1]
    single = np.sort(single[images.pictured[single]])

    def compute(folder: Path) -> None:
        near, compared = _near(images, single) if len(single) > 1 else (_none(), np.zeros((0, 2), np.int64))
        for name in ("first", "second", "score"):
            np.save(folder / f"{name}.npy", getattr(near, name))
        np.save(folder / "kind.npy", near.kind.astype(np.str_))
        np.save(folder / "compared.npy", compared)

    def load(folder: Path) -> tuple[Pairs, Ints]:
        first, second, kind, score, compared = (
            np.load(folder / f"{name}.npy") for name in ("first", "second", "kind", "score", "compared")
        )
        return Pairs(first, second, kind.astype(object), score), compared

    settings = [VERSION, IMAGES_VERSION, COPY, SCAN, FINE_SCAN, FINE_SIDE, LEAST_SIDE, SMALL_COPY]
    return memo.get("pairs", settings, compute, load)


def _near(images: Images, rows: Ints) -> tuple[Pairs, Ints]:
    """Search and confirm near copies among rows of the images, further in families of many copies."""
    from vitlab.audit.copies.candidates import CandidateIndex

    indexes = [CandidateIndex(squares, rows) for squares in (images.content, images.frames)]
    names = ("looking for copies", "again, whole")
    parts: list[Pairs] = []
    compared = np.zeros(0, np.int64)  # low * number + high of places
    confirmed = np.zeros(0, np.int64)
    places, times, number = np.arange(len(rows)), 1, len(rows)
    while len(places):
        found = [
            index.search(places, each=min(_MOST, max(each, _FEW // number) * times), name=name)
            for index, each, name in zip(indexes, _EACH, names, strict=True)
        ]
        source, copy, turn, hypothesis = (
            np.concatenate([getattr(part, name) for part in found]) for name in ("source", "copy", "turn", "hypothesis")
        )
        whole = np.arange(len(source)) >= len(found[0].source)
        keys = np.minimum(source, copy) * number + np.maximum(source, copy)
        # Each pair once, the content's candidate before the frame's.
        first = np.unique(keys, return_index=True)[1]
        first = first[~np.isin(keys[first], compared)]
        pairs, sure = _confirm(images, rows, source[first], copy[first], turn[first], hypothesis[first], whole[first])
        parts.append(pairs)
        compared, confirmed = np.union1d(compared, keys[first]), np.union1d(confirmed, keys[first[sure]])
        refused = np.zeros(number, bool)
        refused[source[~np.isin(keys, confirmed)]] = True
        asked = np.zeros(number, bool)
        asked[source] = True
        places = np.flatnonzero(asked & ~refused) if times * _EACH[0] < min(_MOST, number - 1) else places[:0]
        times *= _FAMILY
    pairs = _join(parts)
    order = np.lexsort((pairs.second, pairs.first))
    return pairs.where(order), rows[np.stack([compared // number, compared % number], 1)]


def _confirm(
    images: Images, rows: Ints, source: Ints, copy: Ints, turn: Ints, hypothesis: Ints, whole: NDArray[np.bool_]
) -> tuple[Pairs, NDArray[np.int64]]:
    """Register candidates and return those that show the same, with their indices among the candidates."""
    import torch

    from vitlab.audit.copies.descriptors import hypotheses
    from vitlab.audit.copies.registration import register, turn_images

    start = np.array(hypotheses()[0])[hypothesis]
    box_of = images.box.astype(np.float64)
    source, copy = rows[source], rows[copy]
    start[whole] = between_contents(start[whole], box_of[source[whole]], box_of[copy[whole]], turn[whole])
    score, fine = (np.full(len(source), -1.0, np.float32) for _ in range(2))
    found, light = np.zeros((len(source), 2, 3), np.float32), np.zeros((len(source), 2), np.float32)
    sides = np.minimum(images.width, images.height)
    sides = np.minimum(sides[source], sides[copy])

    @torch.inference_mode()
    def compare(part: slice) -> None:
        first = torch.from_numpy(images.content[source[part]].astype(np.float32))
        for value in np.unique(turn[part]):
            these = torch.from_numpy(np.flatnonzero(turn[part] == value))
            first[these] = turn_images(first[these], int(value))
        second = torch.from_numpy(images.content[copy[part]].astype(np.float32))
        scores, finest, fitted = register(first, second, torch.from_numpy(start[part]).float())
        score[part], fine[part], found[part] = scores.numpy(), finest.numpy(), fitted.numpy()
        same = np.flatnonzero(_same(score[part], fine[part], sides[part]))
        light[part.start + same] = intensity(first[same], second[same], fitted[same])

    with one_thread_each():
        in_threads(compare, len(source), _BATCH, "comparing candidates")
    sure = np.flatnonzero(_same(score, fine, sides))
    source, copy = source[sure], copy[sure]
    kinds = name_change(images, source, copy, turn[sure], found[sure], light[sure])
    kinds[score[sure] < COPY] = NEIGHBOUR
    low, high = np.minimum(source, copy), np.maximum(source, copy)
    return Pairs(low, high, kinds, score[sure].clip(0, 1)), sure


def _same(score: NDArray[np.float32], fine: NDArray[np.float32], sides: Ints) -> NDArray[np.bool_]:
    """Say which registered pairs show the same picture or scan, (P,); sides are the shortest of each two, in pixels."""
    scan = (score >= SCAN) | ((fine >= FINE_SCAN) & (sides >= FINE_SIDE))
    same: NDArray[np.bool_] = np.where(sides < LEAST_SIDE, score >= SMALL_COPY, scan)
    return same


def _none() -> Pairs:
    empty = np.zeros(0, np.int64)
    return Pairs(empty, empty, np.zeros(0, object), np.zeros(0, np.float32))


def _join(parts: list[Pairs]) -> Pairs:
    return Pairs(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "second", "kind", "score"))
    )
