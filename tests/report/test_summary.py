import statistics

import pytest

from vitlab.report.formats import render, render_brief
from vitlab.report.labels import efficiencies
from vitlab.report.rows import Stat
from vitlab.report.runs import read_run
from vitlab.report.summary import build_tables


def tables(*folders):
    """Tables of what results.json alone says."""
    return build_tables([read_run(folder) for folder in folders], resamples=0)


def test_mean_and_deviation_against_the_standard_library():
    values = [0.881, 0.9, 0.853, 0.87]
    stat = Stat.of([*values, None])
    assert stat.mean == pytest.approx(statistics.mean(values)) and stat.sd == pytest.approx(statistics.stdev(values))
    assert stat.n_runs == 4
    assert Stat.of([0.5]) == Stat(0.5, None, 1) and Stat.of([None]) == Stat(None, None, 0)


def test_rows_come_in_the_order_of_the_question_and_others_after(make_run):
    (table,) = tables(*(make_run(approach) for approach in ("zeta", "vit_mae", "vit", "alpha", "cnn_simclr", "cnn")))
    assert [row.name for row in table.rows] == ["CNN", "CNN + SimCLR", "ViT", "ViT + MAE", "alpha", "zeta"]
    assert table.notes == []


@pytest.mark.parametrize("other", [{"manifest_sha256": "cd" * 32}, {"dataset": "cheng"}, {"label_fraction": 0.1}])
def test_what_must_not_be_averaged_gets_a_table_of_its_own(make_run, other):
    found = tables(make_run(seed=0), make_run(seed=1), make_run(seed=0, folder="other", test_accuracy=0.1, **other))
    assert sorted(row.n for table in found for row in table.rows) == [1, 2]
    assert len(found) == 2 and len({table.title for table in found}) == 2


def test_axes_are_rows_of_their_own(make_run):
    (table,) = tables(make_run(), make_run("vit"), make_run(axes="lr=0.1"), make_run(axes="lr=0.1", seed=1))
    assert [(row.name, row.axes, row.n) for row in table.rows] == [
        ("CNN", "", 1),
        ("CNN lr=0.1", "lr=0.1", 2),
        ("ViT", "", 1),
    ]


def test_backbones_are_rows_of_their_own(make_run):
    (table,) = tables(make_run(), make_run(folder="large", backbone="resnet50", test_accuracy=0.9), make_run("vit"))
    assert [row.name for row in table.rows] == ["CNN (resnet18_half)", "CNN (resnet50)", "ViT"]


def test_the_same_run_twice_is_refused_with_both_folders(make_run):
    first, second = make_run(seed=3, fold=2), make_run(seed=3, fold=2, folder="copy")
    with pytest.raises(ValueError, match="seed 3, fold 2 twice") as caught:
        tables(first, second)
    assert str(first) in str(caught.value) and str(second) in str(caught.value) and "\n" not in str(caught.value)


def test_pretraining_runs_are_no_rows(make_run):
    pretraining = make_run("simclr_pretrain", task="pretrain")
    assert [row.approach for table in tables(pretraining, make_run()) for row in table.rows] == ["cnn"]
    assert tables(pretraining) == []


def test_unequal_runs_are_said(make_run):
    (table,) = tables(make_run(seed=0), make_run(seed=1), make_run("vit", seed=0))
    assert table.notes == ["unequal runs: CNN has seed 0-1; ViT has seed 0"]
    (table,) = tables(*(make_run(seed=0, fold=f, root="b") for f in (1, 2)), make_run("vit", fold=1, root="b"))
    assert table.notes == ["unequal runs: CNN has fold 1-2 seed 0; ViT has fold 1 seed 0"]
    runs = [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2), (0, 4), (7, 4)]
    (table,) = tables(*(make_run(seed=s, fold=f, root="c") for s, f in runs), make_run("vit", fold=1, root="c"))
    assert "CNN has fold 1-2 seed 0-2 and fold 4 seed 0, 7; ViT" in table.notes[0]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"epochs": 50}, "CNN averages over runs of different epochs: 5, 50"),
        ({"device": "H100"}, "seconds were taken on different devices: 1 x cpu (1 threads), H100"),
        ({"test_auroc": None}, "CNN: not every run has test auroc; the others are averaged"),
        ({"fold": 1}, "CNN averages over runs with and without folds, which test on different images"),
    ],
)
def test_what_a_reader_has_to_know_is_noted(make_run, changes, note):
    (table,) = tables(make_run(seed=0), make_run(seed=1, **changes))
    assert table.notes == [note]


