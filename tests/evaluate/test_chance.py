"""The interval of chance: by hand, by simulation, and what is outside of it."""

import itertools

import numpy as np
import pytest

from vitlab.evaluate.chance import chance
from vitlab.evaluate.metrics import compute_metrics


def test_what_is_learned_is_above_and_a_guess_is_within(scored, study):
    found = chance({"learned": study(scored, strength=2.0), "guess": study(scored, strength=0.0)})
    assert found.place("learned") == "above" and found.place("guess") == "within"
    assert found.low < 1 / 3 < found.high and (found.exchanged, found.n_patients) == ("patients", 40)
    wrong = study(scored, strength=-2.0)
    assert chance({"wrong": wrong}).place("wrong") == "below"


def test_labels_of_single_images_by_hand(scored):
    """Four images of one patient with two labels: every way to deal these gives one of three scores."""
    probs, y = np.eye(2)[[0, 0, 0, 1]], [0, 0, 1, 1]
    found = chance({"a": [scored(probs, y, [0] * 4)]}, shuffles=500)
    ways = {round(compute_metrics(probs, list(deal), ["balanced_accuracy"])["balanced_accuracy"], 9)
            for deal in set(itertools.permutations(y))}  # fmt: skip
    assert ways == {0.25, 0.75} and (found.low, found.high) == (0.25, 0.75)
    assert found.scores == {"a": 0.75} and found.place("a") == "within"
    assert (found.exchanged, found.n_patients, found.n_images) == ("images", 1, 4)


def test_labels_of_patients_by_hand(scored):
    """Two patients, one class each, three images: shuffles give all or nothing."""
    found = chance({"a": [scored(np.eye(2)[[0, 0, 1]], [0, 0, 1], [1, 1, 2])]})
    assert (found.low, found.high, found.scores["a"], found.exchanged) == (0, 1, 1, "patients")


def test_always_the_same_class_is_chance_to_the_digit(scored):
    found = chance({"a": [scored(np.tile([0.7, 0.3], (40, 1)), [0] * 30 + [1] * 10, range(40))]})
    assert found.low == found.high == found.scores["a"] == 0.5 and found.place("a") == "within"


def test_runs_count_by_their_row_and_folds_are_dealt_apart(scored, study):
    folds = [run for fold in (1, 2) for run in study(scored, strength=0.0, fold=fold, first=1000 * fold, seeds=1)]
    one, both = (chance({"a": runs}) for runs in (folds[:1], folds))
    assert both.n_patients == 2 * one.n_patients
    assert both.high - both.low == pytest.approx((one.high - one.low) / np.sqrt(2), rel=0.25)
    runs = [compute_metrics(run.predictions.probs, run.predictions.targets)["balanced_accuracy"] for run in folds]
    assert both.scores["a"] == pytest.approx(np.mean(runs))


def simulated(scored, rng, dealt, approaches):
    """Draw a test like a fold of cheng: 42 patients of 1 to 40 images, who are predicted alike, whatever the label."""
    label = rng.permutation(np.repeat(np.arange(3), [10, 20, 12]))
    of = np.repeat(np.arange(42), rng.integers(1, 41, 42))
    y = rng.permutation(label[of]) if dealt == "images" else label[of]
    shared = rng.normal(size=(42, 3))
    logits = [shared[of] + 1.5 * rng.normal(size=(42, 3))[of] + 0.5 * rng.normal(size=(len(of), 3)) + rng.normal(size=3)
              for _ in range(approaches)]  # fmt: skip
    probs = [np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in logits]
    return {f"a{i}": [scored(p, y, of)] for i, p in enumerate(probs)}


@pytest.mark.parametrize(("dealt", "approaches"), [("patients", 1), ("patients", 4), ("images", 4)])
def test_it_holds_all_of_a_table_95_times_in_100(scored, dealt, approaches):
    rng, held, times = np.random.default_rng(approaches), 0, 300
    for number in range(times):
        found = chance(simulated(scored, rng, dealt, approaches), shuffles=300, seed=number)
        assert found.exchanged == dealt
        held += all(found.place(name) == "within" for name in found.scores)
    assert 0.92 <= held / times <= 0.98  # 2.4 deviations; 2,000 times gave 0.947 to 0.953


def test_of_patients_labels_the_interval_is_wider_than_images_alone_would_say(scored):
    rng = np.random.default_rng(0)
    wide, narrow = (chance(simulated(scored, rng, dealt, 1)) for dealt in ("patients", "images"))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
