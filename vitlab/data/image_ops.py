"""What the augmentation does to the pixels of a batch, on the batch's device, with other parameters for every image.

Shape legend: N images, B images of a batch, C channels (1 or 3), H and W height and width in pixels, K taps.
"""

import math
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

TRIES = 10  # attempts at a box before the fallback, as in torchvision's RandomResizedCrop and RandomErasing
GREY = (0.2989, 0.587, 0.114)  # ITU-R 601 luma, as in torchvision's rgb_to_grayscale

FloatArray: TypeAlias = NDArray[np.float64]


def boxes(
    uniforms: FloatArray,
    area: tuple[float, float],
    ratio: tuple[float, float],
    height: int,
    width: int,
    *,
    whole: bool = True,
) -> FloatArray:
    """Draws boxes as torchvision does: the first of ten tries that fits, else the largest central one (or none).

    Args:
        uniforms: (N, 4, tries) for area, aspect ratio, top and left.
        area: Range of the share of the image's area.
        ratio: Range of width / height, log-uniform.
        height: Of the image in pixels.
        width: Of the image in pixels.
        whole: Whether the box may be as high or as wide as the image, and what happens where no try fits: the largest
            central box of an allowed ratio, or, where False, no box.

    Returns:
        (N, 4) top, left, height, width in whole pixels.
    """
    share, aspect, top, left = uniforms.transpose(1, 0, 2)
    pixels = height * width * (area[0] + share * (area[1] - area[0]))
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    shape = np.exp(log_low + aspect * (log_high - log_low))
    w, h = np.sqrt(pixels * shape).round(), np.sqrt(pixels / shape).round()
    slack = 0 if whole else 1
    fits = (w > 0) & (h > 0) & (w <= width - slack) & (h <= height - slack)
    box = np.stack([np.floor(top * (height - h + 1)), np.floor(left * (width - w + 1)), h, w], 2)
    first = box[np.arange(len(box)), fits.argmax(1)]
    if not whole:
        return np.where(fits.any(1)[:, None], first, 0.0)
    w_max, h_max = min(width, round(height * ratio[1])), min(height, round(width / ratio[0]))
    centre = np.array([(height - h_max) // 2, (width - w_max) // 2, h_max, w_max], np.float64)
    return np.where(fits.any(1)[:, None], first, centre)


def warp(x: Tensor, theta: FloatArray, padding: str) -> Tensor:
    """Samples x (B, C, H, W) bilinearly at theta (B, 2, 3) of each output pixel; `padding` as in grid_sample."""
    height, width = x.shape[2:]
    t = torch.from_numpy(theta.astype(np.float32)).to(x.device, non_blocking=True)[..., None]
    columns = (torch.arange(width, device=x.device) * 2 + 1 - width) / width
    lines = (torch.arange(height, device=x.device) * 2 + 1 - height)[:, None] / height
    # F.affine_grid's values, plane by plane: its matrix product takes longer than the sampling, this a sixtieth of it.
    grid = (t[:, :, 0, None] * columns).add(t[:, :, 1, None] * lines + t[:, :, 2, None])
    return F.grid_sample(x, grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode=padding, align_corners=False)


def grey_mean(x: Tensor) -> Tensor:
    """Returns the mean (B, 1, 1, 1) of the grey version of x (B, C, H, W)."""
    means = x.mean(dim=(2, 3), keepdim=True)
    if x.shape[1] == 3:
        return (means * means.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    return means.mean(1, keepdim=True)


def blur(x: Tensor, sigma: Tensor, taps: int) -> Tensor:
    """Blurs x (B, C, H, W) by a Gaussian of sigma (B, 1, 1, 1) pixels, as a sum of shifted slices along each axis.

    Four to five times as fast as a grouped convolution or a batched matrix product.
    """
    height, width = x.shape[2:]
    reach = taps // 2
    distance = torch.arange(-reach, reach + 1, device=x.device)
    weights = torch.softmax(-((distance / sigma) ** 2) / 2, dim=3)  # (B, 1, 1, K)
    padded = F.pad(x, (reach, reach, reach, reach), mode="reflect")
    across = padded[..., :width] * weights[..., :1]
    for k in range(1, taps):
        across.addcmul_(padded[..., k : k + width], weights[..., k : k + 1])
    down = across[..., :height, :] * weights[..., :1]
    for k in range(1, taps):
        down.addcmul_(across[..., k : k + height, :], weights[..., k : k + 1])
    return down


def normal(key: Tensor, size: int) -> Tensor:
    """Returns (B, size) normal values that are a function of key (B,) int32 and the place alone, on every device.

    Box-Muller on a 32-bit integer hash (its constants: "lowbias32", https://nullprogram.com/blog/2018/07/31/). A
    generator would draw other values on a GPU, and on each rank those of the whole global batch.
    """
    half = (size + 1) // 2
    bits = torch.arange(2 * half, dtype=torch.int32, device=key.device) ^ (key * 0x632BE5AB)[:, None]
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        bits = (bits ^ ((bits >> shift) & ((1 << (32 - shift)) - 1))) * multiplier
    uniforms = (((bits >> 8) & 0xFFFFFF) + 0.5) / 2**24
    radius = uniforms[:, :half].log().mul_(-2).sqrt_()
    angle = uniforms[:, half:] * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1).narrow(1, 0, size)


def inside(box: Tensor, height: int, width: int) -> Tensor:
    """Returns the mask (B, 1, H, W) of boxes (B, 4) given as top, left, height, width."""
    top, left, h, w = box.T[..., None]
    line, column = torch.arange(height, device=box.device), torch.arange(width, device=box.device)
    lines, columns = (line >= top) & (line < top + h), (column >= left) & (column < left + w)
    mask: Tensor = lines[:, None, :, None] & columns[:, None, None, :]
    return mask
