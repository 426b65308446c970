"""Dicom: gray values as the header says, frames and series in order, patients without their names."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_windowing
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid

from vitlab.cli import main
from vitlab.data.sources import Dicom
from vitlab.data.sources.dicom_pixels import read_dicom


def write(path, pixels, compress=None, **header):
    """Write a DICOM file: pixels (H, W) or (F, H, W) of int16 or uint16, or (H, W, 3) of uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(pixels)
    colour = pixels.dtype == np.uint8
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID, found.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    found.Rows, found.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    found.SamplesPerPixel, found.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        found.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        found.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    found.BitsAllocated, found.BitsStored, found.HighBit = bits, bits, bits - 1
    found.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in header.items():
        setattr(found, name, value)
    found.PixelData = pixels.tobytes()
    if compress is not None:
        found.compress(compress)
    found.save_as(path, enforce_file_format=True)
    return path


RAMP = np.arange(-1000, 600, dtype=np.int16).reshape(40, 40)


def test_rescale_and_window_are_those_of_the_standard(tmp_path):
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        header = {"RescaleSlope": 2, "RescaleIntercept": -10, "WindowCenter": [40, 300], "WindowWidth": [400, 1500],
                  "VOILUTFunction": function}  # fmt: skip
        path = write(tmp_path / "x.dcm", RAMP, **header)
        shown = apply_windowing(RAMP * 2.0 - 10, pydicom.dcmread(path))
        low, high = -(2**15) * 2 - 10, (2**15 - 1) * 2 - 10  # the range that pydicom scales to
        expected = (shown - low) / (high - low) * 255
        np.testing.assert_allclose(read_dicom(path).slices[0], expected, atol=0.51)
    assert np.unique(read_dicom(path, (-2010, -2009)).slices).tolist() == [0, 255]  # a window of one's own is first


def test_without_a_window_percentiles_and_padding_is_black(tmp_path):
    padded = RAMP.copy()
    padded[:5] = -2000
    gray = read_dicom(write(tmp_path / "x.dcm", padded, PixelPaddingValue=-2000)).slices[0]
    low, high = np.percentile(padded[5:], (0.5, 99.5))
    expected = ((padded[5:] - low) / (high - low) * 255).clip(0, 255)
    np.testing.assert_allclose(gray[5:], expected, atol=0.51)
    inverse = read_dicom(
        write(tmp_path / "y.dcm", padded, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    ).slices[0]
    assert (inverse[5:] == 255 - gray[5:]).all() and not inverse[:5].any() and not gray[:5].any()


def test_a_table_of_values(tmp_path):
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4, 10, 8], [0, 100, 50, 255]
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "US"
    pixels = np.array([[0, 10], [11, 12], [13, 99]], np.uint16)
    path = write(tmp_path / "x.dcm", pixels, VOILUTSequence=[item])
    assert read_dicom(path).slices[0].tolist() == [[0, 0], [100, 50], [255, 255]]


def test_frames_with_windows_of_their_own(tmp_path):
    def group(centre, slope):
        one, window, rescale = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 200
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, 0, "US"
        one.FrameVOILUTSequence, one.PixelValueTransformationSequence = [window], [rescale]
        return one

    frames = np.stack([RAMP, RAMP])
    path = write(tmp_path / "a" / "x.dcm", frames, PatientID="1",
                 PerFrameFunctionalGroupsSequence=[group(0, 1), group(400, 2)])  # fmt: skip
    volume = read_dicom(path)
    assert (volume.slices[0] > 127).sum() == pytest.approx(600, abs=3)
    assert (volume.slices[1] > 127).sum() == pytest.approx(400, abs=3)
    source = Dicom(str(tmp_path))
    assert source.manifest().path.tolist() == ["a/x.dcm#0", "a/x.dcm#1"]
    assert (source.decode("a/x.dcm#1") == volume.slices[1]).all()