def test_a_mean_that_some_folds_dominate_is_said(make_run):
    (table,) = tables(make_run(fold=1), make_run(fold=2), make_run(seed=1, fold=2))
    assert table.notes == ["CNN has more seeds of some folds, which count for more in its mean"]


def test_missing_folds_are_said(make_run):
    split = {"n_folds": 5}
    (table,) = tables(make_run(fold=1, split=split), make_run(fold=2, split=split))
    assert table.notes == ["fold 1-2 of 5 only: no image of the others was tested"]
    (table,) = tables(*(make_run(fold=fold, split=split, root="b") for fold in range(1, 6)))
    assert table.notes == []


def test_seeds_of_different_test_images_are_said(make_run):
    digests = [{"split_sha256": {"test": digest}} for digest in ("00", "11")]
    (table,) = tables(*(make_run(seed=seed, **split) for seed, split in enumerate(digests)))
    assert table.notes == ["CNN averages over seeds that were tested on different images"]


def test_an_approach_called_as_another_is_shown_keeps_a_name_of_its_own(make_run):
    (table,) = tables(make_run("cnn"), make_run("CNN"))
    assert [row.name for row in table.rows] == ["cnn", "CNN"]


def test_what_intervals_do_not_hold_is_said_once(make_scored):
    runs = [read_run(make_scored(approach, test=[0.9] * 12 + [0.2] * 12, ids=False)) for approach in ("cnn", "vit")]
    (table,) = build_tables(runs, resamples=200)
    assert [note.split(":")[0] for note in table.notes] == ["no patient ids", "one run"]


def test_studies_are_tables_of_their_own(make_run):
    """A demo of few epochs and a run of many share approach, seed and images, and must not meet in a mean."""
    found = tables(make_run(study="demo", epochs=1, folder="demo/cnn/seed0"), make_run(epochs=90))
    assert [(table.study, table.title.split(" ")[0], len(table.rows)) for table in found] == [
        ("demo", "demo:", 1),
        ("phantom", "phantom", 1),
    ]


def test_what_text_shows_is_the_same_without_the_rest(make_scored):
    """Patients, and a row that lacks a run: nothing shown rests on what was left out."""
    right = {("cnn", 0): 30, ("cnn", 1): 26, ("vit", 0): 34, ("vit_mae", 0): 20}
    folders = [make_scored(approach, seed=seed, test=[0.9] * good + [0.3] * (40 - good), per_patient=4)
               for (approach, seed), good in right.items()]  # fmt: skip
    runs = [read_run(folder) for folder in folders]
    whole, shown = (build_tables(runs, resamples=300, every=every) for every in (True, False))
    for form in ("terminal", "markdown", "latex"):
        assert render(shown, form) == render(whole, form)
    assert render_brief(shown, "markdown") == render_brief(whole, "markdown")
    assert len(whole[0].pairs) == 3 * 2 * len(shown[0].pairs) > 0  # metrics and levels
    told = [tables[0].rows[0].stat("slice", "test", "mcc").n_runs for tables in (whole, shown)]
    assert told[0] == told[1]  # from results.json, for what notes say of runs that lack a metric


def test_shares_of_the_labels_are_told_alike_where_one_table_knows_its_patients(make_scored):
    """By patient in one, by image in both together: what is told beside other tables is tested too."""
    test = [0.9] * 30 + [0.3] * 10
    folders = [
        make_scored(approach, label_fraction=share, root=f"logs{share}", per_patient=each, test=test[cut:] + test[:cut])
        for share, each in ((0.1, 4), (1.0, 1))
        for cut, approach in enumerate(("cnn", "cnn_simclr"))
    ]
    runs = [read_run(folder) for folder in folders]
    whole, shown = (build_tables(runs, resamples=300, every=every) for every in (True, False))
    assert sorted(table.level for table in shown) == ["patient", "slice"]
    assert render(shown, "terminal") == render(whole, "terminal")
    assert [len(found.shares) for found in efficiencies(shown)] == [2]
