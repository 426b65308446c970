import pytest

from vitlab.report.runs import read_run
from vitlab.report.summary import NAMES, build_tables

STRONG, WEAK = [0.9] * 36 + [0.2] * 4, [0.9] * 20 + [0.2] * 20


def table_of(*folders):
    (table,) = build_tables([read_run(folder) for folder in folders], resamples=500)
    return table


def pair_of(table, metric="accuracy", level="slice"):
    (pair,) = [pair for pair in table.pairs if (pair.metric, pair.level) == (metric, level)]
    return pair


def test_unequal_seeds_are_compared_on_the_common_ones(make_scored):
    """The CNN's second seed is far better; the ViT does not have it, and so it does not count between them."""
    table = table_of(make_scored(test=WEAK), make_scored(seed=1, test=STRONG), make_scored("vit", test=WEAK))
    assert table.rows[0].stat("slice", "test", "accuracy").mean == pytest.approx(0.7)
    assert pair_of(table).difference == 0
    assert "pairs of unequal runs are compared on the seeds and folds that both have" in table.notes


def test_rows_without_a_common_run_are_not_compared(make_scored):
    table = table_of(make_scored(fold=1, test=WEAK), make_scored("vit", fold=2, first=40, test=STRONG))
    assert table.pairs == []
    assert "not compared, as they have no seed of the same fold in common: CNN and ViT" in table.notes


def test_other_test_images_make_an_unpaired_difference(make_scored):
    """Such as one split by patient and one by image: a difference with an interval, and no test of pairs."""
    by_patient = make_scored(axes="data.group_by=patient", test=WEAK)
    by_image = make_scored(axes="data.group_by=image", first=40, test=STRONG)
    table = table_of(by_image, by_patient)
    pair = pair_of(table)
    assert (pair.a, pair.b) == ("CNN data.group_by=patient", "CNN data.group_by=image")
    assert not pair.paired and pair.p_permutation is None and pair.p_holm is None
    assert pair.difference == pytest.approx(-0.4) and pair.low < -0.4 < pair.high < 0 and pair.differs
    paired = table_of(make_scored(root="b", test=WEAK), make_scored("vit", root="b", test=STRONG))
    assert pair_of(paired).paired and pair_of(paired).p_permutation < 0.01


def test_a_row_without_predictions_is_in_no_pair(make_scored, make_run):
    table = table_of(make_scored(test=WEAK), make_scored("vit", test=STRONG), make_run("vit_mae"))
    assert {(pair.a, pair.b) for pair in table.pairs} == {("ViT", "CNN")}


def test_patients_are_compared_where_they_are_known(make_scored):
    known = table_of(make_scored(test=WEAK, per_patient=4), make_scored("vit", test=STRONG, per_patient=4))
    assert pair_of(known, level="patient").n_patients == 10
    unknown = table_of(*(make_scored(a, root="b", test=WEAK, ids=False) for a in ("cnn", "vit")))
    assert {pair.level for pair in unknown.pairs} == {"slice"} and unknown.level == "slice"


def test_a_table_of_one_row_has_no_pairs(make_scored):
    assert table_of(make_scored(test=WEAK)).pairs == []


def test_a_large_difference_is_found_among_many_pairs(make_scored):
    """Of 100 exchanges no p is below .0099, and six times that is not significant, whatever the approaches do."""
    best, worst = [0.9] * 56 + [0.2] * 4, [0.9, 0.9, 0.2, 0.2] * 15
    runs = [make_scored(name, test=best if name == "vit_mae" else worst) for name in NAMES]
    (table,) = build_tables([read_run(run) for run in runs], resamples=100)
    differ = {(pair.a, pair.b) for pair in table.pairs if pair.differs and pair.metric == "accuracy"}
    assert differ == {("ViT + MAE", other) for other in ("CNN", "CNN + SimCLR", "ViT")}
