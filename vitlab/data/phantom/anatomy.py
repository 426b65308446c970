"""The head that every phantom patient is a warp of: MNI152 brain tissue in a drawn skull, scalp, face and skull base.

The brain is the ICBM 152 template (Fonov et al. 2011, doi 10.1016/j.neuroimage.2010.07.033) as packaged by nilearn,
which is skull stripped; what surrounds it is drawn from the brain's outer surface and a table of ellipsoids. All
coordinates are MNI millimetres (x right, y front, z up).

Shape legend: X, Y, Z voxels; T tissues; N points.
"""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vitlab.data.phantom.waves import Floats, Waves

TISSUES = ("csf", "gm", "wm", "enhancing", "fat", "muscle", "marrow")  # air and cortical bone: none of them, no signal
_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_MM = 2  # voxel edge; a 96 px image of a head has pixels of 2.1 mm
_LOW, _HIGH = np.array([-98, -134, -138]), np.array([98, 116, 116])  # the template's box and scalp, face, neck
_FIRST = (_LOW + (_MM - 1) / 2).astype(np.float32)  # centre of the first block of whole millimetres
_CLOSING = 12.0  # mm; bridges sulci, the Sylvian fissure and the basal cisterns, but not the neck of the brain stem

# Typical adult thicknesses in mm outside the brain's envelope: dura, skull about 7, of which the middle third is marrow
# (diploe), scalp about 5, mostly fat. As radii from the envelope, except for scalp and skin, which count from the air.
_DURA, _SKULL, _DIPLOE, _HEAD, _SCALP, _SKIN = 1.5, 8.5, (3.5, 6.0), 14.0, 5.0, 1.5

_UPTAKE = {"enhancing": 0.7}  # normal gland, plexus and mucosa take up less than a vessel, and never fill a voxel

# The head beyond what covers the brain: centre, radii in mm.
_OUTLINE: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = (
    ((0, 42, -78), (56, 50, 84)),  # face
    ((0, 90, -60), (13, 16, 20)),  # nose
    ((0, -42, -120), (54, 60, 80)),  # neck
)

# Drawn in this order, later over earlier: tissue ("air" is no signal), centre, radii in mm; mirrored where x is not 0.
# Places are read off MNI-aligned adult heads to about 5 mm, which the patients' own warps exceed.
_PARTS: tuple[tuple[str, tuple[float, float, float], tuple[float, float, float]], ...] = (
    ("fat", (44, 34, -62), (14, 22, 26)),  # cheek
    ("muscle", (52, 12, -58), (9, 14, 32)),  # masseter and temporalis
    ("muscle", (28, 8, -68), (10, 14, 18)),  # pterygoids
    ("muscle", (20, -78, -92), (24, 26, 46)),  # neck
    ("fat", (0, -100, -96), (16, 10, 40)),
    ("fat", (29, 50, -34), (16, 27, 15)),  # orbit
    ("muscle", (20, 46, -33), (2.5, 18, 5)),  # medial and lateral rectus, optic nerve
    ("muscle", (38, 46, -34), (2.5, 18, 5)),
    ("muscle", (28, 42, -33), (2.5, 20, 2.5)),
    ("csf", (31, 64, -35), (12, 12, 12)),  # eye
    ("air", (0, 62, 2), (14, 5, 10)),  # frontal sinus
    ("muscle", (0, 52, -54), (15, 26, 24)),  # nose
    ("air", (6, 50, -56), (4, 24, 19)),
    ("enhancing", (8, 48, -60), (3, 18, 6)),  # turbinates: mucosa takes up contrast
    ("enhancing", (0, 50, -50), (1.6, 24, 16)),
    ("air", (6, 44, -36), (5, 16, 7)),  # ethmoid
    ("air", (31, 46, -62), (13, 14, 15)),  # maxillary sinus
    ("muscle", (0, 42, -100), (24, 32, 18)),  # tongue
    ("air", (0, 34, -82), (18, 30, 3)),  # mouth
    ("air", (0, 6, -84), (9, 8, 26)),  # pharynx
    ("air", (36, -28, -44), (8, 12, 7)),  # petrous bone and mastoid cells
    ("marrow", (0, -12, -46), (10, 7, 15)),  # clivus
    ("air", (0, 20, -44), (13, 12, 9)),  # sphenoid sinus
    ("marrow", (0, -12, -104), (10, 9, 26)),  # vertebrae
    ("csf", (0, -44, -100), (10, 9, 44)),  # spinal canal and cord
    ("wm", (0, -44, -100), (5.5, 5, 44)),
    ("csf", (0, 2, -27), (12, 9, 7)),  # suprasellar cistern
    ("enhancing", (11, 0, -34), (3.5, 9, 5)),  # cavernous sinus
    ("air", (11, 0, -34), (2, 6, 2)),  # carotid artery: a flow void
    ("enhancing", (0, 3, -34), (6, 4.5, 3.5)),  # the normal gland, 12 x 9 x 7 mm, and its stalk
    ("enhancing", (0, 1, -27), (1.2, 1.2, 5)),
    ("enhancing", (22, -38, 8), (3, 6, 4)),  # choroid plexus
    ("enhancing", (0, -46, 6), (2, 10, 2)),  # vein of Galen
)


