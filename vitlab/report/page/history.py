"""metrics.csv: what a run logged at every epoch."""

import csv
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = "metrics.csv"
History = dict[str, dict[int, float]]  # metric -> epoch -> value


def read_history(folder: Path) -> History:
    """Read a run's metrics.csv.

    Args:
        folder: of the run.

    Returns:
        Metric -> epoch, from 1 -> the last value logged in it: a run that was resumed logs an epoch twice. Empty where
        there is no such file, or it is not one that can be read.
    """
    found: History = {}
    try:
        with (folder / FILE).open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                epoch = _number(row.get("epoch"))
                if epoch is None:
                    continue
                for name, cell in row.items():
                    value = _number(cell)
                    if value is not None and name not in ("epoch", "step"):
                        found.setdefault(str(name), {})[int(epoch) + 1] = value
    except (OSError, csv.Error):
        return {}
    return found


def together(histories: list[History], metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put the curves of several runs side by side.

    Args:
        histories: of R runs.
        metric: which.

    Returns:
        (E,) epochs that all runs have, and (R, E) values; E is 0 where a run has none.
    """
    curves = [history.get(metric, {}) for history in histories]
    epochs = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return np.array(epochs, float), np.array([[curve[epoch] for epoch in epochs] for curve in curves], float)


def _number(cell: object) -> float | None:
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
