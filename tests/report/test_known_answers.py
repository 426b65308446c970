"""Hand-made run folders whose answers are known from elsewhere, through the verb to its JSON."""

import itertools
import json

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vitlab.report.table import main


@pytest.fixture
def compare(tmp_path, capsys):
    def run():
        assert main([str(tmp_path / "logs"), "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def pair_of(table, metric="accuracy", level="slice"):
    return [pair for pair in table["pairs"] if (pair["metric"], pair["level"]) == (metric, level)]


def right(n, of):
    """Probabilities of the true class: n of them right."""
    return np.where(np.arange(of) < n, 0.9, 0.2)


def test_mean_and_deviation(make_scored, compare):
    for seed, n in enumerate((14, 16, 18)):
        make_scored(seed=seed, test=right(n, 20))
    figure = compare()["rows"][0]["test"]["accuracy"]
    assert figure["mean"] == pytest.approx(0.8) and figure["sd"] == pytest.approx(0.1)
    assert (figure["n_runs"], figure["n_patients"], figure["n_images"]) == (3, 20, 20)


def test_the_interval_of_one_run_is_that_of_a_proportion(make_scored, compare):
    """Patients of one image each: +- 1.96 standard errors of the accuracies of two classes of 100."""
    correct = np.arange(200) % 10 < 7
    make_scored(test=np.where(correct, 0.9, 0.2))
    figure = compare()["rows"][0]["test"]["accuracy"]
    shares = [correct[c::2].mean() for c in range(2)]
    error = np.sqrt(sum(share * (1 - share) / 99 for share in shares)) / 2
    assert figure["low"] == pytest.approx(0.7 - 1.96 * error, abs=0.008)
    assert figure["high"] == pytest.approx(0.7 + 1.96 * error, abs=0.008)


def test_the_interval_of_a_mean_over_runs_is_students(make_scored, compare):
    """All runs are right about whole classes of many patients, so that only the runs differ: t with 3 - 1 degrees."""
    means = []
    for seed, n in enumerate((700, 716, 732)):
        correct = np.arange(2000) // 2 < n  # as many of either class
        means.append(correct.mean())
        make_scored(seed=seed, test=np.where(correct, 0.9, 0.2))
    figure = compare()["rows"][0]["test"]["accuracy"]
    patients = np.sqrt(0.716 * 0.284 / 2000)
    half = stats.t.ppf(0.975, 2) * np.std(means, ddof=1) / np.sqrt(3)
    assert half < (figure["high"] - figure["low"]) / 2 < half + 1.96 * patients


def test_a_paired_p_value_is_scipys(make_scored, compare):
    a = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 1])
    b = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0, 0])
    for approach, correct in (("cnn", b), ("vit", a)):
        make_scored(approach, test=np.where(correct, 0.9, 0.2))
    expected = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=np.inf
    )
    (pair,) = pair_of(compare())
    assert pair["difference"] == pytest.approx(0.4)
    assert pair["p_permutation"] == pytest.approx(expected.pvalue) and 0.1 < pair["p_permutation"] < 0.3


def test_holms_correction_is_statsmodels(make_scored, compare):
    rng = np.random.default_rng(3)
    for approach, share in (("cnn", 0.9), ("cnn_simclr", 0.7), ("vit", 0.5), ("vit_mae", 0.8)):
        make_scored(approach, test=np.where(rng.random(80) < share, 0.9, 0.2))
    table = compare()
    for metric, level in itertools.product(("accuracy", "balanced_accuracy", "auroc"), ("slice",)):
        pairs = pair_of(table, metric, level)
        corrected = multipletests([pair["p_permutation"] for pair in pairs], method="holm")[1]
        assert [pair["p_holm"] for pair in pairs] == pytest.approx(corrected) and len(pairs) == 6
    assert {pair["p_holm"] > pair["p_permutation"] for pair in pair_of(table)} == {True, False}


def test_the_calibration_error_is_that_by_hand(make_scored, compare):
    """Ten images, each a bin of its own: eight right at 0.9, two wrong at 0.8."""
    make_scored(test=right(8, 10))
    assert compare()["rows"][0]["test"]["ece"]["mean"] == pytest.approx((8 * 0.1 + 2 * 0.8) / 10)


def test_a_patient_is_the_mean_of_its_images(make_scored, compare):
    """Patients of three images: one image of 0.9 outweighs two of 0.4, one of 0.6 does not."""
    make_scored(per_patient=3, test=[0.9, 0.4, 0.4] * 3 + [0.6, 0.4, 0.4])
    row = compare()["rows"][0]
    assert row["test"]["accuracy"]["mean"] == pytest.approx(4 / 12)
    assert row["patient"]["test"]["accuracy"]["mean"] == pytest.approx(3 / 4)
