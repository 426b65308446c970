import numpy as np
import pytest

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.calibration import fit_temperature, reliability, rescaled, temperature_scaled
from vitlab.evaluate.metrics import calibration_error
from vitlab.evaluate.resampling import Resampling


def honest(n, seed, k=3):
    """Return probabilities and the targets that they are the truth about."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.normal(size=(n, k))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return p, (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=k - 1)


def test_a_curve_by_hand(scored):
    confidence = np.array([0.55, 0.65, 0.6, 0.7, 0.8, 0.9])
    run = scored(np.stack([confidence, 1 - confidence], 1), [0, 1, 1, 0, 0, 0], range(6))
    low, high = reliability([run], Resampling(200), bins=2)
    assert (low.confidence, low.accuracy, low.count) == pytest.approx((0.6, 1 / 3, 3))
    assert (high.confidence, high.accuracy, high.count) == pytest.approx((0.8, 1, 3))
    assert low.low < low.accuracy < low.high and high.low is high.high is None


def test_the_bins_are_those_of_the_calibration_error(scored):
    p, y = honest(600, 0)
    p = rescaled(p, 0.4)
    found = reliability([scored(p, y, np.arange(600) // 4)], Resampling(300))
    assert len(found) == 15 and sum(one.count for one in found) == 600
    error = sum(abs(one.accuracy - one.confidence) * one.count for one in found) / 600
    assert error == pytest.approx(calibration_error(p.max(1), p.argmax(1) == y))
    assert all(one.low is None or one.low <= one.accuracy <= one.high for one in found)


def test_runs_are_pooled_and_ties_share_a_bin(scored):
    p, y = honest(100, 0)
    one, two = scored(p, y, np.arange(100) // 2), scored(rescaled(p, 2.0), y, np.arange(100) // 2, seed=1)
    assert sum(bin_.count for bin_ in reliability([one, two], Resampling(100), bins=5)) == 200
    flat = reliability([scored(np.tile([0.75, 0.25], (8, 1)), [0, 0, 0, 1] * 2, range(8))], Resampling(300))
    assert [(bin_.confidence, bin_.accuracy, bin_.count) for bin_ in flat] == [(0.75, 0.75, 8)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_planted_is_found(temperature):
    p, y = honest(20_000, 0)
    assert fit_temperature(rescaled(p, 1 / temperature), y) == pytest.approx(temperature, rel=0.05)
    assert rescaled(rescaled(p, 3.0), 1 / 3) == pytest.approx(p)


def test_scaling_mends_an_overconfident_run_and_not_its_accuracy(scored):
    (val, val_y), (test, test_y) = honest(3000, 1), honest(3000, 2)
    runs = {
        name: [scored(rescaled(p, 1 / t), y, np.arange(3000) // 3, seed=seed) for seed, t in enumerate((4.0, 1.0))]
        for name, p, y in (("val", val, val_y), ("test", test, test_y))
    }
    scaled, temperatures = temperature_scaled(runs["val"][::-1], runs["test"])
    assert temperatures == pytest.approx([4.0, 1.0], rel=0.1)
    before, after = (estimate(own, Resampling(100)) for own in (runs["test"], scaled))
    assert before["ece"].values[0] > 0.15 > 0.03 > after["ece"].values[0]
    assert after["loss"].values[0] < before["loss"].values[0] - 0.3
    for name in ("accuracy", "macro_f1", "mcc"):
        assert after[name].values == pytest.approx(before[name].values)


def test_runs_without_validation_are_named(scored):
    p, y = honest(20, 0)
    with pytest.raises(ValueError, match="seed 1, fold 2 has no validation"):
        temperature_scaled([scored(p, y)], [scored(p, y, seed=1, fold=2)])
    with pytest.raises(ValueError, match="no validation image has a label"):
        temperature_scaled([scored(p, y * 0 - 1)], [scored(p, y)])


def test_a_perfect_run_has_a_temperature_all_the_same():
    assert 0.05 <= fit_temperature(np.eye(2)[[0, 1]] * 0.8 + 0.1, np.array([0, 1])) < 0.1
