"""What is said of shuffled labels and of splits that leak, from run folders to words, records and the page."""

import json

import numpy as np
import pytest

from vitlab.report.runs import read_run
from vitlab.report.summary import build_tables
from vitlab.report.table import main
from vitlab.report.verdict import verdict

GUESS, LEARNED = [0.9, 0.2, 0.3, 0.8] * 15, [0.9] * 50 + [0.2] * 10


def table_of(*folders, resamples=300):
    (table,) = build_tables([read_run(folder) for folder in folders], resamples=resamples)
    return table


def test_at_chance_no_leak_shows(make_scored):
    four = ("cnn", "cnn_simclr", "vit", "vit_mae")
    table = table_of(*(make_scored(a, test=GUESS, train=LEARNED, shuffle_labels=True) for a in four))
    said = verdict(table)
    assert said[0].startswith("Trained on shuffled labels, all four approaches are within the interval of chance [0.")
    assert said[0].endswith("] of test balanced accuracy per image: no leak shows.")
    assert said[1:] == ["Train accuracy is what they know by heart: CNN 0.83, CNN + SimCLR 0.83, ViT 0.83 and ViT + "
                        "MAE 0.83."]  # fmt: skip
    assert table.title.endswith(", shuffled labels") and any("labels were shuffled" in note for note in table.notes)


def test_what_is_above_leaks(make_scored):
    learned, guess = (make_scored(a, test=t, shuffle_labels=True) for a, t in (("cnn", LEARNED), ("vit", GUESS)))
    (said,) = verdict(table_of(learned, guess))
    assert said.startswith("Trained on shuffled labels, CNN (0.83) is above the interval of chance [0.")
    assert said.endswith(": something leaks; ViT is within it.")
    wrong = [1 - value for value in LEARNED]
    (said,) = verdict(table_of(make_scored(root="b", test=wrong, shuffle_labels=True)))
    assert said.startswith("Trained on shuffled labels, CNN (0.17) is below the interval of chance")


@pytest.mark.parametrize("resamples", [0, 200])
def test_without_predictions_nothing_is_claimed(make_run, resamples):
    said = verdict(table_of(make_run(shuffle_labels=True), resamples=resamples))
    assert said == [
        "Trained on shuffled labels, every score should be chance; without predictions and resamples, nothing says "
        "whether it is.",
        "Train accuracy is what they know by heart: CNN 0.80.",
    ]


def test_shuffled_labels_are_never_averaged_with_true_ones(make_scored):
    folders = [make_scored(seed=seed, test=GUESS, shuffle_labels=seed == 1) for seed in range(2)]
    tables = build_tables([read_run(folder) for folder in folders], resamples=200)
    assert [(table.shuffled, table.rows[0].n, table.chance is None) for table in tables] == [
        (False, 1, True),
        (True, 1, False),
    ]


def test_programs_and_readers_of_the_page_get_it_too(make_scored, tmp_path, opened):
    make_scored(test=LEARNED, shuffle_labels=True), make_scored("vit", test=GUESS, shuffle_labels=True)
    make_scored("vit_mae", test=GUESS)
    out, page = tmp_path / "t.json", tmp_path / "report.html"
    assert main([str(tmp_path / "logs"), "--resamples", "200", "--out", str(out), "--report", str(page)]) == 0
    record = json.loads(out.read_text())
    true, shuffled = record["tables"]
    assert true["chance"] is None and (true["shuffle_labels"], shuffled["shuffle_labels"]) == (False, True)
    found = shuffled["chance"]
    assert 0 < found.pop("low") < 0.5 < found.pop("high") < 0.83
    assert found == {"metric": "balanced_accuracy", "level": "slice", "exchanged": "patients", "n_patients": 60,
                     "n_images": 60}  # fmt: skip
    assert {row["name"]: row["within_chance"] for row in record["rows"]} == {
        "CNN": False, "ViT": True, "ViT + MAE": None,
    }  # fmt: skip
    with opened(page.as_uri()) as shown:
        assert "CNN (0.83) is above the interval of chance" in shown.locator("#answer").inner_text()
        assert "Grey: chance" in shown.locator("#scores").inner_text()
        words = shown.locator("#scores svg.picture").evaluate_all("all => all.map(one => one.ariaLabel)")
        assert ["chance [0." in text for text in words] == [False, True]
    data = (tmp_path / "figures" / "test-scores-per-image-2.csv").read_text()
    assert np.isfinite([float(end) for end in data.splitlines()[-1].split(",")[2:4]]).all()


