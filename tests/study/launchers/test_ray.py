"""Studies on a real Ray cluster of two nodes, one of which is removed in the middle."""

import signal

import pytest

from tests.conftest import wait_for
from tests.study.kill_loop import curves, figures


@pytest.fixture
def cluster(monkeypatch):
    """Start two nodes of one CPU each on this machine, and end them."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.1"})
    cluster.second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    yield cluster
    cluster.shutdown()


def log(study, seed):
    path = study.root / "tiny" / "cnn" / f"seed{seed}" / "train.log"
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
def test_a_node_that_is_removed_costs_its_epoch(cluster, study):
    study.write({"*:trainer.max_epochs": 30}, seeds=[0, 1])
    process = study.start("--launcher", "ray", "--ray_address", cluster.address)
    folders = [study.root / "tiny" / "cnn" / f"seed{seed}" for seed in (0, 1)]
    wait_for(lambda: all((folder / "checkpoints" / "last.ckpt").exists() for folder in folders), 300)
    assert not study.results()
    cluster.remove_node(cluster.second, allow_graceful=False)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert out.count("with its Ray actor or node; it goes on from its last epoch") == 1 and "[2/2]" in out
    assert sorted(log(study, seed).count(" goes on") for seed in (0, 1)) == [0, 1]
    assert [log(study, seed).count(" starts") for seed in (0, 1)] == [1, 1]
    broken = curves(study.root), figures(study.root)
    study.root = study.folder / "unbroken"
    out, err = study.start().communicate(timeout=300)
    assert broken == (curves(study.root), figures(study.root)) and len(broken[1]) == 4, out + err


@pytest.mark.slow
def test_a_cluster_is_started_here_and_ends_with_the_study(study):
    study.write({"*:trainer.max_epochs": 1000})
    process = study.start("--launcher", "ray")
    wait_for(lambda: (study.root / "tiny" / "cnn" / "seed0" / "checkpoints" / "last.ckpt").exists(), 200)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "1 of 1 runs are left; the same command goes on" in err, out + err
    study.write({"*:trainer.max_epochs": 2})
    assert study.run("--dry_run") == 0  # the folder is free: nobody holds it
