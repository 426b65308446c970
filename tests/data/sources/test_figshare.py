"""Figshare: files in the structure of the publisher's."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from vitlab.data.sources import Figshare


def write_mat(path, label, pid, image, mask):
    """Write a slice in the structure of the publisher's files: arrays transposed, text as numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_group("cjdata")
        data["label"] = np.array([[float(label)]])
        data["PID"] = np.array([[ord(letter)] for letter in pid], np.uint16)
        data["image"] = image.T.astype(np.int16)
        data["tumorMask"] = mask.T.astype(np.uint8)
        data["tumorBorder"] = np.zeros((1, 8))


def test_the_publishers_mat_files(tmp_path, cached):
    image = np.zeros((16, 12), np.int16)
    image[0] = 3000  # the top row is bright
    mask = np.zeros((16, 12), bool)
    mask[3:6, 7:9] = True
    write_mat(tmp_path / "brainTumorDataPublic_1-766" / "2.mat", 1, "100360", image, mask)
    write_mat(tmp_path / "brainTumorDataPublic_1-766" / "10.mat", 3, "100361", image, mask)
    write_mat(tmp_path / "brainTumorDataPublic_767-1532" / "767.mat", 2, "MR051644B", image, mask)
    write_mat(tmp_path / "cvind.mat", 2, "x", image, mask)
    source = Figshare(str(tmp_path))
    manifest = source.manifest()
    manifest.check()
    assert [Path(path).name for path in manifest.path] == ["2.mat", "10.mat", "767.mat"]
    assert manifest.label.tolist() == ["meningioma", "pituitary", "glioma"]
    assert manifest.patient_id.tolist() == ["100360", "100361", "MR051644"]
    assert manifest.columns["exam_id"][2] == "MR051644B"
    np.testing.assert_array_equal(source.read_mask(manifest.mask_path[0]), mask)
    cache = cached(source, image_size=16)
    assert cache.ok.all() and (cache.images[0, 0, 0, 2:14] == 255).all() and cache.images[0, 0, 1:].max() == 0


def test_a_damaged_mat_file_is_named_by_the_cache(tmp_path, cached):
    pixels, mask = np.arange(64).reshape(8, 8), np.zeros((8, 8))
    for number in (1, 2):
        write_mat(tmp_path / f"{number}.mat", number, "1", pixels, mask)
    (tmp_path / "3.mat").write_bytes(b"MATLAB 5.0 MAT-file, older")
    source = Figshare(str(tmp_path))
    assert source.manifest().label.tolist() == ["meningioma", "glioma", ""]
    with pytest.warns(UserWarning, match=r"1 of 3 .* 3\.mat"):
        assert cached(source, on_error="skip").ok.tolist() == [True, True, False]
    (tmp_path / "x").mkdir()
    with pytest.raises(ValueError, match=r"1\.mat"):
        Figshare(str(tmp_path / "x")).manifest()


def test_few_values_of_many_bytes_are_not_read(tmp_path, cached):
    pixels, mask = np.arange(64).reshape(8, 8), np.zeros((8, 8))
    for number in (1, 2):
        write_mat(tmp_path / f"{number}.mat", number, "1", pixels, mask)
    with h5py.File(tmp_path / "2.mat", "a") as file:  # 64 GB of texts, none of them on disk
        del file["cjdata/image"]
        file.create_dataset("cjdata/image", (2**13, 2**13), "S1000", chunks=(64, 64))
    with pytest.raises(ValueError, match=r"^1 of 2 .* 2\.mat \(its image claims 67108864000 bytes\)"):
        cached(Figshare(str(tmp_path)))


def test_a_link_through_a_link_to_another_file_is_not_followed(tmp_path, cached):
    pixels, mask = np.arange(64).reshape(8, 8), np.zeros((8, 8))
    write_mat(tmp_path / "other" / "file.h5", 1, "1", pixels, mask)
    write_mat(tmp_path / "set" / "1.mat", 1, "1", pixels, mask)
    with h5py.File(tmp_path / "set" / "2.mat", "w") as file:
        file["out"] = h5py.ExternalLink(str(tmp_path / "other" / "file.h5"), "/")
        file["cjdata"] = h5py.SoftLink("/out/cjdata")
    source = Figshare(str(tmp_path / "set"))
    assert source.manifest().label.tolist() == ["meningioma", ""]
    with pytest.raises(ValueError, match=r"^1 of 2 .* 2\.mat \(its image lies in another file\)"):
        cached(source)
