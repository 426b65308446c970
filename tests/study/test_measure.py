"""What a study asks of its finished runs later is measured, and nothing is trained again."""

import shutil

import pytest

from tests.study.conftest import CHAIN

pytestmark = pytest.mark.slow


def test_finished_runs_are_measured_without_training(study, capsys):
    study.write(approaches=CHAIN)
    assert study.run() == 0
    folder, before = study.root / "tiny", study.written()
    shutil.rmtree(folder / "simclr")  # whoever measures needs no backbone
    study.write({"run.robustness": True, "run.features": True})
    capsys.readouterr()
    assert study.run("--dry_run") == 0
    shown = capsys.readouterr().out
    assert shown.count("to measure: robustness, features") == 2 and "2 of them to be measured" in shown
    assert study.run() == 0
    assert "cnn seed0  robustness and features measured" in capsys.readouterr().out
    for run in ("cnn/seed0", "cnn_simclr/seed0"):
        assert (folder / run / "robustness.csv").exists() and (folder / run / "features.npz").exists()
        assert "is measured" in (folder / run / "train.log").read_text()
    assert {path: at for path, at in before.items() if "/simclr/" not in str(path)} == study.written()
    (folder / "cnn/seed0/features.npz").unlink()
    (folder / "cnn/seed0/checkpoints/best.ckpt").write_bytes(b"no checkpoint")
    assert study.run() == 1 and "cnn seed0 failed" in capsys.readouterr().out
    shutil.rmtree(folder / "cnn/seed0/checkpoints")  # nothing to measure with
    assert study.run() == 0 and "0 to do" in capsys.readouterr().out


def test_what_is_asked_from_the_start_comes_with_the_training(study, capsys):
    study.write({"run.robustness": True}, approaches=CHAIN)
    assert study.run() == 0 and (study.root / "tiny/cnn_simclr/seed0/robustness.csv").exists()
    assert "measured" not in capsys.readouterr().out and not (study.root / "tiny/simclr/seed0/robustness.csv").exists()


def test_a_run_that_was_taken_over_is_measured_in_its_own_folder(study, capsys):
    study.write(approaches=CHAIN)
    assert study.run() == 0
    study.write({"run.features": True}, name="second")
    assert study.run("--dry_run") == 0 and "3 runs, 3 done, 0 to do" in capsys.readouterr().out
    assert study.run() == 0 and "cnn_simclr seed0  features measured" in capsys.readouterr().out
    assert (study.root / "second/cnn_simclr/seed0/features.npz").exists()
    first = study.root / "tiny/cnn_simclr/seed0"
    assert not (first / "features.npz").exists() and "is measured" not in (first / "train.log").read_text()
