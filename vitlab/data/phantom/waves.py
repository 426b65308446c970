"""Smooth random fields as sums of sinusoids: cheap at any point, the same on every grid, no volume to store.

Shape legend: N points, K waves, D components of the field.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Waves:
    """A random field of position: amplitudes @ sin(2 pi vectors . x + phases).

    Args:
        vectors: Wave vectors in cycles per mm, (3, K).
        phases: Phases in radians, (K,).
        amplitudes: Weight of each wave in each component of the field, (K, D).
    """

    vectors: Floats
    phases: Floats
    amplitudes: Floats

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, waves: int, wavelength: tuple[float, float], std: float, components: int = 1
    ) -> "Waves":
        """Draws a field of a given strength and coarseness.

        Args:
            rng: Where the randomness comes from.
            waves: Number of sinusoids, K.
            wavelength: Shortest and longest wavelength in mm.
            std: Standard deviation of each component over space.
            components: Number of components, D.
        """
        direction = rng.normal(size=(3, waves))
        direction /= np.linalg.norm(direction, axis=0)
        vectors = direction / rng.uniform(*wavelength, size=waves)
        amplitudes = rng.normal(size=(waves, components))
        amplitudes *= std * np.sqrt(2.0) / np.linalg.norm(amplitudes, axis=0)  # variance of a sinusoid: 1/2
        phases = rng.uniform(0, 2 * np.pi, waves)
        return cls(vectors.astype(np.float32), phases.astype(np.float32), amplitudes.astype(np.float32))

    def __call__(self, points: Floats) -> Floats:
        """Returns the field at points in mm, (N, 3), as (N, D)."""
        field: Floats = np.sin(np.float32(2 * np.pi) * (points @ self.vectors) + self.phases) @ self.amplitudes
        return field
