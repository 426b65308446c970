import time

import numpy as np
import pytest
from scipy import stats

from vitlab.evaluate.bootstrap import estimate, estimate_classes, notes
from vitlab.evaluate.metrics import METRICS, compute_metrics
from vitlab.evaluate.predictions import read_predictions, write_predictions
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored


def answers(right, k=2, sure=0.8):
    """Return probabilities and targets of images that are right or wrong as told, classes in turn."""
    targets = np.arange(len(right)) % k
    said = np.where(right, targets, (targets + 1) % k)
    return np.where(np.eye(k)[said] == 1, sure, (1 - sure) / (k - 1)), targets


def test_known_figures_of_run_folders(tmp_path):
    # Accuracy by hand: fold 1 has 6/8 and 5/8, fold 2 has 8/8 and 7/8 right.
    wrong = {(0, 1): [0, 1], (1, 1): [0, 1, 2], (0, 2): [], (1, 2): [5]}
    runs = []
    for (seed, fold), places in wrong.items():
        probs, targets = answers(~np.isin(np.arange(8), places))
        file = tmp_path / f"seed{seed}-fold{fold}.csv"
        write_predictions(
            file, classes=["no", "yes"], probs=probs, label=np.array(["no", "yes"])[targets],
            index=8 * fold + np.arange(8), split=["test"] * 8, path_column=[f"{i}.png" for i in range(8)],
            patient_id=[f"{fold}-{i // 2 // 2}-{i % 2}" for i in range(8)],
        )  # fmt: skip
        runs.append(Scored(seed, fold, read_predictions(file)))
    found = estimate(runs, Resampling(500))
    accuracy = found["accuracy"]
    assert accuracy.mean == pytest.approx(26 / 32) and list(accuracy.values) == [6 / 8, 5 / 8, 1, 7 / 8]
    assert accuracy.sd == pytest.approx(np.std([6, 5, 8, 7], ddof=1) / 8)
    assert (accuracy.n_runs, accuracy.n_patients, accuracy.n_images) == (4, 8, 16)
    assert accuracy.low < accuracy.mean < accuracy.high <= 1 and accuracy.covers == "patients and runs"
    # -ln 0.8 for each right answer, -ln 0.2 for each wrong one; 0.2^2 + 0.2^2 and 0.8^2 + 0.8^2.
    assert found["loss"].mean == pytest.approx(-(26 * np.log(0.8) + 6 * np.log(0.2)) / 32)
    assert found["brier"].mean == pytest.approx((26 * 0.08 + 6 * 1.28) / 32)
    # All images are of confidence 0.8: each run's error is |accuracy - 0.8|.
    assert found["ece"].mean == pytest.approx(np.mean([0.05, 0.175, 0.2, 0.075]))
    assert tuple(found) == METRICS


def test_one_image_a_patient_and_one_run_is_the_normal_approximation(scored):
    rng = np.random.default_rng(0)
    probs, targets = answers(rng.random(600) < np.where(np.arange(600) % 2, 0.9, 0.6))
    found = estimate([scored(probs, targets)], Resampling(8000), metrics=("accuracy", "loss"))
    right = probs.argmax(1) == targets
    losses = -np.log(probs[np.arange(600), targets])
    for name, values in (("accuracy", right), ("loss", losses)):
        # Stratified by class: the variance within the classes, (n - 1) in the denominator.
        deviation = np.sqrt(sum(values[targets == c].var(ddof=1) * 300 for c in (0, 1))) / 600
        one = found[name]
        assert (one.high - one.low) / 2 == pytest.approx(1.96 * deviation, rel=0.04)
        assert (one.low + one.high) / 2 == pytest.approx(values.mean(), abs=0.1 * deviation)
    assert found["accuracy"].sd is None and found["accuracy"].covers == "patients"


def test_few_patients_have_their_full_variance(scored):
    # 4 patients a class: a bootstrap of n of n would give 3/4 of the variance of the mean.
    right = np.array([1, 1, 1, 0, 0, 1, 1, 0], bool)
    probs, targets = answers(right)
    draws = estimate([scored(probs, targets, range(8))], Resampling(20_000), metrics=("accuracy",))["accuracy"].draws
    expected = sum(right[targets == c].var(ddof=1) / 4 for c in (0, 1)) / 4
    assert draws.var() == pytest.approx(expected, rel=0.04)


