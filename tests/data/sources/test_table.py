"""Csv and Phantom: tables of image files."""

import warnings

import numpy as np
import pytest
from PIL import Image

from vitlab.data.sources import Csv, Phantom

TINY = {"train_patients": 2, "val_patients": 1, "test_patients": 1, "slices": 2, "size": 32}


def test_a_table_with_renames_folds_and_masks(tmp_path, png, cached):
    png(tmp_path / "images" / "1.png", 200)
    png(tmp_path / "images" / "2.png", 50)
    mask = np.zeros((10, 12), np.uint8)
    mask[2:4] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "1.png")
    (tmp_path / "manifest.csv").write_text(
        "path,label,patient_id,patient_base,fold,mask_path\nimages/1.png,a,p1A,p1,1,masks/1.png\nimages/2.png,b,p2A,p2,2,\n"
    )
    source = Csv(str(tmp_path), columns={"patient_id": "patient_base"}, name="mine")
    manifest = source.manifest()
    assert source.name == "mine" and manifest.patient_id.tolist() == ["p1", "p2"]
    assert manifest.columns["fold"].tolist() == ["1", "2"]
    assert source.read_mask(manifest.mask_path[0]).sum() == 24
    assert cached(source, fit="crop").images.mean((1, 2, 3)).tolist() == [200, 50]


def test_a_table_may_not_lead_out_of_its_root(tmp_path, png):
    png(tmp_path / "out.png")
    png(tmp_path / "set" / "in.png")
    table = tmp_path / "set" / "manifest.csv"
    for path in ("../out.png", "sub/../../out.png", ".."):
        table.write_text(f"path,label\nin.png,a\n{path},b\n")
        with pytest.raises(ValueError, match=r"manifest\.csv has .* in line 3, which leaves"):
            Csv(str(tmp_path / "set")).manifest()
    table.write_text(f"path,label\nsub/../in.png,a\n{tmp_path / 'out.png'},b\n..odd.png,a\n")
    assert len(Csv(str(tmp_path / "set")).manifest()) == 3


def test_a_table_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.csv does not exist"):
        Csv(str(tmp_path)).manifest()


def test_the_phantom_is_made_on_first_use(tmp_path, monkeypatch, cached):
    monkeypatch.setenv("VITLAB_CACHE", str(tmp_path))
    source = Phantom(**TINY)
    manifest = source.manifest()
    manifest.check()
    assert source.name == "phantom" and len(manifest) == 4 * 4 * 2 and manifest.has_patients
    assert manifest.root.is_relative_to(tmp_path)
    assert cached(source, image_size=32).ok.all()
    tumour = manifest.mask_path[manifest.mask_path != ""][0]
    assert source.read_mask(tumour).shape == (32, 32) and source.read_mask(tumour).any()
    assert Phantom(**TINY).manifest().sha256 == manifest.sha256

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Phantom(root=str(manifest.root))
    assert again.manifest().sha256 == manifest.sha256
    with pytest.warns(UserWarning, match="size of Phantom ignored"):
        Phantom(root=str(manifest.root), size=48)
