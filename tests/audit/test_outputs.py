"""What an audit leaves on disk: read back, it names the same files, whatever bytes their names are of."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from vitlab.audit.command import main
from vitlab.audit.outputs import write_changes, write_planted
from vitlab.data.manifest import Manifest

NAME = os.fsdecode(b"caf\xe9, \xff.png")  # no UTF-8, and with a comma
QUOTED = 'two "quotes"\nand lines.png'


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Return a folder of images, one of which is in train and test, and what an audit of it wrote."""
    root, out = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("out")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for label in "ab":
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = np.kron(rng.integers(0, 255, (12, 12), np.uint8), np.ones((8, 8), np.uint8))
                name = {0: NAME, 1: QUOTED}.get(number, f"{number}.png")
                with open(root / part / label / name, "wb") as file:
                    Image.fromarray(pixels).save(file, "PNG")
    (root / "test/a" / NAME).write_bytes((root / "train/a" / NAME).read_bytes())
    args = ["--data.source=ImageFolder", f"--data.source.root={root}", f"--out={out}"]
    assert main([*args, "--repair", str(out / "repaired.csv")]) == 0
    return root, out


def test_json_is_ascii_and_gives_back_every_name(audited):
    root, out = audited
    report = json.loads((out / "audit.json").read_text(encoding="ascii"))
    assert report["leak"] and report["pairs"]["same file"]["across_splits"] == 1
    (root / "train/b" / NAME).rename(aside := root.parent / "aside.png")  # a name for the findings to hold
    (root / "train/b" / NAME).write_bytes(b"no image")
    try:
        assert main(["--data.source=ImageFolder", f"--data.source.root={root}", f"--out={out / 'again'}"]) == 0
    finally:
        aside.rename(root / "train/b" / NAME)
    report = json.loads((out / "again/audit.json").read_text(encoding="utf-8"))
    named = [finding["path"] for finding in report["files"] if finding["kind"] == "unreadable"]
    assert named == [f"train/b/{NAME}"] and (root / named[0]).is_file()


def test_pairs_are_read_back_by_their_names(audited):
    root, out = audited
    with (out / "pairs.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        pairs = list(csv.DictReader(file))
    worst = pairs[0]
    assert {worst["path_a"], worst["path_b"]} == {f"train/a/{NAME}", f"test/a/{NAME}"}
    assert (worst["kind"], worst["score"]) == ("same file", "1.0000")
    assert {worst["split_a"], worst["split_b"]} == {"train", "test"}
    assert all((root / row[key]).is_file() for row in pairs for key in ("path_a", "path_b"))


def test_a_repaired_manifest_is_read_with_the_folder_of_its_files(audited):
    root, out = audited
    repaired = Manifest.read(out / "repaired.csv", root)
    assert f"train/b/{NAME}" in repaired.path and f"train/b/{QUOTED}" in repaired.path
    assert all((root / path).is_file() for path in repaired.path)
    with (out / "repaired.changes.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        changes = list(csv.DictReader(file))
    dropped = [row["path"] for row in changes if row["change"] == "dropped"]
    assert len(dropped) == 1 and dropped[0].endswith(NAME) and dropped[0] not in repaired.path
    with pytest.raises(ValueError, match="UTF-8"):
        Manifest.read(out / "repaired.csv")  # no such files beside it


def test_nothing_half_written_stays(audited):
    _, out = audited
    names = {path.name for path in out.iterdir()} - {"again"}
    assert names == {"audit.json", "audit.html", "pairs.csv", "repaired.csv", "repaired.changes.csv"}


def test_tables_have_a_header_and_lines_ended_by_a_line_feed(tmp_path):
    write_changes([("a, b.png", "dropped", "it is twice"), ("c.png", "to train", "")], tmp_path / "changes.csv")
    assert (tmp_path / "changes.csv").read_bytes() == (
        b'path,change,reason\n"a, b.png",dropped,it is twice\nc.png,to train,\n'
    )
    row = {"kind": "turned", "strength": "90°", "n": 3, "found": 2, "recall": 2 / 3, "precision": 1.0}
    write_planted([row, {**row, "strength": "", "found": 0, "recall": 0.0}], tmp_path / "planted.csv")
    assert (tmp_path / "planted.csv").read_text(encoding="utf-8") == (
        "kind,strength,n,found,recall,precision\nturned,90°,3,2,0.6667,1.0000\nturned,,3,0,0.0000,1.0000\n"
    )
