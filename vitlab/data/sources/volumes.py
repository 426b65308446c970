"""What slices of volumes share, in whatever format: gray values by a window, square pixels, which hold a head.

Shapes: S slices of a volume, H, W pixels of a slice, top to bottom and left to right as a radiologist sees them.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Choices, not measurements. The ends of the window are those that keep single bright voxels from making all else dark.
PERCENTILES = (0.5, 99.5)
MIN_HEAD = 0.1  # share of a slice's pixels that are brighter, from which it has a head in it
HEAD_LEVEL = 0.1  # of the window: noise around a head is darker, tissue brighter
MOST_VOXELS = 2**28  # 1024 slices of 512 x 512 pixels; a header that claims more is taken for damaged
MOST_STRETCH = 32  # ratio of a pixel's sides, beyond which its spacing is taken for damaged
_VOLUMES = 8  # held at once: as many as threads decode, each another volume

Window = tuple[float, float]  # values that become black and white


@dataclass(frozen=True)
class Volume:
    """A volume, or one picture as a volume of one slice.

    Attributes:
        slices: uint8 (S, H, W), or (S, H, W, 3) in colour.
        spacing: Height and width of a pixel, in mm or whatever unit; only their ratio counts.
    """

    slices: NDArray[np.uint8]
    spacing: tuple[float, float] = (1.0, 1.0)

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Return one slice with square pixels, (H', W') or (H', W', 3).

        Raises:
            ValueError: There is no such slice, or its spacing is none.
        """
        if not 0 <= number < len(self.slices):
            raise ValueError(f"it has {len(self.slices)} slices, and none of number {number}")
        return square_pixels(self.slices[number], self.spacing)


def split_member(path: str) -> tuple[str, int]:
    """Return the file and the number of the slice or frame in it of a manifest's path, such as a/x.nii#axial/17."""
    file, _, member = path.rpartition("#")
    return file, int(member.rpartition("/")[2])


def windowed(values: NDArray[Any], window: Window | None) -> NDArray[np.uint8]:
    """Turn values into gray: the window's lower end and below black, its upper end and above white.

    Args:
        values: Of any shape and numeric type.
        window: The ends; null takes the 0.5 and 99.5 percentiles of all values.

    Raises:
        ValueError: No value is finite.
    """
    values = values.astype(np.float32)
    if not (finite := np.isfinite(values)).all():
        if not finite.any():
            raise ValueError("it holds no finite value")
        low = values[finite].min()
        values = np.nan_to_num(values, nan=low, posinf=values[finite].max(), neginf=low)
    low, high = map(float, np.percentile(values, PERCENTILES) if window is None else window)
    if window is None and high <= low:  # nearly all is background: then the few bright voxels are the picture
        low, high = float(values.min()), float(values.max())
    values -= low
    values *= 255 / (high - low) if high > low else 0
    gray: NDArray[np.uint8] = np.rint(values.clip(0, 255)).astype(np.uint8)
    return gray


def check_window(window: Window | None) -> None:
    """Refuse a window that has no width.

    Raises:
        ValueError: It is one.
    """
    if window is not None and not window[0] < window[1]:
        raise ValueError(f"data.source.window is {list(window)}: give the value of black and a larger one of white")


def head_shares(slices: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of each slice's pixels that are brighter than a tenth of the window, (S,)."""
    gray = slices if slices.ndim == 3 else slices.max(-1)
    shares: NDArray[np.float64] = (gray > HEAD_LEVEL * 255).mean((1, 2))
    return shares


def square_pixels(picture: NDArray[np.uint8], spacing: tuple[float, float]) -> NDArray[np.uint8]:
    """Stretch a picture whose pixels are not square, so that anatomy has its proportions.

    Args:
        picture: (H, W) or (H, W, 3).
        spacing: Height and width of a pixel.

    Raises:
        ValueError: The spacing is no size of a pixel.
    """
    height, width = spacing
    if not (np.isfinite(spacing).all() and min(spacing) > 0 and max(spacing) < MOST_STRETCH * min(spacing)):
        raise ValueError(f"its pixels are {height:g} x {width:g}, which is no size")
    if abs(height / width - 1) < 0.01:
        return picture
    finer = min(spacing)
    size = max(1, round(picture.shape[1] * width / finer)), max(1, round(picture.shape[0] * height / finer))
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BILINEAR))


class Shelf:
    """The last few volumes, so that their slices are not each a reading of the whole file; several threads may ask.

    Args:
        read: Returns the volume of a name.
    """

    def __init__(self, read: Callable[[str], Volume]) -> None:
        self._read = read
        self._held: OrderedDict[str, Volume] = OrderedDict()
        self._reading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Volume:
        """Return a volume, read once while it is held."""
        with self._lock:
            reading = self._reading.setdefault(name, threading.Lock())
        with reading:
            with self._lock:
                if name in self._held:
                    self._held.move_to_end(name)
                    return self._held[name]
            volume = self._read(name)
            with self._lock:
                self._held[name] = volume
                while len(self._held) > _VOLUMES:
                    self._reading.pop(self._held.popitem(last=False)[0], None)
        return volume

    def clear(self) -> None:
        """Free all."""
        with self._lock:
            self._held.clear()
            self._reading.clear()
