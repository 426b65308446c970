"""Under which conditions all rows are measured: images on disk, device, threads, how much work a sample is."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vitlab.data.decode import to_pixels
from vitlab.data.manifest import SPLITS, Manifest
from vitlab.data.sources import Csv, Source

# The built-in images as a scanner gives them: 256 px is the usual matrix of an MR slice.
PHANTOM_SIZE, PHANTOM_PATIENTS = 256, {"train_patients": 40, "val_patients": 10, "test_patients": 10}


@dataclass(frozen=True)
class Conditions:
    """What all rows share.

    Args:
        images: Folder of train, val and test with a folder a class, as torchvision's ImageFolder reads it.
        work: Folder that rows may write into; it goes at the end.
        device: cpu or cuda.
        threads: OpenMP threads of this process and of those that rows start.
        steps: Training steps in one sample of a step.
        epochs: Epochs in one sample of an epoch.
        seconds: Least length of one sample of an input pipeline.
        run_seconds: Length of the runs whose overhead is measured.
        compile: Whether models are compiled, and in which of torch's modes, as `fit` takes it.
    """

    images: Path
    work: Path
    device: str
    threads: int
    steps: int = 8
    epochs: int = 8
    seconds: float = 1.0
    run_seconds: float = 20.0
    compile: bool | str = False

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the targets."""
        return sorted(folder.name for folder in (self.images / "train").iterdir())

    @property
    def environment(self) -> dict[str, str]:
        """Environment of processes that rows start."""
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads), "VITLAB_CACHE": str(self.work / "cache")}

    @property
    def loader_workers(self) -> int:
        """Loader processes of a plain reference: one a core, and no more than the four that torch's tutorials have."""
        return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def built_in() -> Source:
    """Return the phantom at the size of a real slice, drawn on first use."""
    from vitlab.data.phantom import phantom_folder

    folder = phantom_folder(0, size=PHANTOM_SIZE, **PHANTOM_PATIENTS)
    return Csv(str(folder), name="phantom")


@contextmanager
def image_folder(source: Source, *, splits: Manifest, most: int) -> Iterator[tuple[Path, Path]]:
    """Write a source as an ImageFolder: files that are there as they are, all else as PNG.

    Args:
        source: Where the images come from.
        splits: Its manifest with splits.
        most: Training images, spread over the split evenly; of the others as large a share.

    Yields:
        The folder of the images and one to work in; both are removed at the end.

    Raises:
        ValueError: A split is empty.
    """
    with tempfile.TemporaryDirectory(prefix="vitlab-bench-") as temporary:
        images, work = Path(temporary, "images"), Path(temporary, "work")
        work.mkdir()
        found = {split: np.flatnonzero((splits.split == split) & (splits.label != "")) for split in SPLITS}
        for split, rows in found.items():
            if not len(rows):
                raise ValueError(f"the {split} split has no images, and bench needs all three: see configs/data")
        share = min(1.0, most / len(found["train"]))
        for split, rows in found.items():
            for row in rows[np.linspace(0, len(rows) - 1, max(1, round(share * len(rows)))).astype(int)]:
                _place(source, str(splits.path[row]), images / split / _folder(splits, row) / f"{row:07d}")
        yield images, work


def _folder(splits: Manifest, row: int) -> str:
    """Return the name of the class's folder: its number comes first, as the names are sorted and may be any text."""
    number = sorted({*splits.label} - {""}).index(splits.label[row])
    return f"{number:03d}-" + "".join(letter if letter.isalnum() else "_" for letter in str(splits.label[row]))[:40]


def _place(source: Source, path: str, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    file = source.root / path
    if file.suffix.lower() in (".png", ".jpg", ".jpeg") and file.is_file():
        shutil.copyfile(file, stem.with_suffix(file.suffix.lower()))
        return
    Image.fromarray(_uint8(to_pixels(source.decode(path)))).save(stem.with_suffix(".png"))


def _uint8(pixels: np.ndarray) -> np.ndarray:
    """Scale deep pixels to 0..255, as the cache does."""
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    scaled: np.ndarray = ((pixels - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return scaled


def say(text: str) -> None:
    """Tell on standard error how far it is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