def test_colour_and_pixels_that_are_not_square(tmp_path):
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[..., 1] = 200
    assert read_dicom(write(tmp_path / "a.dcm", colour)).picture(0).shape == (4, 6, 3)
    assert read_dicom(write(tmp_path / "b.dcm", RAMP, PixelSpacing=[2.0, 1.0])).picture(0).shape == (80, 40)
    with pytest.raises(ValueError, match="which is no size"):
        read_dicom(write(tmp_path / "c.dcm", RAMP, PixelSpacing=[1e-6, 1.0])).picture(0)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "examples_palette.dcm",
                                  "examples_rgb_color.dcm", "MR_small_RLE.dcm"])  # fmt: skip
def test_files_of_real_scanners(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom has no {name} here")
    picture = read_dicom(Path(path)).picture(0)
    assert picture.std() > 5


def test_a_series_is_in_order_and_a_patient_in_hashes(tmp_path, monkeypatch):
    series, other = generate_uid(), generate_uid()
    for number, z in ((3, 30.0), (1, -10.0), (2, 5.5)):
        write(tmp_path / "in" / "glioma" / f"{number * 7 % 5}", RAMP + number, PatientID="MRN4711",
              PatientName="Doe^Jane", SeriesInstanceUID=series, InstanceNumber=9 - number,
              ImagePositionPatient=[0, 0, z], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
              SeriesDescription="T1 post")  # fmt: skip
    write(tmp_path / "in" / "none" / "JANE_DOE" / "1.dcm", RAMP, PatientID="MRN4712", PatientName="DOE^JANE",
          SeriesInstanceUID=other, SeriesDescription="Localizer")  # fmt: skip
    source = Dicom(str(tmp_path / "in"))
    manifest = source.manifest()
    assert [path.partition("#")[0] for path in manifest.path[:3]] == [f"glioma/{n * 7 % 5}" for n in (1, 2, 3)]
    assert manifest.label.tolist() == ["glioma"] * 3 + ["none"]
    text = "".join(str(value) for column in manifest.columns.values() for value in column).casefold()
    for secret in ("mrn", "4711", "jane", "doe", series, other):
        assert secret not in text
    assert len(set(manifest.patient_id)) == 2 and source.decode(manifest.path[3]).shape == (40, 40)
    assert Dicom(str(tmp_path / "in"), series="t1").manifest().label.tolist() == ["glioma"] * 3
    assert len(Dicom(str(tmp_path / "in"), every=2).manifest()) == 3
    assert Dicom(str(tmp_path / "in"), anonymise=False).manifest().patient_id[0] == "MRN4711"
    monkeypatch.setenv("VITLAB_SALT", "secret")
    assert not set(Dicom(str(tmp_path / "in")).manifest().patient_id) & set(manifest.patient_id)


def test_slices_of_nobody_stay_together_by_study(tmp_path):
    studies = {"a": generate_uid(), "b": generate_uid(), "c": ""}
    for name, study in studies.items():
        for number, patient in ((1, ""), (2, "ANONYMOUS")):
            uids = {"StudyInstanceUID": study, "SeriesInstanceUID": generate_uid()} if study else {}
            write(tmp_path / "glioma" / name / f"{number}.dcm", RAMP, PatientID=patient, **uids)
    write(tmp_path / "glioma" / "frames.dcm", np.stack([RAMP, RAMP]))
    with pytest.warns(UserWarning) as said:
        manifest = Dicom(str(tmp_path)).manifest()
    lines = [str(one.message).partition(": ")[2] for one in said]
    assert lines == [
        "4 files have no PatientID that names somebody: their study counts as the patient",
        "3 files name neither a patient nor a study: each counts as a patient of its own",
    ]
    first, second, third, frames = manifest.patient_id.reshape(4, 2).tolist()
    assert first[0] == first[1] != second[0] == second[1] and frames[0] == frames[1]
    assert len({first[0], second[0], *third, frames[0], ""}) == 6  # a file is one group, all its frames
    assert studies["a"] not in first[0]


@pytest.mark.parametrize(
    ("folder", "name"),
    [("li_wu", "Li^Wu"), ("OBrien", "O'Brien^Al"), ("Mary-Ann", "Doe^Mary Ann"), ("mueller jose", "Doe^Jos\u00e9"),
     ("MRN-0042", "Doe^Jane")],
)  # fmt: skip
def test_paths_that_name_a_patient_are_replaced(tmp_path, folder, name):
    header = {"PatientName": name, "PatientID": "MRN 0042", "SpecificCharacterSet": "ISO_IR 192"}
    write(tmp_path / "glioma" / folder / "1.dcm", RAMP, **header)
    (tmp_path / "glioma" / folder / "2.dcm").write_text("damaged")
    write(tmp_path / "glioma" / "plain" / "alibi.dcm", RAMP, **header)
    source = Dicom(str(tmp_path))
    manifest = source.manifest()
    assert not any(folder in path for path in manifest.path) and "glioma/plain/alibi.dcm#0" in manifest.path.tolist()
    assert manifest.label.tolist() == ["glioma"] * 3
    with pytest.raises(ValueError, match="not a DICOM image"):
        source.decode(manifest.path[-1])


def test_files_behind_hidden_paths_are_looked_at_for_changes_and_copies(tmp_path, cached):
    who = {"PatientID": "MRN4711", "PatientName": "Doe^Jane", "SOPInstanceUID": generate_uid()}
    for folder in ("jane_doe", "doe jane, copy"):
        write(tmp_path / "glioma" / folder / "1.dcm", RAMP, **who)
    source = Dicom(str(tmp_path))
    before = cached(source)
    assert len(set(source.manifest().path)) == 2 and "doe" not in " ".join(source.manifest().path)
    assert (before.images[0] == before.images[1]).all() and cached(source).folder == before.folder
    paths = source.manifest().path.tolist()
    write(tmp_path / "glioma" / "jane_doe" / "1.dcm", RAMP.T, **who)
    after = cached(Dicom(str(tmp_path)))
    assert Dicom(str(tmp_path)).manifest().path.tolist() == paths  # but for pixels, nothing is new
    assert after.folder != before.folder
    assert (after.images[0] != before.images[0]).any() != (after.images[1] != before.images[1]).any()


@pytest.mark.parametrize("key", ["path", "series", "patient_id"])
def test_a_table_labels_files_series_or_patients(tmp_path, key):
    uid = {"a": generate_uid(), "b": generate_uid()}
    for name in "ab":
        for number in (1, 2):
            write(tmp_path / name / f"{number}.dcm", RAMP, PatientID=f"MRN-{name}", SeriesInstanceUID=uid[name],
                  InstanceNumber=number)  # fmt: skip
    named = {"path": dict(zip("ab", "ab", strict=True)), "series": uid, "patient_id": {"a": "MRN-a", "b": "MRN-b"}}[key]
    (tmp_path / "labels.csv").write_text(f"{key},label,fold\n{named['a']},glioma,1\n{named['b']},none,2\n")
    manifest = Dicom(str(tmp_path), labels="labels.csv").manifest()
    assert manifest.label.tolist() == ["glioma", "glioma", "none", "none"]
    assert manifest.column("fold").tolist() == ["1", "1", "2", "2"]
    (tmp_path / "labels.csv").write_text(f"{key},label\n{named['a']},glioma\nMRN-q,none\n")
    with pytest.warns(UserWarning) as said:
        Dicom(str(tmp_path), labels="labels.csv").manifest()
    warned = " ".join(str(one.message) for one in said)
    assert "2 images" in warned and "1 rows name no file" in warned
    assert ("MRN" in warned) == (key != "patient_id")


def test_what_cannot_be_read_is_named_in_one_line(tmp_path, cached):
    folder = tmp_path / "a"
    good = write(folder / "good.dcm", RAMP, PatientID="1")
    (folder / "text.dcm").write_text("not DICOM at all")
    (folder / "cut.dcm").write_bytes(good.read_bytes()[:-1000])
    (folder / "notes.txt").write_text("passed over")
    noisy = np.random.default_rng(0).integers(0, 4000, (40, 40)).astype(np.uint16)
    squeezed = pydicom.dcmread(write(folder / "lossless.dcm", noisy, compress=RLELossless, PatientID="2"))
    squeezed.file_meta.TransferSyntaxUID = JPEGLSLossless
    squeezed.save_as(folder / "lossless.dcm")
    huge = pydicom.dcmread(good)
    huge.Rows = huge.Columns = 60000
    huge.save_as(folder / "huge.dcm")
    source = Dicom(str(tmp_path))
    with pytest.raises(ValueError) as error:
        cached(source)
    said = str(error.value)
    assert "\n" not in said and said.startswith("4 of 5 images cannot be read")
    for words in ("text.dcm#0 (not a DICOM image", "cut.dcm#0 (its pixels are damaged", "3,600,000,000 pixels",
                  "JPEG-LS Lossless Image Compression, cannot be read here or is damaged: decompress it"):  # fmt: skip
        assert words in said
    (empty := tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="no DICOM images"):
        Dicom(str(empty)).manifest()


def test_fit_on_a_clinic_writes_no_name(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        for label in ("bright", "dark"):
            for place in range(2):
                pixels = rng.normal(100 if label == "dark" else 200, 20, (20, 20)).astype(np.int16)
                write(tmp_path / "clinic" / label / f"Zyx{number}" / f"{place}.dcm", pixels, InstanceNumber=place,
                      PatientID=f"MRN{label}{number}", PatientName=f"Zyx{number}^Wvu", WindowCenter=150,
                      WindowWidth=300, SeriesInstanceUID=f"1.2.{number}.{len(label)}")  # fmt: skip
    assert main([
        "fit", "--config", "configs/cnn.yaml", "--data.source=Dicom", f"--data.source.root={tmp_path / 'clinic'}",
        "--data.image_size=32", "--data.batch_size=8", "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
        "--trainer.precision=32-true", "--model.backbone_kwargs={channels: [8, 16, 32, 64]}",
        f"--run.root={tmp_path / 'runs'}",
    ]) == 0  # fmt: skip
    (found,) = (tmp_path / "runs").rglob("predictions.csv")
    assert len(found.read_text().splitlines()) == 33
    for file in (tmp_path / "runs").rglob("*"):
        if file.is_file():
            content = file.read_bytes().lower()
            assert b"zyx" not in content and b"wvu" not in content and b"mrnbright" not in content, file


def test_colour_of_twelve_bits_fills_the_gray_levels(tmp_path):
    found = pydicom.dcmread(write(tmp_path / "c.dcm", np.zeros((2, 2, 3), np.uint8)))
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    found.PixelData = np.array([[[4095, 0, 2048]] * 2] * 2, np.uint16).tobytes()
    found.save_as(tmp_path / "c.dcm")
    assert read_dicom(tmp_path / "c.dcm").slices[0, 0, 0].tolist() == [255, 0, 128]


@pytest.mark.parametrize("written", [-2000, 2**16 - 2000])
def test_padding_written_without_its_sign_is_padding(tmp_path, written):
    pixels = np.linspace(0, 1000, 4096).reshape(64, 64).astype(np.int16)
    pixels[:20] = -2000
    found = pydicom.dcmread(write(tmp_path / "p.dcm", pixels))
    found.add_new("PixelPaddingValue", "SS" if written < 0 else "US", written)
    found.save_as(tmp_path / "p.dcm")
    shown = read_dicom(tmp_path / "p.dcm").slices[0]
    assert shown[:20].max() == 0 and shown[20].max() < 10 and shown[-1].max() == 255


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("ImagePositionPatient", "DS", "1\\x\\2"),
        ("ImageOrientationPatient", "DS", "1\\x"),
        ("InstanceNumber", "IS", "7a"),
    ],
)
def test_a_place_that_is_no_number_costs_no_patient(tmp_path, name, kind, value):
    good = write(tmp_path / "a" / "1.dcm", RAMP, PatientID="MRN1", InstanceNumber=1)
    found = pydicom.dcmread(good)
    with pydicom.config.disable_value_validation():
        found.add_new("ImagePositionPatient", "DS", [0, 0, 1])
        found.add_new("ImageOrientationPatient", "DS", [1, 0, 0, 0, 1, 0])
        if name in found:
            del found[name]
        found.add_new(name, "LO", value.split("\\"))
        found.save_as(tmp_path / "a" / "2.dcm")
    data = (tmp_path / "a" / "2.dcm").read_bytes()
    tag = pydicom.tag.Tag(name)
    mark = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
    (tmp_path / "a" / "2.dcm").write_bytes(data.replace(mark + b"LO", mark + kind.encode()))
    manifest = Dicom(str(tmp_path)).manifest()
    assert len(set(manifest.patient_id)) == 1 and len(manifest) == 2
