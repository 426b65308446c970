import numpy as np
import pytest

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.predictions import read_predictions
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored
from vitlab.explain.cases.neighbours import Neighbour, TrainingPatients, nearest_of, training_patients, votes
from vitlab.explain.cases.selection import Case, cases_of
from vitlab.explain.features.attribute_probe import features_of
from vitlab.explain.runs.loaded import load_run


@pytest.fixture
def space():
    """Return three training patients in a plane: p at 0 and 90 degrees, q at 45, r at 180."""
    degrees = np.radians([0, 45, 180, 90])
    features = np.stack([np.cos(degrees), np.sin(degrees)], 1).astype(np.float32) * [[1], [5], [0.1], [2]]
    return TrainingPatients.of(
        np.array([10, 11, 12, 13]), features.astype(np.float32), ["p", "q", "r", "p"], list("abba")
    )


def test_slices_are_put_together_to_patients(space):
    found = space.nearest(np.array([[3, 0], [0, 0.2]], np.float32))  # along p's two slices, of other lengths
    assert [neighbour.name for neighbour in found] == ["p", "q", "r"]
    assert [neighbour.similarity for neighbour in found] == pytest.approx([1, np.sqrt(0.5), -0.5], abs=1e-6)
    assert found[0].label == "a" and found[0].row in (10, 13) and found[1].row == 11


def test_the_slice_shown_is_the_one_that_is_alike(space):
    assert space.nearest(np.array([[0, 1]], np.float32), 1)[0].row == 13
    assert space.nearest(np.array([[1, 0]], np.float32), 1)[0].row == 10
    assert len(space.nearest(np.array([[1, 0]], np.float32), 2)) == 2


def cases(labels):
    return [
        Case(f"c{i}", label, ["a", "b"], np.array([i]), np.array([label], object), {}) for i, label in enumerate(labels)
    ]


def test_agreement_is_counted_as_accuracy_is():
    near = [[Neighbour("p", name, 0.5, 0) for name in names] for names in ("aab", "bba", "aaa", "ab")]
    found = cases("aabb")
    said = votes(found, near, {case.name: case.label for case in found})
    assert said.probs.argmax(1).tolist() == [0, 1, 0, 0]  # of equal numbers the nearer one decides
    np.testing.assert_allclose(said.probs.sum(1), 1)
    agreement = estimate([Scored(0, None, said)], Resampling(200), metrics=["accuracy"])["accuracy"]
    assert agreement.mean == 0.25 and agreement.n_patients == 4


def test_a_pretrained_model_is_reminded_of_the_same_kind(runs):
    run = load_run(runs["mae_pretrain"])  # the one fixture that tells top from bottom after so few steps
    space = training_patients(run)
    assert len(space.names) == len(run.rows("train")) == 40
    table = read_predictions(runs["cnn"] / "predictions.csv")
    found = cases_of({"cnn": [Scored(0, None, table.where(table.split == "test"))]})
    nearest, features = nearest_of(run, found)
    assert features.shape[0] == sum(len(case.rows) for case in found)
    right = np.mean(
        [neighbour.label == case.label for case, near in zip(found, nearest, strict=True) for neighbour in near]
    )
    assert right > 0.8
    assert set(neighbour.row for near in nearest for neighbour in near) <= set(run.rows("train").tolist())
    own = space.nearest(features_of(run, run.rows("train")[3:4]), 1)[0]
    assert own.row == run.rows("train")[3] and own.similarity == pytest.approx(1, abs=1e-5)
