import numpy as np
import pytest

from vitlab.audit.baselines import shortcuts
from vitlab.audit.baselines.metadata import Kind
from vitlab.audit.baselines.shortcuts import ANATOMY, corrected, find_shortcuts, judge


def classes_of(groups, seed=0, n_classes=2):
    """Give each patient a class, whatever its images are like."""
    return np.random.default_rng(seed).integers(0, n_classes, groups.max() + 1)[groups]


def mark_corner(patient, pixels):
    if patient % 2:
        pixels = pixels.copy()
        pixels[1:4, 1:4] = 255
    return pixels, 90


def shift_intensity(patient, pixels):
    return (pixels + 60 * (patient % 2)).clip(0, 255).astype(np.uint8), 90


def change_quality(patient, pixels):
    return pixels, 50 if patient % 2 else 95


@pytest.mark.parametrize(
    ("change", "expected", "clean"),
    [
        (mark_corner, "corner pixels", "file size"),
        (shift_intensity, "intensity", "image size"),
        (change_quality, "file size", "intensity"),
        (change_quality, "JPEG tables", "corner pixels"),
    ],
)
def test_a_planted_shortcut_is_named_and_the_others_are_not(clustered, change, expected, clean):
    _, images, groups = clustered(change)
    found, _ = find_shortcuts(images, groups % 2, groups, {}, patients_known=True, seed=0)
    named = {shortcut.name: shortcut for shortcut in found if shortcut.named}
    assert expected in named and clean not in named
    best = named[expected]
    assert best.balanced_accuracy > 0.85 and best.low <= best.balanced_accuracy <= best.high
    assert best.p_value <= 0.01 and best.chance == 0.5
    assert (best.n, best.n_groups) == (len(groups), 60)
    assert f"p {best.p_value:.3f}" in best.sentence and "chance 50 %" in best.sentence
    assert best.sentence.endswith("anatomy or acquisition") == (expected in ANATOMY)


def test_nothing_is_named_where_there_is_nothing_to_find(clustered):
    _, images, groups = clustered()
    scanner = np.array([f"scanner {number}" for number in np.arange(60) % 3], object)[groups]
    smallest = []
    for seed in range(20):
        targets = classes_of(groups, seed)
        found, _ = find_shortcuts(images, targets, groups, {"scanner": scanner}, patients_known=True, seed=seed)
        assert {"file size", "intensity", "corner pixels", "column scanner"} <= {shortcut.name for shortcut in found}
        smallest.append((any(shortcut.named for shortcut in found), min(shortcut.p_value for shortcut in found)))
    named, p_values = np.array(smallest).T
    # An audit of a clean set names something in at most 5 % of cases: 3 or more of 20 come by chance in 8 %.
    assert named.sum() <= 2
    assert np.median(p_values) > 0.2  # not a few large ones among many small ones


def test_patients_of_one_class_that_look_alike_are_no_evidence_if_they_are_few(clustered):
    """Five slices of a patient are one observation: images taken for groups would make this a certainty."""
    _, images, groups = clustered(patients=10, seed=3)
    targets = groups % 2
    by_patient, _ = find_shortcuts(images, targets, groups, {}, patients_known=True, seed=0)
    by_image, _ = find_shortcuts(images, targets, np.arange(len(groups)), {}, patients_known=True, seed=0)
    assert not any(shortcut.named for shortcut in by_patient)
    assert any(shortcut.named for shortcut in by_image)


