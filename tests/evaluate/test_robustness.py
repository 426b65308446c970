"""What is kept under corruption: known answers in, the same out, with the intervals of all other figures."""

import numpy as np
import pytest

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.corrupted import count
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.robustness import Measured, estimate_robustness


def measured(run, predicted):
    return Measured(run.seed, run.fold, count(run.predictions, predicted))


def fewer_right(run, shares, seed=0):
    """Return predictions of which a share is kept and the others are wrong: (S, N)."""
    rng, y = np.random.default_rng([seed, run.seed]), run.predictions.targets
    own, order = run.predictions.probs.argmax(1), rng.permutation(len(y))
    tables = [own]
    for share in shares:
        table = own.copy()
        lost = order[round(share * len(y)) :]
        table[lost] = (y[lost] + 1) % run.predictions.probs.shape[1]
        tables.append(table)
    return np.stack(tables)


def test_known_figures_come_out(scored):
    y = [0, 0, 1, 1]
    run = scored(np.eye(2)[y], y, range(4))
    right, half, none = [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]
    own = measured(run, {"noise": np.array([right, right, half]), "blur": np.array([right, half, none])})
    other = measured(run, {"noise": np.array([right, half, half]), "blur": np.array([right, half, half])})
    found = estimate_robustness([own], Resampling(200), reference=[other])
    assert found["clean"].mean == 1 and found["noise"].mean == 0.75 and found["blur"].mean == 0.25
    assert found["corrupted"].mean == 0.5
    assert found["relative"].mean == pytest.approx(((0.75 - 0.5) / 0.5 + (0.25 - 0.5) / 0.5) / 2)
    assert found["mce"].mean == pytest.approx((0.25 / 0.5 + 0.75 / 0.5) / 2)
    assert (found["clean"].n_images, found["clean"].n_patients) == (4, 4)
    assert estimate_robustness([own], Resampling(200), reference=[own])["mce"].mean == 1
    assert "mce" not in estimate_robustness([own], Resampling(200))


def test_a_run_at_chance_has_nothing_to_keep(scored):
    y = [0, 0, 1, 1]
    run = scored(np.eye(2)[[0, 0, 0, 0]], y, range(4))
    found = estimate_robustness([measured(run, {"noise": np.zeros((2, 4), int)})], Resampling(100))
    assert found["clean"].mean == 0.5 and found["relative"].mean is None and found["relative"].low is None


def test_a_score_that_may_be_chance_has_no_relative_figure(scored):
    """And one just above it has no interval of millions: nothing is divided by what a resample leaves of it."""
    y = np.arange(40) % 2
    for right, there in ((22, False), (30, True)):
        clean, worse = (np.where(np.arange(40) < n, y, 1 - y) for n in (right, right - 4))
        run = scored(np.eye(2)[clean], y, range(40))
        found = estimate_robustness([measured(run, {"noise": np.stack([clean, worse])})], Resampling(500))["relative"]
        assert (found.mean is not None) == there and np.abs(found.draws).max() < 50
    assert found.mean == pytest.approx(0.6) and 0 < found.low < 0.6 < found.high < 1


def test_runs_that_differ_give_the_ratio_of_their_means(scored):
    y = np.arange(8) % 2
    six, five = (np.where(np.arange(8) < n, y, 1 - y) for n in (6, 5))
    tables = [np.stack([y, y * 0]), np.stack([six, five])]
    runs = [
        measured(scored(np.eye(2)[table[0]], y, range(8), seed=seed), {"noise": table})
        for seed, table in enumerate(tables)
    ]
    found = estimate_robustness(runs, Resampling(100))
    assert found["relative"].mean == pytest.approx((0 + 0.125) / (0.5 + 0.25))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_intervals_are_those_of_the_bootstrap(scored, study, metric):
    """Clean images, and each corruption alone, are the figures that `bootstrap.estimate` has for such predictions."""
    runs = [run for fold in (0, 1) for run in study(scored, fold=fold, first=1000 * fold, seed=fold, seeds=2)]
    shares = (0.9, 0.6)
    own = [measured(run, {"noise": fewer_right(run, shares)}) for run in runs]
    found = estimate_robustness(own, Resampling(500), metric=metric)
    theirs = estimate(runs, Resampling(500), metrics=(metric,))[metric]
    ours = found["clean"]
    for name in ("mean", "sd", "low", "high", "n_runs", "n_patients", "n_images", "covers"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name)), name
    k = runs[0].predictions.probs.shape[1]
    parts = []
    for s in (1, 2):
        worse = [
            scored(np.eye(k)[fewer_right(run, shares)[s]], run.predictions.targets,
                   [int(name[1:]) for name in run.predictions.patient_id], seed=run.seed, fold=run.fold,
                   index=run.predictions.index)
            for run in runs
        ]  # fmt: skip
        parts.append(estimate(worse, Resampling(500), metrics=(metric,))[metric])
    assert found["noise"].mean == pytest.approx(np.mean([part.mean for part in parts]))
    assert min(p.low for p in parts) < found["noise"].low < found["noise"].mean < found["noise"].high < max(
        p.high for p in parts
    )