@dataclass(frozen=True)
class Head:
    """Tissue fractions and depth below the dura on a grid of 2 mm.

    Args:
        channels: The fractions of TISSUES and, last, the signed distance in mm to the inner surface of the skull,
            negative in the brain, (X, Y, Z, T + 1).
    """

    channels: Floats

    def sample(self, points: Floats) -> tuple[Floats, Floats]:
        """Reads the head at points by trilinear interpolation.

        Args:
            points: MNI coordinates in mm, (N, 3); outside the box the nearest voxel counts.

        Returns:
            Tissue fractions, (N, T), and signed distance in mm, (N,).
        """
        shape = np.array(self.channels.shape[:3])
        position = np.clip((points - _FIRST) / np.float32(_MM), 0, (shape - 1.001).astype(np.float32))
        corner = position.astype(np.int32)
        strides = np.array([shape[1] * shape[2], shape[2], 1])
        start = corner @ strides
        filled = np.flatnonzero(self._filled[start])  # half of an image is air: not worth reading
        start, high = start[filled], (position - corner.astype(np.float32))[filled]
        low = 1 - high
        flat = self.channels.reshape(-1, self.channels.shape[3])
        values = np.zeros((len(filled), flat.shape[1]), np.float32)
        for i, j, k in np.ndindex(2, 2, 2):
            share = (high if i else low)[:, 0] * (high if j else low)[:, 1] * (high if k else low)[:, 2]
            values += share[:, None] * flat.take(start + int(np.dot((i, j, k), strides)), axis=0)
        out = np.zeros((len(points), flat.shape[1]), np.float32)
        out[:, -1] = _HEAD  # as far out as the scalp, or farther
        out[filled] = values
        return out[:, :-1], out[:, -1]

    @functools.cached_property
    def _filled(self) -> NDArray[np.bool_]:
        """Whether one of the eight voxels from each corner up has any tissue, flat, (X * Y * Z,)."""
        some = self.channels[..., :-1].any(axis=-1)
        filled: NDArray[np.bool_] = ndimage.maximum_filter(some, size=2, origin=-1).ravel()
        return filled

    @functools.cached_property
    def white_matter(self) -> Floats:
        """Voxels of supratentorial white matter: MNI coordinates in mm and signed distance, (N, 4)."""
        return self._voxels((self.channels[..., TISSUES.index("wm")] > 0.8) & (self.channels[..., -1] < -8), above=-12)

    @functools.cached_property
    def dura(self) -> Floats:
        """Voxels just under the dura: MNI coordinates in mm, signed distance and outward unit normal, (N, 7)."""
        voxels = self._voxels(np.abs(self.channels[..., -1] + 2) < 1, above=-50)
        steps = np.eye(3, dtype=np.float32) * 4
        slope = [self.sample(voxels[:, :3] + s)[1] - self.sample(voxels[:, :3] - s)[1] for s in steps]
        normal = np.stack(slope, axis=1)
        return np.hstack([voxels, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)])

    def _voxels(self, where: NDArray[np.bool_], above: float) -> Floats:
        """Returns coordinates in mm and signed distance of the voxels of a mask above a level z in mm, (N, 4)."""
        rows = np.hstack([np.argwhere(where) * _MM + _FIRST, self.channels[where][:, -1:]]).astype(np.float32)
        return rows[rows[:, 2] > above]


