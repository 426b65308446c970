"""Corrupted evaluation images: seven kinds at five severities, the same for every model that is tested on an image.

As ImageNet-C (Hendrycks & Dietterich 2019, arXiv:1903.12261) and MedMNIST-C (Di Salvo et al. 2024, arXiv:2406.17536),
with what goes wrong in MR: bias field and ghosting as in TorchIO (Pérez-García et al. 2021, arXiv:2003.04696).
An image's draw (noise, axis, direction) depends on the seed and on its row alone and is the same at all severities, so
that a curve over severities shows severity.

Shapes: N images, C channels, H = W = side in pixels.
"""

from typing import Final, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vitlab.data.augment import Augment
from vitlab.data.augment_parameters import Parameters
from vitlab.data.image_ops import FloatArray

Corruption = Literal["noise", "blur", "contrast", "bias field", "ghosting", "resolution", "rotation"]
CORRUPTIONS: Final[tuple[Corruption, ...]] = get_args(Corruption)
SEVERITIES: Final = (1, 2, 3, 4, 5)
SEED: Final = 0  # of the draws: one for all runs, or they would not be tested on the same images

# Noise, blur and contrast: Tiny-ImageNet-C (make_tinyimagenet_c.py), made for 64 px. Contrast is ImageNet-C's too.
TABLE_SIDE = 64
NOISE = (0.04, 0.08, 0.12, 0.15, 0.18)  # standard deviation, in units of the grey range
BLUR = (0.5, 0.75, 1.0, 1.25, 1.5)  # standard deviation in pixels
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # factor about the image's mean
# MedMNIST-C's pixelate of the organ sets (CT slices): what is left of the side.
RESOLUTION = (0.7, 0.6, 0.5, 0.4, 0.35)
# Five steps to what TorchIO's RandomBiasField draws by default: order 3, coefficients in -0.5 to 0.5.
BIAS = (0.1, 0.2, 0.3, 0.4, 0.5)
BIAS_POWERS = tuple((i, j) for i in range(4) for j in range(4 - i))
# Five steps to the strongest that TorchIO's RandomGhosting draws by default (0.5 to 1), with its 4 to 10 ghosts.
GHOSTING = (0.2, 0.4, 0.6, 0.8, 1.0)
GHOSTS = (4, 10)
# Of no published set: past the 10 degrees of our augmentation, to a head that lies askew.
ROTATION = (5.0, 10.0, 15.0, 20.0, 30.0)  # degrees, either way

_PLAIN = {"crop_scale": (1.0, 1.0), "hflip": 0.0, "rotation": 0.0, "brightness": 0.0, "contrast": 0.0, "gamma": 0.0}


def corrupt(images_u8: Tensor, corruption: Corruption, severity: int, *, rows: np.ndarray, seed: int = SEED) -> Tensor:
    """Corrupt images.

    Args:
        images_u8: (N, C, H, W) uint8, at the size that the model sees.
        corruption: Which.
        severity: 1 to 5.
        rows: (N,) each image's row in the manifest.
        seed: Of the draws.

    Returns:
        (N, C, H, W) uint8, on the images' device.
    """
    assert images_u8.dtype == torch.uint8 and severity in SEVERITIES and len(rows) == len(images_u8)
    draws, step = _draws(rows, seed), severity - 1
    x = images_u8.float() / 255
    if corruption == "bias field":
        x = x * _bias_field(draws[:, 1:11] * 2 - 1, BIAS[step], x)
    elif corruption == "ghosting":
        x = _ghosts(x, draws[:, 11], draws[:, 12], GHOSTING[step])
    elif corruption == "resolution":
        side = x.shape[-1]
        small = F.interpolate(x, size=max(1, round(side * RESOLUTION[step])), mode="bilinear", antialias=True)
        x = F.interpolate(small, size=side, mode="bilinear")
    else:
        x = _as_augmentation(images_u8, corruption, step, draws)
    return x.mul(255).round().clamp(0, 255).to(torch.uint8)


def _draws(rows: np.ndarray, seed: int) -> FloatArray:
    """Draw (N, 14) uniforms, one place for each parameter."""
    sequences = (np.random.SeedSequence((seed, row)) for row in rows.tolist())
    return np.array([np.random.Generator(np.random.PCG64(one)).random(14) for one in sequences]).reshape(-1, 14)


def _as_augmentation(images_u8: Tensor, corruption: Corruption, step: int, draws: FloatArray) -> Tensor:
    """Apply what training's augmentation has as well, by a fixed amount: (N, C, H, W) float32 in [0, 1]."""
    n, side = len(images_u8), images_u8.shape[-1]
    parameters = Parameters.identity(n, side, side)
    setting: dict[str, object] = {}
    if corruption == "noise":
        # By the root of the side, the table is within a quarter of CIFAR-10-C's at 32 px and ImageNet-C's at 224.
        parameters.noise = np.full(n, NOISE[step] * (side / TABLE_SIDE) ** 0.5)
        parameters.noise_key = (draws[:, 0] * 2**31).astype(np.int64)
        setting = {"noise": 1.0}
    elif corruption == "blur":
        sigma = BLUR[step] * side / TABLE_SIDE
        parameters.blur = np.full(n, sigma)
        setting = {"blur": 1.0, "blur_kernel": 2 * min(int(np.ceil(3 * sigma)), side - 1) + 1}
    elif corruption == "contrast":
        parameters.contrast = np.full(n, CONTRAST[step])
        setting = {"contrast": 1.0}
    else:
        parameters.angle = np.where(draws[:, 13] < 0.5, -1, 1) * ROTATION[step]
        setting = {"rotation": ROTATION[step]}
    return Augment(**{**_PLAIN, **setting}).apply(images_u8, parameters)  # type: ignore[arg-type]


def _bias_field(coefficients: FloatArray, strength: float, x: Tensor) -> Tensor:
    """Return TorchIO's bias field in the plane, exp of a polynomial of order 3 over [-1, 1]: (N, 1, H, W).

    Args:
        coefficients: (N, 10) in -1 to 1.
        strength: Of the largest coefficient.
        x: Images (N, C, H, W).
    """
    side = x.shape[-1]
    places = torch.linspace(-1, 1, side, device=x.device)
    powers = torch.stack([places[:, None] ** i * places**j for i, j in BIAS_POWERS])
    weights = torch.from_numpy(coefficients * strength).to(powers)
    return torch.einsum("nk,khw->nhw", weights, powers).exp()[:, None]


def _ghosts(x: Tensor, number: FloatArray, axis: FloatArray, strength: float) -> Tensor:
    """Weaken every n-th line of k-space but the central one, as TorchIO's Ghosting does: ghosts along that axis.

    Args:
        x: (N, C, H, W).
        number: (N,) in 0 to 1, from which n is drawn.
        axis: (N,) in 0 to 1: lines below one half, columns above.
        strength: Share of the lines that is taken away.
    """
    side = x.shape[-1]
    ghosts = torch.from_numpy(GHOSTS[0] + np.floor(number * (GHOSTS[1] - GHOSTS[0] + 1))).long()
    lines = torch.arange(side)
    weak = (lines % ghosts[:, None] == 0) & (lines != side // 2)  # (N, side), the centre in the middle
    kept = torch.fft.ifftshift(1 - strength * weak.float(), dim=1).to(x.device)
    down = torch.from_numpy(axis < 0.5).to(x.device)[:, None, None]
    mask = torch.where(down, kept[:, :, None], kept[:, None, :])
    ghosted: Tensor = torch.fft.ifft2(torch.fft.fft2(x) * mask[:, None]).real
    return ghosted
