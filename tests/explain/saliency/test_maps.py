import gc

import numpy as np
import pytest
import torch

from vitlab.explain.runs.loaded import load_run
from vitlab.explain.saliency.maps import image_maps, methods_for, saliency_maps

CORNER = 16


def energy(maps):
    return maps[:, :CORNER, :CORNER].sum((1, 2)) / maps.sum((1, 2))


def hooks(model):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks)
               for part in model.modules())  # fmt: skip


def state(model):
    fused = [part.fused_attn for part in model.modules() if hasattr(part, "fused_attn")]
    return hooks(model), fused, [p.requires_grad for p in model.parameters()], [p.grad for p in model.parameters()]


def test_a_model_that_looks_at_a_corner_is_seen_to_with_every_method(corner_run, images):
    moved = images.clone()
    moved[:, :, CORNER:] //= 2
    assert np.allclose(corner_run.probabilities(moved), corner_run.probabilities(images))  # it is what it says
    for method in methods_for(corner_run):
        maps = image_maps(corner_run, images, method, [1] * 5)
        assert maps.shape == (5, 64, 64) and maps.dtype == np.float32 and maps.min() >= 0
        assert (energy(maps) > 0.95).all(), (method, energy(maps))


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
def test_nothing_is_left_behind_and_batches_do_not_matter(recipe, runs):
    run = load_run(runs[recipe])
    for part in run.model.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = True
    rows = run.rows("test")[:5]
    before = state(run.model)
    for method in methods_for(run):
        maps = saliency_maps(run, rows, method)
        assert maps.shape == (5, 32, 32) and np.isfinite(maps).all() and maps.min() >= 0 and maps.any(), method
        predicted = run.probabilities(run.images(rows)).argmax(1)
        np.testing.assert_allclose(saliency_maps(run, rows, method, predicted, batch=2), maps, rtol=2e-3, atol=2e-5)
        np.testing.assert_array_equal(image_maps(run, run.images(rows), method), maps)
        assert state(run.model) == before, method


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
def test_nothing_is_left_behind_by_an_error(recipe, runs, monkeypatch):
    run = load_run(runs[recipe])
    before = state(run.model)
    rows = run.rows("test")[:2]

    def broken(_inputs):
        raise RuntimeError("planted")

    monkeypatch.setattr(run.model.head[1], "forward", broken)
    for method in methods_for(run):
        with pytest.raises(RuntimeError, match="planted"):
            saliency_maps(run, rows, method, [0, 0])
        assert state(run.model) == before, method


@pytest.mark.parametrize("recipe", ["cnn", "vit"])
def test_methods_with_a_class_tell_classes_apart(recipe, runs):
    run = load_run(runs[recipe])
    rows = run.rows("test")[:4]
    for method in methods_for(run):
        zero, one = (saliency_maps(run, rows, method, [k] * 4) for k in (0, 1))
        assert np.array_equal(zero, one) == (method == "rollout"), method


def test_a_frozen_backbone_is_explained_too(runs):
    """A linear probe's forward cuts the gradient."""
    run = load_run(runs["cnn"])
    rows = run.rows("test")[:3]
    expected = saliency_maps(run, rows, "integrated_gradients")
    run.model.mode = "linear"
    np.testing.assert_allclose(saliency_maps(run, rows, "integrated_gradients"), expected, atol=1e-6)


def test_mistakes_are_said(runs):
    with pytest.raises(ValueError, match="choose one of gradcam"):
        saliency_maps(load_run(runs["cnn"]), np.arange(2), "rollout")
    with pytest.raises(ValueError, match="is a pretraining"):
        methods_for(load_run(runs["simclr_pretrain"]))


def test_memory_is_flat(corner_run, images):
    def tensors():
        gc.collect()
        return sum(type(found) is torch.Tensor for found in gc.get_objects())

    for method in methods_for(corner_run):
        image_maps(corner_run, images, method, [1] * 5)  # captum is imported
        gc.collect()
        gc.freeze()  # what is there already is not looked at
        try:
            before = tensors()
            image_maps(corner_run, images.repeat(2, 1, 1, 1), method, [1] * 10, batch=5)
            assert tensors() <= before, method
        finally:
            gc.unfreeze()
