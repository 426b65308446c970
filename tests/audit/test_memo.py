"""Results of a stage: computed once for the same files, never half there."""

import os

import pytest

from vitlab.audit.memo import Memo
from vitlab.data.manifest import Manifest


@pytest.fixture
def manifest(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return Manifest({"path": ["a", "b"], "label": ["x", "y"]}, tmp_path)


def test_a_stage_is_computed_once_for_the_same_files(manifest, tmp_path):
    calls = []

    def compute(folder):
        calls.append(folder)
        (folder / "result").write_text("done")

    relabelled = manifest.with_columns(label=["y", "x"])
    folders = {Memo(given, tmp_path / "memo").folder("stage", [1], compute) for given in (manifest, relabelled)}
    assert len(calls) == 1 and (folders.pop() / "result").read_text() == "done"
    Memo(manifest, tmp_path / "memo").folder("stage", [2], compute)
    Memo(manifest, tmp_path / "memo").folder("other", [1], compute)
    assert len(calls) == 3
    (tmp_path / "a").write_text("changed")
    os.utime(tmp_path / "a", (1, 1))
    Memo(manifest, tmp_path / "memo").folder("stage", [1], compute)
    assert len(calls) == 4


def test_a_stage_that_fails_leaves_nothing(manifest, tmp_path):
    def fail(folder):
        (folder / "half").write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        Memo(manifest, tmp_path / "memo").folder("stage", [], fail)
    assert list((tmp_path / "memo").iterdir()) == []


def test_who_comes_second_takes_the_first_result(manifest, tmp_path):
    def slow(folder):
        (folder / "by").write_text("slow")
        Memo(manifest, tmp_path / "memo").folder("stage", [], lambda other: (other / "by").write_text("fast"))

    folder = Memo(manifest, tmp_path / "memo").folder("stage", [], slow)
    assert (folder / "by").read_text() == "fast"
    assert list((tmp_path / "memo").iterdir()) == [folder]
