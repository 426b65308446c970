"""What every source is, and where its folder is found."""

import os
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitlab.data.decode import Decoded, open_image, to_mask
from vitlab.data.manifest import Manifest


def resolve_root(root: str | Path, setting: str = "data.source.root") -> Path:
    """Find a folder or file: as it is if absolute, else in $VITLAB_DATA, else in the working folder.

    Args:
        root: What to find.
        setting: Its name in messages.

    Raises:
        FileNotFoundError: It is in neither.
    """
    # os's leaves a home that there is not as it stands, to be named below
    path, data = Path(os.path.expanduser(root)), os.environ.get("VITLAB_DATA")
    above = [Path(os.path.expanduser(data))] if data else []
    places = [path] if path.is_absolute() else [folder / path for folder in (*above, Path.cwd())]
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
