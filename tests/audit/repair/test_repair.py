"""Repairing a manifest: nothing on two sides afterwards, and as little changed as that takes."""

import numpy as np
import pytest

from tests.audit.test_groups import pairs
from vitlab.audit.groups import find_groups
from vitlab.audit.repair.repair import repair
from vitlab.audit.repair.words import in_words
from vitlab.data.manifest import Manifest


def table(count, **columns):
    return Manifest({"path": [f"{row}.png" for row in range(count)], "label": ["x"] * count, **columns})


def fixed(manifest, found, picture=None, ok=None, **settings):
    picture = np.unique(np.arange(len(manifest)) if picture is None else picture, return_inverse=True)[1]
    return repair(manifest, found, picture, np.ones(len(manifest), bool) if ok is None else np.array(ok), **settings)


def sizes(done):
    return {near.name: (near.before, near.after) for near in done.near}


def test_of_exact_copies_those_stay_that_keep_the_sizes():
    manifest = table(5, split=["train", "train", "train", "test", "test"])
    found = pairs((0, 3, "same file", 1), (1, 4, "padded", 1))
    done = fixed(manifest, found, picture=[0, 1, 2, 0, 4])
    assert sizes(done) == {"train": (3, 2), "test": (2, 1)}  # 3 to 2 of three images
    assert len(done.changes) == 2 and all(change == "dropped" for _, change, _ in done.changes)
    for path, _, why in done.changes:
        assert why == {"0.png": "a copy of 3.png", "1.png": "a copy of 4.png", "3.png": "a copy of 0.png",
                       "4.png": "a copy of 1.png"}[path]  # fmt: skip
    kept = fixed(manifest, found, picture=[0, 1, 2, 0, 4], drop="none")
    assert len(kept.manifest) == 5
    sides = dict(zip(kept.manifest.path, kept.manifest.split, strict=True))
    assert sides["0.png"] == sides["3.png"] and sides["1.png"] == sides["4.png"]


def test_near_copies_move_or_go_and_neighbours_only_move():
    manifest = table(6, split=["train", "test", "train", "test", "train", "test"])
    found = pairs((0, 1, "cropped", 0.95), (2, 3, "neighbour", 0.9))
    moved = fixed(manifest, found)
    assert len(moved.manifest) == 6 and len(moved.changes) == 2
    sides = moved.manifest.split
    assert sides[0] == sides[1] and sides[2] == sides[3]
    assert moved.manifest.patient_id[0] == moved.manifest.patient_id[1] != moved.manifest.patient_id[2]
    assert moved.manifest.column("patient_id_origin").tolist() == ["copies"] * 4 + ["single image"] * 2
    dropped = fixed(manifest, found, drop="near")
    assert len(dropped.manifest) == 5


def test_conflicts_go_with_all_their_copies_or_stay():
    manifest = table(6, split=["train", "train", "test", "test", "train", "test"], label=["x", "y", "y", "x", "x", "x"])
    # 5 has the pixels of 3, which is a near copy of 2 with another label.
    found, picture = pairs((0, 1, "same pixels", 1), (2, 3, "brightness", 0.97)), [0, 0, 2, 3, 4, 3]
    done = fixed(manifest, found, picture=picture)
    assert done.manifest.path.tolist() == ["4.png"]
    assert done.changes[0] == ("0.png", "dropped", "label x, but the same picture is y in 1.png")
    assert done.changes[-1] == ("5.png", "dropped", "label x, but the same picture is y in 2.png")
    assert len(fixed(manifest, found, picture=picture, conflicts="keep").manifest) == 4
    with pytest.raises(ValueError, match="would drop every image"):
        fixed(manifest.where([0, 1]), found.where(np.array([0])), picture=[0, 0])


def test_unreadable_images_go():
    done = fixed(table(3, split=["train", "test", "test"]), pairs(), ok=[True, False, True])
    assert done.manifest.path.tolist() == ["0.png", "2.png"]
    assert done.changes == [("1.png", "dropped", "cannot be read")]


def test_published_patients_keep_their_names_and_joined_ones_say_so():
    manifest = table(5, patient_id=["a", "a", "b", "c", ""], split=["train", "test", "test", "train", "train"])
    done = fixed(manifest, pairs((1, 2, "neighbour", 0.9)))
    assert done.manifest.patient_id[:4].tolist() == ["a+b", "a+b", "a+b", "c"]
    assert done.manifest.column("original_patient_id").tolist() == ["a", "a", "b", "c", ""]
    assert len(set(done.manifest.split[:3])) == 1


def test_folds_are_repaired_like_splits():
    manifest = table(6, fold=["1", "2", "1", "2", "3", "3"], split=[""] * 6)
    done = fixed(manifest, pairs((0, 1, "neighbour", 0.9), (4, 5, "neighbour", 0.9)))
    fold = done.manifest.column("fold").tolist()
    assert fold[0] == fold[1] and fold[4:] == ["3", "3"]
    assert sizes(done) == {f"fold {number}": (2, 2) for number in (1, 2, 3)}
    assert done.manifest.split.tolist() == [""] * 6
    assert sorted(why.split(":")[0] for _, _, why in done.changes) == ["balance", "tangled"]


