"""Finished runs of another study below the same root are taken over, where every figure would be the same."""

import json
import shutil

import pytest

from tests.study.conftest import CHAIN
from tests.study.kill_loop import figures

pytestmark = pytest.mark.slow


def test_a_study_takes_over_what_another_one_has_trained(study, capsys):
    study.write(approaches={"cnn_simclr": CHAIN["cnn_simclr"]})
    assert study.run() == 0
    first = study.root / "tiny"
    before = study.written()
    assert "taken over" not in capsys.readouterr().out

    study.write(name="second", approaches={"pretrained": CHAIN["cnn_simclr"], "cnn": ["cnn"]})
    study.write(label_fractions=[0.5, 1.0], grid={"data.group_by": ["patient"]})
    assert study.run("--dry_run") == 0
    shown = capsys.readouterr().out
    assert shown.count(f"in {first}") == 2 and "5 runs, 2 done, 3 to do" in shown
    assert not (study.root / "second").exists()
    assert study.run() == 0
    out = capsys.readouterr().out
    assert f"taken over from {first / 'cnn_simclr' / 'seed0'}" in out and "5 runs, 3 to do" in out
    assert study.written() == before | {name: at for name, at in study.written().items() if name not in before}

    second = study.root / "second"
    taken = json.loads((second / "pretrained/data.group_by=patient/seed0/results.json").read_text())
    assert (taken["study"], taken["approach"], taken["axes"]) == ("second", "pretrained", "data.group_by=patient")
    same = figures(first)["cnn_simclr/seed0 results"]
    assert figures(second)["pretrained/data.group_by=patient/seed0 results"] == same
    record = json.loads((second / "pretrained/data.group_by=patient/seed0/job.json").read_text())
    assert record["taken_from"].endswith("tiny/cnn_simclr/seed0")
    shutil.rmtree(first)  # each study stands alone
    assert study.run() == 0 and "0 to do" in capsys.readouterr().out


def test_a_run_without_its_weights_is_trained_again(study, capsys):
    study.write(approaches=CHAIN)
    assert study.run() == 0
    shutil.rmtree(study.root / "tiny" / "cnn" / "seed0" / "checkpoints")
    (study.root / "tiny").rename(study.root / "published")
    study.write(name="again")
    capsys.readouterr()
    assert study.run("--dry_run") == 0 and "3 to do" in capsys.readouterr().out  # published runs are no runs of ours
    (study.root / "published").rename(study.root / "elsewhere")
    assert study.run("--dry_run") == 0
    shown = capsys.readouterr().out
    assert "3 runs, 2 done, 1 to do" in shown and f"in {study.root / 'elsewhere' / 'cnn' / 'seed0'}" not in shown
