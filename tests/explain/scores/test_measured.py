import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vitlab.cli import main
from vitlab.explain.cases.masks import masks_of
from vitlab.explain.runs.loaded import load_run
from vitlab.explain.scores.measured import FILES, StudyRun, measure


@pytest.fixture(scope="session")
def lesions(tmp_path_factory):
    """Return two runs of one study: bright or dark lesions at the left or right, with masks and two hospitals."""
    root = tmp_path_factory.mktemp("lesions")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    table = [["path", "label", "patient_id", "split", "mask_path"]]
    for number in range(96):
        patient, label = number // 3, ["left", "right"][number // 3 % 2]
        y, x = rng.integers(11, 21), (9 if label == "left" else 23) + rng.integers(-1, 2)
        mask = (rows - y) ** 2 + (columns - x) ** 2 < 16
        head = (rows - 16) ** 2 + (columns - 16) ** 2 < 200
        pixels = 60 * head + 150 * mask + rng.normal(10, 4, head.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / f"mask{number}.png")
        split = "train" if patient < 16 else "val" if patient < 22 else "test"
        table.append([f"{number}.png", label, f"{'NS'[patient // 2 % 2]}{patient}", split, f"mask{number}.png"])
    table[-1][-1] = ""
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table)
    folders = []
    for recipe in ("cnn", "vit"):
        assert main(["fit", "--config", f"configs/{recipe}.yaml", "--data.source=Csv", f"--data.source.root={root}",
                     "--data.name=lesions", "--data.image_size=32", "--data.batch_size=8", "--trainer.accelerator=cpu",
                     "--trainer.precision=32-true", "--trainer.max_epochs=2", f"--run.root={root}/runs"]
                    ) == 0  # fmt: skip
        (folder,) = (found.parent for found in (root / "runs").glob(f"*/{recipe}/seed0/results.json"))
        folders.append(StudyRun(recipe, 0, None, lambda folder=folder: load_run(folder)))
    return folders


def read(folder, name):
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def perfect(run, rows, method, targets):
    return masks_of(run.data, rows)[0].astype(np.float32)


def test_every_run_is_measured_on_the_same_images_beside_its_controls(lesions, tmp_path):
    said = []

    def halves(run, images, maps, targets):
        assert len(images) == len(maps) == len(targets)
        return np.full(len(images), 0.5), np.full(len(images), 0.25)

    measure(lesions, tmp_path / "explain", methods=("gradcam", "rollout"), images_per_patient=2, maps=perfect,
            faithfulness=halves, tell=said.append)  # fmt: skip
    assert [line.rpartition(";")[0] for line in said] == [
        "cnn seed 0: 20 images, gradcam", "vit seed 0: 20 images, rollout, gradcam",
    ]  # fmt: skip
    found = read(tmp_path / "explain", "saliency.csv")
    keys = {(row["approach"], row["method"], row["control"]) for row in found}
    plain = {(approach, "", control) for approach in ("cnn", "vit") for control in ("centre", "edges", "random")}
    own = {("cnn", "gradcam"), ("vit", "gradcam"), ("vit", "rollout")}
    assert keys == plain | {(*one, control) for one in own for control in ("", "others", "untrained")}
    images = [{row["path"] for row in found if (row["approach"], row["method"], row["control"]) == key} for key in keys]
    assert all(one == images[0] for one in images) and len(images[0]) == 20
    assert "95.png" not in images[0]  # it has no mask
    ours = [row for row in found if row["method"] and row["control"] != "others"]
    assert {row[score] for row in ours for score in ("pointing", "energy", "auprc", "iou")} == {"1"}
    random = [float(row["energy"]) for row in found if row["control"] == "random"]
    assert np.mean(random) == pytest.approx(49 / 1024, abs=0.01)
    with_areas = [row for row in ours if row["insertion"]]
    assert len(with_areas) == 3 * 10  # one image a patient, not of the untrained network
    assert {(row["insertion"], row["deletion"]) for row in with_areas} == {("0.5", "0.25")}


def test_regions_and_probe_have_their_tables(lesions, tmp_path):
    measure(lesions[:1], tmp_path, methods=("gradcam",), maps=perfect)
    regions = read(tmp_path, "regions.csv")
    assert {row["region"] for row in regions} == {
        "whole", "without tumour", "patch elsewhere", "only tumour", "without air", "the hole alone",
    }  # fmt: skip
    hole = [row["predicted"] == row["label"] for row in regions if row["region"] == "the hole alone"]
    assert np.mean(hole) > 0.95  # the class is where the lesion is
    run = lesions[0].load()
    whole = [row for row in regions if row["region"] == "whole"]
    rows = np.array([int(row["index"]) for row in whole])
    expected = np.array(run.classes)[run.probabilities(run.images(rows)).argmax(1)]
    assert [row["predicted"] for row in whole] == expected.tolist()
    probe = read(tmp_path, "probe.csv")
    assert {(row["column"], row["source"]) for row in probe} == {
        ("patient_prefix", source) for source in ("features", "pixels", "the class alone")
    }
    assert {row["label"] for row in probe} == {row["predicted"] for row in probe} == {"N", "S"}
    assert {row["patient_id"] for row in probe}.isdisjoint(f"{prefix}{i}" for prefix in "NS" for i in range(16))


def test_the_real_methods_give_rows_and_a_second_call_gives_the_same(lesions, tmp_path):
    for folder in ("a", "b"):
        measure(lesions, tmp_path / folder, methods=("gradcam",), images_per_patient=1, patients=4)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert len({row["patient_id"] for row in read(tmp_path / "a", "saliency.csv")}) == 4


def test_images_without_any_mask_have_faithfulness_alone(lesions, tmp_path, monkeypatch):
    def none(data, rows):
        return np.zeros((len(rows), 32, 32), bool), np.zeros(len(rows), bool)

    monkeypatch.setattr("vitlab.explain.scores.measured.masks_of", none)
    measure(
        lesions[:1],
        tmp_path,
        methods=("gradcam",),
        maps=lambda run, rows, *_: np.ones((len(rows), 32, 32)),
        faithfulness=lambda run, images, maps, targets: np.zeros((2, len(images))),
    )
    found = read(tmp_path, "saliency.csv")
    assert {row["pointing"] for row in found} == {""} and {row["insertion"] for row in found} == {"0", ""}
    assert read(tmp_path, "regions.csv") == [] and len(read(tmp_path, "probe.csv"))


def test_what_cannot_be_measured_is_said_and_nothing_is_written(lesions, tmp_path):
    with pytest.raises(ValueError, match="there is no run"):
        measure([], tmp_path / "out")
    broken = replace(lesions[0].load(), folder=tmp_path)

    def fails(*_):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        measure([StudyRun("cnn", 0, None, lambda: broken)], tmp_path / "out", maps=fails)
    assert not (tmp_path / "out").exists()
