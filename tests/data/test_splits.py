"""Splits on the real patients of cheng, and on small manifests with a known answer."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from vitlab.data.manifest import Manifest
from vitlab.data.splits import assign_splits, nested_subset, stratified_group_folds

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0)


@pytest.fixture(scope="module")
def cheng(data_root):
    return Manifest.read(data_root / "cheng" / "manifest.csv", columns={"patient_id": "patient_base"})


@pytest.fixture(scope="module")
def unfolded(cheng):
    return Manifest({name: values for name, values in cheng.columns.items() if name != "fold"}, cheng.root)


def small(patients=30, slices=4, classes="abc", **columns):
    """Return a manifest of `slices` images of each of `patients` patients, classes in turn."""
    owner = np.repeat(np.arange(patients), slices)
    basic = {
        "path": [f"{row}.png" for row in range(len(owner))],
        "label": [classes[number % len(classes)] for number in owner],
        "patient_id": [f"p{number}" for number in owner],
    }
    return Manifest(basic | columns)


def quietly(manifest, **settings):
    """Split, and fail on any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return assign_splits(manifest, **settings)


def patients(manifest, split):
    return set(manifest.patient_id[manifest.split == split])


def assert_apart(manifest):
    train, val, test = (patients(manifest, split) for split in ("train", "val", "test"))
    assert train and val and test
    assert not (train & val or train & test or val & test)


def shares(targets):
    return np.bincount(targets) / len(targets)


# Folds


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_folds_of_real_patients_are_whole_and_alike(cheng, n_folds, seed):
    groups = cheng.groups.astype(str)
    folds = stratified_group_folds(cheng.targets, groups, n_folds, seed)
    assert len(set(zip(groups, folds, strict=True))) == 209
    sizes = np.bincount(folds)[1:]
    assert len(sizes) == n_folds
    np.testing.assert_allclose(sizes, len(cheng) / n_folds, rtol=0.03)
    for fold in range(1, n_folds + 1):
        np.testing.assert_allclose(shares(cheng.targets[folds == fold]), shares(cheng.targets), atol=0.03)


def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows(cheng):
    groups = cheng.groups.astype(str)
    folds = stratified_group_folds(cheng.targets, groups, 5, 0)
    order = np.random.default_rng(0).permutation(len(cheng))
    shuffled = stratified_group_folds(cheng.targets[order], groups[order], 5, 0)
    np.testing.assert_array_equal(shuffled, folds[order])
    assert np.mean(stratified_group_folds(cheng.targets, groups, 5, 1) != folds) > 0.6


def test_folds_are_the_same_on_every_machine():
    """Known folds: they change only if someone changes the method, which ends the comparability of runs."""
    manifest = small(patients=12, slices=2)
    folds = stratified_group_folds(manifest.targets, manifest.groups.astype(str), 3, seed=7)
    assert "".join(map(str, folds[::2])) == "322123133211"


def test_folds_in_another_process_with_another_hash_seed(tmp_path):
    code = (
        "import numpy as np; from vitlab.data.splits import stratified_group_folds as f\n"
        "g = np.array([f'p{i // 3}' for i in range(300)]); print(*f(np.arange(300) // 3 % 4, g, 4, 0))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": s}, capture_output=True, text=True).stdout
        for s in ("1", "2")
    }
    assert len(outputs) == 1 and len(outputs.pop().split()) == 300


def test_patients_with_slices_of_two_classes_stay_whole():
    rng = np.random.default_rng(0)
    groups = np.array([f"p{number:03}" for number in rng.integers(0, 60, 600)])
    targets = rng.integers(0, 3, 600)
    folds = stratified_group_folds(targets, groups, 4, 0)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    np.testing.assert_allclose(np.bincount(folds)[1:], 150, rtol=0.05)


def test_a_class_of_as_many_patients_as_folds_is_in_every_fold():
    sizes = [1, 9, 30, 2, 17] + [5] * 40
    groups = np.repeat([f"p{number}" for number in range(45)], sizes)
    targets = np.repeat([1] * 5 + [0] * 40, sizes)
    folds = stratified_group_folds(targets, groups, 5, 0)
    assert set(folds[targets == 1]) == {1, 2, 3, 4, 5}


