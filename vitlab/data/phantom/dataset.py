"""The phantom as files: PNG slices of synthetic patients with tumour masks and a manifest.

Shape legend: N points of a slice (size * size); H, W pixels.
"""

import hashlib
import inspect
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from vitlab.atomic import check_writable
from vitlab.data.manifest import Manifest
from vitlab.data.phantom.anatomy import TISSUES, Head, load_head
from vitlab.data.phantom.lesions import KINDS, Lesion
from vitlab.data.phantom.scanner import SCANNERS
from vitlab.data.phantom.waves import Floats, Waves

VERSION = 1  # part of the cache key: raise it whenever a pixel changes
CLASSES = ("glioma", "meningioma", "no_tumor", "pituitary")
SPLITS = {"train": "A", "val": "A", "test": "B"}  # split -> scanner
PLANES = ("axial", "coronal", "sagittal")
_NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}  # the axis that a plane is perpendicular to
_CENTRE = np.array([0, -16, -4], np.float32)  # mm; the middle of the image, so that the vault is never cut off
_VENTRICLES = np.array([0, -15, 12], np.float32)  # mm; between the lateral ventricles, which differ most between adults
_CSF, _ENHANCING = TISSUES.index("csf"), TISSUES.index("enhancing")
_LEAST = 100.0  # mm^2 of tumour that a slice must show where it can: about ten pixels at 64 px


@dataclass(frozen=True)
class Slice:
    """One image, pixels and tumour (H, W), its plane, and where on the axis across the plane it lies in mm."""

    pixels: NDArray[np.uint8]
    tumour: NDArray[np.bool_]
    plane: str
    place: float


def patient_slices(
    head: Head, *, seed: int, split: str, label: str, number: int, slices: int, size: int
) -> Iterator[Slice]:
    """Images one synthetic patient: the same arguments give the same pixels, whatever else is generated.

    A patient without a tumour gets the slices that one with a tumour would have had: neither plane nor place tells.

    Args:
        head: The anatomy to warp.
        seed: Seed of the data set.
        split: Key of SPLITS, which says the scanner.
        label: One of CLASSES.
        number: Number of the patient within split and class.
        slices: Number of slices; the planes take turns.
        size: Edge of the image in pixels.
    """
    rng = np.random.default_rng([seed, list(SPLITS).index(split), CLASSES.index(label), number])
    machine = SCANNERS[SPLITS[split]]
    kind = KINDS[label if label in KINDS else str(rng.choice(sorted(KINDS)))]
    lesion = kind.draw(rng, head)
    levels = machine.draw_levels(rng)
    # Adult heads differ by 4 % of their length and breadth (1 sd); positioning by a few degrees and millimetres.
    matrix = _rotation(rng.normal(0, np.radians(4), 3)) / rng.normal(1, 0.04, 3)
    matrix[:, 0] *= rng.choice((-1, 1))
    shift = rng.normal(0, 3, 3)
    warp = Waves.draw(rng, waves=8, wavelength=(70, 220), std=2.5, components=3)
    vessels = Waves.draw(rng, waves=20, wavelength=(18, 50), std=1.0, components=2)
    ventricles = float(rng.uniform(0.0, 0.35))
    pixel = float(rng.uniform(*machine.field_of_view)) / size
    exposure = int(rng.integers(2**32))
    target = np.linalg.solve(matrix, lesion.centre - warp(lesion.centre[None])[0] - shift)
    first = int(rng.integers(3))
    for turn in range(slices):
        plane = PLANES[(first + turn) % 3]
        axis = _NORMAL[plane]
        offset = float(rng.uniform(-0.5, 0.5)) * lesion.radius
        for reach in (1.0, 0.5, 0.0):
            grid = _grid(plane, size, pixel)
            grid[:, axis] = target[axis] + reach * offset
            points = (grid @ matrix.T + shift).astype(np.float32)
            points += warp(points)
            signal, tumour = _draw(head, points, levels, lesion, label in KINDS, vessels, ventricles)
            if label not in KINDS or np.count_nonzero(tumour) * pixel**2 >= _LEAST:
                break
        image = machine.acquire(signal.reshape(size, size), pixel, np.random.default_rng(exposure), rng)
        yield Slice(image, tumour.reshape(size, size), plane, float(grid[0, axis]))


