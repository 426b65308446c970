import shutil

import numpy as np
import pytest
import torch

from vitlab.evaluate.predictions import read_predictions
from vitlab.explain.runs.loaded import load_run


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
def test_a_loaded_run_predicts_what_its_predictions_say(recipe, runs):
    run = load_run(runs[recipe])
    written = read_predictions(runs[recipe] / "predictions.csv")
    for split in ("train", "val", "test"):
        rows = run.rows(split)
        chosen = written.split == split
        assert (written.index[chosen] == rows).all() and len(rows)
        np.testing.assert_allclose(run.probabilities(run.images(rows)), written.probs[chosen], atol=2e-6)
    assert run.classes == written.classes == ["bottom", "top"]


@pytest.mark.parametrize("recipe", ["cnn", "vit", "simclr_pretrain", "mae_pretrain"])
def test_it_is_in_evaluation_and_asks_for_no_gradient(recipe, runs):
    run = load_run(runs[recipe])
    assert not any(module.training for module in run.model.modules())
    assert not any(parameter.requires_grad for parameter in run.model.parameters())
    inputs = run.inputs(run.rows("test")[:3])
    assert inputs.shape == (3, 1, 32, 32) and inputs.dtype == torch.float32
    assert torch.isfinite(run.model.features(inputs)).all()


def test_mistakes_are_said(runs, tmp_path):
    with pytest.raises(ValueError, match="has not finished"):
        load_run(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(runs["cnn"], folder)
    (folder / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(ValueError, match=r"best\.ckpt is not there: its weights are needed"):
        load_run(folder)
    shutil.rmtree(folder)
    shutil.copytree(runs["cnn"], folder)
    results = folder / "results.json"
    results.write_text(results.read_text().replace('"manifest_sha256": "', '"manifest_sha256": "0'))
    with pytest.raises(ValueError, match="another manifest"):
        load_run(folder)
    config = folder / "config.yaml"
    shutil.copy(runs["cnn"] / "results.json", results)
    config.write_text(config.read_text().replace("vitlab.models.classifier.CNNClassifier", "pathlib.Path"))
    with pytest.raises(ValueError, match="no model of vitlab"):
        load_run(folder)
