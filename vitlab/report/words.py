"""How figures, differences and p-values are written, the same everywhere."""

import math
from collections.abc import Sequence

from vitlab.evaluate.paired import Pair
from vitlab.evaluate.scored import Level
from vitlab.report.rows import Stat

LABELS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "mcc": "MCC",
    "ece": "ECE",
    "brier": "Brier score",
    "loss": "loss",
    "seconds": "seconds",
    "images_seen": "images seen",
}
PER: dict[Level, str] = {"slice": "per image", "patient": "per patient"}
NARROW = 0.03  # an interval that two digits would show as next to nothing


def figure(stat: Stat, *, signed: bool = False) -> str:
    """Write a figure as 0.869 [0.84, 0.90], without the interval where there is none; a dash without a figure."""
    if stat.mean is None:
        return "-"
    mean = f"{stat.mean:+.3f}" if signed else f"{stat.mean:.3f}"
    return mean + ends(stat.low, stat.high)


def ends(low: float | None, high: float | None) -> str:
    """Write an interval, with a blank before it; nothing where there is none."""
    if low is None or high is None:
        return ""
    digits = 3 if high - low < NARROW else 2
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def points(value: float | None, low: float | None, high: float | None, *, signed: bool = True) -> str:
    """Write a difference of fractions as +4.1 points [1.2, 7.0]."""
    if value is None:
        return "-"
    interval = "" if low is None or high is None else f" [{_tenth(low)}, {_tenth(high)}]"
    return ("+" if signed and not _tenth(value).startswith("-") else "") + _tenth(value) + " points" + interval


def p_value(p: float | None) -> str:
    """Write a p-value without its leading zero: .24, .013, < .001."""
    if p is None:
        return "-"
    if p < 0.001:
        return "< .001"
    text = f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
    return text.removeprefix("0")


def pair_line(pair: Pair) -> str:
    """Write ViT + MAE vs ViT: +4.1 points [1.2, 7.0], p = .012 (Holm .036)."""
    text = f"{pair.a} vs {pair.b}: {points(pair.difference, pair.low, pair.high)}"
    if pair.difference is None:
        return text
    if not pair.paired:
        return text + ", not paired (other test images)"
    if pair.p_permutation is None:
        return text
    p = p_value(pair.p_permutation)
    return f"{text}, p {p if p.startswith('<') else '= ' + p} (Holm {p_value(pair.p_holm)})"


def at_least(value: float) -> str:
    """Write the points that a study could have found, rounded up: 5 points, 0.4 points."""
    found = 100 * value
    return f"{math.ceil(found)} points" if found > 1 else f"{math.ceil(10 * found) / 10:.1f} points"


def listed(clauses: Sequence[str], most: int | None = None) -> str:
    """Write clauses as a, b and c; those beyond the most are counted."""
    more = 0 if most is None else max(0, len(clauses) - most)
    shown = [*clauses[:most], f"{more} more"] if more else list(clauses)
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def _tenth(value: float) -> str:
    """One digit after the point, in points; never "-0.0"."""
    return f"{round(100 * value, 1) + 0.0:.1f}"
