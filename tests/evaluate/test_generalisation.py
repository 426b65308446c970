import numpy as np
import pytest

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.generalisation import CHANCE_METRICS, chance, gap
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


def test_what_is_learned_is_outside_chance_and_a_guess_is_inside(scored, study):
    learned = chance(study(scored, strength=2.0))
    assert tuple(learned) == CHANCE_METRICS
    assert all(not one.inside and one.score > one.high and one.p < 0.01 for one in learned.values())
    assert learned["auroc"].mean == pytest.approx(0.5, abs=0.02) and learned["mcc"].mean == pytest.approx(0, abs=0.02)
    assert learned["balanced_accuracy"].mean == pytest.approx(1 / 3, abs=0.02)


def test_chance_knows_that_images_of_a_patient_go_together(scored):
    # 24 patients of 25 images each, predicted by patient and without regard to the label.
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(24) % 2, 25)
    inside = 0
    for _ in range(200):
        guess = np.repeat(rng.random(24), 25)
        run = scored(np.stack([1 - guess, guess], 1), y, np.repeat(np.arange(24), 25))
        found = chance([run], metrics=("accuracy",), shuffles=200)["accuracy"]
        inside += found.inside
    assert found.high - found.low > 0.25  # 600 images alone would say 0.08
    assert inside / 200 >= 0.90


def test_one_shuffle_by_hand(scored):
    # Two patients of a class each: shuffles give accuracy 1 or 0, half of the time each.
    run = scored(np.eye(2)[[0, 0, 1]], [0, 0, 1], [1, 1, 2])
    found = chance([run], metrics=("accuracy", "balanced_accuracy"))
    assert found["accuracy"].score == 1 and found["accuracy"].mean == pytest.approx(0.5, abs=0.05)
    assert (found["accuracy"].low, found["accuracy"].high) == (0, 1) and found["accuracy"].inside


def test_always_the_same_class_is_chance(scored):
    run = scored(np.tile([0.7, 0.3], (40, 1)), [0] * 30 + [1] * 10, range(40))
    found = chance([run])
    assert found["accuracy"].score == found["accuracy"].mean == 0.75
    assert all(one.inside for one in found.values())
    one_class = chance([scored(np.eye(2)[[0] * 5], [0] * 5, range(5))])
    assert "auroc" not in one_class and "accuracy" in one_class