def runs_that_differ(scored, shares, folds):
    """Return runs in which every patient has the same share of right images: patients do not vary, only runs do."""
    runs = []
    for seed, (share, fold) in enumerate(zip(shares, folds, strict=True)):
        right = np.tile(np.arange(20) < round(20 * share), 40)
        targets, patients = np.repeat(np.arange(40) % 2, 20), np.repeat(np.arange(40), 20)
        probs = np.where(np.eye(2)[np.where(right, targets, 1 - targets)] == 1, 0.8, 0.2)
        index = 800 * fold + np.arange(800)
        runs.append(scored(probs, targets, 40 * fold + patients, seed=seed, fold=fold, index=index))
    return runs


def test_runs_that_differ_have_students_interval(scored):
    shares = np.array([12, 14, 15, 17, 13]) / 20
    one = estimate(runs_that_differ(scored, shares, [1] * 5), Resampling(20_000), metrics=("accuracy",))["accuracy"]
    half = stats.t.ppf(0.975, 4) * shares.std(ddof=1) / np.sqrt(5)
    assert one.mean == pytest.approx(shares.mean()) and one.sd == pytest.approx(shares.std(ddof=1))
    assert (one.high - one.low) / 2 == pytest.approx(half, rel=0.06)
    # The same with a run for each fold.
    folds = estimate(runs_that_differ(scored, shares, range(5)), Resampling(20_000), metrics=("accuracy",))["accuracy"]
    assert (folds.low, folds.high) == pytest.approx((one.low, one.high), abs=0.01) and folds.n_patients == 200


def test_a_fold_of_one_run_varies_as_the_others_do(scored):
    shares, folds = np.array([12, 13, 16, 15, 14]) / 20, [1, 1, 1, 1, 2]
    one = estimate(runs_that_differ(scored, shares, folds), Resampling(20_000), metrics=("accuracy",))["accuracy"]
    half = stats.t.ppf(0.975, 3) * shares[:4].std(ddof=1) / np.sqrt(5)
    assert (one.high - one.low) / 2 == pytest.approx(half, rel=0.06)


def test_clusters_widen_the_interval(scored):
    # Ten images of a patient that are all right or all wrong say no more than one.
    probs, targets = answers(np.random.default_rng(0).random(60) < 0.7)
    many = [np.repeat(values, 10, axis=0) for values in (probs, targets)]
    single = estimate([scored(probs, targets, range(60))], Resampling(), metrics=("accuracy",))["accuracy"]
    of_patients = estimate([scored(*many, np.repeat(np.arange(60), 10))], Resampling(), metrics=("accuracy",))
    alone = estimate([scored(*many)], Resampling(), metrics=("accuracy",))["accuracy"]
    assert (of_patients["accuracy"].low, of_patients["accuracy"].high) == pytest.approx((single.low, single.high))
    assert (alone.high - alone.low) < 0.4 * (single.high - single.low)


def test_the_same_patients_are_drawn_for_all(scored, study):
    runs, shared = study(scored), Resampling(200)
    one, other = estimate(runs, shared), estimate(runs[::-1], shared)
    again = estimate(runs, Resampling(200))
    assert all(np.allclose(one[name].draws, other[name].draws) for name in METRICS)
    assert all(np.array_equal(one[name].draws, again[name].draws) for name in METRICS)
    assert not np.allclose(one["loss"].draws, estimate(runs, Resampling(200, seed=1))["loss"].draws)


@pytest.mark.parametrize("level", ["slice", "patient"])
def test_means_are_those_of_the_runs(scored, study, level):
    runs = study(scored)
    found = estimate(runs, Resampling(100), level=level)
    for name, one in found.items():
        tables = [run.predictions for run in runs]
        if level == "slice":
            expected = [compute_metrics(table.probs, table.targets)[name] for table in tables]
            assert list(one.values) == pytest.approx(expected)
        assert one.mean == pytest.approx(one.values.mean()) and one.low < one.mean < one.high


def test_a_patient_of_several_folds_is_drawn_as_one(scored):
    probs, targets = answers(np.random.default_rng(0).random(40) < 0.7)
    same = [scored(probs, targets, range(40), fold=fold, index=40 * fold + np.arange(40)) for fold in range(4)]
    other = [
        scored(probs, targets, 40 * fold + np.arange(40), fold=fold, index=40 * fold + np.arange(40))
        for fold in range(4)
    ]
    together, apart = (estimate(runs, Resampling(), metrics=("accuracy",))["accuracy"] for runs in (same, other))
    assert (together.n_patients, apart.n_patients) == (40, 160)
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.1)