def _template(kind: str) -> Floats:
    """Reads a template of the installed nilearn, as means of blocks of 2 mm in our box, scaled to 0..1, (X, Y, Z)."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("the phantom is drawn in nilearn's MNI152 brain and nilearn is missing: pip install nilearn")
    path = Path(spec.submodule_search_locations[0], "datasets", "data", _FILE.format(kind))
    if not path.is_file():
        raise FileNotFoundError(f"nilearn's template {path} is missing: pip install --force-reinstall 'nilearn>=0.11'")
    image = nib.load(path)
    box = np.zeros(_HIGH - _LOW, np.float32)
    start = image.affine[:3, 3].astype(int) - _LOW
    volume = np.asarray(image.dataobj)[tuple(slice(0, n) for n in box.shape - start)]
    box[tuple(slice(s, s + n) for s, n in zip(start, volume.shape, strict=True))] = volume / np.float32(255)
    x, y, z = (n // _MM for n in box.shape)
    blocks: Floats = box.reshape(x, _MM, y, _MM, z, _MM).mean((1, 3, 5))
    return blocks


def _signed_distance(mask: NDArray[np.bool_]) -> Floats:
    """Returns the distance in mm to the surface of a mask, negative inside."""
    outside = ndimage.distance_transform_edt(~mask, sampling=_MM)
    inside = ndimage.distance_transform_edt(mask, sampling=_MM)
    return np.asarray(outside - inside, np.float32)


def _soft(depth: Floats) -> Floats:
    """Returns how much of a voxel lies inside a surface, from its depth in mm: a surface is one voxel wide."""
    share: Floats = np.clip(depth / _MM + 0.5, 0, 1)
    return share


def _ellipsoid(
    axes: tuple[Floats, Floats, Floats], centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> tuple[tuple[slice, ...], Floats]:
    """Returns the box around an ellipsoid and, in it, about the depth in mm (negative outside)."""
    box, squares = [], []
    for axis, middle, radius in zip(axes, centre, radii, strict=True):
        near = np.flatnonzero(np.abs(axis - middle) < radius + _MM)
        box.append(slice(near[0], near[-1] + 1))
        squares.append(((axis[box[-1]] - middle) / radius) ** 2)
    norm = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])
    return tuple(box), (1 - norm) * min(radii)


@functools.lru_cache(maxsize=1)
def load_head() -> Head:
    """Builds the head from nilearn's templates (about a second; kept for the life of the process).

    Raises:
        ValueError: If nilearn is not installed.
        FileNotFoundError: If the installed nilearn lacks the template.
    """
    t1, gm, wm = _template("t1"), _template("gm"), _template("wm")
    brain = t1 > 0.1
    reach = ndimage.distance_transform_edt(~brain, sampling=_MM) <= _CLOSING
    envelope = ndimage.distance_transform_edt(reach, sampling=_MM) > _CLOSING
    distance = ndimage.gaussian_filter(_signed_distance(envelope | brain), 1.0)
    grid = [_FIRST[i] + np.arange(n, dtype=np.float32) * _MM for i, n in enumerate(t1.shape)]
    axes = (grid[0], grid[1], grid[2])
    x, y, z = axes[0][:, None, None], axes[1][:, None], axes[2]

    outline = distance < _HEAD
    for centre, radii in _OUTLINE:
        box, depth = _ellipsoid(axes, centre, radii)
        outline[box] |= depth > 0
    below_skin = -ndimage.gaussian_filter(_signed_distance(outline), 2.5)  # rounds off where the parts meet

    tissues = {name: np.zeros(t1.shape, np.float32) for name in TISSUES}

    def put(name: str, share: Floats, box: tuple[slice, ...] = ()) -> None:
        for other in tissues.values():
            other[box] *= 1 - share
        if name in tissues:
            tissues[name][box] += share

    texture = Waves.draw(np.random.default_rng(0), waves=12, wavelength=(12, 36), std=0.3)
    plane = np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3)
    put("muscle", _soft(below_skin))
    put("fat", _soft(below_skin) * np.clip(0.15 + texture(plane).reshape(t1.shape), 0, 0.8))  # fat between the muscles
    put("fat", _soft(below_skin) * _soft(_SCALP - below_skin))
    put("muscle", _soft(below_skin) * _soft(_SKIN - below_skin))
    put("air", _soft(_SKULL - distance))
    put("marrow", _soft(distance - _DIPLOE[0]) * _soft(_DIPLOE[1] - distance) * 0.8)
    put("enhancing", _soft(_DURA - distance) * _soft(distance + 0.5) * 0.4)  # dura takes up some contrast
    put("csf", _soft(-distance))
    inside = _soft(below_skin - _SCALP)
    for name, centre, radii in _PARTS:
        for side in (1, -1) if centre[0] else (1,):
            box, depth = _ellipsoid(axes, (side * centre[0], *centre[1:]), radii)
            put(name, _soft(depth) * inside[box] * _UPTAKE.get(name, 1), box)
    free = np.where(brain, 1 - tissues["enhancing"], 0)  # the template wins, plexus and veins excepted
    for name in ("fat", "muscle", "marrow"):
        tissues[name][brain] = 0
    for name, share in (("gm", gm), ("wm", wm), ("csf", np.clip(1 - gm - wm, 0, 1))):
        tissues[name] = np.where(brain, free * share, tissues[name])
    upper = np.clip(np.maximum(z / 30, -(y + 50) / 30), 0, 1) * np.clip((z + 30) / 10, 0, 1)  # vault, not the base
    put("enhancing", _soft(4 - np.hypot(x, 0.8 * (distance + 3))) * upper)  # superior sagittal sinus
    transverse = _soft(3.5 - np.hypot(distance + 2, z + 24 + 0.1 * np.abs(x)))
    put("enhancing", transverse * np.clip(-(y + 45) / 20, 0, 1))
    outer = np.clip((np.hypot(y + 18, z - 5) - 45) / 15, 0, 1)  # beyond the corpus callosum
    put("enhancing", _soft(1 - np.abs(x)) * _soft(-distance) * outer * 0.25)  # falx
    return Head(np.stack([*tissues.values(), distance], axis=-1).astype(np.float32))
