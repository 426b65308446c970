"""ImageFolder: a folder a class."""

import os
import warnings
from pathlib import Path

from vitlab.data.manifest import SPLITS, Manifest
from vitlab.data.sources.base import Source, resolve_folder

SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .jp2 .pbm .pgm .png .ppm .tif .tiff .webp".split())
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


class ImageFolder(Source):
    """A folder a class, inside train, val and test folders or not.

    `root/<class>/...` is all training, to be cut later. `root/<split>/<class>/...` has published splits: train or
    training, val, valid or validation, test or testing, in any case. Class folders of several splits that differ only
    in case are one. Hidden files are passed over, other files that are no images counted in one warning. A folder of
    images alone has no labels: `predict` takes it.

    Args:
        root: The folder; relative to $VITLAB_DATA or the working folder.
        name: Name of the data set; the folder's where it is not given.
    """

    def __init__(self, root: str, name: str | None = None) -> None:
        self.root = resolve_folder(root)
        self.name = name or self.root.resolve().name

    def manifest(self) -> Manifest:
        """Return the images, sorted by split, class and path.

        Raises:
            ValueError: There is no image, no training folder, or a split twice.
        """
        folders, strays = _listing(self.root)
        splits: dict[str, Path] = {}
        for folder in folders:
            if split := SPLIT_NAMES.get(folder.name.lower()):
                if split in splits:
                    raise ValueError(f"{self.root} has both {splits[split].name} and {folder.name}: remove one")
                splits[split] = folder
        if splits and "train" not in splits:
            found = ", ".join(folder.name for folder in splits.values())
            raise ValueError(f"{self.root} has {found} but no train folder: add one")
        if splits:
            strays += [folder for folder in folders if folder not in splits.values()]
        else:
            splits = {"train": self.root}

        labels: dict[str, list[Path]] = {}
        for split, folder in splits.items():
            labels[split], loose = _listing(folder)
            strays += loose if folder != self.root else []
        canonical = _one_spelling([[folder.name for folder in labels[split]] for split in SPLITS if split in labels])
        rows: list[tuple[str, str, str]] = []
        for split in SPLITS:
            for folder in labels.get(split, []):
                images, others = _images(folder)
                strays += others
                if not images:
                    warnings.warn(f"the class folder {folder} has no images and is left out", stacklevel=2)
                label = canonical.get(folder.name, folder.name)
                rows += [(image.relative_to(self.root).as_posix(), label, split) for image in images]
        if not rows and not folders:
            rows = [(image.name, "", "") for image in _images(self.root)[0]]
            strays = [path for path in strays if path.suffix.lower() not in SUFFIXES]
        if not rows:
            raise ValueError(
                f"no image in a class folder of {self.root}: put images into {self.root}/<class>/ or "
                f"{self.root}/train/<class>/"
            )
        if strays:
            example = min(strays).relative_to(self.root)
            warnings.warn(
                f"{len(strays)} files or folders in {self.root} are no image and left out, e.g. {example}", stacklevel=2
            )
        return Manifest(dict(zip(("path", "label", "split"), zip(*rows, strict=True), strict=True)), self.root)


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the visible folders and files in a folder, sorted."""
    entries = sorted(entry for entry in folder.iterdir() if not _hidden(entry.name))
    return [entry for entry in entries if entry.is_dir()], [entry for entry in entries if not entry.is_dir()]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the image files and the other files below a folder, linked folders included once."""
    images: list[Path] = []
    others: list[Path] = []
    seen: set[str] = set()
    for parent, names, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = [name for name in names if not _hidden(name)]
        for file in files:
            if not _hidden(file):
                (images if os.path.splitext(file)[1].lower() in SUFFIXES else others).append(Path(parent, file))
    return sorted(images), others


def _one_spelling(splits: list[list[str]]) -> dict[str, str]:
    """Return class name -> its spelling in the first split, unless case tells classes of one split apart."""
    spelling: dict[str, str] = {}
    for listed in splits:
        if len({name.casefold() for name in listed}) < len(listed):
            return {}
        for name in listed:
            spelling.setdefault(name.casefold(), name)
    return {name: spelling[name.casefold()] for listed in splits for name in listed}
