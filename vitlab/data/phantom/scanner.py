"""Scanners: what a machine and its sequence do to the same anatomy between the patient and the 8-bit image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vitlab.data.phantom.anatomy import TISSUES
from vitlab.data.phantom.waves import Floats

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """A scanner with its T1-weighted sequence; each range is what differs between its patients.

    Args:
        levels: Signal of each of TISSUES (white matter of A is about 0.4). The widths are what fat saturation, dose of
            contrast and delay change.
        blur: Standard deviation of the point spread in mm.
        noise: Standard deviation of the noise in each of the two channels (Gudbjartsson & Patz 1995, doi
            10.1002/mrm.1910340618: the magnitude is Rician).
        bias: Peak of the receive field's deviation from 1.
        gain: Factor before clipping at white.
        gamma: Exponent of the display curve.
        field_of_view: Edge of the image in mm.
    """

    levels: dict[str, Range]
    blur: Range
    noise: Range
    bias: Range
    gain: Range
    gamma: Range
    field_of_view: Range

    def draw_levels(self, rng: np.random.Generator) -> Floats:
        """Draws the tissue signals of one patient in the order of TISSUES, (T,)."""
        return np.array([rng.uniform(*self.levels[name]) for name in TISSUES], np.float32)

    def acquire(
        self, signal: Floats, pixel: float, patient: np.random.Generator, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Turns an ideal slice into the image that the scanner stores.

        Args:
            signal: The slice's signal, (H, W).
            pixel: Edge of a pixel in mm.
            patient: What one patient's slices share (gain, display, sharpness) is drawn from this: pass equal states.
            rng: What differs between slices (noise, receive field) is drawn from this.
        """
        sigma, std, gain, gamma = (patient.uniform(*r) for r in (self.blur, self.noise, self.gain, self.gamma))
        blurred = ndimage.gaussian_filter(signal, sigma / pixel)
        image = blurred * self._bias(rng, signal.shape[0])
        noise = rng.normal(0, std, (2, *signal.shape)).astype(np.float32)
        magnitude = np.hypot(image + noise[0], noise[1])
        image = np.clip(gain * magnitude, 0, 1) ** gamma * 255
        return np.asarray(image + 0.5).astype(np.uint8)

    def _bias(self, rng: np.random.Generator, size: int) -> Floats:
        """Draws a smooth receive field: a quadratic over the image with peak deviation `bias`, (size, size)."""
        x = np.linspace(-1, 1, size)
        y = x[:, None]
        a, b, c, d, e = rng.normal(size=5)
        field = a * x + b * y + c * x * y + d * x * x + e * y * y
        field = field - field.mean()
        field = 1 + field * (rng.uniform(*self.bias) / np.abs(field).max())
        return np.asarray(field, np.float32)


# A: a spin echo as most of Cheng et al. are: little contrast between grey and white matter, fat from bright to
# saturated. B: an inversion-prepared gradient echo on an older machine: more contrast between grey and white, darker
# fluid, coarser, noisier, a stronger receive field and a display that lifts the shadows. Signals are relative, white of
# the display is 1. The wide gain of A is what keeps a histogram from telling the classes apart (see the test).
SCANNERS = {
    "A": Scanner(
        levels={
            "csf": (0.12, 0.19),
            "gm": (0.33, 0.40),
            "wm": (0.39, 0.47),
            "enhancing": (0.8, 1.0),
            "fat": (0.45, 0.95),
            "muscle": (0.27, 0.38),
            "marrow": (0.35, 0.55),
        },
        blur=(0.6, 1.0),
        noise=(0.008, 0.02),
        bias=(0.05, 0.15),
        gain=(0.55, 1.1),
        gamma=(0.8, 1.2),
        field_of_view=(190, 215),
    ),
    "B": Scanner(
        levels={
            "csf": (0.08, 0.13),
            "gm": (0.28, 0.36),
            "wm": (0.44, 0.52),
            "enhancing": (0.75, 1.0),
            "fat": (0.5, 0.8),
            "muscle": (0.25, 0.33),
            "marrow": (0.35, 0.5),
        },
        blur=(1.1, 1.7),
        noise=(0.02, 0.035),
        bias=(0.15, 0.3),
        gain=(0.65, 1.1),
        gamma=(0.7, 0.9),
        field_of_view=(190, 220),
    ),
}