def test_metadata_that_tells_the_classes_apart_is_named(clustered):
    _, images, groups = clustered()
    targets = groups % 2
    columns = {
        "patient_id": np.array([f"{'MR' if group % 2 else ''}{group:05d}" for group in groups], object),
        "scanner": np.array([["A", "B"][target] for target in targets], object),
        "diagnosis": np.array([["benign", "malignant"][target] for target in targets], object),
        "plane": np.array([["axial", "coronal"][group // 2 % 2] for group in groups], object),
    }
    shortcuts, untested = find_shortcuts(images, targets, groups, columns, patients_known=True, seed=0)
    found = {shortcut.name: shortcut.named for shortcut in shortcuts}
    assert found["prefix of patient_id"] and "column diagnosis" not in found and not found["column plane"]
    assert "column scanner" not in found  # it splits the images as the prefix does, and counts once
    assert {(one.column, one.reason) for one in untested} == {
        ("scanner", "splits the images as patient_id does"),
        ("diagnosis", "the label"),
    }


def test_a_prefix_counts_where_some_patients_have_no_identifier(clustered):
    """The class that has no identifiers at all is no part of the test, and chance is that of the others."""
    _, images, groups = clustered()
    targets = groups % 3
    ids = [f"{'MR' if group % 3 else ''}{group:05d}" if group % 3 < 2 else "" for group in groups]
    columns = {"patient_id": np.array(ids, object)}
    found, untested = find_shortcuts(images, targets, groups, columns, patients_known=True, seed=0)
    (prefix,) = (shortcut for shortcut in found if shortcut.name == "prefix of patient_id")
    assert prefix.named and prefix.balanced_accuracy == 1.0 and prefix.chance == 0.5 and prefix.p_value <= 0.01
    assert (prefix.n, prefix.n_groups) == (int((targets < 2).sum()), 40) and untested == []
    assert {shortcut.chance for shortcut in found} == {0.5, 1 / 3}
    columns["patient_id"] = np.where(targets == 0, columns["patient_id"], "")
    columns["patient_id"][groups % 6 == 0] = [f"x{group}" for group in groups[groups % 6 == 0]]
    _, untested = find_shortcuts(images, targets, groups, columns, patients_known=True, seed=0)
    assert [(one.column, one.reason) for one in untested] == [
        ("patient_id", "too few groups of two classes have a value")
    ]


def test_unknown_patients_are_said_in_every_sentence(clustered):
    _, images, groups = clustered(patients=20)
    found, _ = find_shortcuts(images, groups % 2, groups, {}, patients_known=False, seed=0)
    assert all(s.sentence.endswith(" (patients unknown: interval too narrow, p too small)") for s in found)


def test_a_small_effect_is_not_named_however_sure():
    """One of a hundred images more than chance is no shortcut."""
    sample = shortcuts._Sample(np.arange(10_000), 2, np.arange(10_000), np.zeros(0, int), np.zeros((0, 0), int))

    def named(accuracy, ends, p_value):
        return shortcuts._judge("file size", accuracy, ends, p_value, sample, True).named

    assert not named(0.51, (0.505, 0.515), 0.002)
    assert named(0.61, (0.605, 0.615), 0.002)
    assert not named(0.61, (0.605, 0.615), 0.06)
    assert not named(0.61, (0.49, 0.7), 0.002)
    few = shortcuts._judge("file size", 0.9, None, 0.002, sample, True)
    assert few.named and few.low is None and "(too few groups for an interval, chance" in few.sentence


@pytest.mark.parametrize("by_patient", [True, False])
def test_p_values_of_nothing_are_right_and_those_of_images_would_not_be(monkeypatch, by_patient):
    """The corrected p-value alone, without effect and interval: at most 0.05 in 5 % of 200 sets without shortcuts."""
    monkeypatch.setattr(shortcuts, "PERMUTATIONS", 99)
    smallest = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(40), rng.integers(1, 8, 40))
        targets = rng.integers(0, 2, 40)[patients]
        known = np.ones(len(patients), bool)
        kinds = [
            Kind(f"kind {number}", (rng.normal(size=(40, 3))[patients] + rng.normal(0, 0.3, (len(patients), 3))), known)
            for number in range(3)
        ]
        kinds.append(Kind("of some", kinds[0].features, rng.random(40)[patients] < 0.8))
        groups = patients if by_patient else np.arange(len(patients))
        found, _ = judge(kinds, targets, groups, [], patients_known=True, rng=rng)
        smallest.append(min(shortcut.p_value for shortcut in found))
    rate = np.mean(np.array(smallest) <= 0.05)
    assert 0.015 <= rate <= 0.09 if by_patient else rate > 0.5, rate  # binomial, 99 %


def test_classes_of_a_few_patients_are_left_out(clustered):
    _, images, groups = clustered(patients=30)
    targets = np.where(groups < 4, 2, groups % 2)
    found, _ = find_shortcuts(images, targets, groups, {}, patients_known=True, seed=0)
    assert {shortcut.n for shortcut in found} == {int((groups >= 4).sum())} and found[0].chance == 0.5
    columns = {"scanner": np.full(len(groups), "A", object)}
    found, untested = find_shortcuts(images, np.where(groups < 4, 1, 0), groups, columns, patients_known=True, seed=0)
    assert found == [] and [one.column for one in untested] == ["scanner"]


def test_correction_keeps_the_rate_of_the_family():
    rng = np.random.default_rng(0)
    smallest = [corrected(list(rng.normal(size=(10, 200)))).min() for _ in range(300)]
    assert 0.02 < np.mean(np.array(smallest) <= 0.05) < 0.08
    same = rng.normal(size=200)
    same[0] = np.quantile(same, 0.975)
    assert corrected([same] * 10)[0] < 0.05  # ten times the same test costs nothing
    assert corrected([np.full(200, 0.5)])[0] == 1.0
