"""The verb as a user meets it: on real images, on planted leaks, and with mistakes."""

import csv
import hashlib
import json
import os
import shutil
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from vitlab.cli import main

# CPU seconds of an audit over those of decoding and hashing its images; on a busy machine they were 41.
LIMIT = 60


def cpu_seconds():
    """Return those of this process and its children: unlike wall seconds, what runs beside it hardly changes them."""
    return sum(os.times()[:4])


@pytest.fixture(scope="module")
def plain(data_root):
    """Return the digest of each decoded image of brain_tumor_mri by split, and the CPU seconds of a plain count."""
    root, start = data_root / "brain_tumor_mri", cpu_seconds()
    digests = {
        part: [hashlib.sha256(np.asarray(Image.open(file).convert("L")).tobytes()).digest()
               for file in sorted((root / part).rglob("*.jpg"))]
        for part in ("Training", "Testing")
    }  # fmt: skip
    return digests, cpu_seconds() - start


@pytest.fixture(scope="module")
def published(plain, data_root, tmp_path_factory):
    """Return the folder of an audit of brain_tumor_mri as published, with a repaired manifest, and its CPU seconds."""
    out = tmp_path_factory.mktemp("brain_tumor_mri")
    root = f"--data.source.root={data_root / 'brain_tumor_mri'}"
    args = ["--config", "configs/data/brain_tumor_mri.yaml", root, "--out", str(out)]
    start = cpu_seconds()
    assert main(["audit", *args, "--repair", str(out / "repaired.csv"), "--fail-on", "leak"]) == 1
    (out / "seconds").write_text(str(cpu_seconds() - start))
    return out


def report(folder):
    return json.loads((folder / "audit.json").read_text())


@pytest.mark.slow
def test_figures_of_brain_tumor_mri_are_those_of_a_plain_count(published, plain):
    digests, _ = plain
    train = set(digests["Training"])
    unseen = [digest for digest in digests["Testing"] if digest not in train]
    found = report(published)["test"]
    assert found["n"] == len(digests["Testing"]) == 394
    assert found["identical_in_train"] == 394 - len(unseen) > 200
    assert (found["unseen"], found["unseen_distinct"]) == (len(unseen), len(set(unseen)))
    assert sum(part["n"] for part in found["by_class"].values()) == 394
    assert set(found["by_class"]) == {"glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"}


@pytest.mark.slow
def test_it_costs_little_more_than_now(published, plain):
    times = float((published / "seconds").read_text()) / plain[1]
    assert times < LIMIT, f"an audit takes {times:.0f} times the CPU seconds of decoding and hashing"


@pytest.mark.slow
def test_an_audit_of_the_repaired_manifest_finds_no_leak(published, data_root, tmp_path, capsys):
    assert main([
        "audit", "--data.source=Csv", f"--data.source.root={data_root / 'brain_tumor_mri'}", "--data.name=repaired",
        f"--data.source.manifest={published / 'repaired.csv'}", "--out", str(tmp_path / "out"), "--fail-on=leak",
    ]) == 0  # fmt: skip
    found = report(tmp_path / "out")
    split = found["test"]
    assert split["identical_in_train"] == split["near_in_train"] == 0
    assert abs((split["n"] / found["n"]) / (394 / 3264) - 1) < 0.01  # the share of the images that it had
    for name, before in report(published)["test"]["by_class"].items():
        assert abs(split["by_class"][name]["n"] / split["n"] - before["n"] / 394) < 0.01, name
    assert split["unseen_distinct"] == split["n"] and not found["labels"]["conflicts"]
    assert found["patients"]["across_splits"] == []
    assert not {"same file", "same pixels", "padded"} & set(found["pairs"])
    said = capsys.readouterr()
    assert "No image and no known patient" in said.out and "reading images" not in said.err  # the first audit has
    with (published / "repaired.changes.csv").open() as file:
        changes = list(csv.DictReader(file))
    kept = set(open(published / "repaired.csv").read().split())
    dropped = [change["path"] for change in changes if change["change"] == "dropped"]
    assert found["n"] + len(dropped) == 3264 and not kept & set(dropped)


