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
from numpy.typing import NDArray

from vitlab.cores import cores
from vitlab.data.decode import from_array, to_pixels
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
        return min(4, cores())


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
        most: About how many training images, of each class as large a share; of the other splits as well.

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
        for number, label in enumerate(sorted({*splits.label} - {""})):
            for split, rows in found.items():
                # a folder of each class in each split, also where it is empty: ImageFolder numbers those of a split
                folder = images / split / _folder(number, str(label))
                folder.mkdir(parents=True)
                own = rows[splits.label[rows] == label]
                for row in own[_spread(len(own), share)]:
                    _place(source, str(splits.path[row]), folder / f"{row:07d}")
        yield images, work


def _spread(n: int, share: float) -> NDArray[np.int64]:
    """Return the places of a share of n, at least one if there is one, as far apart as they can be."""
    spread: NDArray[np.int64] = np.linspace(0, n - 1, min(n, max(1, round(share * n)))).astype(np.int64)
    return spread


def _folder(number: int, label: str) -> str:
    """Return the name of a class's folder: its number comes first, as the names are sorted and may be any text."""
    return f"{number:03d}-" + "".join(letter if letter.isalnum() else "_" for letter in label)[:40]


def _place(source: Source, path: str, stem: Path) -> None:
    file = source.root / path
    if file.suffix.lower() in (".png", ".jpg", ".jpeg") and file.is_file():
        shutil.copyfile(file, stem.with_suffix(file.suffix.lower()))
        return
    from_array(to_pixels(source.decode(path))).save(stem.with_suffix(".png"))


def say(text: str) -> None:
    """Tell on standard error how far it is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
