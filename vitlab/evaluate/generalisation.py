"""How much of a score generalises: the gap between splits."""

from collections.abc import Sequence

from vitlab.evaluate.bootstrap import Estimate, scores, summary
from vitlab.evaluate.metrics import METRICS, RANGE
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Level, Scored, splits_of


def gap(
    test: Sequence[Scored],
    other: Sequence[Scored],
    resampling: Resampling,
    *,
    level: Level = "slice",
    metrics: Sequence[str] = METRICS,
) -> dict[str, Estimate]:
    """Estimate how far the score on another split of the same runs is from that on test.

    Args:
        test: the runs on test.
        other: the same runs on train or val, in any order.
        resampling: of the draws; the patients of both splits are drawn independently.
        level: what a unit is.
        metrics: which.

    Returns:
        Metric -> other minus test (train accuracy 0.99, test accuracy 0.87: a gap of 0.12); patients and images are
        those of test.

    Raises:
        ValueError: the runs are not the same.
    """
    place = {(run.seed, run.fold): run for run in other}
    keys = [(run.seed, run.fold) for run in test]
    if len(place) != len(other) or len(set(keys)) != len(keys) or set(place) != set(keys):
        raise ValueError("the gap between two splits needs the same runs, each once, on both")
    other = [place[key] for key in keys]
    splits, other_splits = splits_of(test, level), splits_of(other, level)
    values, draws = scores(test, splits, resampling, metrics)
    other_values, other_draws = scores(other, other_splits, resampling, metrics)
    found = {}
    for name in metrics:
        low, high = RANGE.get(name, (0.0, 1.0))
        found[name] = summary(
            test,
            splits,
            resampling,
            other_values[name] - values[name],
            other_draws[name] - draws[name],
            limits=(low - high, high - low),
        )
    return found
