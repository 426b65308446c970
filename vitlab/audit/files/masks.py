"""Masks: do they open, and do they fit the image that they are of?"""

import json
from collections import defaultdict
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitlab.audit.images import FRAME, Images
from vitlab.audit.memo import Memo
from vitlab.audit.progress import in_threads
from vitlab.data.cache import files_digest
from vitlab.data.decode import reason
from vitlab.data.manifest import Manifest

_BLOCK = 16  # masks that a thread reads at a time
_UNREAD, _EMPTY = "the mask cannot be read", "the mask is empty"
_LARGE = 0.5  # of the image: a lesion is smaller, an inverted mask larger
_EMPTY_CLASS = 0.5  # of a class's masks: where more are empty, its images have no lesion
_OFF = 0.9  # of the mask on empty background
_DARK = 0.1  # of the range from the image's darkest 2 per cent to its brightest: empty background
_LEAST_PIXELS = 50  # smaller masks may be alike by chance
_SAME_PICTURE = 0.9  # correlation: copies, and neighbouring slices that were given one mask, are more alike
_FLAT = 8  # gray levels: an image that spans fewer has no object to lie beside


class MaskFault(NamedTuple):
    """What is wrong with the mask of a row: a clause for many of them, and a sentence for this one."""

    row: int
    fault: str
    detail: str


class _Facts(NamedTuple):
    fault: str = ""
    detail: str = ""
    digest: str = ""  # of masks that are otherwise right


def check_masks(
    manifest: Manifest, images: Images, read_mask: Callable[[str], NDArray[np.bool_]], memo: Memo | None = None
) -> list[MaskFault]:
    """Return the masks that cannot be right, by row; no path means no mask, which is fine.

    Args:
        manifest: Names the masks.
        images: What the images hold; masks of unreadable ones are passed over.
        read_mask: Opens a mask_path, bool (H, W); called from several threads at once.
        memo: Keeps the facts of these masks; without one, they are read.
    """
    rows = np.flatnonzero((manifest.mask_path != "") & images.ok)
    if not len(rows):
        return []
    facts = _known_facts(manifest, images, rows, read_mask, memo)
    labels = manifest.label[rows]
    empty = np.array([fact.fault == _EMPTY for fact in facts])
    healthy = {label for label in set(labels.tolist()) if empty[labels == label].mean() > _EMPTY_CLASS}
    found = [
        MaskFault(int(row), fact.fault, fact.detail)
        for row, fact, label, without in zip(rows, facts, labels, empty, strict=True)
        if fact.fault and not (without and label in healthy)
    ]
    return sorted(found + _shared(manifest, images, rows, facts))


def _known_facts(
    manifest: Manifest,
    images: Images,
    rows: NDArray[np.int64],
    read_mask: Callable[[str], NDArray[np.bool_]],
    memo: Memo | None,
) -> list[_Facts]:
    """Return the facts of the masks of some rows; a second call for the same files takes the memo's."""
    paths = manifest.mask_path[rows].tolist()

    def read(at: int) -> _Facts:
        row = int(rows[at])
        try:
            mask = np.asarray(read_mask(paths[at]))
        except Exception as error:  # decoders raise anything from struct.error to SyntaxError
            return _Facts(_UNREAD, f"Its mask cannot be read: {reason(error)}.")
        return _look(mask, int(images.height[row]), int(images.width[row]), images.frames[row])

    def read_all() -> list[_Facts]:
        def read_some(part: slice) -> list[_Facts]:
            return [read(at) for at in range(part.start, part.stop)]

        blocks = in_threads(read_some, len(rows), _BLOCK, "reading masks")
        return [fact for block in blocks for fact in block]

    def compute(folder: Path) -> None:
        (folder / "facts.json").write_text(json.dumps(read_all()), encoding="utf-8")

    def load(folder: Path) -> list[_Facts]:
        return [_Facts(*fact) for fact in json.loads((folder / "facts.json").read_text(encoding="utf-8"))]

    def mended(facts: list[_Facts]) -> bool:
        return any(fact.fault == _UNREAD and _reads(read_mask, path) for fact, path in zip(facts, paths, strict=True))

    if memo is None:
        return read_all()
    # The memo knows the images' files; what else counts is which of them have masks, and the masks' files.
    files = files_digest(Manifest({"path": paths}, manifest.root))
    which = blake2b(rows.tobytes(), digest_size=16).hexdigest()
    return memo.get("masks", [FRAME, files, which], compute, load, stale=mended)


def _reads(read_mask: Callable[[str], NDArray[np.bool_]], path: str) -> bool:
    """Say whether a mask that could not be read can be now: rights and mounts change without the file."""
    try:
        read_mask(path)
    except Exception:  # as in _known_facts
        return False
    return True


def _look(mask: NDArray[np.bool_], height: int, width: int, frame: NDArray[np.uint8]) -> _Facts:
    """Compare one mask, (H, W), with the size of its image and its square, (S, S)."""
    if mask.shape != (height, width):
        size = " x ".join(map(str, mask.shape[::-1]))
        return _Facts("the mask has another size", f"Its mask is {size} pixels, the image {width} x {height}.")
    share = float(np.count_nonzero(mask)) / mask.size
    if not share:
        return _Facts(_EMPTY, "Its mask is empty.")
    if share > _LARGE:
        return _Facts("the mask covers most of the image", f"Its mask covers {share:.0%} of the image: is it inverted?")
    small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((FRAME, FRAME), Image.Resampling.BOX)) > 127
    dark, bright = np.percentile(frame, [2, 100])
    if small.any() and bright - dark >= _FLAT:
        off = float((frame[small] <= dark + _DARK * (bright - dark)).mean())
        if off > _OFF:
            return _Facts("the mask lies beside the object", f"Of its mask {off:.0%} lies on empty background.")
    if mask.sum() < _LEAST_PIXELS:
        return _Facts()
    return _Facts(digest=blake2b(np.packbits(mask).tobytes(), digest_size=16).hexdigest())


def _shared(manifest: Manifest, images: Images, rows: NDArray[np.int64], facts: list[_Facts]) -> list[MaskFault]:
    """Return masks that are pixel for pixel those of a picture that is clearly another."""
    alike: dict[str, list[int]] = defaultdict(list)
    for row, fact in zip(rows, facts, strict=True):
        if fact.digest:
            alike[fact.digest].append(int(row))
    found = []
    for same in alike.values():
        for row in same[1:]:
            if _correlation(images.frames[row], images.frames[same[0]]) < _SAME_PICTURE:
                detail = f"Its mask equals that of {manifest.path[same[0]]}, which shows something else."
                found.append(MaskFault(row, "the mask is another image's", detail))
    return found


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    first, second = (square.astype(np.float64).ravel() - square.mean() for square in (a, b))
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-9))