def test_where_there_is_no_interval(scored):
    one_patient = estimate([scored(np.eye(2)[[0, 1, 1]], [0, 1, 0], [1, 1, 1])], Resampling(50))["accuracy"]
    assert one_patient.mean == pytest.approx(2 / 3) and one_patient.low is None and one_patient.high is None
    perfect = estimate([scored(np.eye(2)[[0, 1] * 9], [0, 1] * 9, range(18))], Resampling(50))["accuracy"]
    assert (perfect.mean, perfect.low, perfect.high) == (1, None, None)
    one_class = estimate([scored(np.full((6, 2), 0.5), [0] * 6)], Resampling(50))
    assert one_class["auroc"].mean is None and one_class["auroc"].low is None and one_class["accuracy"].mean == 1


def test_ends_stay_where_the_metric_can_be(scored, study):
    runs = study(scored, patients=12, strength=4.0)
    for one in estimate(runs, Resampling(300), metrics=("auroc", "average_precision", "accuracy")).values():
        assert one.low is None or (0 <= one.low and one.high <= 1)


def test_classes_with_intervals(scored, study):
    runs = study(scored)
    found = estimate_classes(runs, Resampling(200))
    table = runs[0].predictions
    said, truth = table.probs.argmax(1) == 1, table.targets == 1
    assert found["b"]["sensitivity"].values[0] == pytest.approx((said & truth).sum() / truth.sum())
    assert found["b"]["specificity"].values[0] == pytest.approx((~said & ~truth).sum() / (~truth).sum())
    assert all(one.low < one.mean < one.high for figures in found.values() for one in figures.values())
    # Nobody says "c": it has no precision, and the others keep theirs; "b" is said of one patient, so some resamples
    # have no precision of it.
    probs = np.array([[0.8, 0.1, 0.1]] * 11 + [[0.1, 0.8, 0.1]])
    rare = estimate_classes([scored(probs, [0, 1, 2] * 4, range(12))], Resampling(200))
    assert rare["c"]["precision"].mean is None and rare["a"]["precision"].low is not None
    assert rare["b"]["precision"].mean == 0 and rare["b"]["precision"].low is None


def test_notes_say_what_an_interval_lacks(scored, study):
    runs = study(scored, patients=20)
    assert notes(runs) == ["few patients (a 7, b 7, c 6): the ends of intervals are rough"]
    assert any("two runs:" in note for note in notes(runs[:2]))
    assert any("one run:" in note for note in notes(runs[:1]))
    folds = [study(scored, seeds=1, fold=fold, first=500 * fold)[0] for fold in (1, 2, 3)]
    assert notes(folds) == ["one run per fold: what another seed would change is judged from how the folds differ"]
    assert "no patient ids" in notes([scored(np.eye(2)[[0, 1] * 20], [0, 1] * 20)])[0]


@pytest.mark.slow
def test_a_hundred_runs_take_less_than_ten_seconds(scored):
    rng = np.random.default_rng(0)
    patient = np.concatenate([np.arange(1000), rng.integers(1000, size=9000)])
    y = (np.arange(1000) % 4)[patient]
    shared = 2 * np.eye(4)[y] + rng.normal(size=(1000, 4))[patient]
    probs = [np.exp(shared + rng.normal(size=(10_000, 4))) for _ in range(100)]
    runs = [scored(p / p.sum(1, keepdims=True), y, patient, seed=seed) for seed, p in enumerate(probs)]
    start, busy = time.perf_counter(), time.process_time()
    estimate(runs, Resampling())
    # One thread's seconds of work: what else this machine does is not counted. 7 s where this was written.
    assert min(time.process_time() - busy, time.perf_counter() - start) < 15


def test_folds_of_one_patient_each_are_as_uncertain_as_one_fold_of_all(scored):
    """Leave one patient out, with three seeds: no patient can be drawn within a fold, so that folds are."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(24), 10)
    y, share = patient % 2, rng.uniform(0, 1, 24)[patient]  # of the patient's images that are right
    probs = np.eye(2)[np.where(rng.random(len(y)) < share, y, 1 - y)]  # of all seeds, which add nothing
    found = []
    for folds in (patient, np.zeros_like(patient)):
        runs = [
            scored(probs[own], y[own], patient[own], seed=seed, fold=int(fold), index=np.flatnonzero(own))
            for seed in range(3) for fold in np.unique(folds) if (own := folds == fold).any()
        ]  # fmt: skip
        found.append(estimate(runs, Resampling(2000), metrics=["accuracy"])["accuracy"])
    alone, together = found
    assert alone.mean == pytest.approx(together.mean)
    assert alone.high - alone.low == pytest.approx(together.high - together.low, rel=0.05)
