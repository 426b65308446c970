import numpy as np
import pytest

from vitlab.audit.baselines.grouped_cv import rank_within
from vitlab.audit.baselines.labels import (
    calibrated,
    chance_range,
    class_balance,
    label_errors,
    patients_with_two_classes,
)
from vitlab.audit.images import read_images
from vitlab.audit.memo import Memo
from vitlab.data.sources import Csv


def disc_of_class(patient, pixels):
    """Half of the patients have a bright square in the disc, the others a dark one."""
    pixels = pixels.copy()
    pixels[26:38, 26:38] = 210 if patient % 2 else 20
    return pixels, 90


def test_planted_errors_are_found_and_few_others(clustered):
    _, images, groups = clustered(disc_of_class)
    clean = groups % 2
    wrong = np.random.default_rng(0).choice(len(groups), 12, replace=False)
    targets = clean.copy()
    targets[wrong] = 1 - targets[wrong]
    found = label_errors(images, targets, groups, classes=["dark", "bright"], seed=0)
    rows = [error.row for error in found.errors]
    recall, precision = np.isin(wrong, rows).mean(), np.isin(rows, wrong).mean()
    assert recall >= 0.7 and precision >= 0.9, (recall, precision)
    assert found.balanced_accuracy > 0.9
    assert found.expected < 5  # images of this kind are easy: what is doubted is wrong
    names = np.array(["dark", "bright"])
    assert all(e.given == names[targets[e.row]] and e.suggested == names[clean[e.row]] for e in found.errors)
    confidence = [error.self_confidence for error in found.errors]
    assert confidence == sorted(confidence) and confidence[-1] < 0.1


def test_right_labels_are_not_doubted(clustered):
    _, images, groups = clustered(disc_of_class)
    assert label_errors(images, groups % 2, groups, classes=["dark", "bright"], seed=0).errors == []


def test_where_images_say_nothing_of_the_class_nothing_is_doubted(clustered):
    _, images, groups = clustered()
    targets = np.random.default_rng(1).integers(0, 2, 60)[groups]
    found = label_errors(images, targets, groups, classes=["a", "b"], seed=0)
    assert found.balanced_accuracy == pytest.approx(0.5, abs=0.2)
    assert len(found.errors) <= 0.02 * len(groups) and found.expected <= 0.02 * len(groups)


def test_the_number_expected_by_chance_is_near_and_wrong_labels_exceed_it(data_root, tmp_path):
    """Real slices are hard: a fiftieth or so of right labels is doubted, and none of that is an error."""
    source = Csv(root=str(data_root / "cheng"), columns={"patient_id": "patient_base"})
    manifest = source.manifest()
    manifest = manifest.where(np.arange(0, len(manifest), 2))
    images = read_images(manifest, source.decode, Memo(manifest, tmp_path / "memo"))
    groups = np.unique(manifest.patient_id.astype(str), return_inverse=True)[1]
    clean = label_errors(images, manifest.targets, groups, classes=manifest.classes, seed=0)
    assert 0.5 < len(clean.errors) / clean.expected < 1.5
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(manifest), len(manifest) // 20, replace=False)
    targets = manifest.targets.copy()
    targets[wrong] = (targets[wrong] + rng.integers(1, 3, len(wrong))) % 3
    planted = label_errors(images, targets, groups, classes=manifest.classes, seed=0)
    assert planted.expected < 1.6 * clean.expected  # wrong labels are no reason to expect more doubts
    assert len(planted.errors) > 1.6 * planted.expected
    assert np.isin(wrong, [error.row for error in planted.errors]).mean() > 0.5


def test_unlabelled_rare_and_broken_images_are_not_judged(clustered):
    _, images, groups = clustered(disc_of_class)
    targets = groups % 2
    targets[groups == 7] = -1
    targets[groups < 3] = 2
    images.error[groups == 8] = "truncated"
    found = label_errors(images, targets, groups, classes=["dark", "bright", "rare"], seed=0)
    assert found.balanced_accuracy > 0.9 and not {groups[e.row] for e in found.errors} & {0, 1, 2, 7, 8}
    none = label_errors(images, np.zeros(len(groups), int), groups, classes=["dark"], seed=0)
    assert none.errors == [] and np.isnan([none.balanced_accuracy, none.expected]).all()


def test_class_balance_and_patients_of_two_classes():
    split = np.array(["train", "train", "test", "", "train"], object)
    assert class_balance(np.array([0, 1, 1, 0, -1]), split, ["a", "b"]) == {
        "train": {"a": 1, "b": 1},
        "test": {"a": 0, "b": 1},
        "": {"a": 1, "b": 0},
    }
    patients = np.array(["q", "p", "q", "q", "", "", "p", "p"], object)
    label = np.array(["b", "a", "a", "b", "a", "b", "", "a"], object)
    assert patients_with_two_classes(patients, label) == [("q", {"a": 1, "b": 2})]


def test_with_right_labels_the_count_lies_in_the_range_however_small_the_set(data_root, tmp_path):
    """A few hard patients of few are no evidence: 60 slices of as many patients, 20 patients with three each."""
    source = Csv(root=str(data_root / "cheng"), columns={"patient_id": "patient_base"})
    whole = source.manifest()
    of_patient = np.unique(whole.patient_id.astype(str), return_inverse=True)[1]
    inside, small, sets = [], 0, 12
    for number in range(sets):
        rng = np.random.default_rng(number)
        each, patients = ((1, 60), (3, 20))[number % 2]
        rows = rng.permutation(np.flatnonzero(np.isin(of_patient, rng.choice(of_patient.max() + 1, patients, False))))
        rows = np.sort(rows[rank_within(of_patient[rows]) < each])
        manifest = whole.where(rows)
        images = read_images(manifest, source.decode, Memo(manifest, tmp_path / "memo"))
        found = label_errors(images, manifest.targets, of_patient[rows], classes=manifest.classes, seed=number)
        inside.append(found.low <= len(found.errors) <= found.high)
        small += "too small to say" in found.sentence
    assert sum(inside) >= sets - 1 and small >= sets // 2  # 2 or more of 12 outside come by chance in 12 %


def test_the_range_is_as_wide_as_groups_are_few():
    chance = np.full(100, 0.1)
    alone, together = np.arange(100), np.arange(100) // 25
    doubted = np.arange(100) < 25
    assert chance_range(np.zeros(100, bool), chance, alone) == (4, 17)  # as Poisson: 10 expected
    assert chance_range(doubted, chance, alone)[1] < 25 < chance_range(doubted, chance, together)[1]
    assert chance_range(doubted, np.zeros(100), alone) == (0, 0)


def test_mistakes_are_assumed_where_many_groups_call_for_them_only():
    """Sure and right of most, sure and wrong of a twentieth: these are mistakes, or one patient that looks odd."""
    rng = np.random.default_rng(0)
    first = np.r_[np.full(20, 0.02), rng.beta(0.3, 0.3, 380).clip(0.02, 0.98)]
    y = np.r_[np.zeros(20, int), rng.random(380) > first[20:]]
    probabilities = np.stack([first, 1 - first], 1)
    many = calibrated(probabilities, y, np.arange(400))
    one = calibrated(probabilities, y, np.r_[np.zeros(20, int), np.arange(1, 381)])
    assert many[0, 0] < 0.02 and one[0, 0] > 0.05
