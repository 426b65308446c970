"""Nifti: which slices of which volumes, which way up, whose they are, and what is said of broken ones."""

import gzip
import os

import nibabel
import numpy as np
import pytest

from vitlab.cli import main
from vitlab.data.sources import Nifti
from vitlab.data.sources.nifti import read_nifti
from vitlab.evaluate.predictions import read_predictions

RAS = np.diag([1.0, 1, 1, 1])


def write(path, values, affine=RAS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(values), affine), path)
    return path


def head(rng, bright_on_top=False, shape=(20, 24, 10), slices=range(2, 8)):
    """Return a volume: a dark box in the slices given, with a bright disc in its anterior or posterior half."""
    values = np.zeros(shape, np.int16)
    values[3:17, 3:21, list(slices)] = 300
    y = 14 if bright_on_top else 4
    x = int(rng.integers(5, 11))
    values[x : x + 5, y : y + 5, list(slices)] = 900
    return values + rng.integers(0, 20, shape).astype(np.int16)


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_slices_lie_as_radiologists_see_them(tmp_path, axis, flips):
    """One bright voxel: right, anterior, superior of the centre, whatever way the file is stored."""
    values = np.zeros((9, 11, 13), np.float32)
    right, anterior, superior = 7, 8, 10
    values[right, anterior, superior] = 1
    stored = values[tuple(slice(None, None, flip) for flip in flips)]
    volume = read_nifti(write(tmp_path / "x.nii.gz", stored, np.diag([*map(float, flips), 1])), axis, (0, 1))
    top, left = {
        "axial": (10 - anterior, 8 - right),
        "coronal": (12 - superior, 8 - right),
        "sagittal": (12 - superior, 10 - anterior),
    }[axis]
    number = {"axial": superior, "coronal": anterior, "sagittal": right}[axis]
    assert np.argwhere(volume.slices).tolist() == [[number, top, left]]


def test_pixels_become_square_and_values_fill_the_window(tmp_path):
    values = np.zeros((10, 12, 6), np.float32)
    values[5:, :, :] = 80
    path = write(tmp_path / "a" / "x.nii", values - 1000, np.diag([1, 1, 3.0, 1]))
    assert read_nifti(path, "coronal").picture(0).shape == (18, 10)
    assert np.unique(read_nifti(path).slices).tolist() == [0, 255]
    half = read_nifti(path, window=(-1000, -840)).slices
    assert np.unique(half).tolist() == [0, 128]
    source = Nifti(str(tmp_path), keep="all", window=(-1000, -840))
    manifest = source.manifest()
    assert manifest.path[0] == "a/x.nii#axial,-1000..-840/0"  # another window is another manifest
    assert manifest.sha256 != Nifti(str(tmp_path), keep="all").manifest().sha256
    assert source.decode(manifest.path[0]).max() == 128


def test_which_slices_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path / "a" / "sub-01_T1w.nii.gz", head(rng))
    mask = np.zeros((20, 24, 10), np.uint8)
    mask[8, 9, 3:6] = 2
    write(tmp_path / "a" / "sub-01_T1w_mask.nii.gz", mask)
    write(tmp_path / "b" / "x.nii", head(rng))

    def kept(**settings):
        manifest = Nifti(str(tmp_path), **settings).manifest()
        return [path.replace("#axial/", "#") for path in manifest.path]

    first, second = "a/sub-01_T1w.nii.gz#", "b/x.nii#"
    assert kept() == [first + str(k) for k in range(2, 8)] + [second + str(k) for k in range(2, 8)]
    assert kept(every=3) == [first + "2", first + "5", second + "2", second + "5"]
    assert kept(keep="mask") == [first + "3", first + "4", first + "5"]
    assert len(kept(keep="all")) == 20
    assert kept(min_head=0.5) == kept()  # the box is 14 x 18 of 20 x 24 pixels
    with pytest.raises(ValueError, match="no slice"):
        kept(min_head=0.55)


