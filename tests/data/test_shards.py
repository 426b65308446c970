"""Shards: read as one array is, built again from where a kill, a full disk or an unreadable image stopped it."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from vitlab.data import shards
from vitlab.data.batches import mean_and_std
from vitlab.data.cache import build_cache, open_image
from vitlab.data.manifest import Manifest
from vitlab.data.shards import Shards, rows_of_a_shard

COUNT, ROWS = 70, 16  # five shards, the last of six images


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(shards, "SINGLE", 1000)
    monkeypatch.setattr(shards, "SHARD", ROWS * 64)


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(COUNT):
        Image.new("L", (20, 20), number * 3).save(tmp_path / "images" / f"{number}.png")
    paths = [f"{number}.png" for number in range(COUNT)]
    return Manifest({"path": paths, "label": list("ab") * (COUNT // 2)}, tmp_path / "images")


@pytest.fixture
def build(manifest, tmp_path):
    """Return a function that builds, and says in `.opened` which files it decoded."""

    def run(fail_at=None, **settings):
        run.opened = []

        def decode(path):
            run.opened.append(int(path.removesuffix(".png")))
            if run.opened[-1] == fail_at:
                raise KeyboardInterrupt
            return open_image(manifest.root / path)

        return build_cache(
            manifest, image_size=8, channels=1, fit="pad", decode=decode, cache_dir=tmp_path / "cache", **settings
        )

    run.folder = tmp_path / "cache" / "images"
    return run


def test_what_is_small_stays_one_file():
    assert rows_of_a_shard((10, 1, 10, 10)) == 0 and rows_of_a_shard((10, 1, 10, 11)) == 9
    assert rows_of_a_shard((3, 1, 1000, 1000)) == 1  # an image larger than a shard has one of its own


def test_shards_hold_what_one_file_holds(build, monkeypatch):
    sharded = build()
    files = sorted(path.name for path in sharded.folder.glob("*.npy"))
    assert files == [f"images-0000{number}.npy" for number in range(5)] and sorted(build.opened) == list(range(COUNT))
    again = build()
    assert build.opened == [] and again.folder == sharded.folder and isinstance(again.images, Shards)
    assert [path.name for path in build.folder.iterdir()] == [again.folder.name]
    assert json.loads((again.folder / "cache.json").read_text()) == {"failures": [], "shard_rows": ROWS}

    shutil.rmtree(sharded.folder)
    monkeypatch.setattr(shards, "SINGLE", 10**9)
    whole = build()
    assert whole.folder == sharded.folder and [path.name for path in whole.folder.glob("*.npy")] == ["images.npy"]
    monkeypatch.setattr(shards, "SINGLE", 1000)
    assert isinstance(build().images, np.memmap) and build.opened == []  # a large cache of one file stays valid


def test_rows_slices_and_masks_are_those_of_an_array(build):
    found = build().images
    array = found[:]
    assert array.shape == found.shape == (COUNT, 1, 8, 8) and found.nbytes == array.nbytes and len(found) == COUNT
    assert array[:, 0, 4, 4].tolist() == [number * 3 for number in range(COUNT)] and found.dtype == array.dtype
    rng = np.random.default_rng(0)
    mask = rng.random(COUNT) < 0.3
    for wanted in (
        3, -1, np.int64(16), slice(14, 35), slice(None, None, -7), slice(90, 95), mask, [69, 0, 0, -2],
        np.array([], int), rng.permutation(COUNT), np.arange(12).reshape(3, 4),
    ):  # fmt: skip
        np.testing.assert_array_equal(found[wanted], array[wanted])
    for wrong in (COUNT, -COUNT - 1, [0, COUNT]):
        with pytest.raises(IndexError):
            found[wrong]
    assert mean_and_std(found, np.flatnonzero(mask)) == mean_and_std(array, np.flatnonzero(mask))


def test_few_shards_are_open_and_none_travels(build, monkeypatch):
    monkeypatch.setattr(shards, "_MAPPED", 2)
    found = build().images
    assert found[np.arange(COUNT)][:, 0, 4, 4].tolist() == [number * 3 for number in range(COUNT)]
    assert len(found._maps) == 2
    sent = pickle.dumps(found)
    assert len(sent) < 1000 and pickle.loads(sent)[40].max() == 120


def test_an_interrupted_build_goes_on_from_its_last_shard(build):
    with pytest.raises(KeyboardInterrupt):
        build(fail_at=50)
    kept = [path.name for path in build.folder.iterdir()]
    assert len(kept) == 1 and kept[0].endswith(".partial")
    found = build()
    assert min(build.opened) == 48 and sorted(build.opened) == list(range(48, COUNT))
    assert found.images[:][:, 0, 4, 4].tolist() == [number * 3 for number in range(COUNT)]
    assert [path.name for path in build.folder.iterdir()] == [found.folder.name]


def test_an_interrupted_build_goes_on_after_weeks(build):
    with pytest.raises(KeyboardInterrupt):
        build(fail_at=50)
    other = build.folder / "other.partial"
    other.mkdir()
    for folder in build.folder.iterdir():
        os.utime(folder, (time.time() - 30 * 86400,) * 2)
    build()
    assert sorted(build.opened) == list(range(48, COUNT)) and not other.exists()


BUILDER = """
import sys, time
from pathlib import Path
from vitlab.data import shards
from vitlab.data.cache import build_cache, open_image
from vitlab.data.manifest import Manifest
shards.SINGLE, shards.SHARD = 1000, 1024
root = Path(sys.argv[1])
manifest = Manifest.read(root / "manifest.csv")
def decode(path):
    print(path, flush=True)
    time.sleep(0.01)
    return open_image(root / path)
