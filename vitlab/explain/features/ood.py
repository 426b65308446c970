"""How unlike its training images an image is to a model: Mahalanobis distance in the features of several stages.

Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks"
(arXiv:1807.03888; code: github.com/pokaxpoka/deep_Mahalanobis_detector), but for three things: one Gaussian a stage
instead of one a class, which told the phantom's scanners apart as well and serves pretrainings too; a stage's map is
pooled to its mean and its deviation, since the deviation sees sharpness and noise; and stages are averaged as they are,
for their weights would be learnt from images that are unlike, of which there are none.

Tried on the same runs and worse: the pooled features alone, both sides of the distance, and the k-th nearest neighbour
on normalised features (Sun et al. 2022, arXiv:2204.06507).

Shapes: N images, S stages, D features of a stage.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vitlab.atomic import replacing
from vitlab.evaluate.bootstrap import Estimate, estimate
from vitlab.evaluate.predictions import Predictions
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored
from vitlab.explain.runs.loaded import Loaded, checkpoint_of
from vitlab.npz import read_arrays

NAME = "Mahalanobis distance of features (Lee 2018)"
FILE = "ood.npz"
QUANTILE = 0.99  # of validation: one image in a hundred like the training's is warned of, by choice
_STAGES = 3  # of a network that has no stages of its own: a third, two thirds, all of a ViT's blocks
_ARRAYS = ("mean", "scale", "precision")


@dataclass(frozen=True, eq=False)
class OutOfDistribution:
    """What is usual of a run's training images, and from where on an image is not.

    Args:
        mean: Of each stage's features, (D,) each.
        scale: Their deviation, (D,) each.
        precision: Inverse of the shrunk covariance (Ledoit & Wolf 2004) of the scaled features, (D, D) each.
        centre: (S,) mean of the validation images' log distance.
        spread: (S,) deviation of it.
        threshold: Score that one in a hundred validation images exceeds.
        checkpoint: sha256 of the checkpoint whose features these are.
    """

    mean: list[NDArray[np.float32]]
    scale: list[NDArray[np.float32]]
    precision: list[NDArray[np.float32]]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    threshold: float
    checkpoint: str

    def scores(self, run: Loaded, images: Tensor | NDArray[np.int64], batch: int = 256) -> NDArray[np.float64]:
        """Return how unlike each image is: 0 is usual, 1 a deviation of validation images above it, (N,).

        Args:
            run: The run that this was fitted on.
            images: uint8 (N, C, H, W), or rows of the run's own, (N,).
            batch: Images at a time.
        """
        distances = self.distances(stage_features(run, images, batch))
        found: NDArray[np.float64] = ((distances - self.centre) / self.spread).mean(1)
        return found

    def distances(self, features: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the log of the Mahalanobis distance at each stage, (N, S)."""
        squares = []
        for x, mean, scale, precision in zip(features, self.mean, self.scale, self.precision, strict=True):
            z = (x - mean) / scale
            squares.append(((z @ precision) * z).sum(1))
        found: NDArray[np.float64] = np.log(np.stack(squares, 1).clip(1e-12)) / 2
        return found

    def write(self, path: Path) -> None:
        """Write a file of plain arrays, without pickle."""
        stages = {f"{name}{k}": array for name in _ARRAYS for k, array in enumerate(getattr(self, name))}
        rest: dict[str, Any] = {name: getattr(self, name) for name in ("centre", "spread", "threshold", "checkpoint")}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **stages, **rest)


def read_ood(path: Path) -> OutOfDistribution:
    """Read what `OutOfDistribution.write` wrote.

    Raises:
        ValueError: It is no such file.
    """
    try:
        centre, spread, threshold, checkpoint = read_arrays(path, ["centre", "spread", "threshold", "checkpoint"])
        stages = {name: read_arrays(path, [f"{name}{k}" for k in range(len(centre))]) for name in _ARRAYS}
        return OutOfDistribution(
            **stages, centre=centre, spread=spread, threshold=float(threshold), checkpoint=str(checkpoint)
        )
    except (ValueError, TypeError):
        raise ValueError(f"{path} is no {FILE}: delete it, it is made again") from None


