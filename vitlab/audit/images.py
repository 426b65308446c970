"""One pass over the files: what every check of the audit needs to know of an image.

Shapes: N images, S = FRAME pixels.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.audit.content import canonical, content_box, to_eight_bits, trim
from vitlab.audit.files.text import text_marks
from vitlab.audit.memo import Memo, code_digest
from vitlab.audit.progress import in_threads
from vitlab.data.cache import file_digests
from vitlab.data.decode import Decoded, reason, to_pixels
from vitlab.data.manifest import Manifest
from vitlab.data.reserved import reserve

FRAME = 96  # side in pixels of what pairs are compared on: half of a 256 px image still fills it
_STRINGS = ("error", "file_sha", "pixel_sha", "trimmed_sha", "mode", "quantisation")
_NUMBERS = ("width", "height", "file_bytes", "text", "spread", "box")
_BLOCK = 16  # images that a thread reads at a time
_BLANK = 3.0  # gray levels of deviation: a flat picture resembles every other flat one


@dataclass(frozen=True)
class Images:
    """What the files hold. Rows are the manifest's; where error is not "", the other facts are empty or zero.

    Attributes:
        error: Why the image cannot be read, "" where it can, str (N,).
        file_sha: Digest of the file's bytes, "" for members of containers, str (N,).
        pixel_sha: Digest of the decoded pixels and their shape, gray and colour alike where the colour is gray, and
            lossless copies at another depth too, (N,).
        trimmed_sha: Digest of the pixels without uniform rows and columns at the sides, (N,).
        mode: Pillow's mode as stored, e.g. L, RGB, P, I;16; the dtype's name for arrays, (N,).
        quantisation: Digest of the JPEG quantisation tables, "" for other formats, (N,).
        width: Pixels, (N,).
        height: Pixels, (N,).
        file_bytes: Size of the file, 0 for members of containers, (N,).
        text: Number of marks in the picture that look like letters, (N,).
        spread: Standard deviation of the object's gray levels, (N,).
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
    spread: NDArray[np.float32]
    box: NDArray[np.float32]
    frames: NDArray[np.uint8]
    content: NDArray[np.uint8]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether each image could be read, (N,)."""
        readable: NDArray[np.bool_] = self.error == ""
        return readable

    @property
    def pictured(self) -> NDArray[np.bool_]:
        """Whether each image shows something: it could be read and is not blank, (N,)."""
        shown: NDArray[np.bool_] = self.ok & (self.spread > _BLANK)
        return shown

    def __len__(self) -> int:
        return len(self.error)


def read_images(manifest: Manifest, decode: Callable[[str], Decoded], memo: Memo) -> Images:
    """Read every image once, in threads; a second call for the same files takes the memo's.

    Where the manifest is another one, such as a repaired one, the files that an earlier call has read are taken over.

    Args:
        manifest: Names the images.
        decode: Opens a path of the manifest; called from several threads at once.
        memo: Keeps the facts of these files.
    """
    shape = (len(manifest), FRAME, FRAME)

    def compute(folder: Path) -> None:
        arrays = {name: reserve(folder / f"{name}.npy", shape) for name in ("frames", "content")}
        facts: list[dict[str, Any]] = [{}] * len(manifest)
        files, how = file_digests(manifest), f"{code_digest()} {decode.__module__}.{decode.__qualname__} {FRAME}"
        for kept in memo.earlier("images") if "<" not in how else ():  # what a test's lambda does is not in its name
            _take_over(kept, how, files, arrays, facts)
        todo = [row for row, fact in enumerate(facts) if not fact]

        def read(part: slice) -> None:
            for row in todo[part]:
                path, squares = str(manifest.path[row]), [arrays[name][row] for name in ("frames", "content")]
                try:
                    facts[row] = _facts(manifest.root / path, decode(path), *squares)
                except Exception as error:  # decoders raise anything from struct.error to SyntaxError
                    facts[row] = {"error": reason(error)}

        if todo:
            in_threads(read, len(todo), _BLOCK, "reading images")
        np.save(folder / "files.npy", files)
        (folder / "how").write_text(how, encoding="utf-8")
        for name in _STRINGS:
            values = np.array([fact.get(name, "") for fact in facts], dtype=np.str_)
            np.save(folder / f"{name}.npy", values)
        for name in _NUMBERS:
            empty = [0.0] * 4 if name == "box" else 0
            kind = np.float32 if name in ("box", "spread") else np.int64
            np.save(folder / f"{name}.npy", np.array([fact.get(name, empty) for fact in facts], kind))

    def mended(images: Images) -> bool:
        return any(_reads(decode, str(manifest.path[row])) for row in np.flatnonzero(~images.ok))

    return memo.get("images", [FRAME], compute, _load, stale=mended)


def _load(folder: Path) -> Images:
    columns: dict[str, Any] = {name: np.load(folder / f"{name}.npy").astype(object) for name in _STRINGS}
    columns |= {name: np.load(folder / f"{name}.npy") for name in _NUMBERS}
    columns |= {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("frames", "content")}
    return Images(**columns)


def _take_over(
    kept: Path, how: str, files: NDArray[np.bytes_], arrays: dict[str, NDArray[np.uint8]], facts: list[dict[str, Any]]
) -> None:
    """Fill in what was read of the same files in the same way, but for images that could not be read.

    Args:
        kept: Folder of an earlier result.
        how: The code and the decoder, in words.
        files: Digest of each row's file, (N,).
        arrays: The squares to fill, (N, S, S) each.
        facts: Of each row, empty where nothing is known yet.
    """
    try:
        if (kept / "how").read_text(encoding="utf-8") != how:
            return
        known, images = np.load(kept / "files.npy"), _load(kept)
        _, rows, there = np.intersect1d(files, known, return_indices=True)
        new = np.array([files[row] != b"" and not facts[row] for row in rows], bool) & images.ok[there]
        rows, there = rows[new], there[new]
        for name, squares in arrays.items():
            squares[rows] = getattr(images, name)[there]
        for row, at in zip(rows, there, strict=True):
            facts[row] = {name: getattr(images, name)[at] for name in (*_STRINGS, *_NUMBERS)}
    except (OSError, ValueError, EOFError, IndexError):  # an earlier version's, or damaged
        return


def _reads(decode: Callable[[str], Decoded], path: str) -> bool:
    """Say whether an image that could not be read can be now: rights and mounts change without the file."""
    try:
        to_pixels(decode(path))
    except Exception:  # as in read_images
        return False
    return True


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
    gray = to_eight_bits(pixels)
    picture = Image.fromarray(gray)
    height, width = gray.shape
    stripped = trim(pixels)
    digest = _digest_array(canonical(pixels))
    box = content_box(gray)
    frame[:] = np.asarray(picture.resize((FRAME, FRAME), Image.Resampling.BILINEAR))
    corners = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    content[:] = np.asarray(picture.resize((FRAME, FRAME), Image.Resampling.BILINEAR, corners))
    return {
        "file_sha": _digest(stored) if stored else "",
        "pixel_sha": digest,
        "trimmed_sha": digest if stripped is pixels else _digest_array(canonical(stripped)),
        "mode": mode,
        "quantisation": _digest(repr(sorted(tables.items())).encode()) if tables else "",
        "width": width,
        "height": height,
        "file_bytes": len(stored),
        "text": text_marks(gray),
        "spread": float(content.std()),
        "box": box,
    }


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _digest_array(pixels: NDArray[Any]) -> str:
    digest = hashlib.blake2b(f"{pixels.shape} {pixels.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
