"""A real SLURM of two nodes, started for the tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOL = Path(os.environ.get("VITLAB_SLURM") or Path(os.environ.get("VITLAB_DATA", "data")) / ".." / "tools" / "slurm")


class Slurm:
    """A cluster of one CPU a node, and its partitions debug and urgent."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def tool(self, verb, *more):
        subprocess.run([TOOL, verb, self.folder, *more], check=True, stdout=subprocess.DEVNULL)

    def call(self, *command):
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    def jobs(self):
        """Return id -> (state, node) of all jobs that it knows."""
        lines = self.call("squeue", "-h", "-r", "-t", "all", "-o", "%i %T %N").splitlines()
        return {job: (state, *node) for job, state, *node in map(str.split, lines)}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Start it, and end it with all that runs on it."""
    if shutil.which("sbatch") is None:
        pytest.skip("sbatch is not installed (apt install slurm-wlm munge)")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.tool("up")
    except (OSError, subprocess.CalledProcessError) as error:  # it wants root, munge's daemon and two free ports
        pytest.skip(f"SLURM cannot be started here: {error}")
    yield cluster
    if jobs := [job for job, (state, *_) in cluster.jobs().items() if state in ("RUNNING", "PENDING")]:
        cluster.call("scancel", *jobs)
    cluster.tool("down")
