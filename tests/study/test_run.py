"""Studies through the real command line: what is run, shared, skipped, replaced, retried and gone on with."""

import json
import os
import shutil
import signal
import sys
from functools import partial

import pytest
from lightning.pytorch.callbacks import Callback

from tests.conftest import wait_for
from tests.study.conftest import CHAIN, Study
from tests.study.kill_loop import curves, figures, workers_of
from vitlab.cli import main


def test_a_dry_run_shows_the_order_and_writes_nothing(study, capsys):
    study.write(approaches=CHAIN)
    assert study.run("--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["simclr", "cnn", "cnn_simclr"]
    assert "unknown" in lines[0] and "after simclr seed0" in lines[2]
    assert lines[3] == "3 runs, 0 done, 3 to do; nothing was written"
    assert not study.root.exists()


def test_a_study_runs_each_job_once_and_shares_the_pretraining(study, capsys):
    study.write(approaches=CHAIN, label_fractions=[0.5, 1.0])
    assert study.run() == 0
    out = capsys.readouterr().out
    assert "tiny: 5 runs, 5 to do" in out and "[5/5]" in out and "CNN + SimCLR" in out
    results = study.results()
    assert set(results) == {
        "simclr/seed0", "cnn/seed0", "cnn/label_fraction=0.5/seed0", "cnn_simclr/seed0",
        "cnn_simclr/label_fraction=0.5/seed0",
    }  # fmt: skip
    fine = [results["cnn_simclr/seed0"], results["cnn_simclr/label_fraction=0.5/seed0"]]
    assert fine[0]["pretrain"]["sha256"] == fine[1]["pretrain"]["sha256"]
    assert fine[0]["images"]["train"] == 40 and fine[1]["images"]["train"] == 20
    assert {record["axes"] for record in results.values()} == {""}
    assert "starts" in (study.root / "tiny" / "cnn" / "seed0" / "train.log").read_text()
    before = study.written()
    assert study.run() == 0 and "0 to do" in capsys.readouterr().out
    assert study.run("--dry_run") == 0
    shown = capsys.readouterr().out
    assert shown.count(" done ") == 5 and "unknown" not in shown
    study.write({"*:data.num_workers": 0, "*:data.resident": 0, "*:trainer.log_every_n_steps": 3}, retries=2)
    assert study.run("--workers", "1") == 0 and study.written() == before
    # who needs the backbone is done: it is not trained again for nobody
    shutil.rmtree(study.root / "tiny" / "simclr")
    assert study.run() == 0 and "0 to do" in capsys.readouterr().out
    # and for somebody it is
    shutil.rmtree(study.root / "tiny" / "cnn_simclr" / "seed0")
    assert study.run() == 0 and "simclr/seed0" in study.results() and "2 to do" in capsys.readouterr().out


@pytest.mark.slow
def test_runs_of_one_worker_equal_runs_of_their_own(study, tmp_path, nursery):
    """To the digit: nothing of a run is left in the process for the next one."""
    study.write(approaches=CHAIN, seeds=[0, 1])
    assert study.run("--workers", "1") == 0
    together = figures(study.root / "tiny")
    alone = tmp_path / "alone"
    for job in ("cnn/seed1", "simclr/seed1", "cnn_simclr/seed1"):
        config = study.root / "tiny" / job / "config.yaml"
        flags = [f"--run.root={alone}"]
        if job.startswith("cnn_simclr"):
            flags.append(f"--model.weights={alone}/tiny/simclr/seed1/backbone.safetensors")
        done = nursery.run([sys.executable, "-m", "vitlab", "fit", "--config", str(config), *flags], timeout=300)
        assert done.returncode == 0, done.stderr
    found = figures(alone / "tiny")
    assert len(found) == 8 and [name for name in found if together[name] != found[name]] == []
    assert curves(alone / "tiny") <= curves(study.root / "tiny")


def test_a_changed_setting_makes_a_new_run_and_the_old_one_comes_back(study, capsys):
    study.write(approaches=CHAIN)
    assert study.run() == 0
    first, stamps = figures(study.root / "tiny"), study.written()
    study.write({"simclr_pretrain:model.temperature": 0.2})
    capsys.readouterr()
    assert study.run("--dry_run") == 0 and capsys.readouterr().out.count("settings changed") == 2
    assert study.written() == stamps
    assert study.run() == 0
    out = capsys.readouterr().out
    assert "changed: model.temperature 0.5 -> 0.2; 2 earlier runs are kept in" in out and "3 runs, 2 to do" in out
    second = figures(study.root / "tiny")
    changed = {name.split("/")[0] for name in first if first[name] != second[name]}
    assert changed == {"simclr", "cnn_simclr"}
    assert len(list((study.root / "tiny" / ".replaced").rglob("results.json"))) == 2
    study.write({"simclr_pretrain:model.temperature": 0.5})
    assert study.run() == 0
    assert "2 come back from there" in capsys.readouterr().out
    assert figures(study.root / "tiny") == first
    assert sorted(study.written().values())[:3] == sorted(stamps.values())  # brought back, not made again


class Breaks(Callback):
    """What only training can show: it fails in its first step."""

    def on_train_batch_start(self, *args):
        raise RuntimeError("broken in the middle")


def test_a_failed_job_is_retried_then_named_and_the_others_go_on(study, capsys):
    breaks = {"class_path": "tests.study.test_run.Breaks"}
    study.write({"simclr_pretrain:trainer.callbacks": [breaks]}, approaches=CHAIN, retries=1)
    assert study.run() == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    failed = next(line for line in lines if "] simclr seed0 failed" in line)
    assert "log: " in failed and sum("try 1 of 1 follows" in line for line in lines) == 1
    log = failed.rpartition("log: ")[2]
    assert "Traceback" in open(log).read()
    assert any("cnn_simclr seed0 skipped: it needs simclr seed0" in line for line in lines)
    assert set(study.results()) == {"cnn/seed0"}
    assert "1 of 3 runs failed and 1 skipped" in captured.err


def test_runs_made_by_hand_are_taken_on_or_refused(study, capsys):
    common = ["fit", "--config", "configs/cnn.yaml", "--config", str(study.data), "--run.study=tiny",
              f"--run.root={study.root}", "--trainer.max_epochs=2", "--probe.every_n_epochs=0",
              "--model.backbone=resnet18", '--model.backbone_kwargs={"channels": [8, 8, 16, 16]}']  # fmt: skip
    assert main(common) == 0
    stamps = study.written()
    capsys.readouterr()
    assert study.run() == 0 and "1 runs, 0 to do" in capsys.readouterr().out and study.written() == stamps
    study.write({"data.seed": 0})  # a default, now stated: the same run
    assert study.run() == 0 and "1 runs, 0 to do" in capsys.readouterr().out and study.written() == stamps
    assert main([*common, "--run.overwrite=true", "--model.mixup=0.2"]) == 0  # not what the study says
    capsys.readouterr()
    assert study.run() == 2
    assert "holds a run that no study has made" in capsys.readouterr().err
    assert main([*common, "--run.overwrite=true"]) == 0  # what the study says again
    capsys.readouterr()
    assert study.run() == 0 and "1 runs, 0 to do" in capsys.readouterr().out


LONGER = {"simclr_pretrain:trainer.max_epochs": 25}  # the run that is broken


@pytest.fixture(scope="module")
def whole(tmp_path_factory, image_folder, nursery):
    """Return the runs of an unbroken study, by a worker that is forked."""
    study = Study(tmp_path_factory.mktemp("whole"), image_folder, nursery).write(LONGER, approaches=CHAIN)
    process = study.start("--workers", "1")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return study.root / "tiny"


def last_of(study, approach):
    return study.root / "tiny" / approach / "seed0" / "checkpoints" / "last.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "study", "ctrl-c", "sigterm"])
def test_a_broken_study_goes_on_and_equals_an_unbroken_one(study, whole, victim):
    study.write(LONGER, approaches=CHAIN)
    start = partial(study.start, "--workers", "1", forked=victim != "study")  # one as users start it, worker and all
    process = start()
    last = last_of(study, "simclr")
    wait_for(last.exists)
    workers = workers_of(process)
    if victim == "worker":
        os.kill(workers[0], signal.SIGKILL)
    else:
        process.send_signal({"study": signal.SIGKILL, "ctrl-c": signal.SIGINT, "sigterm": signal.SIGTERM}[victim])
        out, err = process.communicate(timeout=60)
        assert process.returncode == {"study": -9, "ctrl-c": 130, "sigterm": 143}[victim], err
        if victim != "study":
            assert err.splitlines()[-1] == "vitlab study: stopped, 3 of 3 runs are left; the same command goes on"
        wait_for(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers), 20)
        assert not study.results()
        process = start()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    if victim == "worker":
        assert "simclr seed0: its process was ended by signal 9; it goes on from its last epoch" in out
    assert "goes on" in (last.parents[1] / "train.log").read_text()
    assert figures(study.root / "tiny") == figures(whole)
    # an epoch is logged just after its checkpoint, which keeps the row for a kill between the two
    assert curves(study.root / "tiny") == curves(whole)
    assert not list(study.root.rglob("*.tmp")) and not list(study.root.rglob("*.lock"))


