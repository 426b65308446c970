"""The cache: every image decoded once into a uint8 memory map that all runs on the same images share.

Shapes: N images, C channels, H = W = image_size.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from vitlab.cores import cores
from vitlab.data.decode import Decoded, open_image, reason, to_uint8
from vitlab.data.manifest import Manifest
from vitlab.data.reserved import reserve
from vitlab.data.shards import CachedPixels, Shards, build_shards, rows_of_a_shard

__all__ = ["Decoded", "ImageCache", "build_cache", "cache_folder", "open_image", "to_uint8"]
VERSION = 2  # part of the key: raise it whenever a pixel changes
_HINT = "free some, or set VITLAB_CACHE or data.cache_dir to a folder elsewhere"
_BLOCK = 32  # images a task: enough that handing out tasks costs nothing beside decoding
_TRIES = 10  # at a damaged cache, which others may replace as often; one of another user is never removed
_NAMED = 10  # unreadable files named in a message; cache.json has them all


@dataclass(frozen=True)
class ImageCache:
    """Decoded images.

    Attributes:
        images: uint8 (N, C, H, W), read-only memory map in the manifest's order; zeros where ok is False. Of more
            than 4 GiB it is `Shards`, several files that are indexed alike.
        ok: Whether each image could be read, bool (N,).
        failures: (path, reason) of those that could not.
        folder: Where the cache lies; delete it to decode again.
    """

    images: CachedPixels
    ok: NDArray[np.bool_]
    failures: list[tuple[str, str]]
    folder: Path


def cache_folder() -> Path:
    """Return $VITLAB_CACHE, or vitlab's folder in the user's cache folder.

    Raises:
        ValueError: It is below a home that there is not.
    """
    chosen = os.environ.get("VITLAB_CACHE")
    folder = Path(chosen or os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return folder.expanduser() if chosen else folder.expanduser() / "vitlab"
    except RuntimeError:
        raise ValueError(f"there is no home for the cache {folder}: set VITLAB_CACHE to a folder elsewhere") from None


def build_cache(
    manifest: Manifest,
    *,
    image_size: int,
    channels: Literal[1, 3],
    fit: Literal["pad", "crop"],
    decode: Callable[[str], Decoded],
    on_error: Literal["raise", "skip"] = "raise",
    cache_dir: Path | None = None,
) -> ImageCache:
    """Open the cache of a manifest's images, made first where it does not exist or a file has changed.

    The key covers the paths in their order, the root, the settings and every file's size and time of change, but not
    labels or splits. Any number of processes may do this at once: each builds under a name of its own, and the first to
    finish wins. What lies in shards is built shard by shard: those that are done outlast a kill or a full disk.

    Args:
        manifest: Names the images.
        image_size: Side of the square images, in pixels.
        channels: 1 for gray, 3 for colour.
        fit: Pad with black to keep the whole image, or crop the centre square; both keep the aspect ratio.
        decode: Opens a path of the manifest; called from several threads at once.
        on_error: What unreadable images do: raise, or be listed in one warning and left out (ok is False).
        cache_dir: Folder for caches; null means `cache_folder()`.

    Raises:
        ValueError: Images cannot be read and on_error is raise, or none can.
        OSError: The disk is full or not writable.
    """
    if not len(manifest):
        raise ValueError(f"the manifest of {manifest.root} has no rows: no image was found")
    base = (cache_dir if cache_dir is not None else cache_folder()) / "images"
    key = _key(manifest, image_size, channels, fit, decode)
    folder = base / f"{image_size}px-{channels}ch-{key[:24]}"
    shape = (len(manifest), channels, image_size, image_size)
    cache = _open(folder, shape, manifest)
    if cache is None:
        temporary = base / f"{folder.name}.{uuid.uuid4().hex}.tmp"

        def decode_rows(target: Path, start: int, stop: int, part: str = "") -> list[tuple[int, str]]:
            failures = _decode_all(manifest.path[start:stop], target, shape, fit, decode, part)
            return [(start + row, why) for row, why in failures]

        def refuse(failures: list[tuple[int, str]]) -> None:
            if failures and (on_error == "raise" or len(failures) == len(manifest)):
                raise ValueError(_failure_line([(manifest.path[row], why) for row, why in failures], len(manifest)))

        try:
            _forget_killed(base, folder.name)
            if rows_of_a_shard(shape):
                built = base / f"{folder.name}.partial"
                build_shards(built, temporary, shape, decode_rows, refuse, _HINT)
            else:
                built = temporary
                reserve(built / "images.npy", shape, hint=_HINT)
                refuse(failures := decode_rows(built / "images.npy", 0, len(manifest)))
                (built / "cache.json").write_text(json.dumps({"failures": failures}), encoding="utf-8")
            _publish(built, folder, shape, manifest)
        except FileNotFoundError:  # another process has finished the same shards
            if _open(folder, shape, manifest) is None:
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        cache = _open(folder, shape, manifest)
        assert cache is not None, folder
    if cache.failures:
        line = _failure_line(cache.failures, len(manifest), left_out=on_error == "skip")
        if on_error == "raise":
            raise ValueError(line)
        warnings.warn(f"{line}; the list is in {folder / 'cache.json'}, delete {folder} to try again", stacklevel=2)
    return cache


def _key(manifest: Manifest, image_size: int, channels: int, fit: str, decode: Callable[[str], Decoded]) -> str:
    """Return the hex key: one stat a file, none for a further member of a container."""
    how = f"{getattr(decode, '__module__', '')}.{getattr(decode, '__qualname__', type(decode).__name__)}"
    settings = json.dumps([VERSION, str(manifest.root.resolve()), image_size, channels, fit, how])
    return files_digest(manifest, settings)


def files_digest(manifest: Manifest, settings: str = "") -> str:
    """Return a hex digest of a manifest's paths in their order and every file's size and time of change.

    Args:
        manifest: Names the files.
        settings: What else to digest, first; without it, the root.
    """
    digest = hashlib.sha256((settings or str(manifest.root.resolve())).encode())
    for path, (stamp, again) in zip(manifest.path, _stamps(manifest), strict=True):
        digest.update(f"{path}\0{'' if again else stamp}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def file_digests(manifest: Manifest) -> NDArray[np.bytes_]:
    """Return a digest of each row's root, path, and its file's size and time of change, b"" where that is not there."""
    root, found = str(manifest.root.resolve()), []
    for path, (stamp, _) in zip(manifest.path, _stamps(manifest), strict=True):
        facts = f"{root}\0{path}\0{stamp}".encode(errors="surrogateescape")
        found.append(hashlib.blake2b(facts, digest_size=16).hexdigest().encode() if stamp else b"")
    return np.array(found, dtype="S32")


def _stamps(manifest: Manifest) -> Iterator[tuple[str, bool]]:
    """Yield size and time of change of each row's file or container, and whether it is that of an earlier row."""
    root = str(manifest.root.resolve())
    containers: dict[str, str] = {}  # that are there: a#1.png may be a file that is not
    for path in manifest.path:
        container = path.rpartition("#")[0]
        again = container in containers
        stamp = containers[container] if again else _stamp(os.path.join(root, path))
        if not stamp and container and not again:
            if stamp := _stamp(os.path.join(root, manifest.stands_for.get(container, container))):
                containers[container] = stamp
        yield stamp, again


