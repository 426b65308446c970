"""Batched augmentation: one set of random parameters per image, applied to the whole batch on the batch's device.

Shape legend: N images of the global batch, B of this process, C channels (1 or 3), H and W height and width in pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitlab.data import image_ops
from vitlab.data.augment_parameters import Parameters
from vitlab.data.image_ops import FloatArray

_CHUNK = 2**18  # values that a CPU thread works on at a time: they stay in its cache, 1.5 to 2 times as fast
_SINGLES = 16  # uniforms per image for everything but the boxes


Finish = Callable[[Tensor], Tensor]


def as_it_is(images: Tensor) -> Tensor:
    """Return images unchanged."""
    return images


@dataclass(kw_only=True, frozen=True)
class Augment:
    """Random changes for training images, in this order; a stage whose setting is off costs nothing.

    Rotation, shift, zoom and shear, then a random resized crop, then flips, all in one bilinear warp; brightness,
    contrast, gamma; blur, noise, erasing. Definitions and distributions are those of `torchvision.transforms.v2`; what
    lies outside the image is 0. Parameters depend on (seed, step, view) and on the image's place in the global batch
    alone: not on the device, not on the number of processes, and not on which other stages are on.

    Args:
        crop_scale: Range of the crop's share of the image's area; (1, 1) for no crop.
        crop_ratio: Range of the crop's aspect ratio, width / height.
        hflip: Probability of a left-right mirror.
        vflip: Probability of an upside-down mirror.
        rotation: Largest angle in degrees, either way, about the centre.
        translate: Largest shift as a share of width and height.
        scale: Range of the zoom factor.
        shear: Largest shear along x in degrees, either way.
        brightness: b for a factor in [1 - b, 1 + b].
        contrast: c for a factor in [1 - c, 1 + c] about the mean of the grey image.
        gamma: g for an exponent exp(u), u in [-g, g].
        blur: Probability of a Gaussian blur.
        blur_sigma: Range of its standard deviation in pixels.
        blur_kernel: Its width in pixels, odd.
        noise: Largest standard deviation of Gaussian noise as a share of the grey range; each image's is in [0, noise].
        erasing: Probability that a box is set to 0.
        erasing_area: Range of the box's share of the image's area.
        erasing_ratio: Range of the box's aspect ratio, height / width.

    Raises:
        ValueError: A setting is out of its range.
    """

    crop_scale: tuple[float, float] = (0.7, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.0
    rotation: float = 10.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    gamma: float = 0.2
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int = 5
    noise: float = 0.0
    erasing: float = 0.0
    erasing_area: tuple[float, float] = (0.02, 0.33)
    erasing_ratio: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        """Checks the settings."""
        for name in ("hflip", "vflip", "translate", "blur", "erasing"):
            self._check(name, 0 <= getattr(self, name) <= 1, "must be between 0 and 1")
        for name in ("brightness", "contrast", "gamma", "noise"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "must be 0 (off) or more")
        self._check("rotation", 0 <= self.rotation <= 180, "must be between 0 and 180 degrees")
        self._check("shear", 0 <= self.shear < 90, "must be between 0 and 90 degrees")
        for name in ("crop_scale", "crop_ratio", "scale", "blur_sigma", "erasing_area", "erasing_ratio"):
            low_high = getattr(self, name)
            fits = len(low_high) == 2 and 0 < low_high[0] <= low_high[1] < math.inf
            self._check(name, fits, "must be two numbers, low and high, with 0 < low <= high")
        for name in ("crop_scale", "erasing_area"):
            self._check(name, getattr(self, name)[1] <= 1, "is a share of the image's area and must not exceed 1")
        self._check("blur_kernel", self.blur_kernel >= 1 and self.blur_kernel % 2 == 1, "must be odd and at least 1")

    def _check(self, name: str, fits: bool, rule: str) -> None:
        if not fits:
            raise ValueError(f"augmentation setting {name} {rule}, not {getattr(self, name)}")

    @property
    def _affine(self) -> bool:
        """Whether the warp can leave the image."""
        return any((self.rotation, self.translate, self.shear)) or tuple(self.scale) != (1, 1)

    @property
    def _crops(self) -> bool:
        return self.crop_scale[0] < 1

    def __call__(
        self,
        images_u8: Tensor,
        *,
        seed: int,
        step: int,
        view: int = 0,
        rows: slice | None = None,
        total: int | None = None,
        finish: Finish = as_it_is,
        out: Tensor | None = None,
    ) -> Tensor:
        """Augments a batch.

        Args:
            images_u8: (B, C, H, W) uint8.
            seed: Seed of the run, 0 or more.
            step: Number of the batch within the run.
            view: Number of the view: other views of the same batch get other parameters.
            rows: Which images of the global batch these are, e.g. `slice(rank, None, world_size)`; all where None.
            total: Size N of the global batch; B where None.
            finish: As in `apply`.
            out: As in `apply`.

        Returns:
            (B, C, H, W) float32 on the device of the images, in [0, 1] and not normalised without `finish`.
        """
        assert images_u8.dtype == torch.uint8 and images_u8.ndim == 4, "augmentation takes a (B, C, H, W) uint8 batch"
        n, _, height, width = images_u8.shape
        parameters = self.draw(total or n, height, width, seed=seed, step=step, view=view)
        if rows is not None:
            parameters = parameters.take(rows)
        assert len(parameters.angle) == n, f"{n} images, but rows names {len(parameters.angle)} of the global batch"
        return self.apply(images_u8, parameters, finish, out)

    def draw(self, n: int, height: int, width: int, *, seed: int, step: int, view: int = 0) -> Parameters:
        """Draws the parameters of n images of height x width pixels, on the CPU, by (seed, step, view)."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, step, view))))
        # One row of uniforms per image and one place in it per parameter: no setting shifts the draws of another.
        uniforms = rng.random((n, _SINGLES + 2 * 4 * image_ops.TRIES))
        single, boxes = uniforms[:, :_SINGLES], uniforms[:, _SINGLES:].reshape(n, 2, 4, image_ops.TRIES)

        def centred(column: int, spread: float) -> FloatArray:
            return (single[:, column] * 2 - 1) * spread

        def ranged(column: int, low_high: tuple[float, float]) -> FloatArray:
            return low_high[0] + single[:, column] * (low_high[1] - low_high[0])

        def happens(column: int, probability: float) -> NDArray[np.bool_]:
            return single[:, column] < probability

        def factor(column: int, spread: float) -> FloatArray:
            return ranged(column, (max(0.0, 1 - spread), 1 + spread))

        out = Parameters.identity(n, height, width)
        out.angle = centred(0, self.rotation)
        out.translate = np.stack([centred(1, self.translate * width), centred(2, self.translate * height)], 1).round()
        out.scale = ranged(3, self.scale)
        out.shear = centred(4, self.shear)
        out.flip = np.stack([happens(5, self.hflip), happens(6, self.vflip)], 1).astype(np.float64)
        out.brightness, out.contrast = factor(7, self.brightness), factor(8, self.contrast)
        out.gamma = np.exp(centred(9, self.gamma))
        out.blur = np.where(happens(10, self.blur), ranged(11, self.blur_sigma), 0.0)
        out.noise = single[:, 12] * self.noise
        out.noise_key = (single[:, 13] * 2**31).astype(np.int64)
        if self._crops:
            out.crop = image_ops.boxes(boxes[:, 0], self.crop_scale, self.crop_ratio, height, width)
        if self.erasing:
            low, high = self.erasing_ratio
            erase = image_ops.boxes(boxes[:, 1], self.erasing_area, (1 / high, 1 / low), height, width, whole=False)
            out.erase = np.where(happens(14, self.erasing)[:, None], erase, 0.0)
        return out

    def apply(
        self, images_u8: Tensor, parameters: Parameters, finish: Finish = as_it_is, out: Tensor | None = None
    ) -> Tensor:
        """Applies given parameters; stages that the settings switch off are left out, whatever the parameters say.

        Args:
            images_u8: (B, C, H, W) uint8.
            parameters: Of these B images.
            finish: What is done in place to each piece of the batch, such as normalising, while a CPU has it in cache.
            out: Where the result is written, (B, C, H, W) float32; a new tensor where None.

        Returns:
            (B, C, H, W) float32, in [0, 1] without `finish`.
        """
        n = len(images_u8)
        chunk = max(1, n)
        if images_u8.device.type == "cpu" and n:
            chunk = max(1, _CHUNK * torch.get_num_threads() // images_u8[0].numel())
        if out is None and chunk >= n:
            return finish(self._apply(images_u8, parameters))
        if out is None:
            out = torch.empty(images_u8.shape)
        for start in range(0, n, chunk):
            rows = slice(start, start + chunk)
            out[rows] = finish(self._apply(images_u8[rows], parameters.take(rows)))
        return out

    def _apply(self, images_u8: Tensor, p: Parameters) -> Tensor:
        device = images_u8.device
        height, width = images_u8.shape[2:]

        def per_image(values: FloatArray) -> Tensor:
            return torch.from_numpy(values.astype(np.float32)).to(device, non_blocking=True)[:, None, None, None]

        x = images_u8.to(torch.float32)
        if moves := bool(self._affine or self._crops or self.hflip or self.vflip):
            # A crop that touches the border repeats it, as a resize does; only the affine part can look outside.
            x = image_ops.warp(x, p.theta(height, width), "zeros" if self._affine else "border")
        x = x.mul_(per_image(p.brightness / 255)) if self.brightness else x.div_(255)
        if moves or self.brightness:
            x.clamp_(0, 1)
        if self.contrast:
            grey = image_ops.grey_mean(x).mul_(per_image(1 - p.contrast))
            x.mul_(per_image(p.contrast)).add_(grey).clamp_(0, 1)  # torch.lerp takes three times as long
        if self.gamma:
            x.pow_(per_image(p.gamma))
        if self.blur and (chosen := np.flatnonzero(p.blur)).size:
            index = torch.from_numpy(chosen).to(device, non_blocking=True)
            blurred = image_ops.blur(x.index_select(0, index), per_image(p.blur[chosen]), self.blur_kernel)
            x.index_copy_(0, index, blurred)  # whole images, unlike x[index] = blurred
        if self.noise:
            key = torch.from_numpy(p.noise_key.astype(np.int32)).to(device, non_blocking=True)
            x.addcmul_(image_ops.normal(key, x[0].numel()).view_as(x), per_image(p.noise)).clamp_(0, 1)
        if self.erasing and p.erase.any():
            box = torch.from_numpy(p.erase).to(device, non_blocking=True)
            x.masked_fill_(image_ops.inside(box, height, width), 0.0)
        return x
