"""One thread for linear algebra: its rounding depends on their number, and threads of a small product only wait."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

from vitlab.audit.progress import in_threads

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


@one_thread
def side_by_side(checks: list[Callable[[], Any]], name: str) -> list[Any]:
    """Return what each check finds, worked on in threads of one thread of linear algebra each.

    The limit around all of them holds until the last has ended: the first to end would lift its own for the others.

    Args:
        checks: Any of them may be `one_thread`.
        name: Of the stage, shown to the user.
    """
    return in_threads(lambda place: checks[place.start](), len(checks), 1, name)