def generate(
    out: Path,
    *,
    seed: int = 0,
    train_patients: int = 80,
    val_patients: int = 20,
    test_patients: int = 25,
    slices: int = 3,
    size: int = 96,
) -> Manifest:
    """Writes a phantom into a folder: images/, masks/ and manifest.csv.

    The folder appears only when it is complete: nobody reads half of it, and two processes may write the same one.

    Args:
        out: Folder to make; it must not exist or be empty.
        seed: Seed of the data set; more patients or slices of the same seed keep those that were there.
        train_patients: Patients in each class for training (scanner A).
        val_patients: Patients in each class for validation (scanner A).
        test_patients: Patients in each class for testing (scanner B).
        slices: Slices of each patient, each through the tumour.
        size: Edge of the images in pixels.

    Returns:
        The manifest with the columns path, label, patient_id, split, mask_path ("" without a tumour), plane, scanner.

    Raises:
        ValueError: If a number is out of range, the folder has something else in it, or the disk is full.
    """
    counts = {"train": train_patients, "val": val_patients, "test": test_patients}
    if min(counts.values()) < 0 or not sum(counts.values()) or slices < 1 or seed < 0:
        raise ValueError("the phantom needs a seed from 0 up, a slice and a patient: no number may be negative")
    if not 16 <= size <= 512:
        raise ValueError(f"the phantom's image size is {size} px: choose 16 to 512")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder: delete it or choose another")
    head = load_head()
    jobs = [(split, n, label) for split, count in counts.items() for n in range(count) for label in CLASSES]
    partial = out.parent / f".{out.name}.{uuid.uuid4().hex}"
    rows: list[dict[str, str]] = []
    try:
        for folder in ("images", "masks"):
            (partial / folder).mkdir(parents=True)
        if shutil.disk_usage(partial).free < len(jobs) * slices * size**2 * 2:
            raise ValueError(f"not enough free disk for the phantom in {out.parent}: choose another folder")
        if not sys.stderr.isatty():
            print(f"drawing the phantom: {len(jobs)} patients, {len(jobs) * slices} images", file=sys.stderr)
        progress = tqdm(jobs, "phantom", unit="patient", disable=not sys.stderr.isatty())
        for number, (split, n, label) in enumerate(progress):
            patient = f"{SPLITS[split]}{number:04d}"
            images = patient_slices(head, seed=seed, split=split, label=label, number=n, slices=slices, size=size)
            for k, image in enumerate(images):
                row = {"path": f"images/{patient}_{k}.png", "label": label, "patient_id": patient, "split": split}
                Image.fromarray(image.pixels).save(partial / row["path"], compress_level=1)
                row["mask_path"] = f"masks/{patient}_{k}.png" if label in KINDS else ""
                if row["mask_path"]:
                    Image.fromarray(image.tumour).save(partial / row["mask_path"])
                rows.append(row | {"plane": image.plane, "scanner": SPLITS[split]})
        manifest = Manifest({name: [row[name] for row in rows] for name in rows[0]}, root=out)
        manifest.write(partial / "manifest.csv")
        _publish(partial, out)
    except OSError as error:
        raise ValueError(f"cannot write the phantom to {out} ({error.strerror}): choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def phantom_folder(seed: int = 0, **settings: int) -> Path:
    """Returns the folder of a phantom in the cache, drawing it first where it is not there yet.

    The cache is $VITLAB_CACHE, else $XDG_CACHE_HOME/vitlab, else ~/.cache/vitlab.

    Args:
        seed: Seed of the data set.
        settings: Other settings of `generate`, whose defaults stand for what is left out.

    Raises:
        ValueError: As `generate`.
    """
    defaults = {name: p.default for name, p in inspect.signature(generate).parameters.items() if name != "out"}
    key = json.dumps(defaults | settings | {"seed": seed, "version": VERSION}, sort_keys=True)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("VITLAB_CACHE") or Path(home, "vitlab"))
    folder = cache / f"phantom-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    done = folder / "manifest.csv"
    if not done.is_file():
        check_writable(cache, "VITLAB_CACHE")
        try:
            generate(folder, seed=seed, **settings)
        except ValueError:
            if not done.is_file():  # else another process was first
                raise
    return folder


def _publish(partial: Path, out: Path) -> None:
    """Gives a complete folder its name; where another process was first with the same phantom, that one stays."""
    try:
        partial.rename(out)  # replaces an empty folder, never a full one
    except OSError:
        theirs = out / "manifest.csv"
        if not theirs.is_file() or theirs.read_bytes() != (partial / "manifest.csv").read_bytes():
            raise


def _draw(
    head: Head, points: Floats, levels: Floats, lesion: Lesion, grown: bool, vessels: Waves, ventricles: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Draws the ideal slice at MNI points (N, 3): its signal (N,) and where the tumour is (N,)."""
    offset = points - _VENTRICLES
    apart = points - offset * (ventricles * np.exp(-np.sum(offset**2, axis=1) / 28**2))[:, None]  # 28 mm: their reach
    tissues, distance = head.sample(apart)
    near = lesion.near(points) if grown else np.zeros(len(points), np.bool_)
    if grown:
        tissues[near] = head.sample(lesion.push(apart[near], distance[near]))[0]
    signal = tissues @ levels
    fluid = np.flatnonzero((tissues[:, _CSF] > 0.2) & (distance < -1))
    tubes = np.exp(-np.sum(vessels(points[fluid]) ** 2, axis=1) / 0.22**2)  # where two random surfaces cross
    signal[fluid] += tubes * tissues[fluid, _CSF] * (levels[_ENHANCING] - levels[_CSF])
    tumour = np.zeros(len(points), np.bool_)
    if grown:
        signal[near], share = lesion.paint(signal[near], points[near], tissues[near], distance[near], levels)
        tumour[near] = share > 0.5
    return signal, tumour


def _grid(plane: str, size: int, pixel: float) -> Floats:
    """Returns the patient coordinates in mm of a slice's pixels, row by row, (N, 3); the front is up or left."""
    steps = ((np.arange(size) - (size - 1) / 2) * pixel).astype(np.float32)
    down, right = (step.ravel() for step in np.meshgrid(-steps, steps, indexing="ij"))
    still = np.zeros_like(down)
    columns = {"axial": (right, down, still), "coronal": (right, still, down), "sagittal": (still, -right, down)}[plane]
    return np.stack(columns, axis=1) + _CENTRE


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the rotation by three angles in radians about x, y and z, (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    rotation: NDArray[np.float64] = about_x @ about_y @ about_z
    return rotation
