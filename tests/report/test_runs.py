import json
import os

import pytest

from vitlab.report.runs import find_runs, read_run


def test_runs_are_found_at_any_depth_and_once(make_run, tmp_path):
    runs = {make_run(seed=0), make_run(seed=1, folder="a/b/c/d/e"), make_run(seed=2, folder="top")}
    (tmp_path / "logs" / "loop").symlink_to(tmp_path / "logs")
    finished, unfinished = find_runs([tmp_path / "logs", tmp_path / "logs" / "a", tmp_path / "logs"])
    assert set(finished) == runs and len(finished) == 3 and unfinished == []
    assert find_runs([tmp_path / "logs" / "top"])[0] == [tmp_path / "logs" / "top"]


def test_links_to_folders_are_followed(make_run, tmp_path):
    make_run(root="elsewhere")
    (tmp_path / "logs").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "logs" / "disk2")
    assert len(find_runs([tmp_path / "logs"])[0]) == 1


@pytest.mark.parametrize("left", ["config.yaml", "checkpoints/last.ckpt", "events.out.tfevents.17.host", "metrics.csv"])
def test_what_a_stopped_run_leaves_is_unfinished(make_run, tmp_path, left):
    make_run()
    stopped = tmp_path / "logs" / "phantom" / "vit" / "seed0"
    (stopped / left).parent.mkdir(parents=True)
    (stopped / left).write_text("")
    assert find_runs([tmp_path / "logs"])[1] == [stopped]


def test_folders_inside_or_around_runs_are_no_runs(make_run, tmp_path):
    run = make_run()
    (run / "hparams").mkdir()
    (run / "hparams" / "events.out.tfevents.2").write_text("")
    (tmp_path / "logs" / "phantom" / "config.yaml").write_text("a study's own file")
    stopped = tmp_path / "logs" / "stopped"
    (stopped / "hparams").mkdir(parents=True)
    for file in (stopped / "config.yaml", stopped / "hparams" / "events.out.tfevents.2"):
        file.write_text("")
    assert find_runs([tmp_path / "logs"]) == ([run], [stopped])


def test_published_runs_are_read_only_when_named(make_run, tmp_path):
    own, published = make_run(), make_run(root="logs/published")
    assert find_runs([tmp_path / "logs"])[0] == [own]
    assert find_runs([tmp_path / "logs" / "published"])[0] == [published]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        find_runs([tmp_path / "nowhere"])


def test_cost_has_the_pretraining_in_it(make_run):
    pretrain = {"approach": "simclr", "epochs": 80, "images_seen": 9000, "wall_seconds": 300.5}
    run = read_run(make_run("cnn_simclr", pretrain=pretrain))
    assert (run.cost["seconds"], run.cost["images_seen"]) == (320.5, 10000)
    assert (run.cost["pretrain_seconds"], run.cost["pretrain_images_seen"]) == (300.5, 9000)
    assert read_run(make_run("cnn")).cost["pretrain_seconds"] == 0


def test_an_unknown_pretraining_cost_is_not_taken_for_nothing(make_run):
    run = read_run(make_run("cnn_simclr", pretrain={"weights": "from/elsewhere.safetensors", "sha256": "00"}))
    assert run.cost["seconds"] is None and run.cost["pretrain_seconds"] is None


def test_missing_and_infinite_metrics_are_none(make_run):
    run = read_run(make_run(test_auroc=None, val_loss=float("nan")))
    assert run.metrics["test"]["auroc"] is None and run.metrics["val"]["loss"] is None
    assert run.metrics["test"]["accuracy"] == 0.8


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ('{"approach": "cnn", "se', "Unterminated"),
        ("[1]", "not a JSON object"),
        ("[" * 200_000, ""),
        ("\udcff", "utf-8"),
        ({"schema": 2}, "schema is 2"),
        ({"seed": None}, "seed is not"),
        ({"seed": True}, "seed is not"),
        ({"metrics": {"test": 3}}, "metrics.test is not"),
        ({"metrics": {"val": {"loss": "x"}}}, "metrics.val.loss is not a number"),
        ({"fold": "1"}, "fold is neither"),
        ({"pretrain": 1}, "pretrain is neither"),
        ({"wall_seconds": 10**400}, "too large"),
    ],
)
def test_a_corrupt_results_file_is_named_in_one_line(tmp_path, text, reason):
    if isinstance(text, dict):
        text = json.dumps({"approach": "cnn", "manifest_sha256": "a", "seed": 0, "metrics": {}} | text)
    (tmp_path / "results.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=r"results\.json") as caught:
        read_run(tmp_path)
    assert reason in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_missing_fact_is_named_or_has_a_default(make_run):
    with pytest.raises(ValueError, match="manifest_sha256 is missing"):
        read_run(make_run(without=["manifest_sha256"]))
    run = read_run(make_run(seed=1, without=["fold", "label_fraction", "axes", "pretrain", "status", "epochs"]))
    assert (run.fold, run.label_fraction, run.axes, run.finished, run.epochs) == (None, 1.0, "", True, None)
