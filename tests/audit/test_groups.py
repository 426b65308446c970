"""Groups and leaks, against answers by hand."""

import numpy as np
import pytest

from vitlab.audit.copies.pairs import Pairs
from vitlab.audit.groups import (
    find_groups,
    known_patients,
    name_groups,
    patients_across,
    patients_alike,
    published_patients,
)
from vitlab.audit.images import Images
from vitlab.audit.leaks import count_splits, seen_in_training
from vitlab.data.manifest import Manifest


def pairs(*found):
    first, second, kind, score = zip(*found, strict=True) if found else ((), (), (), ())
    return Pairs(np.array(first, int), np.array(second, int), np.array(kind, object), np.array(score, np.float32))


def manifest(patients, split, label=None):
    count = len(patients)
    columns = {"path": [f"{row}.png" for row in range(count)], "label": label or ["x"] * count}
    return Manifest({**columns, "patient_id": patients, "split": split})


def test_patients_and_pairs_join_along_the_chain():
    table = manifest(["a", "a", "b", "", "", "", "c"], ["train"] * 7)
    groups = find_groups(table, pairs((1, 2, "resized", 0.9), (3, 4, "neighbour", 0.9)))
    assert [np.flatnonzero(groups == groups[row]).tolist() for row in (0, 3, 5, 6)] == [[0, 1, 2], [3, 4], [5], [6]]
    names, origins = name_groups(table.patient_id, groups)
    assert names[0] == names[2] == "a+b" and names[3] == names[4] != names[5] and names[6] == "c"
    assert origins.tolist() == ["copies"] * 5 + ["single image", "published"]
    origins = name_groups(np.array(["a", ""], object), np.zeros(2, int))[1]
    assert origins.tolist() == ["published", "copies"]  # the second is a's by a copy alone
    assert len(find_groups(manifest([], []), pairs())) == 0


def test_patients_on_two_sides_are_counted():
    table = manifest(["a", "a", "b", "b", "b", "", "c"], ["train", "test", "val", "test", "test", "test", ""])
    assert patients_across(table.patient_id, table.split) == [
        {"patient": "b", "splits": {"val": 1, "test": 2}},
        {"patient": "a", "splits": {"train": 1, "test": 1}},
    ]


def test_pairs_between_two_patients_say_that_they_may_be_one():
    table = manifest(["a", "b", "b", "", "c", "c"], ["train", "test", "test", "test", "val", "val"])
    found = patients_alike(
        table.patient_id,
        pairs((0, 1, "neighbour", 0.8), (0, 2, "neighbour", 0.9), (2, 3, "resized", 1), (4, 5, "resized", 1)),
        table.split,
    )
    (one,) = found
    assert one["score"] == pytest.approx(0.9)
    assert one == {"patients": ["a", "b"], "pairs": 2, "score": one["score"], "splits": [["train"], ["test"]]}


def test_after_a_repair_one_person_has_one_name_and_stand_ins_are_no_patients():
    table = manifest(["a+b", "a+b", "group000001", "c"], ["train"] * 4).with_columns(
        original_patient_id=["a", "b", "", "c"],
        patient_id_origin=["copies", "copies", "copies", "published"],
    )
    assert known_patients(table).tolist() == ["a+b", "a+b", "", "c"]
    assert published_patients(table).tolist() == ["a", "b", "", "c"]


def images(digests):
    digests = np.array(digests, object)
    empty, numbers = np.full(len(digests), "", object), np.zeros(len(digests), np.int64)
    spread = np.where(digests == "blank", 0, 50).astype(np.float32)
    error = np.where(digests == "", "broken", "")
    squares = np.zeros((len(digests), 96, 96), np.uint8)
    box = np.zeros((len(digests), 4), np.float32)
    return Images(
        error, empty, digests, digests, empty, empty, numbers, numbers, numbers, numbers, spread, box, squares, squares
    )


def test_splits_are_counted_as_the_schema_says():
    #          0        1       2       3       4       5       6       7      8
    split = ["train", "train", "test", "test", "test", "test", "test", "val", "test"]
    pixels = ["p", "q", "p", "r", "r", "s", "t", "q", ""]
    label = np.array(["x", "y", "x", "x", "x", "y", "y", "y", "x"], object)
    table = manifest([""] * 9, split)
    # 3 is a near copy of training image 1, which counts for 4 too, as it has the pixels of 3; 5 is one of 6 only.
    near = pairs((0, 2, "same pixels", 1), (1, 3, "cropped", 0.9), (5, 6, "resized", 0.9), (1, 7, "same file", 1))
    seen = seen_in_training(images(pixels), near, table.split)
    assert seen.identical.tolist() == [False, False, True, False, False, False, False, True, False]
    assert np.flatnonzero(seen.near).tolist() == [3, 4]
    found = count_splits(seen, table.split, label)
    x = {"n": 3, "identical_in_train": 1, "near_in_train": 2, "unseen": 2}
    y = {"n": 2, "identical_in_train": 0, "near_in_train": 0, "unseen": 2}
    assert found["test"] == {
        "n": 5, "identical_in_train": 1, "near_in_train": 2, "unseen": 4, "unseen_distinct": 3, "unreadable": 1,
        "unlabelled": 0,
        "by_class": {"x": x, "y": y},
    }  # fmt: skip
    assert found["val"]["identical_in_train"] == 1 and "train" not in found


def test_a_family_of_copies_is_near_along_its_chain_and_blank_images_are_alone():
    table = manifest([""] * 6, ["train", "test", "test", "test", "train", "test"])
    chain = pairs((0, 1, "resized", 1), (1, 2, "cropped", 0.9), (2, 3, "neighbour", 0.9))
    seen = seen_in_training(images(["p", "q", "r", "s", "blank", "blank"]), chain, table.split)
    assert np.flatnonzero(seen.near).tolist() == [1, 2, 3] and not seen.identical.any()


def test_a_padded_copy_is_near_and_not_identical():
    table = manifest(["", ""], ["train", "test"])
    seen = seen_in_training(images(["p", "q"]), pairs((0, 1, "padded", 1)), table.split)
    assert (seen.identical[1], seen.near[1]) == (False, True)


def test_no_two_groups_get_one_name():
    published = np.array(["A", "B", "A+B", "", "group000002"], object)
    names, _ = name_groups(published, np.array([0, 0, 1, 2, 3]))
    assert names[0] == names[1] and len(set(names)) == 4
    assert names[[2, 4]].tolist() == ["A+B", "group000002"]  # who has a name keeps it
