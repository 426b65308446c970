"""Tumours: where each kind grows, what it looks like after contrast, and how it pushes the brain aside.

Radii span the 10th to 90th percentile of sqrt(area / pi) of the masks of Cheng et al. (doi
10.6084/m9.figshare.1512427, taken as 250 mm wide). Looks follow the signs named in each class. Coordinates are MNI
millimetres.

Shape legend: N points; T tissues.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vitlab.data.phantom.anatomy import TISSUES, Head
from vitlab.data.phantom.waves import Floats, Waves

_CSF, _GM, _WM, _ENHANCING = (TISSUES.index(name) for name in ("csf", "gm", "wm", "enhancing"))
SELLA = (0.0, 3.0, -34.0)  # centre of the pituitary gland in mm


def _ramp(depth: Floats, width: float) -> Floats:
    """Returns 0 outside, 1 inside and a straight edge `width` mm wide between, from a depth in mm."""
    share: Floats = np.clip(depth / np.float32(width) + np.float32(0.5), 0, 1)
    return share


def _blend(signal: Floats, share: Floats, level: Floats | float) -> Floats:
    """Returns the signal with a share of each point given another level."""
    return signal + share * (level - signal)


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A tumour of one patient; the kinds differ in `place`, `inside` and `paint`.

    Args:
        centre: Its middle, (3,).
        radius: Its mean radius in mm.
        normal: Unit vector out of the head where it sits on the dura, (3,); unused elsewhere.
        uptake: Its signal as a fraction of an enhancing vessel's.
        core: Size of a part without enhancement, 0 (none) to 1.
        halo: Reach of oedema in mm.
        bumps: Irregularity of its surface in units of its radius.
        texture: Unevenness of its inside in units of its signal.
    """

    radii: ClassVar[tuple[float, float]]
    bumpiness: ClassVar[tuple[float, float]]
    uptakes: ClassVar[tuple[float, float]]
    unevenness: ClassVar[float]
    pressure: ClassVar[float]  # share of its own radius by which the brain at its edge gives way

    centre: Floats
    radius: float
    normal: Floats
    uptake: float
    core: float
    halo: float
    bumps: Waves
    texture: Waves

    @classmethod
    def draw(cls, rng: np.random.Generator, head: Head) -> "Lesion":
        """Draws a tumour of this kind somewhere in the head where it may grow."""
        low, high = cls.radii
        radius = rng.triangular(low, 0.3 * low + 0.7 * high, high)  # small ones are there, but rare
        centre, normal = cls.place(rng, head, radius)
        return cls(
            centre=centre.astype(np.float32),
            radius=radius,
            normal=normal.astype(np.float32),
            uptake=float(rng.uniform(*cls.uptakes)),
            core=float(rng.uniform()),
            halo=float(rng.uniform(4, 16)),
            bumps=Waves.draw(rng, waves=8, wavelength=(0.9 * radius, 3 * radius), std=rng.uniform(*cls.bumpiness)),
            texture=Waves.draw(rng, waves=16, wavelength=(9, 30), std=cls.unevenness),
        )

    def near(self, points: Floats) -> NDArray[np.bool_]:
        """Returns which points the tumour could change, oedema, dural tail and pushed brain included, (N,)."""
        near: NDArray[np.bool_] = self._away(points) < 2.5 * self.radius + 20
        return near

    def _away(self, points: Floats) -> Floats:
        """Returns the distance in mm from the centre, (N,)."""
        away: Floats = np.linalg.norm(points - self.centre, axis=1)
        return away

    @classmethod
    def place(cls, rng: np.random.Generator, head: Head, radius: float) -> tuple[Floats, Floats]:
        """Draws the centre and the outward normal for a tumour of the given radius."""
        raise NotImplementedError

    def inside(self, points: Floats) -> Floats:
        """Returns the depth in mm within the tumour's surface, negative outside, (N,)."""
        return self.radius * (1 + self.bumps(points)[:, 0]) - self._away(points)

    def push(self, points: Floats, distance: Floats) -> Floats:
        """Returns where the tissue now at `points` was before the tumour grew; the skull stays where it is, (N, 3)."""
        offset = points - self.centre
        near = np.exp(-np.sum(offset**2, axis=1) / (1.6 * self.radius) ** 2)
        give: Floats = self.pressure * near * np.clip(-distance / 6, 0, 1)  # fades over the outer 6 mm of the brain
        return points - offset * give[:, None]

    def paint(
        self, signal: Floats, points: Floats, tissues: Floats, distance: Floats, levels: Floats
    ) -> tuple[Floats, Floats]:
        """Draws the tumour over a slice.

        Args:
            signal: The slice without it, (N,).
            points: MNI coordinates in mm, (N, 3).
            tissues: Tissue fractions at the points, (N, T).
            distance: Signed distance to the inner surface of the skull in mm, negative in the brain, (N,).
            levels: The patient's signal of each tissue, (T,).

        Returns:
            The slice with it, (N,), and the share of each point that is tumour (oedema is not), (N,).
        """
        raise NotImplementedError


