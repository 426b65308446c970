"""Candidates: for each image the few others that may be a copy of it, by nearest neighbours in descriptor space."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.descriptors import DIMENSIONS, Floats, Whitening, hypotheses, shrink, turned
from vitlab.audit.progress import stage

_NEIGHBOURS = 12  # of each query; the last is what an image that is no copy looks like
_SURE = 0.9  # cosine of unit descriptors above which a candidate is kept however many alike there are
_BLOCK = 512  # images whose queries are in memory at once
_EXHAUSTIVE = 20_000  # images up to which every one is compared; above, an inverted file is
_WHITENING_SAMPLE = 20_000


@dataclass(frozen=True)
class Candidates:
    """Ordered pairs of places that may show the same.

    Attributes:
        source: Place of the image that was warped, (P,).
        copy: Place of the image that it then resembled, (P,).
        turn: Which flip and quarter turn, 0 to 7, (P,).
        hypothesis: Which of `hypotheses()`, (P,).
    """

    source: NDArray[np.int64]
    copy: NDArray[np.int64]
    turn: NDArray[np.int64]
    hypothesis: NDArray[np.int64]


def find_candidates(frames: NDArray[np.uint8], *, each: int, name: str) -> Candidates:
    """Return up to `each` candidates an image.

    Every image is looked for as it is, in 7 flips and turns, and in 23 crops and small rotations. A candidate counts by
    how far it stands out from the same query's other neighbours.

    Args:
        frames: uint8 (N, S, S).
        each: Candidates an image.
        name: Of the stage, shown to the user.
    """
    import faiss

    maps, operators = hypotheses()
    count = len(frames)
    flat = operators.transpose(2, 0, 1).reshape(operators.shape[2], -1)  # (pixels, H * K)
    sample = np.linspace(0, count - 1, min(count, _WHITENING_SAMPLE)).astype(int)
    whiten = Whitening(shrink(frames[sample]) @ operators[0].T)
    upright = np.concatenate(
        [whiten(shrink(frames[start : start + 4096]) @ operators[0].T) for start in range(0, count, 4096)]
    )
    if count <= _EXHAUSTIVE:
        index: Any = faiss.IndexFlatIP(DIMENSIONS)
    else:
        cells = int(3 * np.sqrt(count))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIMENSIONS), DIMENSIONS, cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.nprobe = 0, 12
        index.train(upright[np.linspace(0, count - 1, min(count, 40 * cells)).astype(int)])
    index.add(upright)
    k = min(_NEIGHBOURS + 1, count)  # the image itself is one of them
    seen = [(turn, 0) for turn in range(8)] + [(0, number) for number in range(1, len(maps))]
    found = []
    starts = range(0, count, _BLOCK)
    for start in stage(starts, len(starts), name):
        rows = np.arange(start, min(start + _BLOCK, count))
        coefficients = (shrink(frames[rows]) @ flat).reshape(len(rows), len(maps), -1)
        queries = [whiten(turned(np.ascontiguousarray(coefficients[:, number]), turn)) for turn, number in seen]
        cosine, place = index.search(np.concatenate(queries), k)
        cosine = cosine.reshape(len(seen), len(rows), k).transpose(1, 0, 2)
        place = place.reshape(len(seen), len(rows), k).transpose(1, 0, 2)
        found.append(_best(cosine, place, rows, each, k <= _NEIGHBOURS))
    row, query, copy = (np.concatenate([part[number] for part in found]) for number in range(3))
    turns, numbers = np.array(seen).T
    return Candidates(row, copy, turns[query], numbers[query])


def _best(
    cosine: Floats, place: NDArray[np.int64], rows: NDArray[np.int64], each: int, few: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Choose among the neighbours (B, Q, k) of each row's queries: row, query and place, each place once a row."""
    lowest = -1.0 if few else cosine[:, :, -1:]
    worth = cosine - lowest + (cosine >= _SURE)
    worth[(place == rows[:, None, None]) | (place < 0)] = -np.inf
    width = worth.shape[1] * worth.shape[2]
    worth, place = worth.reshape(len(rows), width), place.reshape(len(rows), width)
    order = np.argsort(-worth, axis=1, kind="stable")
    by_place = np.argsort(np.take_along_axis(place, order, 1), axis=1, kind="stable")
    order = np.take_along_axis(order, by_place, 1)  # by place, the best of each first
    sorted_place = np.take_along_axis(place, order, 1)
    repeated = np.zeros(place.shape, bool)
    repeated[:, 1:] = sorted_place[:, 1:] == sorted_place[:, :-1]
    best = np.take_along_axis(worth, order, 1)
    best[repeated] = -np.inf
    top = np.argpartition(-best, min(each, width) - 1, axis=1)[:, :each]
    kept = np.isfinite(np.take_along_axis(best, top, 1))
    chosen = np.take_along_axis(order, top, 1)
    return (
        np.repeat(rows, top.shape[1])[kept.ravel()],
        (chosen // cosine.shape[2])[kept],
        np.take_along_axis(place, chosen, 1)[kept],
    )