built = build_cache(manifest, image_size=8, channels=1, fit="pad", decode=decode, cache_dir=Path(sys.argv[2]))
print(built.images[:][:, 0, 4, 4].tolist())
"""


def test_a_killed_build_goes_on_from_its_last_shard(manifest, tmp_path):
    manifest.write(manifest.root / "manifest.csv")
    command = [sys.executable, "-c", BUILDER, str(manifest.root), str(tmp_path / "cache")]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": os.getcwd()}
    with subprocess.Popen(command, **settings) as builder:
        for line in builder.stdout:
            if line == "50.png\n":
                builder.send_signal(signal.SIGKILL)
                break
    *opened, held = subprocess.run(command, check=True, timeout=60, **settings).stdout.splitlines()
    assert held == str([number * 3 for number in range(COUNT)])
    assert sorted(int(path.removesuffix(".png")) for path in opened) == list(range(48, COUNT))


def test_two_builders_at_once_end_with_one_cache(manifest, tmp_path):
    manifest.write(manifest.root / "manifest.csv")
    command = [sys.executable, "-c", BUILDER, str(manifest.root), str(tmp_path / "cache")]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": os.getcwd()}
    builders = [subprocess.Popen(command, **settings) for _ in range(2)]
    ended = [builder.communicate(timeout=60) for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], ended
    assert {out.splitlines()[-1] for out, _ in ended} == {str([number * 3 for number in range(COUNT)])}
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 1


def test_unreadable_images_refuse_or_are_left_out_without_decoding_the_rest_again(build, manifest):
    (manifest.root / "20.png").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"^1 of {COUNT} images cannot be read: 20.png"):
        build()
    with pytest.warns(UserWarning, match="20.png"):
        found = build(on_error="skip")
    assert sorted(build.opened) == list(range(16, 32))
    assert np.flatnonzero(~found.ok).tolist() == [20] and found.images[20].max() == 0 and found.images[21].max() == 63


@pytest.mark.parametrize("damage", ["short", "missing", "facts"])
def test_a_damaged_cache_is_built_again(build, damage):
    folder = build().folder
    if damage == "short":
        os.truncate(folder / "images-00002.npy", 500)
    elif damage == "missing":
        (folder / "images-00004.npy").unlink()
    else:
        (folder / "cache.json").write_text('{"failures": [], "shard_rows": "many"}')
    assert build().images[33].max() == 99 and len(build.opened) == COUNT
    assert len(list(build.folder.iterdir())) == 1


def test_a_full_disk_is_one_line_before_the_work_and_keeps_what_is_done(build, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        build(fail_at=50)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 2**20 + 22 * 64 - 1))
    with pytest.raises(OSError, match=r"need 0 MiB in .*VITLAB_CACHE.*3 of 5 parts are done and kept$"):
        build()
    assert build.opened == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 2**20 + 22 * 64))
    assert build().images[69].max() == 207 and sorted(build.opened) == list(range(48, COUNT))


def test_progress_says_which_part(build, capsys):
    build()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and lines[4] == "decoding 6 images to 8 px, once, part 5 of 5"
