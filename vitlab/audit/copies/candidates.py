"""Candidates: for each image the few others that may be a copy of it, by nearest neighbours in descriptor space."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.descriptors import DIMENSIONS, Floats, Whitening, hypotheses, shrink, turned
from vitlab.audit.progress import in_threads

_NEIGHBOURS = 12  # of each query; the last is what an image that is no copy looks like
_SURE = 0.9  # cosine of unit descriptors above which a candidate is kept however many alike there are
_BLOCK = 256  # images whose queries are in memory at once, in each thread
_EXHAUSTIVE = 20_000  # images up to which every one is compared; above, an inverted file is
_SAMPLE = 20_000  # images that the whitening is learnt from
# Of the inverted file, as faiss advises: 4 to 16 times the root of N cells (fewer here, as training them is most of the
# time), about 40 images a cell to train them on. 12 cells a query found 280 of 280 planted copies among 30,000.
_CELLS, _TRAINED, _PROBED = 3, 40, 12


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


class CandidateIndex:
    """Descriptors of a set of images, ready for nearest neighbours.

    Args:
        frames: uint8 (M, S, S), read in blocks: it may be a memory map.
        rows: Which of them are in the set; their places in it are what candidates name, (N,).
    """

    def __init__(self, frames: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        import faiss

        self.frames, self.rows, count = frames, rows, len(rows)
        whole = hypotheses()[1][0]
        sample = np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int)
        self.whiten = Whitening(self._coefficients(sample, whole))
        self.upright = upright = np.empty((count, min(DIMENSIONS, self.whiten.axes.shape[1])), np.float32)
        for start in range(0, count, 4096):
            places = np.arange(start, min(start + 4096, count))
            upright[places] = self.whiten(self._coefficients(places, whole))
        self.index: Any = faiss.IndexFlatIP(upright.shape[1])
        if count > _EXHAUSTIVE:
            cells = int(_CELLS * np.sqrt(count))
            self.index = faiss.IndexIVFFlat(self.index, upright.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
            self.index.cp.seed, self.index.nprobe = 0, _PROBED
            self.index.train(upright[np.linspace(0, count - 1, min(count, _TRAINED * cells)).astype(int)])
        self.keep(np.arange(count))

    def keep(self, places: NDArray[np.int64]) -> None:
        """Name only some places as candidates from now on, (K,)."""
        self.kept = places
        self.index.reset()
        self.index.add(self.upright[places])

    def _coefficients(self, places: NDArray[Any], operator: Floats) -> Floats:
        """Return what an operator (K, pixels) makes of the images at these places, (P, K), block by block."""
        parts = np.array_split(places, max(1, len(places) // _BLOCK))
        return np.concatenate([shrink(self.frames[self.rows[part]]) @ operator.T for part in parts])

    def search(self, places: NDArray[np.int64], *, each: int, name: str) -> Candidates:
        """Return up to `each` candidates an image.

        Every image is looked for as it is, in 7 flips and turns, and in all crops and small rotations of `hypotheses`.
        A candidate counts by how far it stands out from the same query's other neighbours.

        Args:
            places: Whose candidates are wanted, (P,).
            each: Candidates an image.
            name: Of the stage, shown to the user.
        """
        import faiss

        maps, operators = hypotheses()
        flat = operators.reshape(-1, operators.shape[2])  # (H * K, pixels)
        seen = [(turn, 0) for turn in range(8)] + [(0, number) for number in range(1, len(maps))]
        # The image itself is one of its neighbours; one more than is wanted shows where they stop to stand out.
        k = min(max(_NEIGHBOURS, 2 * each) + 1, len(self.kept))
        def neighbours(rows: slice) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
            part = places[rows]
            coefficients = self._coefficients(part, flat).reshape(len(part), len(maps), -1)
            queries = [self.whiten(turned(np.ascontiguousarray(coefficients[:, n]), turn)) for turn, n in seen]
            faiss.omp_set_num_threads(1)  # of this thread
            cosine, place = self.index.search(np.concatenate(queries), k)
            cosine = cosine.reshape(len(seen), len(part), k).transpose(1, 0, 2)
            place = np.where(place < 0, -1, self.kept[place]).reshape(len(seen), len(part), k).transpose(1, 0, 2)
            return _best(cosine, place, part, each, k == len(self.kept))

        found = in_threads(neighbours, len(places), max(16, _BLOCK * _NEIGHBOURS // k), name)
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
