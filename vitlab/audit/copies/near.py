"""The search for near copies: candidates by nearest neighbours, each confirmed by registration.

Rows are those of the manifest, places those among the rows that are searched.
"""

import threading
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from vitlab.audit.copies.candidates import CandidateIndex
from vitlab.audit.copies.change import between_contents, name_change
from vitlab.audit.copies.pairs import (
    COPY,
    FINE_SCAN,
    FINE_SIDE,
    LEAST_SIDE,
    NEIGHBOUR,
    SCAN,
    SMALL_COPY,
    Pairs,
    chains,
    join,
    no_pairs,
)
from vitlab.audit.images import Images
from vitlab.audit.progress import in_threads, one_thread_each

_EACH = (6, 4)  # candidates an image by its content and by its whole frame
_FEW = 2000  # candidates that are compared at the least: a small set is compared image by image
_FAMILY = 4  # times as many, for images all of whose candidates were copies, until one is refused
_MOST = 100  # candidates of one image at the most: larger families hang together by then
_BATCH = 128  # pairs registered at once

Ints = NDArray[np.int64]


class NearSearch:
    """Finds the near copies among rows of the images.

    Copies fill the lists of candidates, their own and those of their picture's neighbours. Where they did, one image of
    each picture is looked for once more, among one image of each.

    Args:
        images: All images.
        rows: Increasing, of different pictures, (R,).

    Attributes:
        pairs: What was confirmed.
        compared: Rows of all candidates that were registered, (C, 2).
    """

    def __init__(self, images: Images, rows: Ints) -> None:
        # Confirming needs torch, whose import takes seconds of one thread: it goes on beside the first search.
        threading.Thread(target=import_module, args=("torch",)).start()
        self._images, self._rows = images, rows
        self._indexes = [CandidateIndex(squares, rows) for squares in (images.content, images.frames)]
        self.pairs, self._keys = no_pairs(), np.zeros(0, np.int64)  # low * R + high of places
        lists, copy = self._look(np.arange(len(rows)))
        same = chains(self.pairs.where(self.pairs.kind != NEIGHBOUR), np.full(len(images), -1))[rows]
        _, heads, family = np.unique(same, return_index=True, return_inverse=True)
        source = lists % len(rows)
        _, of, times = np.unique(lists * len(rows) + family[copy], return_inverse=True, return_counts=True)
        crowded = source[(times[of] > 1) | (family[copy] == family[source])]
        if len(crowded):
            for index in self._indexes:
                index.keep(np.sort(heads))
            self._look(np.unique(heads[family[crowded]]))
        self.pairs = self.pairs.where(np.lexsort((self.pairs.second, self.pairs.first)))
        self.compared = rows[np.stack([self._keys // len(rows), self._keys % len(rows)], 1)]

    def _look(self, places: Ints) -> tuple[Ints, Ints]:
        """Add the pairs of some places, further where all candidates were copies; return the first candidates.

        Returns:
            Place of the source, plus R where the whole frame names the candidate, and of the candidate, (P,) each.
        """
        names = ("looking for copies", "again, whole")
        number, times, lists = len(self._rows), 1, (places[:0], places[:0])
        while len(places):
            found = [
                index.search(places, each=min(_MOST, max(each, _FEW // number) * times), name=name)
                for index, each, name in zip(self._indexes, _EACH, names, strict=True)
            ]
            source, copy, turn, hypothesis = (
                np.concatenate([getattr(part, name) for part in found])
                for name in ("source", "copy", "turn", "hypothesis")
            )
            whole = np.arange(len(source)) >= len(found[0].source)
            keys = np.minimum(source, copy) * number + np.maximum(source, copy)
            # Each pair once, the content's candidate before the frame's.
            first = np.unique(keys, return_index=True)[1]
            first = first[~np.isin(keys[first], self._keys)]
            pairs = _confirm(
                self._images, self._rows, source[first], copy[first], turn[first], hypothesis[first], whole[first]
            )
            self.pairs, self._keys = join([self.pairs, pairs]), np.union1d(self._keys, keys[first])
            low, high = (np.searchsorted(self._rows, ends) for ends in (self.pairs.first, self.pairs.second))
            refused = source[~np.isin(keys, low * number + high)]
            if times == 1:
                lists = source + number * whole, copy
            places = np.setdiff1d(source, refused) if times * _EACH[0] < min(_MOST, number - 1) else places[:0]
            times *= _FAMILY
        return lists


def _confirm(
    images: Images, rows: Ints, source: Ints, copy: Ints, turn: Ints, hypothesis: Ints, whole: NDArray[np.bool_]
) -> Pairs:
    """Register candidates, given by place, and return those that show the same."""
    import torch

    from vitlab.audit.copies.descriptors import hypotheses
    from vitlab.audit.copies.registration import register, turn_images

    start = np.array(hypotheses()[0])[hypothesis]
    box_of = images.box.astype(np.float64)
    source, copy = rows[source], rows[copy]
    start[whole] = between_contents(start[whole], box_of[source[whole]], box_of[copy[whole]], turn[whole])
    score, fine = (np.full(len(source), -1.0, np.float32) for _ in range(2))
    found = np.zeros((len(source), 2, 3), np.float32)
    sides = np.minimum(images.width, images.height)
    sides = np.minimum(sides[source], sides[copy])

    @torch.inference_mode()
    def compare(part: slice) -> None:
        first = torch.from_numpy(images.content[source[part]])
        for value in np.unique(turn[part]):
            these = torch.from_numpy(np.flatnonzero(turn[part] == value))
            first[these] = turn_images(first[these], int(value))
        second = torch.from_numpy(images.content[copy[part]])
        scores, finest, fitted = register(first, second, torch.from_numpy(start[part]).float())
        score[part], fine[part], found[part] = scores.numpy(), finest.numpy(), fitted.numpy()

    with one_thread_each():
        in_threads(compare, len(source), _BATCH, "comparing candidates")
    sure = np.flatnonzero(_same(score, fine, sides))
    source, copy = source[sure], copy[sure]
    kinds = name_change(images, source, copy, turn[sure], found[sure])
    kinds[score[sure] < COPY] = NEIGHBOUR
    low, high = np.minimum(source, copy), np.maximum(source, copy)
    return Pairs(low, high, kinds, score[sure].clip(0, 1))


def _same(score: NDArray[np.float32], fine: NDArray[np.float32], sides: Ints) -> NDArray[np.bool_]:
    """Say which registered pairs show the same picture or scan, (P,); sides are the shortest of each two, in pixels."""
    scan = (score >= SCAN) | ((fine >= FINE_SCAN) & (sides >= FINE_SIDE))
    same: NDArray[np.bool_] = np.where(sides < LEAST_SIDE, score >= SMALL_COPY, scan)
    return same
