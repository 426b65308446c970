import numpy as np
import pytest

from vitlab.audit.baselines.encode import numbers
from vitlab.audit.baselines.metadata import metadata_features
from vitlab.data.manifest import Manifest

GROUPS = np.repeat(np.arange(40), 2)
TARGETS = GROUPS % 3


def described(columns):
    arrays = {name: np.array(values, object) for name, values in columns.items()}
    return metadata_features(arrays, TARGETS, GROUPS, np.arange(80))


def names(**columns):
    return [kind.name for kind in described(columns)[0]]


def each(function):
    return [str(function(row)) for row in range(80)]


def test_hospital_prefixes_of_identifiers():
    assert names(patient_base=each(lambda row: f"{'MR' if row % 4 < 2 else ''}{row // 2:05d}")) == [
        "prefix of patient_base"
    ]
    assert names(case=each(lambda row: f"TCGA-{row // 8 % 3:02d}-{row // 2:04d}")) == ["prefix of case"]
    assert names(barcode=each(lambda row: f"{'AB'[row // 2 % 2]}x{row // 2:04d}")) == ["prefix of barcode"]
    assert names(patient_id=each(lambda row: f"P{row // 2}")) == []
    assert names(patient_id=each(lambda row: row // 2)) == []


def test_a_prefix_is_tested_on_the_images_that_have_an_identifier():
    ids = each(lambda row: "" if row < 20 else f"{'MR' if row % 4 < 2 else ''}{row // 2:05d}")
    (kind,), untested = described({"patient_id": ids})
    assert kind.name == "prefix of patient_id" and kind.column == "patient_id" and not untested
    assert kind.known.tolist() == [False] * 20 + [True] * 60
    ids = each(lambda row: "" if row < 20 else f"{row // 2:05d}")  # numbers have no letters, and neither have the rest
    assert names(patient_id=ids) == []


def test_categories_and_quantities_count_and_repeats_do_not():
    scanner = each(lambda row: ["Siemens", "Philips", ""][row // 2 % 3])
    assert names(scanner=scanner, vendor=[{"Siemens": "S", "Philips": "P", "": ""}[name] for name in scanner]) == [
        "column scanner"
    ]
    assert names(age=each(lambda row: 20 + row // 2 * 1.5)) == ["column age"]
    assert names(native_size=each(lambda row: 512 if row % 4 < 2 else 256)) == ["column native_size"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SliceThickness", lambda row: 1 + row // 2 % 4),
        ("patient_age", lambda row: f"{20 + row // 2:03d}Y"),
        ("patient_sex", lambda row: "MF"[row // 2 % 2]),
        ("StudyDate", lambda row: 20100101 + 307 * (row // 2)),
        ("study_date", lambda row: f"20{10 + row // 8:02d}-{1 + row // 2 % 12:02d}-15"),
        ("AcquisitionDate", lambda row: f"{1 + row // 2 % 28}/03/{1990 + row // 2}"),
        ("SeriesDescription", lambda row: f"t1 {['ax', 'sag', 'cor'][row // 2 % 3]} {'v1' if row % 8 else 'v2'}"),
        ("study_site", lambda row: f"site {row // 2 % 4}"),
        ("case_volume", lambda row: 100 + 37 * (row // 2)),
        ("base_mA", lambda row: 80.5 + row // 2),
        ("diagnosis_confirm_type", lambda row: ["biopsy", "consensus"][row // 2 % 2]),
        ("sex", lambda row: ["M/F", "N/A"][row // 2 % 2]),
        ("exam", lambda row: ["CT", "MR"][row // 2 % 2]),
        ("slice", lambda row: row % 25),  # its place in its own scan
    ],
)
def test_a_word_of_a_name_does_not_keep_a_column_from_its_test(name, value):
    assert described({name: each(value)})[1] == []
    assert names(**{name: each(value)}) == [f"column {name}"]


def test_what_is_no_metadata_is_left_out_with_its_reason():
    labels = [["glioma", "none", "pituitary"][target] for target in TARGETS]
    left_out = {
        "tumor_type": (labels, "the label"),
        "y": (each(lambda row: TARGETS[row]), "of the mask"),
        "code": (each(lambda row: TARGETS[row] + 1), "one number for each class, taken for the label"),
        "file": (each(lambda row: f"a/{row}.png"), "a file or a place in a list"),
        "source": (each(lambda row: f"scan{row}.dcm"), "a file or a place in a list"),
        "mask_px": (each(lambda row: row * 7), "of the mask"),
        "x0": (each(lambda row: row % 9), "of the mask"),
        "bboxWidth": (each(lambda row: row % 9), "of the mask"),
        "lesion_area": (each(lambda row: row % 9), "of the mask"),
        "fold": (each(lambda row: row // 2 % 5), "a file or a place in a list"),
        "slice": (each(lambda row: row + 1), "an identifier without a prefix that groups share"),
        "serial": (each(lambda row: row), "an identifier without a prefix that groups share"),
        "site": (["one"] * 80, "the same in all images"),
        "rare": (each(lambda row: "ab"[row // 4 % 2] + "c" * (row // 4)), "no value is that of 5 groups or more"),
    }
    kinds, untested = described({name: values for name, (values, _) in left_out.items()})
    assert kinds == [] and {one.column: one.reason for one in untested} == {
        name: reason for name, (_, reason) in left_out.items()
    }


def test_a_scanner_that_is_a_class_is_not_taken_for_its_name():
    assert names(scanner=[["A", "B", "C"][target] for target in TARGETS]) == ["column scanner"]


def test_the_columns_of_a_published_table(data_root):
    manifest = Manifest.read(data_root / "cheng" / "manifest.csv", columns={"patient_id": "patient_base"})
    columns = {name: values for name, values in manifest.columns.items() if name not in ("path", "label", "fold")}
    groups = np.unique(manifest.patient_id.astype(str), return_inverse=True)[1]
    rows = np.arange(0, len(manifest), 2)
    kinds, untested = metadata_features(columns, manifest.targets, groups, rows)
    assert sorted(kind.name for kind in kinds) == ["column native_size", "prefix of patient_id"]
    assert all(len(kind.features) == len(rows) for kind in kinds)
    assert {one.column: one.reason for one in untested} == {
        **dict.fromkeys(("x0", "y0", "x1", "y1", "mask_px", "mask_path"), "of the mask"),
        "slice": "an identifier without a prefix that groups share",
        "patient_base": "splits the images as patient_id does",
        "original_patient_id": "splits the images as patient_id does",
    }


def test_dates_and_ages_are_numbers():
    values = ["2019-03-12", "2019/12/01", "20200101", "12/03/1999", "045Y", "006M", "7.5", "", "T1"]
    assert numbers(np.array(values)) == pytest.approx(
        [2019 + 2 / 12 + 11 / 372, 2019 + 11 / 12, 20200101, 1999, 45, 0.5, 7.5, np.nan, np.nan], nan_ok=True
    )
