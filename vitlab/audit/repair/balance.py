"""Balance: whole groups on sides, so that sizes and classes come near to a target while few images move.

A side is a split, a fold, or both. G groups, S sides, C classes; groups that hold the same are of one of K kinds.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# What a moved image costs: moving a share m of all images must lower the sum of squared relative distances by
# PRICE * m. A split that is off by 0.3 % of its size is then left alone where that takes more than a few images.
PRICE = 0.05
_SWAPS = 600  # moves that are tried in twos, the best by themselves
_KICKS = 3000  # kinds that are kicked away from where nothing helps any more, for few groups, which get stuck
_GAIN = 0.01  # of the price of one moved image: less is no gain
_ROUNDS = 200_000  # kinds that are gone through
_AT_ONCE = 5000  # kinds whose moves are compared before one is made
_MOVES = 50_000  # of about so many, of a random choice of kinds: enough that differ to reach the target


def target(published: Ints, kept: Ints) -> Floats:
    """Return how many images of each class each side should have, of those that are kept, (S, C).

    Each side has its published share of the images. Within it the classes have their published shares, as nearly as
    what is kept allows (least squares of the shares): where copies of one class were dropped, the largest side gives
    most of them, but keeps about half of what it would if all sides lost alike, or more.

    Args:
        published: Images by side and class before, (S, C).
        kept: Images of each class to be had, (C,).
    """
    sizes = kept.sum() * published.sum(1) / max(1, published.sum())
    alike = _fitted(published.astype(float), sizes, kept)
    wanted = sizes[:, None] * published / np.maximum(published.sum(1, keepdims=True), 1)
    lacking = (kept - wanted.sum(0)) * (sizes**2 / max(1, (sizes**2).sum()))[:, None]
    return _fitted(np.where(published > 0, np.maximum(wanted + lacking, alike / 2), 0), sizes, kept)


def _fitted(table: Floats, rows: Floats, columns: Ints) -> Floats:
    """Scale rows and columns in turn until they have these sums (iterative proportional fitting; Deming 1940)."""
    for _ in range(200):
        table = table * (rows / np.maximum(table.sum(1), 1e-12))[:, None]
        table = table * (columns / np.maximum(table.sum(0), 1e-12))
    return table


def balance(
    wanted: Floats, label: Ints, free: Bools, group: Ints, allowed: Bools, rank: NDArray[np.uint64]
) -> Ints:
    """Return a side for each group, so that distance and cost are least: by moves of one group and of two, and kicks.

    Args:
        wanted: Images by side and class, (S, C).
        label: Class of each image, (U,).
        free: Sides where an image may stand without counting as moved, (U, S).
        group: Group of each image, 0 to G - 1, (U,).
        allowed: Sides that each group may go to, at least one, (G, S).
        rank: Which of several groups that hold the same go first, (G,).
    """
    kind, state = _kinds(wanted, label, free, group, allowed)
    state.descend()
    rng = np.random.default_rng(0)
    for _ in range(min(100, _KICKS // len(state.placed))):
        other = state.kicked(rng)
        other.descend()
        if other.total() < state.total() - state.least:
            state = other
    order = np.lexsort((rank, kind))
    sides = np.empty(len(kind), np.int64)
    sides[order] = np.repeat(np.tile(np.arange(len(wanted)), len(state.placed)), state.placed.ravel())
    return sides


def _kinds(wanted: Floats, label: Ints, free: Bools, group: Ints, allowed: Bools) -> tuple[Ints, "_State"]:
    """Return the kind of each group, (G,), and the cheapest state."""
    # A kind is told by a sum of random words, one for each kind of image: no table of groups x classes.
    keys = np.ascontiguousarray(np.c_[label[:, None].view(np.uint8), free, allowed[group]])
    like = np.unique(keys.view(f"V{keys.shape[1]}").ravel(), return_inverse=True)[1]
    words = np.random.default_rng(0).integers(0, 2**63, like.max(initial=-1) + 1, np.uint64)
    signature = np.zeros(len(allowed), np.uint64)
    np.add.at(signature, group, words[like])
    _, example, kind, members = np.unique(signature, return_index=True, return_inverse=True, return_counts=True)
    of = np.full(len(allowed), -1)
    of[example] = np.arange(len(example))
    shown = np.flatnonzero(of[group] >= 0)
    at = of[group[shown]]
    holds = np.zeros((len(example), wanted.shape[1] + 1))
    np.add.at(holds, (at, label[shown]), 1)
    holds[:, -1] = holds.sum(1)  # the size counts beside the classes
    cost = np.zeros((len(example), len(wanted)))
    np.add.at(cost, at, ~free[shown])
    may = allowed[example]
    placed = np.zeros(cost.shape, np.int64)
    placed[np.arange(len(example)), np.where(may, cost, np.inf).argmin(1)] = members
    sizes, images = np.maximum(wanted.sum(1, keepdims=True), 1), max(1.0, wanted.sum())
    weight = images**2 / (sizes * np.maximum(np.c_[wanted, sizes], 1))
    off = placed.T @ holds - np.c_[wanted, wanted.sum(1)]
    price = PRICE * images
    return kind, _State(holds, price * cost, may, placed, weight, off, holds**2 @ weight.T, _GAIN * price)


@dataclass(frozen=True)
class _State:
    """How many groups of each kind are on each side, changed in place.

    Attributes:
        holds: Images by class, then of all classes, in a group of each kind, (K, C + 1).
        cost: Price of the moved images of a group of each kind on each side, (K, S).
        may: Whether a kind may be on a side, (K, S).
        placed: Groups of each kind on each side, (K, S).
        weight: Of a squared distance, so that it is relative to the side's size and the class's, (S, C + 1).
        off: Images too many, (S, C + 1).
        own: What a group adds to the distance by its own square, (K, S).
        least: What counts as a gain.
    """

    holds: Floats
    cost: Floats
    may: Bools
    placed: Ints
    weight: Floats
    off: Floats
    own: Floats
    least: float

    def total(self) -> float:
        """Return what is to be least."""
        return float((self.weight * self.off**2).sum() + (self.cost * self.placed).sum())

    def descend(self) -> None:
        """Move until nothing helps, or among very many kinds until it helps hardly."""
        for _ in range(max(2, _ROUNDS // len(self.holds))):
            if not self.move_single() and not self.move_two():
                break

    def kicked(self, rng: np.random.Generator) -> "_State":
        """Return another state, in which up to three groups stand on a side by chance."""
        other = replace(self, placed=self.placed.copy(), off=self.off.copy())
        for kind in rng.integers(0, len(self.placed), 3).tolist():
            start = rng.choice(np.flatnonzero(other.placed[kind]))
            other._move(kind, int(start), int(rng.choice(np.flatnonzero(self.may[kind]))), 1)
        return other

    def move_single(self) -> bool:
        """Move groups of a kind wherever that helps; return whether any did."""
        moved = False
        # Of very many kinds first those that stand on two sides already, so that the others need not move.
        least, second = _two_least(np.where(self.may, self.cost, np.inf))
        at = np.arange(len(self.holds))
        order = np.argsort((self.cost[at, second] - self.cost[at, least]) / self.holds[:, -1], kind="stable")
        for rows in np.array_split(order, -(-len(order) // _AT_ONCE)):
            for _ in range(20):
                if not self._move_best(rows):
                    break
                moved = True
        return moved

    def _move_best(self, rows: Ints) -> bool:
        """Move groups of some kinds, best gain an image first, until what was moved has changed the order."""
        leave, enter = self._leave_and_enter(rows)
        start, end = _two_least(leave), _two_least(enter)
        pairs = [(start[0], end[0]), (start[0], end[1]), (start[1], end[0])]
        at = np.arange(len(rows))
        gains = np.array([np.where(a == b, np.inf, leave[at, a] + enter[at, b]) for a, b in pairs])
        best = gains.argmin(0)
        gain = np.round(gains[best, at] / self.holds[rows, -1], 6)
        helpful, failed = np.flatnonzero(gain < -self.least), 0
        for row in helpful[np.argsort(gain[helpful], kind="stable")].tolist():
            a, b = (int(ends[row]) for ends in pairs[best[row]])
            count = self._best_count(rows[row], a, b)
            self._move(rows[row], a, b, count)
            failed = 0 if count else failed + 1
            if failed > 100:
                break
        return len(helpful) > 0

    def move_two(self) -> bool:
        """Make the two moves that help most together, as an exchange does; return whether any did."""
        chosen = max(2, _MOVES // self.may.shape[1] ** 2)
        rows = np.sort(np.random.default_rng(0).permutation(len(self.holds))[:chosen])
        leave, enter = self._leave_and_enter(rows)
        gain = leave[:, :, None] + enter[:, None, :]
        gain[:, np.arange(gain.shape[1]), np.arange(gain.shape[1])] = np.inf
        flat = np.argsort(np.round(gain.ravel(), 6), kind="stable")[:_SWAPS]
        flat = flat[np.isfinite(gain.ravel()[flat])]
        if not len(flat):
            return False
        at, start, end = np.unravel_index(flat, gain.shape)
        kind = rows[at]
        change = np.zeros((len(flat), *self.off.shape))
        change[np.arange(len(flat)), start] -= self.holds[kind]
        change[np.arange(len(flat)), end] += self.holds[kind]
        change = (change * np.sqrt(self.weight)).reshape(len(flat), -1)
        single = gain.ravel()[flat]
        both = single[:, None] + single + 2 * change @ change.T
        same = (kind[:, None] == kind) & (start[:, None] == start)
        both[(same & (self.placed[kind, start] < 2)) | ~np.triu(np.ones_like(same), 1)] = np.inf
        first, second = np.unravel_index(np.round(both, 6).argmin(), both.shape)
        if not both[first, second] < -self.least:
            return False
        for move in (first, second):
            self._move(int(kind[move]), int(start[move]), int(end[move]), 1)
        return True

    def _leave_and_enter(self, rows: Ints) -> tuple[Floats, Floats]:
        """Return the change by one group leaving and entering each side, infinite where none can, (K', S) each."""
        slope = 2 * self.holds[rows] @ (self.weight * self.off).T
        leave = np.where(self.placed[rows] > 0, self.own[rows] - slope - self.cost[rows], np.inf)
        return leave, np.where(self.may[rows], self.own[rows] + slope + self.cost[rows], np.inf)

    def _best_count(self, kind: int, start: int, end: int) -> int:
        """Return how many groups of a kind should move, 0 where none should."""
        slope = 2 * ((self.weight[end] * self.off[end] - self.weight[start] * self.off[start]) @ self.holds[kind])
        slope += self.cost[kind, end] - self.cost[kind, start]
        square = self.own[kind, start] + self.own[kind, end]
        count = min(round(-slope / (2 * square)), self.placed[kind, start])
        return int(count) if count > 0 and slope * count + square * count**2 < -self.least else 0

    def _move(self, kind: int, start: int, end: int, count: int) -> None:
        self.placed[kind, start] -= count
        self.placed[kind, end] += count
        self.off[start] -= count * self.holds[kind]
        self.off[end] += count * self.holds[kind]


def _two_least(values: Floats) -> tuple[Ints, Ints]:
    """Return the columns of the least and the second least value of each row, the same where there is but one."""
    rows = np.arange(len(values))
    first = values.argmin(1)
    others = values.copy()
    others[rows, first] = np.inf
    return first, others.argmin(1)
