"""Does the warning of `predict` notice other images? AUROC of the out-of-distribution score, of each approach."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from vitlab.evaluate.bootstrap import Estimate
from vitlab.explain.features.ood import NAME, ood_auroc
from vitlab.explain.scores.measured import StudyRun
from vitlab.report.findings import Findings, Grid, estimate_record, shown

COUNT = 100  # noise images and photographs
TEST, NOISE, PHOTOGRAPHS = KINDS = ("test images", "noise", "photographs")


def ood_findings(runs: Mapping[str, StudyRun], *, seed: int = 0, tell: Callable[[str], None]) -> Findings:
    """Estimate how well the score tells images of each kind from validation images.

    Args:
        runs: Approach -> the run that is asked.
        seed: Of noise and of the crops of photographs.
        tell: Told of each run.
    """
    found = Findings(
        "Would predict warn of other images?",
        f"AUROC of the score that `predict` warns by, {NAME}, for validation images against others, one run an "
        "approach, with 95 % intervals over patients. Test images of the same scanner and hospital ought to give 0.5; "
        "where they are of another one, this is whether the score notices. Noise and crops of photographs are the easy "
        "cases.",
    )
    known: dict[tuple[str, str], Estimate] = {}
    for approach, one in runs.items():
        run = one.load()
        tell(f"{run.folder}: would predict warn of other images?")
        inside, tested = run.rows("val"), run.rows("test")
        if len(inside) < 2 or len(run.rows("train")) < 2:  # nothing to fit the score on
            continue
        channels, side = run.data.cache.images.shape[1:3]
        others: dict[str, tuple[Tensor, NDArray[np.object_] | None]] = {
            TEST: (run.images(tested), run.data.manifest.patient_id[tested]),
            NOISE: (_noise(channels, side, seed), None),
            PHOTOGRAPHS: (_photographs(channels, side, seed), None),
        }
        for kind, (images, patients) in others.items():
            known[approach, kind] = ood_auroc(run, inside, images, outside_patients=patients, seed=seed)
    names = list(dict.fromkeys(approach for approach, _ in known))
    if not names:
        return found
    by_kind = [
        f"{kind} {', '.join(f'{name} {shown(known[name, kind])}' for name in names)}" for kind in KINDS
    ]  # fmt: skip
    found.sentences = [f"The score tells from validation images, by AUROC: {'; '.join(by_kind)}."]
    found.brief = found.sentences
    rows = [[name, *(shown(known[name, kind]) for kind in KINDS)] for name in names]
    found.grids = [Grid("AUROC of the score against validation images", ["approach", *KINDS], rows)]
    found.records = {
        "auroc": [{"approach": name, "kind": kind, **estimate_record(one)} for (name, kind), one in known.items()]
    }
    return found


def _noise(channels: int, side: int, seed: int) -> Tensor:
    """Return images of independent pixels, uint8 (N, C, H, W)."""
    values = np.random.default_rng(seed).integers(0, 256, (COUNT, channels, side, side), np.uint8)
    return torch.from_numpy(values)


def _photographs(channels: int, side: int, seed: int) -> Tensor:
    """Return crops of scikit-learn's two sample photographs, grey for one channel, uint8 (N, C, H, W)."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    photographs = load_sample_images().images  # uint8 (H, W, 3)
    crops = []
    for number in range(COUNT):
        whole = photographs[number % len(photographs)]
        size = int(rng.integers(min(whole.shape[:2]) // 4, min(whole.shape[:2])))
        top, left = (int(rng.integers(0, edge - size + 1)) for edge in whole.shape[:2])
        crop = torch.from_numpy(np.array(whole[top : top + size, left : left + size])).permute(2, 0, 1)[None].float()
        small = interpolate(crop, (side, side), mode="bilinear", antialias=True)
        crops.append(small if channels == 3 else small.mean(1, keepdim=True).expand(-1, channels, -1, -1))
    return torch.cat(crops).round().clamp(0, 255).byte()
