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
    in case are one. Hidden files are passed over, other files that are no images counted in one warning, and so are
    links to folders that are read anyway. A folder of images alone has no labels: `predict` takes it.

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
        repeats = {folder for folder in folders if _leads_back(folder, self.root)}
        folders = [folder for folder in folders if folder not in repeats]
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
        images, others, skipped = _images(labels, self.root)
        strays += others
        repeats.update(skipped)
        rows: list[tuple[str, str, str]] = []
        for split in SPLITS:
            for folder in labels.get(split, []):
                if not images[folder] and folder not in skipped:
                    warnings.warn(f"the class folder {folder} has no images and is left out", stacklevel=2)
                label = canonical.get(folder.name, folder.name)
                rows += [(image.relative_to(self.root).as_posix(), label, split) for image in images[folder]]
        if not rows and not folders:
            rows = [(image.name, "", "") for image in strays if image.suffix.lower() in SUFFIXES]
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
        if repeats:
            example = min(repeats).relative_to(self.root)
            where = f"{self.root}: links to folders that are read anyway are left out"
            warnings.warn(f"{where} ({len(repeats)}, e.g. {example})", stacklevel=2)
        return Manifest(dict(zip(("path", "label", "split"), zip(*rows, strict=True), strict=True)), self.root)


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the visible folders and files in a folder, sorted."""
    entries = sorted(entry for entry in folder.iterdir() if not _hidden(entry.name))
    return [entry for entry in entries if entry.is_dir()], [entry for entry in entries if not entry.is_dir()]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _images(labels: dict[str, list[Path]], root: Path) -> tuple[dict[Path, list[Path]], list[Path], list[Path]]:
    """Return the image files of each class folder, the other files, and the links that lead to what is read anyway.

    Links are followed last, and to each folder once a split. A class folder may be a link to one of another split, and
    has its images then; a link inside a class folder may not lead to another class folder.

    Args:
        labels: Class folders of each split.
        root: Folder of all.
    """
    images: dict[Path, list[Path]] = {folder: [] for folders in labels.values() for folder in folders}
    others: list[Path] = []
    repeats: list[Path] = []
    seen: dict[str, set[str]] = {split: set() for split in labels}
    classes: set[str] = set()  # what is seen without a link inside a class folder
    queue = [(folder, folder, split) for split, folders in labels.items() for folder in folders]
    queue.sort(key=lambda item: item[0].is_symlink())
    for top, folder, split in queue:  # which grows
        if _leads_back(top, root):
            repeats.append(top)
            continue
        for parent, names, files in os.walk(top):
            real = os.path.realpath(parent)
            if real in seen[split] or (top != folder and real in classes):
                repeats.append(Path(parent))
                names.clear()
                continue
            seen[split].add(real)
            if top == folder:
                classes.add(real)
            names[:] = sorted(name for name in names if not _hidden(name))
            queue += [(path, folder, split) for name in names if (path := Path(parent, name)).is_symlink()]
            for file in files:
                if not _hidden(file):
                    image = os.path.splitext(file)[1].lower() in SUFFIXES
                    (images[folder] if image else others).append(Path(parent, file))
    return {folder: sorted(found) for folder, found in images.items()}, others, repeats


def _leads_back(folder: Path, root: Path) -> bool:
    """Say whether a folder is a link to one that holds the link itself, or all images."""
    return folder.is_symlink() and any(
        Path(os.path.realpath(inside)).is_relative_to(os.path.realpath(folder)) for inside in (folder.parent, root)
    )


def _one_spelling(splits: list[list[str]]) -> dict[str, str]:
    """Return class name -> its spelling in the first split, unless case tells classes of one split apart."""
    spelling: dict[str, str] = {}
    for listed in splits:
        if len({name.casefold() for name in listed}) < len(listed):
            return {}
        for name in listed:
            spelling.setdefault(name.casefold(), name)
    return {name: spelling[name.casefold()] for listed in splits for name in listed}
