import numpy as np
import pytest

from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.scored import by_group, components, per_patient, splits_of


def test_a_patient_is_the_mean_of_its_images(scored):
    probs = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]]
    run = scored(probs, [0, 0, 1, 1], [7, 7, 8, 9])
    rows = per_patient(run.predictions)
    assert list(rows.patient_id) == ["p7", "p8", "p9"] and list(rows.label) == ["a", "b", "b"]
    assert rows.probs == pytest.approx(np.array([[0.55, 0.45], [0.3, 0.7], [0.4, 0.6]]))
    assert list(rows.index) == [0, 2, 3] and list(rows.path) == ["0.png", "2.png", "3.png"]
    split = splits_of([run], "patient")[0]
    assert compute_metrics(split.probs[0], split.targets)["accuracy"] == 1
    assert compute_metrics(run.predictions.probs, run.predictions.targets)["accuracy"] == 0.75


def test_a_patient_with_two_labels_is_two_units_and_one_patient(scored):
    run = scored([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1, 1], [1, 1, 1, 2])
    split = splits_of([run], "patient")[0]
    assert list(split.targets) == [0, 1, 1] and list(split.patients) == ["p1", "p2"]
    assert list(split.patient) == [0, 0, 1] and split.probs[0][0] == pytest.approx([0.8, 0.2])


def test_images_without_patient_are_alone_and_without_label_left_out(scored):
    run = scored(np.full((5, 2), 0.5), [0, 1, -1, 1, 0])
    for level in ("slice", "patient"):
        split = splits_of([run], level)[0]
        assert len(split.patients) == len(split.targets) == 4 and list(split.index) == [0, 1, 3, 4]
    assert len(per_patient(run.predictions)) == 4


def test_row_order_does_not_matter(scored):
    rng = np.random.default_rng(0)
    probs, targets, patients = rng.dirichlet([1, 1, 1], 30), rng.integers(3, size=30), rng.integers(9, size=30)
    order = rng.permutation(30)
    one = scored(probs, targets, patients)
    other = scored(probs[order], targets[order], patients[order], seed=1, index=order)
    (split,) = splits_of([one, other], "patient")
    assert split.runs == [0, 1] and np.array_equal(*split.probs)


def test_folds_are_splits_and_those_that_share_patients_belong_together(scored):
    def run(fold, patients, start):
        return scored(np.full((len(patients), 2), 0.5), [0, 1] * 2, patients, fold=fold, index=start + np.arange(4))

    apart = splits_of([run(1, [1, 2, 3, 4], 0), run(2, [5, 6, 7, 8], 4), run(1, [1, 2, 3, 4], 0)], "slice")
    assert [split.runs for split in apart] == [[0, 2], [1]]
    assert [len(together) for together in components(apart)] == [1, 1]
    chain = splits_of([run(1, [1, 2, 3, 4], 0), run(2, [9, 6, 7, 8], 4), run(3, [4, 9, 10, 11], 8)], "slice")
    assert [len(together) for together in components(chain)] == [3]
    assert not apart[0].same_as(apart[1]) and apart[0].same_as(splits_of([run(5, [1, 2, 3, 4], 0)], "slice")[0])


def test_groups_of_the_manifest(scored):
    rng = np.random.default_rng(0)
    run = scored(rng.dirichlet([1, 1], 6), [0, 1, 0, 1, 0, 1], range(6), index=[10, 3, 7, 5, 0, 1])
    column = np.array(["MR", "MR", "", "B", "", "MR", "", "B", "", "", "B"], object)
    found = by_group([run], column)
    assert list(found) == ["B", "MR"] and list(found["B"][0].predictions.index) == [10, 3, 7]
    assert list(found["MR"][0].predictions.index) == [5, 0, 1]


def test_what_does_not_fit_is_refused(scored):
    with pytest.raises(ValueError, match="no runs"):
        splits_of([], "slice")
    with pytest.raises(ValueError, match="different classes: a, b and x, y"):
        splits_of([scored(np.eye(2), [0, 1]), scored(np.eye(2), [0, 1], classes=["x", "y"])], "slice")
    with pytest.raises(ValueError, match="seed 3 of fold 2: no image has a label"):
        splits_of([scored(np.eye(2), [-1, -1], seed=3, fold=2)], "slice")
