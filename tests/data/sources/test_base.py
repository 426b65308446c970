"""Where a source looks for its folder, and what it takes for lesion in the image of a mask."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.data.sources.test_tar_shards import picture, write_tar
from vitlab.cli import main
from vitlab.data.sources import Csv, TarShards, resolve_root


def line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_root_is_sought_in_vitlab_data_then_here(tmp_path, monkeypatch):
    data, here = tmp_path / "data", tmp_path / "here"
    for folder in (data / "both", here / "both", here / "local"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("VITLAB_DATA", str(data))
    assert resolve_root("both") == data / "both"
    assert resolve_root("local") == here / "local"
    assert resolve_root(data) == data
    with pytest.raises(FileNotFoundError) as error:
        resolve_root("lost")
    assert str(data / "lost") in line(error) and str(here / "lost") in line(error) and "VITLAB_DATA" in line(error)
    monkeypatch.delenv("VITLAB_DATA")
    assert resolve_root("both") == here / "both"
    with pytest.raises(FileNotFoundError, match="not set"):
        resolve_root("lost")


@pytest.mark.parametrize(("source", "name"), [("Dicom", "x.dcm"), ("Nifti", "x.nii"), ("Figshare", "1.mat")])
def test_a_pipe_among_the_files_is_left_out_and_not_waited_for(source, name, tmp_path):
    (tmp_path / "glioma").mkdir()
    os.mkfifo(tmp_path / "glioma" / name)
    code = f"from vitlab.data.sources import {source}; {source}({str(tmp_path)!r}).manifest()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert f"ValueError: {tmp_path} has no" in ended.stderr
    assert source == "Figshare" or f"e.g. glioma/{name}" in ended.stderr


@pytest.mark.parametrize("setting", ["--data.source.root=~nobody-here/images", "VITLAB_DATA", "VITLAB_CACHE"])
def test_a_home_that_there_is_not_is_one_line(setting, tmp_path, monkeypatch, capsys, image_folder):
    data = ["--data.source=ImageFolder", f"--data.source.root={image_folder}"]
    if setting.startswith("--"):
        data[1] = setting
    else:
        monkeypatch.setenv(setting, "~nobody-here/images")
        data[1] = "--data.source.root=images" if setting == "VITLAB_DATA" else data[1]
    assert main(["audit", *data, f"--out={tmp_path / 'out'}"]) == 2
    said = [one for one in capsys.readouterr().err.splitlines() if one.startswith("vitlab audit:")]
    assert len(said) == 1 and "~nobody-here" in said[0]


LABELS = np.repeat([0, 0, 1, 2, 4, 0], 8).reshape(6, 8)  # as BraTS numbers parts of a tumour
EDGES = np.tile(np.linspace(0, 255, 40).round(), (6, 1))
NOISY = np.where(LABELS > 0, 255, np.arange(48).reshape(6, 8) % 2)
MASKS = [
    ("labels.png", LABELS.astype(np.uint8), {}, LABELS > 0),
    ("deep.png", (LABELS * 300).astype(np.uint16), {}, LABELS > 0),
    ("deep.tif", (LABELS * 300).astype(np.int32), {}, LABELS > 0),
    ("float.tif", np.where(LABELS > 0, LABELS / 8, np.nan).astype(np.float32), {}, LABELS > 0),
    ("binary.png", LABELS > 0, {}, LABELS > 0),
    ("from one.png", (LABELS > 0).astype(np.uint8) + 1, {}, LABELS > 0),
    ("none.png", np.zeros((6, 8), np.uint8), {}, LABELS < 0),
    ("edges.png", EDGES.astype(np.uint8), {}, EDGES > 127),
    ("edges16.png", (EDGES * 257).astype(np.uint16), {}, EDGES > 127),
    ("edges.tif", (EDGES / 255).astype(np.float32), {}, EDGES > 127),
    ("noisy.jpg", NOISY.astype(np.uint8), {"quality": 100}, LABELS > 0),
]


@pytest.mark.parametrize(("name", "values", "settings", "expected"), MASKS, ids=[case[0] for case in MASKS])
def test_every_label_of_a_mask_is_lesion_and_gray_edges_end_at_half(name, values, settings, expected, tmp_path):
    file = io.BytesIO()
    form = {"jpg": "JPEG", "tif": "TIFF", "png": "PNG"}[name.split(".")[1]]
    Image.fromarray(values).save(file, form, **settings)
    (tmp_path / name).write_bytes(file.getvalue())
    write_tar(tmp_path / "x.tar", [("x.png", picture(9)), (f"x.mask.{name.split('.')[1]}", file.getvalue())])
    np.testing.assert_array_equal(Csv(str(tmp_path)).read_mask(name), expected)
    member = f"x.tar#x.mask.{name.split('.')[1]}"
    np.testing.assert_array_equal(TarShards(str(tmp_path)).read_mask(member), expected)