def test_the_interval_of_what_is_kept_holds_the_truth(scored):
    """Patients hard or easy as a whole: of 100 samples about 95 hold what 4,000 patients show."""
    k, slices = 2, 4

    def sample(patients, seed):
        rng = np.random.default_rng(seed)
        label = np.arange(patients) % k
        of = np.repeat(np.arange(patients), slices)
        y, hard = label[of], rng.beta(1, 4, patients)[of]
        right = np.array([rng.random(len(of)) > np.minimum(1, hard * more) for more in (1.0, 1.5, 2.0)])
        predicted = np.where(right, y, 1 - y)
        run = scored(np.full((len(of), k), 1 / k), y, of)
        return Measured(0, None, count(run.predictions, {"noise": predicted}))

    truth = estimate_robustness([sample(4000, 1)], Resampling(50))["relative"].mean
    held = 0
    for seed in range(100):
        found = estimate_robustness([sample(60, 100 + seed)], Resampling(400, seed=seed))["relative"]
        held += found.low <= truth <= found.high
    assert 88 <= held <= 99


def test_the_better_of_two_is_seen_as_such_on_the_same_patients(scored, study):
    runs = study(scored, patients=60, seeds=3)
    firm = [measured(run, {"noise": fewer_right(run, (0.95, 0.9))}) for run in runs]
    weak = [measured(run, {"noise": fewer_right(run, (0.7, 0.4))}) for run in runs]
    shared = Resampling(500)
    a, b = (estimate_robustness(each, shared)["relative"] for each in (firm, weak))
    assert np.quantile(a.draws - b.draws, 0.025) > 0
    mce = estimate_robustness(firm, shared, reference=weak)["mce"]
    assert 0 < mce.low < mce.mean < mce.high < 1


def test_runs_that_do_not_fit_are_refused(scored, study):
    runs = study(scored, seeds=1)
    own = [measured(run, {"noise": fewer_right(run, (0.9,))}) for run in runs]
    with pytest.raises(ValueError, match="no runs"):
        estimate_robustness([], Resampling(10))
    other = [measured(run, {"blur": fewer_right(run, (0.9,))}) for run in runs]
    with pytest.raises(ValueError, match="not corrupted alike"):
        estimate_robustness([*own, *other], Resampling(10))
    elsewhere = [measured(run, {"noise": fewer_right(run, (0.9,))}) for run in study(scored, seeds=1, first=5000)]
    with pytest.raises(ValueError, match="same images"):
        estimate_robustness(own, Resampling(10), reference=elsewhere)


def test_folds_of_one_patient_each_are_resampled(scored):
    rng = np.random.default_rng(0)
    runs = []
    for fold, seed in np.ndindex(20, 2):
        y = np.full(10, fold % 2)
        said = np.where(rng.random(10) < (fold + 1) / 21, y, 1 - y)
        run = scored(np.eye(2)[said], y, [fold] * 10, seed=seed, fold=fold, index=10 * fold + np.arange(10))
        runs.append((run, measured(run, {"noise": np.stack([said, said])})))
    plain = estimate([run for run, _ in runs], Resampling(500), metrics=["accuracy"])["accuracy"]
    found = estimate_robustness([own for _, own in runs], Resampling(500), metric="accuracy")["clean"]
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high)) and found.high - found.low > 0.15