@pytest.mark.slow
def test_a_second_audit_reads_nothing_again(published, data_root, tmp_path, capsys):
    root = f"--data.source.root={data_root / 'brain_tumor_mri'}"
    assert main(["audit", "--config=configs/data/brain_tumor_mri.yaml", root, f"--out={tmp_path / 'out'}"]) == 0
    progress = capsys.readouterr().err
    assert "reading images" not in progress and "comparing candidates" not in progress
    assert (tmp_path / "out/pairs.csv").read_bytes() == (published / "pairs.csv").read_bytes()
    first, second = report(published), report(tmp_path / "out")
    assert {**first, "created": 0} == {**second, "created": 0}


@pytest.mark.slow
def test_cheng_has_persons_under_two_names_and_no_exact_pair(data_root, tmp_path, capsys):
    predictions = "lightning_logs/published/cheng/cnn/seed0-fold1/predictions.csv"
    assert main([
        "audit", "--config=configs/data/cheng.yaml", f"--data.source.root={data_root / 'cheng'}", f"--out={tmp_path}",
        f"--predictions={predictions}",
    ]) == 0  # fmt: skip
    found = report(tmp_path)
    assert not {"same file", "same pixels", "padded"} & set(found["pairs"])
    assert [alike["patients"] for alike in found["patients"]["alike"]] == [["103257", "103837"], ["111710", "97793"]]
    assert found["test"]["near_in_train"] < 10
    with (tmp_path / "pairs.csv").open() as file:
        strangers = [pair for pair in csv.DictReader(file) if pair["patient_a"] != pair["patient_b"]]
    assert 0 < len(strangers) <= 8  # all of these two persons, true by eye
    (value,) = [value for value in found["worth"] if value["split"] == "test"]
    with open(predictions) as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    probabilities = [{name[5:]: float(p) for name, p in row.items() if name.startswith("prob_")} for row in rows]
    right = np.mean([max(p, key=p.get) == row["label"] for p, row in zip(probabilities, rows, strict=True)])
    assert value["all"]["accuracy"] == pytest.approx(right) and value["all"]["n"] == 613
    assert value["all"]["low"] < right < value["all"]["high"]
    assert value["new"]["n"] == 613 - found["test"]["near_in_train"]
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 40 and "103257 and 103837 look like one person" in shown


@pytest.mark.slow
def test_the_phantom_is_clean(tmp_path):
    assert main(["audit", "--config=configs/data/phantom.yaml", f"--out={tmp_path}", "--fail-on=leak"]) == 0
    found = report(tmp_path)
    assert found["pairs"] == {} and not found["leak"] and found["n"] == 1500
    assert found["test"]["unseen_distinct"] == found["test"]["n"]
    (shift,) = [shift for shift in found["shift"] if shift["split"] == "test"]
    assert shift["named"] and shift["auroc"] > 0.8  # scanner B
    assert not [shift for shift in found["shift"] if shift["split"] == "val" and shift["named"]]


