"""Studies on a real Ray cluster of two nodes, one of which is removed in the middle."""

import signal
import socket
import threading

import pytest

from tests.conftest import wait_for
from tests.study.kill_loop import curves, figures


@pytest.fixture
def cluster(monkeypatch):
    """Start two nodes of one CPU each on this machine, and end them."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # leave 127.0.0.1 as it is; read at the import
    monkeypatch.setenv("RAY_worker_niceness", "0")  # not 15: the machine may be busy with other tests
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.1"})
    cluster.second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    yield cluster
    cluster.shutdown()


def log(study, seed):
    path = study.root / "tiny" / "cnn" / f"seed{seed}" / "train.log"
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
def test_a_node_that_is_removed_costs_its_epoch(cluster, study, capsys):
    study.write({"*:trainer.max_epochs": 30}, seeds=[0, 1])
    folders = [study.root / "tiny" / "cnn" / f"seed{seed}" for seed in (0, 1)]

    def remove():
        wait_for(lambda: all((folder / "checkpoints" / "last.ckpt").exists() for folder in folders), 300)
        removed.append(not study.results())
        cluster.remove_node(cluster.second, allow_graceful=False)

    removed = []
    threading.Thread(target=remove, daemon=True).start()
    assert study.run("--launcher", "ray", "--ray_address", cluster.address) == 0 and removed == [True]
    out = capsys.readouterr().out
    assert out.count("with its Ray actor or node; it goes on from its last epoch") == 1 and "[2/2]" in out
    assert sorted(log(study, seed).count(" goes on") for seed in (0, 1)) == [0, 1]
    assert [log(study, seed).count(" starts") for seed in (0, 1)] == [1, 1]
    broken = curves(study.root), figures(study.root)
    study.root = study.folder / "unbroken"
    assert study.run() == 0
    assert broken == (curves(study.root), figures(study.root)) and len(broken[1]) == 6


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


def test_an_address_without_a_cluster_is_said_in_one_line(study, capsys):
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert study.run("--launcher", "ray", "--ray_address", address) == 2
    err = capsys.readouterr().err
    assert f"--ray_address {address}: no Ray cluster answers there" in err and not study.root.exists()
