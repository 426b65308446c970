from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from vitlab.explain.runs.loaded import load_run
from vitlab.explain.runs.untrained import untrained
from vitlab.explain.saliency.maps import saliency_maps
from vitlab.explain.sanity.similarity import cascade, parts, similarity


def edges(run, rows):
    """Return what an edge detector would show, whatever the model."""
    images = run.images(rows)[:, 0].double().numpy()
    return np.hypot(*np.gradient(images, axis=(1, 2))).astype(np.float32)


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
def test_an_edge_detector_stays_and_a_map_of_the_model_falls(recipe, runs):
    run = load_run(runs[recipe])
    rows = run.rows("test")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    images = run.images(rows)
    targets = run.probabilities(images).argmax(1)
    insane = cascade(run, partial(edges, rows=rows))
    np.testing.assert_allclose(insane.ssim, 1, atol=1e-5)
    np.testing.assert_allclose(insane.rank, 1, atol=1e-9)
    found = cascade(run, partial(saliency_maps, rows=rows, method="gradcam", targets=targets))
    assert found.ssim.shape == found.rank.shape == (len(found.stages), len(rows))
    assert found.stages[0] == "head"
    assert found.rank[-1].mean() < 0.5 and found.ssim[-1].mean() < 0.7, (found.rank[-1].mean(), found.ssim[-1].mean())
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
def test_the_last_stage_is_the_untrained_model(recipe, runs):
    run = load_run(runs[recipe])
    seen = []

    def explain(model):
        seen.append({name: value.clone() for name, value in model.model.state_dict().items()})
        return np.random.default_rng(0).random((2, 32, 32), dtype=np.float32)

    stages = cascade(run, explain, seed=3).stages
    assert len(seen) == len(stages) + 1
    drawn, trained = untrained(run, 3).model.state_dict(), run.model.state_dict()
    learned = [name for name in drawn if name.startswith(("head.", "backbone."))]
    assert all(torch.equal(seen[-1][name], drawn[name]) for name in learned)
    assert all(torch.equal(seen[1][name], (drawn if name.startswith("head.") else trained)[name]) for name in learned)


def test_parts_go_from_the_head_to_the_image(runs):
    cnn, vit = (load_run(runs[recipe]).model for recipe in ("cnn", "vit"))
    assert list(parts(cnn)) == ["head", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]
    assert list(parts(vit)) == ["head", "norm", *(f"blocks.{k}" for k in reversed(range(6))), "patch_embed"]
    assert {"backbone.pos_embed", "backbone.cls_token"} < set(parts(vit)["patch_embed"])
    for model in (cnn, vit):
        names = [name for own in parts(model).values() for name in own]
        assert sorted(names) == sorted(n for n in model.state_dict() if n.startswith(("head.", "backbone.")))


def test_similarity_of_known_maps():
    rng = np.random.default_rng(0)
    maps = rng.random((4, 32, 32), dtype=np.float32)
    same = similarity(maps, 5 * maps)  # scale is no difference
    np.testing.assert_allclose(same.ssim, 1, atol=1e-5)
    np.testing.assert_allclose(same.rank, 1)
    np.testing.assert_allclose(similarity(maps, 1 - maps).rank, -1)
    others = np.round(rng.random((4, 32, 32), dtype=np.float32), 1)  # with ties
    found = similarity(maps, others)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, others, strict=True)]
    np.testing.assert_allclose(found.rank, expected)
    assert (abs(found.rank) < 0.15).all() and (found.ssim < 0.2).all()
    flat = similarity(maps, np.zeros_like(maps))
    assert (flat.rank == 0).all() and (flat.ssim < 0.2).all()
    assert similarity(maps[:1], maps[:1]).ssim.shape == (1,)
