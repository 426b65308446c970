"""The parameters of an augmentation: what is done to each image of a batch.

Shape legend: N images.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vitlab.data.image_ops import FloatArray


@dataclass(kw_only=True)
class Parameters:
    """What happens to each image; every array has one entry (or row) per image, and `identity` changes nothing.

    Args:
        angle: Clockwise rotation about the centre in degrees, (N,).
        translate: Shift (x, y) in pixels, (N, 2).
        scale: Zoom factor, (N,).
        shear: Shear along x in degrees, (N,).
        crop: Box (top, left, height, width) in pixels that is stretched to the whole image, (N, 4).
        flip: 1 where mirrored, (horizontal, vertical), (N, 2).
        brightness: Factor, (N,).
        contrast: Factor about the mean of the grey image, (N,).
        gamma: Exponent, (N,).
        blur: Standard deviation of the Gaussian in pixels, 0 for none, (N,).
        noise: Standard deviation of the Gaussian noise in units of the grey range, (N,).
        noise_key: Integer that the image's noise is a function of, (N,).
        erase: Box (top, left, height, width) in pixels that is set to 0, of height 0 for none, (N, 4).
    """

    angle: FloatArray
    translate: FloatArray
    scale: FloatArray
    shear: FloatArray
    crop: FloatArray
    flip: FloatArray
    brightness: FloatArray
    contrast: FloatArray
    gamma: FloatArray
    blur: FloatArray
    noise: FloatArray
    noise_key: NDArray[np.int64]
    erase: FloatArray

    @classmethod
    def identity(cls, n: int, height: int, width: int) -> "Parameters":
        """Returns the parameters that leave n images of height x width as they are."""
        zero, one = np.zeros(n), np.ones(n)
        return cls(
            angle=zero, translate=np.zeros((n, 2)), scale=one, shear=zero, flip=np.zeros((n, 2)),
            crop=np.tile([0.0, 0.0, height, width], (n, 1)), brightness=one, contrast=one, gamma=one,
            blur=zero, noise=zero, noise_key=np.zeros(n, np.int64), erase=np.zeros((n, 4)),
        )  # fmt: skip

    def take(self, rows: slice) -> "Parameters":
        """Returns the parameters of these images."""
        return Parameters(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def theta(self, height: int, width: int) -> FloatArray:
        """Composes rotation, shift, zoom and shear, then crop, then flips into one affine map.

        Returns:
            (N, 2, 3) map from output to input coordinates, both in [-1, 1] (`align_corners=False`), as `affine_grid`
            takes it. Angle, shift, zoom and shear are those of `torchvision.transforms.v2.functional.affine`.
        """
        rotation, tan_shear = np.radians(self.angle), np.tan(np.radians(self.shear))
        cos, sin = np.cos(rotation), np.sin(rotation)
        inverse = np.array([[cos - sin * tan_shear, cos * tan_shear + sin], [-sin, cos]]) / self.scale  # (2, 2, N)
        size = np.array([width, height], np.float64)
        box = self.crop[:, ::-1]  # (width, height, left, top)
        stretch = box[:, :2] / size * (1 - 2 * self.flip)
        offset = box[:, 2:] + box[:, :2] / 2 - size / 2 - self.translate
        linear = np.einsum("ijn,nj->nij", inverse, stretch * size) / size[:, None]
        shift = np.einsum("ijn,nj->ni", inverse, offset * 2) / size
        return np.concatenate([linear, shift[:, :, None]], axis=2)