def test_many_single_images():
    targets = np.arange(20_000) % 7
    groups = np.array([f"image:{row}" for row in range(20_000)])
    folds = stratified_group_folds(targets, groups, 5, 0)
    table = np.histogram2d(targets, folds, bins=(7, 5))[0]
    assert np.ptp(table, axis=1).max() <= 1


def test_unlabelled_rows_are_dealt_too():
    targets = np.repeat([0, 1, -1], 40)
    folds = stratified_group_folds(targets, np.array([f"p{row // 2}" for row in range(120)]), 4, 0)
    assert (np.bincount(folds[targets == -1])[1:] == 10).all()


# Splits


def test_published_folds_of_cheng(cheng):
    result = quietly(cheng, fold=1)
    assert [(result.split == split).sum() for split in ("train", "val", "test")] == [1838, 613, 613]
    for fold, split in (("1", "test"), ("2", "val"), ("3", "train"), ("4", "train"), ("5", "train")):
        assert set(result.split[cheng.columns["fold"] == fold]) == {split}
    assert_apart(result)
    assert result.columns.keys() >= cheng.columns.keys() and result.root == cheng.root
    last = quietly(cheng, fold=5)
    assert set(last.split[cheng.columns["fold"] == "1"]) == {"val"}


def test_made_folds_test_every_patient_once(unfolded):
    results = [quietly(unfolded, fold=fold) for fold in range(1, 6)]
    for result in results:
        assert_apart(result)
    tests = [patients(result, "test") for result in results]
    assert sum(map(len, tests)) == len(set.union(*tests)) == 209
    assert patients(results[0], "val") == tests[1] and patients(results[4], "val") == tests[0]


def test_a_published_test_stays_the_test_and_the_fold_is_val():
    manifest = small(split=["train"] * 80 + ["test"] * 40)
    results = [quietly(manifest, fold=fold, n_folds=4) for fold in (1, 2, 3, 4)]
    for result in results:
        np.testing.assert_array_equal(result.split == "test", manifest.split == "test")
        assert_apart(result)
    assert set.union(*(patients(result, "val") for result in results)) == patients(manifest, "train")


@pytest.mark.parametrize("group_by", ["patient", "image"])
@pytest.mark.parametrize("held_out", ["test", "val"])
def test_what_published_splits_leave_out_is_in_no_fold(group_by, held_out):
    """With a published test, and with a test that the folds make."""
    split = ["train"] * 60 + [held_out] * 40 + [""] * 20
    manifest, inside = small(split=split), np.arange(100)
    alone = small().with_columns(split=split).where(inside)
    folds = np.full(120, "", object)
    settings = {"n_folds": 4, "group_by": group_by}
    for fold in (1, 2, 3, 4):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*on two sides")
            found = assign_splits(manifest, fold=fold, **settings).split
            np.testing.assert_array_equal(found[:100], assign_splits(alone, fold=fold, **settings).split)
        assert set(found[100:]) == {""}
        folds[found == ("val" if held_out == "test" else "test")] = str(fold)
    if group_by == "patient":  # as a repaired manifest keeps them
        kept = manifest.with_columns(fold=folds)
        np.testing.assert_array_equal(quietly(kept, fold=4).split, found)


def test_a_fold_takes_what_has_no_split_where_nothing_is_published_as_train():
    manifest = small(split=[""] * 80 + ["test"] * 40)
    published = small(split=["train"] * 80 + ["test"] * 40)
    np.testing.assert_array_equal(quietly(manifest, fold=1).split, quietly(published, fold=1).split)


