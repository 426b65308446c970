"""Do 95 % intervals hold the truth 95 times in 100, and do 5 % tests find something in nothing 5 times in 100?

Answered by simulation with known truth. The tests take a minute; run the file itself for all worlds:
`python tests/evaluate/test_coverage.py 2000`.
"""

import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.metrics import compute_metrics
from vitlab.evaluate.paired import permutation_test
from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored, splits_of

METRICS = ("accuracy", "balanced_accuracy", "auroc")


@dataclass(frozen=True)
class World:
    """Logits are the class's strength plus normal effects: of patients, of runs, of images, of images in one run."""

    patients: int = 60  # a fold
    folds: int = 1
    seeds: int = 3
    shares: tuple[float, ...] = (0.5, 0.5)
    strength: float = 1.2
    patient: float = 1.0
    run: float = 0.25
    image: float = 0.5
    own: float = 0.5
    slices: int = 8  # of a patient: 1 to so many

    def runs(self, rng, approaches=1):
        """Draw one study: approach -> its runs, on the same images."""
        k, found, start = len(self.shares), [[] for _ in range(approaches)], 0
        for fold in range(self.folds):
            label = np.repeat(np.arange(k), np.round(np.array(self.shares) * self.patients).astype(int))
            patient = np.repeat(np.arange(len(label)), rng.integers(1, self.slices + 1, len(label)))
            y, n = label[patient], len(patient)
            shared = self.strength * np.eye(k)[y] + self.patient * rng.normal(size=(len(label), k))[patient]
            shared = shared + self.image * rng.normal(size=(n, k))
            columns = {
                "label": np.array(list("abcdef"), object)[y],
                "index": start + np.arange(n),
                "split": np.full(n, "test", object),
                "path": np.full(n, "x", object),
                "patient_id": np.array([f"{fold}-{i}" for i in range(len(label))], object)[patient],
            }
            start += n
            for members in found:
                # In a pair each approach has patients of its own that it finds hard.
                mine = self.patient * rng.normal(size=(len(label), k))[patient] if approaches > 1 else 0
                for seed in range(self.seeds):
                    z = shared + mine + self.own * rng.normal(size=(n, k))
                    z = z + self.run * (rng.normal() * np.eye(k)[y] + rng.normal(size=k))
                    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
                    table = Predictions(classes=list("abcdef"[:k]), probs=p, **columns)
                    members.append(Scored(seed, fold if self.folds > 1 else None, table))
        return found

    def truth(self, repeats=1000):
        """Return the mean of ever so many runs, each on other patients: none of the metrics depends on how many."""
        rng, one = np.random.default_rng(0), replace(self, patients=100, folds=1, seeds=1)
        drawn = [one.runs(rng)[0][0].predictions for _ in range(repeats)]
        each = [compute_metrics(table.probs, table.targets, METRICS) for table in drawn]
        return {name: float(np.mean([one[name] for one in each])) for name in METRICS}


def coverage(world, repeats, resamples=400):
    """Return metric -> share of studies whose interval holds the truth, and that of the naive interval per slice."""
    truth, rng = world.truth(), np.random.default_rng(1)
    held = {name: 0 for name in (*METRICS, "naive accuracy")}
    for repeat in range(repeats):
        runs = world.runs(rng)[0]
        found = estimate(runs, Resampling(resamples, repeat), metrics=METRICS)
        for name, one in found.items():
            held[name] += one.low <= truth[name] <= one.high
        p, n = found["accuracy"].mean, found["accuracy"].n_images
        held["naive accuracy"] += abs(p - truth["accuracy"]) <= 1.96 * np.sqrt(p * (1 - p) / n)
    return {name: count / repeats for name, count in held.items()}


def size(world, repeats, permutations=200):
    """Return metric -> share of studies of two equal approaches in which the test says that they differ."""
    rng, found = np.random.default_rng(2), dict.fromkeys(METRICS, 0)
    for _ in range(repeats):
        one, other = (splits_of(runs, "slice") for runs in world.runs(rng, approaches=2))
        matched = list(zip(one, other, strict=True))
        for name, p in permutation_test(matched, METRICS, permutations=permutations - 1, rng=rng).items():
            found[name] += p <= 0.05
    return {name: count / repeats for name, count in found.items()}


@pytest.mark.slow
def test_intervals_hold_the_truth_and_the_naive_one_does_not():
    found = coverage(World(), 500)
    assert all(0.93 <= found[name] <= 0.97 for name in METRICS), found
    assert found["naive accuracy"] < 0.80, found


@pytest.mark.slow
def test_the_permutation_test_finds_nothing_in_nothing():
    found = size(World(patients=60, seeds=1, run=0, slices=16), 2000)
    assert all(0.04 <= share <= 0.06 for share in found.values()), found


WORLDS = {
    "two folds of three seeds": World(folds=2, patients=40),
    "three seeds": World(),
    "three seeds that differ in nothing but noise": World(run=0),
    "three seeds, much noise of their own": World(run=0, own=1.5),
    "three folds of three seeds, three classes": World(folds=3, patients=45, shares=(0.5, 0.3, 0.2)),
    "five folds of one seed": World(folds=5, patients=42, seeds=1),
    "five folds of one seed that differ in nothing but noise": World(folds=5, patients=42, seeds=1, run=0),
    "one run, no spread between runs": World(seeds=1, run=0, own=0),
    "five seeds far apart, rare class": World(seeds=5, run=0.5, shares=(0.75, 0.25)),
    "many slices": World(slices=40, patient=1.5),
}

if __name__ == "__main__":
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for title, world in WORLDS.items():
        start = time.time()
        print(title, coverage(world, repeats, 1000), f"{time.time() - start:.0f} s", flush=True)
    for title, world in (("30 patients", World(patients=30, run=0)), ("3 folds", World(folds=3, patients=40, run=0))):
        print("size:", title, size(world, repeats), flush=True)
