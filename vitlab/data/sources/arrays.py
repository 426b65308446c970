"""Sources that hold all images of a split in memory while they are decoded: MedMnist, Torchvision."""

import difflib
import os
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.data.decode import Decoded
from vitlab.data.manifest import Manifest
from vitlab.data.sources.base import Source, resolve_folder, resolve_root
from vitlab.npz import Damaged, read_arrays, shape_of


class MedMnist(Source):
    """A file of MedMNIST v2 (Yang et al. 2023, doi 10.1038/s41597-022-01721-8) in 2D, at any size, by its path.

    Labels are the publisher's numbers. A set with several labels an image (ChestMNIST) is not for a classifier.

    Args:
        path: The .npz; relative to $VITLAB_DATA or the working folder.
        name: Name of the data set; the file's where it is not given.
    """

    def __init__(self, path: str, name: str | None = None) -> None:
        self.file = resolve_root(path, "data.source.path")
        if self.file.is_dir():
            raise ValueError(f"{self.file} is a folder, but data.source.path must be a .npz file of MedMNIST")
        self.root, self.name = self.file.parent, name or self.file.stem
        self._images: dict[str, NDArray[Any]] = {}
        self._lock = threading.Lock()

    def manifest(self) -> Manifest:
        """Return the images with the published splits.

        Raises:
            ValueError: It is no such file, has 3D images or several labels an image.
        """
        rows: list[tuple[str, str, str]] = []
        labels = {split: self._array(f"{split}_labels") for split in ("train", "val", "test")}
        if (shape := self._shape("train_images")) and (len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3)):
            raise ValueError(f"{self.file} has images of shape {shape[1:]}: only 2D images, gray or colour, are read")
        if odd := next((split for split, values in labels.items() if values.dtype.kind not in "biu"), None):
            raise ValueError(f"{self.file} is no file of MedMNIST: {odd}_labels are no whole numbers")
        digits = max(len(str(values.max(initial=0))) for values in labels.values())  # so that names sort as numbers
        for split, values in labels.items():
            if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
                raise ValueError(
                    f"{self.file} has several labels an image, which a classifier cannot learn: take another set"
                )
            numbers = (f"{int(value):0{digits}d}" for value in values.ravel())
            rows += [(f"{self.file.name}#{split}/{index}", label, split) for index, label in enumerate(numbers)]
        return Manifest(dict(zip(("path", "label", "split"), zip(*rows, strict=True), strict=True)), self.root)

    def decode(self, path: str) -> Decoded:
        """Return the image, uint8 (H, W) or (H, W, 3)."""
        split, _, index = path.rpartition("#")[2].partition("/")
        with self._lock:
            if split not in self._images:
                self._images[split] = self._array(f"{split}_images")
        image: NDArray[Any] = self._images[split][int(index)]
        return image

    def close(self) -> None:
        """Free the images."""
        self._images = {}

    def _array(self, key: str) -> NDArray[Any]:
        try:
            return read_arrays(self.file, [key])[0]
        except Damaged as error:
            raise ValueError(f"{self.file} is no file of MedMNIST: {error}") from None

    def _shape(self, key: str) -> tuple[int, ...]:
        try:
            return shape_of(self.file, key)
        except Damaged as error:
            raise ValueError(f"{self.file} is no file of MedMNIST: {error}") from None


class Torchvision(Source):
    """A set that torchvision reads, with the published splits, from files on disk unless told to download.

    Args:
        dataset: CIFAR10, CIFAR100, FashionMNIST, KMNIST, MNIST, STL10 or SVHN.
        root: Folder that torchvision knows as root; relative to $VITLAB_DATA or the working folder.
        download: Whether to fetch the files where they are missing.
        name: Name of the data set; torchvision's in small letters where it is not given.
    """

    # Where the files lie below root, which the cache watches for changes.
    FILES: Final = {
        "CIFAR10": "cifar-10-batches-py",
        "CIFAR100": "cifar-100-python",
        "FashionMNIST": "FashionMNIST/raw",
        "KMNIST": "KMNIST/raw",
        "MNIST": "MNIST/raw",
        "STL10": "stl10_binary",
        "SVHN": "{split}_32x32.mat",
    }

    def __init__(self, dataset: str, root: str, download: bool = False, name: str | None = None) -> None:
        if dataset not in self.FILES:
            close = difflib.get_close_matches(dataset.lower(), [known.lower() for known in self.FILES], n=1)
            hint = next((f" (did you mean {known}?)" for known in self.FILES if [known.lower()] == close), "")
            raise ValueError(f"no torchvision data set {dataset!r} here{hint}: there are {', '.join(self.FILES)}")
        self.dataset, self.download, self.name = dataset, download, name or dataset.lower()
        if download:  # torchvision makes the folder
            self.root = Path(os.path.expanduser(os.environ.get("VITLAB_DATA", ""))) / os.path.expanduser(root)
        else:
            self.root = resolve_folder(root)
        self._sets: dict[str, Any] = {}
        self._lock = threading.Lock()

    def manifest(self) -> Manifest:
        """Return the images with the published train and test split.

        Raises:
            FileNotFoundError: The files are not there, or cannot be downloaded.
        """
        rows: list[tuple[str, str, str]] = []
        for split in ("train", "test"):
            data = self._set(split)
            targets = np.asarray(data.targets if hasattr(data, "targets") else data.labels).tolist()
            names = getattr(data, "classes", None) or [str(number) for number in range(10)]  # SVHN has digits
            files = self.FILES[self.dataset].format(split=split)
            rows += [(f"{files}#{split}/{index}", names[target], split) for index, target in enumerate(targets)]
        return Manifest(dict(zip(("path", "label", "split"), zip(*rows, strict=True), strict=True)), self.root)

    def decode(self, path: str) -> Decoded:
        """Return the image as torchvision gives it."""
        split, _, index = path.rpartition("#")[2].partition("/")
        image: Image.Image = self._set(split)[int(index)][0]
        return image

    def close(self) -> None:
        """Free the images."""
        self._sets = {}

    def _set(self, split: str) -> Any:
        from torchvision import datasets

        with self._lock:
            if split not in self._sets:
                which = {"split": split} if self.dataset in ("STL10", "SVHN") else {"train": split == "train"}
                try:
                    self._sets[split] = getattr(datasets, self.dataset)(self.root, download=self.download, **which)
                except (OSError, RuntimeError, ValueError, EOFError) as error:
                    reason = " ".join(str(error).split())
                    fix = "is there a network?" if self.download else "put them there, or set data.source.download=true"
                    raise FileNotFoundError(
                        f"the files of {self.dataset} are not in {self.root}, or damaged ({reason}): {fix}"
                    ) from None
            return self._sets[split]
