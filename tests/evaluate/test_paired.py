import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.holm import holm
from vitlab.evaluate.metrics import METRICS
from vitlab.evaluate.paired import compare_pairs, permutation_test
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import splits_of


def compared(by_name, metrics=("accuracy",), *, level="slice", resamples=1000, **settings):
    shared = Resampling(resamples)
    estimates = {name: estimate(runs, shared, level=level, metrics=metrics) for name, runs in by_name.items()}
    return compare_pairs(by_name, estimates, shared, level=level, metrics=metrics, **settings)


def p_values(one, other, metrics, permutations=5000):
    matched = list(zip(splits_of(one, "slice"), splits_of(other, "slice"), strict=True))
    return permutation_test(matched, metrics, permutations=permutations, rng=np.random.default_rng(0))


def scipys(one, other, patient, statistic, **settings):
    """Exchange whole patients with scipy: statistic(probabilities of one side)."""
    both, patients = np.stack([one, other]), np.unique(patient)
    place = np.searchsorted(patients, patient)

    def difference(mine, theirs):
        sides = (both[side[place] // 100, np.arange(len(patient))] for side in (mine, theirs))
        return statistic(next(sides)) - statistic(next(sides))

    codes = np.arange(len(patients))
    return stats.permutation_test(
        (codes * 0, codes * 0 + 100), difference, permutation_type="samples", vectorized=False, **settings
    ).pvalue


@pytest.mark.parametrize("patients", [6, 7])
def test_exact_p_values_are_scipys(scored, study, patients):
    a, b = (study(scored, patients=patients, slices=3, seeds=1, strength=strength) for strength in (1.5, 0.7))
    one, other, y = a[0].predictions.probs, b[0].predictions.probs, a[0].predictions.targets
    patient = a[0].predictions.patient_id
    found = p_values(a, b, ("accuracy", "macro_f1", "loss", "auroc"))
    figures = {
        "accuracy": lambda p: (p.argmax(1) == y).mean(),
        "macro_f1": lambda p: f1_score(y, p.argmax(1), average="macro"),
        "loss": lambda p: -np.log(p[np.arange(len(y)), y]).mean(),
    }
    for name, figure in figures.items():
        expected = scipys(one, other, patient, figure, n_resamples=2**patients)
        assert found[name] == pytest.approx(expected, abs=1e-9), name
    ranks = [stats.rankdata(p, axis=0) for p in (one, other)]

    def mean_auroc(r):
        return np.mean([roc_auc_score(y == c, r[:, c]) for c in range(3)])

    auroc = scipys(*ranks, patient, mean_auroc, n_resamples=2**patients)
    assert found["auroc"] == pytest.approx(auroc, abs=1e-9)


def test_drawn_p_values_are_scipys_for_many_patients(scored, study):
    a, b = study(scored, patients=60), study(scored, patients=60, strength=1.4)
    y, patient = a[0].predictions.targets, a[0].predictions.patient_id
    found = p_values(a, b, ("accuracy",), 20_000)["accuracy"]
    # All seeds of a patient go together, so its mean over seeds is what is exchanged.
    right = [np.mean([run.predictions.probs.argmax(1) == y for run in runs], axis=0) for runs in (a, b)]
    place = np.unique(patient, return_inverse=True)[1]
    sums = [np.bincount(place, weights=values) for values in right]
    expected = stats.permutation_test(
        sums, lambda x, z, axis: (x - z).sum(axis), permutation_type="samples", vectorized=True, n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    assert 0.001 < expected < 0.5 and found == pytest.approx(expected, abs=4 * np.sqrt(expected / 10_000))


def test_the_smallest_p_value_by_hand(scored):
    # Six patients, always right against always wrong: 2 of 64 exchanges are as extreme.
    right, wrong = np.eye(2)[[0, 1] * 3] * 0.8 + 0.1, np.eye(2)[[1, 0] * 3] * 0.8 + 0.1
    one, other = ([scored(p, [0, 1] * 3, range(6))] for p in (right, wrong))
    found = p_values(one, other, METRICS)
    assert found["accuracy"] == found["loss"] == found["auroc"] == 2 / 64


def test_holm_is_that_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for p in ([0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9], rng.random(15) ** 3):
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_difference_that_is_there_is_found(scored, study):
    by_name = {
        "strong": study(scored, patients=90, strength=3.0, seed=1),
        "weak": study(scored, patients=90, strength=0.5, seed=1),
        "weak too": study(scored, patients=90, strength=0.5, seed=1)[::-1],
    }
    pairs = compared(by_name, ("accuracy", "loss"))
    assert [(pair.a, pair.b, pair.metric) for pair in pairs[:3]] == [
        ("strong", "weak", "accuracy"), ("strong", "weak too", "accuracy"), ("weak", "weak too", "accuracy"),
    ]  # fmt: skip
    better, _, same = pairs[:3]
    assert better.differs and better.paired and better.low > 0 and better.p_better == 1 and better.n_patients == 90
    assert better.p_holm == pytest.approx(3 * better.p_permutation) and better.detectable < better.difference
    assert not same.differs and same.difference == pytest.approx(0) and same.p_permutation == 1
    loss = pairs[3]
    assert loss.metric == "loss" and loss.difference < 0 and loss.p_better == 1 and loss.differs


def test_pairing_narrows_the_interval(scored, study):
    def runs(first, strength):
        return study(scored, patients=60, strength=strength, first=first)

    paired = compared({"a": runs(0, 1.5), "b": runs(0, 1.3)})[0]
    apart = compared({"a": runs(0, 1.5), "b": runs(1000, 1.3)})[0]
    assert paired.paired and not apart.paired and apart.p_permutation is apart.p_holm is None
    assert paired.difference == pytest.approx(apart.difference)
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)
    far = compared({"a": runs(0, 4.0), "b": runs(1000, 0.3)})[0]
    assert far.differs and not far.paired


def test_what_a_study_could_have_found(scored):
    # One image a patient, one run: the deviation of the mean of the differences is known.
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    sides = [np.where(np.eye(2)[np.where(rng.random(400) < 0.8, y, 1 - y)] == 1, 0.8, 0.2) for _ in range(2)]
    pair = compared({name: [scored(p, y, range(400))] for name, p in zip("ab", sides, strict=True)}, resamples=8000)[0]
    each = (sides[0].argmax(1) == y).astype(float) - (sides[1].argmax(1) == y)
    deviation = np.sqrt(sum(each[y == c].var(ddof=1) * 200 for c in (0, 1))) / 400
    assert pair.detectable == pytest.approx((1.96 + 0.8416) * deviation, rel=0.05)


def test_unequal_seeds_and_missing_folds(scored, study):
    a = [run for fold in (1, 2) for run in study(scored, fold=fold, first=1000 * fold, seed=fold)]
    b = [run for fold in (1, 2) for run in study(scored, fold=fold, first=1000 * fold, seed=fold, seeds=2)]
    pair, *_ = compared({"a": a, "b": b}, METRICS)
    assert pair.paired and 0 < pair.p_permutation <= 1
    missing = compared({"a": a, "b": a[:3]})[0]
    assert not missing.paired and missing.p_permutation is None


def test_levels_and_patients_in_several_splits(scored, study):
    by_name = {name: study(scored, strength=strength) for name, strength in (("a", 1.5), ("b", 1.0))}
    slices, patients = compared(by_name)[0], compared(by_name, level="patient")[0]
    assert (slices.level, patients.level) == ("slice", "patient") and slices.difference != patients.difference
    # The same patients in two folds, as in random splits of slices: they are exchanged in both at once.
    both = {
        name: [run for fold in (1, 2) for run in study(scored, strength=s, patients=6, slices=2, fold=fold, seeds=1)]
        for name, s in (("a", 3.0), ("b", 0.2))
    }
    for runs in both.values():
        runs[1].predictions.index[:] += 100
    twice = compared(both)[0]
    once = compared({name: runs[:1] for name, runs in both.items()})[0]
    assert twice.p_permutation == once.p_permutation


def test_folds_that_are_tested_on_the_same_images_are_paired(scored, study):
    """A published test set and folds of the rest: three folds of the same test images."""
    by_name = {
        name: [run for fold in (1, 2, 3) for run in study(scored, strength=strength, seeds=2, fold=fold)]
        for name, strength in (("a", 3.0), ("b", 0.2))
    }
    pair, once = (
        compared({name: runs[:count] for name, runs in by_name.items()})[0] for count in (6, 2)
    )  # fmt: skip
    assert pair.paired and pair.n_patients == 40 and pair.p_permutation == once.p_permutation < 0.05


def test_a_model_that_is_always_right_differs_from_one_that_always_says_the_same(scored):
    """Neither score varies between resamples of a class's patients: there is no interval, and no doubt."""
    y = np.arange(60) % 3
    runs = {"right": [scored(np.eye(3)[y], y, range(60))], "same": [scored(np.eye(3)[[0] * 60], y, range(60))]}
    for pair in compared(runs, metrics=("accuracy", "balanced_accuracy")):
        assert pair.difference == pytest.approx(2 / 3) and (pair.low, pair.high, pair.detectable) == (None, None, None)
        assert pair.differs and pair.p_holm < 0.001
    (equal,) = compared({"one": runs["same"], "other": runs["same"]})
    assert equal.low is None and not equal.differs


def test_no_end_of_a_difference_is_beyond_what_is_possible(scored):
    """Two runs that are worlds apart, whose spread Student's t widens beyond 1."""
    y = np.arange(40) % 2
    sure = lambda right: np.where(np.eye(2)[y] == 1, right, 1 - right)  # noqa: E731
    runs = {
        "one": [scored(sure(right), y, range(40), seed=seed) for seed, right in enumerate((0.9, 0.1))],
        "other": [scored(sure(right), y, range(40), seed=seed) for seed, right in enumerate((0.1, 0.9))],
    }
    (pair,) = compared(runs)
    assert -1 <= pair.low < -0.9 and 0.9 < pair.high <= 1 and pair.detectable is None
