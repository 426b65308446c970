"""Numbers in text: those that Python reads, to the bit, of whatever form."""

import random

import numpy as np
import pytest

from vitlab.evaluate import decimals
from vitlab.evaluate.decimals import parse_decimals


def joined(cells):
    return "".join(f"{cell}," for cell in cells).encode()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("form", ["repr", "{:.9g}", "{:.3f}", "{:.18f}", "{:.19f}", "{:.20f}", "{:.17e}"])
def test_numbers_are_those_of_python(form, exact, monkeypatch):
    monkeypatch.setattr(decimals, "EXACT", exact and decimals.EXACT)
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.random(20_000), rng.dirichlet(np.full(5, 0.2), 2_000).ravel(), [0.0, 1.0, 0.5]])
    cells = [repr(x) if form == "repr" else form.format(x) for x in numbers.tolist()]
    found = parse_decimals(joined(cells))
    assert np.array_equal(found.view(np.int64), np.array(list(map(float, cells))).view(np.int64))


def test_numbers_half_way_between_two_are_those_of_python():
    """Decimals of 19 digits as near as can be to the middle between neighbours, where rounding twice goes wrong."""
    rng, cells = random.Random(0), []
    for _ in range(20_000):
        x = rng.choice([rng.random(), rng.random() / 16, 2.0 ** -rng.randint(1, 9) * (1 + 2**-52 * rng.randint(-2, 2))])
        x = min(x, 1 - 2**-53)
        numerator, denominator = x.as_integer_ratio()
        ulp = int(np.spacing(x).as_integer_ratio()[1])
        scale = max(denominator, ulp) * 2
        middle = numerator * (scale // denominator) + scale // ulp // 2
        near = (2 * middle * 10**19 // scale + 1) // 2 + rng.randint(-1, 1)
        if near < 10**19:
            cells.append(f"0.{near:019d}")
    found = parse_decimals(joined(cells))
    expected = np.array(list(map(float, cells)))
    assert len(cells) > 19_000 and np.array_equal(found, expected)


CELLS = ["", "one", "0.", "0.1.2", "0.1 2", "0x1p3", "0.12a", "nan", "inf", "-0.5", "1e-5", " 0.5"]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("exact", [True, False])
def test_cells_of_other_forms(cell, exact, monkeypatch):
    """Read as Python reads them, or not at all."""
    monkeypatch.setattr(decimals, "EXACT", exact and decimals.EXACT)
    cells = ["0.25"] * 10 + [cell] + ["0.125"] * 10
    found = parse_decimals(joined(cells))
    try:
        expected = np.array(list(map(float, cells)))
    except ValueError:
        assert found is None
    else:
        assert np.array_equal(found, expected, equal_nan=True)
