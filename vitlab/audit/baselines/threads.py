"""One thread for linear algebra: its rounding depends on their number, and threads of a small product only wait."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
T = TypeVar("T")


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that gives the same to the last digit, whatever OMP_NUM_THREADS and its like say."""

    @functools.wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        import scipy.linalg  # noqa: F401  # a library is limited only where it is loaded
        import sklearn.linear_model  # noqa: F401

        with threadpool_limits(1):
            return function(*args, **kwargs)

    return limited
