"""ImageFolder: which images and classes it finds in which layout, and what it says of the rest."""

import warnings

import pytest

from vitlab.data.sources import ImageFolder


def test_class_folders_without_splits(tmp_path, png, cached):
    for label, number in (("cat", 3), ("dog", 2)):
        for n in range(number):
            png(tmp_path / "pets" / label / f"{n}.PNG")
    png(tmp_path / "pets" / "dog" / "patient 7" / "deep.jpg")
    source = ImageFolder(str(tmp_path / "pets"))
    manifest = source.manifest()
    assert source.name == "pets"
    assert manifest.path.tolist() == [
        "cat/0.PNG", "cat/1.PNG", "cat/2.PNG", "dog/0.PNG", "dog/1.PNG", "dog/patient 7/deep.jpg",
    ]  # fmt: skip
    assert manifest.label.tolist() == ["cat"] * 3 + ["dog"] * 3 and set(manifest.split) == {"train"}
    assert cached(source).ok.all()


@pytest.mark.parametrize(
    "names",
    [("train", "test"), ("Training", "Testing"), ("TRAIN", "valid", "test"), ("training", "Validation", "testing")],
)
def test_published_splits(tmp_path, names, png):
    for name in names:
        for label in "ab":
            png(tmp_path / name / label / "1.png")
    manifest = ImageFolder(str(tmp_path)).manifest()
    manifest.check()
    expected = ["train", "val", "test"] if len(names) == 3 else ["train", "test"]
    assert list(dict.fromkeys(manifest.split)) == expected
    for path, split in zip(manifest.path, manifest.split, strict=True):
        assert path.startswith(names[expected.index(split)])


def test_a_class_spelt_in_another_case_is_the_same_class(tmp_path, png):
    for path in ("train/Glioma", "train/none", "test/glioma", "test/None"):
        png(tmp_path / path / "1.png")
    manifest = ImageFolder(str(tmp_path)).manifest()
    assert dict(zip(manifest.path, manifest.label, strict=True)) == {
        "train/Glioma/1.png": "Glioma", "train/none/1.png": "none",
        "test/glioma/1.png": "Glioma", "test/None/1.png": "none",
    }  # fmt: skip


def test_letters_are_not_merged(tmp_path, png):
    for path in ("train/a", "train/A", "test/A", "test/a"):
        png(tmp_path / path / "1.png")
    if len(list((tmp_path / "train").iterdir())) < 2:
        pytest.skip("a file system that does not tell case apart")
    assert ImageFolder(str(tmp_path)).manifest().classes == ["A", "a"]


def test_other_files_are_counted_and_named_once(tmp_path, png):
    for label in "ab":
        png(tmp_path / "train" / label / "1.png")
        (tmp_path / "train" / label / ".DS_Store").write_text("x")
    (tmp_path / "train" / "a" / "notes.txt").write_text("x")
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "docs").mkdir()
    (tmp_path / ".git").mkdir()
    with pytest.warns(UserWarning) as seen:
        manifest = ImageFolder(str(tmp_path)).manifest()
    assert len(manifest) == 2 and len(seen) == 1
    assert str(seen[0].message).startswith("3 files or folders") and "docs" in str(seen[0].message)


def test_linked_folders_are_followed_once(tmp_path, png):
    png(tmp_path / "elsewhere" / "1.png")
    for label in "ab":
        png(tmp_path / "set" / label / "0.png")
    (tmp_path / "set" / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "a" / "loop").symlink_to(tmp_path / "set" / "a")
    (tmp_path / "set" / "a" / "up").symlink_to("..")
    (tmp_path / "set" / "all").symlink_to(".")
    (tmp_path / "set" / "a" / "other").symlink_to("../b")  # b comes later, but by itself
    with pytest.warns(UserWarning) as seen:
        manifest = ImageFolder(str(tmp_path / "set")).manifest()
    assert manifest.path.tolist() == ["a/0.png", "a/again/1.png", "b/0.png"]
    assert manifest.label.tolist() == ["a", "a", "b"]
    assert len(seen) == 1 and "left out (6, e.g. a/again/back)" in str(seen[0].message)


def test_a_link_inside_a_class_brings_no_image_of_another_split(tmp_path, png):
    for part in ("train/a", "train/b", "test/a", "test/b"):
        png(tmp_path / part / "0.png")
    (tmp_path / "train" / "a" / "root").symlink_to(tmp_path)
    (tmp_path / "train" / "a" / "test").symlink_to("../../test")
    (tmp_path / "test" / "b" / "a").symlink_to("../../train/a")
    with pytest.warns(UserWarning, match="links to folders that are read anyway"):
        manifest = ImageFolder(str(tmp_path)).manifest()
    assert manifest.path.tolist() == ["train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/0.png"]


def test_a_set_made_of_links_is_read_like_any_other(tmp_path, png):
    for name in ("cats/part/1", "cats/2", "dogs/1"):
        png(tmp_path / "store" / f"{name}.png")
    root = tmp_path / "set"
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        (root / split / "dog").symlink_to(tmp_path / "store" / "dogs")
    (root / "train" / "cat").symlink_to(tmp_path / "store" / "cats")
    (root / "test" / "cat").mkdir()
    (root / "test" / "cat" / "2.png").symlink_to(tmp_path / "store" / "cats" / "2.png")
    (root / "val").symlink_to("test")  # that the two splits are one is for the audit to say
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest = ImageFolder(str(root)).manifest()
    assert manifest.path.tolist() == [
        "train/cat/2.png", "train/cat/part/1.png", "train/dog/1.png", "val/cat/2.png", "val/dog/1.png",
        "test/cat/2.png", "test/dog/1.png",
    ]  # fmt: skip


def test_folders_that_are_no_data_set(tmp_path, png):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="no image in a class folder"):
        ImageFolder(str(tmp_path / "nothing")).manifest()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        ImageFolder(str(tmp_path / "file"))
    png(tmp_path / "one" / "cats" / "1.png")
    with pytest.raises(ValueError, match="only the class 'cats'"):
        ImageFolder(str(tmp_path / "one")).manifest().check()
    png(tmp_path / "no_train" / "test" / "a" / "1.png")
    with pytest.raises(ValueError, match="no train folder"):
        ImageFolder(str(tmp_path / "no_train")).manifest()
    for name in ("train", "Training"):
        png(tmp_path / "twice" / name / "a" / "1.png")
    with pytest.raises(ValueError, match="both"):
        ImageFolder(str(tmp_path / "twice")).manifest()
    for path in ("train/a", "train/b", "test/c"):
        png(tmp_path / "unknown" / path / "1.png")
    with pytest.raises(ValueError, match="'c'"):
        ImageFolder(str(tmp_path / "unknown")).manifest().check()
    (tmp_path / "no_class" / "train").mkdir(parents=True)
    png(tmp_path / "no_class" / "train" / "1.png")
    with pytest.raises(ValueError, match=r"no_class/train/<class>/"):
        ImageFolder(str(tmp_path / "no_class")).manifest()


def test_a_class_without_images_is_named(tmp_path, png):
    for label in "ab":
        png(tmp_path / label / "1.png")
    (tmp_path / "empty").mkdir()
    with pytest.warns(UserWarning, match="empty has no images"):
        assert ImageFolder(str(tmp_path)).manifest().classes == ["a", "b"]


def test_brain_tumor_mri_as_published(data_root):
    manifest = ImageFolder(str(data_root / "brain_tumor_mri")).manifest()
    manifest.check()
    assert (manifest.split == "train").sum() == 2870 and (manifest.split == "test").sum() == 394
    assert manifest.classes == ["glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"]
