"""The manifest: reading, writing, hashing, choosing rows, and what its check refuses."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from vitlab.data.manifest import Manifest

ROWS = {
    "path": ["a/1.png", "a/2, left.png", 'b/"3".png', "b/Ä.png"],
    "label": ["cat", "cat", "dog", ""],
    "patient_id": ["p1", "", "p2", "p2"],
    "split": ["train", "train", "test", ""],
    "fold": [1, 2, 3, None],
}


def check_fails(**changes):
    rows = {name: values[:3] for name, values in ROWS.items() if name != "fold"}
    manifest = Manifest({**rows, "label": ["cat", "dog", "dog"], **changes})
    with pytest.raises(ValueError) as error:
        manifest.check()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_columns_of_a_manifest():
    manifest = Manifest(ROWS, Path("/data"))
    assert len(manifest) == 4 and manifest.root == Path("/data")
    assert manifest.classes == ["cat", "dog"]
    assert manifest.targets.tolist() == [0, 0, 1, -1] and manifest.targets.dtype == np.int64
    assert manifest.mask_path.tolist() == [""] * 4
    assert manifest.columns["fold"].tolist() == ["1", "2", "3", ""]
    assert manifest.groups.tolist() == ["p1", "image:1", "p2", "p2"]
    assert not manifest.has_patients
    assert (manifest.split == "train").tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match="read-only"):
        manifest.label[0] = "dog"


def test_what_is_written_is_read_again(tmp_path):
    manifest = Manifest(ROWS, Path("/data"))
    manifest.write(tmp_path / "m.csv")
    again = Manifest.read(tmp_path / "m.csv")
    assert again.root == tmp_path and again.sha256 == manifest.sha256
    for name in ROWS:
        assert again.columns[name].tolist() == manifest.columns[name].tolist()
    assert [file.name for file in tmp_path.iterdir()] == ["m.csv"]
    header = (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "path,label,patient_id,split,mask_path,fold"


def test_the_hash_is_of_the_content_alone():
    manifest = Manifest(ROWS)
    # Written down: a change of it makes all published results incomparable.
    assert manifest.sha256 == "b80de9ad16b09aa1c92605c3b87af963596e1ab2a813e8f25cc12ae96ab6c458"
    backwards = Manifest(dict(reversed(ROWS.items())), Path("/elsewhere"))
    assert backwards.sha256 == manifest.sha256
    assert manifest.with_columns(mask_path=[""] * 4).sha256 == manifest.sha256
    assert manifest.with_columns(label=["dog", "cat", "dog", ""]).sha256 != manifest.sha256
    assert manifest.where([1, 0, 2, 3]).sha256 != manifest.sha256


def test_rows_and_columns_are_chosen_without_touching_the_original():
    manifest = Manifest(ROWS, Path("/data"))
    part = manifest.where(manifest.label == "cat")
    assert part.path.tolist() == ["a/1.png", "a/2, left.png"] and part.root == manifest.root
    assert part.classes == ["cat"]
    assert manifest.where([3, 0]).path.tolist() == ["b/Ä.png", "a/1.png"]
    assert len(manifest.where([])) == 0 and len(manifest.where(slice(0, 2))) == 2
    other = manifest.with_columns(split=np.array(["val"] * 4), fold=np.arange(4))
    assert other.split.tolist() == ["val"] * 4 and other.columns["fold"].tolist() == ["0", "1", "2", "3"]
    assert manifest.split.tolist() == ["train", "train", "test", ""]
    with pytest.raises(ValueError, match="one length"):
        manifest.with_columns(split=["train"])


def test_columns_are_renamed_on_reading(tmp_path):
    (tmp_path / "m.csv").write_text(
        "\ufefffile, diagnosis ,patient_id,patient_base\r\n1.png, x ,A1,A\r\n\r\n2.png,y,B2,B\r\n", encoding="utf-8"
    )
    manifest = Manifest.read(
        tmp_path / "m.csv", columns={"path": "file", "label": "diagnosis", "patient_id": "patient_base"}
    )
    assert manifest.path.tolist() == ["1.png", "2.png"] and manifest.label.tolist() == ["x", "y"]
    assert manifest.patient_id.tolist() == ["A", "B"] and manifest.columns["patient_base"].tolist() == ["A", "B"]
    assert manifest.columns["original_patient_id"].tolist() == ["A1", "B2"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"path,label\n", "no rows"),
        (b"path,lable\na,b\n", "did you mean 'lable'?"),
        (b"path;label\na;b\n", "separated by ';'"),
        (b"path,label,label\na,b,c\n", "'label' twice"),
        (b"path,label\na,b\na,b,c\n", "3 values in line 3"),
        ("path,label\na,Ä\n".encode("latin-1"), "UTF-8"),
        (b'path,label\n"a,b\n', "not a CSV file"),
    ],
)
def test_tables_that_are_none(tmp_path, content, expected):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ValueError) as error:
        Manifest.read(tmp_path / "m.csv")
    assert expected in str(error.value) and "m.csv" in str(error.value) and "\n" not in str(error.value)


def test_names_of_files_may_be_of_any_bytes_but_nothing_else(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(b"")
    rows = {"path": [name, "b.png"], "label": ["Ä", "y"], "mask_path": ["", name], "age": ["7", "8"]}
    written = Manifest(rows, tmp_path)
    written.write(tmp_path / "m.csv")
    read = Manifest.read(tmp_path / "m.csv")
    assert read.path.tolist() == rows["path"] and read.mask_path.tolist() == rows["mask_path"]
    assert read.label.tolist() == ["Ä", "y"] and read.sha256 == written.sha256
    for change in (
        {"path": [os.fsdecode(b"th\xe9.png"), "b.png"]},  # a table of a spreadsheet, the files' names are UTF-8
        {"label": [os.fsdecode(b"glac\xe9"), "y"]},
        {"age": ["7", os.fsdecode(b"7 \xb1 1")]},
        {os.fsdecode(b"\xe2ge"): ["7", "8"]},
    ):
        Manifest({**rows, **change}, tmp_path).write(tmp_path / "m.csv")
        with pytest.raises(ValueError, match="not text in UTF-8: save it as CSV UTF-8"):
            Manifest.read(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_text("path,label\na,b\n", encoding="utf-16")
    with pytest.raises(ValueError, match="not text in UTF-8"):
        Manifest.read(tmp_path / "m.csv")


def test_missing_files_and_columns_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Manifest.read(tmp_path / "m.csv")
    with pytest.raises(FileNotFoundError, match="not a file"):
        Manifest.read(tmp_path)
    (tmp_path / "m.csv").write_text("path,label,patient\na,b,c\n")
    with pytest.raises(ValueError, match="did you mean 'patient'"):
        Manifest.read(tmp_path / "m.csv", columns={"patient_id": "patients"})


def test_check_refuses_what_cannot_be_trained():
    assert "more than once, first 'x'" in check_fails(path=["x", "y", "x"])
    assert "row 2" in check_fails(path=["x", "", "z"])
    assert "did you mean 'train'?" in check_fails(split=["trian", "test", "val"])
    assert "only the class 'cat'" in check_fails(label=["cat", "cat", ""])
    assert "no labels" in check_fails(label=["", "", ""])
    assert "'bird'" in check_fails(label=["cat", "dog", "bird"])
    with pytest.raises(ValueError, match="no column 'label'"):
        Manifest({"path": ["a"]}).check()
    with pytest.raises(ValueError, match="no rows"):
        Manifest({"path": [], "label": []}).check()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a.png,x,train\n\n\"b\n.png\",y,test\n,y,test\n", "has no path in line 7"),
        ("a.png,x,train\nb.png,y,test\n\na.png,y,test\n", "first 'a.png' in line 3 and line 6"),
        ("a.png,x,train\nb.png,y,tset\n", "has the split 'tset' in line 4 (did you mean 'test'?)"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path, rows, words):
    table = tmp_path / "tables" / "my rows.csv"
    table.parent.mkdir()
    table.write_text(f"path,label,split\n\n{rows}")
    manifest = Manifest.read(table, root=tmp_path)
    for checked in (manifest, manifest.with_columns(age=[""] * len(manifest))):
        with pytest.raises(ValueError) as error:
            checked.check()
        assert str(error.value).startswith(f"the manifest {table} has ") and words in str(error.value)
    with pytest.raises(ValueError, match=r"^the manifest of .* row "):
        manifest.where(slice(None)).check()  # rows that were chosen are no longer those of the file


def test_odd_patient_ids_are_mended_on_reading_and_said(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,subject\na,x,P1\nb,y,p1\nc,y,n/a\n")
    with pytest.warns(UserWarning) as seen:
        manifest = Manifest.read(tmp_path / "m.csv", columns={"patient_id": "subject"})
    assert manifest.patient_id.tolist() == ["P1", "P1", ""]
    assert manifest.columns["subject"].tolist() == ["P1", "p1", "n/a"]
    assert [str(warning.message) for warning in seen] == [f"{tmp_path / 'm.csv'}: {text}" for text in manifest.remarks]
    assert len(seen) == 2 and "'n/a' 1" in manifest.remarks[0] and "'P1' and 'p1'" in manifest.remarks[1]
    manifest.write(tmp_path / "again.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Manifest.read(tmp_path / "again.csv").patient_id.tolist() == ["P1", "P1", ""]


def test_check_takes_what_can():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Manifest(ROWS).check()  # with folds the published split does not say who trains
        Manifest({"path": ["a", "b"], "label": ["x", "y"]}).check()
        Manifest({"path": list("abc"), "label": ["x", "y", ""], "split": ["train", "train", "test"]}).check()
    with pytest.warns(UserWarning, match="differ only in case"):
        Manifest({"path": ["a", "b"], "label": ["Glioma", "glioma"]}).check()


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    many = [Manifest({"path": [f"{n}/{i}.png" for i in range(500)], "label": ["x"] * 500}) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda manifest: manifest.write(tmp_path / "m.csv"), many))
    assert Manifest.read(tmp_path / "m.csv").sha256 in {manifest.sha256 for manifest in many}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_real_manifest(data_root):
    manifest = Manifest.read(data_root / "cheng" / "manifest.csv", columns={"patient_id": "patient_base"})
    manifest.check()
    assert len(manifest) == 3064 and manifest.has_patients
    assert len(set(manifest.patient_id)) == 209 and len(set(manifest.columns["original_patient_id"])) == 233
    counts = dict(zip(manifest.classes, np.bincount(manifest.targets).tolist(), strict=True))
    assert counts == {"glioma": 1426, "meningioma": 708, "pituitary": 930}
