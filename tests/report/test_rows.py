import json

import pytest

from vitlab.report.runs import read_run
from vitlab.report.summary import build_tables

TEST = [0.9] * 15 + [0.2] * 5


def table_of(*folders):
    (table,) = build_tables([read_run(folder) for folder in folders], resamples=200)
    return table


def test_a_run_without_predictions_leaves_its_row_the_figures_of_results_json(make_scored):
    first, second = make_scored(test=TEST), make_scored(seed=1, test=TEST)
    (second / "predictions.csv").unlink()
    table = table_of(first, second, make_scored("vit", test=TEST))
    cnn, vit = (row.stat("slice", "test", "accuracy") for row in table.rows)
    assert (cnn.mean, cnn.n_runs, cnn.low, cnn.n_patients) == (0.75, 2, None, None)
    assert vit.low is not None and table.rows[0].scored == {} and table.rows[0].gaps == {}
    assert [note for note in table.notes if "no intervals" in note] == [
        f"no intervals for CNN, only the figures of results.json: {second} has no predictions.csv"
    ]


def test_predictions_that_contradict_results_json_are_not_used(make_scored):
    run = make_scored(test=TEST)
    record = json.loads((run / "results.json").read_text())
    record["metrics"]["test"]["accuracy"] = 0.85
    (run / "results.json").write_text(json.dumps(record))
    table = table_of(run)
    assert table.rows[0].stat("slice", "test", "accuracy").mean == 0.85
    assert f"in {run}, predictions.csv gives a test accuracy of 0.75 and results.json of 0.85" in table.notes[0]


def test_predictions_that_cannot_be_read_are_named(make_scored):
    run = make_scored(test=TEST)
    (run / "predictions.csv").write_text("split,index\n")
    table = table_of(run)
    assert f"{run / 'predictions.csv'} is not a predictions file: column 'path' is missing" in table.notes[0]


def test_runs_of_other_classes_are_refused_with_both_folders(make_scored):
    first, second = make_scored(test=TEST), make_scored("vit", test=TEST)
    text = (second / "predictions.csv").read_text()
    (second / "predictions.csv").write_text(text.replace("prob_b", "prob_c").replace(",b,", ",c,"))
    with pytest.raises(ValueError, match="has the classes a, b and") as caught:
        table_of(first, second)
    assert str(first) in str(caught.value) and str(second) in str(caught.value) and "\n" not in str(caught.value)


def test_unlabelled_images_do_not_count(make_scored):
    run = make_scored(test=TEST)
    with (run / "predictions.csv").open("a") as file:
        file.write("test,99,99.png,p99,,0.5,0.5\n")
    assert table_of(run).rows[0].stat("slice", "test", "accuracy").n_images == 20


def test_a_split_that_one_run_lacks_has_the_figures_of_the_others(make_scored):
    table = table_of(make_scored(test=TEST, val=TEST), make_scored(seed=1, test=TEST))
    val = table.rows[0].stat("slice", "val", "accuracy")
    assert (val.mean, val.n_runs, val.low) == (0.75, 1, None)
    assert table.rows[0].stat("slice", "test", "accuracy").low is not None
    assert any(note.startswith("CNN: not every run has val loss") for note in table.notes)


def test_a_gap_is_train_minus_test_with_an_interval(make_scored):
    row = table_of(*(make_scored(seed=seed, train=[0.9] * 40, test=TEST) for seed in range(2))).rows[0]
    gap = row.gap("slice", "train", "accuracy")
    assert gap.mean == pytest.approx(0.25) and gap.low < 0.25 < gap.high
    assert row.gap("slice", "val", "accuracy").mean is None and row.gap("patient", "train", "accuracy").mean is None


def test_an_image_per_patient_is_no_patient_level(make_scored):
    table = table_of(make_scored(test=TEST), make_scored("vit", test=TEST))
    assert "patient" not in table.rows[0].metrics and table.level == "slice"


def test_one_class_in_test_has_no_auroc_and_no_traceback(make_scored):
    row = table_of(make_scored(test=[0.9, 0.2, 0.9], per_patient=3)).rows[0]
    assert row.stat("slice", "test", "auroc").mean is None
    assert row.stat("slice", "test", "accuracy").mean == pytest.approx(2 / 3)
