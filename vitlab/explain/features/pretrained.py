"""What pretraining has learnt: patches that an MAE makes up, and neighbours before and after fine-tuning.

Shapes: N images, C channels, H, W pixels, M hidden patches, Q values of a patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from lightly.models.utils import get_at_index, patchify
from numpy.typing import NDArray
from torch import Tensor

from vitlab.evaluate.scored import Scored
from vitlab.explain.cases.looking import Looks
from vitlab.explain.cases.neighbours import Neighbour, nearest_of, votes
from vitlab.explain.cases.selection import Case
from vitlab.explain.runs.loaded import Loaded, load_run
from vitlab.explain.runs.study_runs import StudyRuns
from vitlab.models.mae import MAE
from vitlab.report.runs import Run

RATIOS = (0.25, 0.5, 0.75, 0.9)  # of the patches that are hidden; it was trained on 0.75


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What an MAE makes of images of which it sees some patches only.

    Args:
        ratio: Share of the patches that are hidden.
        masked: What it sees, hidden patches in the mean gray, uint8 (N, C, H, W).
        filled: With the hidden patches as it predicts them, uint8 (N, C, H, W).
        error: Mean absolute error in the hidden patches, as a share of the range from black to white, (N,).
        flat: That of each hidden patch's own mean, (N,): what knows nothing but the mean has.
    """

    ratio: float
    masked: NDArray[np.uint8] = field(repr=False)
    filled: NDArray[np.uint8] = field(repr=False)
    error: NDArray[np.float64]
    flat: NDArray[np.float64]


@torch.no_grad()
def reconstruct(run: Loaded, rows: NDArray[np.int64], ratios: Sequence[float] = RATIOS) -> list[Reconstruction]:
    """Hide some patches of images, by each image's own seed, and let an MAE predict them.

    Where it was trained on patches normalised each by itself, mean and contrast of the true patch are put back: it
    knows neither. A ratio that leaves no patch to see, or hides none, is left out.

    Args:
        run: Of an MAE.
        rows: Of the manifest, (N,).
        ratios: Shares of hidden patches.
    """
    model = run.model
    assert isinstance(model, MAE)
    trained, found = model.mask_ratio, []
    images = run.inputs(rows)
    try:
        for ratio in ratios:
            model.mask_ratio = ratio
            if not 0 < model.num_visible < model.num_patches:
                continue
            pairs = [model.reconstruct(image[None], seed=row) for image, row in zip(images, rows.tolist(), strict=True)]
            masked, filled = (_gray_levels(run, torch.cat(parts)) for parts in zip(*pairs, strict=True))
            _, hidden = model.draw_mask(len(rows), rows.tolist())
            true, made = (
                get_at_index(patchify(part / 255, model.patch_size), hidden)
                for part in (_gray_levels(run, images), filled)
            )
            flat = true.mean(-1, keepdim=True)
            error, least = ((part - true).abs().mean((1, 2)).double().cpu().numpy().clip(0, 1) for part in (made, flat))
            found.append(Reconstruction(ratio, _uint8(masked), _uint8(filled), error, least))
    finally:
        model.mask_ratio = trained
    return found


def _gray_levels(run: Loaded, inputs: Tensor) -> Tensor:
    """Return what the model takes as gray levels 0 to 255, (N, C, H, W)."""
    mean, std = (inputs.new_tensor(values).view(1, -1, 1, 1) for values in run.data.mean_std)
    return ((inputs * std + mean) * 255).clamp(0, 255)


def _uint8(levels: Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = levels.round().to(torch.uint8).cpu().numpy()
    return found


@dataclass(frozen=True, eq=False)
class Before:
    """The neighbours in the feature space of the pretraining that an approach starts with.

    Args:
        run: The pretraining.
        nearest: Place of a case -> its neighbours.
        votes: Their classes against the truth, of all test patients.
    """

    run: Run
    nearest: dict[int, list[Neighbour]]
    votes: list[Scored]


def before_fine_tuning(study: StudyRuns, cases: Sequence[Case], looks: Looks, device: str) -> Before | None:
    """Ask the pretraining of the first run that was asked about the same cases; None where there is none."""
    for space in looks.spaces:
        pretraining = study.pretraining_of(space.run)
        if pretraining is None:
            continue
        some = [cases[place] for place in space.places]
        nearest, _ = nearest_of(load_run(pretraining.folder, device), some)
        said = votes(some, nearest, {case.name: case.label for case in some})
        near = dict(zip(space.places, nearest, strict=True))
        return Before(pretraining, near, [Scored(space.run.seed, space.run.fold, said)])
    return None
