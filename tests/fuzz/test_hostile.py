"""Files made to do harm: run code, escape the folder, fill the memory; each is refused or does nothing of it."""

import os
import pickle
import resource
import struct
import zipfile

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.data.test_decode import bomb
from tests.fuzz.kinds import CONFIG, KINDS, PICTURE, from_a_source, write_checkpoint, write_medmnist
from tests.fuzz.outcome import outcome
from vitlab import npz
from vitlab.cli import main
from vitlab.data.sources import Csv, Figshare, ImageFolder, MedMnist
from vitlab.yaml_text import MOST, Unfolds, parse


class Planted:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def place(tmp_path):
    """Return a folder for one file, two below the test's."""
    (tmp_path / "given" / "in").mkdir(parents=True)
    return tmp_path / "given" / "in"


@pytest.mark.parametrize("kind", ["checkpoint", "npz", "features", "weights", "mat", "png"])
def test_a_pickle_is_not_run(kind, place, tmp_path):
    ran = tmp_path / "ran"
    pickle.loads(pickle.dumps(Planted(ran)))
    assert ran.is_dir()  # it works
    ran.rmdir()
    file = place / KINDS[kind].name
    for write in (
        lambda: file.write_bytes(pickle.dumps(Planted(ran))),
        lambda: torch.save({"hyper_parameters": {}, "ImageDataModule": Planted(ran)}, file),
        lambda: np.save(file.open("wb"), np.array([Planted(ran)], dtype=object)),
        lambda: np.savez(file.open("wb"), **dict.fromkeys(("train_labels", "features"), np.array([Planted(ran)]))),
    ):
        write()
        refused = outcome(KINDS[kind].read, file)
        assert (refused or kind == "features") and not ran.exists()


def test_the_command_refuses_a_checkpoint_with_code_in_it(place, tmp_path, image_folder, capfd):
    write_checkpoint(place / "sound.ckpt")
    held = torch.load(place / "sound.ckpt", weights_only=True)
    torch.save(held | {"callbacks": Planted(tmp_path / "ran")}, place / "x.ckpt")
    args = ["test", "--config", "configs/cnn.yaml", "--data.source=ImageFolder", f"--data.source.root={image_folder}"]
    assert main([*args, "--ckpt_path", str(place / "x.ckpt"), f"--run.root={tmp_path}/runs"]) == 2
    assert "x.ckpt is not a checkpoint of vitlab" in capfd.readouterr().err and not (tmp_path / "ran").exists()


UNFOLDS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [RAN]",
        "data: !!python/object/new:os.mkdir [RAN]",
        "a: !!python/name:os.system",
        UNFOLDS,
        yaml.safe_dump({"trainer": {"max_epochs": UNFOLDS}}),  # a text, which jsonargparse reads once more
        yaml.safe_dump({"data": yaml.safe_dump({"source": UNFOLDS})}),
        "a: &a {b: *a}",
        "a: " + "[" * 50_000,
        "data: {source: " + "{" * 5_000,
    ],
)
@pytest.mark.parametrize("verb", ["fit", "study", "audit", "compare", "data"])
def test_yaml_runs_nothing_and_unfolds_to_nothing_large(verb, text, place, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (place / "x.yaml").write_text(text.replace("RAN", str(tmp_path / "ran")))
    name = ["phantom"] if verb == "data" else []
    assert main([verb, *name, "--config", str(place / "x.yaml")]) == 2
    err = capfd.readouterr().err
    assert "Traceback" not in err and "x.yaml" in err and len(err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_honest_aliases_are_read():
    assert parse("a: &a {x: 1}\nb: *a\nc: [*a, *a]")["c"] == [{"x": 1}] * 2
    assert len(parse("[" + "1," * (MOST - 10) + "]")) == MOST - 10
    with pytest.raises(Unfolds):
        parse("[" + "1," * (MOST + 10) + "]")


def test_json_that_never_ends_is_refused(place):
    for name, kind in {"results.json": "results", "explain.json": "findings"}.items():
        (place / name).write_text('{"parts": ' + "[" * 200_000)
        assert outcome(KINDS[kind].read, place / name)


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "a/../../secret.png", "./../secret.png", "..", "x.png/../../secret.png"],
)
def test_a_table_does_not_leave_its_folder(path, place):
    Image.fromarray(PICTURE).save(place.parent / "secret.png")
    (place / "manifest.csv").write_text(f"path,label\n{path},a\nb.png,b\n")
    with pytest.raises(ValueError, match="which leaves"):
        Csv(str(place)).manifest()


