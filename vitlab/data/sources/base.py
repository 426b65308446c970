"""What every source is, and where its folder is found."""

import os
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.data.decode import Decoded, open_image
from vitlab.data.manifest import Manifest

_LABELS = 16  # values in a mask, at most, that are labels and no gray edges
_LOSSY = ("JPEG", "JPEG2000", "MPO", "WEBP", "AVIF")


def resolve_root(root: str | Path, setting: str = "data.source.root") -> Path:
    """Find a folder or file: as it is if absolute, else in $VITLAB_DATA, else in the working folder.

    Args:
        root: What to find.
        setting: Its name in messages.

    Raises:
        FileNotFoundError: It is in neither.
    """
    path, data = Path(root).expanduser(), os.environ.get("VITLAB_DATA")
    places = [path] if path.is_absolute() else [*([Path(data).expanduser() / path] if data else []), Path.cwd() / path]
    for place in places:
        if place.exists():
            return place
    where = "VITLAB_DATA" if data else "VITLAB_DATA (not set)"
    if path.is_absolute():
        raise FileNotFoundError(f"there is no {path}: correct {setting}")
    raise FileNotFoundError(
        f"there is no {' and no '.join(map(str, places))}: correct {setting}, or set {where} to the folder that "
        f"holds {str(root)!r}"
    )


def resolve_folder(root: str | Path) -> Path:
    """Find a folder as `resolve_root` does.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is a file.
    """
    path = resolve_root(root)
    if not path.is_dir():
        raise ValueError(f"{path} is a file, but data.source.root must be a folder")
    return path


def to_mask(image: Image.Image) -> NDArray[np.bool_]:
    """Return where an image of a mask is lesion, bool (H, W).

    Few values are labels, as in BraTS, and all above a background of 0 are lesion. Many values are gray edges, and in a
    lossy format they are noise: there lesion is what is above half the largest.

    Args:
        image: Loaded or not.
    """
    deep = image.mode.startswith("I") or image.mode == "F"  # "L" would clip them at 255
    pixels = np.asarray(image if deep else image.convert("L"))
    mask: NDArray[np.bool_] = pixels > 0
    labels = image.format not in _LOSSY and not mask.all() and len(np.unique(pixels)) <= _LABELS
    return mask if labels else pixels > np.nanmax(pixels) / 2


class Source(ABC):
    """Images with labels.

    Attributes:
        name: Name of the data set in run folders and tables.
        root: Folder that the manifest's paths start from.
    """

    name: str
    root: Path

    @abstractmethod
    def manifest(self) -> Manifest:
        """Return one row per image."""

    def decode(self, path: str) -> Decoded:
        """Open a path of the manifest; several threads may do so at once."""
        return open_image(self.root / path)

    def read_mask(self, path: str) -> NDArray[np.bool_]:
        """Return the mask at a mask_path of the manifest, bool (H, W) at the size of the original image."""
        with open_image(self.root / path) as image:
            return to_mask(image)

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Free what decoding holds in memory; it is read again when needed."""