def test_a_fold_column_beside_a_published_test():
    manifest = small(split=[""] * 80 + ["test"] * 40, fold=[str(row // 4 % 2 + 1) for row in range(80)] + [""] * 40)
    result = quietly(manifest, fold=2)
    assert [(result.split == split).sum() for split in ("train", "val", "test")] == [40, 40, 40]


def test_the_same_rows_are_dealt_by_patients_and_by_images():
    fold = [str(row // 4 % 4 + 1) for row in range(80)] + [""] * 40
    manifest = small(split=["train"] * 40 + [""] * 80, fold=fold)
    with pytest.warns(UserWarning, match="are on two sides"):
        by_image = assign_splits(manifest, fold=1, n_folds=4, group_by="image").split
    np.testing.assert_array_equal(by_image != "", quietly(manifest, fold=1).split != "")
    assert (by_image != "").sum() == 80


def test_published_splits_are_kept():
    split = ["train"] * 60 + ["val"] * 24 + ["test"] * 24 + [""] * 12
    np.testing.assert_array_equal(quietly(small(split=split)).split, split)


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_published_is_cut_by_patient(unfolded, seed):
    result = quietly(unfolded, val_fraction=0.15, test_fraction=0.2, seed=seed)
    assert_apart(result)
    for split, share in (("train", 0.68), ("val", 0.12), ("test", 0.2)):
        chosen = result.split == split
        assert abs(chosen.mean() - share) < 0.01
        np.testing.assert_allclose(shares(unfolded.targets[chosen]), shares(unfolded.targets), atol=0.02)
    assert patients(result, "test") != patients(quietly(unfolded, seed=seed + 1), "test")


def test_a_missing_val_is_cut_from_train_alone():
    manifest = small(patients=60, split=["train"] * 160 + ["test"] * 80)
    result = quietly(manifest, val_fraction=0.25)
    np.testing.assert_array_equal(result.split == "test", manifest.split == "test")
    assert abs((result.split == "val").sum() - 40) <= 4  # within a patient
    assert_apart(result)


def test_a_missing_test_is_cut_from_train_alone():
    manifest = small(patients=60, split=["train"] * 200 + ["val"] * 40)
    result = quietly(manifest, test_fraction=0.2)
    np.testing.assert_array_equal(result.split == "val", manifest.split == "val")
    assert abs((result.split == "test").sum() - 40) <= 4  # within a patient
    assert_apart(result)


def test_cuts_do_not_depend_on_the_order_of_rows(unfolded):
    order = np.random.default_rng(0).permutation(len(unfolded))
    for manifest in (unfolded, unfolded.with_columns(patient_id=[""] * len(unfolded))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain, shuffled = (assign_splits(m, label_fraction=0.3) for m in (manifest, manifest.where(order)))
        np.testing.assert_array_equal(shuffled.split, plain.split[order])


# Label fractions


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_label_fractions_are_nested_by_patient_and_keep_every_class(cheng, seed):
    whole = quietly(cheng, fold=1, seed=seed)
    inner: set[str] = set()
    for fraction in FRACTIONS:
        result = quietly(cheng, fold=1, label_fraction=fraction, seed=seed)
        kept = patients(result, "train")
        assert inner <= kept
        assert set(result.label[result.split == "train"]) == set(cheng.classes)
        mine = np.isin(whole.patient_id, list(kept))
        np.testing.assert_array_equal(result.split == "train", (whole.split == "train") & mine)  # patients are whole
        for split in ("val", "test"):
            np.testing.assert_array_equal(result.split == split, whole.split == split)
        if fraction >= 0.1:
            share = (result.split == "train").sum() / (whole.split == "train").sum()
            assert abs(share - fraction) < 0.03
        inner = kept
    assert inner == patients(whole, "train")


def test_label_fractions_depend_on_the_seed(cheng):
    first, second = (patients(quietly(cheng, fold=1, label_fraction=0.1, seed=seed), "train") for seed in (0, 1))
    assert len(first & second) < len(first) / 2


def test_label_fractions_where_patients_have_two_classes():
    rng = np.random.default_rng(0)
    groups = np.array([f"p{number:03}" for number in rng.integers(0, 80, 800)])
    # Class 2 is rare and never the class of most slices of its patients.
    targets = np.where(rng.random(800) < 0.04, 2, np.char.endswith(groups, "1").astype(int))
    inner = np.zeros(800, bool)
    for fraction in FRACTIONS:
        kept = nested_subset(targets, groups, fraction, 0)
        assert (kept | ~inner).all() and set(targets[kept]) == {0, 1, 2}
        assert not set(groups[kept]) & set(groups[~kept])
        inner = kept
    assert inner.all()


def test_groups_without_labels_are_kept():
    targets = np.repeat([0, 1, -1], 40)
    kept = nested_subset(targets, np.array([f"p{row}" for row in range(120)]), 0.1, 0)
    assert kept[targets == -1].all() and kept[targets >= 0].sum() == 8


# Warnings and mistakes


def test_without_patient_ids_each_image_is_its_own_group_and_that_is_said_once():
    manifest = small(patient_id=[""] * 120)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(2):
            result = assign_splits(manifest, fold=1)
    assert [str(warning.message) for warning in seen] == ["no patient ids: each image is its own group"]
    assert (result.split == "test").sum() == 24


def test_some_missing_patient_ids_are_counted():
    manifest = small(patient_id=[""] * 7 + [f"p{row // 4}" for row in range(7, 120)])
    with pytest.warns(UserWarning, match="no patient ids in 7 of 120 rows: each of these images is"):
        assign_splits(manifest)


def test_patients_on_two_sides_of_published_splits_are_reported():
    manifest = small(split=["train"] * 62 + ["val"] * 20 + ["test"] * 38)
    with pytest.warns(UserWarning, match="2 of 30 patients are on two sides of the manifest's splits, e.g. p15"):
        result = assign_splits(manifest)
    np.testing.assert_array_equal(result.split, manifest.split)


def test_a_class_that_val_lacks_is_reported():
    manifest = small(split=["train"] * 80 + ["val"] * 4 + ["test"] * 36)
    with pytest.warns(UserWarning, match="no val image of 'a', 'b'"):
        assign_splits(manifest)


ONE_PATIENT_OF_B = {"label": ["a"] * 116 + ["b"] * 4}


@pytest.mark.parametrize(
    ("columns", "settings", "words"),
    [
        ({}, {"fold": 6}, "fold 6 does not exist: the folds are 1 to 5"),
        ({}, {"fold": 0}, "fold 0 does not exist"),
        ({"fold": ["1", "2", "3"] * 40}, {"fold": 4}, "fold 4 does not exist: the folds are 1 to 3"),
        ({"fold": ["one"] * 120}, {"fold": 1}, "the column 'fold' must hold whole numbers"),
        ({"fold": ["1", "2", ""] * 40}, {"fold": 1}, "40 rows without a fold .* first row 3"),
        ({"fold": ["1", "2"] * 60}, {"fold": 1}, "2 folds are too few for train, val and test: give at least 3"),
        ({}, {"fold": 1, "n_folds": 1}, "1 folds are too few"),
        ({}, {"fold": 1, "n_folds": 11}, "class 'a' has 10 patients, too few for 11 folds: set n_folds to at most 10"),
        (ONE_PATIENT_OF_B, {"fold": 1}, "class 'b' has 1 patient, too few for 5 folds: find 3 at least"),
        ({}, {"label_fraction": 0}, "label_fraction is 0; give a share above 0 and at most 1"),
        ({}, {"label_fraction": 1.5}, "label_fraction is 1.5"),
        ({}, {"val_fraction": 1}, "val_fraction is 1; give a share above 0 and below 1"),
        ({}, {"test_fraction": 0}, "test_fraction is 0"),
        ({"split": ["val", "test"] * 60}, {}, "no row is left for training"),
        (ONE_PATIENT_OF_B | {"split": ["train"] * 100 + ["test"] * 20}, {}, "no train image of 'b'"),
    ],
)
def test_mistakes_are_one_clear_line(columns, settings, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=words) as error:
            assign_splits(small(**columns), **settings)
    assert "\n" not in str(error.value)


def test_a_single_patient_of_a_class_is_trained_on():
    with pytest.warns(UserWarning, match="no (val|test) image of 'b'"):
        result = assign_splits(small(**ONE_PATIENT_OF_B))
    assert set(result.split[result.label == "b"]) == {"train"}


def test_images_may_be_dealt_whatever_patient_they_show_and_the_leak_is_named(cheng):
    with pytest.warns(UserWarning, match="of 209 patients are on two sides"):
        leaking = assign_splits(cheng, fold=1, group_by="image")
    clean = assign_splits(cheng, fold=1)
    for manifest, shared in ((leaking, True), (clean, False)):
        train, test = (set(manifest.patient_id[manifest.split == part]) for part in ("train", "test"))
        assert bool(train & test) is shared
    assert abs((leaking.split == "test").mean() - 0.2) < 0.01
    assert leaking.columns["fold"].tolist() == cheng.columns["fold"].tolist()


def test_every_image_is_tested_once_over_the_folds_of_images():
    manifest = small(fold=[str(1 + number % 3) for number in range(120)])
    with pytest.warns(UserWarning, match="on two sides"):
        splits = [assign_splits(manifest, fold=fold, n_folds=4, group_by="image").split for fold in (1, 2, 3, 4)]
    assert (np.sum([split == "test" for split in splits], axis=0) == 1).all()