def test_a_link_of_hdf5_reads_no_other_file(place):
    with h5py.File(place.parent / "secret.mat", "w") as secret:
        secret["image"] = PICTURE
        secret["cjdata/image"] = PICTURE
    for name in ("image", "cjdata"):
        with h5py.File(place / "1.mat", "w") as mat:
            mat["cjdata/label"], mat["cjdata/PID"] = np.array([[1.0]]), np.array([[65]], np.uint16)
            if name == "image":
                mat["cjdata/image"] = h5py.ExternalLink("../secret.mat", "image")
            else:
                del mat["cjdata"]
                mat["cjdata"] = h5py.ExternalLink("../secret.mat", "cjdata")
        assert "link to another file" in outcome(lambda path: Figshare(str(place)).decode("1.mat"), place / "1.mat")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bombs(folder):
    """Write images whose heads claim ten thousand million pixels."""
    bomb(folder / "x.png")
    (folder / "x.bmp").write_bytes(
        struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 154, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    (folder / "x.gif").write_bytes(b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + bytes(20))
    (folder / "x.ppm").write_bytes(b"P5 100000 100000 255\n")
    tags = [(256, 4, 100_000), (257, 4, 100_000), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 10**9)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    (folder / "x.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    (folder / "x.eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n")


def test_large_claims_fill_no_memory(place):
    bombs(place)
    before = peak()
    read = from_a_source(lambda path: ImageFolder(str(path.parents[1])))
    line = outcome(read, place / "x.png")
    assert line.startswith("6 of 6 images cannot be read") and peak() - before < 300 * 2**20
    with h5py.File(place / "1.mat", "w") as mat:  # a few bytes on disk
        mat["cjdata/label"], mat["cjdata/PID"] = np.array([[1.0]]), np.array([[65]], np.uint16)
        mat.create_dataset("cjdata/image", (100_000, 100_000), "i2", chunks=(100, 100), compression="gzip")
    assert "claims 20000000000 bytes" in outcome(KINDS["mat"].read, place / "1.mat")
    assert peak() - before < 300 * 2**20


def test_an_archive_larger_than_the_memory_is_refused_by_what_it_claims(place, monkeypatch):
    write_medmnist(place / "x.npz")
    assert outcome(KINDS["npz"].read, place / "x.npz") == ""
    monkeypatch.setattr(npz, "memory", lambda: 200)
    assert "of this machine's memory" in outcome(KINDS["npz"].read, place / "x.npz")
    monkeypatch.undo()
    with zipfile.ZipFile(place / "x.npz", "w") as archive:  # its array claims what the archive does not have
        head = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + "\n"
        for split in ("train", "val", "test"):
            for part in ("images", "labels"):
                archive.writestr(f"{split}_{part}.npy", b"\x93NUMPY\1\0" + struct.pack("<H", 118) + head.encode())
    before = peak()
    assert "is no file of MedMNIST" in outcome(lambda path: MedMnist(str(path)).manifest(), place / "x.npz")
    assert peak() - before < 100 * 2**20


def test_a_configuration_names_no_other_kind_of_class(place, tmp_path, image_folder, capfd):
    """A class path is a class to build: only those of the kind that stands there are."""
    for key, name in (("model", "os.mkdir"), ("model", "subprocess.Popen"), ("source", "zipfile.ZipFile")):
        config = yaml.safe_load(yaml.safe_dump(CONFIG))
        node = {"class_path": name, "init_args": {"path": str(tmp_path / "ran")}}
        config |= {"model": node} if key == "model" else {"data": {"source": node}}
        (place / "x.yaml").write_text(yaml.safe_dump(config))
        assert main(["fit", "--config", str(place / "x.yaml"), f"--run.root={tmp_path}/runs"]) == 2
        err = capfd.readouterr().err
        assert "Traceback" not in err and name in err
    assert [path.name for path in tmp_path.iterdir()] == ["given"]