@pytest.mark.parametrize("seed", range(5))
def test_random_tangles_end_on_one_side_with_sizes_and_classes_near(seed):
    rng = np.random.default_rng(seed)
    count = 600
    manifest = table(
        count,
        label=rng.choice(["x", "y", "z"], count, p=[0.6, 0.3, 0.1]),
        split=rng.choice(["train", "val", "test"], count, p=[0.7, 0.1, 0.2]),
    )
    ends = rng.integers(0, count, (90, 2))
    found = pairs(*((min(a, b), max(a, b), "neighbour", 0.9) for a, b in ends.tolist() if a != b))
    done = fixed(manifest, found)
    groups = find_groups(manifest, found)
    for group in np.unique(groups):
        assert len(set(done.manifest.split[groups == group])) == 1
    listed = {path for path, change, _ in done.changes if change.startswith("split")}
    assert listed == set(manifest.path[manifest.split != done.manifest.split])
    assert len(listed) < 90
    assert {why.split(":")[0] for _, _, why in done.changes} <= {"tangled", "balance"}
    for near in done.near:
        assert abs(near.after - near.before) <= 1 and near.classes < 1, near


@pytest.mark.parametrize("order", [1, 2])
def test_neither_the_order_of_the_rows_nor_anything_but_the_seed_decides(order):
    rng = np.random.default_rng(0)
    manifest = table(
        300,
        label=rng.choice(["x", "y"], 300).tolist(),
        patient_id=[f"p{row // 3}" for row in range(300)],
        split=rng.choice(["train", "test"], 300, p=[0.7, 0.3]).tolist(),
    )

    def sides(rows, seed=0):
        fixed_ = fixed(manifest.where(rows), pairs(), seed=seed).manifest
        return dict(zip(fixed_.path, fixed_.split, strict=True))

    assert sides(np.random.default_rng(order).permutation(300)) == sides(np.arange(300))
    assert sides(np.arange(300), seed=order) != sides(np.arange(300))


def test_where_copies_of_one_class_go_the_test_keeps_its_classes_and_training_gives_most():
    label = ["x"] * 600 + ["y"] * 400
    split = (["train"] * 5 + ["test"]) * 100 + (["train"] * 3 + ["test"]) * 100
    picture = np.arange(1000)
    picture[1:600:3] = picture[0:600:3]  # 200 of x are copies of others
    done = fixed(table(1000, label=label, split=split), pairs(), picture=picture)
    train, test = done.near
    assert len(done.manifest) == 800 and (test.before, test.after) == (200, 160)
    assert test.classes < 4 and done.dropped_classes == pytest.approx(10)
    assert done.dropped_classes < train.classes < 13 and max(train.off, test.off) < 0.5


def test_one_patient_of_most_images_is_said_to_be_the_reason():
    manifest = table(40, patient_id=["a"] * 25 + [f"p{row}" for row in range(15)], split=["test", "train"] * 20)
    done = fixed(manifest, pairs())
    assert done.largest_group == 25
    assert "no nearer, as groups stay whole and the largest has 25 of 40 images" in in_words(done)
    assert "no nearer" not in in_words(fixed(table(40, split=["test", "train"] * 20), pairs()))


def test_published_test_images_and_folds_stay_apart():
    manifest = table(6, split=["train", "test", "train", "train", "test", "train"], fold=["1", "", "2", "3", "", "1"])
    done = fixed(manifest, pairs((0, 1, "neighbour", 0.9), (3, 4, "neighbour", 0.9)))
    split, fold = done.manifest.split, done.manifest.column("fold")
    assert ((split == "test") == (fold == "")).all() and set(fold) <= {"", "1", "2", "3"}
    assert split[0] == split[1] and fold[0] == fold[1] and split[3] == split[4] and fold[3] == fold[4]


def test_images_that_are_left_out_stay_out():
    manifest = table(4, split=["train", "", "test", ""])
    done = fixed(manifest, pairs((0, 1, "neighbour", 0.9), (2, 3, "neighbour", 0.9)))
    assert done.manifest.split.tolist() == ["train", "", "test", ""] and done.changes == []
    assert done.manifest.patient_id[0] == done.manifest.patient_id[1]


def test_a_second_repair_knows_stand_ins_from_patients():
    manifest = table(4, patient_id=["a", "", "", ""], split=["train", "train", "test", "test"])
    once = fixed(manifest, pairs((0, 1, "neighbour", 0.9), (2, 3, "neighbour", 0.9))).manifest
    assert once.column("patient_id_origin").tolist() == ["published", "copies", "copies", "copies"]
    again = fixed(once, pairs((1, 2, "neighbour", 0.9))).manifest
    assert again.column("original_patient_id").tolist() == ["a", "", "", ""]
    assert again.column("patient_id_origin").tolist() == ["published", "copies", "copies", "copies"]
    assert len(set(again.patient_id)) == 1 and len(set(again.split)) == 1
    words = in_words(fixed(once, pairs((1, 2, "neighbour", 0.9))))
    assert "(nothing left)" in words and "no image is left in" in words and "the largest group" in words
