import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from vitlab.evaluate.resampling import Resampling
from vitlab.explain.regions.findings import COMPARED
from vitlab.explain.regions.removed import HOLE, REGIONS
from vitlab.explain.sanity.findings import sanity_findings
from vitlab.explain.sanity.measured import COLUMNS as SANITY_COLUMNS
from vitlab.explain.sanity.measured import SANITY
from vitlab.explain.scores.findings import SCORE_NAMES, score_findings
from vitlab.explain.scores.image_scores import read_lines
from vitlab.explain.scores.measured import COLUMNS, PROBE, REGION, SALIENCY
from vitlab.explain.scores.tables import write_tables
from vitlab.report.findings import read_findings

SCORES = ("pointing", "energy", "auprc", "iou", "insertion", "deletion")
LABELS = ("a", "b", "c")
PATIENTS, SEEDS = 45, (0, 1, 2)
# What each map is made to score on average. Integrated gradients are as good as the edges of the image.
MEANS = {
    ("gradcam", ""): 0.6, ("integrated_gradients", ""): 0.4, ("", "centre"): 0.3, ("", "edges"): 0.4,
    ("", "random"): 0.1, ("gradcam", "others"): 0.35, ("gradcam", "untrained"): 0.2,
    ("integrated_gradients", "untrained"): 0.3,
}  # fmt: skip
# Share of images that are right. CNN needs the tumour, and the hole tells as much as it knows without; ViT does not.
RIGHT = {
    "cnn": {"whole": 0.95, "without tumour": 0.6, "patch elsewhere": 0.93, "only tumour": 0.8, "without air": 0.95},
    "vit": {"whole": 0.95, "without tumour": 0.93, "patch elsewhere": 0.93, "only tumour": 0.33, "without air": 0.5},
}
HOLE_RIGHT = 0.62
# Likeness to the trained model's maps. Grad-CAM falls below what maps of other images have; Grad-CAM++ stays.
RANKS = {
    "gradcam": {"head": 0.5, "layer2": 0.3, "conv1": -0.2, "another seed": 0.7, "shuffled labels": 0.1,
                "other images": 0.2},
    "gradcam++": {"head": 0.9, "layer2": 0.8, "conv1": 0.6, "another seed": 0.7, "shuffled labels": 0.1,
                  "other images": 0.2},
}  # fmt: skip
SSIM = {"head": 0.6, "layer2": 0.5, "conv1": 0.3, "another seed": 0.8, "shuffled labels": 0.3, "other images": 0.3}


def images(approach):
    for seed in SEEDS:
        for index in range(PATIENTS * 2):
            patient = index // 2
            yield {"approach": approach, "seed": seed, "fold": "", "index": index, "path": f"{index}.png",
                   "patient_id": f"p<{patient}>", "label": LABELS[patient % 3]}  # fmt: skip


def guess(right, label, luck):
    """Return the label with a share of right ones; the same luck for all regions, so that equal shares are equal."""
    return label if luck < right else LABELS[LABELS.index(label) - (1 + (luck > 0.97))]


