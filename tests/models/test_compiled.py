"""Compiled models: each run's own, however many came before in the process, and whatever counted their operations."""

import pytest
import torch

from vitlab.cost import flops_per_image
from vitlab.models.classifier import ViTClassifier
from vitlab.models.optim import OptimConfig


@pytest.fixture
def graphs(monkeypatch):
    """A list that grows with each graph that is compiled; as fast as no compiler."""
    found, compile_ = [], torch.compile

    def note(graph, example_inputs):
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda work, mode: compile_(work, backend=note))
    yield found
    torch.compiler.reset()


def model():
    return ViTClassifier(num_classes=2, image_size=16, channels=1, optim=OptimConfig(), backbone_kwargs={"depth": 1})


def test_each_of_many_models_in_a_process_is_compiled(graphs):
    """A worker of a study trains one after the other; torch gives up after eight of the same code."""
    for number in range(10):
        one = model()
        one.compile_hot(True)
        one(torch.randn(2, 1, 16, 16))
        assert len(graphs) == number + 1


def test_counting_operations_compiles_nothing_and_hinders_nothing(graphs):
    one, counts = model(), []
    for chosen in (False, True):
        one.compile_hot(chosen)
        counts.append(flops_per_image(one, 1, 16))
    assert not graphs and counts[0] == counts[1] > 0
    one(torch.randn(2, 1, 16, 16))
    assert len(graphs) == 1
