"""The verb, on trained runs: what it writes, and what it says to mistakes."""

import csv
import json
import re
import shutil

import pytest

from tests.explain.conftest import DISCS
from vitlab.cli import main
from vitlab.evaluate.predictions import read_predictions
from vitlab.report.markup import text


@pytest.fixture(scope="module")
def study(runs, tmp_path_factory):
    """Return a study's folder with one run of each approach and pretraining, of which a test may change all."""
    root = tmp_path_factory.mktemp("study") / "discs"
    shutil.copytree(runs["cnn"].parents[1], root)
    return root


@pytest.fixture(scope="module")
def pages(study):
    assert main(["explain", str(study), "--patients", "6", "--worst", "2"]) == 0
    return study / "explain"


def test_it_writes_a_page_for_each_case(study, pages, capsys):
    index = (pages / "index.html").read_text(encoding="utf-8")
    cards = re.findall(r'class="card" data-number="(\d+)"', index)
    assert 6 <= len(cards) <= 12 and len(list((pages / "cases").glob("*.html"))) == len(cards)
    first = (pages / "cases" / "0001.html").read_text(encoding="utf-8")
    assert "CNN: Grad-CAM, seed 0" in first and "ViT: gradient-weighted attention, seed 0" in first
    assert "5 of 5" in first or "of 5 are" in first
    # An image has no patient: it is a case of its own, under its path.
    tested = read_predictions(study / "cnn" / "seed0" / "predictions.csv")
    named = set(re.findall(r'href="cases/\d+\.html">([^<]+)</a>', index))
    assert named <= set(tested.path[tested.split == "test"])
    assert "of 16 images of the test set" in index


def test_what_was_measured_is_shown_here_and_in_the_report(study, pages, tmp_path, capsys):
    index = (pages / "index.html").read_text(encoding="utf-8")
    looks = index[index.index('<section id="looks">') : index.index('<section id="features">')]
    assert "Grad-CAM of CNN: rank correlation with the trained model" in looks
    named = set(re.findall(r'src="(pictures/sanity-[^"]+)"', looks))
    assert len(named) == 2 * 5 and all((pages / name).is_file() for name in named)  # 2 images, 2 and 3 methods
    found = json.loads((pages / "explain.json").read_text())
    tables = [grid["caption"] for part in found["parts"] for grid in part["grids"]]
    assert found["parts"][-1]["title"] == "Would predict warn of other images?"
    assert len(found["runs"]) == 2 and all(caption in (pages / "explain.md").read_text() for caption in tables)
    with (pages / "sanity.csv").open(newline="") as file:
        likeness = list(csv.DictReader(file))
    assert {row["stage"] for row in likeness if row["approach"] == "CNN"} == {
        "head", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1", "other images",
    }  # fmt: skip
    assert main(["compare", str(study), "--report", str(tmp_path / "report.html"), "--resamples", "100"]) == 0
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Measured on 2 of the 2 runs below discs" in report and 'href="#looks"' in report
    assert all(text(caption) in report for caption in tables)
    (pages / "explain.json").write_text("{")
    assert main(["compare", str(study), "--report", str(tmp_path / "report.html"), "--resamples", "100"]) == 2
    assert "explain.json is damaged: remove it" in capsys.readouterr().err
    (pages / "explain.json").write_text(json.dumps(found, indent=1) + "\n")


def test_the_same_seed_writes_the_same_pages(study, pages, tmp_path, capsys):
    assert main(["explain", str(study), "--patients", "6", "--worst", "2", "--out", str(tmp_path / "again")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "again" / "index.html")
    for path in pages.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(pages)).read_bytes() == path.read_bytes(), path.name
    other = tmp_path / "b"
    args = ["--patients", "6", "--worst", "2", "--seed", "1", "--scores", "none", "--out", str(other)]
    assert main(["explain", str(study), *args]) == 0
    assert (other / "index.html").read_bytes() != (pages / "index.html").read_bytes()


def test_a_run_without_weights_counts_but_shows_nothing(study, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("explain"))
    (copy / "vit" / "seed0" / "checkpoints" / "best.ckpt").unlink()
    assert main(["explain", str(copy), "--patients", "2", "--worst", "1", "--scores", "none"]) == 0
    assert "note: 1 of 1 runs of ViT have no checkpoint" in capsys.readouterr().err
    page = (copy / "explain" / "cases" / "0001.html").read_text(encoding="utf-8")
    assert "CNN: Grad-CAM" in page and "ViT: " not in page and 'scope="row">ViT<' in page
    (copy / "cnn" / "seed0" / "checkpoints" / "best.ckpt").unlink()
    assert main(["explain", str(copy)]) == 2
    assert "no run of" in capsys.readouterr().err


