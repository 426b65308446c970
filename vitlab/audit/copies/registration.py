"""Registration: lays one image over another by an affine map and says how well the fine detail agrees.

Gauss-Newton on the zero-mean, unit-norm images, from coarse to fine: the enhanced correlation coefficient of
Evangelidis and Psarakis 2008 (doi 10.1109/TPAMI.2008.113), its gradient taken on the warped image. What is compared is
detail: a band of spatial frequencies with its local contrast evened out, so that two heads alike score low and a
brighter copy scores high.

Shapes: P pairs, n pixels a side; maps (P, 2, 3) take the copy's x and y, from -0.5 to 0.5, and 1 to the source's.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

# Side in pixels, blur before, width of the band, steps, and the score below which a pair is given up.
LEVELS: Final = ((32, 1, 9, 4, 0.68), (48, 1, 7, 4, 0.72), (96, 3, 9, 3, 0.0))
FINEST: Final = 3  # width of the band of the finest detail, without a blur
_LEAST_OVERLAP = 0.4  # of the copy's area
_STEP = 0.1  # largest change of a coefficient a step
_DAMPING = 1e-3


def turn_images(images: Tensor, turn: int) -> Tensor:
    """Return images (..., n, n) after a flip or quarter turn as in `descriptors.turned`."""
    images = images.transpose(-1, -2) if turn & 4 else images
    images = images.flip(-2) if turn & 2 else images
    return images.flip(-1) if turn & 1 else images


def register(source: Tensor, copy: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Register pairs, giving up early on those that do not match.

    Args:
        source: float32 (P, 96, 96), turned already.
        copy: float32 (P, 96, 96).
        maps: Where to start, (P, 2, 3).

    Returns:
        Correlation of the detail, which any copy keeps, and of the finest detail, which tells one head from another but
        is lost in strong compression, -1 where the pair was given up, (P,) each; the maps, (P, 2, 3).
    """
    scores, fine, maps = torch.full((len(source),), -1.0), torch.full((len(source),), -1.0), maps.clone()
    alive = torch.arange(len(source))
    for side, smooth, band, steps, least in LEVELS:
        pooled = [F.avg_pool2d(images[alive][:, None], images.shape[-1] // side)[:, 0] for images in (source, copy)]
        first, second = (_detail(_blur(images, smooth), band) for images in pooled)
        score, found = _align(first, second, maps[alive], steps)
        maps[alive] = found
        going_on = score >= least
        alive, score = alive[going_on], score[going_on]
        if not len(alive):
            return scores, fine, maps
    scores[alive] = score
    fine[alive], maps[alive] = _align(_detail(source[alive], FINEST), _detail(copy[alive], FINEST), maps[alive], 3)
    return scores, fine, maps


def warp(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return images (P, n, n) seen through maps (P, 2, 3), and where that is inside of them, 0 or 1 (P, n, n)."""
    side = images.shape[-1]
    x, y = _coordinates(side)
    at = maps @ torch.stack([x.ravel(), y.ravel(), torch.ones(side * side)]) * 2
    inside = (at.abs() < 1 - 1 / side).all(1).view(-1, side, side).float()
    grid = at.transpose(1, 2).reshape(-1, side, side, 2)
    seen = F.grid_sample(images[:, None], grid, padding_mode="border", align_corners=False)
    return seen[:, 0], inside


def _align(source: Tensor, copy: Tensor, maps: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return the best correlation on the way and its map."""
    side = source.shape[-1]
    x, y = _coordinates(side)
    best, best_maps = torch.full((len(source),), -1.0), maps
    for step in range(steps + 1):
        seen, inside = warp(source, maps)
        target, seen = _standardise(copy, inside), _standardise(seen, inside)
        enough = inside.mean((1, 2)) > _LEAST_OVERLAP
        score = torch.where(enough, (target * seen).sum((1, 2)), -1.0)
        better = score > best
        best = torch.where(better, score, best)
        best_maps = torch.where(better[:, None, None], maps, best_maps)
        if step == steps:
            break
        down, right = torch.zeros_like(seen), torch.zeros_like(seen)
        right[:, :, 1:-1] = (seen[:, :, 2:] - seen[:, :, :-2]) * (side / 2)
        down[:, 1:-1] = (seen[:, 2:] - seen[:, :-2]) * (side / 2)
        right, down = right * inside, down * inside
        jacobian = torch.stack([right * x, right * y, right, down * x, down * y, down], 1).flatten(2)
        normal = jacobian @ jacobian.transpose(1, 2)
        normal = normal + _DAMPING * torch.diag_embed(normal.diagonal(dim1=1, dim2=2)) + 1e-8 * torch.eye(6)
        change = torch.linalg.solve(normal, jacobian @ (target - seen).flatten(1)[:, :, None])
        change = change.clamp(-_STEP, _STEP).view(-1, 2, 3)
        linear = maps[:, :, :2]
        maps = torch.cat([linear + linear @ change[:, :, :2], maps[:, :, 2:] + linear @ change[:, :, 2:]], 2)
    return best, best_maps


def _coordinates(side: int) -> tuple[Tensor, Tensor]:
    """Return x and y of the pixels, (n, n) each."""
    places = (torch.arange(side) + 0.5) / side - 0.5
    y, x = torch.meshgrid(places, places, indexing="ij")
    return x, y


def _blur(images: Tensor, width: int) -> Tensor:
    if width == 1:
        return images
    padded = F.pad(images[:, None], (width // 2,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (width, 1), 1), (1, width), 1)[:, 0]


def _detail(images: Tensor, band: int) -> Tensor:
    """Return what is finer than `band` pixels, its local contrast evened out; flat regions stay flat."""
    fine = images - _blur(images, band)
    contrast = _blur(fine * fine, 2 * band + 1).sqrt()
    # A quarter of the mean contrast, and one gray level, keep noise in flat regions from counting as detail.
    return fine / (contrast + 0.25 * contrast.mean((1, 2), keepdim=True) + 1.0)


def _standardise(images: Tensor, weight: Tensor) -> Tensor:
    """Return images of zero mean and unit norm inside the weight, zero outside."""
    total = weight.sum((1, 2), keepdim=True) + 1e-6
    centred = (images - (images * weight).sum((1, 2), keepdim=True) / total) * weight
    return centred / ((centred * centred).sum((1, 2), keepdim=True).sqrt() + 1e-6)