def test_patients_of_shuffled_labels_have_no_score(make_scored):
    (true,) = build_tables([read_run(make_scored(test=GUESS, per_patient=4))], resamples=200)
    (shuffled,) = build_tables([read_run(make_scored(root="b", test=GUESS, per_patient=4, shuffle_labels=True))],
                               resamples=200)  # fmt: skip
    assert true.level == "patient" and shuffled.level == "slice"


def leak(make_scored, approach, by_patient, by_image, *, seeds=1, axes="", **changes):
    """Write runs of a split by patient and of one by image, which has other test images."""
    for seed in range(seeds):
        for first, (cut, test) in enumerate((("patient", by_patient), ("image", by_image))):
            yield make_scored(approach, seed, test=test, per_patient=2, first=1000 * first, split={"group_by": cut},
                              axes=f"data.group_by={cut}{axes}", **changes)  # fmt: skip


def test_the_verdict_says_what_a_leak_pretends(make_scored):
    weak, strong = [0.9] * 40 + [0.2] * 20, [0.9] * 57 + [0.2] * 3
    folders = [*leak(make_scored, "cnn", weak, strong), *leak(make_scored, "vit", weak, weak)]
    table = table_of(*folders)
    said = verdict(table)
    assert table.level == "slice"  # a patient of a split by image is a few slices, whose others were trained on
    assert said[0].startswith("In single runs split by image, CNN scored 28.3 points [")
    assert "] of balanced accuracy per image more than by patient: that is what the leak pretended; ViT +0.0" in said[0]
    assert said[0].endswith(" and more).") and "may be chance (this study could have found" in said[0]
    assert not any("data.group_by=image" in sentence for sentence in said)  # what it pretends answers nothing else
    (pair,) = [p for p in table.pairs if p.a == "CNN data.group_by=patient" and p.b == "CNN data.group_by=image"
               and p.metric == "balanced_accuracy" and p.level == "slice"]  # fmt: skip
    assert pair.difference == pytest.approx(-17 / 60) and pair.low < -17 / 60 < pair.high < 0
    assert not pair.paired and pair.p_permutation is None
    assert any(note.startswith("split by image, so that slices of a patient may stand") for note in table.notes)
    assert any("their difference is not paired" in note for note in table.notes)


def test_a_leak_of_several_runs_and_settings(make_scored):
    weak, strong = [0.9] * 40 + [0.2] * 20, [0.9] * 57 + [0.2] * 3
    (said, *_) = verdict(table_of(*leak(make_scored, "cnn", weak, strong, seeds=2, axes=",lr=0.1")))
    assert said.startswith("Split by image, CNN lr=0.1 scores 28.3 points [") and "the leak pretends." in said
    (said, *_) = verdict(table_of(*leak(make_scored, "cnn", strong, weak, seeds=2, root="b")))
    assert said.startswith("Split by image, CNN scores 28.3 points [") and "less than by patient, which no leak" in said
    (said, *_) = verdict(table_of(*leak(make_scored, "cnn", weak, weak, seeds=2, root="c")))
    assert said.startswith("What a split by image pretends, this study cannot tell: CNN +0.0 points [")


def test_a_leak_is_the_first_of_many_pairs(make_scored, tmp_path):
    weak, strong = [0.9] * 40 + [0.2] * 20, [0.9] * 57 + [0.2] * 3
    for approach in ("cnn", "cnn_simclr", "vit", "vit_mae"):
        list(leak(make_scored, approach, weak, strong))
    out = tmp_path / "t.md"
    assert main([str(tmp_path / "logs"), "--resamples", "100", "--out", str(out)]) == 0
    lines = [line for line in out.read_text().splitlines() if line.startswith("- ")]
    assert lines[0].startswith("- CNN data.group_by=patient vs CNN data.group_by=image: -28.3 points [")
    assert all("not paired" in line for line in lines[:4]) and "13 more pairs" in lines[15]