def test_only_some_approaches(study, tmp_path):
    out = tmp_path / "out"
    assert main(["explain", str(study), "--patients", "2", "--worst", "1", "--only", "vit", "--out", str(out)]) == 0
    index = (out / "index.html").read_text(encoding="utf-8")
    assert "1 run of 1 approach (ViT)" in index


def test_a_run_on_shuffled_labels_is_compared_with(study, image_folder, tmp_path):
    flags = [f"--data.source.root={image_folder}", "--trainer.max_epochs=1", "--data.shuffle_labels=true",
             f"--run.root={tmp_path / 'dealt'}"]  # fmt: skip
    assert main(["fit", "--config", "configs/cnn.yaml", *DISCS, *flags]) == 0
    out = tmp_path / "out"
    args = ["--patients", "2", "--worst", "1", "--only", "cnn", "--shuffled", str(tmp_path / "dealt")]
    assert main(["explain", str(study), *args, "--out", str(out)]) == 0
    with (out / "sanity.csv").open(newline="") as file:
        likeness = [row for row in csv.DictReader(file) if row["stage"] == "shuffled labels"]
    assert {row["method"] for row in likeness} == {"gradcam", "gradcam++"} and len(likeness) == 2 * 16
    assert all(float(row["rank"]) < 0.999 for row in likeness)
    index = (out / "index.html").read_text(encoding="utf-8")
    assert " trained on shuffled labels" in index and "<figcaption>shuffled labels</figcaption>" in index


def test_what_was_found_is_put_into_a_page(pages, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- explain -->\nold\n<!-- /explain -->\nb\n")
    assert main(["explain", "--findings", str(pages)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("- ") and "With all weights drawn anew, " in said
    assert main(["explain", "--findings", str(pages), "--into", str(page)]) == 0
    assert page.read_text() == f"a\n<!-- explain -->\n{said}<!-- /explain -->\nb\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["{empty}"], "has no finished run of a classifier"),
        (["{study}", "--only", "cnm"], "--only cnm: no run of it has finished; there are cnn, vit"),
        ([], "name the folder of a study"),
        (["{study}", "--findings", "{study}"], "name the folder of a study"),
        (["--findings", "{empty}"], "has no explain.json: run `vitlab explain STUDY_FOLDER` first"),
        (["{study}", "--into", "{file}"], "has no lines <!-- explain --> and <!-- /explain -->"),
        (["{study}", "--scores", "all"], "--scores: invalid choice: 'all' (choose from"),
        (["{study}", "--shuffled", "{study}"], "has no run with weights on shuffled labels"),
        (["{study}", "--patients", "none"], "'none' is not a whole number of at least 1"),
        (["{study}", "--seed", "-5"], "--seed: -5 is no seed: give a number of at least 0"),
        (["{study}", "--device", "gpuu"], "--device gpuu: torch has no such device here; there are cpu"),
        (["{file}"], "there is no folder"),
        (["{study}", "--out", "{study}"], "holds other files, such as"),
        (["{study}", "--patience", "3"], "unknown option --patience"),
        (["{study}", "--out", "{file}"], "is a file: name a folder"),
    ],
)
def test_mistakes_are_one_line(args, message, study, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    places = {"empty": tmp_path / "empty", "study": study, "file": tmp_path / "file"}
    assert main(["explain", *(arg.format(**places) for arg in args)]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert list((tmp_path / "empty").iterdir()) == [] and (tmp_path / "file").read_text() == "mine"


def test_a_damaged_checkpoint_is_named(study, tmp_path, capfd):
    """A disk was full, or a copy was interrupted."""
    shutil.copytree(study, tmp_path / "study", ignore=shutil.ignore_patterns("explain"))
    checkpoint = tmp_path / "study" / "vit" / "seed0" / "checkpoints" / "best.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:20_000])
    assert main(["explain", str(tmp_path / "study"), "--scores", "none", "--patients", "1", "--worst", "1"]) == 2
    said = capfd.readouterr().err.splitlines()
    assert f"{checkpoint} is not a checkpoint of vitlab, or damaged" in said[-1] and "Traceback" not in "".join(said)
    assert not (tmp_path / "study" / "explain").exists()


def test_help_has_types_and_defaults(capsys):
    assert main(["explain", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for flag, default in (("--patients", "12"), ("--seed", "0"), ("--worst", "6")):
        assert flag in shown and f"(type: int, default: {default})" in shown
