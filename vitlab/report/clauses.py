"""Pairs in words: the clauses that verdicts are made of."""

from collections.abc import Sequence
from dataclasses import replace

from vitlab.evaluate.paired import Pair
from vitlab.report.words import at_least, listed, p_value, points

LISTED = 3  # pairs that a sentence names, the largest differences first


def better_than(pairs: Sequence[Pair], *, once: bool, turned: bool = True) -> str:
    """Write pairs as "A is better than B by 4.1 points [1.2, 7.0]", the largest first.

    Args:
        pairs: that differ.
        once: of single runs: in the past, for they say nothing of others.
        turned: the better one first; else "A is worse than B" where it is so.
    """
    verb, order = "was" if once else "is", largest(pairs)
    return listed([_clause(forward(pair) if turned else pair, verb) for pair in order], LISTED)


def may_be_chance(pairs: Sequence[Pair], unit: str = "") -> str:
    """Write pairs as "A against B +0.8 points [-3.5, 6.0] may be chance", with what could have been found."""
    shown = [f"{pair.a} against {pair.b} {points(pair.difference, pair.low, pair.high)}" for pair in largest(pairs)]
    return f"{listed(shown, LISTED)}{f' of {unit}' if unit else ''} may be chance{could_find(pairs)}"


def could_find(pairs: Sequence[Pair]) -> str:
    """Write the smallest difference that the tests of all pairs would have found; "" where it is not known.

    It is reckoned from the width of the interval. Where one as large was not found, as among few patients, whom a test
    that exchanges them cannot tell apart, the p that kept it from being found stands in its place.
    """
    known = [pair.detectable for pair in pairs if pair.detectable is not None]
    least = max(known, default=0.0)
    missed = [pair.p_holm for pair in pairs if pair.p_holm is not None and abs(pair.difference or 0) >= least > 0]
    if missed:
        several = "at the least, " if len(pairs) > 1 else ""
        return f" (p = {p_value(min(missed))} {several}after Holm's correction)"
    return f" (this study could have found differences of {at_least(least)} and more)" if known else ""


def largest(pairs: Sequence[Pair]) -> list[Pair]:
    """Sort pairs, the largest difference first."""
    return sorted(pairs, key=lambda pair: -abs(difference(pair)))


def difference(pair: Pair) -> float:
    """Return the difference of a pair that is known to have one."""
    assert pair.difference is not None
    return pair.difference


def forward(pair: Pair) -> Pair:
    """Return the pair with the better one first."""
    return turn(pair) if difference(pair) < 0 else pair


def turn(pair: Pair) -> Pair:
    """Return the pair as b minus a."""
    low, high = (None if end is None else -end for end in (pair.high, pair.low))
    better = None if pair.p_better is None else 1 - pair.p_better
    return replace(pair, a=pair.b, b=pair.a, difference=-difference(pair), low=low, high=high, p_better=better)


def _clause(pair: Pair, verb: str) -> str:
    word = "better"
    if difference(pair) < 0:
        word, pair = "worse", replace(turn(pair), a=pair.a, b=pair.b)
    return f"{pair.a} {verb} {word} than {pair.b} by {points(pair.difference, pair.low, pair.high, signed=False)}"
