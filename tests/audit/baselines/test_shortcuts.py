import numpy as np
import pytest

from vitlab.audit.baselines.shortcuts import ANATOMY, corrected, find_shortcuts


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
    found = find_shortcuts(images, groups % 2, groups, {}, n_classes=2, seed=0)
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
        found = find_shortcuts(images, targets, groups, {"scanner": scanner}, n_classes=2, seed=seed)
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
    by_patient = find_shortcuts(images, targets, groups, {}, n_classes=2, seed=0)
    by_image = find_shortcuts(images, targets, np.arange(len(groups)), {}, n_classes=2, seed=0)
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
    found = {s.name: s.named for s in find_shortcuts(images, targets, groups, columns, n_classes=2, seed=0)}
    assert found["prefix of patient_id"] and "column diagnosis" not in found and not found["column plane"]
    assert "column scanner" not in found  # it splits the images as the prefix does, and counts once


def test_a_small_effect_is_not_named_however_sure():
    """One of a hundred images more than chance is no shortcut."""
    from vitlab.audit.baselines.shortcuts import _judge

    groups = np.arange(10_000)
    assert not _judge("file size", 0.51, 0.505, 0.515, 0.002, 2, groups).named
    assert _judge("file size", 0.61, 0.605, 0.615, 0.002, 2, groups).named
    assert not _judge("file size", 0.61, 0.605, 0.615, 0.06, 2, groups).named
    assert not _judge("file size", 0.61, 0.49, 0.7, 0.002, 2, groups).named


def test_classes_of_a_few_patients_are_left_out(clustered):
    _, images, groups = clustered(patients=30)
    targets = np.where(groups < 4, 2, groups % 2)
    found = find_shortcuts(images, targets, groups, {}, n_classes=3, seed=0)
    assert {shortcut.n for shortcut in found} == {int((groups >= 4).sum())} and found[0].chance == 0.5
    assert find_shortcuts(images, np.where(groups < 4, 1, 0), groups, {}, n_classes=2, seed=0) == []


def test_correction_keeps_the_rate_of_the_family():
    rng = np.random.default_rng(0)
    smallest = [corrected(list(rng.normal(size=(10, 200)))).min() for _ in range(300)]
    assert 0.02 < np.mean(np.array(smallest) <= 0.05) < 0.08
    same = rng.normal(size=200)
    same[0] = np.quantile(same, 0.975)
    assert corrected([same] * 10)[0] < 0.05  # ten times the same test costs nothing
    assert corrected([np.full(200, 0.5)])[0] == 1.0
