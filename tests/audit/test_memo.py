"""Results of a stage: computed once for the same files, never half there."""

import os
from pathlib import Path

import pytest

from vitlab.audit.memo import Memo, code_digest
from vitlab.data.manifest import Manifest


@pytest.fixture
def manifest(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return Manifest({"path": ["a", "b"], "label": ["x", "y"]}, tmp_path)


def read(folder):
    return (folder / "result").read_text()


def test_a_stage_is_computed_once_for_the_same_files(manifest, tmp_path):
    calls = []

    def compute(folder):
        calls.append(folder)
        (folder / "result").write_text("done")

    relabelled = manifest.with_columns(label=["y", "x"])
    results = {Memo(given, tmp_path / "memo").get("stage", [1], compute, read) for given in (manifest, relabelled)}
    assert len(calls) == 1 and results == {"done"}
    Memo(manifest, tmp_path / "memo", reader="Figshare").get("stage", [1], compute, read)
    assert len(calls) == 2
    calls.clear()
    calls.append("the first")
    Memo(manifest, tmp_path / "memo").get("stage", [2], compute, read)
    Memo(manifest, tmp_path / "memo").get("other", [1], compute, read)
    assert len(calls) == 3
    (tmp_path / "a").write_text("changed")
    os.utime(tmp_path / "a", (1, 1))
    Memo(manifest, tmp_path / "memo").get("stage", [1], compute, read)
    assert len(calls) == 4


def test_a_stage_that_fails_leaves_nothing(manifest, tmp_path):
    def fail(folder):
        (folder / "half").write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        Memo(manifest, tmp_path / "memo").get("stage", [], fail, read)
    assert list((tmp_path / "memo").iterdir()) == []


def test_who_comes_second_takes_the_first_result(manifest, tmp_path):
    def slow(folder):
        (folder / "result").write_text("slow")
        Memo(manifest, tmp_path / "memo").get("stage", [], lambda other: (other / "result").write_text("fast"), read)

    assert Memo(manifest, tmp_path / "memo").get("stage", [], slow, read) == "fast"
    assert len(list((tmp_path / "memo").iterdir())) == 1


def test_damaged_stale_and_old_results_are_made_again(manifest, tmp_path):
    memo, calls = Memo(manifest, tmp_path / "memo"), []

    def compute(folder):
        calls.append(folder)
        (folder / "result").write_text("done")

    memo.get("stage", [], compute, read)
    (folder,) = (tmp_path / "memo").iterdir()
    (folder / "result").unlink()
    assert memo.get("stage", [], compute, read) == "done" and len(calls) == 2
    assert memo.get("stage", [], compute, read, stale=lambda result: result == "done") == "done" and len(calls) == 3
    os.utime(folder, (1, 1))
    memo.get("other", [], compute, read)
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_names_its_setting(manifest, tmp_path):
    (tmp_path / "file").write_text("")
    for base in (tmp_path / "file", type(tmp_path)("/proc/x")):
        with pytest.raises(OSError, match=f"cannot write to the cache {base} .*set VITLAB_CACHE"):
            Memo(manifest, base).get("stage", [1], lambda folder: None, read)


@pytest.mark.parametrize("name", ["content.py", "decode.py", "dicom_pixels.py", "nifti.py"])
def test_results_of_another_version_of_what_reads_pixels_are_not_taken(name, monkeypatch):
    before, read = code_digest.__wrapped__(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read(file) + b"\n" * (file.name == name))
    assert code_digest.__wrapped__() != before
