import numpy as np
import pytest
import torch

from vitlab.explain.runs.loaded import load_run
from vitlab.explain.runs.untrained import untrained


@pytest.mark.parametrize("recipe", ["cnn", "vit", "simclr_pretrain", "mae_pretrain"])
def test_it_is_the_same_network_with_weights_of_its_own(recipe, runs):
    run = load_run(runs[recipe])
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    zero, again, one = (untrained(run, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)  # torch's random state is as before
    own, same, other = (found.model.state_dict() for found in (zero, again, one))
    assert {name: value.shape for name, value in own.items()} == {name: value.shape for name, value in before.items()}
    assert all(torch.equal(own[name], same[name]) for name in own)
    drawn = [name for name in own if not torch.equal(own[name], other[name])]
    assert any("backbone" in name for name in drawn)
    assert all(not torch.equal(own[name], before[name]) for name in drawn if own[name].is_floating_point())
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert not any(part.training for part in zero.model.modules())
    assert not any(parameter.requires_grad for parameter in zero.model.parameters())
    assert not any(getattr(part, "fused_attn", False) for part in zero.model.modules())


def test_it_does_not_keep_a_pretrainings_weights(runs, tmp_path):
    run = load_run(runs["cnn"])
    run.model.hparams["weights"] = str(runs["simclr_pretrain"] / "backbone.safetensors")
    plain = untrained(load_run(runs["cnn"]))
    rows = run.rows("test")
    images = run.images(rows)
    np.testing.assert_array_equal(untrained(run).probabilities(images), plain.probabilities(images))
