"""Holm's correction of several tests, and how many exchanges leave it something to find."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A test gives no p below 1 / (exchanges + 1), and Holm's correction multiplies that by the pairs: with as many
# exchanges for each of them 0.04 at most is left.
EXCHANGES_A_PAIR = 25


def enough_exchanges(least: int, pairs: int) -> int:
    """Return how many exchanges a test needs, so that the least p it can give stays significant in its family.

    Args:
        least: exchanges in any case.
        pairs: tests that Holm's correction is over.
    """
    return max(least, EXCHANGES_A_PAIR * pairs)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Correct p-values for their number (Holm 1979), in the order given."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    found = np.empty(len(p))
    found[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return found
