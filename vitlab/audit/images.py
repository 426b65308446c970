"""One pass over the files: what every check of the audit needs to know of an image.

Shapes: N images, S = FRAME pixels.
"""

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.audit.files.text import text_marks
from vitlab.audit.memo import Memo
from vitlab.audit.progress import in_threads
from vitlab.data.decode import Decoded, reason, to_pixels
from vitlab.data.manifest import Manifest

VERSION = 2  # part of the memo's key: raise it whenever a fact changes
FRAME = 96  # side in pixels of what pairs are compared on: half of a 256 px image still fills it
_STRINGS = ("error", "file_sha", "pixel_sha", "trimmed_sha", "mode", "quantisation")
_NUMBERS = ("width", "height", "file_bytes", "text", "box")
_CONTENT_SIDE = 128  # pixels; the object's box needs no more
_CONTENT_LEVEL = 0.12  # of the range from background to the brightest half per cent
_CONTENT_SHARE = 0.03  # of a row or column above that level, so that specks of dust do not count
_FLAT = 12.0  # gray levels between the ends of a line of padding, JPEG's ringing included


@dataclass(frozen=True)
class Images:
    """What the files hold. Rows are the manifest's; where error is not "", the other facts are empty or zero.

    Attributes:
        error: Why the image cannot be read, "" where it can, str (N,).
        file_sha: Digest of the file's bytes, "" for members of containers, str (N,).
        pixel_sha: Digest of the decoded pixels and their shape; gray and colour alike where the colour is gray, (N,).
        trimmed_sha: Digest of the pixels without uniform rows and columns at the sides, (N,).
        mode: Pillow's mode as stored, e.g. L, RGB, P, I;16; the dtype's name for arrays, (N,).
        quantisation: Digest of the JPEG quantisation tables, "" for other formats, (N,).
        width: Pixels, (N,).
        height: Pixels, (N,).
        file_bytes: Size of the file, 0 for members of containers, (N,).
        text: Number of marks in the picture that look like letters, (N,).
        box: Where the object is, without empty background: left, top, right, bottom as shares, (N, 4).
        frames: The whole image stretched to a square, gray, uint8 (N, S, S).
        content: The same of the box alone, uint8 (N, S, S).
    """

    error: NDArray[Any]
    file_sha: NDArray[Any]
    pixel_sha: NDArray[Any]
    trimmed_sha: NDArray[Any]
    mode: NDArray[Any]
    quantisation: NDArray[Any]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    file_bytes: NDArray[np.int64]
    text: NDArray[np.int64]
    box: NDArray[np.float32]
    frames: NDArray[np.uint8]
    content: NDArray[np.uint8]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether each image could be read, (N,)."""
        readable: NDArray[np.bool_] = self.error == ""
        return readable

    def __len__(self) -> int:
        return len(self.error)


def read_images(manifest: Manifest, decode: Callable[[str], Decoded], memo: Memo) -> Images:
    """Read every image once, in threads; a second call for the same files takes the memo's.

    Args:
        manifest: Names the images.
        decode: Opens a path of the manifest; called from several threads at once.
        memo: Keeps the facts of these files.
    """
    shape = (len(manifest), FRAME, FRAME)

    def compute(folder: os.PathLike[str]) -> None:
        arrays = {
            name: np.lib.format.open_memmap(os.path.join(folder, f"{name}.npy"), "w+", np.uint8, shape)
            for name in ("frames", "content")
        }
        facts: list[dict[str, Any]] = [{}] * len(manifest)

        def read(row: int) -> None:
            path = str(manifest.path[row])
            try:
                facts[row] = _facts(manifest.root / path, decode(path), arrays["frames"][row], arrays["content"][row])
            except Exception as error:  # decoders raise anything from struct.error to SyntaxError
                facts[row] = {"error": reason(error)}

        in_threads(read, len(manifest), "reading images")
        for name in _STRINGS:
            values = np.array([fact.get(name, "") for fact in facts], dtype=np.str_)
            np.save(os.path.join(folder, f"{name}.npy"), values)
        for name in _NUMBERS:
            empty = [0.0] * 4 if name == "box" else 0
            kind = np.float32 if name == "box" else np.int64
            np.save(os.path.join(folder, f"{name}.npy"), np.array([fact.get(name, empty) for fact in facts], kind))
        for array in arrays.values():
            array.flush()

    folder = memo.folder("images", [VERSION, FRAME], compute)
    columns: dict[str, Any] = {name: np.load(folder / f"{name}.npy").astype(object) for name in _STRINGS}
    columns |= {name: np.load(folder / f"{name}.npy") for name in _NUMBERS}
    columns |= {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("frames", "content")}
    return Images(**columns)


def _facts(
    path: os.PathLike[str], image: Decoded, frame: NDArray[np.uint8], content: NDArray[np.uint8]
) -> dict[str, Any]:
    """Return the facts of one image and fill its two squares."""
    mode = image.mode if isinstance(image, Image.Image) else f"array {image.dtype}"
    tables = getattr(image, "quantization", None)
    try:
        with open(path, "rb") as file:
            stored = file.read()
    except (OSError, ValueError):  # a member of a container
        stored = b""
    pixels = to_pixels(image)
    if not pixels.size:
        raise ValueError("it has no pixels")
    gray = _to_eight_bits(pixels)
    picture = Image.fromarray(gray)
    height, width = gray.shape
    box = content_box(gray)
    frame[:] = np.asarray(picture.resize((FRAME, FRAME), Image.Resampling.BILINEAR))
    corners = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    content[:] = np.asarray(picture.resize((FRAME, FRAME), Image.Resampling.BILINEAR, corners))
    return {
        "file_sha": _digest(stored) if stored else "",
        "pixel_sha": _digest_array(pixels),
        "trimmed_sha": _digest_array(_trim(pixels)),
        "mode": mode,
        "quantisation": _digest(repr(sorted(tables.items())).encode()) if tables else "",
        "width": width,
        "height": height,
        "file_bytes": len(stored),
        "text": text_marks(gray),
        "box": box,
    }


def content_box(gray: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return where the object is: left, top, right, bottom as shares of the image (H, W); all of it where unclear."""
    step = max(1, max(gray.shape) // _CONTENT_SIDE)
    height, width = gray.shape[0] // step, gray.shape[1] // step
    small = gray[: height * step, : width * step].reshape(height, step, width, step).mean((1, 3), dtype=np.float32)
    if min(small.shape) < 8:
        return 0.0, 0.0, 1.0, 1.0
    first_row, last_row, first_column, last_column = _inside_bands(small)
    window = small[first_row:last_row, first_column:last_column]
    background = np.median(np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]]))
    bright = np.percentile(window, 99.5)
    inside = window > background + _CONTENT_LEVEL * max(float(bright - background), 8.0)
    rows = np.flatnonzero(inside.mean(1) > _CONTENT_SHARE)
    columns = np.flatnonzero(inside.mean(0) > _CONTENT_SHARE)
    if not len(rows) or not len(columns):
        return 0.0, 0.0, 1.0, 1.0
    top, bottom = float(first_row + rows[0]) / height, float(first_row + rows[-1] + 1) / height
    left, right = float(first_column + columns[0]) / width, float(first_column + columns[-1] + 1) / width
    if (bottom - top) < 0.2 or (right - left) < 0.2:
        return 0.0, 0.0, 1.0, 1.0
    return left, top, right, bottom