def test_two_studies_in_one_folder_share_the_work(study):
    study.write({"*:trainer.max_epochs": 3}, approaches=CHAIN, seeds=[0, 1])
    first, second = study.start("--workers", "1"), study.start("--workers", "1")
    outputs = [process.communicate(timeout=300) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert len(study.results()) == 6
    starts = sum(path.read_text().count(" starts") for path in study.root.rglob("train.log"))
    assert starts == 6 and not any("goes on" in path.read_text() for path in study.root.rglob("train.log"))


def test_a_plain_fit_is_refused_while_a_study_is_at_the_run(study, capsys):
    study.write({"*:trainer.max_epochs": 1000})
    process = study.start("--workers", "1")
    wait_for(last_of(study, "cnn").exists)
    args = ["fit", "--config", "configs/cnn.yaml", "--config", str(study.data), "--run.study=tiny",
            f"--run.root={study.root}", "--run.overwrite=true"]  # fmt: skip
    assert main(args) == 2
    assert "another process is training in" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert last_of(study, "cnn").exists()


def test_time_is_up_after_max_time(study, capsys):
    study.write({"*:trainer.max_epochs": 100000})
    assert study.run("--max_time", "8s") == 124
    assert "time is up, 1 of 1 runs are left; the same command goes on" in capsys.readouterr().err


@pytest.mark.draws_pages
def test_what_a_study_leaves_beside_its_runs(study):
    assert study.run() == 0
    assert "<svg" in (study.root / "tiny" / "report.html").read_text()
    record = json.loads((study.root / "tiny" / "cnn" / "seed0" / "job.json").read_text())
    assert set(record) == {"key", "recipe", "needs", "settings"} and record["settings"]["trainer"]["max_epochs"] == 2
