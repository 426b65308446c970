"""What keeps a study from its SLURM jobs is told, by commands of SLURM that are none: no study waits for ever."""

import json
import os
from pathlib import Path
from queue import Queue

import pytest

from vitlab.study.launchers import slurm

LAUNCH = ("--launcher", "slurm", "--max_time", "15s")
# The node's answer is no file when the job is submitted, and one when SLURM is asked about the job.
SBATCH = """#!/bin/sh
case "$*" in *--test-only*) exit 0;; esac
for order in "{tickets}"/*/order.json; do mkdir "${{order%/*}}/answer.json"; done
echo Submitted batch job 7
"""
SQUEUE = """#!/bin/sh
for order in "{tickets}"/*/order.json; do
    rmdir "${{order%/*}}/answer.json" && echo '{answer}' > "${{order%/*}}/answer.json"
done
echo warning
echo 7 RUNNING
"""


@pytest.fixture
def queue(study, tmp_path, monkeypatch):
    """Return the study, with such commands."""
    said = {"tickets": study.root / "tiny" / ".slurm", "answer": json.dumps({"event": "failed", "error": "as it was"})}
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "srun": "", "scancel": ""}.items():
        (commands / name).write_text(text.format(**said))
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setattr(slurm, "_POLL", 0.02)
    return study


def test_an_answer_that_cannot_be_read_is_looked_at_again(queue, capsys):
    assert queue.run(*LAUNCH) == 1
    assert "cnn seed0 failed: as it was; log: " in capsys.readouterr().out


def test_an_order_that_cannot_be_written_fails_its_run(queue, capsys):
    (queue.root / "tiny").mkdir(parents=True)
    (queue.root / "tiny" / ".slurm").write_text("")  # as on a full quota, no ticket can be made
    assert queue.run(*LAUNCH) == 1
    assert "cnn seed0 failed: no SLURM job was made of it: [Errno 20] Not a directory: " in capsys.readouterr().out


def test_whatever_else_happens_fails_the_runs_that_wait(queue, capsys, monkeypatch):
    monkeypatch.setattr(slurm.SlurmLauncher, "_look_for_lost", lambda self, states: 1 / 0)
    monkeypatch.setattr(slurm.Ticket, "answer", None)
    assert queue.run(*LAUNCH) == 1
    assert "cnn seed0 failed: its SLURM job was lost sight of: ZeroDivisionError(" in capsys.readouterr().out


@pytest.mark.parametrize("root", ["runs", "./runs", "{here}/runs"])
def test_a_run_in_the_queue_is_found_however_the_root_is_written(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm.SlurmLauncher, "_try_out", lambda self: None)
    monkeypatch.setattr(slurm.SlurmLauncher, "_states", lambda self: {"7": "RUNNING"})
    settings = {"threads": 1, "gpus": 0, "minutes": 1, "partition": None, "setup": [], "options": {}, "parallel": 1}
    earlier = slurm.SlurmLauncher("tiny", Path("runs/tiny"), **settings)
    order = {"key": "0" * 8, "measure": []}
    ticket = slurm.Ticket.write(earlier.folder, {**order, "folder": "runs/tiny/cnn/seed0"})
    ticket.submitted("7")
    root = root.format(here=tmp_path)
    launcher = slurm.SlurmLauncher("tiny", Path(root) / "tiny", **settings)
    assert launcher._in_queue({**order, "folder": f"{root}/tiny/vit/seed0"}) is None
    assert launcher._in_queue({**order, "folder": f"{root}/tiny/cnn/lr=1/seed0"}) is None
    assert launcher._in_queue({**order, "folder": f"{root}/tiny/cnn/seed0"}) == ticket


def test_more_runs_than_an_array_may_have_are_several_arrays(tmp_path, monkeypatch):
    submitted, events = [], Queue()

    def submit(self, tickets):
        if len(tickets) > 1000:  # as sbatch does by default
            raise ValueError("Batch job submission failed: Invalid job array specification")
        submitted.append(len(tickets))
        return [f"{len(submitted)}_{number}" for number in range(len(tickets))]

    monkeypatch.setattr(slurm.SlurmLauncher, "_submit", submit)
    monkeypatch.setattr(slurm.SlurmLauncher, "_try_out", lambda self: None)
    launcher = slurm.SlurmLauncher("many", tmp_path, threads=1, gpus=0, minutes=1, partition=None, setup=[], options={},
                                   parallel=1002)  # fmt: skip
    monkeypatch.setattr(launcher, "_in_queue", lambda order: None)
    for number in range(1002):
        order = {"key": f"{number:08d}", "folder": str(tmp_path / str(number)), "measure": []}
        launcher.order(slurm.SlurmWorker(launcher, events, None), order)
    launcher._take_orders()
    assert submitted == [1000, 2] and events.empty()