def test_masks_patients_and_labels(tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path / "train" / "a" / "sub-01" / "ses-2_T1w.nii.gz", head(rng))
    mask = np.zeros((20, 24, 10), np.uint8)
    mask[4, 20, 4] = 1
    write(tmp_path / "train" / "a" / "sub-01" / "ses-2_T1w_mask.nii.gz", mask)
    write(tmp_path / "Testing" / "b" / "P7.nii", head(rng))
    source = Nifti(str(tmp_path), every=2)
    manifest = source.manifest()
    assert set(zip(manifest.patient_id, manifest.label, manifest.split, strict=True)) == {
        ("sub-01", "a", "train"), ("P7", "b", "test"),
    }  # fmt: skip
    (row,) = np.flatnonzero(manifest.mask_path != "")
    assert manifest.path[row].endswith("gz#axial/4")
    seen = source.read_mask(manifest.mask_path[row])
    assert np.argwhere(seen).tolist() == [[23 - 20, 19 - 4]] and seen.shape == source.decode(manifest.path[row]).shape
    named = Nifti(str(tmp_path), patient=r"/(ses-\d)").manifest()
    assert set(named.patient_id) == {"ses-2", "P7"}


def test_a_mask_that_cannot_be_read_costs_no_slice(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a/x.nii", "a/y.nii"):
        write(tmp_path / name, head(rng))
    (tmp_path / "a" / "x_mask.nii").write_text("no volume")
    (tmp_path / "labels.csv").write_text("path,label,mask_path\na/x.nii,glioma,\na/y.nii,glioma,a/lost.nii\n")
    with pytest.warns(UserWarning, match=r"2 masks of .* count as none, e\.g\. a/x_mask\.nii \("):
        manifest = Nifti(str(tmp_path), labels="labels.csv").manifest()
    assert [int(path.rpartition("/")[2]) for path in manifest.path] == [*range(2, 8)] * 2
    assert set(manifest.mask_path) == {""}
    write(tmp_path / "a" / "x_mask.nii", np.ones((20, 24, 9), np.uint8))
    with pytest.raises(ValueError, match=r"has 9 slices and a/x\.nii has 10"):
        Nifti(str(tmp_path)).manifest()


def test_a_table_labels_volumes_or_folders(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("p1/t1.nii", "p1/t2.nii", "p2/t1.nii", "lost.nii"):
        write(tmp_path / name, head(rng))
    write(tmp_path / "seg.nii", np.ones((20, 24, 10), np.uint8))
    table = tmp_path / "labels.csv"
    table.write_text("path,label,patient_id,fold,mask_path\np1,glioma,A,1,\np2/t1.nii,none,B,2,seg.nii\nq,none,C,1,\n")
    with pytest.warns(UserWarning) as said:
        manifest = Nifti(str(tmp_path), labels="labels.csv", every=6).manifest()
    warned = " ".join(str(one.message) for one in said)
    assert "1 rows name no file" in warned and "'q'" in warned
    assert "1 volumes" in warned and "lost.nii" in warned  # a mask is no volume
    assert list(zip(manifest.label, manifest.patient_id, manifest.column("fold"), strict=True)) == [
        ("glioma", "A", "1"), ("glioma", "A", "1"), ("none", "B", "2"),
    ]  # fmt: skip
    table.write_text("path,label,mask_path\np1,glioma,../../etc/x.nii\n")
    with pytest.raises(ValueError, match="leaves"):
        Nifti(str(tmp_path), labels="labels.csv").manifest()
    table.write_text("volume,label\np1,glioma\n")
    with pytest.raises(ValueError, match="it needs label and path"):
        Nifti(str(tmp_path), labels="labels.csv").manifest()


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    rng = np.random.default_rng(0)
    secret = write(tmp_path / "elsewhere" / "secret.nii", head(rng))
    write(tmp_path / "root" / "a" / "x.nii", head(rng))
    os.symlink(secret, tmp_path / "root" / "a" / "y.nii")
    os.symlink(secret.parent, tmp_path / "root" / "b")
    with pytest.warns(UserWarning, match="2 links"):
        manifest = Nifti(str(tmp_path / "root")).manifest()
    assert set(manifest.column("volume")) == {"a/x.nii"}


def test_broken_volumes_are_named_in_one_line(tmp_path, cached):
    rng = np.random.default_rng(0)
    good = write(tmp_path / "a" / "good.nii.gz", head(rng))
    (tmp_path / "a" / "cut.nii.gz").write_bytes(good.read_bytes()[:-2000])
    (tmp_path / "a" / "text.nii").write_text("no volume")
    write(tmp_path / "a" / "film.nii", np.zeros((4, 4, 4, 3), np.uint8))
    huge = bytearray(gzip.decompress(good.read_bytes()))
    huge[42:48] = np.array([32000, 32000, 32000], np.int16).tobytes()
    (tmp_path / "a" / "huge.nii").write_bytes(huge)
    source = Nifti(str(tmp_path))
    with pytest.raises(ValueError) as error:
        cached(source)
    said = str(error.value)
    assert "\n" not in said and said.startswith("4 of 10 images cannot be read")
    for words in ("cut.nii.gz#axial/0 (not a NIfTI volume, or damaged", "4 x 4 x 4 x 3: only single volumes",
                  "claims 32000 x 32000 x 32000", "text.nii#axial/0 (not a NIfTI"):  # fmt: skip
        assert words in said
    with pytest.warns(UserWarning, match="4 of 10"):
        assert cached(source, on_error="skip").ok.sum() == 6


def test_settings_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match=r"every is 0"):
        Nifti(str(tmp_path), every=0)
    with pytest.raises(ValueError, match="no regular expression"):
        Nifti(str(tmp_path), patient="(")
    with pytest.raises(ValueError, match="larger one of white"):
        Nifti(str(tmp_path), window=(1, 1))
    with pytest.raises(ValueError, match=r"no \.nii"):
        Nifti(str(tmp_path)).manifest()


def test_a_second_start_reads_no_volume_again(tmp_path, monkeypatch):
    monkeypatch.setenv("VITLAB_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    path = write(tmp_path / "root" / "a" / "x.nii", head(rng))
    first = Nifti(str(tmp_path / "root")).manifest()
    real = read_nifti
    monkeypatch.setattr("vitlab.data.sources.nifti.read_nifti", lambda *_: pytest.fail("read again"))
    assert Nifti(str(tmp_path / "root")).manifest().sha256 == first.sha256
    monkeypatch.setattr("vitlab.data.sources.nifti.read_nifti", real)
    write(path, head(rng, slices=range(2, 5)))
    os.utime(path, ns=(1, 1))
    assert len(Nifti(str(tmp_path / "root")).manifest()) == 3


def test_fit_learns_from_volumes(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(10):
        for label in ("anterior", "posterior"):
            write(tmp_path / "v" / label / f"{label[0]}{number}.nii.gz", head(rng, label == "anterior"))
    assert main([
        "fit", "--config", "configs/cnn.yaml", "--data.source=Nifti", f"--data.source.root={tmp_path / 'v'}",
        "--data.source.every=2", "--data.image_size=32", "--data.batch_size=4", "--trainer.max_epochs=12",
        "--data.augment.crop_scale=[1, 1]", "--data.augment.rotation=0",
        "--model.backbone_kwargs={channels: [8, 16, 32, 64]}",
        "--trainer.accelerator=cpu", "--trainer.precision=32-true", f"--run.root={tmp_path / 'runs'}",
    ]) == 0  # fmt: skip
    (found,) = (tmp_path / "runs").rglob("predictions.csv")
    written = read_predictions(found)
    assert len(written.index) == 60
    sides = {}
    for patient, split in zip(written.patient_id, written.split, strict=True):
        assert sides.setdefault(patient, split) == split
    assert len(sides) == 20
    targets = np.array([written.classes.index(label) for label in written.label])
    assert (written.probs.argmax(1) == targets).mean() > 0.9


def test_a_volume_that_becomes_a_mask_is_measured_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("VITLAB_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "root" / "a" / "x.nii", head(np.random.default_rng(0)))
    mask = np.zeros((20, 24, 10), np.uint8)
    mask[..., 4] = 20
    mask[3:6, 3:6, 2] = 1  # as a picture, darker than a tenth of the window
    write(tmp_path / "root" / "a" / "x_seg.nii", mask)
    assert set(Nifti(str(tmp_path / "root")).manifest().column("volume")) == {"a/x.nii", "a/x_seg.nii"}
    found = Nifti(str(tmp_path / "root"), mask_suffix="_seg", keep="mask").manifest()
    assert found.path.tolist() == ["a/x.nii#axial/2", "a/x.nii#axial/4"]


@pytest.mark.parametrize("mask", ["a/roi.nii", "./a/roi.nii", "a//roi.nii", "a/../a/roi.nii"])
def test_a_listed_mask_is_no_picture_however_its_path_is_written(tmp_path, mask):
    write(tmp_path / "a" / "x.nii", head(np.random.default_rng(0)))
    write(tmp_path / "a" / "roi.nii", (head(np.random.default_rng(0)) > 200).astype(np.uint8))
    (tmp_path / "labels.csv").write_text(f"path,label,mask_path\na,glioma,{mask}\n")
    manifest = Nifti(str(tmp_path), labels="labels.csv").manifest()
    assert set(manifest.column("volume")) == {"a/x.nii"}
    assert {path.partition("#")[0] for path in manifest.mask_path} == {"a/roi.nii"}
