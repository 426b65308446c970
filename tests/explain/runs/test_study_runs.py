from dataclasses import replace

import numpy as np
import pytest

from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.scored import Scored
from vitlab.explain.cases.selection import cases_of
from vitlab.explain.runs.study_runs import StudyRuns, study_runs


@pytest.fixture(scope="module")
def found(runs):
    return study_runs(runs["cnn"].parents[1])


def test_a_folder_s_runs_are_found_by_approach(runs, found):
    assert list(found.runs) == ["CNN", "ViT"] and found.title == "discs"
    assert [run.approach for run in found.pretrainings] == ["mae", "simclr"]
    assert set(found.scored["CNN"][0].predictions.split) == {"test"}
    assert list(study_runs(runs["cnn"].parents[1], ["vit"]).runs) == ["ViT"]


@pytest.fixture
def folds(found, tmp_path):
    """Return a study of three runs of a CNN: two seeds of fold 0, of which the first has no weights, and fold 1."""
    runs, scored = [], []
    for seed, fold, rows, weights in ((0, 0, [0, 1], False), (1, 0, [0, 1], True), (0, 1, [2], True)):
        folder = tmp_path / f"seed{seed}-fold{fold}"
        (folder / "checkpoints").mkdir(parents=True)
        if weights:
            (folder / "checkpoints" / "best.ckpt").touch()
        n = len(rows)
        said = Predictions(classes=["a", "b"], probs=np.full((n, 2), 0.5), label=["a"] * n, index=rows,
                           split=["test"] * n, path=[f"{row}.png" for row in rows],
                           patient_id=[f"p{row}" for row in rows])  # fmt: skip
        runs.append(replace(found.runs["CNN"][0], folder=folder, seed=seed, fold=fold))
        scored.append(Scored(seed, fold, said))
    return StudyRuns(tmp_path, {"cnn": runs}, {"cnn": scored}, [], [])


def test_a_case_is_shown_by_a_run_with_weights_that_was_tested_on_it(folds):
    cases = cases_of(folds.scored)
    shown = {(run.seed, run.fold): places for run, places in folds.shown_by("cnn", cases)}
    assert shown == {(1, 0): [0, 1], (0, 1): [2]}
    (folds.runs["cnn"][2].folder / "checkpoints" / "best.ckpt").unlink()
    assert [places for _, places in folds.shown_by("cnn", cases)] == [[0, 1]]


def test_a_pretraining_that_saw_test_images_is_never_taken(found):
    run = replace(found.runs["CNN"][0], approach="cnn_simclr", seed=1, fold=2, test_sha256="own")
    simclr = replace(found.pretrainings[1], fold=2, test_sha256="own")
    others = [replace(simclr, fold=1), replace(simclr, test_sha256="other"), replace(simclr, approach="mae")]
    study = StudyRuns(found.folder, found.runs, found.scored, others, [])
    assert study.pretraining_of(run) is None
    seeds = [replace(simclr, seed=seed) for seed in (0, 1, 2)]
    study.pretrainings.extend(seeds)
    assert study.pretraining_of(run) is seeds[1]
    assert study.pretraining_of(replace(run, seed=7)) is seeds[0]
