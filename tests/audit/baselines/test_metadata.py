import numpy as np

from vitlab.audit.baselines.metadata import metadata_features

GROUPS = np.repeat(np.arange(40), 2)
TARGETS = GROUPS % 3


def names(**columns):
    return [
        name for name, _ in metadata_features({k: np.array(v, object) for k, v in columns.items()}, TARGETS, GROUPS)
    ]


def each(function):
    return [str(function(row)) for row in range(80)]


def test_hospital_prefixes_of_identifiers():
    assert names(patient_base=each(lambda row: f"{'MR' if row % 4 < 2 else ''}{row // 2:05d}")) == [
        "prefix of patient_base"
    ]
    assert names(case=each(lambda row: f"TCGA-{row // 8 % 3:02d}-{row // 2:04d}")) == ["prefix of case"]
    assert names(patient_id=each(lambda row: f"P{row // 2}")) == []
    assert names(patient_id=each(lambda row: row // 2)) == []


def test_categories_and_quantities_count_and_repeats_do_not():
    scanner = each(lambda row: ["Siemens", "Philips", ""][row // 2 % 3])
    assert names(scanner=scanner, vendor=[{"Siemens": "S", "Philips": "P", "": ""}[name] for name in scanner]) == [
        "column scanner"
    ]
    assert names(age=each(lambda row: 20 + row // 2 * 1.5)) == ["column age"]
    assert names(native_size=each(lambda row: 512 if row % 4 < 2 else 256)) == ["column native_size"]


def test_what_is_no_metadata_is_left_out():
    labels = [["glioma", "none", "pituitary"][target] for target in TARGETS]
    left_out = {
        "tumor_type": labels,
        "y": each(lambda row: TARGETS[row]),
        "code": each(lambda row: TARGETS[row] + 1),  # the label as a number
        "file": each(lambda row: f"a/{row}.png"),
        "original": each(lambda row: f"scan{row}.dcm"),
        "mask_px": each(lambda row: row * 7),
        "x0": each(lambda row: row % 9),
        "bboxWidth": each(lambda row: row % 9),
        "fold": each(lambda row: row // 2 % 5),
        "slice": each(lambda row: row % 11),
        "serial": each(lambda row: row),
        "site": ["one"] * 80,
    }
    assert names(**left_out) == []


def test_a_scanner_that_is_a_class_is_not_taken_for_its_name():
    assert names(scanner=[["A", "B", "C"][target] for target in TARGETS]) == ["column scanner"]