@pytest.fixture
def leaky(image_folder, tmp_path):
    """Return a folder of discs whose test split holds two training images, one flipped and with another label."""
    root = tmp_path / "leaky"
    shutil.copytree(image_folder, root)
    shutil.copy(root / "train/top/3.png", root / "test/top/again.png")
    flipped = Image.open(root / "train/top/4.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    flipped.save(root / "test/bottom/flipped.png")
    return root


def test_planted_leaks_are_named(leaky, tmp_path):
    out = tmp_path / "out"
    assert main(["audit", "--data.source=ImageFolder", f"--data.source.root={leaky}", f"--out={out}"]) == 0
    found = report(out)
    assert found["test"]["identical_in_train"] == 1 and found["test"]["near_in_train"] == 1
    assert found["test"]["by_class"]["top"]["identical_in_train"] == 1
    with (out / "pairs.csv").open() as file:
        pairs = list(csv.DictReader(file))
    assert Counter(pair["kind"] for pair in pairs) == {"same file": 1, "flipped": 1}
    (flipped,) = [pair for pair in pairs if pair["kind"] == "flipped"]
    assert {flipped["split_a"], flipped["split_b"]} == {"train", "test"}
    assert {flipped["label_a"], flipped["label_b"]} == {"top", "bottom"}
    (conflict,) = found["labels"]["conflicts"]
    assert conflict["kind"] == "flipped" and "test/bottom/flipped.png" in conflict["paths"]
    assert found["leak"] and "The splits leak" in found["verdict"]


def test_a_repaired_folder_is_clean_and_trains(leaky, tmp_path):
    repaired = tmp_path / "repaired.csv"
    folder = ["--data.source=ImageFolder", f"--data.source.root={leaky}"]
    assert main(["audit", *folder, f"--out={tmp_path / 'out'}", f"--repair={repaired}"]) == 0
    table = ["--data.source=Csv", f"--data.source.root={leaky}", f"--data.source.manifest={repaired}"]
    assert main(["audit", *table, f"--out={tmp_path / 'again'}", "--fail-on=leak"]) == 0
    assert report(tmp_path / "again")["pairs"] == {}
    assert main([
        "fit", "--config=configs/cnn.yaml", *table, "--data.image_size=32", "--trainer.max_steps=1",
        f"--run.root={tmp_path / 'runs'}", "--data.name=repaired", "--trainer.accelerator=cpu",
    ]) == 0  # fmt: skip


def test_a_family_of_near_copies_ends_on_one_side(data_root, tmp_path):
    rng = np.random.default_rng(0)
    files = sorted((data_root / "cheng" / "images").iterdir())[::60]
    for row, file in enumerate(files):
        slice_ = np.asarray(Image.open(file).convert("L"))
        for copy in range(16 if row == 0 else 1):
            part = "test" if copy % 2 or row % 5 == 1 else "train"
            folder = tmp_path / "set" / part / ("odd" if row % 2 else "even")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = slice_ * rng.uniform(0.8, 1.1) + rng.normal(0, 3, slice_.shape)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{row}-{copy}.png")
    folder = ["--data.source=ImageFolder", f"--data.source.root={tmp_path / 'set'}"]
    repaired = tmp_path / "repaired.csv"
    assert main(["audit", *folder, f"--out={tmp_path / 'out'}", f"--repair={repaired}", "--drop=none"]) == 0
    assert report(tmp_path / "out")["test"]["near_in_train"] == 8
    table = ["--data.source=Csv", f"--data.source.root={tmp_path / 'set'}", f"--data.source.manifest={repaired}"]
    assert main(["audit", *table, f"--out={tmp_path / 'again'}", "--fail-on=leak"]) == 0
    again = report(tmp_path / "again")
    assert again["n"] == len(files) + 15 and sum(kind["n"] for kind in again["pairs"].values()) == 16 * 15 / 2
    assert again["patients"]["n"] == 0  # what stands in for patients is no patient


def test_a_configuration_of_fit_serves_and_a_set_that_is_all_test_is_one_split(image_folder, tmp_path):
    (tmp_path / "data.yaml").write_text(
        f"data:\n  source: {{class_path: ImageFolder, init_args: {{root: {image_folder}}}}}\n  batch_size: 8\n"
    )
    assert main(["audit", f"--config={tmp_path / 'data.yaml'}", f"--out={tmp_path / 'out'}"]) == 0
    assert report(tmp_path / "out")["splits_from"] == "published"
    paths = sorted(path.relative_to(image_folder) for path in image_folder.rglob("*.png"))
    table = tmp_path / "test.csv"
    table.write_text("path,label,split\n" + "".join(f"{path},{path.parent.name},test\n" for path in paths))
    args = ["--data.source=Csv", f"--data.source.root={image_folder}", f"--data.source.manifest={table}"]
    assert main(["audit", *args, f"--out={tmp_path / 'test'}"]) == 0
    assert report(tmp_path / "test")["test"]["n"] == len(paths)


def test_one_class_one_split_and_no_labels_are_audited(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(tmp_path / f"images/{number}.png")
    shutil.copy(tmp_path / "images/0.png", tmp_path / "images/copy.png")
    names = [*map(str, range(6)), "copy"]
    for label in ("x", ""):
        table = "path,label\n" + "".join(f"{name}.png,{label}\n" for name in names)
        (tmp_path / "images/manifest.csv").write_text(table)
        args = ["--data.source=Csv", f"--data.source.root={tmp_path / 'images'}", f"--out={tmp_path / 'out'}{label}"]
        assert main(["audit", *args]) == 0
        assert report(tmp_path / f"out{label}")["pairs"]["same file"]["n"] == 1


def test_odd_patient_ids_count_alike_in_audit_and_fit(image_folder, tmp_path):
    images = {part: sorted((image_folder / part).rglob("*.png")) for part in ("train", "val", "test")}
    ids = {
        "train": [f"P-{number // 2:03}" for number in range(30)] + ["unknown"] * 10,
        "val": ["N/A"] * 16,
        "test": [f"p-{number:03}" for number in range(6)] + ["Unknown"] * 10,
    }
    table = tmp_path / "table.csv"
    rows = [
        f"{file.relative_to(image_folder)},{file.parent.name},{name},{part}\n"
        for part, files in images.items()
        for file, name in zip(files, ids[part], strict=True)
    ]
    table.write_text("path,label,patient_id,split\n" + "".join(rows))
    args = ["--data.source=Csv", f"--data.source.root={image_folder}", f"--data.source.manifest={table}"]
    audit = ["audit", *args, f"--out={tmp_path / 'out'}", f"--repair={tmp_path / 'repaired.csv'}"]
    fit = ["fit", "--config=configs/cnn.yaml", *args, "--data.image_size=32", "--trainer.max_steps=1",
           f"--run.root={tmp_path / 'runs'}", "--data.name=odd", "--trainer.accelerator=cpu"]  # fmt: skip
    warned = []
    for verb in (audit, fit):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert main(verb) == 0
        warned.append([str(warning.message) for warning in seen if str(table) in str(warning.message)])
    found = report(tmp_path / "out")
    assert found["patients"] | {"alike": 0, "groups": 0} == {
        "known": False, "n": 15, "images_without": 36, "alike": 0, "groups": 0,
        "across_splits": [{"patient": f"P-{number:03}", "splits": {"train": 2, "test": 1}} for number in range(6)],
    }  # fmt: skip
    assert found["leak"] and "6 patients are on two sides" in found["verdict"]
    said = [
        "36 of 72 images have a patient id that names nobody ('N/A' 16, 'Unknown' 10, 'unknown' 10): "
        "it counts as missing",
        "the id of 6 patients comes in several spellings, e.g. 'P-000' and 'p-000': they count as one",
    ]
    details = [finding["detail"] for finding in found["files"] if finding["kind"] == "patient id"]
    assert [detail.lower() for detail in details] == [f"{remark.lower()}." for remark in said]
    assert warned == [[f"{table}: {remark}" for remark in said]] * 2
    assert details[1] in (tmp_path / "out/audit.html").read_text(encoding="utf-8").replace("&#x27;", "'")

    (predictions,) = (tmp_path / "runs").rglob("predictions.csv")
    with predictions.open() as file:
        patients = Counter(row["patient_id"] for row in csv.DictReader(file))
    assert patients[""] == 36 and patients["P-000"] == 3 and len(patients) == 16

    args[-1] = f"--data.source.manifest={tmp_path / 'repaired.csv'}"
    assert main(["audit", *args, f"--out={tmp_path / 'again'}", "--fail-on=leak"]) == 0
    again = report(tmp_path / "again")
    assert again["patients"]["n"] == 15 and not [found for found in again["files"] if found["kind"] == "patient id"]


def test_a_wrong_row_of_a_table_is_named_by_its_file_and_line(image_folder, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("path,label\ntrain/top/0.png,top\n\ntrain/top/0.png,bottom\n")
    args = ["--data.source=Csv", f"--data.source.root={image_folder}", f"--data.source.manifest={table}"]
    for verb in (["audit"], ["fit", "--config=configs/cnn.yaml"]):
        assert main([*verb, *args]) == 2
        assert f"the manifest {table} has paths more than once, first 'train/top/0.png' in line 2 and line 4" in (
            capsys.readouterr().err
        )


def test_a_link_to_a_folder_above_is_no_leak(image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "set")
    (tmp_path / "set/train/top/up").symlink_to("../..")
    args = ["--data.source=ImageFolder", f"--data.source.root={tmp_path / 'set'}"]
    with pytest.warns(UserWarning, match=r"left out \(1, e\.g\. train/top/up\)$"):
        assert main(["audit", *args, f"--out={tmp_path / 'out'}", "--fail-on=leak"]) == 0
    assert report(tmp_path / "out")["n"] == 72


MISTAKES = {
    "no data": ([], "no data: give --config"),
    "misspelt": (["--data.source=ImageFolder", "--data.sorce.root=x"], "data.sorce"),
    "misspelt flag": (["--config=configs/data/phantom.yaml", "--fial_on=leak"], "did you mean"),
    "no such folder": (["--data.source=ImageFolder", "--data.source.root=nowhere"], "there is no"),
    "no such config": (["--config=configs/data/phantm.yaml"], "did you mean configs/data/phantom.yaml"),
    "fail on what": (["--config=configs/data/phantom.yaml", "--fail_on=everything"], "expected one of"),
    "plant less than none": (["--config=configs/data/phantom.yaml", "--plant=-3"], "number of copies"),
    "repair without csv": (["--config=configs/data/phantom.yaml", "--repair=fixed.txt"], "must be a CSV file"),
    "repair into nowhere": (["--config=configs/data/phantom.yaml", "--repair=no/where.csv"], "there is no folder"),
    "repair over a file": (["--config=configs/data/phantom.yaml", "--repair=constraints.csv"], "never overwritten"),
    "out is a file": (["--config=configs/data/phantom.yaml", "--out=constraints.csv"], "it is a file"),
    "repair twice": (["--config=configs/data/phantom.yaml", "--repair=twice.csv"], "twice.changes.csv exists"),
    "plant and repair": (["--config=configs/data/phantom.yaml", "--plant=3", "--repair=x.csv"], "leave out --repair"),
    "no page": (["--config=configs/data/phantom.yaml", "--into=nowhere.md"], "there is no page"),
    "repair of a container": (["--data.source=Torchvision", "--data.source.dataset=CIFAR10", "--repair=x.csv"], ""),
    "out is empty": (["--config=configs/data/phantom.yaml", "--out="], "--out is empty: give a folder"),
    "out in no real folder": (["--config=configs/data/phantom.yaml", "--out=/proc/x"], "cannot write --out /proc/x ("),
    "out holds folders": (["--config=configs/data/phantom.yaml", "--out=taken"], "pairs.csv there is a folder"),
    "no predictions": (["--predictions=none.csv"], "there is no none.csv for --predictions: give the predictions.csv"),
    "predictions of others": (["--predictions=others.csv"], "of other images"),
    "no predictions.csv": (["--predictions=constraints.csv"], "constraints.csv is not a predictions file"),
    "a folder without predictions": (["--predictions=taken"], "the folder taken has no predictions.csv"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line(mistake, image_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "constraints.csv").write_text("a,b\n1,2\n")
    (tmp_path / "twice.changes.csv").write_text("path,change,reason\n")
    header = "split,index,path,patient_id,label,prob_bottom,prob_top\n"
    (tmp_path / "others.csv").write_text(header + "train,0,elsewhere.png,,top,0.5,0.5\n")
    (tmp_path / "taken/pairs.csv").mkdir(parents=True)
    args, message = MISTAKES[mistake]
    if "predictions" in mistake:
        args = [*args, "--data.source=ImageFolder", f"--data.source.root={image_folder}"]
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["audit", *args]) == 2
    shown = capsys.readouterr().err
    lines = [line for line in shown.splitlines() if line.startswith("vitlab")]
    assert len(lines) == 1 and message in lines[0] and "reading images" not in shown, lines
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.fixture
def small_files():
    """Return a function that lets this process write no file beyond a size: what a full disk does, without root."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [10, 20_000])  # nothing fits; pairs.csv does, the page does not
def test_a_full_disk_leaves_the_earlier_results(size, leaky, tmp_path, capsys, small_files):
    args = ["audit", "--data.source=ImageFolder", f"--data.source.root={leaky}", f"--out={tmp_path / 'out'}"]
    assert main(args) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert len(before["pairs.csv"]) < 20_000 < len(before["audit.html"])
    capsys.readouterr()
    small_files(size)
    assert main([*args, "--data.name=other"]) == 2
    assert main([*args[:-1], f"--out={tmp_path / 'new/out'}"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vitlab")]
    assert all(f"cannot write --out {tmp_path}" in line and "File too large" in line for line in lines), lines
    assert len(lines) == 2 and not (tmp_path / "new").exists()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("data", [["--config=configs/data/phantom.yaml"], ["--data.source=ImageFolder"]])
def test_a_cache_that_cannot_be_written_names_its_setting(data, image_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITLAB_CACHE", "/proc/x")
    data += [f"--data.source.root={image_folder}"] * (data == ["--data.source=ImageFolder"])
    assert main(["audit", *data, "--out=out"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vitlab")]
    assert "VITLAB_CACHE" in line and "/proc/x" in line and list(tmp_path.iterdir()) == []


def test_labels_that_are_missing_and_the_folder_of_a_run_given_as_predictions(leaky, tmp_path, capsys):
    rows = []
    for number, path in enumerate(sorted(leaky.rglob("*.png"))):
        part, label, _ = path.relative_to(leaky).parts
        rows.append([str(path.relative_to(leaky)), "" if number % 9 == 0 else label, part])
    table = tmp_path / "labels.csv"
    table.write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    folder = tmp_path / "runs/discs/cnn/seed0"
    folder.mkdir(parents=True)
    lines = [f"{part},{at},{path},,{label},0.5,0.5\n" for at, (path, label, part) in enumerate(rows) if part == "test"]
    header = "split,index,path,patient_id,label,prob_bottom,prob_top\n"
    (folder / "predictions.csv").write_text(header + "".join(lines))
    assert main([
        "audit", "--data.source=Csv", f"--data.source.root={leaky}", f"--data.source.manifest={table}",
        f"--out={tmp_path / 'out'}", f"--predictions={folder}",
    ]) == 0  # fmt: skip
    found, blank = report(tmp_path / "out"), [part for _, label, part in rows if not label]
    assert found["labels"]["unlabelled"] == len(blank) > 0
    for part in ("val", "test"):
        assert found[part]["unlabelled"] == blank.count(part) > 0
        assert found[part]["n"] == found[part]["unlabelled"] + sum(of["n"] for of in found[part]["by_class"].values())
    shown = capsys.readouterr().out
    assert f"{len(blank)} of {len(rows)} images have no label" in shown
    assert f"{len(blank)} of {len(rows)} images have no label" in (tmp_path / "out/audit.html").read_text()
    (value,) = found["worth"]
    assert (value["name"], value["trained_on"]) == ("discs/cnn/seed0", "audit")
    assert value["seen"]["n"] == 1 and "judged by this audit's training split: discs/cnn/seed0" in shown


@pytest.mark.parametrize(("splits", "leaks"), [("train,test,", True), ("train,,", False)])
def test_a_person_under_two_names_leaks_where_both_names_are_in_splits(splits, leaks, tmp_path, capsys):
    """Patient a has an image left out of all splits, which is that of patient b; a's other image is in training."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (20, 64, 64), dtype=np.uint8)
    own, others, unused = splits.split(",")
    rows = [("a", own), ("a", unused), ("b", others), *((f"p{n}", "train" if n % 2 else "test") for n in range(3, 20))]
    pictures[2] = pictures[1]
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    lines = [f"{n}.png,{'xy'[n // 2 % 2]},{patient},{split}\n" for n, (patient, split) in enumerate(rows)]
    (tmp_path / "manifest.csv").write_text("path,label,patient_id,split\n" + "".join(lines))
    data = ["--data.source=Csv", f"--data.source.root={tmp_path}", f"--out={tmp_path / 'out'}"]
    assert main(["audit", *data, "--fail-on=leak"]) == int(leaks)
    found = report(tmp_path / "out")
    assert len(found["patients"]["alike"]) == 1 and found["leak"] is leaks
    assert found["verdict"].startswith("The splits leak") is leaks
    assert ("Leak found" in (tmp_path / "out" / "audit.html").read_text()) is leaks
