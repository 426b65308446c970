"""Runs with known predictions."""

import numpy as np
import pytest

from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.scored import Scored


@pytest.fixture
def scored():
    """Return a function that makes a run of a test split from targets, probabilities and patients."""

    def make(probs, targets, patients=None, *, seed=0, fold=None, index=None, classes=None):
        probs, n = np.asarray(probs, np.float64), len(probs)
        patients = [""] * n if patients is None else [f"p{i}" for i in patients]
        classes = classes or list("abcdefghij"[: probs.shape[1]])
        return Scored(
            seed,
            fold,
            Predictions(
                classes=classes,
                probs=probs,
                label=np.array([*classes, ""], object)[np.asarray(targets)],
                index=np.arange(n) if index is None else index,
                split=np.full(n, "test", object),
                path=np.array([f"{i}.png" for i in range(n)], object),
                patient_id=np.array(patients, object),
            ),
        )

    return make


@pytest.fixture
def study():
    """Return a function that draws runs of clustered predictions: patients are hard or easy as a whole."""

    def make(scored, *, patients=40, slices=5, k=3, seeds=3, seed=0, strength=1.5, fold=None, first=0, rounded=None):
        rng = np.random.default_rng(seed)
        label = np.arange(patients) % k
        of = np.repeat(np.arange(patients), rng.integers(1, slices + 1, patients))
        y = label[of]
        shared = strength * np.eye(k)[y] + rng.normal(size=(patients, k))[of]
        runs = []
        for one in range(seeds):
            z = shared + rng.normal(size=(len(of), k))
            p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
            if rounded:
                p = np.round(p, rounded) + 1e-3
                p /= p.sum(1, keepdims=True)
            index = first + np.arange(len(of))
            runs.append(scored(p, y, of + first, seed=one, fold=fold, index=index))
        return runs

    return make