class Glioma(Lesion):
    """High-grade glioma: a thick ragged enhancing ring round a dark necrotic core, in white matter, with dark oedema.

    Smirniotopoulos et al. 2007, doi 10.1148/rg.272065155.
    """

    radii = (11, 29)
    bumpiness = (0.10, 0.20)
    uptakes = (0.75, 1.0)
    unevenness = 0.12
    pressure = 0.35

    @classmethod
    def place(cls, rng: np.random.Generator, head: Head, radius: float) -> tuple[Floats, Floats]:
        """Draws a place deep enough in supratentorial white matter."""
        deep = head.white_matter[:, 3] < -min(0.8 * radius, 16)
        return rng.choice(head.white_matter[deep])[:3], np.zeros(3, np.float32)

    def paint(
        self, signal: Floats, points: Floats, tissues: Floats, distance: Floats, levels: Floats
    ) -> tuple[Floats, Floats]:
        """See the base class."""
        brain = _ramp(-distance - 1, 2)
        depth = self.inside(points)
        noise = self.texture(points)[:, 0]
        oedema = _ramp(depth + self.halo * (1 + 2 * noise) - 2, 5) * (0.15 + 0.85 * tissues[:, _WM]) * brain
        signal = _blend(signal, 0.9 * oedema, 0.5 * levels[_CSF] + 0.5 * levels[_GM])
        thickness = (0.25 + 0.2 * (1 - self.core)) * self.radius
        wall = np.maximum(thickness * (1 + 3 * noise), 2)  # thick and thin along the ring
        tumour = _ramp(depth, 2.5) * brain
        signal = _blend(signal, tumour, self.uptake * levels[_ENHANCING] * (1 + noise))
        necrosis = _ramp(depth - wall, 2.5) * brain
        return _blend(signal, necrosis, 0.6 * levels[_CSF] + 0.4 * levels[_GM]), tumour


class Meningioma(Lesion):
    """Meningioma: bright, even, sharp-edged, broad-based on the dura, with a dural tail and a cleft of fluid below it.

    Watts et al. 2014, doi 10.1007/s13244-013-0302-4.
    """

    radii = (10, 26)
    bumpiness = (0.04, 0.10)
    uptakes = (0.8, 1.0)
    unevenness = 0.025
    pressure = 0.5

    @classmethod
    def place(cls, rng: np.random.Generator, head: Head, radius: float) -> tuple[Floats, Floats]:
        """Draws a place on the dura away from the sella, its centre less than a radius below it."""
        row = rng.choice(head.dura[np.linalg.norm(head.dura[:, :3] - SELLA, axis=1) > 30 + radius / 2])
        normal = row[4:7]
        return row[:3] - normal * radius * rng.uniform(0.35, 0.7), normal

    def paint(
        self, signal: Floats, points: Floats, tissues: Floats, distance: Floats, levels: Floats
    ) -> tuple[Floats, Floats]:
        """See the base class."""
        along = (points - self.centre) @ self.normal
        squeeze = self.normal * np.float32(0.6 * self.core)  # flattened against the skull, up to 1 : 1.6
        flat: Floats = points + along[:, None] * squeeze
        depth = self.inside(flat)
        under = _ramp(-distance, 1.5)
        cleft = _ramp(depth + 2, 1.5) * under
        signal = _blend(signal, 0.6 * cleft, levels[_CSF])
        root = self.centre + self.normal * 0.5 * self.radius
        apart: Floats = np.linalg.norm(points - root, axis=1)
        tail = _ramp(1.9 * self.radius * (0.6 + 0.4 * self.core) - apart, 8)
        bright = self.uptake * levels[_ENHANCING]
        sheet = _ramp(np.minimum(1.5 - distance, 1.5 + distance), 1.5)  # within 1.5 mm of the dura
        signal = _blend(signal, tail * sheet, bright)
        tumour = _ramp(depth, 1.2) * under
        return _blend(signal, tumour, bright * (1 + self.texture(points)[:, 0])), tumour


class Pituitary(Lesion):
    """Pituitary macroadenoma: a round, bright mass that fills the sella and bulges up through its diaphragm.

    The waist at the diaphragm is the "snowman" sign (doi 10.1056/NEJMicm2503820).
    """

    radii = (7.5, 18)
    bumpiness = (0.02, 0.08)
    uptakes = (0.75, 1.0)
    unevenness = 0.05
    pressure = 0.3

    @classmethod
    def place(cls, rng: np.random.Generator, head: Head, radius: float) -> tuple[Floats, Floats]:
        """Draws a place in the sella: the gland's, a little up for a large tumour, which has no other way to go."""
        up = (0, 0, 0.3 * (radius - cls.radii[0]))
        centre = (rng.normal(SELLA, (1.2, 1.0, 1.0)) + up).astype(np.float32)
        return centre, np.array([0, 0, 1], np.float32)

    def inside(self, points: Floats) -> Floats:
        """See the base class: a ball in the sella and, above its diaphragm, a second one that grows with the first."""
        bump = 1 + self.bumps(points)[:, 0]
        upper = self.radius * (0.4 + 0.5 * self.core)
        top = np.linalg.norm(points - self.centre - self.normal * 0.95 * self.radius, axis=1)
        both: Floats = np.maximum(self.radius * bump - self._away(points), upper * bump - top)
        return both

    def paint(
        self, signal: Floats, points: Floats, tissues: Floats, distance: Floats, levels: Floats
    ) -> tuple[Floats, Floats]:
        """See the base class."""
        depth = self.inside(points)
        noise = self.texture(points)[:, 0]
        tumour = _ramp(depth, 1.5)
        signal = _blend(signal, tumour, self.uptake * levels[_ENHANCING] * (1 + noise))
        cyst = _ramp(0.45 * self.radius - self._away(points), 3) * (self.core > 0.85)  # one in seven is partly cystic
        return _blend(signal, cyst, 0.5 * levels[_CSF] + 0.5 * levels[_GM]), tumour


KINDS: dict[str, type[Lesion]] = {"glioma": Glioma, "meningioma": Meningioma, "pituitary": Pituitary}
