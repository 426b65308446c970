"""What the sections compute themselves: known answers, and files that are not what they should be."""

import numpy as np
import pytest

from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.predictions import read_predictions
from vitlab.evaluate.scored import Scored
from vitlab.report.grouping import PREFIX, read_grouping
from vitlab.report.page.classes import GRID, macro_roc
from vitlab.report.page.cost import on_front
from vitlab.report.page.features import main_axes, read_features
from vitlab.report.page.history import read_history, together
from vitlab.report.page.robustness import read_robustness
from vitlab.report.runs import read_run


def on_test(folder):
    table = read_predictions(folder / "predictions.csv")
    return Scored(0, None, table.where(table.split == "test"))


@pytest.mark.parametrize(
    ("costs", "scores", "expected"),
    [
        ([1, 2, 3], [0.5, 0.6, 0.7], [True, True, True]),
        ([1, 2, 3], [0.7, 0.6, 0.8], [True, False, True]),
        ([1, 1, 1], [0.7, 0.6, 0.7], [True, False, True]),  # equals are both on it
        ([2, 1], [0.7, 0.7], [False, True]),
    ],
)
def test_the_front_holds_what_no_other_beats(costs, scores, expected):
    assert on_front(costs, scores) == expected


def test_the_area_under_the_macro_curve_is_the_auroc(make_study, tmp_path):
    run = on_test(make_study(tmp_path).run("vit"))
    curve = macro_roc(run)
    area = np.sum((curve[1:] + curve[:-1]) / 2 * np.diff(GRID))
    auroc = compute_metrics(run.predictions.probs, run.predictions.targets, ["auroc"])["auroc"]
    assert 0.6 < auroc < 0.95 and area == pytest.approx(auroc, abs=0.01)
    only = run.predictions.where(run.predictions.label == "glioma")
    assert macro_roc(Scored(0, None, only)) is None


def test_main_axes_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    features = np.random.default_rng(0).normal(0, 1, (80, 10)) * np.arange(1, 11)
    places, explained = main_axes(features)
    theirs = PCA(2).fit(features)
    np.testing.assert_allclose(np.abs(places), np.abs(theirs.transform(features)), atol=1e-9)
    np.testing.assert_allclose(explained, theirs.explained_variance_ratio_)
    assert main_axes(np.ones((4, 3)))[1] == [0.0, 0.0]


def test_an_epoch_that_was_logged_twice_counts_once(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train/loss,val/loss\n0,9,0.9,\n0,9,,1.0\n,9,5,\n1,19,0.7,\n0,9,,0.8\n1,19,,nan\n"
    )
    history = read_history(tmp_path)
    assert history == {"train/loss": {1: 0.9, 2: 0.7}, "val/loss": {1: 0.8}}
    epochs, values = together([history, {"train/loss": {2: 0.5, 3: 0.1}}], "train/loss")
    assert epochs.tolist() == [2] and values.tolist() == [[0.7], [0.5]]
    assert together([history, {}], "train/loss")[0].size == 0


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b"epoch,x\nnone,1\n"])
def test_files_that_are_something_else_are_none(tmp_path, content):
    for name in ("metrics.csv", "robustness.csv", "features.npz"):
        (tmp_path / name).write_bytes(content)
    assert read_history(tmp_path) == {} and read_robustness(tmp_path) == {} and read_features(tmp_path) is None


def test_features_without_pickles(tmp_path):
    np.savez(tmp_path / "features.npz", features=np.array([{"a": 1}] * 3, object), index=np.arange(3))
    assert read_features(tmp_path) is None
    np.savez(tmp_path / "features.npz", features=np.full((3, 2), np.nan), index=np.arange(3))
    assert read_features(tmp_path) is None


def test_groups_are_columns_of_a_few_values(make_study, tmp_path, monkeypatch):
    study = make_study(tmp_path)
    folder = study.run("cnn")
    runs, scored = [read_run(folder)], [on_test(folder)]
    found = read_grouping(runs, scored)
    assert set(found.columns) == {"plane", PREFIX} and found.reason == ""
    assert set(found.columns[PREFIX].values()) == {"MR", "CT"}
    planes = list(found.columns["plane"].values())
    assert planes.count("axial") == pytest.approx(len(planes) / 3, abs=1)
    (study.data / "manifest.csv").unlink()
    found = read_grouping(runs, scored)
    assert set(found.columns) == {PREFIX} and "is not there (set VITLAB_DATA)" in found.reason
    (folder / "config.yaml").write_text("data: [1")
    assert read_grouping(runs, scored).reason == "config.yaml names no manifest file"


def test_a_manifest_is_found_in_vitlab_data(make_study, tmp_path, monkeypatch):
    study = make_study(tmp_path)
    folder = study.run("cnn")
    (folder / "config.yaml").write_text("data: {source: {init_args: {root: data, columns: {patient_id: plane}}}}")
    monkeypatch.setenv("VITLAB_DATA", str(tmp_path))
    found = read_grouping([read_run(folder)], [on_test(folder)])
    assert set(found.columns) == {PREFIX} and found.reason == ""  # plane is the patient here, and no group
