"""robustness.csv: the counts add up, come back as they were written, and stay small."""

import csv
import tracemalloc

import numpy as np
import pytest

from vitlab.evaluate.corrupted import count, read_robustness, write_robustness


@pytest.fixture
def counted(scored):
    """Return counts of five images of two patients and of one without, under two corruptions at two severities."""
    test = scored(np.full((5, 2), 0.5), [0, 0, 1, 1, 0], ["x", "x", "x", "y", "z"], index=[8, 3, 5, 4, 9]).predictions
    test.patient_id[4] = ""
    predicted = {
        "noise": np.array([[0, 0, 1, 1, 0], [0, 1, 1, 0, 0], [1, 1, 1, 0, 0]]),
        "blur": np.array([[0, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 1]]),
    }
    return count(test, predicted)


def test_counts_are_those_of_patients_and_their_classes(counted):
    units = list(zip(counted.patient_id, counted.label, counted.index, counted.images, strict=True))
    assert units == [("", "a", 9, 1), ("px", "a", 3, 2), ("px", "b", 5, 1), ("py", "b", 4, 1)]
    assert counted.corruptions == ("noise", "blur")
    assert counted.correct[0].tolist() == [[1, 2, 1, 1], [1, 1, 1, 0], [1, 0, 1, 0]]
    assert counted.correct[1].tolist() == [[1, 2, 1, 1], [0, 2, 0, 0], [0, 0, 0, 0]]
    assert counted.score("accuracy") == pytest.approx(np.array([[1, 0.6, 0.4], [1, 0.4, 0]]))
    # recall of a is of three images, of b of two
    assert counted.score("balanced_accuracy")[0] == pytest.approx([1, (2 / 3 + 1 / 2) / 2, (1 / 3 + 1 / 2) / 2])


def test_counts_are_sums_over_units(scored):
    rng = np.random.default_rng(0)
    y, patients = rng.integers(0, 3, 200), rng.integers(0, 40, 200).astype(str)
    test = scored(np.full((200, 3), 1 / 3), y, patients, index=rng.permutation(200), classes=["a", "b", "c"])
    predicted = {name: rng.integers(0, 3, (6, 200)) for name in ("noise", "blur")}
    found = count(test.predictions, predicted)
    facts = test.predictions
    for c, table in enumerate(predicted.values()):
        for unit in range(len(found.images)):
            label = facts.classes.index(found.label[unit])
            own = (facts.patient_id == found.patient_id[unit]) & (facts.targets == label)
            assert found.correct[c][:, unit].tolist() == (table[:, own] == label).sum(1).tolist()


def test_memory_grows_with_the_images_and_not_with_their_square(scored):
    n = 20_000
    test = scored(np.full((n, 2), 0.5), np.arange(n) % 2)
    tracemalloc.start()
    try:
        found = count(test.predictions, {"noise": np.zeros((6, n), np.int64)})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.images) == n and found.correct.sum() == 6 * n / 2
    assert peak < 100e6


def test_weighted_units_are_units_repeated(counted):
    weights = np.array([[1, 1, 1, 1], [0, 2, 1, 0], [0, 1, 0, 0]])
    found = counted.score("balanced_accuracy", weights)
    assert found[0] == pytest.approx(counted.score("balanced_accuracy"))
    assert found[1, 0, 1] == pytest.approx((1 / 2 + 1) / 2)
    assert found[2, 0, 1] == pytest.approx(1 / 2)  # b is not there


def test_the_file_brings_back_what_was_written(counted, tmp_path):
    path = tmp_path / "robustness.csv"
    write_robustness(path, counted)
    found = read_robustness(path)
    assert found.corruptions == counted.corruptions
    for name in ("patient_id", "index", "label", "images", "correct"):
        assert np.array_equal(getattr(found, name), getattr(counted, name)), name
    with path.open(newline="") as file:
        rows = {(row["corruption"], row["severity"], row["metric"]): row for row in csv.DictReader(file)}
    assert float(rows["noise", "2", "accuracy"]["value"]) == pytest.approx(0.4)
    assert rows["noise", "2", "accuracy"]["images"] == "5"
    assert [path] == list(tmp_path.iterdir())


def test_six_hundred_images_without_patients_stay_below_300_kb(scored, tmp_path):
    y, classes = np.arange(600) % 3, ["glioma", "meningioma", "pituitary"]
    test = scored(np.full((600, 3), 1 / 3), y, index=10_000 + np.arange(600), classes=classes)
    table = np.tile(y, (6, 1))
    names = ("noise", "blur", "contrast", "bias field", "ghosting", "resolution", "rotation")
    write_robustness(tmp_path / "robustness.csv", count(test.predictions, dict.fromkeys(names, table)))
    assert (tmp_path / "robustness.csv").stat().st_size < 300_000


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text.replace("metric", "measure"),
        lambda text: text.replace("correct,2 1 0", "correct,2 1 x"),
        lambda text: text.replace("correct,2 1 0", "correct,3 1 0"),
        lambda text: text.replace("correct,2 1 0", "correct,2 1"),
        lambda text: "\n".join(text.splitlines()[:-1]),
    ],
)
def test_a_broken_file_is_refused_in_one_line(counted, tmp_path, spoil):
    path = tmp_path / "robustness.csv"
    write_robustness(path, counted)
    text = path.read_text()
    assert spoil(text) != text
    path.write_text(spoil(text))
    with pytest.raises(ValueError, match=r"run `test --run\.robustness=true` again") as error:
        read_robustness(path)
    assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"--run\.robustness=true"):
        read_robustness(path)
