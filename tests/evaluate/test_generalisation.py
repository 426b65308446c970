import pytest

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.generalisation import gap
from vitlab.evaluate.resampling import Resampling


def test_the_gap_is_the_difference_and_its_variance_the_sum(scored, study):
    test = study(scored, strength=1.0, seeds=1)
    train = study(scored, strength=3.0, seeds=1, first=1000, patients=80)
    found = gap(test, train, Resampling(), metrics=("accuracy", "loss"))
    parts = [estimate(runs, Resampling(), metrics=("accuracy", "loss")) for runs in (test, train)]
    for name, one in found.items():
        assert one.mean == pytest.approx(parts[1][name].mean - parts[0][name].mean)
        assert one.draws.var() == pytest.approx(sum(part[name].draws.var() for part in parts), rel=0.1)
    assert found["accuracy"].low > 0 > found["loss"].high and found["accuracy"].n_patients == 40


def test_the_gap_is_of_the_same_runs(scored, study):
    test, train = study(scored), study(scored, first=1000, seed=1)
    there, turned = gap(test, train, Resampling(200)), gap(test, train[::-1], Resampling(200))
    assert all(there[name].values == pytest.approx(turned[name].values) for name in there)
    with pytest.raises(ValueError, match="the same runs"):
        gap(test, train[:2], Resampling(200))