def fit_ood(run: Loaded) -> OutOfDistribution:
    """Learn what is usual from a run's training split, and the threshold from its validation split.

    Raises:
        ValueError: A split has too few images.
    """
    train, val = run.rows("train"), run.rows("val")
    if len(train) < 2 or len(val) < 2:
        raise ValueError(f"{run.data.name} has {len(train)} training and {len(val)} validation images: no distance")
    from sklearn.covariance import ledoit_wolf

    stages: dict[str, list[NDArray[np.float32]]] = {name: [] for name in _ARRAYS}
    for x in stage_features(run, train):
        deviation = x.std(0)
        # A feature that never varies would divide by zero; one that suddenly does must still count.
        scale = np.maximum(deviation, max(1e-3 * float(np.median(deviation)), 1e-8))
        covariance, _ = ledoit_wolf((x - x.mean(0)) / scale, assume_centered=True)
        covariance += 1e-6 * np.eye(len(covariance))
        for name, array in (("mean", x.mean(0)), ("scale", scale), ("precision", np.linalg.inv(covariance))):
            stages[name].append(array.astype(np.float32))
    nought = np.zeros(len(stages["mean"]))
    raw = OutOfDistribution(**stages, centre=nought, spread=nought + 1, threshold=0.0, checkpoint=_digest(run.folder))
    distances = raw.distances(stage_features(run, val))
    centre, spread = distances.mean(0), np.maximum(distances.std(0), 1e-6)
    threshold = float(np.quantile(((distances - centre) / spread).mean(1), QUANTILE))
    return OutOfDistribution(**stages, centre=centre, spread=spread, threshold=threshold, checkpoint=raw.checkpoint)


def saved_ood(folder: Path) -> OutOfDistribution | None:
    """Return what lies beside a run, or None where nothing does or it is of another checkpoint."""
    if not (folder / FILE).is_file():
        return None
    found = read_ood(folder / FILE)
    return found if found.checkpoint == _digest(folder) else None


def ood_of(run: Loaded) -> OutOfDistribution:
    """Return what is usual to a run, read beside it or fitted and left there where that can be written."""
    if (found := saved_ood(run.folder)) is None:
        found = fit_ood(run)
        with suppress(OSError):
            found.write(run.folder / FILE)
    return found


def ood_auroc(
    run: Loaded, inside: NDArray[np.int64], outside: Tensor, *, outside_patients: ArrayLike | None = None, seed: int = 0
) -> Estimate:
    """Estimate how well the score tells images from those of the training's kind: AUROC with a 95 % interval.

    Patients are resampled; images without one count as one each.

    Args:
        run: A run with its images.
        inside: Rows of images of the training's kind, not of the training split.
        outside: Other images, uint8 (N, C, H, W) at the run's size.
        outside_patients: (N,) their patients, "" where unknown.
        seed: Of the resamples.
    """
    detector = ood_of(run)
    values = np.concatenate([detector.scores(run, inside), detector.scores(run, outside)])
    ranks = (np.unique(values, return_inverse=True)[1] + 1) / (len(values) + 1)  # a probability of the same order
    names = np.full(len(outside), "", object) if outside_patients is None else np.asarray(outside_patients, object)
    patients = [*run.data.manifest.patient_id[inside], *(f"outside {name}" if name else "" for name in names)]
    table = Predictions(
        classes=["like", "unlike"],
        probs=np.stack([1 - ranks, ranks], 1),
        label=np.repeat(np.array(["like", "unlike"], object), [len(inside), len(outside)]),
        index=np.arange(len(values)),
        split=np.full(len(values), "test", object),
        path=np.array([str(row) for row in range(len(values))], object),
        patient_id=np.array(patients, object),
    )
    return estimate([Scored(0, None, table)], Resampling(seed=seed), metrics=["auroc"])["auroc"]


@torch.inference_mode()
def stage_features(run: Loaded, images: Tensor | NDArray[np.int64], batch: int = 256) -> list[NDArray[np.float64]]:
    """Return mean and deviation over the pixels, or tokens, of each stage's map, (N, D) each.

    Args:
        run: Its backbone is timm's.
        images: uint8 (N, C, H, W), or rows of the run's own, (N,), of which a batch at a time is in memory.
        batch: Images at a time.
    """
    backbone: Any = run.model.backbone
    depth = len(backbone.feature_info)
    # A ViT has a stage a block, all of one width; others have as many as their resolutions.
    blocks = hasattr(backbone, "blocks") and depth > _STAGES + 2
    indices = [depth * k // _STAGES - 1 for k in range(1, _STAGES + 1)] if blocks else list(range(depth))
    parts: list[list[NDArray[np.float64]]] = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        inputs = run.normalise(part.to(run.device) if isinstance(part, Tensor) else run.images(part))
        maps = backbone.forward_intermediates(inputs, indices=indices, intermediates_only=True)  # (B, D, h, w) each
        pooled = [torch.cat([m.mean((2, 3)), m.std((2, 3), correction=0)], 1) for m in maps]
        parts.append([one.double().cpu().numpy() for one in pooled])
    return [np.concatenate(stage) for stage in zip(*parts, strict=True)]


def _digest(folder: Path) -> str:
    """Return the sha256 of a run's checkpoint, "" where there is none."""
    for task in ("supervised", "pretrain"):
        if (path := checkpoint_of(folder, task)).is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""
