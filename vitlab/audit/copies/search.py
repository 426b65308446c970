"""The search for copies: exact ones by digest, near ones among candidates by registration."""

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.pairs import (
    COPY,
    EXACT,
    FINE_SCAN,
    FINE_SIDE,
    LEAST_SIDE,
    SCAN,
    SMALL_COPY,
    Pairs,
    join,
    no_pairs,
)
from vitlab.audit.images import Images
from vitlab.audit.memo import Memo

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
        side: Code of what tells rows apart, such as split, label and patient in this order, (N,): of many equal images,
            pairs between all sides are listed, unless these are many too.
    """
    side = np.zeros(len(images), np.int64) if side is None else side
    exact = _exact(images, side)
    near = _spread(_near_pairs(images, memo)[0], images, side)
    # A padded copy is found both ways: the digest is the surer.
    known = set(zip(exact.first.tolist(), exact.second.tolist(), strict=True))
    new = [pair not in known for pair in zip(near.first.tolist(), near.second.tolist(), strict=True)]
    return join([exact, near.where(np.array(new, bool))])


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
        return no_pairs()
    first, second = np.array(sorted(found), np.int64).T
    kinds = np.array([found[link] for link in sorted(found)], object)
    return Pairs(first, second, kinds, np.ones(len(found), np.float32))


def _links(members: Ints, side: Ints) -> list[tuple[int, int]]:
    """Return all pairs of a small group, of a large one each member with the first of every side: not its square.

    Where sides are many too, as of one picture in the images of a thousand patients, some stand for all, and each side
    is linked with the next, so that no split and no label is left out.
    """
    rows = members.tolist()
    if len(rows) <= _ALL_PAIRS:
        return [(a, b) for place, a in enumerate(rows) for b in rows[place + 1 :]]
    heads = members[np.unique(side[members], return_index=True)[1]].tolist()
    found = {(min(a, b), max(a, b)) for a in _some(heads) for b in rows if a != b}
    return sorted(found | {(min(a, b), max(a, b)) for a, b in itertools.pairwise(heads)})


def _some(heads: list[int]) -> list[int]:
    """Return the first of every side, (S,), or of so many that a group's pairs stay few, the ends among them."""
    if len(heads) <= _ALL_PAIRS:
        return heads
    return [heads[at] for at in np.linspace(0, len(heads) - 1, _ALL_PAIRS).astype(int).tolist()]


def _spread(pairs: Pairs, images: Images, side: Ints) -> Pairs:
    """Repeat each near pair for every two sides that images of the same pixels stand on, of many sides for some."""
    if not len(pairs):
        return pairs
    equals: dict[str, list[int]] = {}
    wanted = set(images.pixel_sha[pairs.first].tolist()) | set(images.pixel_sha[pairs.second].tolist())
    for row, digest in enumerate(images.pixel_sha.tolist()):
        if digest in wanted:
            equals.setdefault(digest, []).append(row)
    firsts = {digest: {int(side[row]): row for row in reversed(rows)} for digest, rows in equals.items()}
    heads = {digest: [first[code] for code in sorted(first)] for digest, first in firsts.items()}
    found: dict[tuple[int, int], int] = {}
    for at, (a, b) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        of_a, of_b = [a, *heads[images.pixel_sha[a]]], [b, *heads[images.pixel_sha[b]]]
        for ends in itertools.chain(itertools.product(_some(of_a), of_b), itertools.product(of_a, _some(of_b))):
            found.setdefault((min(ends), max(ends)), at)
    first, second = np.array(sorted(found), np.int64).T
    of = np.array([found[link] for link in sorted(found)])
    return Pairs(first, second, pairs.kind[of], pairs.score[of])


def _near_pairs(images: Images, memo: Memo) -> tuple[Pairs, Ints]:
    """Return the near pairs of one image of each picture, and the rows of all that were compared, (C, 2)."""
    single = np.unique(np.where(images.pictured, images.pixel_sha, ""), return_index=True)[1]
    single = np.sort(single[images.pictured[single]])

    def compute(folder: Path) -> None:
        from vitlab.audit.copies.near import NearSearch

        near, compared = no_pairs(), np.zeros((0, 2), np.int64)
        if len(single) > 1:
            search = NearSearch(images, single)
            near, compared = search.pairs, search.compared
        for name in ("first", "second", "score"):
            np.save(folder / f"{name}.npy", getattr(near, name))
        np.save(folder / "kind.npy", near.kind.astype(np.str_))
        np.save(folder / "compared.npy", compared)

    def load(folder: Path) -> tuple[Pairs, Ints]:
        first, second, kind, score, compared = (
            np.load(folder / f"{name}.npy") for name in ("first", "second", "kind", "score", "compared")
        )
        return Pairs(first, second, kind.astype(object), score), compared

    settings = [COPY, SCAN, FINE_SCAN, FINE_SIDE, LEAST_SIDE, SMALL_COPY]
    return memo.get("pairs", settings, compute, load)
