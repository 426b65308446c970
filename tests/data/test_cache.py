"""The cache: built once, reopened fast, made anew after changes, whole with several builders, open about failures."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from vitlab.data import cache as module
from vitlab.data.batches import CachedImages
from vitlab.data.cache import ImageCache, build_cache, cache_folder, open_image
from vitlab.data.manifest import Manifest
from vitlab.data.reserved import reserve

COUNT = 70


@pytest.fixture
def manifest(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(COUNT):
        Image.new("L", (20, 20), number * 3).save(folder / f"{number}.png")
    return Manifest({"path": [f"{n}.png" for n in range(COUNT)], "label": list("ab") * (COUNT // 2)}, folder)


@pytest.fixture
def build(manifest, tmp_path):
    """Return a function that builds, and says in `.opened` how many files it decoded."""

    def run(**settings):
        run.opened = 0

        def decode(path):
            run.opened += 1
            return open_image(manifest.root / path)

        settings = {
            "manifest": manifest, "image_size": 8, "channels": 1, "fit": "pad", "decode": decode,
            "cache_dir": tmp_path / "cache",
        } | settings  # fmt: skip
        return build_cache(settings.pop("manifest"), **settings)

    run.folder = tmp_path / "cache" / "images"
    return run


def spoil(manifest):
    (manifest.root / "3.png").write_bytes(b"")
    (manifest.root / "5.png").write_text("no picture")
    data = (manifest.root / "7.png").read_bytes()
    (manifest.root / "7.png").write_bytes(data[: len(data) - 30])
    (manifest.root / "9.png").unlink()


def test_every_image_is_decoded_once_and_in_order(build, manifest):
    first = build()
    assert build.opened == COUNT and first.images.shape == (COUNT, 1, 8, 8) and first.images.dtype == np.uint8
    assert first.images[:, 0, 4, 4].tolist() == [number * 3 for number in range(COUNT)]
    assert first.ok.all() and first.failures == []
    assert isinstance(first.images, np.memmap) and not first.images.flags.writeable
    again = build()
    assert build.opened == 0 and again.folder == first.folder
    np.testing.assert_array_equal(again.images, first.images)
    assert [folder.name for folder in build.folder.iterdir()] == [first.folder.name]


def test_a_loader_process_is_told_the_file_and_not_what_is_in_it(build):
    """Where loader processes are not forked, the images travel to each of them."""
    cache = build(image_size=64)
    images = CachedImages(cache, np.arange(COUNT), np.arange(COUNT))
    sent = pickle.dumps(images)
    assert len(sent) < 3000 < cache.images.nbytes
    found = pickle.loads(sent)
    assert isinstance(found.images, np.memmap) and not found.images.flags.writeable
    assert np.array_equal(found.images, cache.images)
    for ours, theirs in zip(images[np.array([0, 69, -1])], found[np.array([0, 69, -1])], strict=True):
        assert ours.equal(theirs)
    in_memory = ImageCache(np.asarray(cache.images), cache.ok, [], cache.folder)  # also of others' making
    assert len(pickle.dumps(CachedImages(in_memory, np.arange(COUNT), np.arange(COUNT)))) > cache.images.nbytes


def test_what_the_key_covers(build, manifest):
    build()
    build(manifest=manifest.with_columns(label=["c"] * COUNT, split=["train"] * COUNT))
    assert build.opened == 0  # other labels, same pixels
    for change in ({"image_size": 9}, {"channels": 3}, {"fit": "crop"}, {"manifest": manifest.where([1, 0, 2])}):
        build(**change)
        assert build.opened, change
    Image.new("L", (20, 20), 255).save(manifest.root / "4.png")
    os.utime(manifest.root / "4.png", ns=(0, 12345))
    assert build().images[4].min() == 255 and build.opened == COUNT


def test_a_member_stands_for_its_container(build, tmp_path):
    (tmp_path / "set.npz").write_bytes(b"one")
    Image.new("L", (8, 8), 5).save(tmp_path / "a#1.png")
    members = Manifest({"path": ["set.npz#train/0", "set.npz#train/1", "a#1.png"]}, tmp_path)
    values = iter(range(100))

    def decode(path):
        return np.full((8, 8), next(values), np.uint8)

    settings = {"manifest": members, "decode": decode}
    assert build(**settings).images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert build(**settings).images[:, 0, 0, 0].tolist() == [0, 1, 2]
    (tmp_path / "set.npz").write_bytes(b"another")
    assert build(**settings).images[:, 0, 0, 0].tolist() == [3, 4, 5]
    (tmp_path / "a#1.png").write_bytes(b"another")
    assert build(**settings).images[:, 0, 0, 0].tolist() == [6, 7, 8]


def test_a_file_whose_name_looks_like_a_members_counts_beside_a_missing_one(build, tmp_path):
    files = Manifest({"path": ["a#1.png", "a#2.png"]}, tmp_path)

    def decode(path):
        return open_image(tmp_path / path)

    settings = {"manifest": files, "decode": decode, "on_error": "skip"}
    for side, gray in ((8, 5), (9, 200)):
        Image.new("L", (side, side), gray).save(tmp_path / "a#2.png")
        with pytest.warns(UserWarning, match="1 of 2 images"):
            assert build(**settings).images[1].max() == gray


def test_unreadable_files_stop_the_build_with_their_names(build, manifest):
    spoil(manifest)
    with pytest.raises(ValueError) as error:
        build()
    message = str(error.value)
    assert "\n" not in message and message.startswith(f"4 of {COUNT} images cannot be read")
    for part in ("3.png (not an image", "5.png (not an image", "7.png (", "9.png (no such file)", "data.on_error=skip"):
        assert part in message
    assert list(build.folder.iterdir()) == []


def test_unreadable_files_are_skipped_in_one_warning(build, manifest):
    spoil(manifest)
    for opened in (COUNT, 0):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            cache = build(on_error="skip")
        assert len(seen) == 1 and "9.png (no such file)" in str(seen[0].message)
        assert str(seen[0].message).startswith(f"4 of {COUNT} images cannot be read and are left out: ")
        assert build.opened == opened
        assert np.flatnonzero(~cache.ok).tolist() == [3, 5, 7, 9]
        assert [path for path, _ in cache.failures] == ["3.png", "5.png", "7.png", "9.png"]
        assert cache.images[3].max() == 0 and cache.images[4].max() == 12
    with pytest.raises(ValueError, match="4 of"):  # a cache with failures does not hide them from a stricter run
        build(on_error="raise")
    assert build.opened == 0
    Image.new("L", (20, 20), 27).save(manifest.root / "9.png")
    with pytest.warns(UserWarning, match="3 of"):
        assert build(on_error="skip").images[9].max() == 27


def test_nothing_readable_is_an_error_whatever_the_setting(build, manifest):
    for file in manifest.root.iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{COUNT} of {COUNT} .* and 60 more"):
        build(on_error="skip")
    with pytest.raises(ValueError, match="no rows"):
        build(manifest=Manifest({"path": []}))


@pytest.mark.parametrize("damage", ["short", "json", "shape", "missing", "[[3]]", '[[999, "x"]]', '[["a", "b"]]', "5"])
def test_a_damaged_cache_is_built_again(build, damage):
    folder = build().folder
    if damage == "short":
        os.truncate(folder / "images.npy", 1000)
    elif damage == "json":
        (folder / "cache.json").write_text("{")
    elif damage == "shape":
        np.save(folder / "images.npy", np.zeros((2, 2), np.uint8))
    elif damage == "missing":
        (folder / "images.npy").unlink()
    else:
        (folder / "cache.json").write_text(f'{{"failures": {damage}}}')
    assert build().images[9].max() == 27 and build.opened == COUNT
    assert len(list(build.folder.iterdir())) == 1


def test_an_interrupted_build_leaves_nothing(build):
    def decode(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(decode=decode)
    assert list(build.folder.iterdir()) == []


def test_a_full_disk_is_one_line(build, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(OSError) as error:
        build()
    assert "VITLAB_CACHE" in str(error.value) and "0 MiB are free" in str(error.value) and "\n" not in str(error.value)
    assert list(build.folder.iterdir()) == [] and build.opened == 0


def test_a_reserved_array_has_its_blocks_before_it_is_written_to(tmp_path):
    path = tmp_path / "memo.tmp" / "frames.npy"
    array = reserve(path, (64, 100, 100))
    assert array.shape == (64, 100, 100) and array.dtype == np.uint8 and not array.any()
    assert path.stat().st_blocks * 512 >= array.nbytes  # a memory map alone is sparse
    array[3] = 7
    array.flush()
    np.testing.assert_array_equal(np.load(path)[2:4, 0, 0], [0, 7])


def test_more_than_the_disk_holds_is_refused_in_one_line(tmp_path):
    with pytest.raises(OSError) as error:
        reserve(tmp_path / "memo.tmp" / "frames.npy", (2**31, 2**16, 2**4), hint="buy a disk")
    message = str(error.value)
    assert f"need 2147483648 MiB in {tmp_path}," in message and message.endswith("free: buy a disk")
    assert not (tmp_path / "memo.tmp" / "frames.npy").exists()


def test_a_folder_that_cannot_be_written_is_one_line(build, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot write decoded images .* data\.cache_dir"):
        build(cache_dir=tmp_path / "file")


def test_a_cache_that_cannot_be_read_or_removed_is_one_line(build, monkeypatch):
    """As one of another user is, in a folder that both share."""
    folder = build().folder
    (folder / "cache.json").write_text("{")
    remove, tries = shutil.rmtree, []

    def refused(path, **settings):
        tries.append(path)
        assert len(tries) < 20, "it goes on for ever"
        if path != folder:
            remove(path, **settings)

    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(OSError) as error:
        build()
    assert str(folder) in str(error.value) and "VITLAB_CACHE" in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_leftovers_of_killed_processes_go_after_a_week(build):
    for name, days in (("old.tmp", 8), ("new.tmp", 1)):
        (build.folder / name).mkdir(parents=True)
        os.utime(build.folder / name, (time.time() - days * 86400,) * 2)
    build()
    assert {folder.name for folder in build.folder.glob("*.tmp")} == {"new.tmp"}


def test_a_terminal_sees_a_bar_and_a_file_one_line(build, capsys, monkeypatch):
    build()
    assert capsys.readouterr().err == f"decoding {COUNT} images to 8 px, once\n"
    build()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    build(image_size=9)
    assert f"0/{COUNT}" in capsys.readouterr().err


def test_where_caches_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("VITLAB_CACHE", "~/mine")
    assert cache_folder() == type(tmp_path).home() / "mine"
    monkeypatch.delenv("VITLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vitlab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == type(tmp_path).home() / ".cache" / "vitlab"


BUILDER = """
import sys, time
from pathlib import Path
from vitlab.data.cache import build_cache, open_image
from vitlab.data.manifest import Manifest
root, cache, start = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
manifest = Manifest.read(root / "manifest.csv")
def decode(path):
    time.sleep(0.01)  # long enough that both are at it
    return open_image(root / path)
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
built = build_cache(manifest, image_size=8, channels=1, fit="pad", decode=decode, cache_dir=cache)
assert built.ok.all()
print(built.images[:, 0, 4, 4].tolist(), built.folder)
"""


def test_two_processes_build_the_same_cache_at_once(manifest, tmp_path):
    manifest.write(manifest.root / "manifest.csv")
    command = [sys.executable, "-c", BUILDER, *map(str, (manifest.root, tmp_path / "cache", tmp_path / "start"))]
    builders = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.getcwd())
        for _ in range(2)
    ]
    for builder in builders:
        assert builder.stdout.readline() == "ready\n"
    (tmp_path / "start").touch()
    results = [builder.communicate(timeout=60) for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], results
    assert all(errors.startswith("decoding") for _, errors in results)  # both did build
    assert results[0][0] == results[1][0] and results[0][0].startswith(str([n * 3 for n in range(COUNT)]))
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 1


def test_two_builders_mend_a_damaged_cache_at_once(build, manifest, tmp_path):
    folder = build().folder
    (folder / "cache.json").write_text("{")

    def decode(path):
        time.sleep(0.002)
        return open_image(manifest.root / path)

    settings = {"image_size": 8, "channels": 1, "fit": "pad", "cache_dir": tmp_path / "cache"}
    # The key knows a decoder by its name, which is that of the first build.
    decode.__qualname__ = "build.<locals>.run.<locals>.decode"
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(build_cache, manifest, decode=decode, **settings) for _ in range(2)]
        caches = [job.result() for job in jobs]
    for cache in caches:
        assert cache.folder == folder and cache.ok.all() and cache.images[9].max() == 27
    assert json.loads((folder / "cache.json").read_text()) == {"failures": []}


def test_real_images_fast_and_faster_again(data_root, tmp_path):
    manifest = Manifest.read(data_root / "cheng" / "manifest.csv").where(slice(0, 600))

    def timed():
        start = time.perf_counter()
        cache = build_cache(
            manifest, image_size=64, channels=1, fit="pad", cache_dir=tmp_path,
            decode=lambda path: open_image(manifest.root / path),
        )  # fmt: skip
        return cache, time.perf_counter() - start

    cache, built = timed()
    assert cache.ok.all() and 20 < cache.images.mean() < 80
    assert built < 20  # 0.4 s on a quiet machine
    _, reopened = timed()
    assert reopened < built / 4


def test_threads_decode_at_the_same_time(manifest, tmp_path):
    def decode(path):
        time.sleep(0.02)
        return open_image(manifest.root / path)

    start = time.perf_counter()
    build_cache(manifest, image_size=8, channels=1, fit="pad", decode=decode, cache_dir=tmp_path / "cache")
    assert time.perf_counter() - start < 0.02 * COUNT * 0.9
    assert module._BLOCK < COUNT
