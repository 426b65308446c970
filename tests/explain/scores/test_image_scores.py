import numpy as np
import pytest

from vitlab.evaluate.resampling import Resampling
from vitlab.explain.scores.image_scores import (
    by_run,
    corrected,
    difference,
    mean_score,
    predicted_images,
    read_lines,
    scored_images,
)


def lines(approach, effect, *, patients=40, images=2, seeds=(0, 1, 2), noise=0.05, score="energy"):
    """Return lines whose score is a patient's own share (alike for all approaches) plus an effect and noise."""
    rng, found = np.random.default_rng([sum(map(ord, approach))]), []
    own = np.random.default_rng(7).uniform(0.2, 0.6, patients)
    for seed in seeds:
        for index in range(patients * images):
            value = np.clip(own[index // images] + effect + rng.normal(0, noise), 0, 1)
            found.append({"approach": approach, "seed": str(seed), "fold": "", "index": str(index),
                          "patient_id": f"p{index // images}", "label": "ab"[index // images % 2],
                          score: f"{value:.6g}"})  # fmt: skip
    return found


def runs_of(found, score="energy"):
    (runs,) = by_run(found).values()
    return scored_images(runs, score)


def test_the_mean_is_that_over_patients():
    found = lines("cnn", 0.1)[:20] + lines("cnn", 0.1, images=1)[20:40]
    for line in found:
        line["seed"] = "0"
    expected = {}
    for line in found:
        expected.setdefault(line["patient_id"], []).append(float(line["energy"]))
    found = [{**line, "index": str(at)} for at, line in enumerate(found)]
    estimate = mean_score(runs_of(found), Resampling(200))
    assert estimate.mean == pytest.approx(np.mean([np.mean(values) for values in expected.values()]), abs=1e-12)
    assert estimate.n_patients == len(expected)


def test_the_interval_is_that_of_a_mean_over_patients():
    found = lines("cnn", 0, seeds=(0,), images=1, noise=0, patients=60)
    estimate = mean_score(runs_of(found), Resampling(4000))
    values = np.array([float(line["energy"]) for line in found])
    label = np.arange(60) % 2
    within = np.sqrt(np.mean([values[label == c].var(ddof=1) for c in (0, 1)]) / 60)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * within, rel=0.08)


@pytest.mark.parametrize("value", ["0", "1"])
def test_the_ends_of_the_scale_are_no_trouble(value):
    found = [{**line, "energy": value} for line in lines("cnn", 0)]
    estimate = mean_score(runs_of(found), Resampling(100))
    assert estimate.mean == pytest.approx(float(value), abs=1e-12) and estimate.low is None


def test_a_difference_is_found_in_pairs_with_its_sign_and_none_where_there_is_none():
    a, b, c = (runs_of(lines(name, effect)) for name, effect in (("better", 0.05), ("worse", 0), ("alike", 0)))
    resampling = Resampling(1000)
    pair = difference(("better", a), ("worse", b), resampling, name="energy")
    assert pair.metric == "energy" and pair.paired and pair.n_patients == 40
    assert pair.difference == pytest.approx(0.05, abs=0.015) and 0 < pair.low < 0.05 < pair.high
    assert pair.p_permutation < 0.002 and pair.p_better > 0.99
    same = difference(("worse", b), ("alike", c), resampling)
    assert same.p_permutation > 0.05 and same.low < 0 < same.high
    first, second = corrected([pair, same], family=lambda _: "all")
    assert first.p_holm == pytest.approx(2 * pair.p_permutation) and second.p_holm == same.p_permutation
    assert first.differs and not second.differs


def test_only_runs_that_both_have_are_compared():
    a, b = runs_of(lines("one", 0.2, seeds=(0, 1))), runs_of(lines("two", 0, seeds=(1, 2)))
    assert difference(("one", a), ("two", b), Resampling(100)).difference == pytest.approx(0.2, abs=0.03)
    assert difference(("one", a[:1]), ("two", b), Resampling(100)) is None


def test_images_without_the_score_and_without_ids():
    found = lines("cnn", 0, seeds=(0,))
    found[0]["energy"] = ""
    for line in found:
        line["patient_id"] = ""
    assert mean_score(runs_of(found), Resampling(50)).n_patients == 79
    assert runs_of([{**line, "energy": ""} for line in found]) == []


def test_what_was_predicted_is_counted():
    from vitlab.evaluate.bootstrap import estimate

    found = [{**line, "predicted": "a"} for line in lines("cnn", 0)]
    runs = predicted_images(next(iter(by_run(found).values())), ["a", "b"])
    figures = estimate(runs, Resampling(50), metrics=["accuracy", "balanced_accuracy"])
    assert figures["accuracy"].mean == figures["balanced_accuracy"].mean == 0.5


def test_a_table_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `explain` on the study first"):
        read_lines(tmp_path / "saliency.csv")
