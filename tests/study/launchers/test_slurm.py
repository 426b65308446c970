"""Studies on a real SLURM: arrays, a study that is killed, preemption, time limits and a dead node."""

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.study.kill_loop import curves, figures
from vitlab.study.launchers.ticket import Ticket

LAUNCH = ("--launcher", "slurm")


def tickets(study):
    return list(Ticket.all(study.root / "tiny" / ".slurm"))


def starts(study, seed):
    """Return how often a run was begun, and how often it went on."""
    log = (study.root / "tiny" / "cnn" / f"seed{seed}" / "train.log").read_text()
    return log.count(" starts"), log.count(" goes on")


def finished(process):
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, out + err
    return out


@pytest.mark.slow
def test_a_study_that_is_killed_finds_its_jobs_in_the_queue(slurm, study):
    study.write(seeds=[0, 1, 2])  # of which two nodes have two at once
    first = study.start(*LAUNCH, **slurm.environment)
    wait_for(lambda: len(tickets(study)) == 3 and all(ticket.job for ticket in tickets(study)), 300)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    jobs = {ticket.job for ticket in tickets(study)}
    array = {job.partition("_")[0] for job in jobs}
    assert len(array) == 1 and jobs == {f"{array.copy().pop()}_{number}" for number in range(3)}
    out = finished(study.start(*LAUNCH, **slurm.environment))
    assert "[3/3]" in out
    assert set(study.results()) == {f"cnn/seed{seed}" for seed in range(3)}
    assert [starts(study, seed) for seed in range(3)] == [(1, 0)] * 3
    assert set(slurm.jobs()) == jobs  # nothing was submitted twice


def test_what_slurm_would_not_take_is_said_before_anything_is_written(slurm, study):
    process = study.start(*LAUNCH, "--slurm_partition", "nowhere", **slurm.environment)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 2 and err.count("\n") == 1, err
    assert "--partition=nowhere" in err and "Invalid partition" in err and not study.root.exists()


def long(study):
    """Let runs take long enough to be met in the middle."""
    return study.write({"*:trainer.max_epochs": 40}, seeds=[0, 1])


def same_as_unbroken(study):
    """Say whether the runs are those of a study that nothing happened to."""
    broken = curves(study.root), figures(study.root)
    study.root = study.folder / "unbroken"
    finished(study.start())
    return broken == (curves(study.root), figures(study.root)) and len(broken[1]) == 6


def in_the_middle(study):
    """Wait until both runs have finished an epoch and not the last."""
    folders = [study.root / "tiny" / "cnn" / f"seed{seed}" for seed in (0, 1)]
    wait_for(lambda: all((folder / "checkpoints" / "last.ckpt").exists() for folder in folders), 300)
    assert not study.results()
    return {Path(ticket.order["folder"]).name: ticket.job for ticket in tickets(study)}


@pytest.mark.soak
def test_preempted_and_out_of_time_it_goes_on_when_it_is_requeued(slurm, study):
    process = long(study).start(*LAUNCH, **slurm.environment)
    jobs = in_the_middle(study)
    node = slurm.jobs()[jobs["seed0"]][1]
    slurm.call("sbatch", "-p", "urgent", "-w", node, "--output=/dev/null", "--wrap=sleep 1")
    # as --signal=USR1@90 does it before the time is up; the job's step, not its shell
    slurm.call("scancel", "--signal=USR1", jobs["seed1"])
    out = finished(process)
    assert "[2/2]" in out
    assert [starts(study, seed) for seed in (0, 1)] == [(1, 1)] * 2
    assert same_as_unbroken(study)


@pytest.mark.soak
def test_a_dead_node_costs_its_epoch(slurm, study):
    process = long(study).start(*LAUNCH, **slurm.environment)
    jobs = in_the_middle(study)
    node = slurm.jobs()[jobs["seed1"]][1]
    slurm.tool("kill-node", node)
    for pid in of_job(jobs["seed1"]):
        os.kill(pid, signal.SIGKILL)
    out = finished(process)
    assert "[2/2]" in out
    assert [starts(study, seed) for seed in (0, 1)] == [(1, 0), (1, 1)]
    assert same_as_unbroken(study)


def of_job(job):
    """Return the processes of an array's element, SLURM's own for it first: nothing of it is to outlive the node."""
    array, _, number = job.partition("_")
    wanted = {f"SLURM_ARRAY_JOB_ID={array}", f"SLURM_ARRAY_TASK_ID={number}"}
    own, keepers = [], []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted <= set((path / "environ").read_text(errors="replace").split("\0")):
                own.append(int(path.name))
        except OSError:
            continue
    for pid in own:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd"):
            keepers.append(parent)
    assert own and keepers, job
    return dict.fromkeys([*keepers, *own])
