"""Patient ids: who is one patient, who is nobody, and what is left alone."""

import random
import uuid

import pytest

from vitlab.data.manifest import Manifest
from vitlab.data.patients import read_ids


@pytest.mark.parametrize(
    "word",
    [
        *"unknown UNKNOWN n/a N/A NA <NA> #N/A NaN None null (null) nil - -- ? . _ anonymous Anonymized xxx".split(),
        *("XXXX", "-1", "unk", "missing", "not available", "Unknown patient", "de-identified", "No ID", "\uff2e\uff21"),
    ],
)
def test_a_word_for_nobody_is_missing_and_said_once(word):
    ids, remarks = read_ids(["P1", word, "P2", word, ""])
    assert ids == ["P1", "", "P2", "", ""]
    assert remarks == [f"2 of 5 images have a patient id that names nobody ({word!r} 2): it counts as missing"]


def test_many_words_for_nobody_are_one_sentence():
    ids, (remark,) = read_ids(["unknown", "-", "n/a", "N/A", "N/A", "P1"])
    assert ids == [""] * 5 + ["P1"] and "5 of 6 images" in remark and "('N/A' 2, '-' 1, 'n/a' 1, ...)" in remark


def test_zeros_name_nobody_unless_patients_are_numbered():
    assert read_ids(["0", "P1", "P2", "000"])[0] == ["", "P1", "P2", ""]
    assert read_ids(["0", "0"])[0] == ["", ""]
    assert read_ids(["0", "1", "2"]) == (["0", "1", "2"], [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P-012", "p-012"),
        ("P-012", " P-012\u00a0"),
        ("P-012", "P - 012"),
        ("P12", "P 12"),
        ("Ann  Abel", "ann abel"),
        ("12", "\uff11\uff12"),
        ("Jos\u00e9", "Jose\u0301"),
        ("Größe", "GRÖSSE"),
        ("P12", "P\u200b12"),
    ],
)
def test_spellings_of_one_id_are_one_patient_by_the_most_frequent(one, other):
    for first, second in ((one, other), (other, one)):
        ids, (remark,) = read_ids([second, first, first, "Q"])
        assert ids == [first, first, first, "Q"]
        assert remark.startswith("the id of 1 patient comes in several spellings, e.g. ")
        shown = remark.partition("e.g. ")[2].partition(":")[0].split(" and ")
        assert len(set(shown)) == 2 and "\u0301" not in remark  # two forms of one sign would look the same


@pytest.mark.parametrize(("one", "other"), [("007", "7"), ("P-012", "P-12"), ("P12", "P_12"), ("12.0", "12")])
def test_ids_that_may_be_one_are_said_and_left_two(one, other):
    ids, (remark,) = read_ids([one, other, "8", "9"])
    assert ids == [one, other, "8", "9"]
    assert remark.startswith("1 patient may have several ids, e.g. ") and repr(one) in remark and repr(other) in remark


def test_a_patient_of_very_many_images_is_doubted_and_kept():
    usual = [str(number // 2) for number in range(2, 100)]
    ids, (remark,) = read_ids(["0"] * 40 + usual)
    assert ids == ["0"] * 40 + usual and remark.startswith("the patient '0' has 40 of 138 images, a usual one 2")
    assert read_ids(["0"] * 19 + usual)[1] == []
    assert read_ids(["same"] * 30)[1] == [
        "the patient 'same' is the only one, of 30 images: if it names nobody, leave it empty"
    ]


def test_ordinary_ids_are_left_alone(data_root):
    rng = random.Random(0)
    for ids in (
        [f"{number:04d}" for number in range(3000)],
        [f"sub-{number}_ses-{visit}" for number in range(99) for visit in (1, 12)],
        [f"{rng.getrandbits(32):08x}" for _ in range(20000)],
        [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(2000)],
        ["1 11", "11 1", "111", "Ann Abel", "Anna Bel", "NA001", "Nan-2", "XX", "unknown 7", "", ""],
        [],
    ):
        assert read_ids(ids) == (ids, [])
    table = Manifest.read(data_root / "cheng" / "manifest.csv")
    for name in ("patient_id", "patient_base"):
        ids = table.column(name).tolist()
        assert read_ids(ids) == (ids, [])