def _inside_bands(small: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Return rows and columns (first, behind the last, each) without flat bright bands at the sides: padding in white.

    Dark bands are left to the search for the background, which knows them from dark anatomy.
    """
    edges = [0, small.shape[0], 0, small.shape[1]]
    level = small.min() + 0.25 * (small.max() - small.min())
    changed = True
    while changed:
        changed = False
        window = small[edges[0] : edges[1], edges[2] : edges[3]]
        for side, line in enumerate((window[0], window[-1], window[:, 0], window[:, -1])):
            if np.ptp(line) <= _FLAT and line.mean() > level and min(window.shape) > 8:
                edges[side] += 1 if side % 2 == 0 else -1
                changed = True
                break
    return edges[0], edges[1], edges[2], edges[3]


def _to_eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return gray of 8 bits, (H, W); other depths from their own minimum and maximum, as training does."""
    if pixels.ndim == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def _trim(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels without the uniform rows and columns at the sides: what padding of any colour adds."""
    while True:
        before = pixels.shape
        for axis in (0, 1):
            lines = np.moveaxis(pixels, axis, 0)
            lines = lines.reshape(len(lines), -1, pixels.shape[2] if pixels.ndim == 3 else 1)
            varied = np.flatnonzero((lines != lines[:, :1]).any((1, 2)))
            if not len(varied):
                return pixels  # of one colour: nothing would be left
            kept = slice(varied[0], varied[-1] + 1)
            pixels = pixels[kept] if axis == 0 else pixels[:, kept]
        if pixels.shape == before:
            return pixels


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _digest_array(pixels: NDArray[Any]) -> str:
    buffer = io.BytesIO(f"{pixels.shape} {pixels.dtype.str}".encode())
    buffer.seek(0, io.SEEK_END)
    buffer.write(np.ascontiguousarray(pixels).tobytes())
    return _digest(buffer.getvalue())
