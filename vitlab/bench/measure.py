"""How a row is measured: ours and the plain reference in turn, warmed up, repeated, compared pair by pair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

FEWEST = 3  # repeats, below which quartiles say nothing


@dataclass(frozen=True)
class Spent:
    """What one sample took.

    Args:
        amount: Seconds, or bytes for memory.
        count: What was done with it, in the row's things: images, epochs, starts.
    """

    amount: float
    count: float = 1.0

    @property
    def each(self) -> float:
        """Amount for one thing."""
        return self.amount / self.count


@dataclass(frozen=True)
class Target:
    """What a row is to reach.

    Args:
        bound: Least ratio, or largest amount for one thing.
        of: Whether the bound is on the ratio or on our amount.
        text: As it stands in the table.
    """

    bound: float
    of: Literal["ratio", "ours"]
    text: str


class Row(Protocol):
    """One thing that is measured.

    Attributes:
        name: In tables and for --rows.
        unit: `images/s` for a rate, `s` or `MiB` for what one thing takes.
        against: The plain reference in words.
        target: What is to be reached; None where nothing was set.
        facts: What else was seen on the way, such as the accuracy of both; read after the samples.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def unit(self) -> str: ...  # noqa: D102

    @property
    def against(self) -> str: ...  # noqa: D102

    @property
    def target(self) -> Target | None: ...  # noqa: D102

    @property
    def facts(self) -> dict[str, Any]: ...  # noqa: D102

    def ours(self) -> Spent:
        """Take one sample of vitlab."""
        ...

    def plain(self) -> Spent:
        """Take one sample of the plain reference, on the same images and the same work."""
        ...


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of samples."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of some values."""
        low, median, high = np.quantile(np.asarray(values, np.float64), (0.25, 0.5, 0.75))
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Measured:
    """A row after its samples.

    Args:
        name: As the row's.
        unit: As the row's.
        against: As the row's.
        target: As the row's.
        ours: One sample a repeat, in the order in which they were taken.
        plain: The sample of the plain reference that belongs to each.
        facts: As the row's.
    """

    name: str
    unit: str
    against: str
    target: Target | None
    ours: list[Spent]
    plain: list[Spent]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Return how many times less ours took for one thing, pair by pair: above 1, ours is better."""
        return [theirs.each / own.each for own, theirs in zip(self.ours, self.plain, strict=True)]

    @property
    def ratio(self) -> Spread:
        """Spread of the paired ratios: a machine that slows down takes both samples of a pair with it."""
        return Spread.of(self.ratios)

    def shown(self, samples: Sequence[Spent]) -> Spread:
        """Return samples in the row's unit: things a second, seconds, or MiB."""
        if self.unit == "images/s":
            return Spread.of([1 / sample.each for sample in samples])
        return Spread.of([sample.each / (2**20 if self.unit == "MiB" else 1) for sample in samples])

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached by the median; None where there is none."""
        if self.target is None:
            return None
        if self.target.of == "ratio":
            return self.ratio.median >= self.target.bound
        return Spread.of([sample.each for sample in self.ours]).median <= self.target.bound


def measure(row: Row, repeats: int, said: Callable[[str], None] = lambda _: None) -> Measured:
    """Measure a row: one warm-up of each, then pairs, whose order changes from one to the next.

    Args:
        row: What to measure.
        repeats: Pairs.
        said: Called with a word after each pair.
    """
    row.ours()
    row.plain()
    ours: list[Spent] = []
    plain: list[Spent] = []
    for repeat in range(repeats):
        for first in (repeat % 2 == 0, repeat % 2 == 1):
            if first:
                ours.append(row.ours())
            else:
                plain.append(row.plain())
        said(f"{row.name}: {repeat + 1} of {repeats}, ratio {plain[-1].each / ours[-1].each:.2f}")
    return Measured(row.name, row.unit, row.against, row.target, ours, plain, dict(row.facts))
