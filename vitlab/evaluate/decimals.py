"""Numbers in text, thousands at a time: those that Python's float gives, to the bit.

Shapes: N numbers, W digits.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

DIGITS = 19  # behind the point: as many as fit 64 bits
FEW = 8  # one number in so many may be of another form than 0.ddd before numpy reads them all
LARGEST = 2**21  # bytes: longer texts would take some hundred megabytes of memory on the way
# x87 and quadruple precision hold DIGITS digits and 10^DIGITS as they are; where long double is double, numpy reads.
EXACT = np.finfo(np.longdouble).nmant >= 63


def parse_decimals(text: bytes) -> NDArray[np.float64] | None:
    """Read numbers with a comma behind each; None where one of them is none, for Python to say which."""
    if EXACT and len(text) <= LARGEST and (found := _probabilities(text)) is not None:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:  # numpy's parser gives the very numbers that Python's gives, in a third of the time
            return np.fromstring(text[:-1], np.float64, sep=",")
        except (DeprecationWarning, ValueError):
            return None


def _probabilities(text: bytes) -> NDArray[np.float64] | None:
    """Read numbers most of which are written as 0.ddd; None where they are not, or one is no number."""
    values = np.frombuffer(text + b"0" * (DIGITS + 2), np.uint8)
    ends = np.flatnonzero(values == ord(","))
    starts = np.concatenate([[0], ends[:-1] + 1])
    length = ends - starts - 2
    plain = (values[starts] == ord("0")) & (values[starts + 1] == ord(".")) & (length > 0) & (length <= DIGITS)
    behind = np.arange(DIGITS, dtype=np.int8) >= length.clip(0, DIGITS).astype(np.int8)[:, None]
    digits_NW = np.lib.stride_tricks.sliding_window_view(values, DIGITS)[starts + 2] - np.uint8(ord("0"))
    digits_NW *= ~behind
    if (wrong := digits_NW > 9).any():
        plain &= ~wrong.any(1)
    if FEW * (len(ends) - plain.sum()) > len(ends):
        return None
    # Both halves are whole numbers that float64 holds, the sum one that a long double does.
    half = DIGITS // 2
    upper, lower = (part.astype(np.float64) @ 10.0 ** np.arange(part.shape[1])[::-1] for part in
                    (digits_NW[:, :half], digits_NW[:, half:]))  # fmt: skip
    whole = upper.astype(np.uint64) * np.uint64(10 ** (DIGITS - half)) + lower.astype(np.uint64)
    exact = whole.astype(np.longdouble) / np.longdouble(10**DIGITS)
    found: NDArray[np.float64] = exact.astype(np.float64)
    # Rounded twice, a number half way between two of float64 may go to the wrong one: one in 1,000 looks like that.
    rest, spacing = np.abs(exact - found).astype(np.float64), np.spacing(found)
    unsure = ~plain | (rest * 2 == spacing) | (rest * 4 == spacing)  # below a power of two they are half as far apart
    try:
        for i in np.flatnonzero(unsure).tolist():
            found[i] = float(text[starts[i] : ends[i]])
    except ValueError:
        return None
    return found