def write(folder, name, lines):
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, {**COLUMNS, SANITY: SANITY_COLUMNS}[name])
        writer.writeheader()
        writer.writerows(lines)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return a folder of tables in which it is known what shall be found."""
    folder = tmp_path_factory.mktemp("explain")
    rng = np.random.default_rng(0)
    saliency, regions, probe = [], [], []
    for approach in ("cnn", "vit"):
        for line in images(approach):
            for (method, control), mean in MEANS.items():
                mean += 0.1 * (approach == "vit" and method == "gradcam" and not control)
                scores = {name: round(np.clip(rng.normal(mean, 0.05), 0, 1), 6) for name in SCORES[:5]}
                scores["deletion"] = round(np.clip(rng.normal(1 - mean, 0.05), 0, 1), 6)
                saliency.append({**line, "method": method, "control": control, **scores})
            luck = rng.random()
            for region, right in {**RIGHT[approach], HOLE: HOLE_RIGHT}.items():
                regions.append({**line, "region": region, "predicted": guess(right, line["label"], luck)})
            hospital = "NS"[int(line["patient_id"][2:-1]) // 3 % 2]
            for source, right in {"features": 0.9 if approach == "cnn" else 0.5, "pixels": 0.8,
                                  "the class alone": 0.5}.items():  # fmt: skip
                other = "S" if hospital == "N" else "N"
                probe.append({**line, "label": hospital, "column": "patient_prefix", "source": source,
                              "predicted": hospital if rng.random() < right else other})  # fmt: skip
    likeness = [
        {**line, "method": method, "stage": stage, "number": number,
         "rank": np.clip(rng.normal(rank, 0.05), -1, 1), "ssim": np.clip(rng.normal(SSIM[stage], 0.05), -1, 1)}
        for method, ranks in RANKS.items() for number, (stage, rank) in enumerate(ranks.items())
        for line in images("cnn")
    ]  # fmt: skip
    for name, lines in ((SALIENCY, saliency), (SANITY, likeness), (REGION, regions), (PROBE, probe)):
        write(folder, name, lines)
    write_tables(folder, resamples=500)
    return folder


@pytest.fixture(scope="module")
def parts(measured):
    return json.loads((measured / "explain.json").read_text())["parts"]


def test_what_beats_its_best_control_is_told_from_what_does_not(parts):
    scores = parts[0]["records"]
    for record in scores["scores"]:
        mean = MEANS[record["method"], record["control"]] + 0.1 * (
            record["approach"] == "vit" and record["method"] == "gradcam" and not record["control"]
        )
        mean = 1 - mean if record["score"] == "deletion" else mean
        assert record["mean"] == pytest.approx(mean, abs=0.02) and record["low"] < record["mean"] < record["high"]
        assert (record["n_runs"], record["n_patients"]) == (3, PATIENTS)
    for record in scores["against_controls"]:
        assert record["b"] == "edges of the image"  # the best of all, which is the smallest deletion
        assert record["beaten"] == (record["method"] == "gradcam"), record
    assert len(scores["against_controls"]) == 2 * 2 * 6
    lines = parts[0]["sentences"]
    assert lines[0].startswith("Grad-CAM of CNN beats its best control in pointing game, energy in the mask")
    assert lines[1].startswith(
        "Integrated gradients of CNN does not beat its best control in anything: pointing game (edges of the image, "
    )


def test_approaches_are_compared_by_the_same_method(parts):
    for record in parts[0]["records"]["between_approaches"]:
        assert (record["a"], record["b"]) == ("ViT", "CNN") and record["paired"] and record["n_patients"] == PATIENTS
        assert record["differs"] == (record["method"] == "gradcam"), record
        if record["method"] == "gradcam":
            assert record["difference"] == pytest.approx(-0.1 if record["metric"] == "deletion" else 0.1, abs=0.03)
            assert (record["p_better"] > 0.99) == (record["metric"] != "deletion")


def test_a_model_that_needs_no_tumour_is_said_to_use_something_else(parts):
    cnn, vit = parts[2]["sentences"]
    assert "Without the tumour CNN has a balanced accuracy of 0." in cnn and "where chance is 0.33" in cnn
    assert "no more than the hole's size and place may give away" in cnn and "not been shown to hurt" not in cnn
    assert "it uses something else than the tumour, for the hole's size and place give 3" in vit
    assert "taking the tumour away has not been shown to hurt more than a patch elsewhere does" in vit
    assert "air around the head" not in cnn and "without the air around the head it changes by -4" in vit
    for record in parts[2]["records"]["regions"]:
        right = {**RIGHT[record["approach"]], HOLE: HOLE_RIGHT}[record["region"]]
        assert record["mean"] == pytest.approx(right, abs=0.08) and record["low"] < record["mean"] < record["high"]


def test_what_is_read_from_features_is_told_from_what_is_not(parts):
    (line,) = parts[3]["sentences"]
    assert line.startswith("patient_prefix (letters that the patient id begins with) is read from features")
    assert "(chance is 0.50) of: CNN 0.9" in line or "(chance is 0.50) of: CNN 0.8" in line
    assert line.count("no more than the class alone tells") == 1 and "tells)." in line  # of ViT, the last


def test_all_regions_are_compared():
    assert {name for pair in COMPARED for name in pair} == {*REGIONS, HOLE}


def test_a_map_that_stays_when_weights_are_drawn_anew_is_named(parts):
    falls, stays = parts[1]["sentences"]
    assert falls.startswith("Grad-CAM of CNN: rank correlation with the trained model's map is -0.2")
    assert falls.endswith("; no more than chance stays.") and "trained on shuffled labels" in falls
    assert stays.startswith("Grad-CAM++ of CNN: rank correlation with the trained model's map is 0.")
    assert stays.endswith("more than chance stays of rank correlation with weights drawn anew, so part of the map was "
                          "not learned.")  # fmt: skip
    known = {(r["method"], r["stage"], r["score"]): r for r in parts[1]["records"]["likeness"]}
    for method, ranks in RANKS.items():
        for stage, rank in ranks.items():
            for score, mean in (("rank", rank), ("ssim", SSIM[stage])):
                record = known[method, stage, score]
                assert record["mean"] == pytest.approx(mean, abs=0.02)
                assert record["low"] < record["mean"] < record["high"] and record["n_patients"] == PATIENTS
    for record in parts[1]["records"]["against_chance"]:
        key = {"rank": RANKS[record["method"]], "ssim": SSIM}[record["metric"]]
        assert record["difference"] == pytest.approx(key[record["stage"]] - key["other images"], abs=0.03)
        stays = (record["method"], record["stage"], record["metric"]) == ("gradcam++", "conv1", "rank")
        assert record["stays"] == stays, record
        # on the scale of the difference: half the interval, and 0.84 / 1.96 of that for a power of 80 %
        half = (record["high"] - record["low"]) / 2
        assert record["detectable"] == pytest.approx(half * (1 + 0.8416 / 1.96), rel=1e-3)


def test_a_page_with_little_room_gets_counts_and_names(parts):
    assert parts[0]["brief"] == [
        "Of 4 saliency maps (approach and method), " + ", ".join(
            f"2 in {name} (Grad-CAM of CNN and Grad-CAM of ViT)" for name in SCORE_NAMES.values()
        ).replace(", 2 in deletion", " and 2 in deletion") + " beat their best control."
    ]  # fmt: skip
    assert parts[1]["brief"] == [
        "With all weights drawn anew, 1 of 2 maps stay more like the trained model's map than its maps of other images "
        "are: Grad-CAM++ of CNN.",
        "When labels were shuffled in training, none of 2 maps stay more like the trained model's map than its maps of "
        "other images are.",
    ]
    assert all(parts[at]["brief"] == parts[at]["sentences"] for at in (2, 3))


def test_what_is_found_does_not_depend_on_how_many_maps_are_asked(measured, parts):
    """Of 50 exchanges no p is below .0196, and four times that is not significant, whatever the maps show."""
    for find, name, part in ((score_findings, SALIENCY, 0), (sanity_findings, SANITY, 1)):
        assert find(read_lines(measured / name), Resampling(50)).brief == parts[part]["brief"]


def test_maps_that_beat_nothing_are_counted_as_none(measured, tmp_path):
    for name in (SANITY, REGION, PROBE):
        write(tmp_path, name, [])
    with (measured / SALIENCY).open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] in ("", "integrated_gradients")]
    write(tmp_path, SALIENCY, lines)
    (found,) = write_tables(tmp_path, resamples=200)
    (line,) = found.brief
    assert line.startswith("Of 2 saliency maps (approach and method), none in pointing game, none in energy in the ")


def test_markdown_and_what_is_read_back_have_every_table(measured, parts):
    text = (measured / "explain.md").read_text()
    found, runs = read_findings(measured)
    assert [part.as_record() for part in found] == parts and runs == set()
    page = "".join(part.html() for part in found)
    for part in parts:
        for grid in part["grids"]:
            assert grid["caption"] in text
            assert all(len(row) == len(grid["head"]) for row in grid["rows"])
        assert all(line in text for line in part["sentences"])
    assert page.count("<table>") == sum(len(part["grids"]) for part in parts) == 9 and "edges of the image" in page


def test_without_tables_nothing_is_found(tmp_path):
    assert read_findings(tmp_path) == ([], set())
    for name in (SALIENCY, SANITY, REGION, PROBE):
        write(tmp_path, name, [])
    assert write_tables(tmp_path) == [] and read_findings(tmp_path) == ([], set())
    (tmp_path / PROBE).unlink()
    with pytest.raises(FileNotFoundError, match=r"probe\.csv: run `explain`"):
        write_tables(tmp_path)
    (tmp_path / "explain.json").write_text('{"parts": [1]}')
    with pytest.raises(ValueError, match=r"explain\.json is damaged: remove it"):
        read_findings(tmp_path)


def test_reading_the_tables_loads_no_torch():
    code = "import sys, vitlab.explain.scores.tables; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
