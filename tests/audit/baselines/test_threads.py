"""Figures do not depend on the number of threads: not those of the verb to a digit, nor those within by rounding."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from vitlab.audit.baselines import trivial
from vitlab.audit.baselines.grouped_cv import GroupedRidge
from vitlab.audit.baselines.threads import one_thread, side_by_side
from vitlab.data.manifest import Manifest
from vitlab.data.sources import Csv


@pytest.mark.slow
def test_the_same_report_with_one_thread_and_with_two(data_root, tmp_path):
    source = Csv(root=str(data_root / "cheng"), columns={"patient_id": "patient_base"})
    whole = source.manifest()
    manifest = whole.where(np.arange(0, len(whole), 8))
    splits = np.array(["train", "val", "test"], object)[np.arange(len(manifest)) % 3]
    Manifest(
        {"path": manifest.path, "label": manifest.label, "patient_id": manifest.patient_id, "split": splits}
    ).write(tmp_path / "manifest.csv")
    reports = []
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        subprocess.run(
            [
                *(sys.executable, "-m", "vitlab", "audit", "--data.source=Csv"),
                *(f"--data.source.root={data_root / 'cheng'}", f"--data.source.manifest={tmp_path / 'manifest.csv'}"),
                *("--out", str(tmp_path / threads)),
            ],
            env=os.environ | dict.fromkeys(names, threads) | {"VITLAB_CACHE": str(tmp_path / f"cache{threads}")},
            check=True,
        )
        reports.append(json.loads((tmp_path / threads / "audit.json").read_text()))
        del reports[-1]["created"]
    assert reports[0]["labels"]["errors"] and len(reports[0]["shift"]) == 2 and reports[0]["shortcuts"]
    assert reports[0] == reports[1]


def test_signs_and_turns_of_components_are_of_no_consequence(monkeypatch):
    """A solver may return any axes of equally strong components, and either sign."""
    x = np.random.default_rng(0).normal(size=(300, 6))
    fold, y = np.arange(300) % 5, (x[:, :1] * x[:, 1:2] > 0).astype(float)
    one = GroupedRidge(trivial.curved(x, np.random.default_rng(1)), fold).predict(y)
    solve = np.linalg.eigh

    def turned(a):
        strength, axes = solve(a)
        return strength[::-1], -axes[:, ::-1]

    monkeypatch.setattr(np.linalg, "eigh", turned)
    other = GroupedRidge(trivial.curved(x, np.random.default_rng(1)), fold).predict(y)
    np.testing.assert_allclose(other, one, atol=1e-9)


def test_classes_that_are_equally_likely_are_decided_by_their_order_not_by_rounding():
    """A mark of half of either class tells nothing: the estimates differ by rounding only."""
    mark, y = np.tile([0, 1], 500)[:, None], np.tile([0, 0, 1, 1], 250)
    fold = np.arange(1000) // 200
    noise = np.random.default_rng(0).normal(0, 1e-13, (1000, 1))
    for features in (mark, mark + noise):
        assert not next(GroupedRidge(features, fold).classify(y[None], 2)).any()


def test_the_first_check_to_end_leaves_the_others_one_thread(monkeypatch):
    monkeypatch.setattr("vitlab.audit.progress.cores", lambda: 2)
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    @one_thread
    def first():
        first_in.set()
        assert second_in.wait(60)

    @one_thread
    def second():
        second_in.set()
        assert first_out.wait(60)
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    def later():
        assert first_in.wait(60)
        return second()

    with threadpool_limits(2, "blas"):
        assert side_by_side([first, later, first_out.set], "checks") == [None, {1}, None]
        assert 2 in {library["num_threads"] for library in threadpool_info()}


def test_a_check_that_fails_ends_all():
    def fail():
        raise ValueError("no labels")

    with pytest.raises(ValueError, match="no labels"):
        side_by_side([lambda: 1, fail], "checks")
