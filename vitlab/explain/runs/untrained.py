"""The same network, not trained: what its architecture alone shows."""

from dataclasses import replace
from typing import Any, cast

import torch

from vitlab.explain.runs.loaded import Loaded
from vitlab.models.backbones import unfuse_attention
from vitlab.models.base import BaseModule


def untrained(run: Loaded, seed: int = 0) -> Loaded:
    """Return a run whose model has the architecture of another's and the weights of a first step.

    Weights that a pretraining gave are not kept: nothing in it has seen an image. Batch norms have their first
    statistics, mean 0 and variance 1.

    Args:
        run: Whose settings are taken.
        seed: Of the weights; torch's own random state is left as it was.
    """
    kind = cast(Any, type(run.model))
    settings = {**run.model.hparams, **({} if kind.pretraining else {"weights": None, "pretrained": False})}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: BaseModule = kind(**settings)
    unfuse_attention(model)
    return replace(run, model=model.eval().requires_grad_(False).to(run.device))