def _stamp(path: str) -> str:
    try:
        facts = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def _open(folder: Path, shape: tuple[int, ...], manifest: Manifest) -> ImageCache | None:
    """Open a finished cache, or return None where there is none or it is damaged."""
    try:
        facts = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
        listed, rows = [(int(row), str(why)) for row, why in facts["failures"]], facts.get("shard_rows")
        images: CachedPixels
        if rows:
            images = Shards(folder, shape, rows)
            images.check()
        else:
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        ok = np.ones(len(manifest), bool)
        ok[[row for row, _ in listed]] = False
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return None
    if images.shape != shape or images.dtype != np.uint8:
        return None
    return ImageCache(images, ok, [(manifest.path[row], why) for row, why in listed], folder)


def _forget_killed(base: Path, wanted: str) -> None:
    """Remove what processes that were killed a week ago have left, but for the shards of the cache that is wanted."""
    for old in (*base.glob("*.tmp"), *base.glob("*.partial")):
        with suppress(OSError):  # another process was first
            if old.name != f"{wanted}.partial" and time.time() - old.stat().st_mtime > 7 * 86400:
                shutil.rmtree(old, ignore_errors=True)


def _decode_all(
    paths: NDArray[Any],
    target: Path,
    shape: tuple[int, ...],
    fit: Literal["pad", "crop"],
    decode: Callable[[str], Decoded],
    part: str,
) -> list[tuple[int, str]]:
    """Decode every image into the file with threads; Pillow and h5py work outside the interpreter's lock.

    Returns:
        (row, reason) of the images that could not be read.
    """
    images = np.lib.format.open_memmap(target, mode="r+")
    _, channels, size, _ = shape

    def block(start: int) -> list[tuple[int, str]]:
        failures = []
        for row in range(start, min(start + _BLOCK, len(paths))):
            try:
                image = decode(paths[row])
                with image if isinstance(image, Image.Image) else nullcontext():
                    images[row] = to_uint8(image, size, channels, fit)
            except Exception as error:  # decoders raise anything from struct.error to SyntaxError
                failures.append((row, reason(error)))
        return failures

    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, cores() + 4)) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of broken metadata, once a file; the pixels are fine
        tasks = [pool.submit(block, start) for start in range(0, len(paths), _BLOCK)]
        try:
            failures = [failure for task in _progress(tasks, len(paths), size, part) for failure in task.result()]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    images.flush()
    return failures


def _progress(tasks: list[Future[Any]], images: int, size: int, part: str) -> Iterator[Future[Any]]:
    if not sys.stderr.isatty():
        print(f"decoding {images} images to {size} px, once{part}", file=sys.stderr, flush=True)
        yield from tasks
        return
    with tqdm(total=images, desc=f"decoding to {size} px{part}", unit="image", leave=False) as bar:
        for task in tasks:
            yield task
            bar.update(min(_BLOCK, images - bar.n))


def _publish(temporary: Path, folder: Path, shape: tuple[int, ...], manifest: Manifest) -> None:
    """Rename a finished cache into place, unless another process was first; a damaged one gives way."""
    for _ in range(_TRIES):
        try:
            os.rename(temporary, folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
                raise
            if _open(folder, shape, manifest) is not None:
                shutil.rmtree(temporary, ignore_errors=True)
                return
            shutil.rmtree(folder, ignore_errors=True)
    raise OSError(f"cannot read or remove the cache {folder}: remove it, or set VITLAB_CACHE to another folder")


def _failure_line(failures: Iterable[tuple[str, str]], total: int, *, left_out: bool = False) -> str:
    failures = list(failures)
    named = ", ".join(f"{path} ({why})" for path, why in failures[:_NAMED])
    more = f" and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    if left_out:
        return f"{len(failures)} of {total} images cannot be read and are left out: {named}{more}"
    return (
        f"{len(failures)} of {total} images cannot be read: {named}{more}; repair or remove them, or leave them out "
        "with data.on_error=skip"
    )
