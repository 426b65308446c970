"""Registration: lays one image over another by an affine map and says how well the fine detail agrees.

Gauss-Newton on the zero-mean, unit-norm images, from coarse to fine: the enhanced correlation coefficient of
Evangelidis and Psarakis 2008 (doi 10.1109/TPAMI.2008.113), its gradient taken on the warped image. What is compared is
detail: a band of spatial frequencies with its local contrast evened out, so that two heads alike score low and a
brighter copy scores high.

Shapes: P pairs, n pixels a side; maps (P, 2, 3) take the copy's x and y, from -0.5 to 0.5, and 1 to the source's.
"""

from functools import cache
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
        source: Whole gray levels of any type, (P, 96, 96), turned already.
        copy: The same.
        maps: Where to start, float32 (P, 2, 3).

    Returns:
        Correlation of the detail, which any copy keeps, and of the finest detail, which tells one head from another but
        is lost in strong compression, -1 where the pair was given up, (P,) each; the maps, (P, 2, 3).
    """
    scores, fine, maps = torch.full((len(source),), -1.0), torch.full((len(source),), -1.0), maps.clone()
    alive = torch.arange(len(source))
    for side, smooth, band, steps, least in LEVELS:
        first, second = (_detail(_blur(_shrink(images[alive], side), smooth), band) for images in (source, copy))
        score, found = _align(first, second, maps[alive], steps)
        maps[alive] = found
        going_on = score >= least
        alive, score = alive[going_on], score[going_on]
        if not len(alive):
            return scores, fine, maps
    scores[alive] = score
    first, second = (_detail(images[alive].float(), FINEST) for images in (source, copy))
    fine[alive], maps[alive] = _align(first, second, maps[alive], 3)
    return scores, fine, maps


def warp(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return images (P, n, n) seen through maps (P, 2, 3), and where that is inside of them, 0 or 1 (P, n, n)."""
    side = images.shape[-1]
    at = maps @ _coordinates(side)[2]
    far = at.abs()
    inside = (torch.maximum(far[:, 0], far[:, 1]) < 1 - 1 / side).view(-1, side, side).float()
    grid = at.transpose(1, 2).reshape(-1, side, side, 2)
    seen = F.grid_sample(images[:, None], grid, padding_mode="border", align_corners=False)
    return seen[:, 0], inside


def _align(source: Tensor, copy: Tensor, maps: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return the best correlation on the way and its map."""
    side = source.shape[-1]
    x, y, _ = _coordinates(side)
    best, best_maps = torch.full((len(source),), -1.0), maps
    slopes = torch.zeros(len(source), 6, side, side)  # by each coefficient of the maps; those to the right, down: 2, 5
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
        torch.sub(seen[:, :, 2:], seen[:, :, :-2], out=slopes[:, 2, :, 1:-1])
        torch.sub(seen[:, 2:], seen[:, :-2], out=slopes[:, 5, 1:-1])
        for along in (2, 5):
            slopes[:, along].mul_(side / 2).mul_(inside)
            torch.mul(slopes[:, along], x, out=slopes[:, along - 2])
            torch.mul(slopes[:, along], y, out=slopes[:, along - 1])
        jacobian = slopes.flatten(2)
        normal = jacobian @ jacobian.transpose(1, 2)
        normal = normal + _DAMPING * torch.diag_embed(normal.diagonal(dim1=1, dim2=2)) + 1e-8 * torch.eye(6)
        change = torch.linalg.solve(normal, jacobian @ target.sub_(seen).flatten(1)[:, :, None])
        change = change.clamp(-_STEP, _STEP).view(-1, 2, 3)
        linear = maps[:, :, :2]
        maps = torch.cat([linear + linear @ change[:, :, :2], maps[:, :, 2:] + linear @ change[:, :, 2:]], 2)
    return best, best_maps


@cache
def _coordinates(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return x and y of the pixels, (n, n) each, and for `grid_sample` twice x, y and 1 of each, (3, n * n)."""
    places = (torch.arange(side) + 0.5) / side - 0.5
    y, x = torch.meshgrid(places, places, indexing="ij")
    return x, y, torch.stack([x.ravel(), y.ravel(), torch.ones(side * side)]) * 2


def _shrink(images: Tensor, side: int) -> Tensor:
    """Return whole gray levels (P, m, m) at fewer pixels a side, float32 (P, n, n)."""
    step = images.shape[-1] // side
    images = images.float()
    for _ in range(2 if step > 1 else 0):  # sums of whole numbers, exact in any order
        images = sum((images[:, place::step] for place in range(1, step)), images[:, ::step]).transpose(1, 2)
    return images / step**2


def _blur(images: Tensor, width: int) -> Tensor:
    if width == 1:
        return images
    padded = F.pad(images[:, None], (width // 2,) * 4, mode="replicate")[:, 0]
    return _window_means(_window_means(padded, 1, width), 2, width)


def _window_means(images: Tensor, axis: int, width: int) -> Tensor:
    """Return the mean of each window of pixels along an axis; 4 times as fast as `avg_pool2d`, with the same bits."""
    count = images.shape[axis] - width + 1
    total = images.narrow(axis, 0, count) + images.narrow(axis, 1, count)
    for place in range(2, width):
        total += images.narrow(axis, place, count)
    return total.div_(width)


def _detail(images: Tensor, band: int) -> Tensor:
    """Return what is finer than `band` pixels, its local contrast evened out; flat regions stay flat."""
    fine = images - _blur(images, band)
    contrast = _blur(fine * fine, 2 * band + 1).sqrt_()
    # A quarter of the mean contrast, and one gray level, keep noise in flat regions from counting as detail.
    return fine / (contrast + 0.25 * contrast.mean((1, 2), keepdim=True) + 1.0)


def _standardise(images: Tensor, weight: Tensor) -> Tensor:
    """Return images of zero mean and unit norm inside the weight, zero outside."""
    total = weight.sum((1, 2), keepdim=True) + 1e-6
    centred = (images - (images * weight).sum((1, 2), keepdim=True) / total).mul_(weight)
    return centred.div_((centred * centred).sum((1, 2), keepdim=True).sqrt_() + 1e-6)
