"""Pairs: images that show the same, with a kind and a score each."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# From the surest to the least sure. The first three are decided by digests, the others by registration.
EXACT: Final = ("same file", "same pixels", "padded")
COPIES: Final = (
    "re-compressed", "resized", "brightness", "contrast", "blurred", "noisy", "marked", "flipped", "turned", "cropped",
    "rotated",
)  # fmt: skip
NEIGHBOUR: Final = "neighbour"  # another slice, or another moment, of what is likely the same scan
KINDS: Final = (*EXACT, *COPIES, NEIGHBOUR)

# Two images show the same scan where their detail correlates by SCAN or their finest detail by FINE_SCAN, and one is a
# copy of the other, not its neighbour, from COPY on. Chosen above the largest value of any two patients of the phantom
# of seed 0 (.851 and .505), where all share one anatomy; in cheng two patients reach .80 and .465, but for three pairs
# of names that are one person each. Copies have .92 and more, also when cropped to 80 %. The README's tables are of
# cheng and of a phantom of another seed.
SCAN: Final = 0.88
FINE_SCAN: Final = 0.515
COPY: Final = 0.92
# The finest detail counts from FINE_SIDE on, the size that pairs are compared at: of cheng at 48 px it links 16 pairs
# of two patients. Below LEAST_SIDE only near-perfect copies count: two digits of scikit-learn's 1,797 reach .968.
FINE_SIDE: Final = 96
LEAST_SIDE: Final = 40
SMALL_COPY: Final = 0.985


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, first below second, each pair once.

    Attributes:
        first: Row of one image, (P,).
        second: Row of the other, (P,).
        kind: One of KINDS: what was done to the one to get the other, the change that says most, (P,).
        score: Normalised cross-correlation of the detail once registered; 1 for exact kinds, (P,).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    kind: NDArray[Any]
    score: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.first)

    def where(self, chosen: NDArray[Any]) -> "Pairs":
        """Return some of the pairs, by mask or index."""
        return Pairs(self.first[chosen], self.second[chosen], self.kind[chosen], self.score[chosen])


def no_pairs() -> Pairs:
    """Return none."""
    empty = np.zeros(0, np.int64)
    return Pairs(empty, empty, np.zeros(0, object), np.zeros(0, np.float32))


def join(parts: list[Pairs]) -> Pairs:
    """Return the pairs of all parts, one part after the other."""
    return Pairs(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "second", "kind", "score"))
    )


def across(pairs: Pairs, split: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pairs stand on two sides of a split, (P,); an image of no split is on no side."""
    return _differ(split[pairs.first], split[pairs.second])


def conflicting(pairs: Pairs, label: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pairs have two labels, (P,); an image without a label contradicts none."""
    return _differ(label[pairs.first], label[pairs.second])


def worst_first(pairs: Pairs, split: NDArray[Any], label: NDArray[Any]) -> NDArray[np.int64]:
    """Return the order of the pairs, (P,): across splits, then across labels, then the surest."""
    surety = np.array([min(KINDS.index(kind), len(EXACT)) for kind in pairs.kind], np.int64)
    order: NDArray[np.int64] = np.lexsort((-pairs.score, surety, ~conflicting(pairs, label), ~across(pairs, split)))
    return order


def _differ(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = np.asarray((a != b) & (a != "") & (b != ""), bool)
    return different


def chains(pairs: Pairs, same: NDArray[np.int64], kept: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Return a code for each row, (N,), equal along chains of pairs and of equal codes.

    Args:
        pairs: Links between rows.
        same: Rows of equal code are linked too, -1 with none, (N,).
        kept: Which rows count at all, (N,).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(same)
    coded = np.flatnonzero((same >= 0) if kept is None else (same >= 0) & kept)
    _, first, of = np.unique(same[coded], return_index=True, return_inverse=True)
    start, end = np.concatenate([pairs.first, coded]), np.concatenate([pairs.second, coded[first][of]])
    if kept is not None:
        alive = kept[start] & kept[end]
        start, end = start[alive], end[alive]
    graph = coo_matrix((np.ones(len(start), bool), (start, end)), shape=(count, count))
    codes: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return codes
