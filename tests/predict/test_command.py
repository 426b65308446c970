"""predict --images through the real command: pictures, volumes and DICOM, a line each, and nothing half-written."""

import csv
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
import torch
import yaml
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from vitlab.cli import main
from vitlab.data.decode import to_uint8
from vitlab.evaluate.predictions import read_predictions
from vitlab.explain.features.ood import FILE
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.saliency.maps import image_maps, shown_method
from vitlab.predict.command import write_overlay


@pytest.fixture(scope="module")
def run(runs, tmp_path_factory):
    """Return a copy of a trained CNN's folder, to write into."""
    return shutil.copytree(runs["cnn"], tmp_path_factory.mktemp("predict") / "cnn")


def disc(top, rng, size=(36, 40)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    y, x = (9 if top else 27) + rng.integers(-3, 4), rng.integers(12, 28)
    pixels = 150.0 * ((rows - y) ** 2 + (columns - x) ** 2 < 36) + rng.normal(50, 15, size)
    return pixels.clip(0, 255).astype(np.uint8)


def write_nifti(path, slices):
    """Write (S, H, W) pictures, seen as they are by a radiologist, as a volume with the identity as affine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(slices, np.int16).transpose(2, 1, 0)[::-1, ::-1]
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def write_dicom(path, picture, place, series, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID, found.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    found.Rows, found.Columns = picture.shape
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 16, 15
    found.WindowCenter, found.WindowWidth, found.InstanceNumber, found.SeriesInstanceUID = 128, 256, place, series
    for name, value in header.items():
        setattr(found, name, value)
    found.PixelData = picture.astype(np.uint16).tobytes()
    found.save_as(path, enforce_file_format=True)


def predict(run, images, out, *more):
    return main(["predict", f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}", "--images", str(images),
                 f"--out={out}", *more])  # fmt: skip


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def mixed(tmp_path):
    """Return a folder of two pictures, a NIfTI volume of the kind top and a DICOM series of the kind bottom."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "mixed"
    (folder / "pictures").mkdir(parents=True)
    Image.fromarray(disc(True, rng)).save(folder / "pictures" / "=HYPERLINK(1).png")
    noise = rng.integers(0, 256, (36, 40)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "pictures" / "noise.jpg", quality=95)
    empty = np.zeros((36, 40), np.uint8)
    write_nifti(folder / "sub-1.nii.gz", [empty, *(disc(True, rng) for _ in range(4)), empty])
    for place in range(3):
        write_dicom(folder / "JANE" / f"IM{place}", disc(False, rng), place, "1.2.3", PatientID="MRN99",
                    PatientName="Doe^Jane")  # fmt: skip
    (folder / "notes.txt").write_text("no image")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_a_folder_of_everything(run, mixed, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match=r"1 files .* are no images, e\.g\. notes\.txt"):
        assert predict(run, mixed, out) == 0
    said = capsys.readouterr()
    assert "1 images cannot be read and are left out: broken.png (" in said.err
    assert said.out.startswith("11 images: bottom ")
    rows = table(out / "predictions.csv")
    assert list(rows[0]) == ["path", "slice", "volume", "patient_id", "prob_bottom", "prob_top", "predicted",
                             "ood_score", "warning"]  # fmt: skip
    assert len(rows) == 11 and all(abs(float(r["prob_top"]) + float(r["prob_bottom"]) - 1) < 1e-5 for r in rows)
    assert [row["slice"] for row in rows] == ["", "", *"012345", "0", "0", "0"]
    by_path = {row["path"]: row for row in rows}
    assert by_path["pictures/noise.jpg"]["warning"] == "unlike the training images"
    first = by_path["pictures/=HYPERLINK(1).png"]
    assert (first["predicted"], first["volume"], first["warning"]) == ("top", "", "")
    assert [row["path"] for row in table(out / "skipped.csv")] == ["broken.png"]
    assert "not an image" in table(out / "skipped.csv")[0]["reason"]
    volumes = table(out / "volumes.csv")
    facts = [(volume["predicted"], volume["slices"], volume["slices_with_head"]) for volume in volumes]
    assert facts == [("top", "6", "4"), ("bottom", "3", "3")]
    inner = [float(row["prob_top"]) for row in rows if row["volume"] == "sub-1.nii.gz"][1:5]
    assert float(volumes[0]["prob_top"]) == pytest.approx(np.mean(inner), abs=2e-6)  # empty slices do not count
    assert volumes[0]["patient_id"] == "sub-1" and volumes[1]["patient_id"].startswith("p")
    for file in out.iterdir():
        content = file.read_text().lower()
        assert "jane" not in content and "doe" not in content and "mrn99" not in content


def test_dicom_files_without_pixels_stop_nothing(run, mixed, tmp_path):
    """Reports lie in every folder of a clinic."""
    report = pydicom.dcmread(mixed / "JANE" / "IM0")
    del report.PixelData, report.Rows, report.Columns
    report.save_as(mixed / "pictures" / "report.dcm")
    for folder, images in (("pictures", 2), (".", 11)):
        with pytest.warns(UserWarning, match="1 DICOM files of .* hold no pixels and are left out"):
            assert predict(run, mixed / folder, tmp_path / "out") == 0
        assert len(table(tmp_path / "out" / "predictions.csv")) == images


def test_one_volume_of_many_slices_is_nothing_to_warn_of(run, tmp_path, recwarn):
    rng = np.random.default_rng(0)
    write_nifti(tmp_path / "in" / "x.nii", [disc(True, rng) for _ in range(25)])
    assert predict(run, tmp_path / "in", tmp_path / "out") == 0
    assert not [one for one in recwarn if "the only one" in str(one.message)]
    assert table(tmp_path / "out" / "volumes.csv")[0]["slices"] == "25"


def test_volumes_are_seen_as_in_training(run, tmp_path):
    """A model of coronal CT slices in a window would see other pictures through percentiles."""
    like = shutil.copytree(run, tmp_path / "like")
    config = yaml.safe_load((like / "config.yaml").read_text())
    settings = {"root": "/nowhere", "axis": "coronal", "window": [0.0, 80.0]}
    config["data"]["source"] = {"class_path": "vitlab.data.sources.Nifti", "init_args": settings}
    (like / "config.yaml").write_text(yaml.safe_dump(config))
    rng = np.random.default_rng(0)
    pixels = np.stack([disc(True, rng) for _ in range(4)])
    write_nifti(tmp_path / "in" / "x.nii", pixels)
    write_dicom(tmp_path / "in" / "y", pixels[0], 0, "1.2.3", WindowCenter=1000)
    assert predict(like, tmp_path / "in", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "predictions.csv")
    assert [row["path"] for row in rows] == [*(f"x.nii#coronal,0..80/{k}" for k in range(36)), "y#0..80/0"]
    assert predict(run, tmp_path / "in", tmp_path / "plain") == 0
    assert rows[-1]["prob_top"] != table(tmp_path / "plain" / "predictions.csv")[-1]["prob_top"]


def test_a_folder_here_is_not_taken_for_one_of_the_same_name_elsewhere(run, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    write_nifti(tmp_path / "here" / "in" / "x.nii", [disc(True, rng) for _ in range(2)])
    write_nifti(tmp_path / "elsewhere" / "in" / "x.nii", [disc(True, rng) for _ in range(3)])
    monkeypatch.setenv("VITLAB_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path / "here")
    assert predict(run, "in", tmp_path / "out") == 0
    assert table(tmp_path / "out" / "volumes.csv")[0]["slices"] == "2"


def test_formulas_are_words(run, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(disc(True, rng)).save(folder / "=1+1.png")
    Image.fromarray(disc(True, rng)).save(folder / "-5.png")
    assert predict(run, folder, tmp_path / "out") == 0
    assert [row["path"] for row in table(tmp_path / "out" / "predictions.csv")] == ["'-5.png", "'=1+1.png"]


def test_it_says_what_the_run_said_of_its_own_images(run, image_folder, tmp_path):
    assert predict(run, image_folder / "test", tmp_path / "out") == 0
    written = read_predictions(run / "predictions.csv")
    expected = {path: p for path, p in zip(written.path, written.probs[:, 1], strict=True) if path.startswith("test/")}
    rows = table(tmp_path / "out" / "predictions.csv")
    assert len(rows) == len(expected)
    for row in rows:
        assert float(row["prob_top"]) == pytest.approx(expected[f"test/{row['path']}"], abs=3e-6)


def test_without_training_images_there_is_no_score_unless_it_was_saved(run, mixed, tmp_path, capsys):
    away = shutil.copytree(run, tmp_path / "away")
    (away / FILE).unlink(missing_ok=True)
    config = away / "config.yaml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join("      root: /nowhere" if line.startswith("      root:") else line for line in lines))
    assert predict(away, mixed / "pictures", tmp_path / "out") == 0
    assert "no ood_score: it needs the training images once" in capsys.readouterr().err
    assert {row["ood_score"] for row in table(tmp_path / "out" / "predictions.csv")} == {""}
    assert predict(run, mixed / "pictures", tmp_path / "out") == 0
    assert (run / FILE).is_file()
    shutil.copy(run / FILE, away / FILE)
    assert predict(away, mixed / "pictures", tmp_path / "out") == 0
    assert "" not in {row["ood_score"] for row in table(tmp_path / "out" / "predictions.csv")}


def test_what_a_map_marks_is_painted_beside_the_image(tmp_path):
    marked = np.zeros((64, 64), np.float32)
    marked[:, -8:] = 3
    write_overlay(np.full((1, 64, 64), 90, np.uint8), marked, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (192, 384, 3)
    changed = (pixels[:, :192] != pixels[:, 192:]).any((0, 2))
    assert changed[-24:].all() and not changed[:-26].any()  # a map is drawn without steps


def test_saliency_pictures_are_those_of_the_runs_maps(run, mixed, tmp_path):
    out = tmp_path / "out"
    assert predict(run, mixed / "pictures", out, "--explain") == 0
    rows = table(out / "predictions.csv")
    assert [row["saliency"] for row in rows] == ["saliency/000000.png", "saliency/000001.png"]
    loaded = load_run(run)
    with Image.open(mixed / "pictures" / rows[0]["path"].removeprefix("'")) as picture:
        image = to_uint8(picture.copy(), loaded.data.image_size, loaded.data.channels, loaded.data.fit)
    maps = image_maps(loaded, torch.from_numpy(np.array(image[None])), shown_method(loaded))
    write_overlay(image, maps[0], tmp_path / "expected.png")
    with Image.open(out / rows[0]["saliency"]) as found, Image.open(tmp_path / "expected.png") as expected:
        assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 1
    assert sorted(path.name for path in out.iterdir()) == ["predictions.csv", "saliency", "skipped.csv", "volumes.csv"]
    assert predict(run, mixed / "pictures", out) == 0
    assert not (out / "saliency").exists()  # pictures of another time would be taken for these


def test_files_of_the_user_beside_the_pictures_stay(run, mixed, tmp_path):
    """The working folder of a project, or the folder that pictures were looked at in."""
    (own := tmp_path / "out" / "saliency").mkdir(parents=True)
    (own / "000000.png").write_text("mine")
    assert predict(run, mixed / "pictures", tmp_path / "out") == 0
    assert (own / "000000.png").read_text() == "mine"
    (own / "000000.png").rename(own / "notes.txt")
    for more, count in ((["--explain"], 2), ([], 0), (["--explain"], 2)):
        assert predict(run, mixed / "pictures", tmp_path / "out", *more) == 0
        assert len(list(own.glob("*.png"))) == count and (own / "notes.txt").read_text() == "mine"
    (mixed / "pictures" / "noise.jpg").unlink()
    assert predict(run, mixed / "pictures", tmp_path / "out", "--explain") == 0
    assert sorted(path.name for path in own.iterdir()) == ["000000.png", "notes.txt"]


@pytest.mark.parametrize(
    ("file", "more", "words"),
    [
        ("results.json", [], "is the folder of a run, which has its own predictions: give another folder"),
        ("predictions.csv", [], "has a predictions.csv that predict has not written: give another folder, or move it"),
        ("volumes.csv", [], "has a volumes.csv that predict has not written"),
        ("skipped.csv", [], "has a skipped.csv that predict has not written"),
        ("saliency", ["--explain"], "has a saliency that predict has not written"),
        ("saliency/000001.png", ["--explain"], "has a saliency that predict has not written"),
        ("a run's own", [], "is the folder of a run"),
    ],
)
def test_what_predict_has_not_written_is_not_overwritten(file, more, words, run, mixed, tmp_path, capsys):
    out = tmp_path / "out"
    if file == "a run's own":
        shutil.copytree(run, out)
        (out / "results.json").unlink()  # it goes on another time
        run = out
    else:
        (out / file).parent.mkdir(parents=True)
        shutil.copy(run / "predictions.csv", out / file)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert predict(run, mixed / "pictures", out, *more) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and words in said[0], said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_failure_leaves_what_was_there(run, mixed, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert predict(run, mixed / "pictures", out, "--explain") == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr("vitlab.predict.command.write_overlay", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(run, mixed / "pictures", out, "--explain")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no checkpoint", "there is no checkpoint"),
        ("pretraining", "knows no classes"),
        ("no run", "leave a checkpoint in the folder of its run"),
        ("not a checkpoint", "is not a checkpoint of vitlab, or damaged"),
        ("no folder", "there is no"),
        ("a file", "is a file: give the folder"),
        ("empty", "has no images"),
        ("all broken", "1 of 1 images cannot be read: x.png (not an image"),
        ("out inside", "is inside --images"),
        ("out is a file", "it is a file, give a folder"),
        ("misspelt", "there is no setting explian, did you mean explain?"),
        ("no weights", "ckpt_path"),
    ],
)
def test_mistakes_are_one_line(case, words, run, runs, mixed, tmp_path, capsys):
    checkpoint, images, out = run / "checkpoints" / "best.ckpt", mixed / "pictures", tmp_path / "out"
    more = ["--explian"] if case == "misspelt" else []
    if case == "no checkpoint":
        checkpoint = tmp_path / "lost.ckpt"
    elif case == "pretraining":
        checkpoint = runs["mae_pretrain"] / "checkpoints" / "last.ckpt"
    elif case == "no run":
        checkpoint = shutil.copy(checkpoint, tmp_path / "best.ckpt")
    elif case == "not a checkpoint":
        (tmp_path / "r" / "checkpoints").mkdir(parents=True)
        shutil.copy(run / "config.yaml", tmp_path / "r")
        (checkpoint := tmp_path / "r" / "checkpoints" / "best.ckpt").write_bytes(b"nonsense")
    elif case == "no folder":
        images = tmp_path / "lost"
    elif case == "a file":
        images = images / "noise.jpg"
    elif case in ("empty", "all broken"):
        (images := tmp_path / "in").mkdir()
        if case == "all broken":
            (images / "x.png").write_bytes(b"nonsense")
    elif case == "out inside":
        out = images / "out"
    elif case == "out is a file":
        out.write_text("")
    arguments = ["predict", f"--ckpt_path={checkpoint}", f"--images={images}", f"--out={out}", *more]
    assert main([argument for argument in arguments if case != "no weights" or "ckpt" not in argument]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("decoding", "warning"))]
    assert len(said) == 1 and words in said[0], said
    assert case == "out is a file" or not out.exists()


def test_help_shows_images(capsys):
    assert main(["predict", "--images=.", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--explain" in said and "--ckpt_path" in said
