import numpy as np
import pytest

from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.scored import Scored
from vitlab.explain.cases.selection import cases_of, confident_errors, disagreements, draw_cases, spreads

CLASSES = ["a", "b", "c"]


def said(probs, patients, labels, index=None, seed=0, fold=None):
    """Return a run's test predictions."""
    n = len(patients)
    index = np.arange(n) if index is None else np.asarray(index)
    columns = {"split": ["test"] * n, "path": [f"{row}.png" for row in index], "patient_id": patients}
    return Scored(seed, fold, Predictions(classes=CLASSES, probs=np.array(probs), label=labels, index=index, **columns))


@pytest.fixture
def study():
    """Return two approaches, two seeds each, on four patients: p0 easy, p1 an error, p2 disputed, p3 unsteady."""
    patients, labels = ["p0", "p0", "p1", "p2", "p3"], ["a", "a", "b", "c", "a"]
    easy = [0.9, 0.05, 0.05]
    one = [easy, easy, [0.98, 0.01, 0.01], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0]]
    two = [easy, easy, [0.94, 0.05, 0.01], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]]
    other = [easy, easy, [0.45, 0.5, 0.05], [0.0, 0.9, 0.1], [0.6, 0.3, 0.1]]
    return {
        "cnn": [said(one, patients, labels), said(two, patients, labels, seed=1)],
        "vit": [said(other, patients, labels), said(other, patients, labels, seed=1)],
    }


def test_a_patient_is_the_mean_of_its_slices_and_runs(study):
    cases = cases_of(study)
    assert [case.name for case in cases] == ["p0", "p1", "p2", "p3"]
    assert cases[0].rows.tolist() == [0, 1] and cases[0].probs["cnn"].shape == (2, 2, 3)
    np.testing.assert_allclose(cases[1].mean("cnn"), [0.96, 0.03, 0.01])
    np.testing.assert_allclose(cases[3].spread("cnn"), np.std([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3]], 0, ddof=1))
    assert cases[1].said("cnn") == "a" and not cases[1].right("cnn") and cases[1].right("vit")


def test_each_list_finds_what_was_planted(study):
    cases = cases_of(study)
    (error, second) = confident_errors(cases, 9)
    assert error.case == 1 and error.value == pytest.approx(0.96) and error.reason == "cnn says a with 0.96; it is b"
    assert second.case == 2 and second.reason.startswith("vit says b")
    (most, *_) = disagreements(cases, 9)
    assert most.case == 2 and most.value == pytest.approx(0.8) and "cnn (c) and vit (b)" in most.reason
    (widest, *_) = spreads(cases, 9)
    assert widest.case == 3 and "2 runs of cnn give a from 0.40 to 0.90" in widest.reason
    assert len(disagreements(cases, 1)) == 1 and len(confident_errors(cases, 1)) == 1


def test_nothing_is_listed_where_nothing_is_known(study):
    cases = cases_of({"cnn": study["cnn"][:1]})
    assert disagreements(cases, 9) == [] and spreads(cases, 9) == []
    right = cases_of({"cnn": [said([[0.9, 0.1, 0.0]], ["p"], ["a"])]})
    assert confident_errors(right, 9) == []


def test_with_folds_a_patient_is_known_by_the_runs_that_tested_it():
    first = said([[1, 0, 0], [0, 1, 0]], ["p", "q"], ["a", "b"], index=[0, 1], fold=0)
    second = said([[0, 0, 1]], ["r"], ["c"], index=[2], fold=1)
    cases = cases_of({"cnn": [first, second], "vit": [first]})
    assert [case.by_run("cnn").shape for case in cases] == [(1, 3)] * 3
    assert cases[2].approaches == ["cnn"] and cases[2].mean("cnn").tolist() == [0, 0, 1]
    assert cases[2].spread("cnn") is None


def test_slices_of_one_patient_in_the_tests_of_two_folds():
    first = said([[1, 0, 0]], ["p"], ["a"], index=[0], fold=0)
    second = said([[0, 1, 0]], ["p"], ["a"], index=[1], fold=1)
    (case,) = cases_of({"cnn": [first, second]})
    assert case.rows.tolist() == [0, 1] and np.isnan(case.probs["cnn"]).sum() == 6
    assert case.mean("cnn").tolist() == [0.5, 0.5, 0]


def test_images_without_a_patient_are_cases_of_their_own():
    cases = cases_of({"cnn": [said([[1, 0, 0], [0, 1, 0]], ["", ""], ["a", "b"])]})
    assert [case.name for case in cases] == ["0.png", "1.png"]


@pytest.fixture
def many():
    """Return 60 patients of a, 6 of b and 2 of c, with random predictions."""
    labels = ["a"] * 60 + ["b"] * 6 + ["c"] * 2
    rng = np.random.default_rng(0)
    patients = [f"p{number}" for number in range(68)]
    return cases_of({"cnn": [said(rng.dirichlet(np.ones(3), 68), patients, labels)]})


def test_the_draw_is_stratified_and_the_seeds_alone(many):
    drawn = draw_cases(many, 12, 0)
    assert len(set(drawn)) == 12
    counts = {name: sum(many[place].label == name for place in drawn) for name in CLASSES}
    assert counts == {"a": 5, "b": 5, "c": 2}
    names = [many[place].name for place in drawn]
    shuffled = [many[place] for place in np.random.default_rng(1).permutation(68)]
    assert [shuffled[place].name for place in draw_cases(shuffled, 12, 0)] == names
    assert [many[place].name for place in draw_cases(many, 12, 1)] != names
    assert draw_cases(many, 6, 0) == drawn[:6]
    assert sorted(draw_cases(many, 1000, 0)) == list(range(68))


def test_the_draw_does_not_look_at_what_models_said(many):
    patients, labels = [case.name for case in many], [case.label for case in many]
    other = cases_of({"vit": [said(np.full((68, 3), 1 / 3), patients, labels)]})
    assert [other[place].name for place in draw_cases(other, 12, 0)] == [
        many[place].name for place in draw_cases(many, 12, 0)
    ]


def test_every_patient_is_drawn_as_often_as_the_others_of_its_class(many):
    drawn = np.array([draw_cases(many, 12, seed) for seed in range(400)])
    of_a = [place for place, case in enumerate(many) if case.label == "a"]
    share = np.array([(drawn == place).any(1).mean() for place in of_a])
    assert share.mean() == pytest.approx(5 / 60, abs=0.01) and share.max() < 0.16 and share.min() > 0.02


def test_other_classes_are_a_mistake():
    one = said([[1, 0, 0]], ["p"], ["a"])
    other = Predictions(classes=["x"], probs=np.ones((1, 1)), label=["x"], index=[0], split=["test"], path=["0"],
                        patient_id=["p"])  # fmt: skip
    with pytest.raises(ValueError, match="different classes"):
        cases_of({"cnn": [one], "vit": [Scored(0, None, other)]})
